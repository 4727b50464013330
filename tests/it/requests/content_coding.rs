//! Bodies that are encoded, and heads that are not as HTTP has them.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use serde_json::json;

use crate::support::Process;
use crate::support::call::parse;

const PATH: &str = "/api/v1/games/g1";
const BODY: &str = r#"{"state":{}}"#;

#[tokio::test]
async fn a_body_in_a_content_coding_is_refused_with_what_is_taken() {
    let server = Process::start(&[]);
    for coding in ["gzip", "br", "deflate", "zstd", "x-gzip", "GZIP", "identity, gzip", "gzip, identity", "nonsense"] {
        for (method, path, media_type, body) in [
            ("PUT", PATH, "application/json", BODY),
            ("POST", "/api/v1/games", "application/json", BODY),
            ("PATCH", PATH, "application/merge-patch+json", "{}"),
            ("POST", "/api/v1/batch", "application/json", "{}"),
            ("POST", "/api/v1/sessions", "application/json", "{}"),
            ("POST", "/api/v1/games/g1/seats", "application/json", "{}"),
        ] {
            let headers = [("content-encoding", coding), ("content-type", media_type)];
            let reply = server.tell(method, path, &headers, body).await;
            assert_eq!(reply.status, 415, "{method} {path} {coding}: {}", reply.text);
            assert_eq!(reply.header("accept-encoding"), "identity", "{method} {path}");
            let problem = reply.problem(415, "unsupported-media-type");
            assert!(problem["detail"].as_str().unwrap().contains("Content-Encoding"), "{problem}");
        }
    }
    assert_eq!(server.get(PATH).await.0, 404, "nothing was stored");
    for plain in ["identity", "Identity", ""] {
        server.tell("PUT", PATH, &[("content-encoding", plain)], BODY).await.expect(if plain == "identity" {
            201
        } else {
            200
        });
    }
}

#[tokio::test]
async fn json_in_utf_8_is_json_however_its_charset_is_written() {
    let server = Process::start(&[]);
    for media_type in [
        "application/json; charset=utf8",
        "application/json; charset=UTF8",
        "application/json;charset=\"utf8\"",
        "application/json; charset=utf-8",
        "application/json; charset=UTF-8; x=y",
        "application/json; Charset=Utf-8",
        "application/json;",
    ] {
        let reply = server.tell("PUT", PATH, &[("content-type", media_type)], BODY).await;
        assert!(matches!(reply.status, 200 | 201), "{media_type}: {}", reply.text);
    }
    let merge = [("content-type", "application/merge-patch+json; charset=utf8")];
    server.tell("PATCH", PATH, &merge, json!({ "n": 1 })).await.expect(200);
    let latin = [("content-type", "application/json; charset=latin1")];
    server.tell("PUT", PATH, &latin, BODY).await.problem(415, "unsupported-media-type");
}

fn head(server: &Process, more: &str) -> String {
    let address = server.address();
    format!("PUT {PATH} HTTP/1.1\r\nHost: {address}\r\nContent-Type: application/json\r\n{more}\r\n\r\n")
}

#[tokio::test]
async fn a_transfer_coding_other_than_chunked_is_refused() {
    let server = Process::start(&[]);
    let chunked = format!("{:x}\r\n{BODY}\r\n0\r\n\r\n", BODY.len());
    for coding in ["gzip, chunked", "deflate,chunked", "chunked, chunked", "identity, chunked", "gzip,  Chunked"] {
        let bytes = format!("{}{chunked}", head(&server, &format!("Transfer-Encoding: {coding}")));
        let reply = server.raw(bytes.as_bytes());
        assert!(matches!(reply.status, 400 | 501), "{coding}: {}", reply.text);
    }
    let twice = format!("{}{chunked}", head(&server, "Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked"));
    assert!(matches!(server.raw(twice.as_bytes()).status, 400 | 501));
    let problem = server.raw(format!("{}{chunked}", head(&server, "Transfer-Encoding: gzip, chunked")).as_bytes());
    assert_eq!(problem.problem(400, "invalid-request")["errors"][0]["field"], "Transfer-Encoding");
    assert_eq!(server.get(PATH).await.0, 404, "nothing was stored");
    let plain = head(&server, "Connection: close\r\nTransfer-Encoding: Chunked");
    server.raw(format!("{plain}{chunked}").as_bytes()).expect(201);
}

/// What comes back until the server closes.
fn exchange(server: &Process, parts: &[&[u8]]) -> Vec<u8> {
    let mut socket = TcpStream::connect(server.address()).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    for part in parts {
        socket.write_all(part).unwrap();
    }
    let mut answer = Vec::new();
    let _ = socket.read_to_end(&mut answer);
    answer
}

#[tokio::test]
async fn a_line_of_a_head_ends_with_both_of_its_characters() {
    let server = Process::start(&[]);
    let address = server.address().to_owned();
    let get = format!("GET /healthz HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    assert!(exchange(&server, &[get.as_bytes()]).starts_with(b"HTTP/1.1 200"));
    let bare = get.replace("\r\n", "\n");
    let one_bare = get.replacen("\r\n", "\n", 1);
    let last_bare = get.replace("\r\n\r\n", "\r\n\n");
    for wrong in [&bare, &one_bare, &last_bare] {
        let reply = parse(&exchange(&server, &[wrong.as_bytes()]));
        assert_eq!(reply.status, 400, "{wrong:?}");
        assert!(reply.text.contains("CRLF"), "{wrong:?}: {}", reply.text);
        // Byte by byte, as it may come from a network.
        let pieces: Vec<&[u8]> = wrong.as_bytes().chunks(1).collect();
        assert_eq!(parse(&exchange(&server, &pieces)).status, 400, "{wrong:?}");
    }
}

#[tokio::test]
async fn line_ends_count_in_heads_alone_and_in_each_of_a_connection() {
    let server = Process::start(&[]);
    let address = server.address().to_owned();
    let body = "{\n\"state\":\n{\"text\":\n\"GET / HTTP/1.1\\n\"}\n}\n\n";
    let put = |id: &str, framing: &str| {
        let host = format!("Host: {address}\r\nContent-Type: application/json");
        format!("PUT /api/v1/games/{id} HTTP/1.1\r\n{host}\r\n{framing}\r\n\r\n")
    };
    let length = format!("Content-Length: {}", body.len());
    let plain = format!("{}{body}", put("g1", &length));
    let (first, second) = body.split_at(7);
    let chunks = format!("{:x}\r\n{first}\r\n{:x};x=y\r\n{second}\r\n0\r\n\r\n", first.len(), second.len());
    let chunked = format!("{}{chunks}", put("g2", "Transfer-Encoding: chunked"));
    let get = |end: &str| format!("GET /healthz HTTP/1.1\r\nHost: {address}{end}Connection: close{end}{end}");
    // All in one piece, and cut anywhere.
    let good = format!("{plain}{chunked}{plain}\r\n{}", get("\r\n"));
    let bad = format!("{plain}{chunked}{}", get("\n"));
    for size in [good.len(), 1, 3, 64, 100] {
        let answers = |text: &str| {
            let pieces: Vec<&[u8]> = text.as_bytes().chunks(size).collect();
            let answer = String::from_utf8_lossy(&exchange(&server, &pieces)).into_owned();
            answer.match_indices("HTTP/1.1 ").map(|(at, _)| answer[at + 9..at + 12].to_owned()).collect::<Vec<_>>()
        };
        let statuses = answers(&good);
        assert!(statuses.len() == 4 && statuses.iter().all(|status| status.starts_with('2')), "{size}: {statuses:?}");
        let statuses = answers(&bad);
        assert_eq!(statuses.last().map(String::as_str), Some("400"), "{size}: {statuses:?}");
        assert_eq!(statuses.len(), 3, "{size}: {statuses:?}");
    }
}
