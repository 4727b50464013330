#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a failed unwrap or index fails the test")]

use std::collections::BTreeSet;

use proptest::prelude::*;
use rand::SeedableRng as _;
use rand::rngs::StdRng;
use serde_json::{Value, json};

use super::rules::InteractionRules;
use crate::base::clock::Timestamp;
use crate::base::ids::UserId;
use crate::document::merge::Sides;
use crate::document::notices::NoticeRecipient;
use crate::document::rules::{Action, Actor, Rejection, Rules as _};
use crate::document::tests::merge_checker::{Expectations, checked_merge};
use crate::property_tests::cases;

fn actor(id: &str) -> Actor {
    Actor { id: UserId::new(id).unwrap(), host: id == "dm" }
}

fn create(state: &Value) -> Value {
    InteractionRules.create(state.clone(), &actor("dm")).unwrap()
}

fn attempt(state: &Value, who: &str, kind: &str, payload: &Value) -> Result<Value, Rejection> {
    attempt_at(state, (who, kind, payload), 1_000)
}

fn attempt_at(state: &Value, (who, kind, payload): (&str, &str, &Value), at: i64) -> Result<Value, Rejection> {
    let action = Action { kind, payload, at: Timestamp::from_millis(at), seed: [0; 32] };
    InteractionRules.apply(state, &action, &actor(who))
}

#[track_caller]
fn play(state: &Value, actions: &[(&str, &str, Value)]) -> Value {
    actions.iter().fold(state.clone(), |state, (who, kind, payload)| attempt(&state, who, kind, payload).unwrap())
}

#[track_caller]
fn assert_rejected(state: &Value, who: &str, kind: &str, payload: Value, says: &str) {
    let message = attempt(state, who, kind, &payload).unwrap_err().message;
    assert!(message.contains(says), "{who} {kind} {payload}: {message}");
}

fn none() -> Value {
    json!({})
}

/// Ana, Bo and Cy, and it is Ana's turn.
fn started() -> Value {
    let join = |who: &'static str| (who, "join", json!({ "name": who.to_uppercase() }));
    play(
        &create(&json!({ "campaignId": "c" })),
        &[("dm", "open", none()), join("ana"), join("bo"), join("cy"), ("dm", "start", none())],
    )
}

fn submitted() -> Value {
    play(&started(), &[("ana", "submitAction", json!({ "action": "I open the door" }))])
}

#[test]
fn it_begins_idle_and_keeps_what_else_is_in_it() {
    let whole = json!({ "campaignId": "c", "status": "idle", "participants": [], "order": [], "turn": null, "round": 0,
                        "pending": null, "log": [] });
    assert_eq!(create(&json!({ "campaignId": "c" })), whole);
    for state in
        [json!({ "status": "odd" }), json!({ "order": ["ana"] }), json!({ "status": "in-progress" }), json!([])]
    {
        InteractionRules.create(state, &actor("dm")).unwrap_err();
    }
}

#[test]
fn players_join_and_the_one_who_comes_late_is_last() {
    let state = started();
    assert_eq!(
        (&state["order"], &state["turn"], &state["round"]),
        (&json!(["ana", "bo", "cy"]), &json!("ana"), &json!(1))
    );
    assert_eq!(state["participants"][0], json!({ "playerId": "ana", "name": "ANA" }));
    let late = play(&state, &[("di", "join", json!({ "characterId": "elf" }))]);
    assert_eq!(late["order"], json!(["ana", "bo", "cy", "di"]));
    assert_eq!(late["participants"][3], json!({ "playerId": "di", "name": "di", "characterId": "elf" }));
    assert_rejected(&state, "ana", "join", none(), "already");
    assert_rejected(&create(&none()), "ana", "join", none(), "idle");
    assert_rejected(&play(&create(&none()), &[("dm", "open", none())]), "dm", "start", none(), "must join");
}

#[test]
fn the_dm_reviews_what_a_player_submits() {
    let waiting = submitted();
    assert_eq!((&waiting["status"], &waiting["turn"]), (&json!("waiting-for-dm"), &json!("ana")));
    assert_eq!(waiting["pending"], json!({ "playerId": "ana", "action": "I open the door" }));
    assert_rejected(&waiting, "ana", "submitAction", json!({ "action": "and run" }), "waits for the DM already");
    assert_rejected(&waiting, "ana", "reviewAction", json!({ "decision": "approve" }), "only the DM");
    let approved =
        play(&waiting, &[("dm", "reviewAction", json!({ "decision": "approve", "result": { "door": "open" } }))]);
    assert_eq!(
        (&approved["status"], &approved["turn"], &approved["pending"]),
        (&json!("in-progress"), &json!("bo"), &Value::Null)
    );
    let last = approved["log"].as_array().unwrap().last().unwrap();
    let entry = json!({ "at": "1970-01-01T00:00:01.000Z", "playerId": "ana", "kind": "approve",
                        "action": "I open the door", "result": { "door": "open" } });
    assert_eq!(last, &entry);
    let rejected = play(&waiting, &[("dm", "reviewAction", json!({ "decision": "reject", "reason": "locked" }))]);
    assert_eq!((&rejected["status"], &rejected["turn"]), (&json!("in-progress"), &json!("ana")));
    assert_eq!(rejected["log"].as_array().unwrap().last().unwrap()["reason"], "locked");
    play(&rejected, &[("ana", "submitAction", json!({ "action": "I knock" }))]);
    assert_rejected(&started(), "dm", "reviewAction", json!({ "decision": "approve" }), "in-progress");
    assert_rejected(&waiting, "dm", "reviewAction", json!({ "decision": "maybe" }), "decision");
    assert_rejected(&started(), "ana", "submitAction", json!({ "action": "x".repeat(3_000) }), "bytes");
    assert_rejected(&started(), "ana", "submitAction", json!({ "action": null }), "what is done");
}

#[test]
fn turns_pass_and_what_waits_is_dropped_with_a_note() {
    let round = play(
        &started(),
        &[("ana", "nextTurn", none()), ("bo", "skipTurn", json!({ "reason": "asleep" })), ("dm", "nextTurn", none())],
    );
    assert_eq!((&round["turn"], &round["round"]), (&json!("ana"), &json!(2)));
    let dropped = play(&submitted(), &[("dm", "nextTurn", none())]);
    assert_eq!(
        (&dropped["turn"], &dropped["status"], &dropped["pending"]),
        (&json!("bo"), &json!("in-progress"), &Value::Null)
    );
    let kinds: Vec<&str> =
        dropped["log"].as_array().unwrap().iter().rev().take(2).map(|e| e["kind"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["nextTurn", "drop"]);
    for (who, kind) in [("bo", "nextTurn"), ("bo", "skipTurn"), ("bo", "submitAction"), ("zoe", "nextTurn")] {
        assert_rejected(&started(), who, kind, json!({ "action": "x" }), "not your turn");
    }
}

#[test]
fn who_leaves_on_their_turn_passes_it_on() {
    let left = play(&submitted(), &[("ana", "leave", none())]);
    assert_eq!((&left["turn"], &left["order"], &left["pending"]), (&json!("bo"), &json!(["bo", "cy"]), &Value::Null));
    assert_eq!(left["status"], "in-progress");
    let last = play(&started(), &[("ana", "nextTurn", none()), ("bo", "nextTurn", none()), ("cy", "leave", none())]);
    assert_eq!((&last["turn"], &last["round"]), (&json!("ana"), &json!(2)));
    let empty = play(&last, &[("bo", "leave", none()), ("ana", "leave", none())]);
    assert_eq!((&empty["status"], &empty["turn"]), (&json!("waiting-for-players"), &Value::Null));
    assert_rejected(&started(), "zoe", "leave", none(), "do not take part");
}

#[test]
fn what_is_the_dms_is_refused_to_players_and_each_status_takes_its_actions() {
    for kind in ["open", "start", "reviewAction", "reorder", "pause", "resume", "complete", "cancel", "dance"] {
        assert_rejected(&started(), "ana", kind, none(), "only the DM");
    }
    assert_rejected(&started(), "dm", "dance", none(), "an interaction knows");
    assert_rejected(&started(), "dm", "reorder", json!({ "order": ["ana", "bo", "bo"] }), "each participant once");
    let order = play(&started(), &[("dm", "reorder", json!({ "order": ["cy", "ana", "bo"] }))]);
    assert_eq!((&order["order"], &order["turn"]), (&json!(["cy", "ana", "bo"]), &json!("ana")));
    let paused = play(&submitted(), &[("dm", "pause", none())]);
    assert_rejected(&paused, "ana", "nextTurn", none(), "paused");
    assert_rejected(&paused, "ana", "submitAction", json!({ "action": "x" }), "paused");
    assert_eq!(play(&paused, &[("dm", "resume", none())])["status"], "waiting-for-dm");
    let paused = play(&started(), &[("dm", "pause", none())]);
    assert_eq!(play(&paused, &[("dm", "resume", none())])["status"], "in-progress");
    let completed = play(&submitted(), &[("dm", "complete", none())]);
    assert_eq!(
        (&completed["status"], &completed["turn"], &completed["pending"]),
        (&json!("completed"), &Value::Null, &Value::Null)
    );
    for (who, kind) in [("dm", "cancel"), ("dm", "resume"), ("ana", "leave"), ("zoe", "join"), ("dm", "open")] {
        assert_rejected(&completed, who, kind, none(), "completed");
    }
    assert_eq!(play(&create(&none()), &[("dm", "cancel", none())])["status"], "cancelled");
    assert_rejected(&create(&none()), "dm", "complete", none(), "idle");
}

#[test]
fn the_log_is_bounded_and_a_direct_change_must_hold_together() {
    let state = (0..150).fold(started(), |state, _| {
        play(&state, &[("dm", "nextTurn", none()), ("dm", "pause", none()), ("dm", "resume", none())])
    });
    assert_eq!(state["log"].as_array().unwrap().len(), 200);
    let mut after = state.clone();
    after["scene"] = json!("cellar");
    assert_eq!(InteractionRules.edit(&state, &after, &actor("dm")), Ok(()));
    assert!(InteractionRules.edit(&state, &after, &actor("ana")).is_err());
    after["turn"] = json!("zoe");
    assert!(InteractionRules.edit(&state, &after, &actor("dm")).is_err());
}

const PAIRS: i64 = 1_000;

fn follows(path: &str) -> bool {
    path.starts_with("/order") || path.starts_with("/status")
}

const EXPECTATIONS: Expectations = Expectations {
    adds_up: |_| None,
    follows,
    unit: &["turn", "round", "pending"],
    names: &[("/participants", "playerId")],
};

/// What happens at the table, in an order that a die gives.
fn some_actions(dice: &mut StdRng, at: i64, mut state: Value) -> Value {
    for step in 0..dice.random_range(1..6) {
        let player = ["ana", "bo", "cy", "di"][dice.random_range(0..4_usize)];
        let turn = state["turn"].as_str().unwrap_or("dm").to_owned();
        let verdict = if dice.random_bool(0.5) { "approve" } else { "reject" };
        let (who, kind, payload) = match dice.random_range(0..10) {
            0..3 => (turn.as_str(), "submitAction", json!({ "action": format!("act {at} {step}") })),
            3..6 => ("dm", "reviewAction", json!({ "decision": verdict })),
            6 => ("dm", "nextTurn", json!({})),
            7 => (turn.as_str(), "skipTurn", json!({ "reason": "tired" })),
            8 => (player, "join", json!({})),
            _ => (player, "leave", json!({})),
        };
        if let Ok(next) = attempt_at(&state, (who, kind, &payload), at * 10 + step) {
            state = next;
        }
    }
    state
}

#[test]
fn of_a_thousand_pairs_of_devices_that_drifted_apart_nearly_all_merge_and_none_wrongly() {
    let mut dice = StdRng::seed_from_u64(20_261_129);
    let (mut clean, mut conflicts) = (0, 0);
    for pair in 0..PAIRS {
        let base = some_actions(&mut dice, 10_000 + pair, started());
        let local = some_actions(&mut dice, 20_000 + pair, base.clone());
        let server = some_actions(&mut dice, 30_000 + pair, base.clone());
        let at = Timestamp::from_millis;
        let sides = Sides { base: &base, local: &local, server: &server, local_at: at(2), server_at: &|_| at(1) };
        match checked_merge(&InteractionRules, &actor("dm"), &sides, &EXPECTATIONS) {
            0 => clean += 1,
            found => conflicts += found,
        }
    }
    assert!(clean * 100 >= PAIRS * 95, "{clean} of {PAIRS} without a person; {conflicts} conflicts in the others");
}

const KINDS: [&str; 15] = [
    "open",
    "join",
    "join",
    "join",
    "leave",
    "start",
    "start",
    "submitAction",
    "submitAction",
    "reviewAction",
    "nextTurn",
    "skipTurn",
    "reorder",
    "pause",
    "resume",
];

fn an_action() -> impl Strategy<Value = (&'static str, &'static str, Value)> {
    let who = || proptest::sample::select(&["dm", "dm", "ana", "bo", "cy", "di"][..]);
    let kind = proptest::sample::select(&KINDS[..]);
    (who(), kind, any::<bool>(), proptest::collection::vec(who(), 1..4)).prop_map(|(who, kind, flag, order)| {
        let payload = match kind {
            "submitAction" => json!({ "action": { "say": flag } }),
            "reviewAction" => json!({ "decision": if flag { "approve" } else { "reject" } }),
            "reorder" => json!({ "order": order }),
            _ => json!({}),
        };
        (who, kind, payload)
    })
}

proptest! {
    #![proptest_config(cases(128))]

    #[test]
    fn whatever_is_played_the_interaction_holds_together(play in proptest::collection::vec(an_action(), 1..80)) {
        let mut state = create(&json!({}));
        for (who, kind, payload) in play {
            let Ok(next) = attempt(&state, who, kind, &payload) else { continue };
            prop_assert_ne!(&next, &state, "{} by {} does something, if only in the log", kind, who);
            state = next;
            let texts = |value: &Value| -> Vec<String> {
                value.as_array().unwrap().iter().map(|text| text.as_str().unwrap().to_owned()).collect()
            };
            let order = texts(&state["order"]);
            let named: BTreeSet<String> = order.iter().cloned().collect();
            let participants = state["participants"].as_array().unwrap().iter();
            let players = participants.map(|one| one["playerId"].as_str().unwrap().to_owned());
            prop_assert_eq!(&named, &players.collect::<BTreeSet<_>>());
            prop_assert_eq!(named.len(), order.len());
            let status = state["status"].as_str().unwrap();
            let goes_on = ["in-progress", "waiting-for-dm", "paused"].contains(&status);
            prop_assert_eq!(goes_on, state["turn"].as_str().is_some_and(|turn| named.contains(turn)), "{}", state);
            prop_assert!(goes_on || state["turn"].is_null());
            prop_assert!(status != "waiting-for-dm" || state["pending"]["playerId"] == state["turn"]);
            prop_assert!(status != "in-progress" || state["pending"].is_null());
            prop_assert_eq!(&create(&state), &state, "read and written it is the same");
        }
    }
}

/// Whom the step tells what, as `recipient kind: title: body`.
fn told(before: &Value, after: &Value) -> Vec<String> {
    let notices = InteractionRules.notices(before, after).into_iter().map(|notice| {
        let to = match notice.to {
            NoticeRecipient::Host => "dm".to_owned(),
            NoticeRecipient::Player(player) => player.to_string(),
        };
        format!("{to} {}: {}: {}", notice.kind.as_str(), notice.title, notice.body)
    });
    notices.collect()
}

#[test]
fn turns_reviews_and_what_becomes_of_it_are_told() {
    let step = |state: &Value, (who, kind, payload): (&str, &str, Value), expected: &[&str]| {
        let after = attempt(state, who, kind, &payload).unwrap();
        assert_eq!(told(state, &after), expected, "{kind}");
        after
    };
    let everybody = |said: &str| -> Vec<String> {
        ["dm", "ana", "bo"].map(|who| format!("{who} status: The market {said}: ")).to_vec()
    };
    let waiting = play(
        &create(&json!({ "campaignId": "c", "name": "The market" })),
        &[("dm", "open", none()), ("ana", "join", json!({ "name": "Ana" })), ("bo", "join", none())],
    );
    let started = attempt(&waiting, "dm", "start", &none()).unwrap();
    let mut expected = everybody("has begun");
    expected.push("ana turn: Your turn: Round 1 of The market".to_owned());
    assert_eq!(told(&waiting, &started), expected);
    let act = ("ana", "submitAction", json!({ "action": { "steal": "the crown" } }));
    let submitted = step(&started, act, &["dm action: An action waits for your review: Ana acts in The market"]);
    let rejected = json!({ "decision": "reject", "reason": "too far" });
    let given_back = step(
        &submitted,
        ("dm", "reviewAction", rejected),
        &["ana action: Your action in The market is rejected: too far"],
    );
    step(&given_back, ("dm", "nextTurn", none()), &["bo turn: Your turn: Round 1 of The market"]);
    let turn = step(
        &submitted,
        ("dm", "reviewAction", json!({ "decision": "approve" })),
        &["ana action: Your action in The market is approved: ", "bo turn: Your turn: Round 1 of The market"],
    );
    step(&turn, ("bo", "leave", none()), &["ana turn: Your turn: Round 2 of The market"]);
    let dropped = attempt(&submitted, "dm", "nextTurn", &none()).unwrap();
    assert_eq!(told(&submitted, &dropped), ["bo turn: Your turn: Round 1 of The market"]);
    let paused = attempt(&submitted, "dm", "pause", &none()).unwrap();
    for (before, kind, said) in [
        (&submitted, "pause", "is paused"),
        (&paused, "resume", "goes on"),
        (&turn, "complete", "has ended"),
        (&turn, "cancel", "is cancelled"),
    ] {
        assert_eq!(told(before, &attempt(before, "dm", kind, &none()).unwrap()), everybody(said), "{kind}");
    }
}
