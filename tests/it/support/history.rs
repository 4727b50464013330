//! A document's history as it is on the wire.

use serde::Deserialize;
use serde_json::value::RawValue;

use super::{GENESIS, Process, verify_chain};

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Page {
    items: Vec<Box<RawValue>>,
    next_cursor: Option<String>,
}

/// The events of `collection/id` after `version`, each as its bytes.
pub async fn history_after(server: &Process, name: &str, version: usize) -> Vec<String> {
    let (mut events, mut from) = (Vec::new(), format!("after={version}"));
    loop {
        let path = format!("/api/v1/{name}/events?limit=500&{from}");
        let response = server.request("GET", &path).send().await.unwrap();
        let (status, text) = (response.status(), response.text().await.unwrap());
        assert_eq!(status, 200, "{text}");
        let page: Page = serde_json::from_str(&text).unwrap();
        events.extend(page.items.into_iter().map(|item| item.get().to_owned()));
        match page.next_cursor {
            Some(cursor) => from = format!("cursor={cursor}"),
            None => return events,
        }
    }
}

/// The whole history of `collection/id`, which must be dense and verify from its first event on.
pub async fn verified_history(server: &Process, name: &str) -> Vec<String> {
    let events = history_after(server, name, 0).await;
    let hash = verify_from(GENESIS, 0, &events);
    let (_, document) = server.get(&format!("/api/v1/{name}")).await;
    assert_eq!(document["hash"], hash, "the document is where its history ends");
    events
}

/// Checks that these events continue a history at `version` with `hash`, and returns the hash after them.
pub fn verify_from(hash: &str, version: usize, events: &[String]) -> String {
    let mut hash = hash.to_owned();
    for (index, event) in events.iter().enumerate() {
        let value: serde_json::Value = serde_json::from_str(event).unwrap();
        assert_eq!(value["version"], version + index + 1, "versions are dense: {event}");
        hash = verify_chain(&hash, event);
    }
    hash
}
