//! What the engine can be asked, and what it answers.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicU32;
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::sync::{mpsc, oneshot};

use crate::base::clock::Timestamp;
use crate::base::error::{Error, Result};
use crate::base::ids::{Collection, DocumentName, Seq, Version};
use crate::document::chain::Hash;
use crate::document::decide::Request;
use crate::document::event::Event;
use crate::document::model::Document;
use crate::document::transfer::VerifiedChain;
use crate::document::visibility::Viewer;
use crate::engine::revocations::{DocumentRevocation, JournalLine, PendingRevocations, Revocation};
use crate::live::relocations::MovedDocument;
use crate::store::{Connection, IdempotencyKey, MaintenanceReport, Rows};

/// Where an answer goes. Whoever asked may have gone; what was decided stands all the same.
pub(crate) type ReplyTo<T> = oneshot::Sender<Result<T>>;

/// Changes to be made together, or not at all.
pub struct Write {
    /// The changes, in order; each sees what the ones before it did.
    pub requests: Vec<Request>,
    /// Who asks.
    pub viewer: Viewer,
    /// Makes a retry safe.
    pub key: Option<WriteKey>,
}

/// The idempotency key of a write.
pub struct WriteKey {
    pub(crate) key: IdempotencyKey,
    /// Makes the response that is stored under it. Called on the engine's thread.
    pub(crate) render: RenderReply,
}

/// Makes an answer of outcomes, on the engine's thread.
pub(crate) type RenderReply = Box<dyn Fn(&[WriteOutcome], Durability) -> Bytes + Send>;

/// Whether changes are on disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    Durable,
    /// Storage fails; they are in memory, and will be on disk when it is well again.
    Pending,
}

/// What became of one change.
#[derive(Clone, Debug)]
pub struct WriteOutcome {
    /// The document after it.
    pub document: Arc<Document>,
    /// The record of it.
    pub event: Arc<Event>,
    /// Whether the document was not there before.
    pub created: bool,
}

/// The engine's answer to a [`Write`].
#[derive(Debug)]
pub enum WriteReply {
    /// The changes were made.
    Made(CommittedWrite),
    /// They were made before, under the same key: the answer of then.
    Replayed(Bytes),
}

/// Changes that were made.
#[derive(Debug)]
pub struct CommittedWrite {
    pub outcomes: Vec<WriteOutcome>,
    /// Whether they are on disk.
    pub durability: Durability,
    /// Where the time went.
    pub times: WriteTimes,
}

/// Where the time of a write went.
#[derive(Clone, Copy, Debug, Default)]
pub struct WriteTimes {
    /// Waiting for the engine.
    pub queue: Duration,
    /// Deciding the round that it was in.
    pub apply: Duration,
    /// Storing that round, the sync included.
    pub commit: Duration,
}

/// Rows of a feature, and whoever waits for them.
pub trait RowsRequest: Rows {
    /// Tells how it went. `stored`: the transaction that they were in is on disk.
    fn finish(self: Box<Self>, stored: bool);

    /// Tells that they are not written at all.
    fn refuse(self: Box<Self>, why: Error);
}

/// A document that takes no changes here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Relocation {
    /// It is here, and may be about to leave.
    Frozen,
    /// It may come from another server.
    Expected {
        /// Names the relocation that may bring it.
        id: String,
        /// Where it is now, when it was here before: it comes back.
        left: Option<Arc<MovedDocument>>,
    },
    /// It is at another address now.
    Moved(Arc<MovedDocument>),
}

/// A step of moving a document between servers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RelocationStep {
    /// It takes no changes from now on. Answered with its newest version. Refused for one that is not there or is
    /// relocated already: `NotFound`, `Gone`, `Frozen`, `Moved`; while something is revoked and not stored:
    /// `StorageUnavailable`; and for one that lives in memory only:
    /// `not-persistent`.
    Freeze,
    /// It stays after all, and takes changes again.
    Unfreeze,
    /// What was frozen is at this address now.
    MoveTo(String),
    /// The relocation of this name is to bring it: nobody creates one of this name. Refused for one that is here, or
    /// was and did not leave: `AlreadyExists`; and for one that is leaving: `Frozen`.
    Expect(String),
    /// The relocation of this name does not bring it.
    CancelExpected(String),
    /// The relocation of this name has brought it: it is here, on disk, and takes changes.
    Activate(String),
}

/// Writes rows of a feature that belong to a document, given its key. See
/// [`CompanionWrite`](crate::store::CompanionWrite).
pub(crate) type CompanionRows = Arc<dyn Fn(&Connection, i64, Timestamp) -> Result<()> + Send + Sync>;

/// A document that another server sends.
pub struct IncomingDocument {
    /// Names the relocation, as it was expected.
    pub id: String,
    pub chain: VerifiedChain,
    /// Writes the rows that come with it.
    pub companion_rows: CompanionRows,
}

/// A snapshot that was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StoredSnapshot {
    pub version: Version,
    /// When it was stored.
    pub at: Timestamp,
}

/// Which side a repair believes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RepairSource {
    /// The rows become those of the document as it is published. Where nothing of the stored history can be kept, an
    /// event that changes nothing begins it anew. A document that memory knows nothing of is removed from the disk.
    /// Error: `not-in-memory` for one that is only on disk, where nothing that memory remembers of it is left.
    Memory,
    /// The state that the rows make, whether or not they add up, becomes the state by a new event. Error: `NotFound`
    /// when they make none.
    Disk,
}

impl RepairSource {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Disk => "disk",
        }
    }
}

/// What is remembered of a document that need not be in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RememberedDocument {
    /// The document with this key; and its newest version, if that is on disk.
    Present(i64, Option<(Version, Hash)>),
    /// There is none; what the disk has is under this key.
    Absent(i64),
}

#[derive(Clone, Debug)]
pub struct RepairedDocument {
    /// The document now; `None`: it was removed.
    pub document: Option<Arc<Document>>,
    /// What was done, for people.
    pub summary: &'static str,
}

/// A repair, and whoever waits for it.
#[derive(Debug)]
pub struct RepairRequest {
    pub name: DocumentName,
    pub source: RepairSource,
    pub remembered: RememberedDocument,
    pub reply: ReplyTo<RepairedDocument>,
}

/// What is to be taken from somebody, and whoever waits for that.
#[derive(Debug)]
pub struct RevocationRequest {
    pub revocations: Vec<Revocation>,
    pub reply: ReplyTo<Durability>,
}

/// What is known once everything before a barrier is published.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Barrier {
    /// How often somebody else was found to have written to the file; `None`: that cannot be told now.
    pub foreign_commits: Option<u64>,
}

/// A document that is to be purged.
#[derive(Debug)]
pub struct PurgeRequest {
    pub name: DocumentName,
    pub viewer: Viewer,
    /// Only if it is at this version.
    pub expected: Option<Version>,
    /// Whether it is purged at once while storage fails, and the rows go when that returns.
    pub may_wait: bool,
}

/// A document that was purged.
#[derive(Debug)]
pub struct PurgedDocument {
    pub tombstone: Arc<Document>,
    /// Whether what was stored of it is gone.
    pub durability: Durability,
}

/// A message to the engine.
pub enum EngineCommand {
    Write {
        write: Write,
        sent: Instant,
        reply: ReplyTo<WriteReply>,
    },
    /// Store a document of another server, with its history.
    Import {
        document: Box<IncomingDocument>,
        sent: Instant,
        reply: ReplyTo<WriteReply>,
    },
    /// Answered once everything before is published.
    Relocate {
        name: DocumentName,
        step: RelocationStep,
        reply: ReplyTo<Option<Arc<Document>>>,
    },
    /// Write rows of a feature.
    Rows {
        request: Box<dyn RowsRequest>,
        /// The document that they belong to: refused when that takes no changes.
        document: Option<DocumentName>,
    },
    /// Take something from somebody.
    Revoke {
        request: RevocationRequest,
        /// The document that it belongs to: refused when that takes no changes.
        document: Option<DocumentName>,
    },
    Snapshot {
        name: DocumentName,
        /// Whether what somebody else has stored after the running version goes.
        overwrite: bool,
        reply: ReplyTo<StoredSnapshot>,
    },
    Purge {
        purge: PurgeRequest,
        reply: ReplyTo<PurgedDocument>,
    },
    /// Drop a document's history.
    Compact {
        name: DocumentName,
        /// Only if it is at this version.
        expected: Version,
        reply: ReplyTo<Version>,
    },
    /// Maintain the file when nothing else waits.
    MaintainFile(ReplyTo<MaintenanceReport>),
    /// Write the rows of a document anew.
    Repair(RepairRequest),
    /// Write everything that is stored to another file, and go on with that.
    Rescue(RescueRequest),
    /// Answer once everything before is published.
    Barrier(oneshot::Sender<Barrier>),
    /// Tell whether a document of a collection is on its way from or to another server.
    FindMoving {
        collection: Collection,
        /// Told which is.
        reply: ReplyTo<Option<DocumentName>>,
    },
    /// Take a document into memory, because somebody reads it.
    Prefetch(DocumentName),
    /// Look at the ticks: retry what failed, drop what is idle.
    Tick,
    /// Store what there is to store and end. The queue before it is still served.
    Stop,
}

/// See [`EngineCommand::Rescue`].
#[derive(Debug)]
pub struct RescueRequest {
    pub to: PathBuf,
    pub reply: ReplyTo<RescueReport>,
}

/// Where everything is stored now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RescueReport {
    /// The last event that is on disk there.
    pub durable: Seq,
    /// Events that still wait.
    pub waiting: usize,
    /// How many documents were rescued from memory, when the database was overwritten; `None`: all that was stored is
    /// there.
    pub from_memory: Option<usize>,
}

/// The engine's end of the queue that leads to it.
#[derive(Debug)]
pub struct CommandQueue {
    pub commands: mpsc::Receiver<EngineCommand>,
    /// Ticks that the engine has not counted yet. Beside the queue, so that a full one does not swallow them.
    pub ticks: Arc<AtomicU32>,
    /// What is revoked and not stored.
    pub(crate) revocations: Arc<PendingRevocations>,
}

impl CommandQueue {
    /// Takes what the journal has of the last run: whoever reads what may be revoked finds it pending from now on.
    /// Returns the changes of documents, which are to be made again.
    pub(crate) fn restore_revocations(&self, journaled: Vec<String>) -> Vec<DocumentRevocation> {
        let mut documents = Vec::new();
        for line in journaled {
            match JournalLine::parse(&line) {
                Some(JournalLine::Revocation(revocation)) => drop(self.revocations.add(revocation)),
                Some(JournalLine::Document(revocation)) => documents.push(revocation),
                None => tracing::warn!("a line of the journal of revocations is none"),
            }
        }
        documents
    }
}
