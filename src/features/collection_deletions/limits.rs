//! The bounds of deleting collections.

use std::time::Duration;

/// Documents of one page: progress is stored after each.
pub(crate) const PAGE_DOCUMENTS: usize = 200;
/// Documents that are deleted at the same time: their events share a transaction.
pub(crate) const CONCURRENT_DELETES: usize = 64;
/// How long a run of the job may take. The next goes on from there.
pub(crate) const TIMEOUT: Duration = Duration::from_secs(3600);
/// Deletions that are over and kept.
pub(crate) const KEPT_MAX: u32 = 100;
/// How long it is waited for a run of the job that does not know of the newest deletion, and for storage.
pub(crate) const RETRY: Duration = Duration::from_secs(1);
