//! A project as the checks look at it: its documents in memory, and what leads from one to others.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use serde_json::Value;

use super::entity::Entity;
use super::mentions::{DocumentNames, Mentions};
use super::references::Reference;
use crate::base::ids::DocumentName;
use crate::features::projects::members::MemberKind;

/// The document of the project itself.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct ProjectFacts {
    /// Its public state.
    pub state: Value,
    /// Whether it is in its last phase.
    pub completed: bool,
}

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct ProjectModel {
    pub project: ProjectFacts,
    documents: BTreeMap<DocumentName, Entity>,
    /// Documents that are referred to and are none of the project's: whether they are there.
    outside: HashMap<DocumentName, bool>,
    /// The collections, among those of guessed references, that there are.
    collections: BTreeSet<String>,
    /// Who refers to a document.
    referrers: HashMap<DocumentName, DocumentNames>,
    /// Who links to a title.
    linkers: HashMap<String, DocumentNames>,
    /// Who goes by a name.
    named: HashMap<String, DocumentNames>,
    mentions: Mentions,
    chapters_with_text: usize,
}

fn add_to<K: std::hash::Hash + Eq>(index: &mut HashMap<K, DocumentNames>, key: K, name: &DocumentName) {
    index.entry(key).or_default().insert(name.clone());
}

fn take_from<K: std::hash::Hash + Eq>(index: &mut HashMap<K, DocumentNames>, key: &K, name: &DocumentName) {
    if let Some(names) = index.get_mut(key) {
        names.remove(name);
        if names.is_empty() {
            index.remove(key);
        }
    }
}

impl ProjectModel {
    pub(crate) fn new(project: ProjectFacts) -> Self {
        Self { project, ..Self::default() }
    }

    /// Puts documents in, in place of what they were, and takes out those that are `None`.
    pub(crate) fn update(&mut self, changes: Vec<(DocumentName, Option<Entity>)>) {
        let mut renamed = DocumentNames::new();
        let mut rewritten = DocumentNames::new();
        for (name, entity) in changes {
            let before = self.remove(&name);
            let names = |entity: &Option<Entity>| {
                entity.as_ref().filter(|entity| entity.is_mentioned_by_name()).map(|entity| entity.names.clone())
            };
            let text = |entity: &Option<Entity>| {
                let chapter = entity.as_ref().filter(|entity| entity.kind == MemberKind::Chapter);
                chapter.map(|chapter| chapter.text().to_owned())
            };
            if names(&before) != names(&entity) {
                renamed.insert(name.clone());
            }
            if text(&before) != text(&entity) {
                rewritten.insert(name.clone());
            }
            if let Some(entity) = entity {
                self.insert(name, entity);
            }
        }
        self.mentions.update(&self.documents, &renamed, &rewritten);
    }

    fn insert(&mut self, name: DocumentName, entity: Entity) {
        for target in entity.references.iter().flat_map(|reference| &reference.targets) {
            add_to(&mut self.referrers, target.clone(), &name);
        }
        for link in &entity.links {
            add_to(&mut self.linkers, link.title.clone(), &name);
        }
        for own in &entity.names {
            add_to(&mut self.named, own.clone(), &name);
        }
        if entity.kind == MemberKind::Chapter && !entity.text().is_empty() {
            self.chapters_with_text += 1;
        }
        self.documents.insert(name, entity);
    }

    fn remove(&mut self, name: &DocumentName) -> Option<Entity> {
        let entity = self.documents.remove(name)?;
        for target in entity.references.iter().flat_map(|reference| &reference.targets) {
            take_from(&mut self.referrers, target, name);
        }
        for link in &entity.links {
            take_from(&mut self.linkers, &link.title, name);
        }
        for own in &entity.names {
            take_from(&mut self.named, own, name);
        }
        if entity.kind == MemberKind::Chapter && !entity.text().is_empty() {
            self.chapters_with_text -= 1;
        }
        Some(entity)
    }

    pub(crate) fn document(&self, name: &DocumentName) -> Option<&Entity> {
        self.documents.get(name)
    }

    pub(crate) fn documents(&self) -> impl Iterator<Item = (&DocumentName, &Entity)> {
        self.documents.iter()
    }

    /// Those of one kind.
    pub(crate) fn of_kind(&self, kind: MemberKind) -> impl Iterator<Item = (&DocumentName, &Entity)> {
        self.documents.iter().filter(move |(_, entity)| entity.kind == kind)
    }

    /// A document of this kind.
    pub(crate) fn entity(&self, name: &DocumentName, kind: MemberKind) -> Option<&Entity> {
        self.documents.get(name).filter(|entity| entity.kind == kind)
    }

    /// Who refers to a document.
    pub(crate) fn referrers(&self, name: &DocumentName) -> impl Iterator<Item = &DocumentName> {
        self.referrers.get(name).into_iter().flatten()
    }

    /// Who links to one of these titles.
    pub(crate) fn linkers<'a>(&'a self, titles: &'a [String]) -> impl Iterator<Item = &'a DocumentName> {
        titles.iter().filter_map(|title| self.linkers.get(title)).flatten()
    }

    /// Who goes by a name.
    pub(crate) fn named(&self, name: &str) -> impl Iterator<Item = &DocumentName> {
        self.named.get(name).into_iter().flatten()
    }

    /// All names that somebody goes by.
    pub(crate) fn names(&self) -> impl Iterator<Item = &String> {
        self.named.keys()
    }

    /// The documents whose names stand in a chapter's text.
    pub(crate) fn mentioned_in(&self, chapter: &DocumentName) -> impl Iterator<Item = &DocumentName> {
        self.mentions.in_chapter(chapter)
    }

    /// The chapters in whose text a name of a document stands.
    pub(crate) fn chapters_with(&self, name: &DocumentName) -> impl Iterator<Item = &DocumentName> {
        self.mentions.of_entity(name)
    }

    /// Whether a chapter has a text.
    pub(crate) fn has_text(&self) -> bool {
        self.chapters_with_text > 0
    }

    /// Whether a reference leads to a document that is there; also if what it means is not known.
    pub(crate) fn resolves(&self, reference: &Reference) -> bool {
        let there = |target: &DocumentName| {
            self.documents.contains_key(target) || self.outside.get(target).copied().unwrap_or(false)
        };
        let known = |target: &DocumentName| self.is_known(target.collection.as_str());
        let ignored = !reference.certain && !reference.targets.iter().any(known);
        ignored || reference.targets.iter().any(there)
    }

    fn is_known(&self, collection: &str) -> bool {
        MemberKind::from_name(collection).is_some() || self.collections.contains(collection)
    }

    /// The documents that these refer to and that are none of the project's.
    pub(crate) fn outside_of<'a>(&'a self, names: impl Iterator<Item = &'a DocumentName>) -> BTreeSet<DocumentName> {
        let references = names.filter_map(|name| self.documents.get(name)).flat_map(|entity| &entity.references);
        let targets = references.flat_map(|reference| &reference.targets);
        targets.filter(|target| !self.documents.contains_key(*target)).cloned().collect()
    }

    /// Notes which documents outside of the project are there, and which of their collections.
    pub(crate) fn set_outside(&mut self, outside: impl IntoIterator<Item = (DocumentName, bool)>, known: Vec<String>) {
        self.outside.extend(outside);
        self.collections.extend(known);
    }

    /// Bytes that it takes in memory, roughly.
    pub(crate) fn weight(&self) -> usize {
        self.documents.values().map(|entity| 1_000 + entity.text().len()).sum()
    }
}
