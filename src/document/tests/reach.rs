//! What a player's write may reach, and what its refusal may tell.

use serde_json::json;

use super::*;
use crate::base::error::{Error, Kind};
use crate::document::decide::{Context, Current, Decision, Expected, Request, Tags, WriteOperation, decide};
use crate::document::json::JsonBounds;
use crate::document::patch::ClientPatch;
use crate::document::visibility::{Viewer, redact_value};
use crate::property_tests::cases;

const BOUNDS: JsonBounds = JsonBounds { depth_max: 64, state_bytes_max: 1 << 20 };

fn decided(
    state: Option<&Value>,
    viewer: &Viewer,
    operation: WriteOperation,
    expected: Expected,
) -> Result<Decision, Error> {
    let document = document(state);
    let past = |_: Version| -> Result<Option<Value>, Error> { Ok(Some(json!({ "then": 1 }))) };
    let other = |_: &DocumentName| -> Result<Option<Value>, Error> { Ok(None) };
    let at = Timestamp::from_millis(2);
    let context = Context { viewer, rules: None, at, seed: [0; 32], bounds: BOUNDS, past: &past, other: &other };
    let request = Request { name: meta().name.clone(), operation, expected };
    decide(request, Some(Current { document: &document, state }), &context)
}

/// All that a refusal may show, and what is logged of it too.
fn error_text(error: &Error) -> String {
    format!("{:?} {} {} {}", error.kind(), error.message(), json!(error.details()), error)
}

fn json_patch(operations: Value) -> WriteOperation {
    WriteOperation::Patch(serde_json::from_value::<ClientPatch>(operations).unwrap())
}

/// Where nobody but the host may reach, or not `alice`.
const FORBIDDEN: &[&str] =
    &["", "/hidden", "/hidden/0/x", "/private", "/private/bob", "/private/bob/cards/0", "/private/", "/private/~01"];

/// Every write by which `alice` could reach there.
fn reaching_writes() -> Vec<WriteOperation> {
    let mut writes = vec![WriteOperation::Rollback { to: Version(1) }];
    for sent in [
        json!({ "hidden": 1 }),
        json!({ "hidden": null }),
        json!({ "a": 1, "hidden": { "b": {} } }),
        json!({ "private": null }),
        json!({ "private": 1 }),
        json!({ "private": { "bob": null } }),
        json!({ "private": { "bob": { "cards": [1] } } }),
        json!({ "private": { "alice": 1, "bob": {} } }),
        json!({ "private": { "": 1 } }),
        json!([1]),
        Value::Null,
    ] {
        writes.push(WriteOperation::Patch(sent.clone().into()));
        writes.push(WriteOperation::Put { state: sent.clone() });
        writes.push(WriteOperation::Create { state: sent.clone(), host: None, access: Access::default() });
        writes.push(WriteOperation::Action { kind: "go".into(), payload: json!({}), patch: Some(sent.into()) });
    }
    for place in FORBIDDEN {
        writes.extend([
            json_patch(json!([{ "op": "add", "path": place, "value": {} }])),
            json_patch(json!([{ "op": "remove", "path": place }])),
            json_patch(json!([{ "op": "replace", "path": place, "value": {} }])),
            json_patch(json!([{ "op": "test", "path": place, "value": {} }])),
            json_patch(json!([{ "op": "copy", "from": place, "path": "/a" }])),
            json_patch(json!([{ "op": "copy", "from": "/a", "path": place }])),
            json_patch(json!([{ "op": "move", "from": place, "path": "/a" }])),
            json_patch(json!([{ "op": "move", "from": "/a", "path": place }])),
            // Nothing before it is looked at either: a test that fails would tell.
            json_patch(
                json!([{ "op": "test", "path": "/a", "value": 7 }, { "op": "test", "path": place, "value": 1 }]),
            ),
        ]);
    }
    writes
}

/// What a player may send: a few places, some of them forbidden.
fn some_write() -> impl Strategy<Value = WriteOperation> {
    let place = proptest::sample::select(&[
        "/a",
        "/b",
        "/a/0",
        "/a/-",
        "/a/b",
        "/c/a/b",
        "/private/alice",
        "/private/alice/a",
        "/private/alice/0",
        "/hidden",
        "/private",
        "/private/bob",
        "/hidden~1",
        "/private~1bob",
        "/~0hidden",
        "/b/hidden",
        "/c/private/bob",
    ]);
    let kind = proptest::sample::select(&["add", "remove", "replace", "test", "copy", "move"]);
    let step = (kind, place.clone(), place, tree()).prop_map(|(op, path, from, value)| match op {
        "remove" => json!({ "op": op, "path": path }),
        "copy" | "move" => json!({ "op": op, "path": path, "from": from }),
        _ => json!({ "op": op, "path": path, "value": value }),
    });
    let own = || {
        (state(), any::<bool>()).prop_map(|(sent, whole)| if whole { sent } else { redact_value(sent, &user("alice")) })
    };
    prop_oneof![
        4 => vec(step, 1..3).prop_map(|steps| json_patch(Value::from(steps))),
        1 => own().prop_map(|sent| WriteOperation::Patch(sent.into())),
        1 => own().prop_map(|state| WriteOperation::Put { state }),
        1 => own().prop_map(|state| WriteOperation::Create { state, host: None, access: Access::default() }),
        1 => own().prop_map(|sent| WriteOperation::Action {
            kind: "go".into(),
            payload: json!({}),
            patch: Some(sent.into())
        }),
        1 => Just(WriteOperation::Delete),
        1 => Just(WriteOperation::Rollback { to: Version(1) }),
    ]
}

fn some_expectation() -> impl Strategy<Value = Expected> {
    let stale = Tags::These(vec![]);
    proptest::sample::select(vec![
        Expected::default(),
        Expected { version: Some(Version(3)), ..Expected::default() },
        Expected { if_match: Some(stale), ..Expected::default() },
        Expected { if_none_match: Some(Tags::Any), ..Expected::default() },
        Expected { version: Some(Version(7)), if_match: Some(Tags::Any), ..Expected::default() },
    ])
}

/// `state` with other secrets of everyone but `alice`.
fn with_other_secrets(state: &Value, secrets: &Value) -> Value {
    let (mut other, alice) = (redact_value(state.clone(), &user("alice")), "alice");
    if let Some(hidden) = secrets.get("hidden") {
        other["hidden"] = hidden.clone();
    }
    if let (Some(private), Some(Value::Object(players))) = (other.get_mut("private"), secrets.get("private")) {
        for (player, own) in players.iter().filter(|(player, _)| *player != alice) {
            private[player] = own.clone();
        }
    }
    other
}

proptest! {
    // Each case is some hundred writes.
    #![proptest_config(cases(16))]

    #[test]
    fn a_write_that_reaches_a_secret_is_refused_the_same_whatever_stands_there(
        state in state(), expected in some_expectation(),
    ) {
        let alice = Viewer::User(user("alice"));
        for write in reaching_writes() {
            let other = json!({ "a": 7, "hidden": {}, "private": { "bob": 1 } });
            for stands in [Some(&state), Some(&json!({})), Some(&other), None] {
                let error = decided(stands, &alice, write.clone(), expected.clone()).unwrap_err();
                prop_assert_eq!(error.kind(), Kind::Forbidden, "{:?}", write);
                prop_assert_eq!(error.message(), "this write reaches a part of the document that you may not see");
                prop_assert!(error.details().is_empty());
            }
            prop_assert!(!matches!(decided(Some(&state), &Viewer::Owner, write, Expected::default()),
                Err(error) if error.kind() == Kind::Forbidden), "the host may");
        }
    }
}

proptest! {
    #![proptest_config(cases(128))]

    #[test]
    fn what_a_players_write_does_does_not_depend_on_what_the_player_cannot_see(
        state in state(), secrets in state(), write in some_write(), expected in some_expectation(),
    ) {
        let alice = Viewer::User(user("alice"));
        let other = with_other_secrets(&state, &secrets);
        let outcome = |state: &Value| match decided(Some(state), &alice, write.clone(), expected.clone()) {
            Err(error) => Err(error_text(&error)),
            Ok(decision) => {
                let after = decision.state.unwrap_or_default();
                if after.is_object() {
                    assert_eq!(after.get("hidden"), state.get("hidden"), "a player does not change it");
                    for other in ["bob", "carol"] {
                        assert_eq!(after["private"].get(other), state["private"].get(other), "nor this");
                    }
                }
                Ok((decision.kind, decision.payload, redact_value(after, &user("alice"))))
            }
        };
        let (here, there) = (outcome(&state), outcome(&other));
        prop_assert_eq!(&here, &there);
        match here {
            Err(told) => prop_assert!(!tells_secrets(&told, &user("alice")), "{told}"),
            Ok((_, payload, after)) => {
                prop_assert!(!tells_secrets(&payload.to_string(), &user("alice")));
                prop_assert!(!tells_secrets(&after.to_string(), &user("alice")));
            }
        }
    }

    #[test]
    fn a_stale_write_is_told_the_state_that_its_writer_may_see(state in state(), player in player()) {
        let stale = Expected { version: Some(Version(3)), ..Expected::default() };
        let viewer = Viewer::User(player.clone());
        let error = decided(Some(&state), &viewer, WriteOperation::Patch(json!({ "a": 1 }).into()), stale).unwrap_err();
        prop_assert_eq!(error.kind(), Kind::VersionConflict);
        prop_assert_eq!(&error.details()["current"], &redact_value(state, &player));
        prop_assert!(!tells_secrets(&error_text(&error), &player));
    }
}
