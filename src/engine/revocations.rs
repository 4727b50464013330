//! Revocations: something is taken from somebody, a session or a seat for one. Unlike other rows of features they work
//! while storage fails: at once in memory, stored before everything else when storage returns, and kept in a journal
//! beside the database until then.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use parking_lot::Mutex;

use crate::base::error::Result;
use crate::base::ids::{DocumentName, Seq, UserId, Version};
use crate::document::access::{HostedAccess, host_name};
use crate::document::decide::WriteOperation;
use crate::document::visibility::Viewer;

/// Names what is taken, for the hook that removes it from the disk: see
/// [`DocumentHook::revoke`](super::hooks::DocumentHook::revoke). It names it for good: done again later, when something
/// else of the same name is there, it changes nothing. That also makes their order irrelevant.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Revocation {
    hook: Arc<str>,
    subject: String,
}

impl Revocation {
    /// `hook` is the name of a hook, `subject` a text of one line.
    pub fn new(hook: &str, subject: impl Into<String>) -> Self {
        Self { hook: hook.into(), subject: subject.into() }
    }

    pub(crate) fn hook(&self) -> &str {
        &self.hook
    }

    pub(crate) fn subject(&self) -> &str {
        &self.subject
    }

    /// From its text in the journal.
    pub(crate) fn parse(line: &str) -> Option<Self> {
        line.split_once(' ').map(|(hook, subject)| Self::new(hook, subject))
    }
}

impl fmt::Display for Revocation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.hook, self.subject)
    }
}

/// In the place of a hook's name: the change of a document.
const DOCUMENTS: &str = "documents";

/// A change of a document that takes something away. While storage fails it waits with all other changes; unlike those
/// it is made again at the next start when it could not be stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct DocumentRevocation {
    pub name: DocumentName,
    /// The document's: one of the same name that was never stored is another.
    pub key: i64,
    /// What the change made of it. A stored document that has this version has the change, or another history.
    pub version: Version,
    /// Who made it.
    pub viewer: Viewer,
    pub change: DocumentWithdrawal,
}

/// What a [`DocumentRevocation`] does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum DocumentWithdrawal {
    /// It has this host and access.
    Access(HostedAccess),
    /// It is deleted.
    Deletion,
    /// It is deleted, with its history.
    Purge,
}

impl DocumentRevocation {
    /// The write that does the same again; `None`: it is a purge. Error: an id that is none.
    pub(crate) fn operation(&self) -> Result<Option<WriteOperation>> {
        Ok(match &self.change {
            DocumentWithdrawal::Purge => None,
            DocumentWithdrawal::Deletion => Some(WriteOperation::Delete),
            DocumentWithdrawal::Access(HostedAccess { host, access }) => Some(WriteOperation::SetAccess {
                host: Some(UserId::new(host_name(host.as_ref()))?),
                access: access.clone(),
                by_administrator: true,
            }),
        })
    }

    /// From its text in the journal, without [`DOCUMENTS`].
    fn parse(subject: &str) -> Option<Self> {
        let mut words = subject.splitn(6, ' ');
        let mut word = || words.next();
        let (kind, name) = (word()?, word()?.split_once('/')?);
        let name = DocumentName::new(name.0, name.1).ok()?;
        let (key, version) = (word()?.parse().ok()?, Version(word()?.parse().ok()?));
        let viewer = Viewer::member(UserId::new(word()?).ok()?);
        let change = match (kind, word()) {
            ("access", Some(access)) => DocumentWithdrawal::Access(serde_json::from_str(access).ok()?),
            ("deletion", None) => DocumentWithdrawal::Deletion,
            ("purge", None) => DocumentWithdrawal::Purge,
            _ => return None,
        };
        Some(Self { name, key, version, viewer, change })
    }
}

/// A line of the journal.
impl fmt::Display for DocumentRevocation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, key, version, viewer, change } = self;
        let viewer = viewer.user_id().map_err(|_| fmt::Error)?;
        let rest = format!("{name} {key} {version} {viewer}");
        match change {
            DocumentWithdrawal::Deletion => write!(f, "{DOCUMENTS} deletion {rest}"),
            DocumentWithdrawal::Purge => write!(f, "{DOCUMENTS} purge {rest}"),
            DocumentWithdrawal::Access(access) => {
                let access = serde_json::to_string(access).map_err(|_| fmt::Error)?;
                write!(f, "{DOCUMENTS} access {rest} {access}")
            }
        }
    }
}

/// What is taken away, as the journal has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum JournalLine {
    Revocation(Revocation),
    Document(DocumentRevocation),
}

impl JournalLine {
    pub(crate) fn parse(line: &str) -> Option<Self> {
        let revocation = Revocation::parse(line)?;
        match revocation.hook() {
            DOCUMENTS => DocumentRevocation::parse(revocation.subject()).map(Self::Document),
            _ => Some(Self::Revocation(revocation)),
        }
    }
}

/// The changes of documents that are in the journal.
#[derive(Debug, Default)]
pub(crate) struct PendingDocumentRevocations(Vec<(DocumentRevocation, Option<Seq>)>);

impl PendingDocumentRevocations {
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// `seq`: the event that waits for the disk; `None`: it has yet to be made again.
    pub(crate) fn add(&mut self, revocation: DocumentRevocation, seq: Option<Seq>) {
        let entry = (revocation, seq);
        if !self.0.contains(&entry) {
            self.0.push(entry);
        }
    }

    /// Takes out those that have yet to be made again.
    pub(crate) fn take_unapplied(&mut self) -> Vec<DocumentRevocation> {
        self.0.extract_if(.., |(_, seq)| seq.is_none()).map(|(revocation, _)| revocation).collect()
    }

    /// Everything up to here is on disk.
    pub(crate) fn drop_durable(&mut self, durable: Seq) {
        self.0.retain(|(_, seq)| seq.is_none_or(|seq| seq > durable));
    }

    pub(crate) fn lines(&self) -> impl Iterator<Item = String> {
        self.0.iter().map(|(revocation, _)| revocation.to_string())
    }
}

/// Those that are not in the database yet; empty while storage is well. Shared by the engine's thread, which alone
/// changes it, and everybody who reads what may be revoked: who takes the set before they read the database never
/// misses a revocation. At most [`limits::REVOCATIONS_PENDING_MAX`](crate::base::limits::REVOCATIONS_PENDING_MAX).
#[derive(Debug, Default)]
pub(crate) struct PendingRevocations(Mutex<Arc<BTreeSet<Revocation>>>);

impl PendingRevocations {
    pub(crate) fn get(&self) -> Arc<BTreeSet<Revocation>> {
        Arc::clone(&self.0.lock())
    }

    pub(super) fn len(&self) -> usize {
        self.0.lock().len()
    }

    /// Returns whether it is new.
    pub(super) fn add(&self, revocation: Revocation) -> bool {
        Arc::make_mut(&mut *self.0.lock()).insert(revocation)
    }

    /// They are in the database.
    pub(super) fn remove(&self, stored: &[Revocation]) {
        let mut pending = self.0.lock();
        let pending = Arc::make_mut(&mut *pending);
        for revocation in stored {
            pending.remove(revocation);
        }
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed unwrap fails the test")]
    use super::*;
    use crate::document::access::{Access, Grant};

    #[test]
    fn changes_of_documents_are_read_as_they_were_written() {
        let user = UserId::new("ann").unwrap();
        let access = Access { read: Grant::Users(vec![user.clone()]), write: Grant::Host, ..Access::default() };
        let changes = [
            DocumentWithdrawal::Deletion,
            DocumentWithdrawal::Purge,
            DocumentWithdrawal::Access(HostedAccess { host: None, access: access.clone() }),
            DocumentWithdrawal::Access(HostedAccess { host: Some(user.clone()), access }),
        ];
        for change in changes {
            for viewer in [Viewer::Owner, Viewer::User(user.clone())] {
                let name = DocumentName::new("games", "g1").unwrap();
                let written = DocumentRevocation { name, key: 7, version: Version(3), viewer, change: change.clone() };
                let read = JournalLine::parse(&written.to_string());
                assert_eq!(read, Some(JournalLine::Document(written.clone())), "{written}");
                written.operation().unwrap();
            }
        }
        let other = JournalLine::parse("sessions s1");
        assert_eq!(other, Some(JournalLine::Revocation(Revocation::new("sessions", "s1"))));
        for line in ["", "documents", "documents access games/g1 7 3 owner", "documents deletion games/g1 7 3 ann {}"] {
            assert_eq!(JournalLine::parse(line), None, "{line}");
        }
        assert_eq!(JournalLine::parse("documents deletion games 7 3 owner"), None);
        assert_eq!(JournalLine::parse("documents access games/g1 7 3 owner {\"read\":\"all\"}"), None);
    }
}
