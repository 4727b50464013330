//! Games that come back to a server that they left.

use serde_json::{Value, json};

use super::{GAME, Hand, ask, expect_live_only, hosting, migrate, target, until_moved, write};
use crate::support::history::{history_after, verified_history};
use crate::support::relay::{Does, Relay};
use crate::support::{Follower, Process, position};

async fn moves(from: &Process, to: &Process) {
    let (status, moved) = migrate(from, &to.url).await;
    assert_eq!((status, &moved["confirmed"]), (200, &json!(true)), "{moved}");
}

fn restart(server: &mut Process) {
    server.kill();
    server.start_again();
}

/// Requires that each position of these events is one from which the game can be followed at `here`.
async fn expect_known(here: &Process, events: &[String]) {
    let now = verified_history(here, "games/g1").await;
    for (seen, event) in events.iter().enumerate() {
        let event: Value = serde_json::from_str(event).unwrap();
        let url = format!("{}{GAME}/events", here.url);
        let mut follower = Follower::connect(&url, None, Some(&position(&event))).await.unwrap();
        let missed = follower.changes_after_resumed(now.len() - seen - 1).await;
        assert!(missed.iter().map(|told| &told.text).eq(&now[seen + 1..]));
    }
}

#[tokio::test]
async fn a_game_goes_and_comes_back_with_what_happened_meanwhile() {
    let (mut a, mut b) = (hosting(&[], 5).await, target().await);
    let mut bob = Hand::dealt(&a, "bob", 3).await;
    let follow = |server: &Process| format!("{}/api/v1/stream?collection=games", server.url);
    let mut following = Follower::connect(&follow(&a), None, None).await.unwrap();
    following.expect("snapshot").await;
    let at_a = verified_history(&a, "games/g1").await;
    moves(&a, &b).await;
    assert_eq!(following.expect("moved").await.data["to"], b.url);
    let old = bob.body();
    bob.comes_back(&b).await;
    assert_eq!((write(&b, 100).await, write(&b, 101).await), (200, 200));
    let mut eve = Hand::dealt(&b, "eve", 1).await;
    let at_b = verified_history(&b, "games/g1").await;
    moves(&b, &a).await;

    // Who followed here gets what happened there, and then the whole, for whoever let go of it.
    let changes = following.changes(3).await;
    assert_eq!(changes[0].data["version"], at_a.len() + 1);
    let returned = following.expect("snapshot").await;
    assert_eq!((&returned.data["reason"], &returned.data["documents"][0]["n"]), (&json!("returned"), &Value::Null));
    assert_eq!(returned.data["documents"][0]["version"], at_b.len());
    for _ in 0..2 {
        assert_eq!(verified_history(&a, "games/g1").await.len(), at_b.len());
        expect_known(&a, &at_a).await;
        expect_known(&a, &at_b).await;
        restart(&mut a);
        restart(&mut b);
    }
    // What was used up there is used up here.
    let (status, refusal) = a.post(super::RECONNECT, &old).await;
    assert_eq!((status, &refusal["type"]), (409, &json!("/problems/reconnect-token-raced")), "{refusal}");
    bob.expect_only_at(&a, &b).await;
    eve.expect_only_at(&a, &b).await;
    expect_live_only(&a, &b).await;
    let (status, headers, _) = ask(&b, "GET", GAME, &Value::Null).await;
    assert_eq!((status, headers["location"].to_str().unwrap()), (308, &*format!("{}{GAME}", a.url)));

    // And once more there and back, without anything that happens.
    for _ in 0..2 {
        moves(&a, &b).await;
        bob.expect_only_at(&b, &a).await;
        restart(&mut a);
        moves(&b, &a).await;
        eve.expect_only_at(&a, &b).await;
        restart(&mut b);
    }
    expect_live_only(&a, &b).await;
}

#[tokio::test]
async fn a_chain_of_moves_ends_with_one_live_copy_and_all_others_lead_to_it() {
    let servers = [hosting(&[], 3).await, target().await, target().await];
    let mut bob = Hand::dealt(&servers[0], "bob", 3).await;
    let path = [0, 1, 2, 0, 2, 1, 0];
    for (n, step) in (10..).zip(path.windows(2)) {
        let (here, there) = (&servers[step[0]], &servers[step[1]]);
        assert_eq!(write(here, n).await, 200);
        moves(here, there).await;
        bob.comes_back(there).await;
    }
    for other in &servers[1..] {
        expect_live_only(&servers[0], other).await;
        // Whoever asks any of them is led there.
        assert_eq!(other.get(GAME).await.1["version"], servers[0].get(GAME).await.1["version"]);
        bob.expect_only_at(&servers[0], other).await;
    }
}

#[tokio::test]
async fn a_game_whose_history_was_trimmed_elsewhere_comes_back_with_what_is_left() {
    let (mut a, b) = (hosting(&[], 5).await, Process::start(&["--history-events", "10"]));
    let mut following =
        Follower::connect(&format!("{}/api/v1/stream?collection=games", a.url), None, None).await.unwrap();
    following.expect("snapshot").await;
    moves(&a, &b).await;
    following.expect("moved").await;
    for n in 0..40 {
        assert_eq!(write(&b, n).await, 200);
    }
    let first = b.get(&format!("{GAME}/events")).await.1["firstVersion"].as_u64().unwrap();
    assert!(first > 7, "{first}");
    let first = usize::try_from(first).unwrap();
    let at_b = history_after(&b, "games/g1", first - 1).await;
    moves(&b, &a).await;
    // What is between is not here: who followed is not told changes of a state that they do not have.
    let told = following.expect("snapshot").await;
    assert!(["trimmed", "returned"].contains(&told.data["reason"].as_str().unwrap()), "{}", told.text);
    for _ in 0..2 {
        let here = history_after(&a, "games/g1", first - 1).await;
        let placeless = |event: &String| event.split_once(',').unwrap().1.to_owned();
        assert!(here.iter().map(placeless).eq(at_b.iter().map(placeless)));
        assert_eq!(a.get(&format!("{GAME}?version=3")).await.0, 410);
        let restored = a.get("/api/game/g1/restore").await;
        assert_eq!((restored.0, &restored.1["version"]), (200, &json!(45)), "{}", restored.1);
        restart(&mut a);
    }
    assert_eq!((write(&a, 50).await, write(&b, 50).await), (200, 308));
}

#[tokio::test]
async fn a_game_that_was_removed_and_created_again_moves_and_comes_back() {
    let (mut a, mut b) = (hosting(&[], 5).await, target().await);
    assert_eq!(a.post(&format!("{GAME}/complete"), &json!({})).await.0, 200);
    assert_eq!(ask(&a, "DELETE", "/api/game/g1/persist", &Value::Null).await.0, 204);
    let body = json!({ "id": "g1", "state": { "again": true } });
    assert_eq!(a.post("/api/v1/games", &body).await.0, 201);
    assert_eq!(write(&a, 8).await, 200);
    let mut bob = Hand::dealt(&a, "bob", 2).await;
    moves(&a, &b).await;
    // Version 6 is the removal: what came before it is nowhere, and its event cannot be verified without.
    let gone = b.get(&format!("{GAME}?version=5")).await;
    assert_eq!((gone.0, &gone.1["type"]), (410, &json!("/problems/gone")));
    bob.expect_only_at(&b, &a).await;
    assert_eq!(b.get(&format!("{GAME}?version=7")).await.1["state"], json!({ "again": true }));
    let restored = b.get("/api/game/g1/restore").await;
    assert_eq!((restored.0, &restored.1["version"]), (200, &b.get(GAME).await.1["version"]), "{}", restored.1);
    restart(&mut b);
    moves(&b, &a).await;
    restart(&mut a);
    bob.expect_only_at(&a, &b).await;
    assert_eq!((write(&a, 50).await, write(&b, 50).await), (200, 308));
    assert_eq!(a.get("/api/game/g1/restore").await.0, 200);
}

#[tokio::test]
async fn what_is_not_the_game_that_left_does_not_take_its_place() {
    let (a, b) = (hosting(&[], 5).await, target().await);
    moves(&a, &b).await;
    // A game of the same name that somebody else has.
    let c = hosting(&[], 7).await;
    let (status, answer) = migrate(&c, &a.url).await;
    assert_eq!((status, &answer["type"]), (422, &json!("/problems/move-refused")), "{answer}");
    assert_eq!(write(&c, 8).await, 200);
    expect_live_only(&b, &a).await;
    let (_, headers, _) = ask(&a, "GET", GAME, &Value::Null).await;
    assert_eq!(headers["location"].to_str().unwrap(), format!("{}{GAME}", b.url));
    // It still comes back.
    moves(&b, &a).await;
    expect_live_only(&a, &b).await;
}

#[tokio::test]
async fn a_return_that_is_broken_off_leaves_it_where_it_was_or_brings_it_in_the_end() {
    for (step, does) in [
        ("begin", Does::HoldsAnswer),
        ("rows", Does::HoldsAnswer),
        ("prepare", Does::HoldsAnswer),
        ("confirm", Does::HoldsRequest),
        ("confirm", Does::HoldsAnswer),
    ] {
        let (mut a, b) = (hosting(&[], 3).await, target().await);
        let mut bob = Hand::dealt(&a, "bob", 3).await;
        moves(&a, &b).await;
        assert_eq!(write(&b, 10).await, 200);
        let mut relay = Relay::before(&a).await;
        relay.when(step, does);
        let request = b.request("POST", &format!("{GAME}/migrate")).json(&json!({ "to": relay.url }));
        let moving = tokio::spawn(request.send());
        relay.until(step).await;
        if step != "confirm" {
            // It is not here yet, and who asks is still shown the way.
            assert_eq!(write(&a, 11).await, 308, "{step}");
        }
        a.kill();
        relay.when(step, Does::Forwards);
        relay.release();
        let status = moving.await.unwrap().unwrap().status().as_u16();
        a.start_again();
        if step == "confirm" {
            assert_eq!(status, 202);
            until_moved(&a, &b).await;
            bob.expect_only_at(&a, &b).await;
            expect_live_only(&a, &b).await;
        } else {
            assert_eq!(status, 503, "{step}");
            bob.expect_only_at(&b, &a).await;
            expect_live_only(&b, &a).await;
            relay.when(step, Does::Forwards);
            moves(&b, &a).await;
            bob.expect_only_at(&a, &b).await;
        }
    }
}

#[tokio::test]
async fn who_asks_again_whether_a_game_came_is_told_so_though_it_has_gone_on() {
    let (a, b, c) = (hosting(&[], 3).await, target().await, target().await);
    let mut relay = Relay::before(&b).await;
    relay.when("confirm", Does::HoldsAnswer);
    let moving = tokio::spawn(a.request("POST", &format!("{GAME}/migrate")).json(&json!({ "to": relay.url })).send());
    relay.until("confirm").await;
    // It is there, and the answer to that does not come.
    moves(&b, &c).await;
    relay.when("confirm", Does::Forwards);
    relay.release();
    assert_eq!(moving.await.unwrap().unwrap().status().as_u16(), 202);
    relay.until("confirm").await;
    until_moved_on(&a).await;
    expect_live_only(&c, &a).await;
    expect_live_only(&c, &b).await;
    moves(&c, &a).await;
    expect_live_only(&a, &c).await;
}

/// Waits until a server shows the way.
async fn until_moved_on(server: &Process) {
    let end = std::time::Instant::now() + std::time::Duration::from_secs(30);
    while ask(server, "GET", GAME, &Value::Null).await.0 != 308 {
        assert!(std::time::Instant::now() < end, "the game did not move: {}", server.log());
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
}
