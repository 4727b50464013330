use super::*;
use crate::base::error::Kind;
use crate::document::json::JsonBounds;
use crate::document::model::Document;
use crate::document::transfer::{Chain, SentEvent, TrimmedBase, VerifiedChain};
use crate::property_tests::cases;

const BOUNDS: JsonBounds = JsonBounds { depth_max: 100, state_bytes_max: 1 << 20 };

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
    #![proptest_config(cases(64))]

    #[test]
    fn what_was_recorded_here_verifies_elsewhere(life in life(), payload in state()) {
        let events = events(&life, &[payload]);
        let verified = chain(&events).verify(BOUNDS, Timestamp::MAX, |_| ());
        match life.last().unwrap() {
            Some(state) => {
                let verified = verified.unwrap();
                let meta = verified.meta(None, 1, Seq(1));
                let (base, sent, bytes) = verified.into_parts(&meta);
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
    assert!(good.clone().verify(BOUNDS, Timestamp::MAX, |_| ()).is_ok());
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
        let error = rewritten(good.clone(), what, with).verify(BOUNDS, Timestamp::MAX, |_| ()).unwrap_err();
        assert_eq!(error.kind(), Kind::Rejected, "{what}: {error}");
    }
    let mut short = good.clone();
    short.events.pop();
    assert!(short.verify(BOUNDS, Timestamp::MAX, |_| ()).is_err());
    let mut gap = good.clone();
    gap.events.remove(0);
    assert!(gap.verify(BOUNDS, Timestamp::MAX, |_| ()).is_err());
    let mut empty = good;
    empty.events.clear();
    assert!(empty.verify(BOUNDS, Timestamp::MAX, |_| ()).is_err());
}

#[test]
fn a_history_that_comes_back_goes_on_from_what_was_here() {
    let life: Vec<_> = (0..6).map(|n| Some(serde_json::json!({ "n": n }))).collect();
    let events = events(&life, &[]);
    let whole = || chain(&events).verify(BOUNDS, Timestamp::MAX, |_| ()).unwrap();
    let at = |version: usize| Document {
        meta: whole().meta(None, 7, Seq(1)),
        version: events[version - 1].version,
        hash: events[version - 1].hash,
        seq: Seq(40),
        updated_at: Timestamp::from_millis(0),
        state: None,
    };
    for version in 1..=6 {
        let here = at(version);
        let rest = whole().into_missing(&here).unwrap();
        assert_eq!(rest.last_version(), (Version(6), events[5].hash));
        let (base, events, _) = rest.into_parts(&here.meta);
        let versions: Vec<_> = events.iter().map(|event| event.version.0).collect();
        assert!(base.is_none() && versions.iter().copied().eq(version as u64 + 1..=6), "{versions:?}");
    }
    // Trimmed elsewhere meanwhile: up to what was here, exactly there, and beyond.
    let trimmed = |first: usize| {
        let before = &events[first - 2];
        let base =
            TrimmedBase { version: before.version, hash: before.hash, at: before.at, state: life[first - 2].clone() };
        let whole = chain(&events);
        let events = whole.events[first - 1..].to_vec();
        Chain { base: Some(base), events, ..whole }.verify(BOUNDS, Timestamp::MAX, |_| ()).unwrap()
    };
    for (first, base_stays) in [(3, false), (5, false), (6, true)] {
        assert_eq!(trimmed(first).into_missing(&at(4)).unwrap().is_trimmed(), base_stays, "{first}");
    }
    // Another history, one that is behind, another document.
    let refused = |chain: VerifiedChain, here: Document| chain.check_continues(&here).unwrap_err().kind();
    assert_eq!(refused(whole(), Document { hash: events[0].hash, ..at(4) }), Kind::AlreadyExists);
    assert_eq!(refused(trimmed(5), Document { hash: events[0].hash, ..at(4) }), Kind::AlreadyExists);
    let behind = chain(&events[..3]).verify(BOUNDS, Timestamp::MAX, |_| ()).unwrap();
    assert_eq!(refused(behind, at(4)), Kind::AlreadyExists);
    let other = Chain { created_at: Timestamp::from_millis(1), ..chain(&events) };
    assert_eq!(refused(other.verify(BOUNDS, Timestamp::MAX, |_| ()).unwrap(), at(4)), Kind::AlreadyExists);
}

#[test]
fn a_version_that_no_history_reaches_is_refused_before_anything_is_stored() {
    let far = Version(u64::MAX >> 1);
    let base = TrimmedBase {
        version: Version(far.0 - 1),
        hash: Hash::ZERO,
        at: Timestamp::from_millis(0),
        state: Some(serde_json::json!({})),
    };
    let sent = SentEvent { version: far, hash: Hash::ZERO, deletes: false, body: "{}".into() };
    let chain = Chain {
        name: meta().name.clone(),
        host: None,
        access: Access::default(),
        created_at: Timestamp::from_millis(0),
        base: Some(base),
        events: vec![sent],
        version: far,
        hash: Hash::ZERO,
    };
    let refusal = chain.verify(BOUNDS, Timestamp::MAX, |_| ()).unwrap_err();
    assert_eq!(refusal.kind(), Kind::Rejected);
    assert!(refusal.message().contains("no history has so many versions"), "{refusal}");
}
