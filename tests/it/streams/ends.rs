//! How streams begin and end: headers, frames, documents that are not there.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::timeout;

use super::{counted, events_url};
use crate::support::stream::PATIENCE;
use crate::support::{Follower, Process};

/// A stream as its bytes, cut into frames.
struct Frames {
    response: reqwest::Response,
    text: String,
}

impl Frames {
    async fn open(url: &str, resume: Option<&str>) -> Self {
        let mut request = reqwest::Client::new().get(url).header("accept", "text/event-stream");
        if let Some(resume) = resume {
            request = request.header("last-event-id", resume);
        }
        Self { response: request.send().await.unwrap(), text: String::new() }
    }

    /// The next frame; `None` at the end.
    async fn next(&mut self) -> Option<String> {
        loop {
            if let Some((frame, rest)) = self.text.split_once("\n\n") {
                let (frame, rest) = (frame.to_owned(), rest.to_owned());
                self.text = rest;
                return Some(frame);
            }
            let piece = timeout(PATIENCE, self.response.chunk()).await.expect("the stream says something");
            self.text.push_str(std::str::from_utf8(&piece.ok()??).unwrap());
        }
    }

    /// The next frame of this name.
    async fn until(&mut self, event: &str) -> String {
        loop {
            let frame = self.next().await.expect("the stream goes on");
            if field(&frame, "event") == Some(event) {
                return frame;
            }
        }
    }
}

fn field<'a>(frame: &'a str, name: &str) -> Option<&'a str> {
    frame.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
}

fn retry(frame: &str) -> u64 {
    field(frame, "retry").unwrap_or_else(|| panic!("{frame}")).parse().unwrap()
}

#[tokio::test]
async fn a_stream_begins_with_retry_and_a_snapshot_and_says_that_it_must_not_be_kept() {
    let server = Process::start(&[]);
    counted(&server, 3).await;
    let read = server.request("GET", "/api/v1/games/g1").send().await.unwrap();
    let position = read.headers()["rejoin-position"].to_str().unwrap().to_owned();
    let document: Value = serde_json::from_str(&read.text().await.unwrap()).unwrap();

    let mut frames = Frames::open(&events_url(&server, "games/g1"), None).await;
    assert_eq!(frames.response.status(), 200);
    let header = |name: &str| frames.response.headers()[name].to_str().unwrap().to_owned();
    assert_eq!(header("content-type"), "text/event-stream");
    assert_eq!(header("cache-control"), "no-store, no-transform");
    assert_eq!(header("x-accel-buffering"), "no");
    let first = frames.next().await.unwrap();
    assert!((300..1300).contains(&retry(&first)), "{first}");
    assert!(field(&first, "data").is_none(), "a frame with no event: {first}");
    let snapshot = frames.next().await.unwrap();
    assert_eq!(field(&snapshot, "event"), Some("snapshot"));
    assert_eq!(field(&snapshot, "id"), Some(&*position));
    let data: Value = serde_json::from_str(field(&snapshot, "data").unwrap()).unwrap();
    assert_eq!(data, json!({ "reason": "start", "documents": [document] }));
}

#[tokio::test]
async fn only_snapshots_and_changes_carry_an_id() {
    let mut server = Process::start(&["--heartbeat-seconds", "1"]);
    let events = counted(&server, 3).await;
    let from = crate::support::position(&events[0]);
    let mut frames = Frames::open(&events_url(&server, "games/g1"), Some(&from)).await;
    retry(&frames.next().await.unwrap());
    let resumed = frames.next().await.unwrap();
    assert_eq!((field(&resumed, "event"), field(&resumed, "id")), (Some("resumed"), None));
    assert!(field(&frames.until("change").await, "id").is_some());
    for _ in 0..2 {
        let heartbeat = frames.until("heartbeat").await;
        assert_eq!(field(&heartbeat, "id"), None);
        let data: Value = serde_json::from_str(field(&heartbeat, "data").unwrap()).unwrap();
        assert!(data["at"].as_str().unwrap().ends_with('Z'));
    }
    assert!(server.terminate().success());
    let bye = frames.until("bye").await;
    assert_eq!(field(&bye, "id"), None);
    assert_eq!(field(&bye, "data"), Some(r#"{"reason":"shutdown"}"#));
    assert!((300..1300).contains(&retry(&bye)));
    assert_eq!(frames.next().await, None, "after bye comes nothing");
}

#[tokio::test]
async fn a_document_that_never_was_is_refused_to_beginners_and_never_to_those_who_resume() {
    let server = Process::start(&[]);
    let events = counted(&server, 3).await;
    let deleted = server.request("DELETE", "/api/v1/games/g1").send().await.unwrap();
    assert_eq!(deleted.status(), 200);
    for method in ["GET", "HEAD"] {
        let request = server.request(method, "/api/v1/games/never/events");
        let refused = request.header("accept", "text/event-stream").send().await.unwrap();
        assert_eq!(refused.status(), 404, "{method}");
        if method == "GET" {
            let text = refused.text().await.unwrap();
            assert!(text.contains("/problems/not-found"), "{text}");
        }
    }
    for name in ["games/g1", "games/never"] {
        let first = crate::support::position(&events[0]);
        for resume in ["0", &first, "garbage", "999-aaaaaaaaaaaa"] {
            let mut follower = Follower::connect(&events_url(&server, name), None, Some(resume)).await.unwrap();
            let told = follower.next().await.unwrap();
            match (resume.contains('g') || resume.starts_with("999"), told.event.as_str()) {
                (true, "snapshot") => {
                    assert_eq!(told.data, json!({ "reason": "diverged", "documents": [], "gone": [name] }))
                }
                (false, "resumed") => {
                    let missed = if name == "games/never" { 0 } else { if resume == "0" { 4 } else { 3 } };
                    assert_eq!(told.data["count"], missed);
                    follower.changes(missed).await;
                }
                _ => panic!("{told:?}"),
            }
            let by_query = format!("{}?lastEventId={resume}", events_url(&server, name));
            Follower::connect(&by_query, None, None).await.unwrap();
        }
    }
}

#[tokio::test]
async fn a_deletion_and_a_new_beginning_are_changes_like_others() {
    let server = Process::start(&[]);
    let events = counted(&server, 2).await;
    let url = events_url(&server, "games/g1");
    let mut follower = Follower::connect(&url, None, None).await.unwrap();
    follower.expect("snapshot").await;
    assert_eq!(server.request("DELETE", "/api/v1/games/g1").send().await.unwrap().status(), 200);
    let gone = follower.expect("change").await;
    assert_eq!(gone.data["patch"], json!([{ "op": "replace", "path": "", "value": null }]));
    assert_eq!((&gone.data["type"], &gone.data["version"]), (&json!("delete"), &json!(3)));
    let (status, problem) = server.get("/api/v1/games/g1").await;
    assert_eq!((status, &problem["lastVersion"]), (410, &json!(3)));
    // Its history is still there to be read.
    assert_eq!(super::all_events(&server, "games/g1").await.len(), 3);

    let (status, document) = server.post("/api/v1/games", &json!({ "id": "g1", "state": { "again": true } })).await;
    assert_eq!((status, &document["version"]), (201, &json!(4)));
    let again = follower.expect("change").await;
    assert_eq!(again.data["patch"], json!([{ "op": "add", "path": "", "value": { "again": true } }]));
    let mut back = Follower::connect(&url, None, Some(&crate::support::position(&events[1]))).await.unwrap();
    assert_eq!(back.expect("resumed").await.data["count"], 2);
    assert_eq!(back.changes(2).await.iter().map(|told| &told.data).collect::<Vec<_>>(), [&gone.data, &again.data]);
    // Nobody is woken for nothing.
    assert!(timeout(Duration::from_millis(50), back.next()).await.is_err());
}

#[tokio::test]
async fn a_snapshot_names_the_documents_that_are_gone() {
    let mut server = Process::start(&[]);
    let events = counted(&server, 3).await;
    server.put("/api/v1/games/other", &json!({})).await;
    assert_eq!(server.request("DELETE", "/api/v1/games/g1").send().await.unwrap().status(), 200);
    let gone = json!(["games/g1"]);
    // Whoever begins is told too: a refusal would end a browser's stream for good.
    for url in [events_url(&server, "games/g1"), format!("{}/api/v1/stream?doc=games/g1&doc=games/other", server.url)] {
        for resume in [None, Some("garbage"), Some("999-aaaaaaaaaaaa")] {
            let mut follower = Follower::connect(&url, None, resume).await.unwrap();
            let told = follower.expect("snapshot").await;
            assert_eq!(told.data["gone"], gone, "{url} {resume:?}: {}", told.text);
        }
    }
    // What comes back is a change like others.
    let mut follower = Follower::connect(&events_url(&server, "games/g1"), None, None).await.unwrap();
    follower.expect("snapshot").await;
    server.put("/api/v1/games/g1", &json!({ "n": 1 })).await;
    follower.expect("change").await;
    let mut again = Follower::connect(&events_url(&server, "games/g1"), None, None).await.unwrap();
    assert_eq!(again.expect("snapshot").await.data.get("gone"), None, "nothing is");
    // All is lost, and nothing is left that could say that it was there.
    server.kill();
    std::fs::remove_dir_all(server.data_dir()).unwrap();
    server.start_again();
    let position = crate::support::position(&events[2]);
    let mut back = Follower::connect(&events_url(&server, "games/g1"), None, Some(&position)).await.unwrap();
    let told = back.expect("snapshot").await;
    assert_eq!((&told.data["documents"], &told.data["gone"]), (&json!([]), &gone));
    server.put("/api/v1/games/g1", &json!({ "n": 1 })).await;
    back.expect("change").await;
}

#[tokio::test]
async fn a_collections_snapshot_names_what_went_while_the_follower_was_away() {
    let mut server = Process::start(&[]);
    for id in ["g1", "g2", "g3", "g4", "g5"] {
        assert_eq!(server.put(&format!("/api/v1/games/{id}"), &json!({ "n": 1 })).await.0, 201);
    }
    let url = format!("{}/api/v1/stream?collection=games&doc=maps/m1", server.url);
    let before = Follower::connect(&url, None, None).await.unwrap().expect("snapshot").await;
    assert_eq!(before.data["gone"], json!(["maps/m1"]), "who begins was told of nothing");
    let delete = |path: String| {
        let request = server.request("DELETE", &path);
        async move { request.send().await.unwrap().status().as_u16() }
    };
    // Its whole history goes, what came since with it, so that nobody can be told of the end as a change.
    assert_eq!(server.put("/api/v1/games/g1", &json!({ "n": 2 })).await.0, 200);
    assert_eq!(server.post("/api/v1/games/g1/complete", &json!({})).await.0, 200);
    assert_eq!(delete("/api/game/g1/persist".to_owned()).await, 204);
    for id in ["g2", "g3", "g4"] {
        assert_eq!(delete(format!("/api/v1/games/{id}")).await, 200);
    }
    assert_eq!(server.put("/api/v1/games/g3", &json!({ "n": 2 })).await.0, 201);
    // A player is not told of what they might not read.
    let access = json!({ "read": ["ann"] });
    let private = json!({ "id": "g6", "state": {}, "access": access });
    assert_eq!(server.post("/api/v1/games", &private).await.0, 201);
    assert_eq!(delete("/api/v1/games/g6".to_owned()).await, 200);
    let sorted = |told: &Value| {
        let mut names: Vec<_> = told["gone"].as_array().unwrap().iter().map(|name| name.as_str().unwrap()).collect();
        names.sort_unstable();
        names.join(" ")
    };
    let from_disk = server.data_dir().join("rejoin.db");
    for round in 0..2 {
        for (viewer, reads) in [(None, " games/g6"), (Some("ann"), " games/g6"), (Some("bob"), "")] {
            for (resume, reason) in [(&*before.id, "trimmed"), ("garbage", "diverged")] {
                let mut back = Follower::connect(&url, viewer, Some(resume)).await.unwrap();
                let told = back.expect("snapshot").await;
                assert_eq!(told.data["reason"], reason, "{}", told.text);
                let expect = format!("games/g1 games/g2 games/g4{reads} maps/m1");
                assert_eq!(sorted(&told.data), expect, "{viewer:?} {resume} {round}");
            }
        }
        // What went is told once: whoever knows of it is not told again.
        let mut back = Follower::connect(&url, None, None).await.unwrap();
        let now = back.expect("snapshot").await;
        assert_eq!(now.data["gone"], json!(["maps/m1"]));
        assert!(from_disk.exists());
        server.kill();
        server.start_again();
    }
}
