//! What the engine can be asked, and what it answers.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::sync::{mpsc, oneshot};

use super::mend::{Known, Look, Mended, Order, Side};
use super::persist::Persisted;
use super::standing::{Coming, Stood, Turn};
use crate::base::clock::Timestamp;
use crate::base::error::{Error, Kind, Result};
use crate::base::ids::{DocumentName, Version};
use crate::base::limits;
use crate::document::chain::Hash;
use crate::document::decide::Request;
use crate::document::event::Event;
use crate::document::model::Document;
use crate::document::visibility::Viewer;
use crate::store::{Connection, MaintenanceReport, Rows};

/// Changes to be made together, or not at all.
pub struct Write {
    /// The changes, in order; each sees what the ones before it did.
    pub requests: Vec<Request>,
    /// Who asks.
    pub viewer: Viewer,
    /// Makes a retry safe.
    pub key: Option<Key>,
}

/// An idempotency key and what it stands for.
pub struct Key {
    /// The caller's key; it is scoped to the viewer.
    pub key: String,
    /// A digest of the request that it came with.
    pub fingerprint: Hash,
    /// Makes the answer that is kept, to be given again to a retry. Called on the engine's thread.
    pub render: Render,
}

/// Makes an answer of outcomes, on the engine's thread.
pub(crate) type Render = Box<dyn Fn(&[Outcome], Durability) -> Bytes + Send>;

/// Whether changes are on disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    Durable,
    /// Storage fails; they are in memory, and will be on disk when it is well again.
    Pending,
}

/// What became of one change.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// The document after it.
    pub document: Arc<Document>,
    /// The record of it.
    pub event: Arc<Event>,
    /// Whether the document was not there before.
    pub created: bool,
}

/// The engine's answer to a [`Write`].
#[derive(Debug)]
pub enum Answer {
    /// The changes were made.
    Made(Written),
    /// They were made before, under the same key: the answer of then.
    Replayed(Bytes),
}

/// Changes that were made.
#[derive(Debug)]
pub struct Written {
    pub outcomes: Vec<Outcome>,
    /// Whether they are on disk.
    pub durability: Durability,
    /// Where the time went.
    pub times: Times,
}

/// Where the time of a write went.
#[derive(Clone, Copy, Debug, Default)]
pub struct Times {
    /// Waiting for the engine.
    pub queue: Duration,
    /// Deciding the batch that it was in.
    pub apply: Duration,
    /// Storing that batch, the sync included.
    pub commit: Duration,
}

/// Rows of a feature, and whoever waits for them.
pub trait Task: Rows {
    /// Tells how it went. `stored`: the transaction that they were in is on disk.
    fn finish(self: Box<Self>, stored: bool);

    /// Tells that they are not written at all.
    fn refuse(self: Box<Self>, why: Error);
}

/// A closure as a [`Task`].
struct Closure<F, T> {
    write: Option<F>,
    outcome: Result<T>,
    reply: oneshot::Sender<Result<T>>,
}

impl<F, T> Rows for Closure<F, T>
where
    F: FnOnce(&Connection, Timestamp) -> Result<T> + Send,
    T: Send,
{
    fn write(&mut self, conn: &Connection, now: Timestamp) -> Result<()> {
        let Some(write) = self.write.take() else { return Ok(()) };
        // A panic in one feature's SQL must not end the engine for all; its savepoint is rolled back.
        let written = catch_unwind(AssertUnwindSafe(|| write(conn, now)))
            .unwrap_or_else(|_| Err(Error::internal("a feature panicked while it wrote its rows")));
        match written {
            Ok(value) => {
                self.outcome = Ok(value);
                Ok(())
            }
            Err(error) => {
                // The store only needs to know that there was one.
                let kind = error.kind();
                self.outcome = Err(error);
                Err(Error::new(kind, "a feature's rows were not written"))
            }
        }
    }
}

impl<F, T> Task for Closure<F, T>
where
    F: FnOnce(&Connection, Timestamp) -> Result<T> + Send,
    T: Send,
{
    fn finish(self: Box<Self>, stored: bool) {
        let outcome = match self.outcome {
            Ok(_) if !stored => Err(not_stored()),
            outcome => outcome,
        };
        // Whoever asked may have gone.
        let _ = self.reply.send(outcome);
    }

    fn refuse(self: Box<Self>, why: Error) {
        // Whoever asked may have gone.
        let _ = self.reply.send(Err(why));
    }
}

pub(super) fn not_stored() -> Error {
    Error::new(Kind::StorageUnavailable, "storage does not take this now; try again")
}

/// A message to the engine.
pub enum Command {
    Write {
        write: Write,
        /// When it was sent.
        sent: Instant,
        /// Where the answer goes.
        reply: oneshot::Sender<Result<Answer>>,
    },
    /// Take in a document of another server, with its history.
    Import {
        /// Its history, and what comes with it.
        coming: Box<Coming>,
        /// When it was sent.
        sent: Instant,
        /// Where the answer goes.
        reply: oneshot::Sender<Result<Answer>>,
    },
    /// Say what becomes of a document between servers.
    Stand {
        name: DocumentName,
        turn: Turn,
        /// Where the answer goes, once everything before is published.
        reply: oneshot::Sender<Result<Stood>>,
    },
    /// Write rows of a feature.
    Rows {
        task: Box<dyn Task>,
        /// The document that they belong to: refused when that takes no changes.
        about: Option<DocumentName>,
    },
    Snapshot {
        name: DocumentName,
        /// Whether what somebody else has stored after the running version goes.
        overwrite: bool,
        /// Where the answer goes.
        reply: oneshot::Sender<Result<Persisted>>,
    },
    /// Take a document away.
    Purge {
        name: DocumentName,
        viewer: Viewer,
        /// Only if it is at this version.
        expected: Option<Version>,
        /// Where the answer goes.
        reply: oneshot::Sender<Result<Arc<Document>>>,
    },
    /// Drop a document's history.
    Compact {
        name: DocumentName,
        /// Only if it is at this version.
        expected: Version,
        /// Where the answer goes.
        reply: oneshot::Sender<Result<Version>>,
    },
    /// Look after the file when nothing else waits; see [`Engine::tidy`].
    Tidy(oneshot::Sender<Result<MaintenanceReport>>),
    /// Write the rows of a document anew.
    Mend(Order),
    /// Tell how things stand, once everything before is published.
    Look(oneshot::Sender<Look>),
    /// Take a document into memory, because somebody reads it.
    Warm(DocumentName),
    /// Look at the ticks: retry what failed, drop what is idle.
    Tick,
    /// Store what there is to store and end. The queue before it is still served.
    Stop,
}

/// The engine's end of the way to it.
#[derive(Debug)]
pub struct Commands {
    /// What it is asked.
    pub queue: mpsc::Receiver<Command>,
    /// See [`Engine`].
    pub ticks: Arc<AtomicU32>,
}

/// Both ends of the way to an engine.
pub fn channel() -> (Engine, Commands) {
    let (commands, queue) = mpsc::channel(limits::ENGINE_QUEUE_COMMANDS_MAX);
    let ticks = Arc::new(AtomicU32::new(0));
    (Engine { commands, ticks: Arc::clone(&ticks) }, Commands { queue, ticks })
}

/// The way to the engine. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Engine {
    commands: mpsc::Sender<Command>,
    /// Ticks that the engine has not counted yet. Beside the queue, so that a full one does not swallow them.
    ticks: Arc<AtomicU32>,
}

impl Engine {
    /// Makes changes. Waits for a place in the queue when it is full, which is the backpressure on writers. Not to be
    /// taken as undone when cancelled: once sent, a write is carried out.
    pub async fn write(&self, write: Write) -> Result<Answer> {
        let (reply, answer) = oneshot::channel();
        let command = Command::Write { write, sent: Instant::now(), reply };
        self.commands.send(command).await.map_err(|_| stopping())?;
        answer.await.map_err(|_| stopping())?
    }

    /// Writes rows of a feature in the transaction of the next batch. `write` runs on the engine's thread, in a
    /// savepoint: what it writes is stored if it returns `Ok`, and its value is returned once that is on disk. While
    /// storage fails it is refused: rows of features do not wait in memory. Error: that of `write`;
    /// `StorageUnavailable`, after which it is unknown whether the rows were stored.
    pub async fn rows<T, F>(&self, write: F) -> Result<T>
    where
        F: FnOnce(&Connection, Timestamp) -> Result<T> + Send + 'static,
        T: Send + 'static,
    {
        self.rows_about(None, write).await
    }

    /// The same for rows that belong to a document, as the seats of a game do: with it they move between servers, so
    /// that they take no changes when it takes none. Errors: those of [`rows`](Self::rows); `Frozen`, `Moved`.
    pub async fn rows_of<T, F>(&self, document: DocumentName, write: F) -> Result<T>
    where
        F: FnOnce(&Connection, Timestamp) -> Result<T> + Send + 'static,
        T: Send + 'static,
    {
        self.rows_about(Some(document), write).await
    }

    async fn rows_about<T, F>(&self, about: Option<DocumentName>, write: F) -> Result<T>
    where
        F: FnOnce(&Connection, Timestamp) -> Result<T> + Send + 'static,
        T: Send + 'static,
    {
        let (reply, answer) = oneshot::channel();
        let task = Box::new(Closure { write: Some(write), outcome: Err(not_stored()), reply });
        self.commands.send(Command::Rows { task, about }).await.map_err(|_| stopping())?;
        answer.await.map_err(|_| stopping())?
    }

    /// Stores a snapshot of a document as it is now, in the transaction of the next batch. `overwrite`: what somebody
    /// else has stored of it after the running version goes. Errors: `NotFound`; `Gone`; `VersionConflict` when there
    /// is a newer version on disk and `overwrite` is not given; `StorageUnavailable` while storage fails, which changes
    /// nothing else.
    pub async fn snapshot(&self, name: DocumentName, overwrite: bool) -> Result<Persisted> {
        let (reply, answer) = oneshot::channel();
        self.commands.send(Command::Snapshot { name, overwrite, reply }).await.map_err(|_| stopping())?;
        answer.await.map_err(|_| stopping())?
    }

    /// Takes a document away: it ends with a tombstone, whatever its rules say, and everything else that is stored of
    /// it goes in the same transaction. What remains is its id, last version and hash; created again, its versions go
    /// on. Whether `viewer` may do that is for the caller to check. Returns the tombstone. Errors: `NotFound`,
    /// `Damaged`; `VersionConflict` when it is not at `expected`; `StorageUnavailable` while storage fails, and when it
    /// fails right now: then the document may be deleted, with its history kept, and this can be repeated.
    pub async fn purge(&self, name: DocumentName, viewer: Viewer, expected: Option<Version>) -> Result<Arc<Document>> {
        let (reply, answer) = oneshot::channel();
        self.commands.send(Command::Purge { name, viewer, expected, reply }).await.map_err(|_| stopping())?;
        answer.await.map_err(|_| stopping())?
    }

    /// Drops a document's history, but for its newest event and the state before that: what is left beside the state is
    /// below 1 KB, and verifies. When the newest event is large itself, one follows it that changes nothing. Whether
    /// that may be done is for the caller to check. Returns the version that the document then has. Errors: `NotFound`,
    /// `Gone`, `Damaged`; `VersionConflict` when it is not at `expected`; `StorageUnavailable` while storage fails.
    pub async fn compact(&self, name: DocumentName, expected: Version) -> Result<Version> {
        let (reply, answer) = oneshot::channel();
        self.commands.send(Command::Compact { name, expected, reply }).await.map_err(|_| stopping())?;
        answer.await.map_err(|_| stopping())?
    }

    /// Takes in a document of another server. It takes no changes before [`Turn::Land`]. Errors: `Frozen` unless it was
    /// announced by [`Turn::Announce`]; `AlreadyExists`, `Rejected` when it does not go on from what is here;
    /// `StorageUnavailable`.
    pub async fn import(&self, coming: Coming) -> Result<Answer> {
        let (reply, answer) = oneshot::channel();
        let command = Command::Import { coming: Box::new(coming), sent: Instant::now(), reply };
        self.commands.send(command).await.map_err(|_| stopping())?;
        answer.await.map_err(|_| stopping())?
    }

    /// Says what becomes of a document between servers, and answers when every change before that is published. Errors:
    /// those of [`Turn`]; `StorageUnavailable` when the server stops.
    pub async fn stand(&self, name: DocumentName, turn: Turn) -> Result<Stood> {
        let (reply, answer) = oneshot::channel();
        self.commands.send(Command::Stand { name, turn, reply }).await.map_err(|_| stopping())?;
        answer.await.map_err(|_| stopping())?
    }

    /// Looks after the file, as soon as nothing else waits or that has taken long enough: statistics brought up to
    /// date, the WAL moved into the database and emptied. Error: `StorageUnavailable`.
    pub async fn tidy(&self) -> Result<MaintenanceReport> {
        let (reply, answer) = oneshot::channel();
        self.commands.send(Command::Tidy(reply)).await.map_err(|_| stopping())?;
        answer.await.map_err(|_| stopping())?
    }

    /// Mends a document that was found different in memory and on disk. Errors: see [`Side`]; `StorageUnavailable`.
    pub async fn mend(&self, name: DocumentName, side: Side, known: Known) -> Result<Mended> {
        let (reply, answer) = oneshot::channel();
        let order = Order { name, side, known, reply };
        self.commands.send(Command::Mend(order)).await.map_err(|_| stopping())?;
        answer.await.map_err(|_| stopping())?
    }

    /// How things stand. When it answers, everything is published that was on disk when it was asked.
    pub async fn look(&self) -> Result<Look> {
        let (reply, answer) = oneshot::channel();
        self.commands.send(Command::Look(reply)).await.map_err(|_| stopping())?;
        answer.await.map_err(|_| stopping())
    }

    /// Asks for a document to be taken into memory; forgotten when the engine is busy, since it only saves time.
    pub fn warm(&self, name: DocumentName) {
        let _ = self.commands.try_send(Command::Warm(name));
    }

    /// Tells the engine that time has passed. It counts that with whatever it does next; the command only wakes it.
    pub fn tick(&self) {
        self.ticks.fetch_add(1, Ordering::Relaxed);
        let _ = self.commands.try_send(Command::Tick);
    }

    /// Whether there is still an engine to ask.
    pub fn is_running(&self) -> bool {
        !self.commands.is_closed()
    }

    /// Asks the engine to finish.
    pub async fn stop(&self) {
        let _ = self.commands.send(Command::Stop).await;
    }
}

fn stopping() -> Error {
    Error::new(Kind::StorageUnavailable, "the server is stopping")
}
