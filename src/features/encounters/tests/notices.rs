use serde_json::{Value, json};

use super::{after, planned, started};
use crate::document::notices::{NoticeKind, NoticeRecipient};
use crate::document::rules::Rules as _;
use crate::features::encounters::rules::EncounterRules;

/// Whom the step tells what, as `recipient kind: title: body`.
fn told(before: &Value, after: &Value) -> Vec<String> {
    let notices = EncounterRules.notices(before, after).into_iter().map(|notice| {
        let to = match notice.to {
            NoticeRecipient::Host => "host".to_owned(),
            NoticeRecipient::Player(player) => player.to_string(),
        };
        assert!(NoticeKind::ALL.contains(&notice.kind));
        format!("{to} {}: {}: {}", notice.kind.as_str(), notice.title, notice.body)
    });
    notices.collect()
}

#[track_caller]
fn check(before: &Value, kind: &str, payload: Value, expected: &[&str]) -> Value {
    let now = after(before, kind, &payload);
    assert_eq!(told(before, &now), expected, "{kind}");
    now
}

#[test]
fn turns_and_what_becomes_of_the_encounter_are_told() {
    let all = |said: &str| ["host", "ana", "bo"].map(|who| format!("{who} status: Goblin ambush {said}: "));
    let [host, ana, bo] = all("has begun");
    let turn = |who: &str, name: &str, round: u32| {
        format!("{who} turn: Your turn: {name} acts in round {round} of Goblin ambush")
    };
    let state = check(&planned(), "start", json!({}), &[&host, &ana, &bo, &turn("ana", "Ana", 1)]);
    let state = check(&state, "damage", json!({ "combatantId": "bo", "amount": 1 }), &[]);
    let state = check(&state, "nextTurn", json!({}), &[&turn("host", "Orc", 1)]);
    let state = check(&state, "nextTurn", json!({}), &[&turn("bo", "Bo", 1)]);
    let state = check(&state, "nextTurn", json!({}), &[&turn("host", "Shadow", 1)]);
    let state = check(&state, "nextTurn", json!({}), &[&turn("ana", "Ana", 2)]);
    let state = check(&state, "removeCombatant", json!({ "combatantId": "ana" }), &[&turn("host", "Orc", 2)]);
    for (kind, said) in [("pause", "is paused"), ("resume", "goes on"), ("complete", "has ended")] {
        let [host, _, bo] = all(said);
        check(
            &if kind == "resume" { after(&state, "pause", &json!({})) } else { state.clone() },
            kind,
            json!({}),
            &[&host, &bo],
        );
    }
    check(&state, "reset", json!({}), &[]);
}

#[test]
fn a_turn_that_comes_round_to_the_same_one_is_told_and_one_that_is_taken_back_too() {
    let one = json!({ "combatants": { "ana": { "name": "Ana", "side": "party", "initiative": 1, "hitPoints": 2,
                                               "playerId": "ana", "concealed": true, "alias": "Somebody" } } });
    let alone = after(&super::create(&one), "start", &json!({}));
    let next =
        check(&alone, "nextTurn", json!({}), &["ana turn: Your turn: Somebody acts in round 2 of the encounter"]);
    check(&next, "previousTurn", json!({}), &["ana turn: Your turn: Somebody acts in round 1 of the encounter"]);
    assert_eq!(told(&Value::Null, &started()).len(), 4, "also one that is created begun");
    assert_eq!(told(&Value::Null, &planned()), Vec::<String>::new());
}
