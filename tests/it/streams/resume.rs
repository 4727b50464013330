//! Coming back: from every place, from none, from one that is trimmed, from a future that is lost.

use std::path::Path;

use serde_json::{Value, json};

use super::{all_events, count_on, counted, events_url};
use crate::support::{Follower, Process, Replica, Told, position};

/// Asserts that what comes is exactly the changes from version `first` on, up to the last of `events`.
async fn expect_missed(follower: &mut Follower, from: &str, events: &[Value]) {
    let resumed = follower.expect("resumed").await;
    assert_eq!(resumed.data["from"], from);
    assert_eq!(resumed.data["count"], events.len());
    let to = events.last().map_or(from.to_owned(), position);
    assert_eq!(resumed.data["to"], to);
    assert_eq!(resumed.id, from, "a control event does not become the last event id");
    for (event, told) in events.iter().zip(follower.changes(events.len()).await) {
        assert_eq!((&told.data, &told.id), (event, &position(event)));
    }
}

#[tokio::test]
async fn a_stream_resumes_at_every_offset_from_memory_and_from_disk() {
    let mut server = Process::start(&[]);
    let mut events = counted(&server, 8).await;
    let url = events_url(&server, "games/g1");
    for round in 0..2 {
        for offset in 0..=events.len() {
            let from = offset.checked_sub(1).map_or("0".to_owned(), |index| position(&events[index]));
            let mut follower = Follower::connect(&url, None, Some(&from)).await.unwrap();
            expect_missed(&mut follower, &from, &events[offset..]).await;
            let url = format!("{url}?lastEventId={from}");
            let mut by_query = Follower::connect(&url, None, None).await.unwrap();
            by_query.last_event_id.clone_from(&from);
            let resumed = by_query.expect("resumed").await;
            assert_eq!((&resumed.data["from"], &resumed.data["count"]), (&json!(from), &json!(events.len() - offset)));
            by_query.changes(events.len() - offset).await;
            // The header wins: a browser sends it when it reconnects to the same address.
            let last = position(events.last().unwrap());
            let mut by_both = Follower::connect(&url, None, Some(&last)).await.unwrap();
            expect_missed(&mut by_both, &last, &[]).await;

            let next = u64::try_from(events.len()).unwrap() + 1;
            count_on(&server, next, next).await;
            events = all_events(&server, "games/g1").await;
            for follower in [&mut follower, &mut by_query, &mut by_both] {
                assert_eq!(follower.expect("change").await.data, *events.last().unwrap());
            }
        }
        if round == 0 {
            server.kill();
            server.start_again();
        }
    }
}

/// Positions that are none, and such that are none of this log.
fn nowhere() -> Vec<String> {
    let mut list: Vec<String> =
        ["abc", "1", "-1", "00", "5-", "-aaaaaaaaaaaa", "3-000000000000", "999-aaaaaaaaaaaa", "0-000000000000", "null"]
            .map(str::to_owned)
            .into();
    list.push(format!("{}-aaaaaaaaaaaa", u64::MAX));
    list.push("9".repeat(5000));
    list
}

#[tokio::test]
async fn a_position_that_is_nowhere_gets_the_whole_state_and_goes_on() {
    let server = Process::start(&[]);
    let events = counted(&server, 4).await;
    let (_, document) = server.get("/api/v1/games/g1").await;
    let url = events_url(&server, "games/g1");
    let mut followers = Vec::new();
    for text in nowhere() {
        followers.push(Follower::connect(&url, None, Some(&text)).await.unwrap());
        followers.push(Follower::connect(&format!("{url}?lastEventId={text}"), None, None).await.unwrap());
    }
    // Of a hash that is right but for one digit, or in capitals.
    let last = position(&events[3]);
    for text in [last.replace(&last[2..3], if &last[2..3] == "0" { "1" } else { "0" }), last.to_uppercase() + " "] {
        if text.trim() != last {
            followers.push(Follower::connect(&url, None, Some(&text)).await.unwrap());
        }
    }
    for follower in &mut followers {
        let told = follower.expect("snapshot").await;
        assert_eq!(told.data, json!({ "reason": "diverged", "documents": [document] }));
        assert_eq!(told.id, last, "the snapshot names its place");
    }
    count_on(&server, 5, 5).await;
    for follower in &mut followers {
        assert_eq!(follower.expect("change").await.data["version"], 5);
    }
}

#[tokio::test]
async fn what_is_trimmed_is_replaced_by_the_whole_state() {
    let mut server = Process::start(&["--history-events", "5"]);
    let filler = "x".repeat(3000);
    server.post("/api/v1/games", &json!({ "id": "g1", "state": { "n": 1 } })).await;
    let mut positions = Vec::new();
    for n in 2..=30 {
        let (status, _) = server.merge("/api/v1/games/g1", &json!({ "n": n, "filler": format!("{filler}{n}") })).await;
        assert_eq!(status, 200);
        positions.push(position(all_events(&server, "games/g1").await.last().unwrap()));
    }
    server.kill();
    server.start_again();
    let (_, document) = server.get("/api/v1/games/g1").await;
    let (_, page) = server.get("/api/v1/games/g1/events").await;
    let first = page["firstVersion"].as_u64().unwrap();
    let kept = page["items"].as_array().unwrap();
    assert!(first > 2 && first <= 26, "a bound of 5 was asked for: {first}");
    assert_eq!(kept.len(), usize::try_from(30 - first + 1).unwrap());
    assert_eq!(server.get("/api/v1/games/g1?version=1").await.0, 410);

    let url = events_url(&server, "games/g1");
    let mut followers = Vec::new();
    for (version, from) in (2..).zip(&positions) {
        let mut follower = Follower::connect(&url, None, Some(from)).await.unwrap();
        if version < first {
            let told = follower.expect("snapshot").await;
            assert_eq!(told.data, json!({ "reason": "trimmed", "documents": [document] }), "{version}");
            assert_eq!(Some(&told.id), positions.last());
        } else {
            let missed = usize::try_from(version - first + 1).unwrap();
            expect_missed(&mut follower, from, &kept[missed..]).await;
        }
        followers.push(follower);
    }
    // From the beginning of what is kept.
    let mut follower = Follower::connect(&url, None, Some("0")).await.unwrap();
    expect_missed(&mut follower, "0", kept).await;
    followers.push(follower);
    count_on(&server, 31, 31).await;
    for follower in &mut followers {
        assert_eq!(follower.expect("change").await.data["version"], 31);
    }
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        if entry.file_type().unwrap().is_file() {
            std::fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
        }
    }
}

#[tokio::test]
async fn a_position_of_a_future_that_a_restored_file_lost_is_told_as_diverged() {
    let mut server = Process::start(&[]);
    counted(&server, 3).await;
    assert!(server.terminate().success());
    let backup = tempfile::tempdir().unwrap();
    copy(&server.data_dir(), backup.path());
    server.start_again();
    count_on(&server, 4, 6).await;
    let lost = all_events(&server, "games/g1").await;
    assert!(server.terminate().success());
    std::fs::remove_dir_all(server.data_dir()).unwrap();
    copy(backup.path(), &server.data_dir());
    server.start_again();

    let url = events_url(&server, "games/g1");
    // Versions 4 to 6 are lost; nothing new is there, then less than was lost, then as much, then more.
    for version in 3..=8 {
        if version > 3 {
            let patch = json!({ "n": version, "another": "future" });
            assert_eq!(server.merge("/api/v1/games/g1", &patch).await.1["version"], version);
        }
        let (_, document) = server.get("/api/v1/games/g1").await;
        for event in &lost[3..] {
            let mut follower = Follower::connect(&url, None, Some(&position(event))).await.unwrap();
            let told = follower.expect("snapshot").await;
            assert_eq!(told.data, json!({ "reason": "diverged", "documents": [document] }));
            let (status, _) = server.get(&format!("/api/v1/games/g1/events?after={}", position(event))).await;
            assert_eq!(status, 410);
        }
        let now = all_events(&server, "games/g1").await;
        let from = position(&lost[2]);
        let mut follower = Follower::connect(&url, None, Some(&from)).await.unwrap();
        expect_missed(&mut follower, &from, &now[3..]).await;
        if version == 5 {
            // The same once more when all of it comes from disk.
            server.kill();
            server.start_again();
        }
    }
}

#[tokio::test]
async fn a_position_is_a_place_in_the_whole_log_so_that_of_another_document_will_do() {
    let mut server = Process::start(&[]);
    let mut replica = Replica::of_host();
    for name in ["games/a", "games/b"] {
        assert_eq!(server.put(&format!("/api/v1/{name}"), &json!({ "n": 0 })).await.0, 201);
    }
    for n in 1..5 {
        for name in ["games/a", "games/b", "games/b"] {
            assert_eq!(server.merge(&format!("/api/v1/{name}"), &json!({ "n": n, "at": name })).await.0, 200);
        }
    }
    let (mine, others) = (all_events(&server, "games/a").await, all_events(&server, "games/b").await);
    for _ in 0..2 {
        for other in &others {
            let missed: Vec<Value> =
                mine.iter().filter(|event| event["seq"].as_u64() > other["seq"].as_u64()).cloned().collect();
            let from = position(other);
            let mut follower = Follower::connect(&events_url(&server, "games/a"), None, Some(&from)).await.unwrap();
            expect_missed(&mut follower, &from, &missed).await;
            let page = server.get(&format!("/api/v1/games/a/events?after={from}")).await.1;
            assert_eq!(page["items"], json!(missed));
        }
        server.kill();
        server.start_again();
    }
    for event in &mine {
        let told = Told { event: "change".into(), id: position(event), data: event.clone(), text: wire(event) };
        replica.take(&told);
    }
}

/// An event with its members in the order of the wire.
fn wire(event: &Value) -> String {
    let names = ["seq", "collection", "id", "version", "type", "actor", "at", "payload", "patch", "salt", "hash"];
    let members: Vec<String> =
        names.iter().filter_map(|name| event.get(*name).map(|value| format!("\"{name}\":{value}"))).collect();
    format!("{{{}}}", members.join(","))
}
