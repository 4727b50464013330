//! Properties of the pure layer, and the JSON that they are tried on.

#![expect(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, reason = "a panic fails the test")]

mod chain;
mod merge;
pub(crate) mod merge_checker;
mod patch;
mod query;
mod reach;
mod transfer;
mod visibility;

use std::sync::Arc;

use proptest::collection::{btree_map, vec};
use proptest::prelude::*;
use serde_json::{Map, Value};

use super::access::Access;
use super::chain::Hash;
use super::event::{Content, Event};
use super::json;
use super::model::{Document, Meta};
use super::patch::{StateChange, diff};
use crate::base::clock::Timestamp;
use crate::base::ids::{DocumentName, Seq, UserId, Version};

/// The players of the tests.
const PLAYERS: [&str; 3] = ["alice", "bob", "carol"];

fn user(name: &str) -> UserId {
    UserId::new(name).unwrap()
}

fn player() -> impl Strategy<Value = UserId> {
    proptest::sample::select(&PLAYERS).prop_map(user)
}

/// Keys that meet again in another state, keys of any letters, and keys that a JSON Pointer must escape.
fn key() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => "[a-c]",
        2 => "[/~01-]{0,3}",
        1 => "\\PC{0,4}",
        1 => Just("hidden".to_owned()),
        1 => Just("private".to_owned()),
        1 => Just("hidden\":\"".to_owned()),
    ]
}

fn scalar() -> impl Strategy<Value = Value> {
    prop_oneof![
        1 => Just(Value::Null),
        1 => any::<bool>().prop_map(Value::from),
        1 => (-3_i64..3).prop_map(Value::from),
        1 => any::<i64>().prop_map(Value::from),
        1 => any::<u64>().prop_map(Value::from),
        1 => any::<f64>().prop_filter("JSON has no other numbers", |n| n.is_finite()).prop_map(Value::from),
        3 => proptest::sample::select(&[0.0, -0.0, 1.0, 1e300, 5e-324]).prop_map(Value::from),
        1 => "\\PC{0,6}".prop_map(Value::from),
        1 => ".{0,3}".prop_map(Value::from),
    ]
}

/// Any JSON, nested a few levels deep.
fn tree() -> impl Strategy<Value = Value> {
    scalar().prop_recursive(4, 24, 4, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..5).prop_map(Value::from),
            btree_map(key(), inner, 0..5).prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

/// A state: an object, maybe with `hidden` and `private`, whose contents are marked as [`marked`] does.
fn state() -> impl Strategy<Value = Value> {
    let open = btree_map(key(), tree(), 0..5);
    let hidden = proptest::option::of(tree());
    let private = proptest::option::of(btree_map(proptest::sample::select(&PLAYERS), tree(), 0..4));
    (open, hidden, private).prop_map(|(open, hidden, private)| {
        let mut state: Map<String, Value> = open.into_iter().collect();
        state.remove("hidden");
        state.remove("private");
        state.extend(hidden.map(|hidden| ("hidden".to_owned(), marked(hidden, "host"))));
        state.extend(private.map(|players| {
            let players = players.into_iter().map(|(player, own)| (player.to_owned(), marked(own, player)));
            ("private".to_owned(), Value::Object(players.collect()))
        }));
        Value::Object(state)
    })
}

/// The same tree with every scalar and every key a text that says whose secret it is.
fn marked(value: Value, owner: &str) -> Value {
    match value {
        Value::Array(items) => items.into_iter().map(|item| marked(item, owner)).collect(),
        Value::Object(members) => {
            let members =
                members.into_iter().map(|(key, value)| (format!("{}{key}", mark(owner)), marked(value, owner)));
            Value::Object(members.collect())
        }
        scalar => Value::from(format!("{}{scalar}", mark(owner))),
    }
}

/// What every piece of a secret of `owner` begins with.
fn mark(owner: &str) -> String {
    format!("SECRET-OF-{owner}-")
}

/// Whether `text` holds a piece of a secret that is not for `player`.
fn tells_secrets(text: &str, player: &UserId) -> bool {
    ["host"].iter().chain(&PLAYERS).filter(|owner| **owner != player.as_str()).any(|owner| text.contains(&mark(owner)))
}

/// Two states, of which the second has much of the first: what a change makes.
fn two_states() -> impl Strategy<Value = (Value, Value)> {
    (state(), state(), any::<u64>()).prop_map(|(before, other, choices)| {
        let after = blend(&before, &other, &mut choices.max(1));
        (before, after)
    })
}

/// The states of a document's life; `None`: deleted. It never begins with a deletion, nor deletes twice.
fn life() -> impl Strategy<Value = Vec<Option<Value>>> {
    (vec(state(), 2..7), any::<u64>()).prop_map(|(states, choices)| {
        let mut choices = choices.max(1);
        let mut life: Vec<Option<Value>> = Vec::new();
        for state in states {
            let next = match life.last() {
                None | Some(None) => Some(state),
                Some(Some(_)) if choose(&mut choices, 6) == 0 => None,
                Some(Some(before)) => Some(blend(before, &state, &mut choices)),
            };
            life.push(next);
        }
        life
    })
}

/// A number below `bound` from a small generator (xorshift), so that a failing case shrinks with its choices.
fn choose(choices: &mut u64, bound: u64) -> u64 {
    *choices ^= *choices << 13;
    *choices ^= *choices >> 7;
    *choices ^= *choices << 17;
    *choices % bound
}

/// A tree with parts of `a` and parts of `b`. A state stays one.
fn blend(a: &Value, b: &Value, choices: &mut u64) -> Value {
    match (a, b) {
        (Value::Object(a), Value::Object(b)) => {
            let mut members = Map::new();
            for (key, value) in a {
                match (b.get(key), choose(choices, 6)) {
                    (_, 0) => {}
                    (Some(other), 1..=3) => drop(members.insert(key.clone(), blend(value, other, choices))),
                    _ => drop(members.insert(key.clone(), value.clone())),
                }
            }
            for (key, value) in b.iter().filter(|(key, _)| !a.contains_key(*key)) {
                if choose(choices, 2) == 0 {
                    members.insert(key.clone(), value.clone());
                }
            }
            Value::Object(members)
        }
        (Value::Array(a), Value::Array(b)) => {
            let kept = usize::try_from(choose(choices, 6)).unwrap();
            a.iter().take(kept).chain(b.iter().skip(kept)).cloned().collect()
        }
        (_, b) => b.clone(),
    }
}

fn normal(mut value: Value) -> Value {
    json::normalise(&mut value);
    value
}

fn bytes(value: &Value) -> Vec<u8> {
    serde_json::to_vec(value).unwrap()
}

/// How to get from one state to the next, as the engine computes it.
fn change(before: Option<&Value>, after: Option<&Value>) -> StateChange {
    diff(before, after, after.map_or(0, |after| bytes(after).len())).unwrap()
}

/// The facts of a document that the owner of the server hosts.
fn meta() -> Arc<Meta> {
    Arc::new(Meta {
        volatile: false,
        key: 1,
        name: DocumentName::new("games", "g1").unwrap(),
        host: None,
        access: Access::default(),
        access_seq: Seq::ZERO,
        created_at: Timestamp::from_millis(0),
    })
}

/// A document of that kind in a state.
fn document(state: Option<&Value>) -> Arc<Document> {
    Arc::new(Document {
        meta: meta(),
        version: Version(7),
        hash: Hash::ZERO.after(b"any"),
        seq: Seq(9),
        updated_at: Timestamp::from_millis(1),
        state: state.map(|state| bytes(state).into()),
    })
}

/// The events that lead through `life`, with the given payloads.
fn events(life: &[Option<Value>], payloads: &[Value]) -> Vec<Event> {
    let (mut hash, mut before, meta) = (Hash::ZERO, None, meta());
    let mut events = Vec::new();
    for (index, after) in life.iter().enumerate() {
        let version = u64::try_from(index).unwrap() + 1;
        let content = Content {
            kind: "move",
            actor: &user("alice"),
            at: Timestamp::from_millis(1),
            payload: payloads.get(index).unwrap_or(&Value::Null),
            change: &change(before, after.as_ref()),
            records_access: false,
            salt: [0xa5; 16],
        };
        let event = Event::new(Seq(version), Arc::clone(&meta), Version(version), hash, &content).unwrap();
        hash = event.hash;
        before = after.as_ref();
        events.push(event);
    }
    events
}
