//! Who is there: told to those who follow a document, by events that nobody resumes from.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::support::{AS, Follower, Process, Told};

const DEBOUNCE: Duration = Duration::from_millis(400);
const FLAGS: &[&str] = &["--presence-debounce-ms", "400"];

/// A server with `games/g1`.
async fn start(flags: &[&str]) -> Process {
    let server = Process::start(flags);
    assert_eq!(server.put("/api/v1/games/g1", &json!({ "n": 1 })).await.0, 201);
    server
}

fn url(server: &Process) -> String {
    format!("{}/api/v1/games/g1/events", server.url)
}

/// Joins as a player for the first time, and is told so.
async fn come(server: &Process, viewer: &str) -> Follower {
    come_as(server, viewer, "connected").await
}

/// The same for one who was there before.
async fn come_back(server: &Process, viewer: &str) -> Follower {
    come_as(server, viewer, "returned").await
}

async fn come_as(server: &Process, viewer: &str, event: &str) -> Follower {
    let mut follower = Follower::connect(&url(server), Some(viewer), None).await.unwrap();
    follower.expect("snapshot").await;
    until(&mut follower, viewer, event).await;
    follower
}

/// Joins as the owner.
async fn owner(server: &Process) -> Follower {
    let mut follower = Follower::connect(&url(server), None, None).await.unwrap();
    follower.expect("snapshot").await;
    follower
}

/// Waits until somebody did something.
async fn until(follower: &mut Follower, player: &str, event: &str) -> Told {
    loop {
        let told = follower.presence().await;
        if told.data["change"] == json!({ "playerId": player, "event": event }) {
            return told;
        }
    }
}

/// Who is listed: `+` those who are connected, `-` those who are not.
fn listed(data: &Value) -> Vec<String> {
    let sign = |player: &Value| if player["connected"] == true { '+' } else { '-' };
    let players = data["players"].as_array().unwrap().iter();
    let mut players: Vec<_> =
        players.map(|player| format!("{}{}", sign(player), player["playerId"].as_str().unwrap())).collect();
    players.sort();
    players
}

#[tokio::test]
async fn a_lost_connection_is_told_after_the_debounce_and_a_return_at_once() {
    let server = start(FLAGS).await;
    let mut host = owner(&server).await;
    let position = host.last_event_id.clone();
    assert_eq!(listed(&until(&mut host, "owner", "connected").await.data), ["+owner"], "the owner has a name");
    let mut alice = come(&server, "alice").await;
    assert_eq!(listed(&until(&mut host, "alice", "connected").await.data), ["+alice", "+owner"]);
    let bob = come(&server, "bob").await;
    let all = ["+alice", "+bob", "+owner"];
    assert_eq!(listed(&until(&mut alice, "bob", "connected").await.data), all, "not returned: bob was never here");
    until(&mut host, "bob", "connected").await;

    let dropped = Instant::now();
    drop(bob);
    let lost = alice.presence().await;
    assert!(dropped.elapsed() >= DEBOUNCE, "{:?}", dropped.elapsed());
    assert_eq!(lost.data["change"], json!({ "playerId": "bob", "event": "lost" }));
    assert_eq!(listed(&lost.data), ["+alice", "+owner", "-bob"]);
    let bobs = |data: &Value| data["players"].as_array().unwrap().iter().find(|p| p["playerId"] == "bob").cloned();
    let gone = bobs(&lost.data).unwrap();
    assert!(gone["lastSeen"].as_str() < lost.data["at"].as_str() && gone["since"] == gone["lastSeen"], "{gone}");
    assert_eq!(host.presence().await, Told { id: position.clone(), ..lost });

    let _bob = come_back(&server, "bob").await;
    let returned = alice.presence().await;
    assert_eq!(returned.data["change"], json!({ "playerId": "bob", "event": "returned" }));
    assert_eq!(listed(&returned.data), all);
    assert_eq!(host.presence().await.id, position, "an id would become what the browser resumes from");
}

#[tokio::test]
async fn nobody_hears_of_a_reload_or_of_one_tab_of_two() {
    // Long enough for a reload on a machine that has much else to do.
    let server = start(&["--presence-debounce-ms", "3000"]).await;
    let mut alice = come(&server, "alice").await;
    let mut bob = come(&server, "bob").await;
    until(&mut alice, "bob", "connected").await;
    let dave = come(&server, "dave").await;
    until(&mut alice, "dave", "connected").await;
    for _ in 0..3 {
        drop(bob);
        bob = Follower::connect(&url(&server), Some("bob"), None).await.unwrap();
        bob.expect("snapshot").await;
        let present = bob.presence().await.data;
        assert_eq!((listed(&present).join(""), present.get("change")), ("+alice+bob+dave".to_owned(), None));
    }
    let second = Follower::connect(&url(&server), Some("bob"), None).await.unwrap();
    drop(second);
    // Who goes after all that is told as lost after the debounce: by then the loss of any of these would have been
    // told.
    drop(dave);
    let next = alice.presence().await.data;
    assert_eq!(next["change"], json!({ "playerId": "dave", "event": "lost" }));
    assert_eq!(listed(&next), ["+alice", "+bob", "-dave"]);
}

#[tokio::test]
async fn a_resumed_stream_is_told_of_presence_only_after_what_it_missed() {
    let mut server = start(FLAGS).await;
    let _alice = come(&server, "alice").await;
    let mut bob = come(&server, "bob").await;
    let from = bob.last_event_id.clone();
    drop(bob);
    for n in 0..50 {
        assert_eq!(server.merge("/api/v1/games/g1", &json!({ "n": n + 2 })).await.0, 200);
    }
    for restarted in [false, true] {
        bob = Follower::connect(&url(&server), Some("bob"), Some(&from)).await.unwrap();
        let told: Vec<Told> = {
            let mut told = Vec::new();
            while told.last().is_none_or(|told: &Told| told.event != "presence") {
                told.push(bob.next_raw().await.unwrap());
            }
            told
        };
        let names: Vec<&str> = told.iter().map(|told| &*told.event).filter(|name| *name != "heartbeat").collect();
        assert_eq!((names[0], names.len()), ("resumed", 52), "{names:?}");
        assert!(names[1..51].iter().all(|name| *name == "change"));
        // Bob may have been away for long enough to be lost, and is back in the next one then.
        let expected = if restarted { vec!["+bob"] } else { vec!["+alice", "+bob"] };
        let mut present = listed(&told.last().unwrap().data);
        while present != expected {
            assert!(!restarted, "presence does not outlive the server: {present:?}");
            present = listed(&bob.presence().await.data);
        }
        server.kill();
        server.start_again();
    }
}

#[tokio::test]
async fn a_stream_of_a_collection_is_told_of_every_document_and_counts_for_none() {
    let server = start(FLAGS).await;
    assert_eq!(server.put("/api/v1/games/g2", &json!({})).await.0, 201);
    let all = format!("{}/api/v1/stream?collection=games&doc=chat/c1", server.url);
    let mut watcher = Follower::connect(&all, Some("watcher"), None).await.unwrap();
    watcher.expect("snapshot").await;
    let own = watcher.presence().await.data;
    assert_eq!((&own["collection"], &own["id"], listed(&own)), (&json!("chat"), &json!("c1"), vec!["+watcher".into()]));
    let _alice = come(&server, "alice").await;
    let told = watcher.presence().await.data;
    assert_eq!((&told["id"], listed(&told)), (&json!("g1"), vec!["+alice".into()]));
    let both = format!("{}/api/v1/stream?doc=games/g1&doc=games/g2", server.url);
    let bob = Follower::connect(&both, Some("bob"), None).await.unwrap();
    for _ in 0..2 {
        assert_eq!(watcher.presence().await.data["change"], json!({ "playerId": "bob", "event": "connected" }));
    }
    drop(bob);
    let mut lost = [watcher.presence().await.data, watcher.presence().await.data];
    lost.sort_by_key(|data| data["id"].to_string());
    let lost = lost.map(|data| (data["id"].clone(), listed(&data)));
    assert_eq!(lost[0], (json!("g1"), vec!["+alice".to_owned(), "-bob".to_owned()]));
    assert_eq!(lost[1], (json!("g2"), vec!["-bob".to_owned()]));
}

#[tokio::test]
async fn a_subscriber_that_does_not_read_holds_nobody_up_and_gets_the_newest_list() {
    let server = start(&["--presence-debounce-ms", "0"]).await;
    // Each list is long, so that not many fill what the sockets hold.
    let mut crowd = Vec::new();
    for n in 0..60 {
        let viewer = format!("{}-{n}", "x".repeat(50));
        let mut one = Follower::connect(&url(&server), Some(&viewer), None).await.unwrap();
        one.expect("snapshot").await;
        crowd.push(one);
    }
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    let mut slow: TcpStream = socket.connect(server.address().parse().unwrap()).await.unwrap();
    let request = format!(
        "GET /api/v1/games/g1/events HTTP/1.1\r\nHost: {}\r\nAccept: text/event-stream\r\n\r\n",
        server.address()
    );
    slow.write_all(request.as_bytes()).await.unwrap();
    let mut quick = Follower::connect(&url(&server), None, None).await.unwrap();
    quick.expect("snapshot").await;
    for round in 0..10 {
        let event = if round == 0 { "connected" } else { "returned" };
        let bob = come_as(&server, "bob", event).await;
        until(&mut quick, "bob", event).await;
        drop(bob);
        until(&mut quick, "bob", "lost").await;
    }
    let _last = come(&server, "last").await;
    let mut text = String::new();
    let mut piece = [0; 4096];
    while !text.contains(r#""change":{"playerId":"last","event":"connected"}"#) {
        let read = tokio::time::timeout(Duration::from_secs(20), slow.read(&mut piece)).await.unwrap().unwrap();
        assert!(read > 0, "the stream goes on");
        text.push_str(std::str::from_utf8(&piece[..read]).unwrap());
    }
    let ids = text.lines().filter(|line| line.starts_with("id:")).count();
    assert_eq!(ids, 1, "only the snapshot's");
}

#[tokio::test]
async fn seats_taken_and_given_up_are_told_and_the_list_of_seats_says_who_is_there() {
    let server = start(FLAGS).await;
    let seats = "/api/v1/games/g1/seats";
    let mut host = owner(&server).await;
    until(&mut host, "owner", "connected").await;
    assert_eq!(server.post_as("alice", seats, &json!({ "playerId": "alice" })).await.0, 201);
    let told = host.presence().await.data;
    assert_eq!(
        (&told["change"], listed(&told)),
        (&json!({ "playerId": "alice", "event": "join" }), vec!["+owner".into(), "-alice".into()])
    );
    let of_alice =
        |data: &Value| data["players"].as_array().unwrap().iter().find(|p| p["playerId"] == "alice").cloned();
    assert_eq!(of_alice(&told).unwrap()["lastSeen"], Value::Null, "never so far");
    // Who has a seat keeps it: that is no news.
    assert_eq!(server.post_as("alice", seats, &json!({ "playerId": "alice" })).await.0, 200);
    let alice = come(&server, "alice").await;
    assert_eq!(listed(&until(&mut host, "alice", "connected").await.data), ["+alice", "+owner"]);
    let seated = async || server.get(seats).await.1["items"][0].clone();
    let there = seated().await;
    assert_eq!(there["connected"], true, "{there}");
    drop(alice);
    let lost = until(&mut host, "alice", "lost").await.data;
    let away = seated().await;
    assert_eq!(away["connected"], false, "{away}");
    let gone = of_alice(&lost).unwrap();
    assert_eq!([&away["lastSeen"], &away["since"]], [&gone["lastSeen"], &gone["since"]]);
    let left = server.request("DELETE", &format!("{seats}/alice")).send().await.unwrap();
    assert_eq!(left.status(), 204);
    assert_eq!(listed(&until(&mut host, "alice", "leave").await.data), ["+owner"]);
}

#[tokio::test]
async fn after_a_restart_the_seated_are_listed_until_they_come_back() {
    let mut server = start(FLAGS).await;
    let seats = "/api/v1/games/g1/seats";
    for player in ["alice", "bob"] {
        assert_eq!(server.post_as(player, seats, &json!({ "playerId": player })).await.0, 201);
    }
    let alice = come(&server, "alice").await;
    let from = alice.last_event_id.clone();
    server.kill();
    server.start_again();
    // Whoever comes first, anew or from where they were, sees both.
    let mut host = owner(&server).await;
    let told = host.presence().await.data;
    assert_eq!((listed(&told), &told["players"][0]["since"]), (vec!["-alice".into(), "-bob".into()], &Value::Null));
    let items = server.get(seats).await.1["items"].clone();
    assert_eq!((&items[0]["connected"], &items[0]["since"]), (&json!(false), &Value::Null), "{items}");
    let mut alice = Follower::connect(&url(&server), Some("alice"), Some(&from)).await.unwrap();
    alice.expect("resumed").await;
    assert_eq!(listed(&until(&mut host, "alice", "returned").await.data), ["+alice", "+owner", "-bob"]);
    while listed(&alice.presence().await.data) != ["+alice", "+owner", "-bob"] {}
    // A seat that is taken now is news, one that was there is not.
    assert_eq!(server.post_as("carol", seats, &json!({ "playerId": "carol" })).await.0, 201);
    assert_eq!(listed(&until(&mut host, "carol", "join").await.data), ["+alice", "+owner", "-bob", "-carol"]);
    server.ask("DELETE", &format!("{seats}/bob"), &[]).await.expect(204);
    assert_eq!(listed(&until(&mut host, "bob", "leave").await.data), ["+alice", "+owner", "-carol"]);
}

#[tokio::test]
async fn the_owner_has_a_seat_as_others_have() {
    let server = start(FLAGS).await;
    let seats = "/api/v1/games/g1/seats";
    let taken = server.tell("POST", seats, &[], json!({ "playerId": "owner" })).await.expect(201).body;
    assert_eq!((&taken["playerId"], &taken["connected"]), (&json!("owner"), &json!(false)));
    let mut host = owner(&server).await;
    until(&mut host, "owner", "connected").await;
    assert_eq!(server.get(seats).await.1["items"][0]["connected"], true);
    // Nobody else is called so.
    let bob = server.tell("POST", "/api/v1/games/g1/seats", &[(AS, "bob")], json!({ "playerId": "owner" })).await;
    bob.problem(403, "forbidden");
    for name in ["owner", "host"] {
        let reply = server.tell("POST", "/api/v1/sessions", &[], json!({ "user": name })).await;
        reply.problem(400, "invalid-request");
    }
}
