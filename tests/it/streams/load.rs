//! Streams while much is written: nothing lost, nothing twice, and memory within bounds.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::{Value, json};
use sse_stream::SseByteStream;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

use super::events_url;
use crate::support::stream::{Blocks, next_event};
use crate::support::{Follower, Process, Replica, Told};

#[tokio::test]
async fn reading_and_following_from_there_loses_and_repeats_nothing_under_load() {
    let server = Process::start(&[]);
    assert_eq!(server.put("/api/v1/games/g1", &json!({ "n": 0 })).await.0, 201);
    let stop = Arc::new(AtomicBool::new(false));
    let writer = |number: u64| {
        let (client, url, stop) = (server.client.clone(), format!("{}/api/v1/games/g1", server.url), Arc::clone(&stop));
        tokio::spawn(async move {
            let mut n = 0_u64;
            while !stop.load(Ordering::Relaxed) {
                n += 1;
                let patch = json!({ format!("of{number}"): n }).to_string();
                let request = client.patch(&url).header("content-type", "application/merge-patch+json").body(patch);
                assert_eq!(request.send().await.unwrap().status(), 200);
            }
            n
        })
    };
    let writers: Vec<_> = (0..4).map(writer).collect();
    let mut last = None;
    for round in 0..60 {
        let read = server.request("GET", "/api/v1/games/g1").send().await.unwrap();
        let position = read.headers()["rejoin-position"].to_str().unwrap().to_owned();
        let mut replica = Replica::of_host();
        replica.put(&serde_json::from_str(&read.text().await.unwrap()).unwrap());
        if round % 3 == 0 {
            // Some time between the two, so that there is something to catch up with.
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
        let mut follower = Follower::connect(&events_url(&server, "games/g1"), None, Some(&position)).await.unwrap();
        let resumed = follower.expect("resumed").await;
        assert_eq!(resumed.data["from"], position);
        let missed = usize::try_from(resumed.data["count"].as_u64().unwrap()).unwrap();
        for (index, told) in follower.changes(missed + 5).await.iter().enumerate() {
            replica.take(told);
            assert_eq!(index + 1 == missed, missed > 0 && resumed.data["to"] == told.id);
        }
        last = Some((follower, replica));
    }
    stop.store(true, Ordering::Relaxed);
    let mut written = 1;
    for writer in writers {
        written += writer.await.unwrap();
    }
    let (mut follower, mut replica) = last.unwrap();
    while replica.documents["games/g1"].version < written {
        replica.take(&follower.expect("change").await);
    }
    let (_, document) = server.get("/api/v1/games/g1").await;
    let known = &replica.documents["games/g1"];
    assert_eq!((&document["state"], &document["hash"]), (&known.state, &json!(known.hash)));
}

/// Bytes that a process has in memory; `VmHWM`: the most it ever had.
fn memory(server: &Process, what: &str) -> usize {
    let status = std::fs::read_to_string(format!("/proc/{}/status", server.id())).unwrap();
    let line = status.lines().find(|line| line.starts_with(what)).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<usize>().unwrap() * 1024
}

/// A subscriber with a socket of its own and a small buffer, which reads when it is told to.
struct Slow {
    blocks: Blocks,
    last_event_id: String,
    /// What it was told before it fell asleep.
    early: Option<Told>,
}

impl Slow {
    async fn connect(server: &Process, resume: &str) -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(16 << 10).unwrap();
        let mut socket = socket.connect(server.address().parse().unwrap()).await.unwrap();
        let resume_line = if resume.is_empty() { String::new() } else { format!("last-event-id: {resume}\r\n") };
        let head = format!(
            "GET /api/v1/stream?collection=games HTTP/1.1\r\nhost: {}\r\naccept: \
             text/event-stream\r\n{resume_line}\r\n",
            server.address()
        );
        socket.write_all(head.as_bytes()).await.unwrap();
        let head = read_head(&mut socket).await;
        assert!(head.starts_with("http/1.1 200") && !head.contains("transfer-encoding"), "{head}");
        let pieces = futures_util::stream::try_unfold(socket, async |mut socket| {
            let mut buffer = vec![0; 256 << 10];
            let count = socket.read(&mut buffer).await?;
            buffer.truncate(count);
            Ok::<_, std::io::Error>((count > 0).then(|| (std::io::Cursor::new(buffer), socket)))
        });
        Self { blocks: Box::pin(SseByteStream::new(Box::pin(pieces))), last_event_id: resume.to_owned(), early: None }
    }

    /// The same, after the first event has come.
    async fn connected(server: &Process, resume: &str) -> Self {
        let mut slow = Self::connect(server, resume).await;
        slow.early = slow.told().await;
        assert!(slow.early.is_some(), "the stream begins with an event");
        slow
    }

    /// What it is told next; `None` when the connection ended.
    async fn told(&mut self) -> Option<Told> {
        match self.early.take() {
            Some(told) => Some(told),
            None => next_event(&mut self.blocks, &mut self.last_event_id).await,
        }
    }
}

/// The head of an answer, in lower case.
async fn read_head(socket: &mut TcpStream) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(socket.read_u8().await.unwrap());
    }
    String::from_utf8(head).unwrap().to_lowercase()
}

/// Everything that `subscriber` is told until it knows `games/g9` at `version`; how many snapshots, and how many of
/// these for what is trimmed.
async fn hear_all(server: &Process, mut subscriber: Slow, version: &Value) -> (Replica, usize, usize) {
    let (mut replica, mut snapshots, mut trimmed) = (Replica::of_host(), 0, 0);
    while replica.documents.get("games/g9").is_none_or(|known| *version != known.version) {
        let Some(told) = subscriber.told().await else {
            // It was let go for taking nothing for too long; then it comes back like any other.
            subscriber = Slow::connect(server, &subscriber.last_event_id).await;
            continue;
        };
        if told.event == "snapshot" {
            (snapshots, trimmed) = (snapshots + 1, trimmed + usize::from(told.data["reason"] == "trimmed"));
        }
        replica.take(&told);
    }
    (replica, snapshots, trimmed)
}

/// Writes `batches` times 100 changes of some 6 KB, over ten documents.
async fn flood(server: &Process, batches: usize) {
    let filler = "x".repeat(6000);
    for batch in 0..batches {
        let put = |n: usize| {
            let state = json!({ "n": batch * 100 + n, "filler": format!("{batch}-{n}-{filler}") });
            json!({ "op": "put", "collection": "games", "id": format!("g{}", n % 10), "state": state })
        };
        let operations: Vec<Value> = (0..100).map(put).collect();
        let (status, answer) = server.post("/api/v1/batch", &json!({ "operations": operations })).await;
        assert_eq!(status, 200, "{answer}");
    }
}

#[tokio::test]
async fn a_subscriber_that_stops_reading_costs_little_and_gets_every_change_when_it_reads_again() {
    let server = Process::start(&["--ring-events-max", "2048"]);
    flood(&server, 5).await;
    let mut slow = Vec::new();
    for _ in 0..6 {
        slow.push(Slow::connected(&server, "").await);
    }
    let before = memory(&server, "VmRSS");
    // 18 MB for each of the six, which sockets cannot hold; 3,000 changes, which the ring cannot.
    flood(&server, 30).await;
    // What is in the WAL is kept in memory too, whoever reads.
    let wal = std::fs::metadata(server.data_dir().join("rejoin.db-wal")).unwrap().len();
    let before = before + usize::try_from(wal).unwrap();
    let peak = memory(&server, "VmHWM");
    assert!(peak < before + (60 << 20), "{} MB before, {} MB at most", before >> 20, peak >> 20);

    let (_, now) = server.get("/api/v1/games/g9").await;
    for subscriber in slow {
        let (replica, snapshots, _) = hear_all(&server, subscriber, &now["version"]).await;
        assert_eq!((replica.changes, snapshots), (3000, 1), "all is kept: no snapshot but the first");
        assert_eq!(replica.documents["games/g9"].hash, now["hash"]);
    }
    let peak = memory(&server, "VmHWM");
    assert!(peak < before + (75 << 20), "{} MB before, {} MB at most", before >> 20, peak >> 20);
}

#[tokio::test]
async fn a_subscriber_that_sleeps_while_history_is_trimmed_is_told_so_and_gets_the_present() {
    let server = Process::start(&["--ring-events-max", "2048", "--history-events", "5"]);
    flood(&server, 1).await;
    let slow = [Slow::connected(&server, "").await, Slow::connected(&server, "0").await];
    flood(&server, 30).await;
    let (_, now) = server.get("/api/v1/games/g9").await;
    for subscriber in slow {
        let (replica, _, trimmed) = hear_all(&server, subscriber, &now["version"]).await;
        assert!(trimmed >= 1 && replica.changes < 3000, "{trimmed}, {}", replica.changes);
        for (name, known) in &replica.documents {
            let (_, document) = server.get(&format!("/api/v1/{name}")).await;
            assert_eq!((&document["state"], &document["hash"]), (&known.state, &json!(known.hash)), "{name}");
        }
    }
}
