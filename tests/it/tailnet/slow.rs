//! Who takes all the time in the world is not waited for, and holds up nobody: with the limits that are in force when
//! nobody says otherwise.

use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::support::Process;

/// Of each kind.
const MANY: usize = 60;
const PATIENCE: Duration = Duration::from_secs(40);

/// How a client is slow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Slow {
    /// Says nothing at all.
    Silent,
    /// Sends its head a header at a time, for ever.
    Head,
    /// Sends its head and none of the body that it announced.
    Body,
    /// Asks once and keeps the connection.
    Kept,
}

/// Is slow until the server has had enough: how long that took, and what it said.
async fn be(slow: Slow, address: String) -> (Slow, Duration, String) {
    let begun = Instant::now();
    let mut stream = TcpStream::connect(&address).await.unwrap();
    let head = format!("HTTP/1.1\r\nHost: {address}\r\n");
    let first = match slow {
        Slow::Silent => String::new(),
        Slow::Head => format!("GET / {head}"),
        Slow::Body => {
            format!("PUT /api/v1/games/g1 {head}Content-Type: application/json\r\nContent-Length: 1000\r\n\r\n{{")
        }
        Slow::Kept => format!("GET /healthz {head}\r\n"),
    };
    stream.write_all(first.as_bytes()).await.unwrap();
    let (mut input, mut output) = stream.into_split();
    let mut said = Vec::new();
    let trickle = async {
        while slow == Slow::Head && output.write_all(b"X-More: y\r\n").await.is_ok() {
            sleep(Duration::from_secs(1)).await;
        }
        std::future::pending::<()>().await;
    };
    tokio::select! {
        ended = timeout(PATIENCE, input.read_to_end(&mut said)) => drop(ended.expect("the server waits for ever")),
        () = trickle => {}
    }
    (slow, begun.elapsed(), String::from_utf8_lossy(&said).into_owned())
}

#[tokio::test]
async fn slow_clients_are_closed_in_time_and_hold_up_nobody() {
    let server = Process::start(&[]);
    let mut clients = JoinSet::new();
    for slow in [Slow::Silent, Slow::Head, Slow::Body, Slow::Kept] {
        for _ in 0..MANY {
            clients.spawn(be(slow, server.address().to_owned()));
        }
    }
    let mut closed = 0;
    while closed < 4 * MANY {
        let asked = Instant::now();
        assert_eq!(server.get("/healthz").await.0, 200);
        assert!(asked.elapsed() < Duration::from_secs(2), "somebody is held up: {:?}", asked.elapsed());
        while let Ok(Some(client)) = timeout(Duration::from_millis(500), clients.join_next()).await {
            let (slow, took, said) = client.unwrap();
            closed += 1;
            let (least, most, word) = match slow {
                Slow::Silent | Slow::Head => (9, 14, ""),
                Slow::Kept => (9, 14, "HTTP/1.1 200"),
                Slow::Body => (14, 20, "HTTP/1.1 408"),
            };
            assert!((least..most).contains(&took.as_secs()), "{slow:?} took {took:?}");
            assert!(said.starts_with(word), "{slow:?}: {said}");
        }
    }
}
