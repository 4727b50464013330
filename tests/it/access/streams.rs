//! Streams of those whose access changes.

use serde_json::{Value, json};

use super::{PATH, create, set_access};
use crate::support::{Follower, Process};

async fn game(server: &Process, id: &str, access: Value) {
    let state = json!({ "n": 0, "hidden": { "x": "SECRET" } });
    let body = json!({ "id": id, "state": state, "access": access });
    create(server, Some("ann"), body).await.expect(201);
}

async fn connect(server: &Process, query: &str, viewer: &str, resume: Option<&str>) -> Follower {
    Follower::connect(&format!("{}{query}", server.url), Some(viewer), resume).await.unwrap()
}

/// The ids of a snapshot's documents.
fn ids(snapshot: &Value) -> Vec<&str> {
    snapshot["documents"].as_array().unwrap().iter().map(|document| document["id"].as_str().unwrap()).collect()
}

const ALL: [&str; 4] = [
    "/api/v1/games/g1/events",
    "/api/v1/stream?doc=games/g1",
    "/api/v1/stream?collection=games",
    "/api/v1/stream?doc=games/g2&collection=games",
];

#[tokio::test]
async fn open_streams_end_when_access_is_taken_away_and_do_not_come_back() {
    let mut server = Process::start(&[]);
    game(&server, "g1", json!({})).await;
    game(&server, "g2", json!({})).await;
    let mut open = Vec::new();
    for query in ALL {
        let mut follower = connect(&server, query, "bob", None).await;
        follower.expect("snapshot").await;
        open.push((query, follower));
    }
    let mut host = connect(&server, ALL[2], "ann", None).await;
    host.expect("snapshot").await;
    server.merge(PATH, &json!({ "n": 1 })).await;
    set_access(&server, PATH, json!({ "read": "host" })).await;
    server.merge(PATH, &json!({ "n": "UNSEEN" })).await;
    assert_eq!(host.changes(3).await[1].data["access"]["read"], "host");
    for (query, follower) in &mut open {
        let told = follower.expect_any(&["change", "bye"]).await;
        if told.event == "change" {
            assert_eq!(told.data["version"], 2, "{query}");
            assert_eq!(follower.expect("bye").await.data["reason"], "access-ended");
        } else {
            assert_eq!(told.data["reason"], "access-ended", "{query}");
        }
        assert!(follower.next_raw().await.is_none(), "{query}");
    }
    for round in 0..2 {
        for (query, follower) in &open {
            let from = Some(follower.last_event_id.as_str());
            for resume in [None, from, Some("0"), Some("nonsense")] {
                let again = Follower::connect(&format!("{}{query}", server.url), Some("bob"), resume).await;
                if query.ends_with("/events") {
                    assert_eq!(again.err().unwrap().status().unwrap(), 404);
                    continue;
                }
                let mut again = again.unwrap();
                let first = again.next().await.unwrap();
                assert!(!first.text.contains("UNSEEN") && !first.text.contains("\"g1\""), "{}", first.text);
                if first.event == "snapshot" {
                    let others = query.contains("collection");
                    assert_eq!(ids(&first.data), if others { vec!["g2"] } else { vec![] }, "{query} {resume:?}");
                }
            }
        }
        if round == 0 {
            server.kill();
            server.start_again();
        }
    }
}

#[tokio::test]
async fn whose_view_changes_gets_the_whole_state_and_goes_on_from_there() {
    let server = Process::start(&[]);
    game(&server, "g1", json!({ "read": "host" })).await;
    game(&server, "g2", json!({})).await;
    let mut bob = connect(&server, "/api/v1/stream?doc=games/g1&doc=games/g2", "bob", None).await;
    let first = bob.expect("snapshot").await;
    assert_eq!((ids(&first.data), &first.data["gone"]), (vec!["g2"], &json!(["games/g1"])));
    server.merge(PATH, &json!({ "n": 1 })).await;
    server.merge("/api/v1/games/g2", &json!({ "n": 2 })).await;
    assert_eq!(bob.expect("change").await.data["id"], "g2", "nothing of the other");
    // A change that means nothing to them is one as any other, or none.
    set_access(&server, PATH, json!({ "read": "host", "write": "host" })).await;
    set_access(&server, "/api/v1/games/g2", json!({ "write": "host" })).await;
    let change = bob.expect("change").await;
    assert_eq!((&change.data["id"], &change.data["type"]), (&json!("g2"), &json!("access")));
    assert!(change.data.get("access").is_none(), "{}", change.text);

    set_access(&server, PATH, json!({ "read": ["bob"] })).await;
    let given = bob.expect("snapshot").await;
    assert_eq!((&given.data["reason"], ids(&given.data)), (&json!("access"), vec!["g1", "g2"]));
    assert!(!given.text.contains("SECRET"), "{}", given.text);
    server.merge(PATH, &json!({ "n": 3 })).await;
    assert_eq!(bob.expect("change").await.data["version"], 5);

    // The new host sees all of it, the old one no more than a player, each from a state that fits.
    let mut ann = connect(&server, "/api/v1/games/g1/events", "ann", None).await;
    assert!(ann.expect("snapshot").await.text.contains("SECRET"));
    let left_at = ann.last_event_id.clone();
    set_access(&server, PATH, json!({ "host": "bob" })).await;
    let to_bob = bob.expect("snapshot").await;
    assert!(to_bob.text.contains("SECRET") && to_bob.data["documents"][0]["host"] == "bob", "{}", to_bob.text);
    let to_ann = ann.expect("snapshot").await;
    assert!(to_ann.data["reason"] == "access" && !to_ann.text.contains("SECRET"), "{}", to_ann.text);
    server.merge(PATH, &json!({ "hidden": { "x": "SECRET2" }, "n": 4 })).await;
    assert!(bob.expect("change").await.text.contains("SECRET2"));
    assert!(!ann.expect("change").await.text.contains("SECRET"));
    for resume in [left_at.as_str(), "0"] {
        let mut again = connect(&server, "/api/v1/games/g1/events", "ann", Some(resume)).await;
        let first = again.expect_any(&["snapshot", "resumed"]).await;
        let count = first.data["count"].as_u64().unwrap_or(0);
        let mut texts = vec![first.text];
        for _ in 0..count {
            texts.push(again.expect("change").await.text);
        }
        assert!(texts.iter().all(|text| !text.contains("SECRET")), "{texts:?}");
    }
}

#[tokio::test]
async fn a_resumed_stream_counts_and_tells_only_what_may_be_read() {
    let mut server = Process::start(&[]);
    for (id, read) in [("g1", json!("host")), ("g2", json!("all")), ("g3", json!(["bob", "eve"]))] {
        game(&server, id, json!({ "read": read })).await;
    }
    let mut bob = connect(&server, "/api/v1/stream?collection=games", "bob", None).await;
    assert_eq!(ids(&bob.expect("snapshot").await.data), ["g2", "g3"]);
    let from = bob.last_event_id.clone();
    drop(bob);
    for n in 1..=4 {
        for id in ["g1", "g2", "g3"] {
            server.merge(&format!("/api/v1/games/{id}"), &json!({ "n": n })).await;
        }
    }
    for _ in 0..2 {
        let mut bob = connect(&server, "/api/v1/stream?collection=games", "bob", Some(&from)).await;
        let told = bob.changes_after_resumed(8).await;
        assert!(told.iter().all(|change| change.data["id"] != "g1"));
        let mut dan = connect(&server, "/api/v1/stream?collection=games", "dan", Some(&from)).await;
        dan.changes_after_resumed(4).await;
        let mut ann = connect(&server, "/api/v1/stream?collection=games", "ann", Some(&from)).await;
        ann.changes_after_resumed(12).await;
        server.kill();
        server.start_again();
    }
}

#[tokio::test]
async fn who_is_there_is_told_of_what_may_be_read_alone() {
    let server = Process::start(&[]);
    game(&server, "g1", json!({ "read": ["eve"] })).await;
    game(&server, "g2", json!({})).await;
    let mut eve = connect(&server, "/api/v1/games/g1/events", "eve", None).await;
    eve.expect("snapshot").await;
    eve.presence().await;
    let mut bob = connect(&server, "/api/v1/stream?doc=games/g1&collection=games", "bob", None).await;
    let mut eve_too = connect(&server, "/api/v1/games/g2/events", "eve", None).await;
    eve_too.expect("snapshot").await;
    assert_eq!(bob.next_raw().await.unwrap().event, "snapshot");
    let told = bob.presence().await;
    assert_eq!((&told.data["id"], &told.data["players"][0]["playerId"]), (&json!("g2"), &json!("eve")));
    // Nobody hears that bob asked for it.
    let mut dan = connect(&server, "/api/v1/games/g1/events", "ann", None).await;
    dan.expect("snapshot").await;
    let present = dan.presence().await;
    assert!(!present.text.contains("bob"), "{}", present.text);
    // Once they may read it, they are there.
    set_access(&server, PATH, json!({ "read": ["eve", "bob"] })).await;
    bob.expect("snapshot").await;
    loop {
        let told = eve.presence_or_change().await;
        if told.text.contains("\"bob\"") {
            break;
        }
    }
}

#[tokio::test]
async fn a_long_poll_ends_with_the_right_to_read() {
    let server = Process::start(&[]);
    game(&server, "g1", json!({})).await;
    let poll = async { server.get_as("bob", &format!("{PATH}/events?after=1&wait=30")).await };
    let take = async {
        // Whichever of the two is first: the answer is the same.
        tokio::task::yield_now().await;
        set_access(&server, PATH, json!({ "read": "host" })).await
    };
    let ((status, _), _) = tokio::join!(poll, take);
    assert_eq!(status, 404);
}
