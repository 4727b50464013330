//! What the rest of the program holds of the engine.

use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Instant;

use tokio::sync::{mpsc, oneshot};

use super::refusal::{not_stored, stopping};
use super::request::{
    Barrier, CommandQueue, Durability, EngineCommand, IncomingDocument, PurgeRequest, RelocationStep,
    RememberedDocument, RepairRequest, RepairSource, RepairedDocument, ReplyTo, RescueReport, RescueRequest,
    RevocationRequest, RowsRequest, StoredSnapshot, Write, WriteReply,
};
use super::revocations::{PendingRevocations, Revocation};
use crate::base::clock::Timestamp;
use crate::base::error::{Error, Result};
use crate::base::ids::{Collection, DocumentName, Version};
use crate::base::limits;
use crate::document::model::Document;
use crate::document::visibility::Viewer;
use crate::store::{Connection, MaintenanceReport, Rows};

/// Both ends of the queue to an engine, which holds [`limits::ENGINE_QUEUE_COMMANDS_MAX`] commands.
pub fn channel() -> (Engine, CommandQueue) {
    let (sender, commands) = mpsc::channel(limits::ENGINE_QUEUE_COMMANDS_MAX);
    let ticks = Arc::new(AtomicU32::new(0));
    let revocations = Arc::new(PendingRevocations::default());
    let engine = Engine { commands: sender, ticks: Arc::clone(&ticks), revocations: Arc::clone(&revocations) };
    (engine, CommandQueue { commands, ticks, revocations })
}

/// Sends commands to the engine. Cheap to clone. A full queue makes senders wait, which is the backpressure on writers;
/// once sent, a command is carried out even if whoever sent it is cancelled.
#[derive(Clone, Debug)]
pub struct Engine {
    commands: mpsc::Sender<EngineCommand>,
    /// See [`CommandQueue::ticks`].
    ticks: Arc<AtomicU32>,
    revocations: Arc<PendingRevocations>,
}

impl Engine {
    /// Sends a command with a place for its answer, and waits for that.
    async fn request<T>(&self, command: impl FnOnce(ReplyTo<T>) -> EngineCommand) -> Result<T> {
        let (reply, answer) = oneshot::channel();
        self.commands.send(command(reply)).await.map_err(|_| stopping())?;
        answer.await.map_err(|_| stopping())?
    }

    /// Makes changes. Errors: those of deciding them; `StorageUnavailable`, `StorageFull`.
    pub async fn write(&self, write: Write) -> Result<WriteReply> {
        self.request(|reply| EngineCommand::Write { write, sent: Instant::now(), reply }).await
    }

    /// Writes rows of a feature in the transaction of the next round. `write` runs on the engine's thread, in a
    /// savepoint: what it writes is stored if it returns `Ok`, and its value is returned once that is on disk. While
    /// storage fails it is refused: rows of features do not wait in memory. Error: that of `write`;
    /// `StorageUnavailable`, after which it is unknown whether the rows were stored.
    pub async fn rows<T, F>(&self, write: F) -> Result<T>
    where
        F: FnOnce(&Connection, Timestamp) -> Result<T> + Send + 'static,
        T: Send + 'static,
    {
        self.rows_with(None, write).await
    }

    /// The same for rows that belong to a document and move between servers with it: they take no changes when it takes
    /// none. Errors: those of [`rows`](Self::rows); `Frozen`, `Moved`.
    pub async fn rows_of<T, F>(&self, document: DocumentName, write: F) -> Result<T>
    where
        F: FnOnce(&Connection, Timestamp) -> Result<T> + Send + 'static,
        T: Send + 'static,
    {
        self.rows_with(Some(document), write).await
    }

    async fn rows_with<T, F>(&self, document: Option<DocumentName>, write: F) -> Result<T>
    where
        F: FnOnce(&Connection, Timestamp) -> Result<T> + Send + 'static,
        T: Send + 'static,
    {
        self.request(|reply| {
            let request = Box::new(RowsClosure { write: Some(write), outcome: Err(not_stored()), reply });
            EngineCommand::Rows { request, document }
        })
        .await
    }

    /// Takes something from somebody, by the hooks that the revocations name. While storage fails they are
    /// [pending](Self::pending_revocations) at once, and stored before everything else when it returns, also when that
    /// is after a stop. `document`: the one that they belong to; they take no changes when it takes none. Errors:
    /// `Frozen`, `Moved`; `StorageUnavailable` when storage fails and as many are pending as may be, and when the
    /// server stops.
    pub async fn revoke(&self, document: Option<DocumentName>, revocations: Vec<Revocation>) -> Result<Durability> {
        self.request(|reply| EngineCommand::Revoke { request: RevocationRequest { revocations, reply }, document })
            .await
    }

    /// What is revoked and not stored. To be taken before the database is read: what is stored in between is in both.
    pub fn pending_revocations(&self) -> Arc<BTreeSet<Revocation>> {
        self.revocations.get()
    }

    /// Stores a snapshot of a document as it is now, in the transaction of the next round. `overwrite`: what somebody
    /// else has stored of it after the running version goes. Errors: `NotFound`; `Gone`; `VersionConflict` when there
    /// is a newer version on disk and `overwrite` is not given; `StorageUnavailable` while storage fails, which changes
    /// nothing else.
    pub async fn snapshot(&self, name: DocumentName, overwrite: bool) -> Result<StoredSnapshot> {
        self.request(|reply| EngineCommand::Snapshot { name, overwrite, reply }).await
    }

    /// Takes a document away: it ends with a tombstone, whatever its rules say, and everything else that is stored of
    /// it goes in the same transaction. What remains is its id, last version and hash; created again, its versions go
    /// on. Whether `viewer` may do that is for the caller to check. Returns the tombstone. Errors: `NotFound`,
    /// `Damaged`; `VersionConflict` when it is not at `expected`; `StorageUnavailable` while storage fails, and when it
    /// fails right now: then the document may be deleted, with its history kept, and this can be repeated.
    pub async fn purge(&self, name: DocumentName, viewer: Viewer, expected: Option<Version>) -> Result<Arc<Document>> {
        let purge = PurgeRequest { name, viewer, expected, may_wait: false };
        Ok(self.request(|reply| EngineCommand::Purge { purge, reply }).await?.tombstone)
    }

    /// The same as [`purge`](Self::purge) of whatever version there is; while storage fails the document ends at once,
    /// and what is stored of it goes when storage returns, also after a stop or a kill. Returns whether it is gone.
    /// Errors: `NotFound`, `Damaged`; `StorageUnavailable` or `StorageFull` when as much waits as may.
    pub async fn purge_or_wait(&self, name: DocumentName, viewer: Viewer) -> Result<Durability> {
        let purge = PurgeRequest { name, viewer, expected: None, may_wait: true };
        Ok(self.request(|reply| EngineCommand::Purge { purge, reply }).await?.durability)
    }

    /// Drops a document's history, but for its newest event and the state before that: what is left beside the state is
    /// below 1 KB, and verifies. When the newest event is large itself, one follows it that changes nothing. Whether
    /// that may be done is for the caller to check. Returns the version that the document then has. Errors: `NotFound`,
    /// `Gone`, `Damaged`; `VersionConflict` when it is not at `expected`; `StorageUnavailable` while storage fails.
    pub async fn compact(&self, name: DocumentName, expected: Version) -> Result<Version> {
        self.request(|reply| EngineCommand::Compact { name, expected, reply }).await
    }

    /// Stores a document of another server. It takes no changes before [`RelocationStep::Activate`]. Errors: `Frozen`
    /// unless it was announced by [`RelocationStep::Expect`]; `AlreadyExists`, `Rejected` when it does not go on from
    /// what is here; `StorageUnavailable`.
    pub async fn import(&self, document: IncomingDocument) -> Result<WriteReply> {
        let document = Box::new(document);
        self.request(|reply| EngineCommand::Import { document, sent: Instant::now(), reply }).await
    }

    /// Takes a step of moving a document between servers, and answers when every change before that is published.
    /// Errors: those of [`RelocationStep`]; `StorageUnavailable` when the server stops.
    pub async fn relocate(&self, name: DocumentName, step: RelocationStep) -> Result<Option<Arc<Document>>> {
        self.request(|reply| EngineCommand::Relocate { name, step, reply }).await
    }

    /// A document of a collection that is on its way from or to another server. Error: `StorageUnavailable` when the
    /// server stops.
    pub async fn moving_document(&self, collection: Collection) -> Result<Option<DocumentName>> {
        self.request(|reply| EngineCommand::FindMoving { collection, reply }).await
    }

    /// Maintains the file, as soon as nothing else waits or that has taken long enough: brings statistics up to date,
    /// moves the WAL into the database and empties it. Error: `StorageUnavailable`.
    pub async fn maintain_file(&self) -> Result<MaintenanceReport> {
        self.request(EngineCommand::MaintainFile).await
    }

    /// Repairs a document that was found different in memory and on disk. Errors: see [`RepairSource`];
    /// `StorageUnavailable`.
    pub async fn repair(
        &self,
        name: DocumentName,
        source: RepairSource,
        remembered: RememberedDocument,
    ) -> Result<RepairedDocument> {
        self.request(|reply| EngineCommand::Repair(RepairRequest { name, source, remembered, reply })).await
    }

    /// Writes everything that is stored to `to`, which is the database from then on, and then what waits. Of a database
    /// that was overwritten nothing can be read: then the documents in memory are written, each at its newest version
    /// and without its history, with an event more. Errors:
    /// `AlreadyExists`, named `rescue-refused`, while storage works, and when `to` is not the absolute path of a file
    /// that does not exist, in a folder that does; `StorageFull`, `StorageUnavailable`, after which nothing is there.
    pub async fn rescue(&self, to: PathBuf) -> Result<RescueReport> {
        self.request(|reply| EngineCommand::Rescue(RescueRequest { to, reply })).await
    }

    /// Answers once everything is published that was on disk when it was asked. Error: `StorageUnavailable` when the
    /// server stops.
    pub async fn barrier(&self) -> Result<Barrier> {
        let (reply, answer) = oneshot::channel();
        self.commands.send(EngineCommand::Barrier(reply)).await.map_err(|_| stopping())?;
        answer.await.map_err(|_| stopping())
    }

    /// Asks for a document to be taken into memory; dropped when the queue is full, since it only saves time.
    pub fn prefetch(&self, name: DocumentName) {
        let _ = self.commands.try_send(EngineCommand::Prefetch(name));
    }

    /// Tells the engine that time has passed. It counts that with whatever it does next; the command only wakes it.
    pub fn tick(&self) {
        self.ticks.fetch_add(1, Ordering::Relaxed);
        let _ = self.commands.try_send(EngineCommand::Tick);
    }

    /// Whether there is still an engine to ask.
    pub fn is_running(&self) -> bool {
        !self.commands.is_closed()
    }

    /// Asks the engine to finish.
    pub async fn stop(&self) {
        let _ = self.commands.send(EngineCommand::Stop).await;
    }
}

/// A closure as a [`RowsRequest`].
struct RowsClosure<F, T> {
    write: Option<F>,
    outcome: Result<T>,
    reply: ReplyTo<T>,
}

impl<F, T> Rows for RowsClosure<F, T>
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

impl<F, T> RowsRequest for RowsClosure<F, T>
where
    F: FnOnce(&Connection, Timestamp) -> Result<T> + Send,
    T: Send,
{
    fn finish(self: Box<Self>, stored: bool) {
        let outcome = match self.outcome {
            Ok(_) if !stored => Err(not_stored()),
            outcome => outcome,
        };
        let _ = self.reply.send(outcome);
    }

    fn refuse(self: Box<Self>, why: Error) {
        let _ = self.reply.send(Err(why));
    }
}
