//! The three-way merge.

use std::collections::BTreeSet;

use serde_json::json;

use super::*;
use crate::document::merge::strategies::{MergeRules, Strategy as MergeStrategy};
use crate::document::merge::{Merged, SideValues, Sides, merge};
use crate::property_tests::cases;

const EARLIER: Timestamp = Timestamp::from_millis(1_000);
const LATER: Timestamp = Timestamp::from_millis(2_000);

fn merged_at<'a>(
    base: &'a Value,
    local: &'a Value,
    server: &'a Value,
    times: (Timestamp, Timestamp),
    rules: &MergeRules,
) -> Merged<'a> {
    let server_at = |_: &str| times.1;
    merge(&Sides { base, local, server, local_at: times.0, server_at: &server_at }, rules)
}

fn merged<'a>(base: &'a Value, local: &'a Value, server: &'a Value) -> Merged<'a> {
    merged_at(base, local, server, (EARLIER, LATER), &MergeRules::default())
}

/// What a member `x` becomes, and which rule decided it: `conflict`, or nothing.
#[track_caller]
fn check(sides: [Value; 3], rules: &MergeRules, expect: Value, rule: &str) {
    let [base, local, server] =
        sides.clone().map(|value| if value == json!("-") { json!({}) } else { json!({ "x": value }) });
    let merged = merged_at(&base, &local, &server, (LATER, EARLIER), rules);
    let expect = if expect == json!("-") { json!({}) } else { json!({ "x": expect }) };
    let mut told: Vec<&str> = merged.resolved.iter().map(|resolved| resolved.rule).collect();
    told.extend(merged.conflicts.iter().map(|_| "conflict"));
    assert_eq!((&merged.state, told.join(" ").as_str()), (&expect, rule), "{sides:?}");
}

#[test]
fn each_kind_of_place_is_merged_as_it_is_said() {
    let none = MergeRules::default();
    let times = ["2026-01-01T00:00:00Z", "2026-01-02T00:00:00+01:00", "2026-01-03T00:00:00Z"].map(Value::from);
    let [t1, t2, t3] = times;
    for (base, local, server, expect, rule) in [
        (json!(1), json!(2), json!(1), json!(2), ""),
        (json!(1), json!(1), json!(2), json!(2), ""),
        (json!(1), json!(2), json!(2.0), json!(2.0), ""),
        (json!(1), json!("-"), json!(1), json!("-"), ""),
        (json!(1), json!(1), json!("-"), json!("-"), ""),
        (json!(1), json!("-"), json!(2), json!(2), "conflict"),
        (json!(1), json!(2), json!("-"), json!("-"), "conflict"),
        (json!(1), json!(2), json!(3), json!(3), "conflict"),
        (json!("-"), json!(2), json!(3), json!(3), "conflict"),
        (json!({ "a": 1, "b": 1 }), json!({ "a": 2, "b": 1 }), json!({ "a": 1 }), json!({ "a": 2 }), ""),
        (json!("-"), json!({ "a": 2 }), json!({ "b": 1 }), json!({ "a": 2, "b": 1 }), ""),
        (
            json!({ "status": "a" }),
            json!({ "status": "b" }),
            json!({ "status": "c" }),
            json!({ "status": "b" }),
            "status",
        ),
        (
            json!({ "status": "a" }),
            json!({ "status": null }),
            json!({ "status": "c" }),
            json!({ "status": "c" }),
            "status",
        ),
        (t1.clone(), t2.clone(), t3.clone(), t3.clone(), "timestamp"),
        (t1, t3.clone(), t2, t3, "timestamp"),
        (json!([1, 2, 3]), json!([1, 3, 4]), json!([0, 1, 2, 3]), json!([0, 1, 3, 4]), "set"),
        (json!([1]), json!([1, 5]), json!([1, 6]), json!([1, 5, 6]), "set"),
        (json!([1]), json!([5, 1]), json!([6, 1]), json!([5, 6, 1]), "set"),
        (json!([]), json!([1, 1, 2]), json!([1.0]), json!([1.0, 2]), "set"),
        (json!([1]), json!([2]), json!({ "a": 1 }), json!({ "a": 1 }), "conflict"),
        (
            json!([{ "id": "a", "n": 1, "m": 1 }, { "id": "b" }]),
            json!([{ "id": "a", "n": 2, "m": 1 }, { "id": "c" }]),
            json!([{ "id": "b" }, { "id": "a", "n": 1, "m": 2 }]),
            json!([{ "id": "a", "n": 2, "m": 2 }, { "id": "c" }]),
            "set",
        ),
        (
            json!([{ "id": 1, "n": 1 }]),
            json!([]),
            json!([{ "id": 1, "n": 2 }]),
            json!([{ "id": 1, "n": 2 }]),
            "set conflict",
        ),
        (json!([{ "key": "k", "n": 1 }]), json!([{ "key": "k", "n": 2 }]), json!([]), json!([]), "set conflict"),
    ] {
        check([base, local, server], &none, expect, rule);
    }
}

#[test]
fn each_strategy_decides_its_paths() {
    let with = |strategy: &str| {
        let strategy = MergeStrategy::named(strategy).unwrap();
        MergeRules::default().with_strategy("/x", strategy)
    };
    for (strategy, base, local, server, expect, rule) in [
        ("counter", json!(10), json!(7), json!(12), json!(9), "counter"),
        ("counter", json!(10), json!(7), json!(7), json!(4), "counter"),
        ("counter", json!("-"), json!(2), json!(3), json!(5), "counter"),
        ("counter", json!(0.5), json!(1.5), json!(2), json!(3.0), "counter"),
        ("counter", json!(10.0), json!(7), json!(12.0), json!(9), "counter"),
        (
            "counter",
            json!(1.0),
            json!(9_007_199_254_740_993_u64),
            json!(2),
            json!(9_007_199_254_740_994_u64),
            "counter",
        ),
        ("counter", json!(1), json!("two"), json!(3), json!(3), "conflict"),
        ("local", json!(1), json!(2), json!(3), json!(2), "local"),
        ("local", json!(1), json!("-"), json!(3), json!("-"), "local"),
        ("server", json!(1), json!(2), json!(3), json!(3), "server"),
        ("manual", json!([1]), json!([1, 2]), json!([1, 3]), json!([1, 3]), "conflict"),
        (
            "timestamp",
            json!(null),
            json!("2026-01-02T00:00:00Z"),
            json!("2026-01-01T00:00:00Z"),
            json!("2026-01-02T00:00:00Z"),
            "timestamp",
        ),
        ("timestamp", json!(1), json!(2), json!(3), json!(3), "conflict"),
        ("status", json!(1), json!(2), json!(3), json!(2), "status"),
        ("union", json!([1, 2]), json!([2, 3]), json!([1, 4]), json!([2, 3, 1, 4]), "set"),
    ] {
        check([base, local, server], &with(strategy), expect, rule);
    }
    let wild = MergeRules::default().with_strategy("/x/*/n", MergeStrategy::Counter);
    check(
        [json!({ "a": { "n": 1 } }), json!({ "a": { "n": 2 } }), json!({ "a": { "n": 3 } })],
        &wild,
        json!({ "a": { "n": 4 } }),
        "counter",
    );
    let named = MergeRules::default().with_id_member("/x", "name");
    let one = |rounds: u32| json!([{ "name": "prone", "rounds": rounds, "by": rounds % 2 }]);
    check([one(1), one(3), json!([])], &named, json!([]), "set conflict");
}

#[test]
fn of_a_unit_the_servers_members_hold_together() {
    let rules = MergeRules::default().with_unit(&["turn", "round"]);
    let state = |turn: &str, round: u32| json!({ "turn": turn, "round": round, "n": 1 });
    let [base, local, server] = [state("a", 1), state("b", 2), state("c", 1)];
    let both = merged_at(&base, &local, &server, (LATER, EARLIER), &rules);
    assert_eq!((both.state, both.conflicts.len()), (state("c", 1), 0));
    assert_eq!(
        both.resolved.iter().map(|r| (r.path.as_str(), r.rule)).collect::<Vec<_>>(),
        [("/turn", "unit"), ("/round", "unit")]
    );
    let one = merged_at(&base, &local, &base, (LATER, EARLIER), &rules);
    assert_eq!(one.state, state("b", 2));
}

#[test]
fn a_conflict_tells_where_and_what_and_paths_are_escaped() {
    let state = |n: u32| json!({ "a/b": { "items": [{ "id": "x~y", "n": n }] } });
    let [base, local, server] = [1, 2, 3].map(state);
    let found = merged(&base, &local, &server);
    let conflict = &found.conflicts[0];
    assert_eq!(conflict.path, "/a~1b/items/x~0y/n");
    let [base, local, server] = [json!(1), json!(2), json!(3)];
    assert_eq!(conflict.values, SideValues { base: Some(&base), local: Some(&local), server: Some(&server) });
    assert_eq!(conflict.suggestion, Some(&server), "the later one");
}

/// A state and two that two sides made of it: members and elements are kept, changed, dropped or added.
fn three_states() -> impl Strategy<Value = (Value, Value, Value)> {
    (tree(), tree(), tree(), any::<u64>()).prop_map(|(base, one, other, seed)| {
        let state = |value: &Value| json!({ "a": value, "list": [value, 1, { "id": "i", "v": value }] });
        let pick = |bits: u64, fresh: &Value| if bits.is_multiple_of(3) { state(fresh) } else { state(&base) };
        let mut local = pick(seed, &one);
        let mut server = pick(seed / 3, &other);
        local["l"] = one;
        if seed.is_multiple_of(2) {
            server["list"] = json!([2, { "id": "i", "v": other }]);
        }
        (state(&base), local, server)
    })
}

/// The elements without an id, by what they are worth: 1 and 1.0 are one element.
fn elements(value: &Value) -> BTreeSet<String> {
    let without_id = value.as_array().into_iter().flatten().filter(|element| element.get("id").is_none());
    without_id.map(|element| by_worth(element).to_string()).collect()
}

/// The same value with every number that is whole and has an exact `i64` written as one.
fn by_worth(value: &Value) -> Value {
    match value {
        Value::Number(number) => match number.as_f64() {
            Some(float) if number.is_f64() && float.fract() == 0.0 && float.abs() < 9e15 => Value::from(float as i64),
            _ => value.clone(),
        },
        Value::Array(items) => items.iter().map(by_worth).collect(),
        Value::Object(members) => members.iter().map(|(name, value)| (name.clone(), by_worth(value))).collect(),
        other => other.clone(),
    }
}

fn swap(SideValues { base, local, server }: SideValues<'_>) -> SideValues<'_> {
    SideValues { base, local: server, server: local }
}

proptest! {
    #![proptest_config(cases(128))]

    #[test]
    fn merging_is_deterministic_and_an_unchanged_side_changes_nothing((base, local, server) in three_states()) {
        prop_assert_eq!(merged(&base, &local, &server), merged(&base, &local, &server));
        for (one, other, expect) in [(&base, &server, &server), (&local, &base, &local), (&local, &local, &local)] {
            let found = merged(&base, one, other);
            prop_assert_eq!(&found.state, expect);
            prop_assert!(found.conflicts.is_empty() && found.resolved.is_empty());
        }
    }

    #[test]
    fn swapping_the_sides_swaps_local_and_server_and_nothing_else((base, local, server) in three_states()) {
        let there = merged(&base, &local, &server);
        let back = merged_at(&base, &server, &local, (LATER, EARLIER), &MergeRules::default());
        let mut told: Vec<_> = there.conflicts.iter().map(|c| (c.path.clone(), c.values)).collect();
        told.sort_by(|one, other| one.0.cmp(&other.0));
        let mut swapped: Vec<_> = back.conflicts.iter().map(|c| (c.path.clone(), swap(c.values))).collect();
        swapped.sort_by(|one, other| one.0.cmp(&other.0));
        prop_assert_eq!(told, swapped);
        let paths = [&there, &back]
            .map(|found| found.resolved.iter().map(|r| (r.path.clone(), r.rule)).collect::<BTreeSet<_>>());
        prop_assert_eq!(&paths[0], &paths[1]);
        if there.conflicts.is_empty() {
            prop_assert_eq!(elements(&there.state["list"]), elements(&back.state["list"]));
        }
    }

    #[test]
    fn arrays_keep_what_either_side_added_and_lose_what_either_removed((base, local, server) in three_states()) {
        let found = merged(&base, &local, &server);
        let [base, local, server, now] = [&base, &local, &server, &found.state].map(|state| elements(&state["list"]));
        for side in [&local, &server] {
            prop_assert!(side.difference(&base).all(|added| now.contains(added)));
            prop_assert!(base.difference(side).all(|removed| !now.contains(removed)));
        }
        prop_assert!(now.iter().all(|element| local.contains(element) || server.contains(element)));
    }
}
