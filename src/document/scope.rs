//! What a credential reaches, where that is less than what its user may reach.
//!
//! A scope only takes away: within it, rights are those of the user. It is part of the
//! [`Viewer`](super::visibility::Viewer), so that whatever asks whether a viewer may read, write or delete asks for it
//! too.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::base::ids::{Collection, DocumentName};

/// The documents that a credential reaches, and whether it changes them.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct CredentialScope {
    /// Which documents.
    pub extent: ScopeExtent,
    /// Whether it changes them.
    pub writes: bool,
}

/// See [`CredentialScope`].
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum ScopeExtent {
    /// All that there are and will be.
    All,
    /// Those of the collections, and the single ones.
    Some {
        /// Each with every document in it, now and later.
        collections: Vec<Collection>,
        /// Single ones.
        documents: Vec<DocumentGrant>,
    },
}

/// A single document that a credential reaches.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum DocumentGrant {
    /// Whatever has this name, and it may be created.
    Name(DocumentName),
    /// This very document, and none that is created anew under its name.
    Document(Arc<GrantedDocument>),
}

/// A document in a [`DocumentGrant`]. Shared by all scopes that have it, and by whoever is told that another takes its
/// place.
#[derive(Debug)]
pub struct GrantedDocument {
    /// Its name.
    pub name: DocumentName,
    /// The key of its rows: see [`Meta::key`](super::model::Meta::key). A document that is created anew has the same.
    pub key: i64,
    /// Whether it was deleted and is there anew. Set once, before anybody can read what is there now; so no more order
    /// is needed than that of publishing.
    replaced: AtomicBool,
}

impl GrantedDocument {
    pub fn new(name: DocumentName, key: i64) -> Self {
        Self { name, key, replaced: AtomicBool::new(false) }
    }

    /// It is there anew: no scope reaches it by this grant any more.
    pub fn replace(&self) {
        self.replaced.store(true, Ordering::Release);
    }

    /// Whether it is there anew.
    pub fn is_replaced(&self) -> bool {
        self.replaced.load(Ordering::Acquire)
    }
}

impl PartialEq for GrantedDocument {
    fn eq(&self, other: &Self) -> bool {
        (self.key, &self.name) == (other.key, &other.name)
    }
}

impl Eq for GrantedDocument {}

impl std::hash::Hash for GrantedDocument {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.key.hash(state);
    }
}

impl DocumentGrant {
    /// The name of what it reaches.
    pub fn name(&self) -> &DocumentName {
        match self {
            Self::Name(name) => name,
            Self::Document(granted) => &granted.name,
        }
    }
}

impl CredentialScope {
    /// Whether it reaches the document with this key. `None`: there never was one of this name.
    pub fn reaches(&self, name: &DocumentName, key: Option<i64>) -> bool {
        self.reaches_collection(&name.collection)
            || self.grants().iter().any(|grant| match grant {
                DocumentGrant::Name(granted) => granted == name,
                DocumentGrant::Document(granted) => Some(granted.key) == key && !granted.is_replaced(),
            })
    }

    /// Whether it reaches every document of a collection.
    pub fn reaches_collection(&self, collection: &Collection) -> bool {
        match &self.extent {
            ScopeExtent::All => true,
            ScopeExtent::Some { collections, .. } => collections.contains(collection),
        }
    }

    /// Whether it may reach a document of this name: what is decided before it is known which one that is.
    pub fn names(&self, name: &DocumentName) -> bool {
        self.reaches_collection(&name.collection) || self.grants().iter().any(|grant| grant.name() == name)
    }

    /// Whether a document of this name may be created by it.
    pub fn creates(&self, name: &DocumentName) -> bool {
        self.writes
            && (self.reaches_collection(&name.collection)
                || self.grants().iter().any(|grant| matches!(grant, DocumentGrant::Name(granted) if granted == name)))
    }

    /// Whether it reached the document with this key until another took its place.
    pub fn has_lost(&self, key: i64) -> bool {
        self.grants().iter().any(
            |grant| matches!(grant, DocumentGrant::Document(granted) if granted.key == key && granted.is_replaced()),
        )
    }

    /// The single documents.
    pub fn grants(&self) -> &[DocumentGrant] {
        match &self.extent {
            ScopeExtent::All => &[],
            ScopeExtent::Some { documents, .. } => documents,
        }
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed unwrap fails the test")]
    use super::*;

    fn name(text: &str) -> DocumentName {
        DocumentName::parse(text).unwrap()
    }

    fn some(collections: &[&str], documents: Vec<DocumentGrant>) -> CredentialScope {
        let collections = collections.iter().map(|name| Collection::new(name).unwrap()).collect();
        CredentialScope { extent: ScopeExtent::Some { collections, documents }, writes: true }
    }

    #[test]
    fn a_scope_reaches_its_own_documents_and_no_other() {
        let granted = Arc::new(GrantedDocument::new(name("games/g1"), 7));
        let scope = some(
            &["notes"],
            vec![DocumentGrant::Document(Arc::clone(&granted)), DocumentGrant::Name(name("games/bot"))],
        );
        for (document, key, reached, created) in [
            ("games/g1", Some(7), true, false),
            ("games/g1", None, false, false),
            ("games/g2", Some(8), false, false),
            ("notes/any", None, true, true),
            ("games/bot", Some(9), true, true),
            ("games/bot", None, true, true),
        ] {
            let document = name(document);
            assert_eq!((scope.reaches(&document, key), scope.creates(&document)), (reached, created), "{document}");
        }
        assert!(scope.names(&name("games/g1")) && !scope.names(&name("games/g2")));
        assert!(!some(&[], Vec::new()).reaches(&name("games/g1"), Some(7)), "an empty scope reaches nothing");
        assert!(!CredentialScope { writes: false, ..scope.clone() }.creates(&name("notes/any")));
        assert!(!scope.has_lost(7));
        granted.replace();
        assert!(!scope.reaches(&name("games/g1"), Some(7)) && scope.has_lost(7) && !scope.has_lost(8));
    }

    #[test]
    fn all_is_all() {
        let all = CredentialScope { extent: ScopeExtent::All, writes: false };
        assert!(all.reaches(&name("games/g1"), None) && all.names(&name("games/g1")) && !all.creates(&name("games/g")));
    }
}
