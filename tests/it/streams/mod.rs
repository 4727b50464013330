//! Streams, history and long polls: whoever comes back misses nothing, gets nothing twice, or is told.

mod ends;
mod history;
mod load;
mod many;
mod matching;
mod pages;
mod resume;

use serde_json::{Value, json};

use crate::support::Process;

/// Where a document's stream and history are.
fn events_url(server: &Process, name: &str) -> String {
    format!("{}/api/v1/{name}/events", server.url)
}

/// Makes `games/g1` and changes it until it has `versions` versions. Its state counts along.
async fn counted(server: &Process, versions: u64) -> Vec<Value> {
    let (status, _) = server.post("/api/v1/games", &json!({ "id": "g1", "state": { "n": 1 } })).await;
    assert_eq!(status, 201);
    count_on(server, 2, versions).await;
    all_events(server, "games/g1").await
}

/// Changes `games/g1` from the version before `from` to version `to`.
async fn count_on(server: &Process, from: u64, to: u64) {
    for n in from..=to {
        let (status, document) = server.merge("/api/v1/games/g1", &json!({ "n": n })).await;
        assert_eq!((status, document["version"].as_u64()), (200, Some(n)), "{document}");
    }
}

/// The kept history of a document, all pages of it.
async fn all_events(server: &Process, name: &str) -> Vec<Value> {
    let (mut events, mut cursor) = (Vec::new(), String::new());
    loop {
        let (status, page) = server.get(&format!("/api/v1/{name}/events?limit=500{cursor}")).await;
        assert_eq!(status, 200, "{page}");
        events.extend(page["items"].as_array().unwrap().iter().cloned());
        match page["nextCursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => return events,
        }
    }
}
