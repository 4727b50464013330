//! Who sends a body that is not wanted is told so, and not cut off in the middle of sending.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::support::Process;
use crate::support::call::{Reply, parse};

/// Sends a head, then the body in pieces as clients do that look at answers only afterwards (Python's `http.client`),
/// then reads. Every byte must be taken.
fn send_all(server: &Process, head: &str, body_bytes: usize, pieces: usize) -> Reply {
    let mut socket = TcpStream::connect(server.address()).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    socket.set_write_timeout(Some(Duration::from_secs(20))).unwrap();
    let head = format!("{head}\r\nContent-Type: application/json\r\nContent-Length: {body_bytes}\r\n\r\n");
    socket.write_all(head.as_bytes()).unwrap();
    let piece = vec![b' '; body_bytes / pieces];
    for number in 0..pieces {
        socket.write_all(&piece).unwrap_or_else(|error| panic!("piece {number} of {head}: {error}"));
        // As a network does: the next piece comes when this one was taken.
        std::thread::yield_now();
    }
    let mut answer = Vec::new();
    let mut buffer = [0; 8192];
    // The answer may be followed by silence on a connection that is kept.
    loop {
        match socket.read(&mut buffer) {
            Ok(0) => break,
            Ok(count) => answer.extend_from_slice(&buffer[..count]),
            Err(error) => panic!("{head}: {error}"),
        }
        let text = String::from_utf8_lossy(&answer);
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head
                .to_ascii_lowercase()
                .split("content-length: ")
                .nth(1)
                .map(|rest| rest.lines().next().unwrap().trim().parse::<usize>().unwrap());
            if length.is_some_and(|length| body.len() >= length) {
                break;
            }
        }
    }
    parse(&answer)
}

#[tokio::test]
async fn a_refusal_reaches_whoever_is_still_sending() {
    let server = Process::start(&[]);
    server.put("/api/v1/games/g1", &json!({})).await;
    let address = server.address().to_owned();
    let host = format!("Host: {address}");
    let cases = [
        (401, format!("PUT /api/v1/games/g1 HTTP/1.1\r\n{host}\r\nAuthorization: Bearer nobody")),
        (403, format!("PUT /api/v1/games/g1 HTTP/1.1\r\n{host}\r\nOrigin: http://evil.example")),
        (404, format!("PUT /nowhere/at/all HTTP/1.1\r\n{host}")),
        (405, format!("PUT /healthz HTTP/1.1\r\n{host}")),
        (421, "PUT /api/v1/games/g1 HTTP/1.1\r\nHost: evil.example".to_owned()),
        (400, "PUT /api/v1/games/g1 HTTP/1.1\r\nX: y".to_owned()),
        (400, format!("PUT /api/v1/games/g1?x=y HTTP/1.1\r\n{host}")),
        (400, format!("PUT /api/v1/Games/g1 HTTP/1.1\r\n{host}")),
        (413, format!("PUT /api/v1/games/g1 HTTP/1.1\r\n{host}")),
        (415, format!("PUT /api/v1/games/g1 HTTP/1.1\r\n{host}\r\nContent-Encoding: gzip")),
        (200, format!("GET /healthz HTTP/1.1\r\n{host}")),
    ];
    for round in 0..3 {
        for (status, head) in &cases {
            for (bytes, pieces) in [(64 << 10, 4), (3 << 20, 64), (12 << 20, 24)] {
                if *status == 413 && bytes < (2 << 20) {
                    continue;
                }
                let reply = send_all(&server, head, bytes, pieces);
                assert_eq!(reply.status, *status, "round {round}, {bytes} bytes: {head}");
            }
        }
    }
}

#[tokio::test]
async fn whoever_is_over_the_limit_is_told_so_too() {
    let server = Process::start(&[
        "--rate-limit-capacity",
        "5",
        "--rate-limit-refill",
        "1",
        "--rate-limit-window-seconds",
        "3600",
        "--rate-limit-administrators",
        "true",
    ]);
    let head = format!("PUT /api/v1/games/g1 HTTP/1.1\r\nHost: {}", server.address());
    let mut statuses = Vec::new();
    for _ in 0..12 {
        statuses.push(send_all(&server, &head, 1 << 20, 16).status);
    }
    assert_eq!(statuses.iter().filter(|status| **status == 429).count(), 7, "{statuses:?}");
}

#[tokio::test]
async fn a_refused_sender_holds_its_connection_no_longer_than_it_sends() {
    let server = Process::start(&[]);
    let mut socket = TcpStream::connect(server.address()).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    let address = server.address();
    let head = format!("PUT /nowhere HTTP/1.1\r\nHost: {address}\r\nContent-Length: 1000000000\r\n\r\n");
    let begun = Instant::now();
    socket.write_all(head.as_bytes()).unwrap();
    let mut answer = Vec::new();
    socket.read_to_end(&mut answer).unwrap();
    assert_eq!(parse(&answer).status, 404);
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
    // The server waits for more for a while, and not for ever.
    let end = Instant::now() + Duration::from_secs(50);
    while socket.write_all(&[b' '; 1024]).is_ok() {
        assert!(Instant::now() < end, "the connection is still there");
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[tokio::test]
async fn a_small_body_that_is_refused_costs_no_connection() {
    let server = Process::start(&[]);
    let mut socket = TcpStream::connect(server.address()).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let address = server.address();
    for round in 0..5 {
        let head = format!("POST /nowhere HTTP/1.1\r\nHost: {address}\r\nContent-Length: 1000\r\n\r\n");
        socket.write_all(head.as_bytes()).unwrap();
        socket.write_all(&[b' '; 1000]).unwrap();
        let mut answer = [0; 8192];
        let mut read = 0;
        while !String::from_utf8_lossy(&answer[..read]).contains("}") {
            let count = socket.read(&mut answer[read..]).unwrap();
            assert!(count > 0, "round {round}: closed");
            read += count;
        }
        assert!(answer.starts_with(b"HTTP/1.1 404"), "round {round}");
    }
}
