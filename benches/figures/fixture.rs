//! Where the data of a run lies, and how it gets there without the detour over HTTP.

use std::path::Path;
use std::sync::Arc;
use std::thread::JoinHandle;

use anyhow::{Context, Result, anyhow};
use rejoin::SystemEntropy;
use rejoin::internals::DocumentName;
use rejoin::internals::document::Access;
use rejoin::internals::document::Viewer;
use rejoin::internals::document::{Expected, Request, WriteOperation};
use rejoin::internals::engine::EngineOptions;
use rejoin::internals::engine::Health;
use rejoin::internals::engine::{Ending, EngineActor};
use rejoin::internals::engine::{Engine, Write, WriteReply, channel};
use rejoin::internals::limits;
use rejoin::internals::live::Hub;
use rejoin::internals::store::{self, Synchronous};
use rejoin::{Clock, SystemClock};
use serde_json::{Value, json};
use tempfile::TempDir;

/// The collection of all documents here.
pub const COLLECTION: &str = "tables";

/// A directory on the disk that the project lies on. Removed when dropped.
pub fn on_disk() -> Result<TempDir> {
    Ok(tempfile::Builder::new().prefix("figures-").tempdir_in(env!("CARGO_TARGET_TMPDIR"))?)
}

/// A directory in memory. Removed when dropped.
pub fn in_memory() -> Result<TempDir> {
    let builder = tempfile::Builder::new().prefix("figures-").tempdir_in("/dev/shm");
    builder.context("storage in memory is a directory in /dev/shm, which must be a tmpfs")
}

/// The path of a document.
pub fn path(number: usize) -> String {
    format!("/api/v1/{COLLECTION}/table-{number}")
}

/// The state that documents start with: some 1,000 bytes of JSON.
pub fn state() -> Value {
    let seat =
        |number: u32| json!({"name": format!("player-{number}"), "stack": 1500 + number, "bet": 25, "folded": false});
    let seats: Vec<Value> = (0..9).map(seat).collect();
    let board = ["Ah", "Kd", "7c", "7s", "2h"];
    json!({"turn": 0, "street": "river", "pot": 4200, "board": board, "seats": seats, "note": "x".repeat(320)})
}

/// A move, as an action has it: some 200 bytes with its frame.
pub fn patch(number: u64) -> Value {
    json!({"turn": number, "pot": 4200 + number % 977})
}

/// The body of an action over HTTP.
pub fn action(number: u64) -> String {
    let payload = json!({ "by": "player-3", "amount": number, "said": "x".repeat(80) });
    json!({ "type": "raise", "payload": payload, "patch": patch(number) }).to_string()
}

/// The engine on a directory, without anything around it.
pub struct Alone {
    pub engine: Engine,
    thread: JoinHandle<Ending>,
}

impl Alone {
    pub fn start(data_dir: &Path, synchronous: Synchronous) -> Result<Self> {
        Self::start_at(data_dir, synchronous, Arc::new(SystemClock))
    }

    /// The same with a clock of its own.
    pub fn start_at(data_dir: &Path, synchronous: Synchronous, clock: Arc<dyn Clock>) -> Result<Self> {
        let options = store::StoreOptions { synchronous, ..store::StoreOptions::new(data_dir) };
        let (writer, reader) = store::open(options)?;
        let options = EngineOptions::new(clock, Arc::new(SystemEntropy));
        let head = writer.head();
        let hub = Arc::new(Hub::new((head.seq, head.hash), options.ring));
        let (engine, commands) = channel();
        let thread = EngineActor::new(options, writer, reader, hub, Arc::new(Health::default()));
        let thread = std::thread::spawn(move || thread.run(commands));
        Ok(Self { engine, thread })
    }

    /// Ends it in good order.
    pub async fn stop(self) -> Result<()> {
        self.engine.stop().await;
        self.thread.join().map(drop).map_err(|_| anyhow!("the engine panicked"))
    }
}

/// Makes changes.
pub async fn write(engine: &Engine, requests: Vec<Request>) -> Result<WriteReply> {
    Ok(engine.write(Write { requests, viewer: Viewer::Owner, key: None }).await?)
}

/// The making of a document.
pub fn creation(number: usize) -> Result<Request> {
    let operation = WriteOperation::Create { state: state(), host: None, access: Access::default() };
    request(number, operation)
}

/// An action on a document.
pub fn act(number: usize, turn: u64) -> Result<Request> {
    let payload = json!({"by": "player-3", "amount": turn, "said": "x".repeat(80)});
    request(number, WriteOperation::Action { kind: "raise".to_owned(), payload, patch: Some(patch(turn).into()) })
}

fn request(number: usize, operation: WriteOperation) -> Result<Request> {
    let name = DocumentName::new(COLLECTION, &format!("table-{number}"))?;
    Ok(Request { name, operation, expected: Expected::default() })
}

/// Fills a directory with documents.
pub async fn fill(data_dir: &Path, documents: usize) -> Result<()> {
    let alone = Alone::start(data_dir, Synchronous::Normal)?;
    let mut number = 0;
    while number < documents {
        let next = documents.min(number + limits::BATCH_OPERATIONS_MAX);
        let requests = (number..next).map(creation).collect::<Result<_>>()?;
        write(&alone.engine, requests).await?;
        number = next;
    }
    alone.stop().await
}
