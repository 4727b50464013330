//! What the engine tells about itself.

use parking_lot::Mutex;

use crate::base::clock::Timestamp;

/// How storage is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Storage {
    /// Writes reach the disk.
    #[default]
    Well,
    /// They do not; changes wait in memory.
    Degraded {
        /// Why.
        reason: String,
        /// Whether it is for lack of room.
        full: bool,
        /// Since when.
        since: Timestamp,
    },
}

/// A moment's look at the engine.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// How storage is.
    pub storage: Storage,
    /// Events that wait for the disk.
    pub backlog_events: usize,
    /// Bytes of their bodies.
    pub backlog_bytes: usize,
    /// Whether no further change is taken until storage returns.
    pub past_bound: bool,
    /// When something was last stored.
    pub last_commit: Option<Timestamp>,
    /// Transactions since the start.
    pub commits: u64,
    /// Failed ones.
    pub failures: u64,
}

/// The engine's report, written by it between batches and read by whoever asks.
#[derive(Debug, Default)]
pub struct Health(Mutex<Report>);

impl Health {
    /// The newest report.
    pub fn report(&self) -> Report {
        self.0.lock().clone()
    }

    /// Engine only: changes the report.
    pub fn update(&self, change: impl FnOnce(&mut Report)) {
        change(&mut self.0.lock());
    }
}
