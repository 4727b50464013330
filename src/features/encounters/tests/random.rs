use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;
use crate::property_tests::cases;

const IDS: [&str; 7] = ["ana", "bo", "orc", "spy", "orc-2", "goblin", "nobody"];

fn an_action() -> impl Strategy<Value = (&'static str, Value, &'static str)> {
    let id = || proptest::sample::select(&IDS[..]);
    let who = proptest::sample::select(&["host", "host", "host", "ana", "bo", "cat"][..]);
    let ids = move || proptest::collection::vec(id(), 1..4);
    let kinds = (0..26_u8, id(), ids(), 0..40_i64, any::<bool>());
    let action = kinds.prop_map(|(kind, id, ids, number, flag)| {
        let one = json!({ "combatantId": id });
        let amount = json!({ "combatantIds": ids, "amount": number });
        match kind {
            0 => ("addCombatant", json!({ "creatureId": "goblin", "concealed": flag, "initiative": number })),
            1 => ("addParty", json!({ "partyId": "heroes" })),
            2 => ("duplicate", json!({ "combatantId": id, "count": 1 })),
            3 => ("removeCombatant", one),
            4 => ("reveal", one),
            5 => ("setInitiative", json!({ "combatantId": id, "initiative": number })),
            6 => ("rollInitiative", json!({ "combatantIds": ids })),
            7 => ("reorder", json!({ "order": ids })),
            8 if number == 0 => ("reset", json!({ "keepParty": flag })),
            9 | 10 => ("start", json!({})),
            11..=14 => ("nextTurn", json!({ "skipDown": flag })),
            15 => ("endTurn", json!({})),
            16 => ("previousTurn", json!({})),
            17 => ("delayTurn", json!({ "after": id })),
            18 => ("damage", amount),
            19 => ("heal", amount),
            20 => ("setTemporaryHitPoints", amount),
            21 => (
                "addCondition",
                json!({ "combatantIds": ids, "name": if flag { "prone" } else { "dazed" }, "rounds": number % 4 + 1 }),
            ),
            22 => ("removeCondition", json!({ "combatantIds": ids, "name": "prone" })),
            23 => ("setCounter", json!({ "combatantId": id, "name": "slots", "delta": number - 20, "maximum": 9 })),
            24 => (if flag { "pause" } else { "resume" }, json!({})),
            _ if number == 1 => ("complete", json!({})),
            _ => ("note", json!({ "text": "so" })),
        }
    });
    (action, who).prop_map(|((kind, payload), who)| (kind, payload, who))
}

/// What holds in every state.
fn check(state: &Value) -> Result<(), TestCaseError> {
    let combatants = state["combatants"].as_object().unwrap();
    let order: Vec<&str> = state["order"].as_array().unwrap().iter().map(|id| id.as_str().unwrap()).collect();
    let named: BTreeSet<&str> = order.iter().copied().collect();
    prop_assert_eq!(named.len(), order.len(), "the order has nobody twice");
    prop_assert!(combatants.keys().map(String::as_str).eq(named.iter().copied()), "the order has everybody");
    let goes_on = ["active", "paused"].contains(&state["status"].as_str().unwrap());
    prop_assert_eq!(goes_on, state["turn"].as_str().is_some_and(|turn| named.contains(turn)));
    prop_assert_eq!(!goes_on, state["turn"].is_null());
    for (id, combatant) in combatants {
        let concealed = combatant["concealed"] == true;
        let whole = if concealed { &state["hidden"]["combatants"][id] } else { combatant };
        let of = |member: &str| whole["hitPoints"][member].as_u64().unwrap();
        prop_assert!(of("current") <= of("maximum"), "{}", state);
        prop_assert_eq!(combatant["down"] == true, of("current") == 0, "{}", state);
        prop_assert_eq!(concealed, combatant.get("hitPoints").is_none());
        let rounds = combatant["conditions"].as_array().unwrap().iter().filter_map(|c| c["rounds"].as_u64());
        prop_assert!(rounds.min() != Some(0), "{}", state);
    }
    prop_assert_eq!(EncounterRules.edit(state, state, &actor("host")), Ok(()), "{}", state);
    prop_assert_eq!(&create(state), state, "read and written it is the same");
    Ok(())
}

proptest! {
    #![proptest_config(cases(64))]

    #[test]
    fn whatever_is_played_the_encounter_holds_together(
        reroll: bool,
        play in proptest::collection::vec((an_action(), any::<u8>()), 1..60),
    ) {
        let mut state = planned();
        if reroll {
            state["rerollEachRound"] = json!(true);
        }
        for ((kind, payload, who), seed) in play {
            if let Ok(next) = attempt(&state, "host", "nextTurn", &json!({ "skipDown": seed % 2 == 0 }), seed) {
                check(&next.state)?;
                let back = attempt(&next.state, "host", "previousTurn", &json!({}), seed).unwrap().state;
                prop_assert_eq!(&back, &state, "back undoes exactly that");
            }
            if let Ok(applied) = attempt(&state, who, kind, &payload, seed) {
                state = applied.state;
                check(&state)?;
            }
        }
    }
}
