//! What a client knows of documents from streams alone, and what it insists on while it learns it.

use std::collections::BTreeMap;

use serde_json::Value;

use super::{Told, verify_chain};

/// A document as far as a client knows it.
#[derive(Clone, Debug, PartialEq)]
pub struct Known {
    /// Its version.
    pub version: u64,
    /// Its hash.
    pub hash: String,
    /// Its state; null when it is deleted.
    pub state: Value,
}

/// Documents rebuilt from what a stream tells. Panics on a change that is missing, repeated or out of order.
#[derive(Debug, Default)]
pub struct Replica {
    /// By `collection/id`.
    pub documents: BTreeMap<String, Known>,
    /// How many changes it was told of.
    pub changes: usize,
    /// The last seq that was told.
    pub seq: u64,
    /// Whether everything of each event is told, so that its hash can be verified.
    pub whole: bool,
}

impl Replica {
    /// Of someone who may see all.
    pub fn of_host() -> Self {
        Self { whole: true, ..Self::default() }
    }

    /// Takes in a `snapshot` or a `change`; anything else says nothing about documents.
    pub fn take(&mut self, told: &Told) {
        match told.event.as_str() {
            "snapshot" => {
                self.documents.clear();
                for document in told.data["documents"].as_array().unwrap() {
                    self.put(document);
                }
                self.seq = told.id.split('-').next().unwrap().parse().unwrap();
            }
            "change" => {
                assert_eq!(told.id, position(&told.data), "the id of a change is its position");
                self.change(&told.text);
                self.changes += 1;
            }
            _ => {}
        }
    }

    /// Takes in a document as reads give it.
    pub fn put(&mut self, document: &Value) {
        let known = Known {
            version: document["version"].as_u64().unwrap(),
            hash: document["hash"].as_str().unwrap().to_owned(),
            state: document["state"].clone(),
        };
        self.documents.insert(name(document), known);
    }

    /// Takes in an event as it is on the wire.
    pub fn change(&mut self, wire: &str) {
        let event: Value = serde_json::from_str(wire).unwrap();
        let seq = event["seq"].as_u64().unwrap();
        assert!(seq > self.seq, "after {}: {wire}", self.seq);
        self.seq = seq;
        let known = self.documents.entry(name(&event)).or_insert_with(|| Known {
            version: 0,
            hash: super::GENESIS.to_owned(),
            state: Value::Null,
        });
        assert_eq!(event["version"], known.version + 1, "{wire}");
        known.version += 1;
        known.hash = match self.whole {
            true => verify_chain(&known.hash, wire),
            false => event["hash"].as_str().unwrap().to_owned(),
        };
        apply(&mut known.state, &event["patch"]);
    }
}

/// Applies a patch as any client would, with a library for RFC 6902.
pub fn apply(state: &mut Value, patch: &Value) {
    let patch: json_patch::Patch = serde_json::from_value(patch.clone()).unwrap();
    json_patch::patch(state, &patch).unwrap();
}

/// `collection/id`.
pub fn name(of: &Value) -> String {
    format!("{}/{}", of["collection"].as_str().unwrap(), of["id"].as_str().unwrap())
}

/// The position after an event, made from the event alone.
pub fn position(event: &Value) -> String {
    format!("{}-{}", event["seq"], &event["hash"].as_str().unwrap()[..12])
}
