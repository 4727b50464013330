//! The history of a game that moves, and its streams.

use serde_json::{Value, json};
use tokio::net::TcpListener;

use super::{GAME, expect_live_only, hosting, migrate, target, until_moved, without_redirects, write};
use crate::support::history::{history_after, verified_history};
use crate::support::relay::{Does, Relay};
use crate::support::{Follower, position};

/// An event without its place in a log.
fn placeless(event: &str) -> String {
    event.split_once(',').unwrap().1.to_owned()
}

#[tokio::test]
async fn a_game_moves_with_its_history_and_its_streams_go_on_where_they_were() {
    let (from, to) = (hosting(&[], 600).await, target().await);
    let events = format!("{}{GAME}/events", from.url);
    let mut host = Follower::connect(&events, None, None).await.unwrap();
    let mut bob = Follower::connect(&events, Some("bob"), None).await.unwrap();
    let all = format!("{}/api/v1/stream?collection=games&doc=other/o1", from.url);
    let mut many = Follower::connect(&all, None, None).await.unwrap();
    for follower in [&mut host, &mut bob, &mut many] {
        follower.expect("snapshot").await;
    }
    let before = verified_history(&from, "games/g1").await;
    let state = from.get(GAME).await.1;
    let migrate = format!("{GAME}/migrate");
    let request = from.request_as("bob", "POST", &migrate).await;
    let stop = without_redirects(request.json(&json!({ "to": to.url })));
    assert_eq!(stop.await.0, 403, "a player may not move it");
    let request = from.request_as("alice", "POST", &migrate).await;
    let (status, _, moved) = without_redirects(request.json(&json!({ "to": to.url }))).await;
    assert_eq!((status, &moved["confirmed"], &moved["to"]), (200, &json!(true), &json!(to.url)), "{moved}");

    // The same bytes and hashes, in other places of the log.
    let after = verified_history(&to, "games/g1").await;
    assert_eq!(after.len(), 600);
    assert!(before.iter().map(|e| placeless(e)).eq(after.iter().map(|e| placeless(e))));
    assert_ne!(before, after);
    assert_eq!(to.get(GAME).await.1, state);

    // The streams are shown the way; those that follow nothing else end.
    for follower in [&mut host, &mut bob, &mut many] {
        let told = follower.expect("moved").await;
        let expect = json!({ "collection": "games", "id": "g1", "to": to.url, "position": moved["position"] });
        assert_eq!(told.data, expect);
    }
    assert!(host.next().await.is_none() && bob.next().await.is_none());
    assert_eq!(from.put("/api/v1/other/o1", &json!({ "more": 1 })).await.0, 200);
    many.expect("change").await;

    // Everything asked of the old server leads to the new one.
    for (method, path) in [
        ("GET", GAME.to_owned()),
        ("PATCH", GAME.to_owned()),
        ("GET", format!("{GAME}/events?after=3")),
        ("POST", format!("{GAME}/actions")),
        ("POST", format!("{GAME}/migrate")),
        ("GET", "/api/v1/%67ames/g%31".to_owned()),
        ("GET", "/api/game/g1/restore".to_owned()),
    ] {
        let (status, headers, body) = without_redirects(from.request(method, &path)).await;
        assert_eq!((status, &body["type"]), (308, &json!("/problems/game-moved")), "{method} {path}: {body}");
        assert_eq!(headers["location"], format!("{}{path}", to.url));
        assert_eq!(body["to"], to.url);
    }
    let batch = json!({ "operations": [{ "op": "put", "collection": "games", "id": "g1", "state": {} }] });
    let (status, headers, body) = without_redirects(from.request("POST", "/api/v1/batch").json(&batch)).await;
    assert_eq!((status, &body["to"]), (308, &json!(to.url)), "{body}");
    assert_eq!(headers["location"], format!("{}/api/v1/batch", to.url));

    // From any old position exactly what was missed, also across a restart.
    assert_eq!(write(&to, 601).await, 200);
    let now = verified_history(&to, "games/g1").await;
    let mut to = to;
    for _ in 0..2 {
        for seen in [0, 1, 300, 599] {
            let old: Value = serde_json::from_str(&before[seen]).unwrap();
            let url = format!("{}{GAME}/events", to.url);
            let mut follower = Follower::connect(&url, None, Some(&position(&old))).await.unwrap();
            let missed = follower.changes_after_resumed(600 - seen).await;
            assert!(missed.iter().map(|told| &told.text).eq(&now[seen + 1..]));
            let page = to.get(&format!("{GAME}/events?limit=500&after={}", position(&old))).await.1;
            assert_eq!(page["items"][0]["version"], seen + 2);
        }
        to.kill();
        to.start_again();
    }
    // A restart of the old server changes nothing.
    let mut from = from;
    from.kill();
    from.start_again();
    until_moved(&to, &from).await;
    expect_live_only(&to, &from).await;
    let secret = to.get_as("bob", GAME).await.1;
    assert!(!secret.to_string().contains("deck") && secret["state"]["private"]["bob"].is_object(), "{secret}");
}

#[tokio::test]
async fn a_trimmed_history_moves_with_the_state_that_it_begins_with() {
    let flags = ["--history-events", "10"];
    let (from, to) = (hosting(&flags, 35).await, target().await);
    let mut watching =
        Follower::connect(&format!("{}/api/v1/stream?collection=games", to.url), None, None).await.unwrap();
    watching.expect("snapshot").await;
    let (_, page) = from.get(&format!("{GAME}/events")).await;
    let first = usize::try_from(page["firstVersion"].as_u64().unwrap()).unwrap();
    assert!(first > 1, "{page}");
    let before = history_after(&from, "games/g1", first - 1).await;
    let (status, moved) = migrate(&from, &to.url).await;
    assert_eq!(status, 200, "{moved}");
    // Whoever follows the whole collection there gets the state, not changes of one that they do not have.
    let told = watching.expect("snapshot").await;
    assert_eq!((&told.data["reason"], told.data["documents"].as_array().unwrap().len()), (&json!("trimmed"), 2));
    assert_eq!(write(&to, 36).await, 200);
    watching.expect("change").await;
    let mut to = to;
    for _ in 0..2 {
        let after = history_after(&to, "games/g1", first - 1).await;
        assert!(before.iter().map(|e| placeless(e)).eq(after[..before.len()].iter().map(|e| placeless(e))));
        for (seen, event) in before.iter().enumerate() {
            let old: Value = serde_json::from_str(event).unwrap();
            let url = format!("{}{GAME}/events", to.url);
            let mut follower = Follower::connect(&url, None, Some(&position(&old))).await.unwrap();
            let missed = follower.changes_after_resumed(before.len() - seen).await;
            assert!(missed.iter().map(|told| &told.text).eq(&after[seen + 1..]));
        }
        to.kill();
        to.start_again();
    }
    assert_eq!((write(&to, 37).await, write(&from, 37).await), (200, 308));
}

#[tokio::test]
async fn while_it_moves_it_takes_no_changes_and_a_refusal_lets_it_go_on() {
    let (from, to) = (hosting(&[], 5).await, target().await);
    let mut relay = Relay::before(&to).await;
    relay.when("prepare", Does::HoldsAnswer);
    let moving = {
        let request = from.request("POST", &format!("{GAME}/migrate")).json(&json!({ "to": relay.url }));
        tokio::spawn(request.send())
    };
    relay.until("prepare").await;
    let reply = from.json_patch(GAME, &json!([{ "op": "replace", "path": "/n", "value": 9 }])).await;
    assert!(reply.headers.contains_key("retry-after"));
    reply.problem(503, "game-frozen");
    assert_eq!(from.get(GAME).await.0, 200, "it can still be read");
    assert_eq!(migrate(&from, &to.url).await.0, 503, "it moves once at a time");
    // There it is not live, and its name is taken.
    assert_eq!(to.get(GAME).await.0, 404);
    let created = to.post("/api/v1/games", &json!({ "id": "g1", "state": {} })).await;
    assert_eq!((created.0, &created.1["type"]), (503, &json!("/problems/game-frozen")));
    relay.release();
    let answer = moving.await.unwrap().unwrap();
    assert_eq!(answer.status().as_u16(), 503, "an answer that breaks off is none");
    expect_live_only(&from, &to).await;
    // It was cancelled there, so that the name is free again, and a second attempt succeeds.
    relay.when("prepare", Does::Forwards);
    assert_eq!(migrate(&from, &to.url).await.0, 200);
    expect_live_only(&to, &from).await;
}

#[tokio::test]
async fn what_may_not_be_sent_to_is_refused_before_anything_is_frozen() {
    let from = hosting(&[], 2).await;
    for to in [
        "http://10.0.0.1:7766",
        "http://192.168.1.1",
        "http://169.254.169.254",
        "http://100.115.92.7:1",
        "http://[fe80::1]:1",
        "http://0.0.0.0:1",
        "https://127.0.0.1:1",
        "http://127.0.0.1:1/path",
        "127.0.0.1:1",
        "http://no.such.name.invalid:1",
        "",
    ] {
        let (status, answer) = migrate(&from, to).await;
        assert_eq!((status, &answer["errors"][0]["field"]), (400, &json!("to")), "{to}: {answer}");
    }
    assert_eq!(migrate(&from, &from.url).await.0, 422, "to itself");
    assert_eq!(from.post("/api/v1/games/none/migrate", &json!({ "to": from.url })).await.0, 404);
    // Nobody there.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    assert_eq!(migrate(&from, &url).await.0, 503);
    // Somebody who points elsewhere.
    let elsewhere = target().await;
    let mut relay = Relay::before(&elsewhere).await;
    relay.when("begin", Does::Redirects);
    assert_eq!(migrate(&from, &relay.url).await.0, 422);
    relay.until("begin").await;
    assert_eq!(write(&from, 3).await, 200);
    assert_eq!(elsewhere.get(GAME).await.0, 404);
}

#[tokio::test]
async fn a_target_that_has_such_a_game_refuses_and_its_own_stays() {
    let (from, to) = (hosting(&[], 3).await, target().await);
    assert_eq!(to.put(GAME, &json!({ "own": true })).await.0, 201);
    let (status, answer) = migrate(&from, &to.url).await;
    assert_eq!((status, &answer["type"]), (422, &json!("/problems/move-refused")), "{answer}");
    assert_eq!(write(&from, 4).await, 200);
    assert_eq!(to.get(GAME).await.1["state"], json!({ "own": true }));
    assert_eq!(write(&to, 4).await, 200);
}

#[tokio::test]
async fn a_history_that_does_not_add_up_is_not_taken() {
    let (from, to) = (hosting(&[], 4).await, target().await);
    let mut relay = Relay::before(&to).await;
    for (what, with) in [
        (r#""path":"/n","value":3"#, r#""path":"/n","value":5"#),
        (r#""path":"/n""#, r#""path":"/m""#),
        (r#""type":"patch""#, r#""type":"p\u0061tch""#),
        (r#""version":3,"hash""#, r#""version":7,"hash""#),
        (r#""deletes":false"#, r#""deletes":true"#),
    ] {
        relay.when("events", Does::Replaces(what, with));
        let (status, answer) = migrate(&from, &relay.url).await;
        assert_eq!((status, &answer["type"]), (422, &json!("/problems/move-refused")), "{what}: {answer}");
        relay.until("events").await;
        assert_eq!(to.get(GAME).await.0, 404);
        expect_live_only(&from, &to).await;
    }
    // By others than the owner nothing is taken at all.
    let piece = json!({ "step": "prepare", "move": "x" });
    assert_eq!(to.post_as("alice", &format!("{GAME}/import"), &piece).await.0, 403);
    for step in ["prepare", "confirm"] {
        let piece = json!({ "step": step, "move": "x" });
        assert_eq!(to.post(&format!("{GAME}/import"), &piece).await.0, 404);
    }
}
