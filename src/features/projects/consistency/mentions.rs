//! Which chapters mention which documents by name, kept up to date as texts and names change.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::entity::Entity;
use super::names::NameFinder;
use crate::base::ids::DocumentName;
use crate::features::projects::members::MemberKind;

pub(super) type DocumentNames = BTreeSet<DocumentName>;

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Mentions {
    in_chapter: HashMap<DocumentName, DocumentNames>,
    of_entity: HashMap<DocumentName, DocumentNames>,
    /// Finds all names; `None`: they have changed since it was made.
    finder: Option<EntityFinder>,
}

/// Finds the documents whose names stand in a text.
#[derive(Debug)]
struct EntityFinder {
    names: NameFinder,
    /// Who goes by each of the names.
    owners: Vec<Vec<DocumentName>>,
}

impl EntityFinder {
    /// `None`: there is nothing to find, or too much.
    fn new<'a>(documents: impl Iterator<Item = (&'a DocumentName, &'a Entity)>) -> Option<Self> {
        let mut by_name: BTreeMap<&str, Vec<DocumentName>> = BTreeMap::new();
        for (name, entity) in documents.filter(|(_, entity)| entity.is_mentioned_by_name()) {
            for own in &entity.names {
                by_name.entry(own).or_default().push(name.clone());
            }
        }
        let names = NameFinder::new(by_name.keys().copied()).filter(|_| !by_name.is_empty())?;
        Some(Self { names, owners: by_name.into_values().collect() })
    }

    fn find(&self, text: &str) -> impl Iterator<Item = &DocumentName> {
        self.names.find(text).into_iter().filter_map(|name| self.owners.get(name)).flatten()
    }
}

impl Mentions {
    pub(crate) fn in_chapter(&self, chapter: &DocumentName) -> impl Iterator<Item = &DocumentName> {
        self.in_chapter.get(chapter).into_iter().flatten()
    }

    pub(crate) fn of_entity(&self, name: &DocumentName) -> impl Iterator<Item = &DocumentName> {
        self.of_entity.get(name).into_iter().flatten()
    }

    /// Looks for the names of `renamed` in all chapters, and for all names in `rewritten`.
    pub(crate) fn update(
        &mut self,
        documents: &BTreeMap<DocumentName, Entity>,
        renamed: &BTreeSet<DocumentName>,
        rewritten: &BTreeSet<DocumentName>,
    ) {
        if !renamed.is_empty() {
            self.finder = None;
        }
        for name in renamed {
            for chapter in self.of_entity.remove(name).unwrap_or_default() {
                if let Some(names) = self.in_chapter.get_mut(&chapter) {
                    names.remove(name);
                }
            }
        }
        for chapter in rewritten {
            for name in self.in_chapter.remove(chapter).unwrap_or_default() {
                if let Some(chapters) = self.of_entity.get_mut(&name) {
                    chapters.remove(chapter);
                }
            }
        }
        let chapters = documents.iter().filter(|(_, entity)| entity.kind == MemberKind::Chapter);
        let unchanged: Vec<_> = chapters.filter(|(chapter, _)| !rewritten.contains(*chapter)).collect();
        if !unchanged.is_empty()
            && let Some(finder) = EntityFinder::new(renamed.iter().filter_map(|name| documents.get_key_value(name)))
        {
            unchanged.into_iter().for_each(|(chapter, entity)| self.note(chapter, entity.text(), &finder));
        }
        let texts: Vec<_> = rewritten.iter().filter_map(|chapter| documents.get_key_value(chapter)).collect();
        if texts.iter().all(|(_, entity)| entity.text().is_empty()) {
            return;
        }
        let all = self.finder.take().or_else(|| EntityFinder::new(documents.iter()));
        if let Some(finder) = &all {
            for (chapter, entity) in texts.into_iter().filter(|(_, entity)| entity.kind == MemberKind::Chapter) {
                self.note(chapter, entity.text(), finder);
            }
        }
        self.finder = all;
    }

    fn note(&mut self, chapter: &DocumentName, text: &str, finder: &EntityFinder) {
        for name in finder.find(text) {
            self.in_chapter.entry(chapter.clone()).or_default().insert(name.clone());
            self.of_entity.entry(name.clone()).or_default().insert(chapter.clone());
        }
    }
}
