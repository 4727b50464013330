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
        ("/turn", json!("bo")),
        ("/round", json!(2)),
        ("/name", json!("Mine")),
        ("/status", json!("paused")),
    ] {
        let mut beyond = local.clone();
        *beyond.pointer_mut(path).unwrap() = value;
        assert!(merged(&base, &beyond, &server, "ana").is_err(), "{path}");
    }
    merged(&base, &local, &server, "cat").unwrap_err();
}

/// A player's device has what it may see, and does as the rules do.
fn on_device(base: &Value, who: &str, actions: &[(&str, Value)]) -> Value {
    let act = |state: Value, (kind, payload): &(&str, Value)| attempt(&state, who, kind, payload, 1).unwrap().state;
    actions.iter().fold(base.clone(), act)
}

#[test]
fn a_player_ends_their_turn_and_writes_notes_while_away() {
    let note = |text: &str| ("note", json!({ "text": text }));
    let base = started();
    let local = on_device(&base, "ana", &[note("I run"), ("endTurn", json!({}))]);
    let server = after(
        &after(&base, "damage", &json!({ "combatantId": "orc", "amount": 2 })),
        "note",
        &json!({ "text": "Dark" }),
    );
    let both = merged(&base, &local, &server, "ana").unwrap();
    let texts: Vec<_> = both["notes"].as_array().unwrap().iter().map(|note| note["text"].clone()).collect();
    assert_eq!((&both["turn"], texts), (&json!("orc"), vec![json!("Dark"), json!("I run")]));
    assert_eq!(both["combatants"]["orc"], server["combatants"]["orc"]);
    assert_eq!(after(&both, "previousTurn", &json!({}))["turn"], "ana", "the host can take it back");
    assert_eq!(merged(&base, &local, &both, "ana").unwrap(), both, "brought again it changes nothing");
    // The turn went on meanwhile: the server says whose it is.
    let passed = after(&server, "nextTurn", &json!({}));
    assert_eq!(merged(&base, &local, &after(&passed, "nextTurn", &json!({})), "ana").unwrap()["turn"], "bo");
    for (path, value) in [("/notes/0/by", json!("bo")), ("/notes/0/text", json!("")), ("/notes", json!([]))] {
        let base = after(&base, "note", &json!({ "text": "Dark" }));
        let mut forged = if path == "/notes" { base.clone() } else { local.clone() };
        *forged.pointer_mut(path).unwrap() = value;
        assert!(merged(&base, &forged, &base, "ana").is_err(), "{path}");
    }
    let stranger = json!({ "at": "2026-01-01T00:00:00.000Z", "by": "cat", "text": "hi" });
    let mut wrote = base.clone();
    wrote["notes"] = json!([stranger]);
    merged(&base, &wrote, &base, "cat").unwrap_err();
    // A completed one takes notes, and nothing else.
    let completed = after(&base, "complete", &json!({}));
    let local = on_device(&completed, "ana", &[note("Well done")]);
    assert_eq!(merged(&completed, &local, &completed, "ana").unwrap()["notes"][0]["text"], "Well done");
    let mut beyond = local.clone();
    beyond["combatants"]["ana"]["hitPoints"]["current"] = json!(1);
    merged(&completed, &beyond, &completed, "ana").unwrap_err();
}

#[test]
fn a_round_that_ends_while_a_player_is_away_takes_a_round_off_once() {
    let prone =
        |id: &str, rounds: u32| ("addCondition", json!({ "combatantId": id, "name": "prone", "rounds": rounds }));
    let two = json!({ "combatants": {
        "orc": { "name": "Orc", "side": "foe", "initiative": 9, "hitPoints": 9 },
        "bo": { "name": "Bo", "side": "party", "initiative": 5, "hitPoints": 9, "playerId": "bo" },
        "cat": { "name": "Cat", "side": "party", "initiative": 4, "hitPoints": 9, "playerId": "bo" },
    } });
    let base = play(&create(&two), &[("start", json!({})), prone("orc", 2), prone("bo", 1), ("nextTurn", json!({}))]);
    let local = on_device(&base, "bo", &[("endTurn", json!({})), prone("cat", 3), ("endTurn", json!({}))]);
    assert_eq!(local["round"], 2);
    let dazed = json!({ "combatantId": "orc", "name": "dazed", "rounds": 4 });
    let server = after(&base, "addCondition", &dazed);
    let both = merged(&base, &local, &server, "bo").unwrap();
    let of = |id: &str| both["combatants"][id]["conditions"].clone();
    assert_eq!((&both["turn"], &both["round"]), (&json!("orc"), &json!(2)));
    assert_eq!(of("orc"), json!([{ "name": "prone", "rounds": 1 }, { "name": "dazed", "rounds": 3 }]));
    assert_eq!((of("bo"), of("cat")), (json!([]), json!([{ "name": "prone", "rounds": 2 }])));
    let back = after(&both, "previousTurn", &json!({}));
    assert_eq!(back["combatants"]["orc"]["conditions"][1]["rounds"], 4);
    let mut forged = local.clone();
    forged["combatants"]["orc"]["conditions"] = json!([]);
    merged(&base, &forged, &server, "bo").unwrap_err();
    let mut forged = local;
    forged["combatants"]["orc"]["conditions"][0]["rounds"] = json!(9);
    merged(&base, &forged, &server, "bo").unwrap_err();
    let rolled = after(
        &create(&{
            let mut two = two;
            two["rerollEachRound"] = json!(true);
            two
        }),
        "start",
        &json!({}),
    );
    let rolled = after(&after(&rolled, "nextTurn", &json!({})), "nextTurn", &json!({}));
    let local = on_device(&rolled, "bo", &[("endTurn", json!({}))]);
    let refused = merged(&rolled, &local, &rolled, "bo").unwrap_err();
    assert!(refused.message.contains("endTurn"), "{}", refused.message);
}
