//! How streams begin and end: headers, frames, documents that are not there.

use std::time::Duration;

use serde_json::json;
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
    let document: serde_json::Value = serde_json::from_str(&read.text().await.unwrap()).unwrap();

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
    let data: serde_json::Value = serde_json::from_str(field(&snapshot, "data").unwrap()).unwrap();
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
        let data: serde_json::Value = serde_json::from_str(field(&heartbeat, "data").unwrap()).unwrap();
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
