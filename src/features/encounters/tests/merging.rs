use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};

use super::*;
use crate::document::merge::{Sides, merge};
use crate::document::tests::merge_checker::{Expectations, checked_merge};

const PAIRS: u64 = 1_000;

fn adds_up(path: &str) -> Option<&'static str> {
    let counts = path.ends_with("/hitPoints/current") || (path.contains("/counters/") && path.ends_with("/value"));
    counts.then_some("maximum")
}

fn follows(path: &str) -> bool {
    path.ends_with("/down") || ["/order", "/hidden/turns", "/hidden/added"].iter().any(|start| path.starts_with(start))
}

const EXPECTATIONS: Expectations =
    Expectations { adds_up, follows, unit: &["turn", "round"], names: &[("/conditions", "name")] };

/// What a host does at the table, with a number that no other action has.
fn an_action(dice: &mut StdRng, number: u64, state: &Value) -> (&'static str, Value) {
    let order = state["order"].as_array().unwrap();
    let id = order[dice.random_range(0..order.len())].clone();
    let amount = dice.random_range(1..9);
    let condition = ["prone", "dazed", "poisoned", "hidden"][dice.random_range(0..4_usize)];
    match dice.random_range(0..30) {
        0..10 => ("damage", json!({ "combatantId": id, "amount": amount })),
        10..14 => ("heal", json!({ "combatantId": id, "amount": amount })),
        14..19 => ("nextTurn", json!({})),
        19..22 => ("addCondition", json!({ "combatantId": id, "name": condition })),
        22 => ("removeCondition", json!({ "combatantId": id, "name": condition })),
        23..25 => ("setCounter", json!({ "combatantId": id, "name": "slots", "delta": -1, "maximum": 4 })),
        25..28 => ("note", json!({ "text": format!("note {number}") })),
        28 => {
            let name = format!("Goblin {number}");
            ("addCombatant", json!({ "name": name, "side": "foe", "hitPoints": 7, "initiative": amount }))
        }
        _ => ("setTemporaryHitPoints", json!({ "combatantId": id, "amount": amount })),
    }
}

fn some_actions(dice: &mut StdRng, number: u64, mut state: Value) -> Value {
    for step in 0..dice.random_range(1..6) {
        let (kind, payload) = an_action(dice, number * 10 + step, &state);
        if let Ok(applied) = attempt(&state, "host", kind, &payload, 1) {
            state = applied.state;
        }
    }
    state
}

#[test]
fn of_a_thousand_pairs_of_devices_that_drifted_apart_nearly_all_merge_and_none_wrongly() {
    let mut dice = StdRng::seed_from_u64(20_261_129);
    let slots = json!({ "combatantId": "ana", "name": "slots", "value": 4, "maximum": 4 });
    let begun = after(&started(), "setCounter", &slots);
    let (mut clean, mut conflicts) = (0, 0);
    for pair in 0..PAIRS {
        let base = some_actions(&mut dice, 10_000 + pair, begun.clone());
        let local = some_actions(&mut dice, 20_000 + pair, base.clone());
        let server = some_actions(&mut dice, 30_000 + pair, base.clone());
        let at = Timestamp::from_millis;
        let sides = Sides { base: &base, local: &local, server: &server, local_at: at(2), server_at: &|_| at(1) };
        match checked_merge(&EncounterRules, &actor("host"), &sides, &EXPECTATIONS) {
            0 => clean += 1,
            found => conflicts += found,
        }
    }
    assert!(clean * 100 >= PAIRS * 95, "{clean} of {PAIRS} without a person; {conflicts} conflicts in the others");
}

/// The state after the device's edits, made by `who`, are merged into the server's.
fn merged(base: &Value, local: &Value, server: &Value, who: &str) -> Result<Value, Rejection> {
    let at = Timestamp::from_millis;
    let sides = Sides { base, local, server, local_at: at(2), server_at: &|_| at(1) };
    EncounterRules.accept_merge(server, merge(&sides, &EncounterRules.merge_rules()).state, &actor(who))
}

#[test]
fn damage_on_both_sides_adds_up_and_who_falls_is_down() {
    let base = started();
    let hurt = |amount: u32| after(&base, "damage", &json!({ "combatantId": "ana", "amount": amount }));
    let both = merged(&base, &hurt(12), &hurt(12), "host").unwrap();
    assert_eq!(
        (&both["combatants"]["ana"]["hitPoints"]["current"], &both["combatants"]["ana"]["down"]),
        (&json!(0), &json!(true))
    );
    let secret = |amount: u32| after(&base, "damage", &json!({ "combatantId": "spy", "amount": amount }));
    let both = merged(&base, &secret(3), &secret(4), "host").unwrap();
    assert_eq!(both["hidden"]["combatants"]["spy"]["hitPoints"]["current"], 24);
}

#[test]
fn numbers_hold_however_they_are_spelled() {
    let base = started();
    let spelled = |mut state: Value, path: &str| {
        let number = state.pointer(path).and_then(Value::as_f64).unwrap();
        *state.pointer_mut(path).unwrap() = json!(number);
        state
    };
    let hurt = |amount: u32| after(&base, "damage", &json!({ "combatantId": "ana", "amount": amount }));
    let turned = |state: &Value| (0..5).fold(state.clone(), |state, _| after(&state, "nextTurn", &json!({})));
    let local = spelled(hurt(12), "/combatants/ana/hitPoints/current");
    let server = turned(&spelled(hurt(12), "/combatants/ana/hitPoints/maximum"));
    let round = server["round"].as_u64().unwrap();
    assert!(round > 1, "{server}");
    let both = merged(&base, &local, &spelled(server, "/round"), "host").unwrap();
    assert_eq!((&both["combatants"]["ana"]["hitPoints"]["current"], &both["round"]), (&json!(0), &json!(round)));
}

#[test]
fn the_server_says_whose_turn_it_is_and_the_order_has_everybody() {
    let base = started();
    let added =
        after(&base, "addCombatant", &json!({ "name": "Wolf", "side": "foe", "hitPoints": 9, "initiative": 13 }));
    let local = after(&after(&added, "nextTurn", &json!({})), "nextTurn", &json!({}));
    let server = after(&after(&base, "nextTurn", &json!({})), "removeCombatant", &json!({ "combatantId": "bo" }));
    let both = merged(&base, &local, &server, "host").unwrap();
    assert_eq!((&both["turn"], &both["order"]), (&json!("orc"), &json!(["ana", "orc", "wolf", "spy"])));
}

#[test]
fn a_player_brings_what_their_actions_could_do_and_nothing_else() {
    let base = started();
    let local = after(&base, "damage", &json!({ "combatantId": "ana", "amount": 5 }));
    let local = after(&local, "addCondition", &json!({ "combatantId": "ana", "name": "dazed" }));
    let server = after(&base, "damage", &json!({ "combatantIds": ["ana", "orc"], "amount": 2 }));
    let both = merged(&base, &local, &server, "ana").unwrap();
    assert_eq!(both["combatants"]["ana"]["hitPoints"]["current"], 15);
    assert_eq!(both["combatants"]["ana"]["conditions"][1]["name"], "dazed");
    assert_eq!(both["combatants"]["orc"], server["combatants"]["orc"]);
    for (path, value) in [
        ("/combatants/orc/hitPoints/current", json!(1)),
        ("/combatants/ana/hitPoints/maximum", json!(99)),
        ("/combatants/ana/armorClass", json!(30)),
        ("/combatants/ana/playerId", json!("bo")),
        ("/order", json!(["bo", "ana", "orc", "spy"])),
        ("/turn", json!("orc")),
        ("/name", json!("Mine")),
        ("/status", json!("paused")),
    ] {
        let mut beyond = local.clone();
        *beyond.pointer_mut(path).unwrap() = value;
        assert!(merged(&base, &beyond, &server, "ana").is_err(), "{path}");
    }
    merged(&base, &local, &server, "cat").unwrap_err();
}
