use super::*;
use crate::base::error::Kind;
use crate::document::json::Bounds;
use crate::document::transfer::{Chain, SentEvent};

const BOUNDS: Bounds = Bounds { depth_max: 100, state_bytes_max: 1 << 20 };

/// The history of those events as another server tells it.
fn chain(events: &[Event]) -> Chain {
    let sent = |event: &Event| SentEvent {
        version: event.version,
        hash: event.hash,
        deletes: event.deletes,
        body: event.body.clone(),
    };
    let last = events.last().unwrap();
    Chain {
        name: meta().name.clone(),
        host: None,
        access: Access::default(),
        created_at: Timestamp::from_millis(0),
        base: None,
        events: events.iter().map(sent).collect(),
        version: last.version,
        hash: last.hash,
    }
}

/// The same with the body of its last event written otherwise, and hashes that follow.
fn rewritten(mut chain: Chain, what: &str, with: &str) -> Chain {
    let previous = chain.events.iter().rev().nth(1).map_or(Hash::ZERO, |event| event.hash);
    let last = chain.events.last_mut().unwrap();
    let text = String::from_utf8(last.body.to_vec()).unwrap();
    assert!(text.contains(what), "{what}: {text}");
    last.body = text.replacen(what, with, 1).into();
    last.hash = previous.after(&last.body);
    chain.hash = last.hash;
    chain
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn what_was_recorded_here_verifies_elsewhere(life in life(), payload in state()) {
        let events = events(&life, &[payload]);
        let verified = chain(&events).verify(BOUNDS);
        match life.last().unwrap() {
            Some(state) => {
                let (_, base, sent, bytes) = verified.unwrap().into_parts(1);
                prop_assert!(base.is_none() && sent.len() == events.len());
                prop_assert_eq!(&bytes[..], &super::bytes(state)[..]);
            }
            None => prop_assert_eq!(verified.unwrap_err().kind(), Kind::Rejected),
        }
    }
}

#[test]
fn an_event_that_is_spelled_otherwise_is_refused_though_its_hash_follows() {
    let life = [Some(serde_json::json!({ "n": 1 })), Some(serde_json::json!({ "n": 1, "hidden": { "card": 2 } }))];
    let good = chain(&events(&life, &[]));
    assert!(good.clone().verify(BOUNDS).is_ok());
    let salt = format!(r#","salt":"{}""#, "a5".repeat(16));
    for (what, with) in [
        (r#""/hidden""#, r#""/h\u0069dden""#),
        (r#"{"card":2}"#, r#"{"card": 2}"#),
        (r#"{"card":2}"#, r#"{"card":2,"card":2}"#),
        (salt.as_str(), ""),
        (r#""id":"g1""#, r#""id":"g2""#),
        (r#""version":2"#, r#""version":3"#),
        (r#""type":"move""#, r#""type":"m\u006fve""#),
        (r#""payload":null"#, r#""payload":null,"more":1"#),
        (r#""op":"add""#, r#""op":"test""#),
        (r#""path":"/hidden""#, r#""path":"/none/there""#),
    ] {
        let error = rewritten(good.clone(), what, with).verify(BOUNDS).unwrap_err();
        assert_eq!(error.kind(), Kind::Rejected, "{what}: {error}");
    }
    let mut short = good.clone();
    short.events.pop();
    assert!(short.verify(BOUNDS).is_err());
    let mut gap = good.clone();
    gap.events.remove(0);
    assert!(gap.verify(BOUNDS).is_err());
    let mut empty = good;
    empty.events.clear();
    assert!(empty.verify(BOUNDS).is_err());
}
