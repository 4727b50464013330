//! Requests that are wrong as HTTP, sent byte by byte: hosts, framing, text that is not UTF-8.

use std::io::Write as _;
use std::net::TcpStream;

use serde_json::json;

use super::{Bench, MERGE, PATH};
use crate::support::send;

#[tokio::test]
async fn a_request_has_exactly_one_host_and_it_is_ours() {
    let bench = Bench::new().await;
    let address = bench.server.address().to_owned();
    let port = address.rsplit_once(':').unwrap().1.to_owned();
    let ask = |target: &str, hosts: &[&str]| {
        let hosts: String = hosts.iter().map(|host| format!("Host: {host}\r\n")).collect();
        let body = r#"{"state":{}}"#;
        let rest = "Connection: close\r\nContent-Type: application/json\r\nContent-Length: 12";
        bench.server.raw(format!("PUT {target} HTTP/1.1\r\n{hosts}{rest}\r\n\r\n{body}").as_bytes())
    };
    for (hosts, status, slug) in [
        (&[][..], 400, "invalid-request"),
        (&[""], 400, "invalid-request"),
        (&[&address, &address], 400, "invalid-request"),
        (&[&address, "evil.example"], 400, "invalid-request"),
        (&["evil.example", &address], 400, "invalid-request"),
        (&["evil.example"], 421, "misdirected-host"),
        (&[&format!("evil.example:{port}")], 421, "misdirected-host"),
        (&[&format!("127.0.0.1.evil.example:{port}")], 421, "misdirected-host"),
        (&["127.0.0.1:1"], 421, "misdirected-host"),
        (&["127.0.0.1"], 421, "misdirected-host"),
        (&[&format!("x@{address}")], 421, "misdirected-host"),
        (&[&format!("{address}, {address}")], 421, "misdirected-host"),
        (&["\u{e4}"], 421, "misdirected-host"),
    ] {
        bench.refused(&format!("{hosts:?}"), ask(PATH, hosts), status, slug).await;
    }
    let absolute = format!("http://evil.example{PATH}");
    bench.refused(&absolute, ask(&absolute, &[&address]), 400, "invalid-request").await;
    for ours in [format!("localhost:{port}"), format!("LOCALHOST:{port}"), format!("[::1]:{port}")] {
        assert_eq!(ask("/api/v1/games/g2", &[&ours]).status / 100, 2, "{ours}");
    }
    let old = format!("GET {PATH} HTTP/1.0\r\n\r\n");
    assert_eq!(bench.server.raw(old.as_bytes()).problem(400, "invalid-request")["status"], 400);
}

#[tokio::test]
async fn pages_of_other_origins_change_nothing() {
    let bench = Bench::new().await;
    for headers in [
        &[("origin", "http://evil.example")][..],
        &[("origin", "null")],
        &[("sec-fetch-site", "cross-site"), ("sec-fetch-mode", "no-cors")],
    ] {
        let reply = bench.server.tell("PUT", PATH, headers, json!({ "state": {} })).await;
        bench.refused(&format!("{headers:?}"), reply, 403, "forbidden").await;
    }
}

#[tokio::test]
async fn text_that_is_not_utf_8() {
    let bench = Bench::new().await;
    let server = &bench.server;
    for bytes in [&b"\xff"[..], b"\xc0\xaf", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\xe2\x82", b"\x80"] {
        let state = [br#"{"state":{"t":""#, bytes, br#""}}"#].concat();
        let request = server.request("PUT", PATH).header("content-type", "application/json");
        bench.refused("PUT", send(request.body(state)).await, 400, "invalid-request").await;
        let patch = [br#"{""#, bytes, br#"":1}"#].concat();
        let request = server.request("PATCH", PATH).header(MERGE.0, MERGE.1);
        bench.refused("PATCH", send(request.body(patch)).await, 400, "invalid-request").await;
        let bearer = server.request("DELETE", PATH).header("authorization", [&b"Bearer "[..], bytes].concat());
        bench.refused("bearer", send(bearer).await, 400, "invalid-request").await;
        let cookie = server.request("DELETE", PATH).header("cookie", [&b"rejoin_session="[..], bytes].concat());
        bench.refused("cookie", send(cookie).await, 401, "unauthenticated").await;
        let key = server.request("DELETE", PATH).header("idempotency-key", bytes);
        bench.refused("key", send(key).await, 400, "invalid-request").await;
    }
}

#[tokio::test]
async fn bodies_that_come_in_chunks_are_bounded_like_others() {
    let bench = Bench::new().await;
    let address = bench.server.address().to_owned();
    let head = |more: &str| {
        format!(
            "PUT {PATH} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\nContent-Type: \
             application/json\r\n{more}\r\n\r\n"
        )
        .into_bytes()
    };
    let mut chunked = head("Transfer-Encoding: chunked");
    chunked.extend_from_slice(b"9\r\n{\"state\":\r\n");
    for _ in 0..40 {
        chunked.extend_from_slice(format!("{:x}\r\n{}\r\n", 65536, " ".repeat(65536)).as_bytes());
    }
    chunked.extend_from_slice(b"3\r\n{}}\r\n0\r\n\r\n");
    bench.refused("chunks", bench.server.raw(&chunked), 413, "too-large").await;
    let announced = head("Content-Length: 10000000000");
    bench.refused("announced", bench.server.raw(&announced), 413, "too-large").await;
    let waiting = head("Content-Length: 10000000\r\nExpect: 100-continue");
    bench.refused("awaiting", bench.server.raw(&waiting), 413, "too-large").await;
    let mut broken = head("Transfer-Encoding: chunked");
    broken.extend_from_slice(b"zz\r\n{\"state\":{}}\r\n0\r\n\r\n");
    bench.refused("bad chunks", bench.server.raw(&broken), 400, "invalid-request").await;
    let mut ok = head("Transfer-Encoding: chunked");
    ok.splice(4..4 + PATH.len(), *b"/api/v1/games/g2");
    ok.extend_from_slice(b"4\r\n{\"st\r\n8\r\nate\":{}}\r\n0\r\n\r\n");
    bench.server.raw(&ok).expect(201);
}

#[tokio::test]
async fn what_is_no_http_or_breaks_off_changes_nothing() {
    let bench = Bench::new().await;
    let address = bench.server.address().to_owned();
    let head =
        format!("PUT {PATH} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\nContent-Type: application/json\r\n");
    let body = r#"{"state":{}}"#;
    for bytes in [
        b"\x16\x03\x01\x02\x00\x01\x00".to_vec(),
        b"GET\r\n\r\n".to_vec(),
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(),
        format!("PUT {PATH} HTTP/9.9\r\nHost: {address}\r\n\r\n").into_bytes(),
        format!("{head}Content-Length: 12\r\nContent-Length: 13\r\n\r\n{body}").into_bytes(),
        format!("{head}Content-Length: -1\r\n\r\n{body}").into_bytes(),
        format!("{head}Content-Length: 1x\r\n\r\n{body}").into_bytes(),
        format!("{head}Transfer-Encoding: gzip\r\n\r\n{body}").into_bytes(),
        format!("{head}X: {}\r\nContent-Length: 12\r\n\r\n{body}", "x".repeat(70_000)).into_bytes(),
        format!("{head}{}Content-Length: 12\r\n\r\n{body}", "X: y\r\n".repeat(5_000)).into_bytes(),
        format!("{head}Bad Name: x\r\nContent-Length: 12\r\n\r\n{body}").into_bytes(),
        format!("GET /{} HTTP/1.1\r\nHost: {address}\r\n\r\n", "x".repeat(70_000)).into_bytes(),
    ] {
        let mut socket = TcpStream::connect(&address).unwrap();
        socket.set_read_timeout(Some(std::time::Duration::from_secs(20))).unwrap();
        let _ = socket.write_all(&bytes);
        let mut answer = Vec::new();
        let _ = std::io::Read::read_to_end(&mut socket, &mut answer);
        let what = String::from_utf8_lossy(&bytes[..bytes.len().min(200)]).into_owned();
        assert!(answer.is_empty() || answer.starts_with(b"HTTP/1.1 4") || answer.starts_with(b"HTTP/1.0 4"), "{what}");
        bench.unchanged(&what).await;
    }
    let mut half = TcpStream::connect(&address).unwrap();
    half.write_all(format!("{head}Content-Length: 13\r\n\r\n{body}").as_bytes()).unwrap();
    half.shutdown(std::net::Shutdown::Both).unwrap();
    bench.unchanged("half a body").await;
}
