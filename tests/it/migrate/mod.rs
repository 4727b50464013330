//! Games that move between two servers, also when either is killed on the way: afterwards exactly one copy is live.

mod arrivals;
mod belongings;
mod cancelling;
mod clients;
mod deaths;
mod history;
mod returns;

use reqwest::header::HeaderMap;
use serde_json::{Value, json};

use crate::support::history::verified_history;
use crate::support::{Process, Reply};

const GAME: &str = "/api/v1/games/g1";

/// A server with a game of `version` versions.
async fn hosting(flags: &[&str], version: u64) -> Process {
    let server = Process::start(flags);
    // So that seqs and versions differ, and those of the two servers.
    assert_eq!(server.put("/api/v1/other/o1", &json!({})).await.0, 201);
    let body = json!({ "id": "g1", "host": "alice", "state": { "n": 1, "hidden": { "deck": [1, 2] } } });
    assert_eq!(server.post("/api/v1/games", &body).await.0, 201);
    for n in 2..=version {
        assert_eq!(write(&server, n).await, 200);
    }
    server
}

async fn target() -> Process {
    let server = Process::start(&[]);
    for n in 0..5 {
        assert_eq!(server.put("/api/v1/games/another", &json!({ "n": n })).await.0 / 100, 2);
    }
    server
}

async fn write(server: &Process, n: u64) -> u16 {
    let patch = json!({ "n": n, "private": { "bob": { "cards": [n] } } });
    let request = server.request("PATCH", GAME).header("content-type", "application/merge-patch+json");
    without_redirects(request.body(patch.to_string())).await.0
}

async fn without_redirects(request: reqwest::RequestBuilder) -> (u16, HeaderMap, Value) {
    let client = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).build().unwrap();
    let response = client.execute(request.build().unwrap()).await.unwrap();
    let (status, headers) = (response.status().as_u16(), response.headers().clone());
    (status, headers, serde_json::from_str(&response.text().await.unwrap()).unwrap_or_default())
}

async fn migrate(server: &Process, to: &str) -> (u16, Value) {
    server.post(&format!("{GAME}/migrate"), &json!({ "to": to })).await
}

/// Requires that the game takes changes at `here` and at no other server.
async fn expect_live_only(here: &Process, not_there: &Process) {
    let status = write(not_there, 1000).await;
    assert!([308, 404, 503].contains(&status), "{status}");
    assert_eq!(write(here, 1001).await, 200);
    verified_history(here, "games/g1").await;
}

/// Waits until the game is at `here`, and until `not_there` shows the way.
async fn until_moved(here: &Process, not_there: &Process) {
    let end = std::time::Instant::now() + std::time::Duration::from_secs(30);
    loop {
        let status = without_redirects(not_there.request("GET", GAME)).await.0;
        if status == 308 && here.get(GAME).await.0 == 200 {
            return;
        }
        assert!(std::time::Instant::now() < end, "the game did not move: {status}; {}", not_there.log());
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
}

/// A request that is not sent on by whoever answers it.
async fn ask(server: &Process, method: &str, path: &str, body: &Value) -> (u16, HeaderMap, Value) {
    without_redirects(server.request(method, path).json(body)).await
}

const RECONNECT: &str = "/api/game/g1/reconnect";

/// What a player brings to come back, and to repeat what they sent.
struct Hand {
    player: &'static str,
    token: String,
    seat: u32,
    /// The answer to whoever took the seat, with a key.
    seated: String,
    /// The answer to a change that carried the player's key.
    answer: Value,
}

impl Hand {
    /// Seats a player and gives them a token; a change in their name carries a key.
    async fn dealt(server: &Process, player: &'static str, seat: u32) -> Self {
        let seated = Self::sits(server, player, seat).await.expect(201).text;
        let token = server.get(&format!("/api/game/g1/connection-token?playerId={player}")).await.1;
        let token = token["token"].as_str().unwrap().to_owned();
        let answer = Self::act(server, player).await.expect(200).body;
        Self { player, token, seat, seated, answer }
    }

    async fn sits(server: &Process, player: &str, seat: u32) -> Reply {
        let headers = [("idempotency-key", &*format!("seat-of-{player}"))];
        server.tell("POST", &format!("{GAME}/seats"), &headers, json!({ "playerId": player, "seat": seat })).await
    }

    async fn act(server: &Process, player: &str) -> Reply {
        let headers = [("idempotency-key", &*format!("of-{player}"))];
        let action = json!({ "type": "act", "patch": { "acted": player } });
        server.tell("POST", &format!("{GAME}/actions"), &headers, action).await
    }

    fn body(&self) -> Value {
        json!({ "gameId": "g1", "playerId": self.player, "reconnectToken": self.token })
    }

    /// Comes back at `here`, which gives the next token.
    async fn comes_back(&mut self, here: &Process) -> Value {
        let (status, back) = here.post(RECONNECT, &self.body()).await;
        assert_eq!(status, 200, "{back}");
        self.token = back["reconnectToken"].as_str().unwrap().to_owned();
        back
    }

    /// Requires that the seat is held, and can be taken back, at `here` and at no other server, and that what was
    /// answered once is known there.
    async fn expect_only_at(&mut self, here: &Process, not_there: &Process) {
        let (status, _, refusal) = ask(not_there, "POST", RECONNECT, &self.body()).await;
        assert!([308, 404, 503].contains(&status), "{status} {refusal}");
        let seats = here.get(&format!("{GAME}/seats")).await.1;
        let held = seats["items"].as_array().unwrap().iter().filter(|seat| seat["playerId"] == self.player).count();
        assert_eq!(held, 1, "{seats}");
        let again = Self::act(here, self.player).await.expect(200);
        assert_eq!((again.header("idempotency-replayed"), &again.body), ("true", &self.answer));
        let again = Self::sits(here, self.player, self.seat).await.expect(201);
        assert_eq!((again.header("idempotency-replayed"), &again.text), ("true", &self.seated));
        self.comes_back(here).await;
    }
}
