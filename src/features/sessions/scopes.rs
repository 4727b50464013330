//! Which documents sessions reach that were opened for some documents only.

use std::collections::HashMap;
use std::sync::{Arc, Weak};

use parking_lot::Mutex;

use crate::base::ids::{DocumentName, UserId};
use crate::document::scope::{CredentialScope, DocumentGrant, GrantedDocument, ScopeExtent};
use crate::document::visibility::Viewer;
use crate::http::providers::ReachedDocument;

/// The documents that sessions reach, each once for all of them, so that all are told when another document takes its
/// place. As bounded as the sessions that hold them.
#[derive(Debug, Default)]
pub(crate) struct GrantedDocuments(Mutex<HashMap<i64, Weak<GrantedDocument>>>);

impl GrantedDocuments {
    /// The document as it is now.
    fn grant(&self, document: &ReachedDocument) -> Arc<GrantedDocument> {
        let mut known = self.0.lock();
        if let Some(granted) = known.get(&document.key).and_then(Weak::upgrade) {
            return granted;
        }
        if known.len() >= known.capacity() {
            known.retain(|_, granted| granted.strong_count() > 0);
        }
        let granted = Arc::new(GrantedDocument::new(document.name.clone(), document.key));
        known.insert(document.key, Arc::downgrade(&granted));
        granted
    }

    /// Another document takes the place of the one with this key: nothing that was granted reaches it, and what is
    /// granted from now on does.
    pub(crate) fn replace(&self, key: i64) {
        let replaced = self.0.lock().remove(&key);
        if let Some(granted) = replaced.and_then(|granted| granted.upgrade()) {
            granted.replace();
        }
    }
}

/// What one session reaches.
#[derive(Debug)]
pub(crate) struct SessionScope {
    user: UserId,
    /// As whom and how far it reads and writes: another value when it is given more. Held for a copy.
    viewer: Mutex<Viewer>,
}

impl SessionScope {
    /// Reaches nothing yet.
    pub(crate) fn new(user: UserId) -> Self {
        let viewer = Mutex::new(viewer(&user, Vec::new()));
        Self { user, viewer }
    }

    pub(crate) fn viewer(&self) -> Viewer {
        self.viewer.lock().clone()
    }

    /// Reaches these documents, too.
    pub(crate) fn extend(&self, granted: &GrantedDocuments, documents: &[ReachedDocument]) {
        let mut current = self.viewer.lock();
        let mut grants = current.credential_scope().map(|scope| scope.grants().to_vec()).unwrap_or_default();
        for document in documents {
            let new = DocumentGrant::Document(granted.grant(document));
            grants.retain(|grant| *grant.name() != document.name);
            grants.push(new);
        }
        *current = viewer(&self.user, grants);
    }

    /// The documents that it reaches now.
    pub(crate) fn documents(&self) -> Vec<DocumentName> {
        let viewer = self.viewer();
        let grants = viewer.credential_scope().map(CredentialScope::grants).unwrap_or_default();
        let good = grants.iter().filter(|grant| match grant {
            DocumentGrant::Name(_) => true,
            DocumentGrant::Document(granted) => !granted.is_replaced(),
        });
        good.map(|grant| grant.name().clone()).collect()
    }
}

fn viewer(user: &UserId, documents: Vec<DocumentGrant>) -> Viewer {
    let extent = ScopeExtent::Some { collections: Vec::new(), documents };
    Viewer::scoped(Some(user.clone()), CredentialScope { extent, writes: true })
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed unwrap fails the test")]
    use super::*;

    fn document(name: &str, key: i64) -> ReachedDocument {
        ReachedDocument { name: DocumentName::parse(name).unwrap(), key }
    }

    #[test]
    fn a_document_created_anew_is_reached_by_nobody_who_was_there_before() {
        let granted = GrantedDocuments::default();
        let (g1, g2) = (document("games/g1", 1), document("games/g2", 2));
        let scope = |documents: &[ReachedDocument]| {
            let scope = SessionScope::new(UserId::new("ann").unwrap());
            scope.extend(&granted, documents);
            scope
        };
        let (one, both) = (scope(std::slice::from_ref(&g1)), scope(&[g1.clone(), g2.clone()]));
        let followed = one.viewer();
        granted.replace(1);
        granted.replace(9);
        assert_eq!((one.documents(), both.documents()), (vec![], vec![g2.name.clone()]));
        assert!(followed.credential_scope().unwrap().has_lost(1), "what is open under it knows");
        let later = scope(std::slice::from_ref(&g1));
        assert_eq!((later.documents(), one.documents()), (vec![g1.name.clone()], vec![]));
        one.extend(&granted, &[g1.clone(), g2.clone()]);
        assert_eq!(one.documents(), [g1.name, g2.name]);
    }
}
