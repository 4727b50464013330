//! Which chapters mention which documents by name, kept up to date as texts and names change.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::entity::Entity;
use super::names::NameFinder;
use crate::base::ids::DocumentName;
use crate::features::projects::members::MemberKind;

type Names = BTreeSet<DocumentName>;

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Mentions {
    in_chapter: HashMap<DocumentName, Names>,
    of_entity: HashMap<DocumentName, Names>,
    /// Finds all names; `None`: they have changed since it was made.
    finder: Option<(NameFinder, Vec<DocumentName>)>,
}

/// The names of documents, each with the document that goes by it.
fn patterns<'a>(
    documents: impl Iterator<Item = (&'a DocumentName, &'a Entity)>,
) -> (Option<NameFinder>, Vec<DocumentName>) {
    let (mut texts, mut owners) = (Vec::new(), Vec::new());
    for (name, entity) in documents.filter(|(_, entity)| entity.is_mentioned_by_name()) {
        for own in &entity.names {
            texts.push(own.as_str());
            owners.push(name.clone());
        }
    }
    (NameFinder::new(texts), owners)
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
        let chapters = || documents.iter().filter(|(_, entity)| entity.kind == MemberKind::Chapter);
        let (finder, owners) = patterns(renamed.iter().filter_map(|name| documents.get_key_value(name)));
        if let Some(finder) = finder.filter(|_| !owners.is_empty()) {
            for (chapter, entity) in chapters().filter(|(chapter, _)| !rewritten.contains(*chapter)) {
                self.note(chapter, entity.text(), &finder, &owners);
            }
        }
        let texts: Vec<_> = rewritten.iter().filter_map(|chapter| documents.get_key_value(chapter)).collect();
        if texts.iter().all(|(_, entity)| entity.text().is_empty()) {
            return;
        }
        let all = self.finder.take().or_else(|| {
            let (finder, owners) = patterns(documents.iter());
            finder.map(|finder| (finder, owners))
        });
        if let Some((finder, owners)) = &all {
            for (chapter, entity) in texts.into_iter().filter(|(_, entity)| entity.kind == MemberKind::Chapter) {
                self.note(chapter, entity.text(), finder, owners);
            }
        }
        self.finder = all;
    }

    fn note(&mut self, chapter: &DocumentName, text: &str, finder: &NameFinder, owners: &[DocumentName]) {
        for name in finder.find(text).into_iter().filter_map(|pattern| owners.get(pattern)) {
            self.in_chapter.entry(chapter.clone()).or_default().insert(name.clone());
            self.of_entity.entry(name.clone()).or_default().insert(chapter.clone());
        }
    }
}
