//! Messages without history: what those who follow a document tell each other, and nobody keeps.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::{AS, Clocked, Follower, Process, Told};

const GAME: &str = "/api/v1/games/g1";
const MESSAGES: &str = "/api/v1/games/g1/messages";

/// A server with `games/g1` of alice, which bob and carol may read.
async fn start(flags: &[&str]) -> Process {
    let server = Process::start(flags);
    create(&server, json!({ "read": ["bob", "carol"], "write": "host" })).await;
    server
}

async fn create(server: &Process, access: Value) {
    let body = json!({ "id": "g1", "state": { "n": 1 }, "access": access });
    let (status, reply) = server.post_as("alice", "/api/v1/games", &body).await;
    assert_eq!(status, 201, "{reply}");
}

async fn follow(server: &Process, viewer: Option<&str>) -> Follower {
    follow_at(server, &format!("{GAME}/events"), viewer).await
}

async fn follow_at(server: &Process, path: &str, viewer: Option<&str>) -> Follower {
    let mut follower = Follower::connect(&format!("{}{path}", server.url), viewer, None).await.unwrap();
    follower.expect("snapshot").await;
    follower
}

async fn send(server: &Process, sender: &str, body: Value) -> Value {
    let (status, reply) = server.post_as(sender, MESSAGES, &body).await;
    assert_eq!(status, 202, "{reply}");
    reply
}

/// The next message that a follower is told.
async fn message(follower: &mut Follower) -> Value {
    follower.expect("message").await.data
}

/// Changes the document, so that whoever follows it is told something after all messages.
async fn change(server: &Process) -> u64 {
    let (status, reply) = server.merge(GAME, &json!({ "n": 2 })).await;
    assert_eq!(status, 200, "{reply}");
    reply["version"].as_u64().unwrap()
}

#[tokio::test]
async fn whoever_follows_is_told_in_order_and_nobody_resumes_from_it() {
    let server = start(&[]).await;
    let mut followers = vec![
        follow(&server, None).await,
        follow(&server, Some("alice")).await,
        follow(&server, Some("bob")).await,
        follow_at(&server, "/api/v1/stream?collection=games", Some("carol")).await,
        follow_at(&server, "/api/v1/stream?collection=games&doc=games/g1", Some("bob")).await,
    ];
    let position = followers[0].last_event_id.clone();
    for n in 0..20 {
        let sent = send(&server, "bob", json!({ "type": "pointer", "payload": { "x": n, "text": "a\nb" } })).await;
        for follower in &mut followers {
            let Told { data, id, .. } = follower.expect("message").await;
            let expect = json!({
                "collection": "games", "id": "g1", "from": "bob", "type": "pointer", "at": sent["at"],
                "payload": { "x": n, "text": "a\nb" },
            });
            assert_eq!((data, id), (expect, position.clone()), "an id would be what a browser resumes from");
        }
    }
    let (status, reply) = server.post(MESSAGES, &json!({ "type": "ping" })).await;
    assert_eq!(status, 202, "{reply}");
    for follower in &mut followers {
        let data = message(follower).await;
        assert_eq!((&data["from"], &data["payload"]), (&json!("owner"), &Value::Null));
    }
    let version = change(&server).await;
    assert_eq!(version, 2, "a message is no version");
    for follower in &mut followers {
        assert_eq!(follower.expect("change").await.data["version"], 2);
    }
}

#[tokio::test]
async fn it_is_told_to_nobody_whom_it_is_not_for() {
    let server = start(&[]).await;
    let mut followers = Vec::new();
    for viewer in [None, Some("alice"), Some("bob"), Some("carol")] {
        followers.push(follow(&server, viewer).await);
    }
    // Follows by name and by collection, and may not read it.
    let mut mallory = follow_at(&server, "/api/v1/stream?collection=games&doc=games/g1", Some("mallory")).await;
    let payload = json!({ "x": 1, "hidden": "h", "private": { "bob": "b", "carol": "c" } });
    send(&server, "bob", json!({ "type": "all", "payload": payload })).await;
    send(&server, "bob", json!({ "type": "to", "to": ["carol", "mallory"], "payload": "secret" })).await;
    send(&server, "alice", json!({ "type": "own", "to": ["owner"] })).await;
    send(&server, "bob", json!({ "type": "nobody", "to": [] })).await;
    change(&server).await;
    let whole = json!(["all", { "x": 1, "hidden": "h", "private": { "bob": "b", "carol": "c" } }]);
    let (secret, own, nobody) = (json!(["to", "secret"]), json!(["own", null]), json!(["nobody", null]));
    let expect = [
        json!([whole, secret, own, nobody]),
        json!([whole, secret, own, nobody]),
        json!([["all", { "x": 1, "private": { "bob": "b" } }], secret, nobody]),
        json!([["all", { "x": 1, "private": { "carol": "c" } }], secret]),
    ];
    for (index, follower) in followers.iter_mut().enumerate() {
        let mut told = Vec::new();
        loop {
            let next = follower.expect_any(&["message", "change"]).await;
            if next.event == "change" {
                break;
            }
            told.push(json!([next.data["type"], next.data["payload"]]));
        }
        assert_eq!(json!(told), expect[index], "{index}");
    }
    // Of another document, so that what she is told last is certain.
    server.put("/api/v1/games/g2", &json!({})).await;
    let next = mallory.expect("change").await;
    assert_eq!(next.data["id"], "g2", "{}", next.text);
}

#[tokio::test]
async fn nothing_of_it_is_kept() {
    let mut server = start(&[]).await;
    let mut bob = follow(&server, Some("bob")).await;
    let position = bob.last_event_id.clone();
    let before = server.get_as("bob", &format!("{GAME}/events")).await.1;
    send(&server, "bob", json!({ "type": "zanzibar", "payload": "xylophone" })).await;
    assert_eq!(message(&mut bob).await["payload"], "xylophone");
    assert_eq!(server.get_as("bob", &format!("{GAME}/events")).await.1, before, "no history page has it");
    let mut again =
        Follower::connect(&format!("{}{GAME}/events", server.url), Some("bob"), Some(&position)).await.unwrap();
    assert_eq!(again.expect("resumed").await.data["count"], 0);
    let page = format!("/api/v1/stream?doc=games/g1&lastEventId={position}");
    let reply = server.ask("GET", &page, &[(AS, "bob"), ("accept", "application/json")]).await;
    assert_eq!(reply.status, 204, "{}", reply.text);
    change(&server).await;
    assert_eq!(again.expect("change").await.data["version"], 2, "who resumes is told the changes alone");
    server.kill();
    for file in std::fs::read_dir(server.data_dir()).unwrap() {
        let path = file.unwrap().path();
        let bytes = if path.is_file() { std::fs::read(&path).unwrap() } else { Vec::new() };
        for word in ["zanzibar", "xylophone"] {
            assert!(!bytes.windows(word.len()).any(|part| part == word.as_bytes()), "{word} in {}", path.display());
        }
    }
}

#[tokio::test]
async fn what_is_no_message_is_refused() {
    let server = start(&[]).await;
    let text = |length: usize| json!({ "type": "a", "payload": "x".repeat(length) }).to_string();
    let fits = 4096 - text(0).len();
    for (body, status, slug) in [
        (text(fits), 202, ""),
        (text(fits + 1), 413, "too-large"),
        (json!({ "payload": 1 }).to_string(), 400, "invalid-request"),
        (json!({ "type": "" }).to_string(), 400, "invalid-request"),
        (json!({ "type": "é".repeat(64) }).to_string(), 202, ""),
        (json!({ "type": "é".repeat(65) }).to_string(), 400, "invalid-request"),
        (json!({ "type": "a", "to": "bob" }).to_string(), 400, "invalid-request"),
        (json!({ "type": "a", "to": ["no id"] }).to_string(), 400, "invalid-request"),
        (json!({ "type": "a", "to": ["Owner"] }).to_string(), 400, "invalid-request"),
        (json!({ "type": "a", "text": 1 }).to_string(), 400, "invalid-request"),
    ] {
        let reply = server.tell("POST", MESSAGES, &[(AS, "bob")], &body).await;
        assert_eq!(reply.status, status, "{body} {}", reply.text);
        if status != 202 {
            reply.problem(status, slug);
        }
    }
    let ping = json!({ "type": "ping" });
    for (viewer, path, status) in [
        ("mallory", MESSAGES, 404),
        ("bob", "/api/v1/games/none/messages", 404),
        ("bob", "/api/v1/games/no%20id/messages", 400),
    ] {
        let (found, reply) = server.post_as(viewer, path, &ping).await;
        assert_eq!(found, status, "{viewer} {path} {reply}");
    }
    server
        .tell("POST", MESSAGES, &[("content-type", "text/plain")], &ping)
        .await
        .problem(415, "unsupported-media-type");
    let token = json!({ "name": "reads", "access": "read" });
    let (_, token) = server.post("/api/v1/service-tokens", &token).await;
    let bearer = format!("Bearer {}", token["token"].as_str().unwrap());
    server.tell("POST", MESSAGES, &[("authorization", &bearer)], &ping).await.problem(403, "forbidden");
    assert_eq!(server.ask("DELETE", GAME, &[]).await.status, 200);
    let (status, reply) = server.post_as("bob", MESSAGES, &ping).await;
    assert_eq!(status, 410, "{reply}");
}

#[tokio::test]
async fn each_sender_has_a_rate_of_their_own_and_administrators_have_none() {
    let server = Clocked::start(|_| {}).await;
    server.put(GAME, json!({})).await.expect(201);
    let ping = json!({ "type": "ping" });
    let url = server.url.clone();
    let post = async |user: &str| {
        let request = reqwest::Client::new().post(format!("{url}{MESSAGES}")).json(&ping);
        crate::support::send(crate::support::session::shown(request, user).await).await
    };
    for _ in 0..30 {
        post("bob").await.expect(202);
    }
    let refused = post("bob").await;
    assert_eq!(refused.header("retry-after"), "1");
    assert_eq!(refused.problem(429, "rate-limited")["retryAfterSeconds"], 1);
    post("carol").await.expect(202);
    server.advance(Duration::from_millis(100));
    for status in [202, 202, 202, 429] {
        post("bob").await.expect(status);
    }
    for _ in 0..100 {
        server.post(MESSAGES, ping.clone()).await.expect(202);
    }
    server.stop().await;
}

#[tokio::test]
async fn a_follower_that_does_not_read_gets_the_newest_of_each_kind_in_the_end() {
    let server = start(&[]).await;
    let mut quick = follow(&server, None).await;
    let mut slow = TcpStream::connect(server.address()).unwrap();
    slow.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let head = format!("GET {GAME}/events HTTP/1.1\r\nHost: {}\r\nAccept: text/event-stream\r\n\r\n", server.address());
    slow.write_all(head.as_bytes()).unwrap();
    read_until(&mut slow, "event: snapshot");
    // 8 MB, which its socket cannot hold.
    let (count, filling) = (2000, "x".repeat(4000));
    for number in 0..count {
        let kind = if number % 2 == 0 { "even" } else { "odd" };
        let (status, _) = server.post(MESSAGES, &json!({ "type": kind, "payload": [number, filling] })).await;
        assert_eq!(status, 202);
        assert_eq!(message(&mut quick).await["payload"][0], number, "one that keeps up gets every message");
    }
    change(&server).await;
    let told = read_until(&mut slow, "event: change");
    let numbers: Vec<u64> = told
        .lines()
        .filter_map(|line| line.strip_prefix("data: ")?.split_once("\"payload\":[")?.1.split(',').next()?.parse().ok())
        .collect();
    assert!(numbers.is_sorted_by(|a, b| a < b), "{numbers:?}");
    assert!(numbers.len() < count, "it was slow");
    assert_eq!(numbers[numbers.len() - 2..], [1998, 1999], "the newest of each");
}

/// Reads until `mark` has come.
fn read_until(socket: &mut TcpStream, mark: &str) -> String {
    let (mut read, mut piece) = (Vec::new(), [0; 64 << 10]);
    loop {
        let length = socket.read(&mut piece).unwrap();
        assert!(length > 0, "the stream ended");
        let from = read.len().saturating_sub(mark.len());
        read.extend_from_slice(&piece[..length]);
        if read[from..].windows(mark.len()).any(|part| part == mark.as_bytes()) {
            return String::from_utf8(read).unwrap();
        }
    }
}
