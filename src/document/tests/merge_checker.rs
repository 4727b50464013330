//! Checks merges independently of how they are made: from the four states alone.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::document::merge::{SideValues, Sides, merge};
use crate::document::rules::{Actor, Rules};

/// What a collection's merges may do beyond what two sides meant.
pub(crate) struct Expectations {
    /// Whether changes of the number at a path add up, within 0 and the number beside it of this name.
    pub adds_up: fn(&str) -> Option<&'static str>,
    /// Whether a path follows from others.
    pub follows: fn(&str) -> bool,
    /// Members of which the server's hold when both changed one.
    pub unit: &'static [&'static str],
    /// The member that names elements of the arrays at a path that ends so.
    pub names: &'static [(&'static str, &'static str)],
}

/// Every scalar by its place, and every element of an array without an id as a place of its own.
type Leaves = BTreeMap<String, Value>;

fn leaves(value: &Value, path: &str, expect: &Expectations, out: &mut Leaves) {
    match value {
        Value::Object(members) => {
            out.insert(format!("{path}/"), Value::Null);
            for (name, member) in members {
                leaves(member, &format!("{path}/{name}"), expect, out);
            }
        }
        Value::Array(items) => {
            let name = expect.names.iter().find(|(end, _)| path.ends_with(end)).map_or("id", |(_, name)| name);
            for item in items {
                match item.get(name).and_then(Value::as_str) {
                    Some(id) => leaves(item, &format!("{path}/{id}"), expect, out),
                    None => drop(out.insert(format!("{path}/={item}"), Value::Null)),
                }
            }
        }
        scalar => drop(out.insert(path.to_owned(), scalar.clone())),
    }
}

/// Merges as the collection does it, and checks what comes of it: whatever one side alone changed is as that side has
/// it, and what both changed is one of the two, their sum, or a conflict at which the server's value stays. Returns
/// the number of conflicts.
pub(crate) fn checked_merge(rules: &dyn Rules, actor: &Actor, sides: &Sides<'_, '_>, expect: &Expectations) -> usize {
    let merged = merge(sides, &rules.merge_rules());
    let state = rules.accept_merge(sides.server, merged.state.clone(), actor).expect("a merge is accepted");
    assert_eq!(
        rules.accept_merge(sides.server, state.clone(), actor).as_ref(),
        Ok(&state),
        "asked again it is the same"
    );
    let of = |value: &Value| {
        let mut out = Leaves::new();
        leaves(value, "", expect, &mut out);
        out
    };
    let [base, local, server, now] = [sides.base, sides.local, sides.server, &state].map(of);
    let differs = |side: &Value| expect.unit.iter().any(|name| side.get(name) != sides.base.get(name));
    let held = differs(sides.local) && differs(sides.server);
    // Whose turn it is may have gone on the other side: then it passes on.
    let stays = |side: &Value| {
        let there =
            |turn: &Value| turn.is_null() || state.get("order").and_then(Value::as_array).unwrap().contains(turn);
        side.get("turn").is_none_or(there)
    };
    let stay = stays(sides.local) && stays(sides.server);
    let paths: BTreeSet<&String> = [&base, &local, &server, &now].into_iter().flat_map(BTreeMap::keys).collect();
    for path in paths {
        let in_unit = expect.unit.iter().any(|name| path.strip_prefix('/').is_some_and(|p| p.starts_with(name)));
        if (expect.follows)(path) || (in_unit && !stay) {
            continue;
        }
        let [b, l, s, m] = [&base, &local, &server, &now].map(|leaves| leaves.get(path));
        let conflict =
            merged.conflicts.iter().any(|conflict| format!("{path}/").starts_with(&format!("{}/", conflict.path)));
        let meant = match () {
            () if conflict || (in_unit && held) => m == s,
            () if l == b => m == s,
            () if s == b => m == l,
            () => match (expect.adds_up)(path) {
                Some(bound) => m.map(|m| m.as_i64().unwrap()) == sum(b, l, s, bound_of(&now, path, bound)),
                None => m == l || m == s,
            },
        };
        let sides = [sides.base, sides.local, sides.server].map(|side| serde_json::to_string_pretty(side).unwrap());
        assert!(meant, "{path}: base {b:?}, device {l:?}, server {s:?}, merged {m:?}\n{}", sides.join("\n"));
    }
    for conflict in &merged.conflicts {
        let SideValues { base, local, server } = &conflict.values;
        assert!(local != base && server != base && local != server, "no conflict: {conflict:?}");
    }
    merged.conflicts.len()
}

fn bound_of(leaves: &Leaves, path: &str, name: &str) -> i64 {
    let (holder, _) = path.rsplit_once('/').unwrap();
    leaves.get(&format!("{holder}/{name}")).and_then(Value::as_i64).unwrap_or(i64::MAX)
}

fn sum(base: Option<&Value>, local: Option<&Value>, server: Option<&Value>, bound: i64) -> Option<i64> {
    let number = |value: Option<&Value>| value.and_then(Value::as_i64);
    Some((number(server)? + number(local)? - number(base).unwrap_or(0)).clamp(0, bound))
}
