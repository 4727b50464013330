//! Rank 2: the SQLite layer. One writer, owned by the engine's thread, and a small pool of readers that everyone
//! shares. It knows documents, events, snapshots and idempotency keys, and no feature.
//!
//! In reading order: `schema.sql` (the format), [`open`] (creating, checking, locking), [`writer`] (the transaction),
//! `trim` (bounded history, compaction), `purge` (taking documents away), `companion_rows` (rows of features that go
//! with a change), `replay` (a document from snapshot and events, verified), `log` (events across documents),
//! [`reader`] (the pool), [`keys`] (answers that are given again), `memory` (the same tables, in memory), `compare`
//! (reading what may have been tampered with), `mend` (writing it anew).
//!
//! What comes off the disk is verified before it is handed out: events against their chain, snapshots against their
//! checksum. What does not verify is an error that names the document and the version, never data.

mod companion_rows;
pub(crate) mod error;
mod file_size_limit;
mod memory;
mod open;
pub(crate) mod read;
mod rows;
mod volatile;
pub(crate) mod write;

#[cfg(test)]
mod tests;

use std::path::PathBuf;
use std::time::Duration;

use crate::base::limits;

pub(crate) use companion_rows::CompanionWrite;
pub(crate) use error::{OpenError, WriteError, sql_error};
pub(crate) use memory::Memory;
pub use open::open;
pub(crate) use read::inspect::{
    EventHeader, OTHER_DOCUMENT, ReadTransaction, StoredDocument, StoredHead, UncachedConnection,
};
pub(crate) use read::log::Filter;
pub(crate) use read::reader::{ListedDocument, Reader};
pub(crate) use read::replay::{DocumentHead, LoadedDocument, VerifiedDocument};
pub(crate) use volatile::VolatileRange;
pub(crate) use write::keys::{IdempotencyKey, IdempotencyRow, IdempotentAnswer, once};
pub(crate) use write::purge::Purge;
pub(crate) use write::repair::{DocumentRepair, ProvenHistory, RawDocument};
pub(crate) use write::trim::{compact, overdue, trim_some};
pub(crate) use write::writer::{Batch, CommitTimes, LogHead, MaintenanceReport, Rows, Snapshot, Writer};

/// A connection, as features' own SQL gets it: see [`Rows`] and [`Reader::rows`].
pub(crate) use rusqlite::Connection;

/// The name of the database within the data directory.
pub(crate) const FILE_NAME: &str = "rejoin.db";
/// The name of the lock file within the data directory.
pub(crate) const LOCK_NAME: &str = "rejoin.lock";
/// Connections of the reader pool when nobody says otherwise: reads are short, and more would only wait for the same
/// cores.
pub(crate) const READERS: u32 = 4;

/// Where data is kept, and how.
#[derive(Clone, Debug)]
pub struct Options {
    /// The directory that holds the database and its lock; made, with mode 0700, when it is not there.
    pub data_dir: PathBuf,
    /// Connections of the reader pool, at least 1.
    pub readers: u32,
    /// How hard a commit is.
    pub synchronous: Synchronous,
    /// Most pages (4 KiB each) that the database may have: bounds the file, not the WAL. `None`: SQLite's own bound.
    pub pages_max: Option<u32>,
    /// How much history is kept.
    pub history: History,
}

impl Options {
    /// The defaults, in `data_dir`.
    pub fn new(data_dir: impl Into<PathBuf>) -> Self {
        Self {
            data_dir: data_dir.into(),
            readers: READERS,
            synchronous: Synchronous::Full,
            pages_max: None,
            history: History::default(),
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
pub struct History {
    pub events_max: u64,
    pub kept: Duration,
}

impl Default for History {
    fn default() -> Self {
        Self {
            events_max: limits::HISTORY_EVENTS,
            kept: Duration::from_secs(u64::from(limits::HISTORY_DAYS) * 24 * 3600),
        }
    }
}
