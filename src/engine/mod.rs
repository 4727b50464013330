//! Rank 3: one thread owns the truth. It decides, commits and publishes, in that order, for everybody.
//!
//! Stages with data between them; arrows go one way, and nothing names the actor:
//!
//! ```text
//! revocations  <-  refusal, request, policy  <-  hooks  <-  state/  <-  disk  <-  decide/  <-  actor
//!          request  <-  handle  <-  read/          time_travel  <-  disk, decide/, read/
//! ```
//!
//! [`request`] is what can be asked and what is answered; [`refusal`] the errors that only the engine gives, of the
//! types in [`problems`]; [`policy`] when a snapshot is due; [`health`] what it tells about itself; [`revocations`]
//! what is taken from somebody; [`hooks`] what features have it do. [`state`] is what only its thread has: the
//! document cache, relocations, kept answers, the backlog, the round. [`decide`] makes events of requests, one file
//! for each kind. [`disk`] owns the writer: commit, degrade, reopen, append what waits. [`actor`] takes all that
//! waits, decides, commits, publishes and replies. [`handle`] is what the rest of the program holds, and [`read`] what
//! readers use beside the engine: documents, time travel ([`time_travel`]), streams.

pub(crate) mod actor;
pub(crate) mod data;
mod decide;
mod disk;
pub(crate) mod handle;
pub(crate) mod health;
pub(crate) mod hooks;
pub(crate) mod policy;
pub(crate) mod problems;
pub(crate) mod read;
pub(crate) mod refusal;
pub(crate) mod request;
pub(crate) mod revocations;
mod state;
mod time_travel;

#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use crate::base::clock::Clock;
use crate::base::clock_trust::ClockTrust;
use crate::base::entropy::Entropy;
use crate::base::ids::Collection;
use crate::base::limits;
use crate::document::json::JsonBounds;
use crate::document::rules::Rules;
use crate::live::ring::RingBounds;

/// The hooks of all features, in the order in which they are called.
pub(crate) type Hooks = Vec<Arc<dyn hooks::DocumentHook>>;

/// The rules of each collection that has some.
pub(crate) type RulesByCollection = std::collections::HashMap<Collection, Arc<dyn Rules>>;

/// What the engine is told at start.
#[derive(Clone)]
pub struct EngineOptions {
    /// Where time comes from.
    pub clock: Arc<dyn Clock>,
    /// Whether the clock may decide that something is removed; `None`: it always may.
    pub clock_trust: Option<Arc<ClockTrust>>,
    /// Where randomness comes from.
    pub entropy: Arc<dyn Entropy>,
    /// The rules, by collection.
    pub rules: Arc<RulesByCollection>,
    /// What a state may measure.
    pub state: JsonBounds,
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
    /// Collections in which no document is created, since calls of features have these names. What is there already
    /// stays as it is.
    pub reserved_collections: BTreeSet<Collection>,
    /// Who has stored which documents are moved between servers.
    pub relocations: Option<Arc<dyn hooks::RelocationStore>>,
}

impl EngineOptions {
    /// No rules, hooks or volatile documents, and the bounds of [`limits`].
    pub fn new(clock: Arc<dyn Clock>, entropy: Arc<dyn Entropy>) -> Self {
        Self {
            clock,
            clock_trust: None,
            entropy,
            rules: Arc::default(),
            state: JsonBounds::default(),
            ring: RingBounds::default(),
            hot: HotBounds::default(),
            backlog: BacklogBounds::default(),
            snapshot_events_max: limits::HISTORY_EVENTS,
            volatile: Volatile::default(),
            snapshots: policy::SnapshotPolicy::default(),
            hooks: Vec::new(),
            reserved_collections: BTreeSet::new(),
            relocations: None,
        }
    }

    /// Whether what the clock shows may decide that something is removed.
    pub(crate) fn removes_by_time(&self) -> bool {
        self.clock_trust.as_ref().is_none_or(|trust| trust.is_trusted())
    }
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
