//! A poker table: what it says, what is done at it, and who follows it.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result, bail, ensure};
use rejoin::Clock;
use rejoin::internals::DocumentName;
use rejoin::internals::document::Access;
use rejoin::internals::document::{Expected, Request, WriteOperation};
use rejoin::internals::limits::BATCH_OPERATIONS_MAX;
use rejoin::internals::store::Synchronous;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::client::{Connection, get_stream, with_json};
use crate::fixture;

/// Hands that a long game remembers: with them it has some 50 KB.
const HANDS: u32 = 490;
/// Hands that a short one remembers: some 2 KB.
const FEW_HANDS: u32 = 8;

/// A game in mid-hand, which remembers as many hands.
fn state(hands: u32) -> Value {
    let seats: Vec<Value> =
        (1..=5).map(|number| json!({"player": format!("p{number}"), "stack": 1500 + number, "bet": 25})).collect();
    let private: serde_json::Map<String, Value> =
        (1..=5).map(|number| (format!("p{number}"), json!({"cards": ["Ah", "Kd"]}))).collect();
    let board = ["7c", "7s", "2h"];
    let hand = |number: u32| {
        json!({
            "hand": number, "board": ["Ah", "Kd", "7c", "7s", "2h"], "pot": 4200 + number, "won": "p3",
            "showed": ["Qs", "Qd"], "raises": 4,
        })
    };
    json!({
        "phase": "flop", "turn": 0, "pot": 4200, "board": board, "maxSeats": 5, "seats": seats,
        "hidden": {"deck": ["3c", "4d", "5h", "6s", "8c"]}, "private": private,
        "hands": (0..hands).map(hand).collect::<Vec<_>>(),
    })
}

/// The request that makes a short game.
pub fn create(id: &str) -> Vec<u8> {
    with_json("PUT", &format!("/api/v1/games/{id}"), &json!({ "state": state(FEW_HANDS) }).to_string())
}

/// The request that is a move in a game.
pub fn act(id: &str, turn: u64) -> Vec<u8> {
    with_json("POST", &format!("/api/v1/games/{id}/actions"), &fixture::action(turn))
}

/// Opens a session of a player; its token.
pub async fn session(connection: &mut Connection, player: &str) -> Result<String> {
    let request = with_json("POST", "/api/v1/sessions", &json!({ "user": player }).to_string());
    let opened: Value = serde_json::from_slice(&connection.must(&request).await?.body)?;
    Ok(opened.get("token").and_then(Value::as_str).context("no token")?.to_owned())
}

/// The same request, sent by the player whose session this is.
pub fn as_player(session: &str, request: &[u8]) -> Vec<u8> {
    let line = memchr::memmem::find(request, b"\r\n").unwrap_or(request.len());
    let (line, rest) = request.split_at(line);
    [line, b"\r\nauthorization: Bearer ", session.as_bytes(), rest].concat()
}

/// Fills a directory with long games, each of as many events, its creation among them.
pub async fn fill(data_dir: &Path, games: usize, events: u64, clock: Arc<dyn Clock>) -> Result<()> {
    let alone = fixture::Alone::start_at(data_dir, Synchronous::Normal, clock)?;
    for number in 0..games {
        let name = DocumentName::new("games", &format!("game-{number}"))?;
        let mut operations =
            vec![WriteOperation::Create { state: state(HANDS), host: None, access: Access::default() }];
        operations.extend((1..events).map(action));
        let mut operations = operations.into_iter().peekable();
        while operations.peek().is_some() {
            let some = operations.by_ref().take(BATCH_OPERATIONS_MAX);
            let request = |operation| Request { name: name.clone(), operation, expected: Expected::default() };
            fixture::write(&alone.engine, some.map(request).collect()).await?;
        }
    }
    alone.stop().await
}

fn action(turn: u64) -> WriteOperation {
    let payload = json!({"by": "p3", "amount": turn, "said": "x".repeat(80)});
    WriteOperation::Action { kind: "raise".to_owned(), payload, patch: Some(fixture::patch(turn).into()) }
}

/// Follows a game as a player from a position on, until the stream says that it goes on from there.
pub async fn until_resumed(address: SocketAddr, id: &str, session: &str, position: &str) -> Result<()> {
    let mut stream = Stream::open(address, id, session, Some(position)).await?;
    loop {
        match stream.next().await? {
            Some(event) if event.name == "resumed" => return Ok(()),
            Some(event) if event.name == "snapshot" => bail!("a snapshot instead of what was missed"),
            Some(_) => {}
            None => bail!("the stream ended"),
        }
    }
}

/// A stream of a game that keeps what a client needs to come back.
pub struct Stream {
    socket: TcpStream,
    buffer: Vec<u8>,
    /// The position of the last whole event that had one.
    pub position: Option<String>,
}

/// An event.
pub struct Event {
    pub name: String,
    pub data: String,
}

impl Stream {
    pub async fn open(address: SocketAddr, id: &str, session: &str, position: Option<&str>) -> Result<Self> {
        let mut socket = TcpStream::connect(address).await?;
        let request = get_stream(&format!("/api/v1/games/{id}/events"), position);
        socket.write_all(&as_player(session, &request)).await?;
        let mut this = Self { socket, buffer: Vec::with_capacity(4 << 10), position: position.map(str::to_owned) };
        let Some(head) = this.block(b"\r\n\r\n").await? else { bail!("no answer") };
        ensure!(head.starts_with("HTTP/1.1 200 "), "{head}");
        Ok(this)
    }

    /// The next event; `None` at the end.
    pub async fn next(&mut self) -> Result<Option<Event>> {
        loop {
            let Some(block) = self.block(b"\n\n").await? else { return Ok(None) };
            let (mut name, mut data, mut position) = (None, String::new(), None);
            for line in block.lines() {
                match line.split_once(": ") {
                    Some(("event", value)) => name = Some(value.to_owned()),
                    Some(("data", value)) => value.clone_into(&mut data),
                    Some(("id", value)) => position = Some(value.to_owned()),
                    _ => {}
                }
            }
            self.position = position.or_else(|| self.position.take());
            if let Some(name) = name {
                return Ok(Some(Event { name, data }));
            }
        }
    }

    /// What comes up to and with `end`.
    async fn block(&mut self, end: &[u8]) -> Result<Option<String>> {
        loop {
            if let Some(at) = memchr::memmem::find(&self.buffer, end) {
                let block = self.buffer.drain(..at + end.len()).collect();
                return Ok(Some(String::from_utf8(block)?));
            }
            // A server that is killed resets the connection; that is an end like any other.
            match self.socket.read_buf(&mut self.buffer).await {
                Ok(0) | Err(_) => return Ok(None),
                Ok(_) => {}
            }
        }
    }
}
