//! What goes with a game beside its history: seats, its end, tokens, kept answers.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::{Value, json};

use super::{GAME, Hand, RECONNECT, ask, expect_live_only, hosting, migrate, target, write};
use crate::support::Process;
use crate::support::relay::{Does, Relay};

const SEATS: &str = "/api/v1/games/g1/seats";

async fn reconnect(server: &Process, key: &str, hand: &Hand) -> crate::support::Reply {
    server.tell("POST", RECONNECT, &[("idempotency-key", key)], hand.body()).await
}

/// All that the server has stored, and logged.
fn stored(server: &Process) -> Vec<u8> {
    let files = std::fs::read_dir(server.data_dir()).unwrap().map(|entry| entry.unwrap().path());
    let mut bytes: Vec<u8> = files.flat_map(|path| std::fs::read(path).unwrap()).collect();
    bytes.extend_from_slice(server.log().as_bytes());
    bytes
}

fn holds(bytes: &[u8], text: &str) -> bool {
    bytes.windows(text.len()).any(|window| window == text.as_bytes())
}

/// The seats that are taken, without what is told of who is connected.
async fn taken(server: &Process) -> Vec<Value> {
    let seats = server.get(SEATS).await.1;
    let seats = seats["items"].as_array().unwrap().iter();
    seats.map(|seat| json!([seat["playerId"], seat["seat"], seat["joinedAt"]])).collect()
}

#[tokio::test]
async fn seats_settings_tokens_and_kept_answers_go_along() {
    let (from, to) = (hosting(&[], 3).await, target().await);
    assert_eq!(from.merge(GAME, &json!({ "maxSeats": 4, "persistence": { "patchRatio": 2 } })).await.0, 200);
    // What writes the whole state once more is a change like all others.
    assert_eq!(from.post(&format!("{GAME}/rollback"), &json!({ "toVersion": 4 })).await.0, 200);
    let bob = Hand::dealt(&from, "bob", 3).await;
    let mut carol = Hand::dealt(&from, "carol", 0).await;
    let gone = Hand::dealt(&from, "dave", 1).await;
    assert_eq!(from.ask("DELETE", &format!("{SEATS}/dave"), &[]).await.status, 204);
    let seen = from.ask("GET", GAME, &[]).await.header("rejoin-position").to_owned();
    assert_eq!(write(&from, 50).await, 200);
    // The answer with the next token is lost on its way; the player asks again after the move.
    let first = reconnect(&from, "again", &bob).await.expect(200);
    let seats = taken(&from).await;
    assert_eq!(migrate(&from, &to.url).await.0, 200);

    assert_eq!(taken(&to).await, seats);
    let full = to.post(SEATS, &json!({ "playerId": "erin", "seat": 3 })).await;
    assert_eq!((full.0, &full.1["type"]), (409, &json!("/problems/seat-taken")), "{}", full.1);
    for (player, status) in [("erin", 201), ("frank", 201), ("grace", 409)] {
        assert_eq!(to.post(SEATS, &json!({ "playerId": player })).await.0, status, "{player}");
    }
    let again = reconnect(&to, "again", &bob).await.expect(200);
    assert_eq!((again.header("idempotency-replayed"), &again.text), ("true", &first.text));
    reconnect(&to, "other", &bob).await.problem(409, "reconnect-token-raced");
    let mut bob = Hand { token: first.body["reconnectToken"].as_str().unwrap().to_owned(), ..bob };
    // By the position of the old server exactly what was missed.
    let mut request = bob.body();
    request["lastEventId"] = seen.into();
    let (status, back) = to.post(RECONNECT, &request).await;
    assert_eq!((status, back["missedEvents"].as_array().unwrap().len()), (200, 1), "{back}");
    assert_eq!(back["missedEvents"][0]["patch"][0]["value"], 50, "{back}");
    bob.token = back["reconnectToken"].as_str().unwrap().to_owned();
    bob.expect_only_at(&to, &from).await;
    carol.expect_only_at(&to, &from).await;
    let (status, refusal) = to.post(RECONNECT, &gone.body()).await;
    assert_eq!((status, &refusal["type"]), (403, &json!("/problems/not-a-participant")), "{refusal}");
    // As the player, too, not by the host alone.
    assert_eq!(to.post_as("carol", RECONNECT, &carol.body()).await.0, 200);

    // A known key with another request is known to be so.
    let other = json!({ "type": "act", "patch": { "acted": "twice" } });
    let key = [("idempotency-key", "of-bob")];
    to.tell("POST", &format!("{GAME}/actions"), &key, other).await.problem(422, "idempotency-mismatch");
    for server in [&from, &to] {
        let stored = stored(server);
        let tokens = [&bob.token, &carol.token, &gone.token];
        assert!(tokens.iter().all(|token| !holds(&stored, token)), "a token stands there in clear");
    }
}

#[tokio::test]
async fn a_game_that_is_over_is_over_there_too() {
    let (from, mut to) = (hosting(&[], 3).await, target().await);
    let bob = Hand::dealt(&from, "bob", 3).await;
    let over = from.post(&format!("{GAME}/complete"), &json!({})).await.1;
    assert_eq!(migrate(&from, &to.url).await.0, 200);
    for _ in 0..2 {
        assert_eq!(to.post(&format!("{GAME}/complete"), &json!({})).await.1, over);
        let (status, refusal) = to.post(RECONNECT, &bob.body()).await;
        assert_eq!((status, &refusal["type"]), (410, &json!("/problems/game-completed")));
        assert_eq!(to.post(SEATS, &json!({ "playerId": "eve" })).await.0, 410);
        to.kill();
        to.start_again();
    }
    assert_eq!(to.ask("DELETE", "/api/game/g1/persist", &[]).await.status, 204);
    assert_eq!(to.get(GAME).await.0, 410);
    assert_eq!(write(&from, 9).await, 308);
}

#[tokio::test]
async fn while_it_moves_nothing_that_belongs_to_it_changes() {
    let (from, to) = (hosting(&[], 3).await, target().await);
    let mut bob = Hand::dealt(&from, "bob", 3).await;
    let mut relay = Relay::before(&to).await;
    relay.when("rows", Does::HoldsAnswer);
    let moving =
        tokio::spawn(from.request("POST", &format!("{GAME}/migrate")).json(&json!({ "to": relay.url })).send());
    relay.until("rows").await;
    let token = "/api/game/g1/connection-token?playerId=bob";
    let persist = json!({ "gameId": "g1", "forceOverwrite": true });
    for (method, path, body) in [
        ("POST", SEATS, json!({ "playerId": "eve" })),
        ("DELETE", "/api/v1/games/g1/seats/bob", Value::Null),
        ("POST", "/api/v1/games/g1/complete", json!({})),
        ("GET", token, Value::Null),
        ("POST", RECONNECT, bob.body()),
        ("POST", "/api/game/g1/persist", persist),
    ] {
        let reply = from.tell(method, path, &[], body).await;
        assert!(reply.headers.contains_key("retry-after"), "{path}: {reply:?}");
        reply.problem(503, "game-frozen");
    }
    relay.release();
    assert_eq!(moving.await.unwrap().unwrap().status().as_u16(), 503);
    let seats = from.get(SEATS).await.1;
    assert_eq!(seats["items"].as_array().unwrap().len(), 1, "{seats}");
    bob.expect_only_at(&from, &to).await;
    relay.when("rows", Does::Forwards);
    assert_eq!(migrate(&from, &relay.url).await.0, 200);
    bob.expect_only_at(&to, &from).await;
}

/// Comes back again and again, wherever the game is, until told to stop. Returns with the newest token.
async fn plays(mut hand: Hand, mut server: String, client: reqwest::Client, stop: Arc<AtomicBool>) -> (Hand, u32) {
    let (mut times, mut key) = (0, 0);
    while !stop.load(Ordering::Relaxed) {
        let request = client.post(format!("{server}{RECONNECT}")).json(&hand.body());
        let answer = request.header("idempotency-key", format!("{}-{key}", hand.player)).send().await.unwrap();
        let (status, text) = (answer.status().as_u16(), answer.text().await.unwrap());
        let body: Value = serde_json::from_str(&text).unwrap();
        match status {
            200 => {
                hand.token = body["reconnectToken"].as_str().unwrap().to_owned();
                (times, key) = (times + 1, key + 1);
            }
            308 => body["to"].as_str().unwrap().clone_into(&mut server),
            503 => tokio::task::yield_now().await,
            _ => panic!("{}: {status} {text}", hand.player),
        }
    }
    (hand, times)
}

#[tokio::test]
async fn whoever_comes_back_while_it_moves_has_the_token_that_is_good_where_it_is() {
    const PLAYERS: [&str; 8] = ["p0", "p1", "p2", "p3", "p4", "p5", "p6", "p7"];
    let servers = [hosting(&[], 3).await, target().await];
    let client = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).build().unwrap();
    let stop = Arc::new(AtomicBool::new(false));
    let mut players = Vec::new();
    for (seat, player) in (0..).zip(PLAYERS) {
        let hand = Hand::dealt(&servers[0], player, seat).await;
        players.push(tokio::spawn(plays(hand, servers[0].url.clone(), client.clone(), Arc::clone(&stop))));
    }
    for round in 0..6 {
        let (here, there) = (&servers[round % 2], &servers[(round + 1) % 2]);
        for n in 0..20 {
            assert_eq!(write(here, n).await, 200);
        }
        let (status, moved) = migrate(here, &there.url).await;
        assert_eq!(status, 200, "{moved}");
    }
    stop.store(true, Ordering::Relaxed);
    for player in players {
        let (mut hand, times) = player.await.unwrap();
        assert!(times > 6, "{} was back {times} times", hand.player);
        hand.expect_only_at(&servers[0], &servers[1]).await;
    }
    expect_live_only(&servers[0], &servers[1]).await;
}

#[tokio::test]
async fn what_was_changed_on_the_way_or_cannot_be_so_is_not_taken() {
    let (from, to) = (hosting(&[], 3).await, target().await);
    let mut bob = Hand::dealt(&from, "bob", 3).await;
    let mut relay = Relay::before(&to).await;
    for (what, with) in [
        (r#"\"seat\":3"#, r#"\"seat\":2"#),
        (r#"\"identity\":\"bob\""#, r#"\"identity\":\"eve\""#),
        (r#"\"completedAt\":null"#, r#"\"completedAt\":null,\"more\":1"#),
    ] {
        relay.when("rows", Does::Replaces(what, with));
        let (status, answer) = migrate(&from, &relay.url).await;
        assert_eq!((status, &answer["type"]), (422, &json!("/problems/move-refused")), "{what}: {answer}");
        relay.until("rows").await;
        assert_eq!(to.get(GAME).await.0, 404);
        bob.expect_only_at(&from, &to).await;
    }
    relay.when("rows", Does::Forwards);
    // Without the rows that were announced it is not all there.
    relay.when("begin", Does::Replaces(r#""rows":""#, r#""rows":"00"#));
    assert_eq!(migrate(&from, &relay.url).await.0, 422);
    expect_live_only(&from, &to).await;
    let (status, ..) = ask(&from, "POST", SEATS, &json!({ "playerId": "eve" })).await;
    assert_eq!(status, 201);
}

#[tokio::test]
async fn a_game_that_is_too_large_is_refused_before_it_is_frozen_and_one_that_is_too_deep_there_goes_on_here() {
    let from = Process::start(&[]);
    let text = "x".repeat(1000 << 10);
    assert_eq!(from.post("/api/v1/games", &json!({ "id": "g1", "state": { "n": 0 } })).await.0, 201);
    for n in 0..66 {
        assert_eq!(from.put(GAME, &json!({ "n": n, "text": format!("{n}{text}") })).await.0, 200);
    }
    let (status, answer) = migrate(&from, "http://127.0.0.1:9").await;
    assert_eq!((status, &answer["type"]), (413, &json!("/problems/game-too-large")), "{answer}");
    assert!(answer["bytes"].as_u64() > answer["maxBytes"].as_u64(), "{answer}");
    assert_eq!(write(&from, 36).await, 200);
    assert!(!from.log().contains("does not move"), "nothing was frozen");

    // What the other server may hold, it says.
    let (from, small) = (hosting(&[], 3).await, Process::start(&["--depth-max", "8", "--state-bytes-max", "1000"]));
    for (what, patch) in [
        ("depth", json!({ "deep": { "a": { "b": { "c": { "d": { "e": { "f": { "g": {} } } } } } } } })),
        ("bytes", json!({ "deep": null, "long": "x".repeat(1001) })),
    ] {
        assert_eq!(from.merge(GAME, &patch).await.0, 200);
        let (status, answer) = migrate(&from, &small.url).await;
        assert_eq!((status, &answer["otherStatus"]), (422, &json!(413)), "{what}: {answer}");
        expect_live_only(&from, &small).await;
    }
    assert_eq!(from.merge(GAME, &json!({ "long": null })).await.0, 200);
    // A history is no state: what it was once is no hindrance.
    assert_eq!(migrate(&from, &small.url).await.0, 200);
    expect_live_only(&small, &from).await;
}
