//! Rank 3: one thread owns the truth. It decides, commits and publishes, in that order, for everybody.
//!
//! In reading order: [`command`] (what it can be asked), [`thread`] (the loop), [`working`] (the documents it works
//! on), [`batch`] (from commands to events), [`volatile`] (what lives in memory only), [`policy`] (when a snapshot is
//! due), [`persist`] (snapshots and removal on demand, room on a full disk), [`compact`] (a history that nobody needs
//! any more), [`damaged`] (a document that cannot be read), [`mend`] (making memory and disk alike again), [`standing`]
//! (documents on their way between servers), [`hooks`] (what features have it do), [`tidy`] (looking after the file),
//! [`backlog`] (what waits while storage fails), [`health`] (what it tells about itself), and for those who read beside
//! it: [`reads`] (documents, hot or cold) and [`follow`] (streams).

pub(crate) mod backlog;
pub(crate) mod batch;
pub(crate) mod command;
pub(crate) mod compact;
pub(crate) mod damaged;
pub(crate) mod follow;
pub(crate) mod health;
pub(crate) mod hooks;
pub(crate) mod mend;
pub(crate) mod persist;
pub(crate) mod policy;
pub(crate) mod problems;
pub(crate) mod reads;
pub(crate) mod standing;
pub(crate) mod thread;
pub(crate) mod tidy;
pub(crate) mod volatile;
pub(crate) mod working;

#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use crate::base::clock::Clock;
use crate::base::entropy::Entropy;
use crate::base::ids::Collection;
use crate::base::limits;
use crate::document::json::Bounds;
use crate::document::rules::Rules;
use crate::live::ring::RingBounds;

/// The hooks of all features, in the order in which they are called.
pub(crate) type Hooks = Vec<Arc<dyn hooks::DocumentHook>>;

/// The rules of each collection that has some.
pub(crate) type RulesByCollection = std::collections::HashMap<Collection, Arc<dyn Rules>>;

/// What the engine is told at start.
#[derive(Clone)]
pub struct Options {
    /// Where time comes from.
    pub clock: Arc<dyn Clock>,
    /// Where randomness comes from.
    pub entropy: Arc<dyn Entropy>,
    /// The rules, by collection.
    pub rules: Arc<RulesByCollection>,
    /// What a state may measure.
    pub state: Bounds,
    /// How many recent events stay in memory.
    pub ring: RingBounds,
    /// How many documents stay in memory.
    pub hot: HotBounds,
    /// How much may wait while storage fails.
    pub backlog: BacklogBounds,
    /// Events after which a snapshot is due even if their patches are small, so that a short history can be trimmed.
    pub snapshot_events_max: u64,
    /// Which new documents live in memory only.
    pub volatile: Volatile,
    /// When a snapshot is due otherwise; a document's state may say so for itself.
    pub snapshots: policy::SnapshotPolicy,
    /// What features have the engine do with documents.
    pub hooks: Hooks,
}

/// Which new documents live in memory only, and how much of memory they may have. What is there already stays as it
/// was created.
#[derive(Clone, Debug)]
pub struct Volatile {
    /// Those of these collections.
    pub collections: BTreeSet<Collection>,
    /// Most of them.
    pub documents_max: usize,
    /// Most bytes of their states.
    pub bytes_max: usize,
    /// How long one that nobody uses stays.
    pub idle: Duration,
}

impl Default for Volatile {
    fn default() -> Self {
        Self {
            collections: BTreeSet::new(),
            documents_max: limits::VOLATILE_DOCUMENTS_MAX,
            bytes_max: limits::VOLATILE_BYTES_MAX,
            idle: limits::VOLATILE_IDLE,
        }
    }
}

/// How many documents stay in memory.
#[derive(Clone, Copy, Debug)]
pub struct HotBounds {
    /// Most of them.
    pub documents_max: usize,
    /// Most bytes of their states.
    pub bytes_max: usize,
    /// How long one that nobody uses stays.
    pub idle: Duration,
}

impl Default for HotBounds {
    fn default() -> Self {
        Self { documents_max: limits::HOT_DOCUMENTS_MAX, bytes_max: limits::HOT_BYTES_MAX, idle: limits::HOT_IDLE }
    }
}

/// How much may wait while storage fails.
#[derive(Clone, Copy, Debug)]
pub struct BacklogBounds {
    /// Most events.
    pub events_max: usize,
    /// Most bytes of their bodies.
    pub bytes_max: usize,
}

impl Default for BacklogBounds {
    fn default() -> Self {
        Self { events_max: limits::BACKLOG_EVENTS_MAX, bytes_max: limits::BACKLOG_BYTES_MAX }
    }
}
