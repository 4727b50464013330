//! A session that ends while the body of a request is on its way: nothing is done any more, in nobody's name.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use serde_json::{Value, json};

use super::{ME, Opened, SESSIONS, ids, open_for};
use crate::support::call::parse;
use crate::support::{Process, Reply};

const GAME: &str = "/api/v1/games/g1";

/// A request whose head and first bytes are sent.
struct Begun {
    socket: TcpStream,
    rest: Vec<u8>,
}

impl Begun {
    fn new(server: &Process, session: &Opened, (method, path): (&str, &str), media_type: &str, body: &Value) -> Self {
        let body = body.to_string().into_bytes();
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: {}\r\nAuthorization: {}\r\nContent-Type: {media_type}\r\n\
             Content-Length: {}\r\nConnection: close\r\n\r\n",
            server.address(),
            session.bearer,
            body.len(),
        );
        let mut socket = TcpStream::connect(server.address()).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        socket.write_all(head.as_bytes()).unwrap();
        socket.write_all(&body[..1]).unwrap();
        Self { socket, rest: body[1..].to_vec() }
    }

    fn complete(mut self) -> Reply {
        self.socket.write_all(&self.rest).unwrap();
        let mut answer = Vec::new();
        self.socket.read_to_end(&mut answer).unwrap();
        parse(&answer)
    }
}

/// Waits until the server has read the head of all that was begun: each shows the session.
async fn until_shown(server: &Process, session: &Opened) {
    // Requests of one kind are read in the order in which they came, on connections of their own by two threads; that
    // this one is answered says nothing of those before, so some time passes too.
    server.ask("GET", ME, &session.bearer()).await.expect(200);
    tokio::time::sleep(Duration::from_millis(200)).await;
}

#[tokio::test]
async fn a_session_that_ends_before_the_body_is_there_writes_nothing() {
    let server = Process::start(&[]);
    assert_eq!(server.post("/api/v1/games", &json!({ "id": "g1", "state": { "n": 1 } })).await.0, 201);
    let bob = open_for(&server, "bob").await;
    let seat = server.tell("POST", &format!("{GAME}/seats"), &bob.bearer(), json!({ "playerId": "bob" })).await;
    seat.expect(201);
    let before = server.standing(GAME).await;
    let json = "application/json";
    let batch = json!({ "operations": [{ "op": "put", "collection": "games", "id": "g1", "state": {} }] });
    let begun = [
        (("PATCH", GAME), "application/merge-patch+json", json!({ "n": 2 })),
        (("PATCH", GAME), "application/json-patch+json", json!([{ "op": "remove", "path": "/n" }])),
        (("PUT", GAME), json, json!({ "state": {} })),
        (("POST", "/api/v1/games"), json, json!({ "id": "g2", "state": {} })),
        (("POST", "/api/v1/games/g1/actions"), json, json!({ "type": "wave" })),
        (("POST", "/api/v1/batch"), json, batch),
        (("POST", "/api/v1/games/g2/seats"), json, json!({ "playerId": "bob" })),
        (("POST", "/api/game/g1/persist"), json, json!({ "gameId": "g1" })),
        (("PATCH", "/api/v1/sessions/current"), json, json!({ "currentPhase": "combat" })),
    ];
    let begun: Vec<_> = begun
        .iter()
        .map(|(call, media_type, body)| (*call, Begun::new(&server, &bob, *call, media_type, body)))
        .collect();
    until_shown(&server, &bob).await;
    server.ask("DELETE", &format!("/api/v1/admin/sessions/{}", bob.id), &[]).await.expect(204);
    for ((method, path), begun) in begun {
        let reply = begun.complete();
        assert_eq!(reply.status, 401, "{method} {path}: {}", reply.text);
        reply.problem(401, "unauthenticated");
    }
    assert_eq!(server.standing(GAME).await, before);
    server.ask("GET", "/api/v1/games/g2", &[]).await.problem(404, "not-found");
}

#[tokio::test]
async fn whoever_loses_their_session_on_the_way_is_nobody_else_then() {
    let server = Process::start(&[]);
    let bob = open_for(&server, "bob").await;
    let begun = Begun::new(&server, &bob, ("POST", SESSIONS), "application/json", &json!({}));
    until_shown(&server, &bob).await;
    server.ask("DELETE", &format!("/api/v1/admin/sessions/{}", bob.id), &[]).await.expect(204);
    // The connection comes from the server's own machine: without a session it would be the owner's.
    begun.complete().problem(401, "unauthenticated");
    assert_eq!(ids(&server.get("/api/v1/admin/sessions").await.1), [""; 0]);
}

#[tokio::test]
async fn a_session_that_goes_on_may_take_its_time() {
    let server = Process::start(&[]);
    let (ann, bob) = (open_for(&server, "ann").await, open_for(&server, "bob").await);
    let call = ("POST", "/api/v1/games");
    let begun = Begun::new(&server, &ann, call, "application/json", &json!({ "id": "g3", "state": {} }));
    until_shown(&server, &ann).await;
    server.ask("DELETE", &format!("/api/v1/admin/sessions/{}", bob.id), &[]).await.expect(204);
    begun.complete().expect(201);
}
