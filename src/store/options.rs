//! Where data is kept, and how.

use std::path::PathBuf;
use std::time::Duration;

use crate::base::limits;

/// The name of the database within the data directory.
pub(crate) const FILE_NAME: &str = "rejoin.db";
/// The name of the lock file within the data directory.
pub(crate) const LOCK_NAME: &str = "rejoin.lock";
/// The name of the journal of revocations within the data directory.
pub(crate) const JOURNAL_NAME: &str = "rejoin.revocations";
/// The name of the file with the key of MACs within the data directory.
pub(crate) const INTEGRITY_KEY_NAME: &str = "rejoin.integrity-key";
/// Connections of the reader pool by default: reads are short, and more would only wait for the same
/// cores.
pub(crate) const READERS: u32 = 4;

/// Where data is kept, and how.
#[derive(Clone, Debug)]
pub struct StoreOptions {
    /// The directory that holds the database and its lock; made, with mode 0700, when it is not there.
    pub data_dir: PathBuf,
    /// Connections of the reader pool, at least 1.
    pub readers: u32,
    /// How hard a commit is.
    pub synchronous: Synchronous,
    /// Most pages (4 KiB each) that the database may have: bounds the file, not the WAL. `None`: SQLite's own bound.
    pub pages_max: Option<u32>,
    /// How much history is kept.
    pub history: HistoryRetention,
    /// Bound of the WAL in bytes. Past it [`Writer::wal_past_bound`](crate::store::Writer::wal_past_bound) says so, and
    /// long reads of this process are interrupted.
    pub wal_bytes_max: u64,
    /// How long a read of this process may last while the WAL is past its bound.
    pub read_age_max: Duration,
    /// Whether a database that lacks stored changes is refused.
    pub strict: bool,
}

impl StoreOptions {
    /// The defaults, in `data_dir`.
    pub fn new(data_dir: impl Into<PathBuf>) -> Self {
        Self {
            data_dir: data_dir.into(),
            readers: READERS,
            synchronous: Synchronous::Full,
            pages_max: None,
            history: HistoryRetention::default(),
            wal_bytes_max: limits::WAL_BYTES_MAX,
            read_age_max: limits::READ_AGE_MAX,
            strict: false,
        }
    }
}

/// How hard a commit is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Synchronous {
    /// A commit that returned is on disk.
    Full,
    /// A commit that returned may vanish with the power. Only for benches, as what `Full` is measured against.
    Normal,
}

/// How much of each document's history is kept: what both bounds allow. The newest event always is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HistoryRetention {
    pub events_max: u64,
    pub kept: Duration,
}

impl Default for HistoryRetention {
    fn default() -> Self {
        Self {
            events_max: limits::HISTORY_EVENTS,
            kept: Duration::from_secs(u64::from(limits::HISTORY_DAYS) * 24 * 3600),
        }
    }
}
