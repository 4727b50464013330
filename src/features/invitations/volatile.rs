//! What belongs to documents that live in memory only. Rows would outlive them, and a document that is created anew
//! under its name has the same key, so that its rows would be taken for the new one's.

use std::collections::{HashMap, HashSet};

use parking_lot::Mutex;

use crate::base::display_name::DisplayName;
use crate::base::ids::{SessionId, UserId};
use crate::http::providers::ReachedDocument;

/// Who is invited to documents that live in memory only. Written on the engine's thread, in the order in which
/// documents are deleted and created; read by requests. As bounded as invitations and names.
#[derive(Debug, Default)]
pub(crate) struct VolatileDocuments(Mutex<HashMap<i64, Invited>>);

#[derive(Debug, Default)]
struct Invited {
    /// By their ids.
    invitations: HashSet<String>,
    /// Those who came in by them, by what names that count as one have in common.
    users: HashMap<String, UserId>,
}

/// Whether the document with this key lives in memory only.
pub(super) fn is_volatile(key: i64) -> bool {
    key < 0
}

impl VolatileDocuments {
    /// Notes an invitation to a document.
    pub(super) fn add_invitation(&self, key: i64, invitation: &SessionId) {
        self.0.lock().entry(key).or_default().invitations.insert(invitation.to_string());
    }

    /// Whether the invitation is still to this document. Of documents on disk the rows tell.
    pub(super) fn is_invited(&self, document: &ReachedDocument, invitation: &SessionId) -> bool {
        let has = |invited: &Invited| invited.invitations.contains(invitation.as_str());
        !is_volatile(document.key) || self.0.lock().get(&document.key).is_some_and(has)
    }

    /// Notes who came in to a document. `false`: somebody else has a name there that counts as theirs.
    pub(super) fn add_user(&self, key: i64, user: &UserId, name: &DisplayName) -> bool {
        let mut documents = self.0.lock();
        let users = &mut documents.entry(key).or_default().users;
        users.entry(name.folded()).or_insert_with(|| user.clone()) == user
    }

    /// A user did not come in after all.
    pub(super) fn remove_user(&self, user: &UserId) {
        self.0.lock().values_mut().for_each(|invited| invited.users.retain(|_, known| known != user));
    }

    /// The document is gone, or another takes its place.
    pub(super) fn forget(&self, key: i64) {
        self.0.lock().remove(&key);
    }
}
