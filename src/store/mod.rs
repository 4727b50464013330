//! Rank 2: the SQLite layer. One writer, owned by the engine's thread, and a small pool of readers that everyone
//! shares. It knows documents, events, snapshots and idempotency keys, and no feature.
//!
//! In reading order: `schema.sql` (the format), [`options`], [`connection`] (settings of a connection), [`mod@open`]
//! (creating, checking, locking), [`server_lock`] (who has the directory), [`server_place`] (whether it is a copy),
//! [`open_files`] (whether paths name what is open), [`integrity`] (telling rows that somebody else wrote), [`rows`]
//! and [`tables`] (reading and writing rows), [`write`], [`read`], [`file`] (a whole file, with or without a server),
//! [`memory`] (the same tables in memory).
//!
//! What comes off the disk is verified before it is handed out: events against their chain, snapshots against their
//! checksum and MAC, rows of features against their MAC. What does not verify is an error that names the document and
//! the version, or the row, never data.

mod companion_rows;
mod connection;
pub(crate) mod error;
pub(crate) mod file;
mod file_size_limit;
pub(crate) mod integrity;
mod memory;
mod open;
mod open_files;
mod options;
pub(crate) mod read;
mod recovery;
mod revocation_journal;
pub(crate) mod rows;
pub(crate) mod server_lock;
mod server_place;
mod tables;
mod volatile;
mod wal;
pub(crate) mod write;

#[cfg(test)]
mod tests;

pub(crate) use companion_rows::CompanionWrite;
pub use error::sql_error;
pub(crate) use error::{Blocked, OpenError, WriteError, WriteResult};
pub(crate) use integrity::changed_row::{PROBLEMS, ROW_IN_USE, RowName, changed_row};
pub(crate) use integrity::rows::{RowId, RowKey, RowsPage, accept_row, remove_row};
pub(crate) use integrity::tables::MacTable;
pub(crate) use memory::MemoryStore;
pub use open::open;
pub(crate) use options::{FILE_NAME, HistoryRetention};
pub use options::{StoreOptions, Synchronous};
pub(crate) use read::check::OTHER_DOCUMENT;
pub(crate) use read::inspect::{EventHeader, ReadTransaction, StoredDocument, StoredHead, UncachedConnection};
pub(crate) use read::log::EventFilter;
pub(crate) use read::page_room::PageRoom;
pub(crate) use read::raw_document::RawDocument;
pub(crate) use read::reader::{CollectionSummary, ListedDocument, Reader};
pub(crate) use read::replay::{DocumentHead, LoadedDocument};
pub(crate) use read::verify::VerifiedDocument;
pub(crate) use revocation_journal::RevocationJournal;
pub(crate) use rows::LogHead;
pub(crate) use volatile::VolatileRange;
pub(crate) use write::batch::{Batch, CommitTimes, Rows, Snapshot};
pub(crate) use write::keys::{IdempotencyKey, IdempotencyRow, IdempotentAnswer, forget_expired_keys, run_once};
pub(crate) use write::proven_history::ProvenHistory;
pub(crate) use write::purge::Purge;
pub(crate) use write::repair::DocumentRepair;
pub(crate) use write::rewrite::{RescueError, Rescued};
pub(crate) use write::trim::{compact, overdue, trim_some};
pub(crate) use write::writer::{MaintenanceReport, Writer};

/// The version of the SQLite that is built in.
pub(crate) fn sqlite_version() -> &'static str {
    rusqlite::version()
}

/// A connection, as features' own SQL gets it: see [`Rows`] and [`Reader::rows`].
pub(crate) use rusqlite::Connection;
