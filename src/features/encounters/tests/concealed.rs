use super::*;
use crate::document::patch;
use crate::document::visibility::{redact_operation, redact_value};

/// All that a player gets of an action: the state, and the event's payload and patch. Bytes.
fn player_view(before: &Value, applied: &Applied) -> String {
    let player = UserId::new("ana").unwrap();
    let change = patch::diff(Some(before), Some(&applied.state), 1 << 20).unwrap();
    let operations = change.operations.into_iter().filter_map(|operation| redact_operation(operation, &player));
    let patch = serde_json::to_string(&operations.collect::<Vec<_>>()).unwrap();
    let payload = redact_value(applied.payload.clone().unwrap(), &player);
    format!("{} {payload} {patch}", redact_value(applied.state.clone(), &player))
}

#[test]
fn players_see_of_a_concealed_combatant_what_may_be_seen() {
    let state = planned();
    let shown = json!({ "name": "Shadow", "side": "foe", "concealed": true, "down": false, "conditions": [] });
    assert_eq!(state["combatants"]["spy"], shown);
    assert_eq!(state["hidden"]["combatants"]["spy"]["name"], "Mirabel");
    assert_eq!(state["hidden"]["combatants"]["spy"]["hitPoints"]["current"], 31);
    let revealed = after(&state, "reveal", &json!({ "combatantId": "spy" }));
    assert_eq!(revealed["combatants"]["spy"]["name"], "Mirabel");
    assert_eq!(revealed["combatants"]["spy"]["initiative"], 9);
    assert_eq!(revealed["hidden"]["combatants"], json!({}));
    assert!(rejection(&revealed, "host", "reveal", &json!({ "combatantId": "spy" })).contains("not concealed"));
}

#[test]
fn of_an_action_on_a_concealed_combatant_players_see_whom_it_is_about() {
    let mut state = started();
    let secret = json!({ "name": "Zzyzx", "alias": "Figure", "side": "foe", "hitPoints": 8_641, "initiative": 77,
                         "dexterity": 91, "armorClass": 93, "concealed": true, "playerId": "keeper", "group": "cabal",
                         "creatureId": "goblin", "counters": { "ritual": { "value": 7_531 } } });
    let actions = [
        ("addCombatant", secret),
        ("addCondition", json!({ "combatantId": "figure", "name": "concentrating" })),
        ("damage", json!({ "combatantId": "figure", "amount": 8_000, "type": "psychic" })),
        ("damage", json!({ "combatantIds": ["ana", "figure"], "amount": 17 })),
        ("heal", json!({ "combatantId": "figure", "amount": 7_777 })),
        ("setTemporaryHitPoints", json!({ "combatantId": "figure", "amount": 7_654 })),
        ("setCounter", json!({ "combatantId": "figure", "name": "ritual", "delta": 9_000 })),
        ("setInitiative", json!({ "combatantId": "figure", "initiative": 66 })),
        ("duplicate", json!({ "combatantId": "figure", "count": 2 })),
        ("rollInitiative", json!({ "combatantIds": ["figure", "figure-2"] })),
        ("nextTurn", json!({})),
        ("delayTurn", json!({ "after": "spy" })),
        ("previousTurn", json!({})),
        ("removeCombatant", json!({ "combatantId": "figure-3" })),
    ];
    let secrets = [
        "Zzyzx", "864", "77", "91", "93", "keeper", "cabal", "goblin", "7531", "ritual", "8000", "psychic", "7654",
        "check", "66", "Mirabel", "\"dc\"", "hidden",
    ];
    for (kind, payload) in actions {
        let applied = attempt(&state, "host", kind, &payload, 1).unwrap();
        let bytes = player_view(&state, &applied);
        for secret in secrets {
            assert!(!bytes.contains(secret), "{kind} shows {secret}: {bytes}");
        }
        let told = redact_value(applied.payload.clone().unwrap(), &UserId::new("ana").unwrap());
        for id in payload.get("combatantId").into_iter() {
            assert_eq!(told, json!({ "combatantId": id }), "{kind}");
        }
        state = applied.state;
    }
    assert_eq!(state["hidden"]["combatants"]["figure"]["name"], "Zzyzx");
}

#[test]
fn the_host_cannot_show_the_numbers_of_a_concealed_combatant_by_a_slip() {
    let before = planned();
    let mut after = before.clone();
    after["combatants"]["orc"]["concealed"] = json!(true);
    let message = EncounterRules.edit(&before, &after, &actor("host")).unwrap_err().message;
    assert!(message.contains("hidden.combatants.orc"), "{message}");
    let mut renamed = before.clone();
    renamed["name"] = json!("The bridge");
    assert_eq!(EncounterRules.edit(&before, &renamed, &actor("host")), Ok(()));
    assert!(EncounterRules.edit(&before, &renamed, &actor("ana")).is_err());
    renamed["order"] = json!([]);
    assert!(EncounterRules.edit(&before, &renamed, &actor("host")).is_err());
}
