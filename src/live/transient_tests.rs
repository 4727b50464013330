#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a panic fails the test")]

use std::collections::HashMap;

use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::base::clock::Timestamp;
use crate::base::ids::Seq;
use crate::document::access::{Access, Grant};
use crate::property_tests::cases;

fn meta(read: Grant) -> Arc<Meta> {
    Arc::new(Meta {
        key: 1,
        name: DocumentName::new("games", "g1").unwrap(),
        host: Some(UserId::new("host").unwrap()),
        access: Access { read, ..Access::default() },
        access_seq: Seq::ZERO,
        created_at: Timestamp::from_millis(0),
        volatile: false,
    })
}

fn viewer(id: &str) -> Viewer {
    Viewer::User(UserId::new(id).unwrap())
}

fn message(meta: &Arc<Meta>, sender: &str, kind: &str, to: Option<&[&str]>, payload: Value) -> Arc<TransientMessage> {
    let recipients = to.map(|to| to.iter().map(|id| UserId::new(id).unwrap()).collect());
    let content = TransientContent { sender: viewer(sender), kind: kind.to_owned(), recipients, payload };
    let members = format!("{{\"from\":\"{sender}\",\"type\":\"{kind}\"}}");
    Arc::new(TransientMessage::new(Arc::clone(meta), "message", members.as_bytes(), content).unwrap())
}

/// The payloads of what `inbox` has, each with its sender and type.
fn taken(inbox: &TransientInbox) -> Vec<(String, Value)> {
    let frames = String::from_utf8(inbox.take_frames(|_| None).unwrap().to_vec()).unwrap();
    let data = frames.split("\n\n").filter(|frame| !frame.is_empty()).map(|frame| {
        let data: Value = serde_json::from_str(frame.strip_prefix("event: message\ndata: ").unwrap()).unwrap();
        let pair = format!("{}/{}", data["from"].as_str().unwrap(), data["type"].as_str().unwrap());
        (pair, data["payload"].clone())
    });
    data.collect()
}

#[test]
fn a_message_is_told_to_those_whom_it_is_for_and_each_what_they_may_see() {
    let users = Grant::Users(["alice", "bob", "carol"].map(|id| UserId::new(id).unwrap()).to_vec());
    let meta = meta(users);
    let payload = json!({ "x": 1, "hidden": 2, "private": { "alice": 3, "bob": 4 } });
    let all = message(&meta, "alice", "ping", None, payload);
    let whisper = message(&meta, "alice", "whisper", Some(&["bob", "mallory"]), json!("psst"));
    for (who, expect) in [
        ("host", json!([{ "x": 1, "hidden": 2, "private": { "alice": 3, "bob": 4 } }, "psst"])),
        ("alice", json!([{ "x": 1, "private": { "alice": 3 } }, "psst"])),
        ("bob", json!([{ "x": 1, "private": { "bob": 4 } }, "psst"])),
        ("carol", json!([{ "x": 1, "private": {} }])),
        ("mallory", json!([])),
    ] {
        let inbox = TransientInbox::new(viewer(who));
        let told = [&all, &whisper].into_iter().zip(1..).filter(|(message, n)| inbox.offer(message, *n)).count();
        let payloads: Vec<Value> = taken(&inbox).into_iter().map(|(_, payload)| payload).collect();
        assert_eq!((json!(payloads), told), (expect.clone(), expect.as_array().unwrap().len()), "{who}");
    }
}

#[test]
fn who_is_found_twice_is_told_once_and_whoever_loses_the_document_not_at_all() {
    let (open, closed) = (meta(Grant::All), meta(Grant::Host));
    let inbox = TransientInbox::new(viewer("bob"));
    let ping = message(&open, "alice", "ping", None, Value::Null);
    assert!(inbox.offer(&ping, 1));
    let twice = TransientInbox::new(viewer("bob"));
    assert!(twice.offer(&ping, 1) && twice.offer(&ping, 1));
    assert_eq!(taken(&twice).len(), 1);
    let state = Some(Bytes::from_static(b"{}"));
    let hash = crate::document::chain::Hash::ZERO;
    let updated_at = Timestamp::from_millis(0);
    let version = crate::base::ids::Version(2);
    let now = Arc::new(Document { meta: closed, version, hash, seq: Seq(2), updated_at, state });
    assert_eq!(inbox.take_frames(|_| Some(Arc::clone(&now))).unwrap(), Bytes::new());
    assert_eq!(taken(&inbox), []);
}

#[test]
fn a_slow_follower_keeps_the_newest_of_the_last_256_pairs() {
    let (meta, inbox) = (meta(Grant::All), TransientInbox::new(viewer("bob")));
    for number in 0..1000 {
        for kind in 0..300_u64 {
            inbox.offer(&message(&meta, "alice", &kind.to_string(), None, json!(number)), number * 300 + kind + 1);
        }
    }
    let told = taken(&inbox);
    let kinds: Vec<String> = (300 - TRANSIENT_PAIRS_MAX as u64..300).map(|kind| format!("alice/{kind}")).collect();
    assert_eq!(told.iter().map(|(pair, _)| pair.clone()).collect::<Vec<_>>(), kinds);
    assert!(told.iter().all(|(_, number)| *number == json!(999)), "the newest of each");
}

#[test]
fn one_write_carries_no_more_than_it_may() {
    let (meta, inbox) = (meta(Grant::All), TransientInbox::new(viewer("bob")));
    for kind in 0..200 {
        inbox.offer(&message(&meta, "alice", &kind.to_string(), None, json!("x".repeat(4000))), kind + 1);
    }
    let mut told = Vec::new();
    for piece in 1.. {
        let frames = taken(&inbox);
        if frames.is_empty() {
            assert!(piece > 2, "it takes several writes");
            break;
        }
        told.extend(frames.into_iter().map(|(pair, _)| pair));
    }
    assert_eq!(told, (0..200).map(|kind| format!("alice/{kind}")).collect::<Vec<_>>());
}

proptest! {
    #![proptest_config(cases(64))]

    /// A follower who is told at any time: what comes is in order, nothing comes twice, the newest of each pair comes
    /// in the end, and one who never lets many wait gets all.
    #[test]
    fn what_is_told_is_in_order_and_ends_with_the_newest(
        steps in prop::collection::vec(prop_oneof![4 => (0..3_u8, 0..2_u8).prop_map(Some), 1 => Just(None)], 0..200),
    ) {
        let (meta, inbox) = (meta(Grant::All), TransientInbox::new(viewer("bob")));
        let (mut newest, mut told, mut waiting, mut most) = (HashMap::new(), Vec::new(), 0, 0);
        for (number, step) in steps.iter().chain([&None]).enumerate() {
            match step {
                Some((sender, kind)) => {
                    let (sender, kind) = (format!("p{sender}"), kind.to_string());
                    newest.insert(format!("{sender}/{kind}"), json!(number));
                    inbox.offer(&message(&meta, &sender, &kind, None, json!(number)), number as u64 + 1);
                    waiting += 1;
                    most = most.max(waiting);
                }
                None => {
                    told.extend(taken(&inbox));
                    waiting = 0;
                }
            }
        }
        let numbers: Vec<u64> = told.iter().map(|(_, number)| number.as_u64().unwrap()).collect();
        prop_assert!(numbers.is_sorted_by(|a, b| a < b));
        let last: HashMap<String, Value> = told.into_iter().collect();
        prop_assert_eq!(last, newest);
        if most <= TRANSIENT_MESSAGES_MAX {
            prop_assert_eq!(numbers.len(), steps.iter().flatten().count());
        }
    }
}
