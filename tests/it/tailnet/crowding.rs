//! One of many does not take what is everybody's.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;

use super::entering::{PATH, start};
use crate::support::localapi::{Answer, OWNER, PERSON, Tailscaled};
use crate::support::{Follower, Process};

const PATIENCE: Duration = Duration::from_secs(20);
/// The answer of a server that has no word for who asks.
const NOTHING: Option<u16> = None;

/// Connects from an address of loopback, asks for something and keeps the connection: the status of the answer.
async fn visit(server: &Process, from: &str) -> (TcpStream, Option<u16>) {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(SocketAddr::new(from.parse().unwrap(), 0)).unwrap();
    let mut stream = socket.connect(server.address().parse().unwrap()).await.unwrap();
    let ask = format!("GET /healthz HTTP/1.1\r\nHost: {}\r\n\r\n", server.address());
    // Whoever is closed at once may notice only now, or only when reading.
    let _ = stream.write_all(ask.as_bytes()).await;
    let mut answer = [0; 1024];
    let read = timeout(PATIENCE, stream.read(&mut answer)).await.unwrap().unwrap_or(0);
    let status =
        answer.get(9..12).filter(|_| read > 12).map(|code| std::str::from_utf8(code).unwrap().parse().unwrap());
    (stream, status)
}

/// Tries until it is as `wanted`, since the end of a connection is noticed a little later.
async fn until(server: &Process, from: &str, wanted: Option<u16>) -> TcpStream {
    let end = Instant::now() + PATIENCE;
    loop {
        let (stream, status) = visit(server, from).await;
        if status == wanted {
            return stream;
        }
        assert!(Instant::now() < end, "{status:?}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn one_person_has_as_many_connections_as_may_be_and_others_have_theirs() {
    let tailscaled = Tailscaled::userspace(Answer::nobody());
    // Bob has two machines.
    for (address, whois) in [("127.0.0.2", PERSON), ("127.0.0.3", PERSON), ("127.0.0.4", OWNER)] {
        tailscaled.set_whois_of(address, Answer::ok(whois));
    }
    let server = start(&tailscaled, &["--connections-per-user-max", "3"]);
    let mut held = Vec::new();
    for from in ["127.0.0.2", "127.0.0.3", "127.0.0.2"] {
        let (stream, status) = visit(&server, from).await;
        assert_eq!(status, Some(200));
        held.push(stream);
    }
    for from in ["127.0.0.2", "127.0.0.3"] {
        assert_eq!(visit(&server, from).await.1, NOTHING, "closed without a byte");
    }
    assert_eq!(visit(&server, "127.0.0.4").await.1, Some(200), "another person");
    let mut local = Vec::new();
    for _ in 0..10 {
        local.push(visit(&server, "127.0.0.1").await);
    }
    assert!(local.iter().all(|(_, status)| *status == Some(200)), "processes of this machine are many");
    drop(held.pop());
    held.push(until(&server, "127.0.0.3", Some(200)).await);
    assert_eq!(visit(&server, "127.0.0.2").await.1, NOTHING);
}

#[tokio::test]
async fn past_the_bound_of_all_connections_the_next_is_closed() {
    let server = Process::start(&["--connections-max", "4"]);
    let mut held = Vec::new();
    for _ in 0..4 {
        let (stream, status) = visit(&server, "127.0.0.1").await;
        assert_eq!(status, Some(200));
        held.push(stream);
    }
    assert_eq!(visit(&server, "127.0.0.1").await.1, NOTHING);
    held.clear();
    until(&server, "127.0.0.1", Some(200)).await;
}

#[tokio::test]
async fn one_user_has_as_many_streams_as_may_be_and_others_have_theirs() {
    let server = Process::start(&["--streams-per-user-max", "2"]);
    assert_eq!(server.put(PATH, &json!({ "n": 0 })).await.0, 201);
    let url = format!("{}{PATH}/events", server.url);
    for viewer in [None, Some("ann"), Some("bob")] {
        let mut first = Follower::connect(&url, viewer, None).await.unwrap();
        let second = Follower::connect(&format!("{}/api/v1/stream?doc=games/g1", server.url), viewer, None).await;
        first.expect("snapshot").await;
        let refused = Follower::connect(&url, viewer, None).await.map(drop).unwrap_err();
        assert_eq!(refused.status().map(|status| status.as_u16()), Some(429), "{viewer:?}");
        // One that goes on would be lost to a browser for good: it is told to come back.
        let mut resumed = Follower::connect(&url, viewer, Some("1-0")).await.unwrap();
        assert_eq!(resumed.expect("bye").await.data["reason"], "too-many-streams");
        assert!(resumed.next_raw().await.is_none());
        drop(second.unwrap());
        let end = Instant::now() + PATIENCE;
        while Follower::connect(&url, viewer, None).await.is_err() {
            assert!(Instant::now() < end, "the place of a stream that is gone is not free again");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
    let kept = [Follower::connect(&url, None, None).await, Follower::connect(&url, None, None).await];
    let reply = server.ask("GET", &format!("{PATH}/events"), &[("accept", "text/event-stream")]).await;
    assert!(reply.headers.contains_key("retry-after"));
    assert_eq!(reply.problem(429, "too-many-streams")["limit"], 2);
    assert_eq!(server.ask("GET", &format!("{PATH}/events"), &[]).await.status, 200, "history is no stream");
    drop(kept);
}
