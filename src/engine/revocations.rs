//! Revocations: something is taken from somebody, a session or a seat for one. Unlike other rows of features they work
//! while storage fails: at once in memory, stored before everything else when storage returns, and kept in a journal
//! beside the database until then.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use parking_lot::Mutex;

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
