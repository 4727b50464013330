//! Coming back with a token: what it brings, and each way in which it is refused.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use rejoin::Config;
use rejoin::Server;
use rejoin::{Clock, ManualClock, SystemClock};
use serde_json::{Value, json};

use super::{ask_token, body, join, next, reconnect, start, token};
use crate::support::{AS, Disk, Follower};

#[tokio::test]
async fn a_player_comes_back_with_state_and_missed_events_and_a_token_for_the_next_time() {
    let mut server = start(&[]).await;
    let reply = ask_token(&server, "alice", "alice").await.expect(200);
    assert_eq!(reply.header("cache-control"), "no-store");
    assert_eq!(reply.body["playerId"], "alice");
    assert!(reply.body["expiresAt"].is_string());
    let token = reply.body["token"].as_str().unwrap().to_owned();
    assert!(token.starts_with("rjt_") && token.len() == 47, "{token}");

    let seen = server.ask("GET", "/api/v1/games/g1", &[]).await.header("rejoin-position").to_owned();
    assert_eq!(server.merge("/api/v1/games/g1", &json!({ "pot": 1 })).await.0, 200);
    server.kill();
    server.start_again();
    assert_eq!(server.merge("/api/v1/games/g1", &json!({ "pot": 2 })).await.0, 200);
    let mut request = body("alice", &token);
    request["lastEventId"] = seen.into();
    let reply = server.tell("POST", "/api/game/g1/reconnect", &[(AS, "alice")], &request).await.expect(200);
    assert_eq!(reply.header("cache-control"), "no-store");
    let back = &reply.body;
    assert_eq!((&back["success"], &back["version"], &back["gameState"]["pot"]), (&json!(true), &json!(3), &json!(2)));
    let versions: Vec<_> = back["missedEvents"].as_array().unwrap().iter().map(|event| &event["version"]).collect();
    assert_eq!(versions, [2, 3]);
    assert!(back.get("missedReason").is_none() && back.get("moreEvents").is_none(), "{back}");

    // The position goes on from exactly there.
    let url = format!("{}/api/v1/games/g1/events", server.url);
    let mut follower = Follower::connect(&url, Some("alice"), back["position"].as_str()).await.unwrap();
    assert_eq!(follower.expect("resumed").await.data["count"], 0);

    let second = next(&reply);
    assert_ne!(second, token);
    let third = next(&reconnect(&server, "alice", "alice", &second).await.expect(200));
    reconnect(&server, "alice", "alice", &third).await.expect(200);
}

#[tokio::test]
async fn what_cannot_be_told_of_the_missed_is_said() {
    let server = start(&["--history-events", "2"]).await;
    let seen = server.ask("GET", "/api/v1/games/g1", &[]).await.header("rejoin-position").to_owned();
    for pot in 1..9 {
        assert_eq!(server.merge("/api/v1/games/g1", &json!({ "pot": pot })).await.0, 200);
    }
    // What is in memory can still be told: a start from disk has only what is kept.
    let mut server = server;
    assert!(server.terminate().success());
    server.start_again();
    let mut newest = token(&server, "alice").await;
    for (last, reason, count) in [
        (json!(seen), json!("trimmed"), 0),
        (json!("9-000000000000"), json!("diverged"), 0),
        (json!("9999-000000000000"), json!("diverged"), 0),
        (json!("nonsense"), json!("diverged"), 0),
        (json!(null), Value::Null, 0),
        (json!(""), Value::Null, 0),
    ] {
        let mut request = body("alice", &newest);
        request["lastEventId"] = last.clone();
        let reply = server.tell("POST", "/api/game/g1/reconnect", &[(AS, "alice")], &request).await;
        let reply = reply.expect(200);
        assert_eq!((&reply.body["missedReason"], &reply.body["gameState"]["pot"]), (&reason, &json!(8)), "{last}");
        assert_eq!(reply.body["missedEvents"].as_array().unwrap().len(), count, "{last}");
        newest = next(&reply);
    }
}

#[tokio::test]
async fn of_very_many_missed_events_the_first_come_and_that_there_are_more_is_said() {
    let server = start(&[]).await;
    let seen = server.ask("GET", "/api/v1/games/g1", &[]).await.header("rejoin-position").to_owned();
    let operation = |pot: u32| json!({ "op": "patch", "collection": "games", "id": "g1", "patch": { "pot": pot } });
    for batch in 0..6 {
        let operations: Vec<Value> = (1..=100).map(|pot| operation(batch * 100 + pot)).collect();
        assert_eq!(server.post("/api/v1/batch", &json!({ "operations": operations })).await.0, 200);
    }
    let mut request = body("alice", &token(&server, "alice").await);
    request["lastEventId"] = seen.into();
    let back = server.tell("POST", "/api/game/g1/reconnect", &[(AS, "alice")], &request).await.expect(200).body;
    assert_eq!((&back["moreEvents"], &back["version"]), (&json!(true), &json!(601)));
    let events = back["missedEvents"].as_array().unwrap();
    assert_eq!((events.len(), &events[0]["version"], &events[499]["version"]), (500, &json!(2), &json!(501)));
}

#[tokio::test]
async fn each_token_that_does_not_fit_has_its_own_problem_that_says_what_to_do() {
    let server = start(&[]).await;
    assert_eq!(server.post("/api/v1/games", &json!({ "id": "g2", "state": {} })).await.0, 201);
    let of_alice = token(&server, "alice").await;
    let unknown = format!("rjt_{}", "A".repeat(43));
    for token in [unknown.as_str(), "", "rjt_", "secret", &of_alice[..46], &of_alice[4..]] {
        let told = reconnect(&server, "alice", "alice", token).await.problem(401, "reconnect-token-unknown");
        assert!(told["detail"].as_str().unwrap().contains("connection-token"), "{told}");
        assert!(token.len() < 5 || !told.to_string().contains(token), "what was sent is not repeated: {told}");
    }
    reconnect(&server, "bob", "alice", &of_alice).await.problem(403, "reconnect-token-mismatch");
    reconnect(&server, "bob", "bob", &of_alice).await.problem(403, "reconnect-token-mismatch");
    reconnect(&server, "carol", "carol", &of_alice).await.problem(403, "reconnect-token-mismatch");
    let elsewhere = json!({ "gameId": "g2", "playerId": "alice", "reconnectToken": of_alice });
    let headers = [(AS, "alice")];
    server.tell("POST", "/api/game/g2/reconnect", &headers, &elsewhere).await.problem(403, "reconnect-token-mismatch");
    server.tell("POST", "/api/game/g1/reconnect", &headers, &elsewhere).await.problem(400, "invalid-request");
    server
        .tell(
            "POST",
            "/api/game/none/reconnect",
            &headers,
            json!({ "gameId": "none", "playerId": "alice", "reconnectToken": of_alice }),
        )
        .await
        .problem(404, "not-found");
    // None of this has used it up.
    reconnect(&server, "alice", "alice", &of_alice).await.expect(200);

    let of_bob = token(&server, "bob").await;
    server.ask("DELETE", "/api/v1/games/g1/seats/bob", &[]).await.expect(204);
    let told = reconnect(&server, "bob", "bob", &of_bob).await.problem(403, "not-a-participant");
    assert!(told["detail"].as_str().unwrap().contains("host"), "{told}");
    join(&server, "bob", "bob", None).await.expect(201);
    reconnect(&server, "bob", "bob", &of_bob).await.problem(401, "reconnect-token-used");
}

#[tokio::test]
async fn of_a_hundred_requests_with_one_token_exactly_one_wins() {
    let server = start(&[]).await;
    let token = token(&server, "alice").await;
    let replies = join_all((0..100).map(|_| reconnect(&server, "alice", "alice", &token))).await;
    let (won, lost): (Vec<_>, Vec<_>) = replies.into_iter().partition(|reply| reply.status == 200);
    assert_eq!((won.len(), lost.len()), (1, 99));
    for reply in lost {
        reply.problem(409, "reconnect-token-raced");
    }
    reconnect(&server, "alice", "alice", &next(&won[0])).await.expect(200);
}

/// A server in this process, whose clock stands until it is moved.
struct Timed {
    clock: Arc<ManualClock>,
    server: Server,
    client: reqwest::Client,
    _directory: tempfile::TempDir,
}

impl Timed {
    async fn start(minutes: u32) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let mut config = Config {
            listen: "127.0.0.1:0".parse().unwrap(),
            data_dir: directory.path().join("data"),
            ..Config::default()
        };
        config.set("reconnect-token-minutes", &minutes.to_string()).unwrap();
        let clock = Arc::new(ManualClock::at(SystemClock.now()));
        let server = Server::builder().config(config).clock(clock.clone()).start().await.unwrap();
        let timed = Self { clock, server, client: reqwest::Client::new(), _directory: directory };
        assert_eq!(timed.post("/api/v1/games", json!({ "id": "g1", "state": {} })).await.0, 201);
        assert_eq!(timed.post("/api/v1/games/g1/seats", json!({ "playerId": "alice" })).await.0, 201);
        timed
    }

    async fn send(&self, request: reqwest::RequestBuilder) -> (u16, Value) {
        // One of its own each time: the clock may have gone past the life of an earlier one.
        let opened = crate::support::session::open(&self.url(""), "alice").await;
        let request = request.bearer_auth(opened["token"].as_str().unwrap());
        crate::support::process::json(request.send().await.unwrap()).await
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.server.local_addr())
    }

    async fn post(&self, path: &str, body: Value) -> (u16, Value) {
        self.send(self.client.post(self.url(path)).json(&body)).await
    }

    async fn token(&self) -> String {
        let request = self.client.get(self.url("/api/game/g1/connection-token?playerId=alice"));
        self.send(request).await.1["token"].as_str().unwrap().to_owned()
    }

    /// What comes of a token: a new one, or the slug of the problem.
    async fn show(&self, token: &str) -> Result<String, String> {
        let (status, reply) = self.post("/api/game/g1/reconnect", body("alice", token)).await;
        match reply["reconnectToken"].as_str() {
            Some(next) => Ok(next.to_owned()),
            None => Err(format!("{status} {}", reply["type"].as_str().unwrap().trim_start_matches("/problems/"))),
        }
    }

    fn wait(&self, seconds: u64) {
        self.clock.advance(Duration::from_secs(seconds));
    }
}

#[tokio::test]
async fn a_token_is_good_for_as_long_as_it_is_said_to_the_second() {
    let timed = Timed::start(30).await;
    let token = timed.token().await;
    timed.wait(30 * 60 - 1);
    let second = timed.show(&token).await.unwrap();
    timed.wait(30 * 60);
    assert_eq!(timed.show(&second).await.unwrap_err(), "401 reconnect-token-expired");
    assert_eq!(timed.show(&second).await.unwrap_err(), "401 reconnect-token-expired", "and stays so");
    let token = timed.token().await;
    timed.wait(2 * 24 * 3600);
    timed.show(&timed.token().await).await.unwrap();
    assert_eq!(timed.show(&token).await.unwrap_err(), "401 reconnect-token-unknown", "in the end it is forgotten");
    timed.server.stop().await;
}

#[tokio::test]
async fn an_old_token_is_a_lost_race_for_ten_seconds_and_then_ends_its_line_alone() {
    let timed = Timed::start(30).await;
    let (first, other) = (timed.token().await, timed.token().await);
    let second = timed.show(&first).await.unwrap();
    timed.wait(10);
    assert_eq!(timed.show(&first).await.unwrap_err(), "409 reconnect-token-raced");
    let third = timed.show(&second).await.unwrap();
    timed.wait(1);
    assert_eq!(timed.show(&first).await.unwrap_err(), "401 reconnect-token-used");
    assert_eq!(timed.show(&third).await.unwrap_err(), "401 reconnect-token-used", "its line has ended");
    assert_eq!(timed.show(&second).await.unwrap_err(), "401 reconnect-token-used");
    timed.show(&other).await.expect("another device's line goes on");
    timed.show(&timed.token().await).await.expect("and a new one can be begun");
    timed.server.stop().await;
}

#[tokio::test]
async fn while_storage_fails_no_token_is_given_or_used_up_and_the_game_goes_on() {
    let (disk, server) = Disk::with_server(&[]);
    super::open_game(&server).await;
    let token = token(&server, "alice").await;
    server.meet("carol").await;
    disk.set("enospc");
    assert_eq!(server.merge("/api/v1/games/g1", &json!({ "pot": 1 })).await.0, 202, "the game goes on");
    reconnect(&server, "alice", "alice", &token).await.problem(503, "storage-unavailable");
    ask_token(&server, "alice", "alice").await.problem(503, "storage-unavailable");
    join(&server, "carol", "carol", None).await.problem(503, "storage-unavailable");
    assert_eq!(server.merge("/api/v1/games/g1", &json!({ "pot": 2 })).await.0, 202);
    disk.set("off");
    server.until_ready(|status, report| status == 200 && report["storage"]["state"] == "ok").await;
    let back = reconnect(&server, "alice", "alice", &token).await.expect(200);
    assert_eq!(back.body["gameState"]["pot"], 2);
    assert_eq!(join(&server, "carol", "carol", None).await.status, 201);
}
