use super::*;

#[test]
fn what_is_left_out_at_creation_gets_its_default() {
    let whole = json!({ "name": "", "status": "planning", "round": 0, "turn": null, "order": [], "combatants": {},
                        "hidden": { "combatants": {} } });
    assert_eq!(create(&json!({})), whole);
    let ana = &planned()["combatants"]["ana"];
    let expected = json!({ "name": "Ana", "side": "party", "initiative": 17, "dexterity": null, "armorClass": 15,
                           "hitPoints": { "current": 22, "maximum": 22, "temporary": 0 },
                           "conditions": [{ "name": "prone", "rounds": 2 }], "down": false, "concealed": false,
                           "playerId": "ana", "group": null, "counters": {} });
    assert_eq!(ana, &expected);
    let more = create(&json!({ "map": "cave", "rerollEachRound": true, "hidden": { "trap": "pit" } }));
    assert_eq!(
        (&more["map"], &more["rerollEachRound"], &more["hidden"]["trap"]),
        (&json!("cave"), &json!(true), &json!("pit"))
    );
}

#[test]
fn a_state_that_does_not_hold_together_is_refused_with_the_reason() {
    let orc = json!({ "name": "Orc", "side": "foe", "hitPoints": 15 });
    let with = |member: &str, value: Value| {
        let mut orc = orc.clone();
        orc[member] = value;
        json!({ "combatants": { "orc": orc } })
    };
    for (state, says) in [
        (json!({ "status": "asleep" }), "status"),
        (json!({ "status": "active" }), "turn must name"),
        (json!({ "turn": "orc" }), "turn must name"),
        (json!({ "order": ["orc"] }), "order must name"),
        (json!({ "combatants": [] }), "combatants must be an object"),
        (json!({ "combatants": { "a/b": orc } }), "combatantId"),
        (with("hitPoints", json!("many")), "hitPoints"),
        (with("hitPoints", json!(0)), "hitPoints"),
        (with("hitPoints", json!({ "current": 3, "maximum": 2 })), "hitPoints"),
        (with("initiative", json!(100_000)), "initiative"),
        (with("name", json!("")), "name"),
        (with("side", json!("cat")), "side"),
        (with("conditions", json!([{ "name": "prone" }, { "name": "prone" }])), "each condition once"),
        (with("counters", json!({ "slots": { "value": 3, "maximum": 2 } })), "counter"),
    ] {
        let message = EncounterRules.create(state.clone(), &actor("host")).unwrap_err().message;
        assert!(message.contains(says), "{state}: {message}");
    }
}

/// What an action of the host changes: members of the state by pointer.
#[track_caller]
fn changes(state: &Value, kind: &str, payload: Value, expect: &[(&str, Value)]) {
    let after = after(state, kind, &payload);
    for (pointer, value) in expect {
        assert_eq!(after.pointer(pointer).unwrap_or(&Value::Null), value, "{kind} {payload}: {pointer}");
    }
}

#[test]
fn combatants_are_added_with_what_their_creature_has() {
    let empty = create(&json!({}));
    let orc = json!({ "name": "Orc Chief", "side": "foe", "hitPoints": 15, "initiative": 3 });
    changes(
        &empty,
        "addCombatant",
        orc,
        &[("/order", json!(["orc-chief"])), ("/combatants/orc-chief/hitPoints/current", json!(15))],
    );
    let goblin = json!({ "creatureId": "goblin", "combatantId": "g", "hitPoints": { "current": 3, "maximum": 9 } });
    let expect = [
        ("/combatants/g/name", json!("Goblin")),
        ("/combatants/g/side", json!("foe")),
        ("/combatants/g/armorClass", json!(15)),
        ("/combatants/g/dexterity", json!(14)),
        ("/combatants/g/hitPoints", json!({ "current": 3, "maximum": 9, "temporary": 0 })),
        ("/combatants/g/creatureId", json!("goblin")),
    ];
    changes(&empty, "addCombatant", goblin, &expect);
    let party = [
        ("/order", json!(["ana", "bo"])),
        ("/combatants/ana/playerId", json!("ana")),
        ("/combatants/bo/hitPoints/current", json!(5)),
        ("/combatants/bo/side", json!("party")),
    ];
    changes(&empty, "addParty", json!({ "partyId": "heroes" }), &party);
    for (kind, payload, says) in [
        ("addCombatant", json!({ "creatureId": "troll" }), "creatures/troll"),
        ("addCombatant", json!({ "side": "foe", "hitPoints": 1 }), "name is missing"),
        ("addCombatant", json!({ "name": "x", "hitPoints": 1 }), "side is missing"),
        ("addCombatant", json!({ "name": "x", "side": "foe" }), "hitPoints is missing"),
        ("addCombatant", json!({ "name": "x", "side": "foe", "hitPoints": 1, "hp": 2 }), "hp"),
        ("addParty", json!({ "partyId": "nobody" }), "parties/nobody"),
        ("addParty", json!({ "partyId": "broken" }), "hitPoints"),
    ] {
        let message = rejection(&empty, "host", kind, &payload);
        assert!(message.contains(says), "{kind} {payload}: {message}");
    }
    let taken = json!({ "combatantId": "ana", "name": "Ana", "side": "party", "hitPoints": 1 });
    assert!(rejection(&planned(), "host", "addCombatant", &taken).contains("already"));
    let told = attempt(&empty, "host", "addCombatant", &json!({ "creatureId": "goblin" }), 1).unwrap().payload.unwrap();
    assert_eq!(told, json!({ "creatureId": "goblin", "combatantId": "goblin" }));
}

#[test]
fn who_comes_late_takes_their_place_and_planning_keeps_the_order_of_adding() {
    let late = |initiative: Value| {
        json!({ "combatantId": "late", "name": "x", "side": "foe", "hitPoints": 1,
                                           "initiative": initiative })
    };
    changes(
        &started(),
        "addCombatant",
        late(json!(15)),
        &[("/order", json!(["ana", "orc", "late", "bo", "spy"])), ("/turn", json!("ana"))],
    );
    changes(
        &started(),
        "addCombatant",
        late(json!(20)),
        &[("/order", json!(["late", "ana", "orc", "bo", "spy"])), ("/turn", json!("ana"))],
    );
    changes(&started(), "addCombatant", late(Value::Null), &[("/order", json!(["ana", "orc", "bo", "spy", "late"]))]);
    let added = |id: &str, initiative: Value| {
        (
            "addCombatant",
            json!({ "combatantId": id, "name": id, "side": "foe", "hitPoints": 1, "initiative": initiative }),
        )
    };
    let state = play(&create(&json!({})), &[added("z", json!(1)), added("m", Value::Null), added("a", json!(5))]);
    assert_eq!(state["order"], json!(["z", "a", "m"]));
    changes(
        &state,
        "setInitiative",
        json!({ "combatantId": "m", "initiative": 3 }),
        &[("/order", json!(["z", "m", "a"]))],
    );
    changes(
        &state,
        "start",
        json!({}),
        &[("/order", json!(["a", "z", "m"])), ("/turn", json!("a")), ("/round", json!(1))],
    );
}

#[test]
fn ties_go_by_dexterity_and_then_stay_as_the_host_has_them() {
    let one = |dexterity: i64| {
        json!({ "name": "x", "side": "foe", "hitPoints": 1, "initiative": 10,
                                        "dexterity": dexterity })
    };
    let state = create(&json!({ "combatants": { "a": one(10), "b": one(10), "c": one(18) } }));
    changes(&state, "start", json!({}), &[("/order", json!(["c", "a", "b"]))]);
    let begun = play(&state, &[("reorder", json!({ "order": ["b", "a", "c"] })), ("start", json!({}))]);
    assert_eq!(begun["order"], json!(["c", "b", "a"]));
    let dragged = after(&begun, "reorder", &json!({ "order": ["a", "b", "c"] }));
    changes(
        &dragged,
        "nextTurn",
        json!({}),
        &[("/order", json!(["a", "b", "c"])), ("/turn", json!("a")), ("/round", json!(2))],
    );
    changes(
        &dragged,
        "setInitiative",
        json!({ "combatantId": "b", "initiative": 11 }),
        &[("/order", json!(["b", "c", "a"])), ("/turn", json!("c"))],
    );
    for order in [json!(["a", "b"]), json!(["a", "b", "b"]), json!(["a", "b", "c", "d"])] {
        assert!(rejection(&begun, "host", "reorder", &json!({ "order": order })).contains("each combatant once"));
    }
}

#[test]
fn copies_are_numbered_and_whole() {
    let wounded = after(&started(), "damage", &json!({ "combatantId": "orc", "amount": 4 }));
    let copied = after(&wounded, "duplicate", &json!({ "combatantId": "orc", "count": 2 }));
    let names: Vec<&Value> = ["orc", "orc-2", "orc-3"].iter().map(|id| &copied["combatants"][id]["name"]).collect();
    assert_eq!(names, ["Orc", "Orc 2", "Orc 3"]);
    assert_eq!(copied["combatants"]["orc"]["hitPoints"]["current"], 11);
    assert_eq!(copied["combatants"]["orc-3"]["hitPoints"]["current"], 15);
    assert_eq!(copied["order"], json!(["ana", "orc", "orc-2", "orc-3", "bo", "spy"]));
    let more = after(&copied, "duplicate", &json!({ "combatantId": "orc-2", "count": 1 }));
    assert_eq!(more["combatants"]["orc-4"]["name"], "Orc 4");
    assert!(rejection(&copied, "host", "duplicate", &json!({ "combatantId": "orc", "count": 0 })).contains("count"));
}

#[test]
fn the_turn_of_whoever_is_removed_passes_on() {
    let orcs_turn = after(&started(), "nextTurn", &json!({}));
    changes(
        &orcs_turn,
        "removeCombatant",
        json!({ "combatantId": "orc" }),
        &[("/turn", json!("bo")), ("/order", json!(["ana", "bo", "spy"])), ("/round", json!(1))],
    );
    let last = play(&orcs_turn, &[("nextTurn", json!({})), ("nextTurn", json!({}))]);
    assert_eq!(last["turn"], "spy");
    let removed = after(&last, "removeCombatant", &json!({ "combatantId": "spy" }));
    assert_eq!((&removed["turn"], &removed["round"]), (&json!("ana"), &json!(2)));
    assert_eq!(removed["combatants"]["ana"]["conditions"], json!([{ "name": "prone", "rounds": 1 }]), "a round began");
    changes(
        &removed,
        "previousTurn",
        json!({}),
        &[
            ("/turn", json!("bo")),
            ("/round", json!(1)),
            ("/combatants/ana/conditions", json!([{ "name": "prone", "rounds": 2 }])),
        ],
    );
    let middle = play(&orcs_turn, &[("nextTurn", json!({})), ("removeCombatant", json!({ "combatantId": "orc" }))]);
    changes(&middle, "previousTurn", json!({}), &[("/turn", json!("ana"))]);
    let alone =
        create(&json!({ "combatants": { "a": { "name": "a", "side": "foe", "hitPoints": 1, "initiative": 1 } } }));
    let alone = after(&alone, "start", &json!({}));
    assert!(rejection(&alone, "host", "removeCombatant", &json!({ "combatantId": "a" })).contains("complete it"));
}

#[test]
fn past_the_end_the_round_rises_and_back_undoes_exactly_that() {
    let begun = started();
    let all = [("nextTurn", json!({})), ("endTurn", json!({})), ("nextTurn", json!({})), ("nextTurn", json!({}))];
    let second = play(&begun, &all);
    assert_eq!((&second["turn"], &second["round"]), (&json!("ana"), &json!(2)));
    assert_eq!(second["combatants"]["ana"]["conditions"], json!([{ "name": "prone", "rounds": 1 }]));
    let third = play(&second, &all);
    assert_eq!((&third["round"], &third["combatants"]["ana"]["conditions"]), (&json!(3), &json!([])));
    let back: Vec<_> = (0..8).map(|_| ("previousTurn", json!({}))).collect();
    assert_eq!(play(&third, &back), begun);
    assert!(rejection(&begun, "host", "previousTurn", &json!({})).contains("first turn"));
    let renewed = after(&second, "addCondition", &json!({ "combatantId": "ana", "name": "prone", "rounds": 9 }));
    changes(
        &renewed,
        "previousTurn",
        json!({}),
        &[("/combatants/ana/conditions", json!([{ "name": "prone", "rounds": 9 }]))],
    );
}

#[test]
fn those_who_are_down_keep_their_turn_unless_they_are_skipped() {
    let down = after(&started(), "damage", &json!({ "combatantId": "orc", "amount": 99 }));
    changes(&down, "nextTurn", json!({}), &[("/turn", json!("orc"))]);
    changes(&down, "nextTurn", json!({ "skipDown": true }), &[("/turn", json!("bo"))]);
    let all = after(&down, "damage", &json!({ "combatantIds": ["bo", "spy"], "amount": 99 }));
    changes(&all, "nextTurn", json!({ "skipDown": true }), &[("/turn", json!("ana")), ("/round", json!(2))]);
    let everybody = after(&all, "damage", &json!({ "combatantId": "ana", "amount": 99 }));
    assert!(rejection(&everybody, "host", "nextTurn", &json!({ "skipDown": true })).contains("everybody is down"));
}

#[test]
fn a_turn_is_delayed_behind_one_still_to_come() {
    let delayed = after(&started(), "delayTurn", &json!({ "after": "bo" }));
    assert_eq!((&delayed["order"], &delayed["turn"]), (&json!(["orc", "bo", "ana", "spy"]), &json!("orc")));
    assert_eq!(after(&delayed, "previousTurn", &json!({})), started());
    for id in ["ana", "nobody"] {
        rejection(&started(), "host", "delayTurn", &json!({ "after": id }));
    }
    let next = after(&delayed, "nextTurn", &json!({}));
    assert!(rejection(&next, "host", "delayTurn", &json!({ "after": "orc" })).contains("still to come"));
}

#[test]
fn initiative_is_a_die_and_the_modifier_and_one_die_for_a_group() {
    let one = |dexterity: i64, group: Value| {
        json!({ "name": "x", "side": "foe", "hitPoints": 1,
                                                      "dexterity": dexterity, "group": group })
    };
    let combatants = json!({ "a": one(14, json!("wolves")), "b": one(14, json!("wolves")), "c": one(7, Value::Null),
                             "d": { "name": "d", "side": "foe", "hitPoints": 1, "initiative": 30 } });
    let state = create(&json!({ "combatants": combatants, "rerollEachRound": true }));
    let mut faces = std::collections::BTreeSet::new();
    for seed in 0..=255 {
        let rolled = attempt(&state, "host", "rollInitiative", &json!({}), seed).unwrap().state;
        let of = |id: &str| rolled["combatants"][id]["initiative"].as_i64().unwrap();
        assert_eq!((of("a"), of("d")), (of("b"), 30));
        assert!((3..=22).contains(&of("a")) && (-1..=18).contains(&of("c")), "{rolled}");
        faces.insert(of("a") - 2);
        let again = attempt(&rolled, "host", "rollInitiative", &json!({ "combatantIds": ["d"] }), seed).unwrap().state;
        assert!((1..=20).contains(&again["combatants"]["d"]["initiative"].as_i64().unwrap()));
        assert!(rejection(&rolled, "host", "rollInitiative", &json!({})).contains("everybody has"));
        let begun = after(&rolled, "start", &json!({}));
        let fourth = (0..3).fold(begun, |state, _| after(&state, "nextTurn", &json!({})));
        let anew = attempt(&fourth, "host", "nextTurn", &json!({}), seed.wrapping_add(1)).unwrap().state;
        assert_ne!(anew["combatants"]["d"]["initiative"], 30, "rolled anew at the top of the round");
        assert_eq!(anew["turn"], anew["order"][0]);
        assert_eq!(after(&anew, "previousTurn", &json!({})), fourth);
    }
    assert_eq!(faces.len(), 20, "every face comes up");
}

#[test]
fn damage_takes_temporary_hit_points_first_and_stops_at_nothing() {
    let shielded = after(&started(), "setTemporaryHitPoints", &json!({ "combatantId": "ana", "amount": 5 }));
    let points = |current: u32, temporary: u32| json!({ "current": current, "maximum": 22, "temporary": temporary });
    let of_ana = "/combatants/ana/hitPoints";
    changes(
        &shielded,
        "setTemporaryHitPoints",
        json!({ "combatantId": "ana", "amount": 3 }),
        &[(of_ana, points(22, 5))],
    );
    changes(&shielded, "damage", json!({ "combatantId": "ana", "amount": 4 }), &[(of_ana, points(22, 1))]);
    changes(
        &shielded,
        "damage",
        json!({ "combatantId": "ana", "amount": 9, "type": "fire" }),
        &[(of_ana, points(18, 0))],
    );
    changes(
        &shielded,
        "damage",
        json!({ "combatantId": "ana", "amount": 99 }),
        &[(of_ana, points(0, 0)), ("/combatants/ana/down", json!(true))],
    );
    let fire = json!({ "combatantIds": ["ana", "orc", "bo"], "amount": 9, "half": ["bo"] });
    changes(
        &started(),
        "damage",
        fire,
        &[
            (of_ana, points(13, 0)),
            ("/combatants/orc/hitPoints/current", json!(6)),
            ("/combatants/bo/hitPoints/current", json!(14)),
        ],
    );
    let down = after(&started(), "damage", &json!({ "combatantId": "bo", "amount": 18 }));
    changes(
        &down,
        "heal",
        json!({ "combatantIds": ["bo", "ana"], "amount": 99 }),
        &[
            ("/combatants/bo/hitPoints/current", json!(18)),
            ("/combatants/bo/down", json!(false)),
            (of_ana, points(22, 0)),
        ],
    );
    for payload in [
        json!({ "combatantId": "ana", "amount": -1 }),
        json!({ "combatantId": "ana", "amount": 1.5 }),
        json!({ "combatantId": "ana" }),
        json!({ "combatantId": "ana", "combatantIds": ["bo"], "amount": 1 }),
        json!({ "combatantIds": ["bo", "bo"], "amount": 1 }),
        json!({ "combatantIds": [], "amount": 1 }),
        json!({ "combatantIds": ["bo"], "half": ["ana"], "amount": 1 }),
        json!({ "combatantId": "nobody", "amount": 1 }),
    ] {
        rejection(&started(), "host", "damage", &payload);
    }
}

#[test]
fn who_concentrates_is_told_what_to_roll_against() {
    let state = after(&started(), "addCondition", &json!({ "combatantIds": ["ana", "bo"], "name": "concentrating" }));
    let told = |payload: Value| attempt(&state, "host", "damage", &payload, 1).unwrap().payload.unwrap();
    assert_eq!(told(json!({ "combatantId": "ana", "amount": 7 }))["check"]["dc"], 10);
    let fire = told(json!({ "combatantIds": ["ana", "orc"], "amount": 45 }));
    assert_eq!(fire["check"], json!({ "combatantId": "ana", "dc": 22 }));
    let both = told(json!({ "combatantIds": ["ana", "bo"], "amount": 45, "half": ["bo"] }));
    assert_eq!(both["checks"], json!([{ "combatantId": "ana", "dc": 22 }, { "combatantId": "bo", "dc": 11 }]));
    assert!(told(json!({ "combatantId": "orc", "amount": 45 })).get("check").is_none());
}

#[test]
fn conditions_are_renewed_and_counters_stay_in_their_bounds() {
    let state = started();
    let twice = play(
        &state,
        &[
            ("addCondition", json!({ "combatantIds": ["orc", "bo"], "name": "poisoned", "rounds": 3 })),
            ("addCondition", json!({ "combatantId": "orc", "name": "poisoned" })),
        ],
    );
    assert_eq!(twice["combatants"]["orc"]["conditions"], json!([{ "name": "poisoned" }]));
    assert_eq!(twice["combatants"]["bo"]["conditions"], json!([{ "name": "poisoned", "rounds": 3 }]));
    changes(
        &twice,
        "removeCondition",
        json!({ "combatantIds": ["orc", "ana"], "name": "poisoned" }),
        &[("/combatants/orc/conditions", json!([]))],
    );
    assert!(
        rejection(&twice, "host", "removeCondition", &json!({ "combatantId": "ana", "name": "poisoned" }))
            .contains("no condition")
    );
    let slots =
        after(&state, "setCounter", &json!({ "combatantId": "ana", "name": "slots", "value": 2, "maximum": 4 }));
    let of = "/combatants/ana/counters/slots";
    for (change, value) in [(json!(-1), 1), (json!(-9), 0), (json!(9), 4)] {
        let payload = json!({ "combatantId": "ana", "name": "slots", "delta": change });
        changes(&slots, "setCounter", payload, &[(of, json!({ "value": value, "maximum": 4 }))]);
    }
    changes(
        &slots,
        "setCounter",
        json!({ "combatantId": "ana", "name": "slots", "value": 9 }),
        &[(of, json!({ "value": 4, "maximum": 4 }))],
    );
    for payload in [
        json!({ "combatantId": "ana", "name": "slots" }),
        json!({ "combatantId": "ana", "name": "x", "value": 1, "delta": 1 }),
    ] {
        assert!(rejection(&state, "host", "setCounter", &payload).contains("value or delta"));
    }
}

#[test]
fn each_status_takes_its_actions() {
    let planning = planned();
    for kind in ["nextTurn", "endTurn", "previousTurn", "pause", "resume", "complete"] {
        rejection(&planning, "host", kind, &json!({}));
    }
    rejection(&create(&json!({})), "host", "start", &json!({}));
    rejection(&started(), "host", "start", &json!({}));
    let paused = after(&started(), "pause", &json!({ "text": "tea" }));
    assert_eq!(
        (&paused["status"], &paused["turn"], &paused["notes"][0]["text"]),
        (&json!("paused"), &json!("ana"), &json!("tea"))
    );
    for kind in ["nextTurn", "endTurn", "previousTurn", "pause", "start"] {
        rejection(&paused, "host", kind, &json!({}));
    }
    rejection(&paused, "host", "delayTurn", &json!({ "after": "bo" }));
    assert!(attempt(&paused, "ana", "damage", &json!({ "combatantId": "ana", "amount": 1 }), 1).is_ok());
    changes(&paused, "resume", json!({}), &[("/status", json!("active")), ("/turn", json!("ana"))]);
    let completed = after(&paused, "complete", &json!({}));
    assert_eq!((&completed["status"], &completed["turn"]), (&json!("completed"), &Value::Null));
    for kind in ["resume", "complete", "reset", "start", "heal"] {
        assert!(rejection(&completed, "host", kind, &json!({})).contains("only note"), "{kind}");
    }
    changes(&completed, "note", json!({ "text": "well fought" }), &[("/notes/1/by", json!("host"))]);
    rejection(&completed, "host", "note", &json!({}));
    let reset = after(&started(), "reset", &json!({ "keepParty": true }));
    assert_eq!((&reset["order"], &reset["round"], &reset["turn"]), (&json!(["ana", "bo"]), &json!(0), &Value::Null));
    assert_eq!(reset["combatants"]["ana"]["conditions"], json!([]));
    assert_eq!(reset["hidden"]["combatants"], json!({}));
    changes(&started(), "reset", json!({ "keepParty": false }), &[("/order", json!([]))]);
    assert!(rejection(&started(), "host", "dance", &json!({})).contains("an encounter knows"));
}

#[test]
fn a_player_acts_for_their_own_combatant_alone() {
    let own = |kind: &str| match kind {
        "setInitiative" => json!({ "combatantId": "ana", "initiative": 3 }),
        "addCondition" => json!({ "combatantId": "ana", "name": "prone" }),
        "removeCondition" => json!({ "combatantId": "ana", "name": "prone" }),
        "note" => json!({ "text": "ouch" }),
        "endTurn" => json!({}),
        _ => json!({ "combatantId": "ana", "amount": 2 }),
    };
    for kind in [
        "damage",
        "heal",
        "setTemporaryHitPoints",
        "addCondition",
        "removeCondition",
        "setInitiative",
        "note",
        "endTurn",
    ] {
        attempt(&started(), "ana", kind, &own(kind), 1).unwrap();
        assert!(attempt(&started(), "cat", kind, &own(kind), 1).is_err(), "{kind}");
        if !["note", "endTurn"].contains(&kind) {
            let message = rejection(&started(), "bo", kind, &own(kind));
            assert!(message.contains("not your combatant"), "{kind}: {message}");
        }
    }
    assert!(rejection(&started(), "bo", "endTurn", &json!({})).contains("not your turn"));
    let both = json!({ "combatantIds": ["ana", "bo"], "amount": 1 });
    assert!(rejection(&started(), "ana", "damage", &both).contains("bo is not your combatant"));
    for kind in [
        "start",
        "nextTurn",
        "previousTurn",
        "delayTurn",
        "reveal",
        "reset",
        "pause",
        "addCombatant",
        "setCounter",
        "reorder",
        "rollInitiative",
    ] {
        assert!(rejection(&started(), "ana", kind, &json!({})).contains("only the host"), "{kind}");
    }
}

#[test]
fn every_monster_of_the_reference_document_can_be_met() {
    let monsters: Vec<Value> =
        serde_json::from_str(include_str!("../../../../tests/fixtures/srd/monsters.json")).unwrap();
    assert!(monsters.len() > 300);
    for monster in monsters {
        let documents = StoredEncounter(BTreeMap::from([("creatures/it", monster.clone())]));
        let payload = json!({ "creatureId": "it" });
        let action = Action { kind: "addCombatant", payload: &payload, at: Timestamp::from_millis(0), seed: [0; 32] };
        let applied = EncounterRules.decide(&create(&json!({})), &action, &actor("host"), &documents).unwrap();
        let met = applied.state["combatants"].as_object().unwrap().values().next().unwrap();
        let points = json!({ "current": monster["hitPoints"], "maximum": monster["hitPoints"], "temporary": 0 });
        assert_eq!(
            (&met["name"], &met["armorClass"], &met["hitPoints"]),
            (&monster["name"], &monster["armorClass"], &points)
        );
    }
}
