//! The replay's checks notice each way in which a stream could break its promises.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::copy::{Copy, Received};

fn copy() -> Copy {
    let holes = [("ann", ["As", "Ad"]), ("bo", ["Ks", "Kd"])];
    let holes = holes.map(|(player, cards)| (player.to_owned(), cards.map(str::to_owned)));
    Copy::new("ann", "g1", &BTreeMap::from(holes))
}

/// A position; the hash is of no matter here.
fn at(seq: u64) -> String {
    format!("{seq}-{}", "a".repeat(12))
}

fn snapshot(copy: &mut Copy, reason: &str, version: u64, seq: u64, state: &Value) -> anyhow::Result<()> {
    let document = json!({ "collection": "games", "id": "g1", "version": version, "state": state });
    copy.take("snapshot", Some(&at(seq)), &json!({ "reason": reason, "documents": [document] }).to_string())
}

fn change_with(copy: &mut Copy, version: u64, seq: u64, members: Value) -> anyhow::Result<()> {
    let mut event = json!({ "seq": seq, "collection": "games", "id": "g1", "version": version, "type": "call",
        "actor": "bo", "payload": {}, "patch": [{ "op": "replace", "path": "/pot", "value": version }],
        "hash": "a".repeat(64) });
    event.as_object_mut().unwrap().extend(members.as_object().unwrap().clone());
    copy.take("change", Some(&at(seq)), &event.to_string())
}

fn change(copy: &mut Copy, version: u64, seq: u64) -> anyhow::Result<()> {
    change_with(copy, version, seq, json!({}))
}

fn resumed(copy: &mut Copy, from: u64, to: u64, count: u64) -> anyhow::Result<()> {
    copy.reconnected();
    copy.take("resumed", None, &json!({ "from": at(from), "to": at(to), "count": count }).to_string())
}

/// A copy at version 3, seq 30.
fn begun() -> Copy {
    let mut copy = copy();
    snapshot(&mut copy, "start", 2, 20, &json!({ "pot": 2, "private": {} })).unwrap();
    change(&mut copy, 3, 30).unwrap();
    copy
}

fn fails(result: anyhow::Result<()>, message: &str) {
    let told = format!("{:#}", result.unwrap_err());
    assert!(told.contains(message), "{told}");
}

#[test]
fn changes_are_applied_in_order() {
    let mut copy = begun();
    change(&mut copy, 4, 47).unwrap();
    copy.take("heartbeat", None, "{}").unwrap();
    assert_eq!((copy.version(), copy.state().unwrap()["pot"].as_u64()), (4, Some(4)));
    assert_eq!(copy.position(), Some(at(47).as_str()));
}

#[test]
fn a_missing_a_repeated_and_a_foreign_change_are_noticed() {
    fails(change(&mut begun(), 5, 50), "version 5 follows 3");
    fails(change(&mut begun(), 3, 30), "twice");
    fails(change_with(&mut begun(), 4, 40, json!({ "id": "g2" })), "another game");
    fails(change_with(&mut begun(), 4, 40, json!({ "seq": 41 })), "has the id");
    fails(change_with(&mut begun(), 4, 40, json!({ "patch": [{ "op": "remove", "path": "/no" }] })), "does not apply");
    fails(begun().take("heartbeat", Some(&at(40)), "{}"), "poison");
    let mut silent = begun();
    silent.reconnected();
    fails(change(&mut silent, 4, 40), "begins with `change`");
}

#[test]
fn a_replay_is_exactly_as_long_as_announced() {
    let mut copy = begun();
    resumed(&mut copy, 30, 60, 2).unwrap();
    change(&mut copy, 4, 40).unwrap();
    fails(copy.check_complete(), "1 of the changes");
    change(&mut copy, 5, 50).unwrap();
    copy.check_complete().unwrap();
    change(&mut copy, 6, 70).unwrap();
    assert_eq!(copy.received, Received { changes: 4, replayed: 2, snapshots: 0 });

    let mut short = begun();
    resumed(&mut short, 30, 60, 2).unwrap();
    change(&mut short, 4, 40).unwrap();
    fails(change(&mut short, 5, 70), "fewer");
    let mut long = begun();
    resumed(&mut long, 30, 60, 1).unwrap();
    change(&mut long, 4, 40).unwrap();
    fails(change(&mut long, 5, 50), "more");
    fails(resumed(&mut begun(), 20, 60, 1), "resumed from");
}

#[test]
fn a_replay_that_breaks_off_is_announced_anew() {
    let mut copy = begun();
    resumed(&mut copy, 30, 60, 2).unwrap();
    change(&mut copy, 4, 40).unwrap();
    resumed(&mut copy, 40, 60, 1).unwrap();
    change(&mut copy, 5, 60).unwrap();
    copy.check_complete().unwrap();
}

#[test]
fn a_snapshot_goes_on_from_where_the_server_is_and_never_back() {
    let mut copy = begun();
    copy.reconnected();
    snapshot(&mut copy, "trimmed", 9, 90, &json!({ "pot": 9 })).unwrap();
    change(&mut copy, 10, 100).unwrap();
    assert_eq!(copy.received.snapshots, 1);
    fails(snapshot(&mut copy, "trimmed", 8, 80, &json!({})), "goes back");
    fails(snapshot(&mut copy, "diverged", 12, 120, &json!({})), "lost");
}

#[test]
fn the_cards_of_others_are_noticed_wherever_they_are() {
    let own = json!({ "private": { "ann": { "cards": ["As", "Ad"] } } });
    snapshot(&mut copy(), "start", 1, 1, &own).unwrap();
    fails(snapshot(&mut copy(), "start", 1, 1, &json!({ "private": { "bo": {} } })), "private to");
    fails(snapshot(&mut copy(), "start", 1, 1, &json!({ "hidden": {} })), "hidden");
    fails(change_with(&mut begun(), 4, 40, json!({ "payload": { "private": { "bo": 1 } } })), "private to");
    let patch = json!([{ "op": "add", "path": "/private/bo", "value": {} }]);
    fails(change_with(&mut begun(), 4, 40, json!({ "patch": patch })), "private to");
    fails(change_with(&mut begun(), 4, 40, json!({ "payload": { "note": ["Kd"] } })), "bo's Kd");
    fails(begun().take("notification", None, r#"{"text": "Ks"}"#), "bo's Ks");
}

#[test]
fn shown_cards_are_no_secret_any_more() {
    let mut copy = begun();
    let shown = json!([{ "op": "add", "path": "/shown", "value": ["Ks", "Kd"] }]);
    change_with(&mut copy, 4, 40, json!({ "type": "show", "patch": shown })).unwrap();
    let seats = json!({ "pot": 4, "players": [{ "player": "bo", "shown": ["Ks", "Kd"] }] });
    let mut late = begun();
    snapshot(&mut late, "trimmed", 4, 40, &seats).unwrap();
    change_with(&mut late, 5, 50, json!({ "payload": { "again": "Ks" } })).unwrap();
}
