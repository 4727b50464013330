//! What the engine can be asked, and what it answers.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::sync::{mpsc, oneshot};

use crate::base::error::{Error, Kind, Result};
use crate::base::ids::DocumentName;
use crate::base::limits;
use crate::document::chain::Hash;
use crate::document::decide::Request;
use crate::document::event::Event;
use crate::document::model::Document;
use crate::document::visibility::Viewer;

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
pub type Render = Box<dyn Fn(&[Outcome], Durability) -> Bytes + Send>;

/// Whether changes are on disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// They are.
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
    /// One per request.
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

/// A message to the engine.
pub enum Command {
    /// Make changes.
    Write {
        /// Which.
        write: Write,
        /// When it was sent.
        sent: Instant,
        /// Where the answer goes.
        reply: oneshot::Sender<Result<Answer>>,
    },
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
