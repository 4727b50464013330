//! A three-way merge of states: what two sides made of the same base. Pure.
//!
//! What one side changed is that side's. What both changed is decided by the [strategy](strategies::Strategy) of its
//! path where there is one, else by what it is: objects are merged member by member, arrays as
//! [sets](arrays), times and members named `status` by which is later. Anything else is not guessed: the server's value
//! stays, and a [`Conflict`] is told.

mod arrays;
pub(crate) mod strategies;

use serde_json::{Map, Number, Value};

use self::strategies::{MergeRules, Strategy};
use super::json::{equal, escape, whole_value};
use super::patch;
use crate::base::clock::Timestamp;

/// Name of the member whose most recent value counts.
const STATUS: &str = "status";

/// What is merged.
pub(crate) struct Sides<'a, 't> {
    /// What both began with.
    pub base: &'a Value,
    /// What the device made of it.
    pub local: &'a Value,
    /// What the server made of it.
    pub server: &'a Value,
    /// When the device's state was made.
    pub local_at: Timestamp,
    /// When the server last changed what stands at a path.
    pub server_at: &'t dyn Fn(&str) -> Timestamp,
}

/// What comes of a merge of states that live for `'a`.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Merged<'a> {
    pub state: Value,
    /// What both changed and a rule decided, in the order of the state.
    pub resolved: Vec<Resolved<'a>>,
    /// What both changed and nobody decided: the state has the server's value.
    pub conflicts: Vec<Conflict<'a>>,
}

/// The values of a place; `None`: nothing stands there.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct SideValues<'a> {
    pub base: Option<&'a Value>,
    pub local: Option<&'a Value>,
    pub server: Option<&'a Value>,
}

/// A place that both sides changed and a rule decided.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Resolved<'a> {
    /// A JSON Pointer in which elements with an id are named by it.
    pub path: String,
    /// The rule's name.
    pub rule: &'static str,
    pub values: SideValues<'a>,
}

/// A place that both sides changed, for a person to decide.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Conflict<'a> {
    /// As in [`Resolved`].
    pub path: String,
    pub values: SideValues<'a>,
    /// The value of the side that is there, or else that is later.
    pub suggestion: Option<&'a Value>,
}

/// Merges what two sides made of a base.
pub(crate) fn merge<'a>(sides: &Sides<'a, '_>, rules: &MergeRules) -> Merged<'a> {
    let mut merger = Merger { sides, rules, resolved: Vec::new(), conflicts: Vec::new() };
    let place = SideValues { base: Some(sides.base), local: Some(sides.local), server: Some(sides.server) };
    let mut state = merger.merge_path("", place).unwrap_or(Value::Null);
    merger.enforce_units(&mut state);
    Merged { state, resolved: merger.resolved, conflicts: merger.conflicts }
}

/// The state alone that comes of edits that were made at one moment: base, local, server.
pub fn merged_state([base, local, server]: [&Value; 3], rules: &MergeRules) -> Value {
    let at = Timestamp::from_millis(0);
    merge(&Sides { base, local, server, local_at: at, server_at: &|_| at }, rules).state
}

struct Merger<'s, 'a> {
    sides: &'s Sides<'a, 's>,
    rules: &'s MergeRules,
    resolved: Vec<Resolved<'a>>,
    conflicts: Vec<Conflict<'a>>,
}

impl<'a> Merger<'_, 'a> {
    /// What stands at `path` after the merge.
    fn merge_path(&mut self, path: &str, place: SideValues<'a>) -> Option<Value> {
        let SideValues { base, local, server } = place;
        let strategy = self.rules.strategy(path);
        if is_equal(local, base) {
            return server.cloned();
        }
        if is_equal(server, base) {
            return local.cloned();
        }
        if strategy == Some(Strategy::Counter)
            && let Some(sum) = sum(place)
        {
            return self.resolve(path, "counter", place, Some(sum));
        }
        // Changes add up although both came to the same: what holds counters is looked through.
        let structure = matches!(server, Some(Value::Object(_) | Value::Array(_)));
        if is_equal(local, server) && !(structure && self.rules.counts_below(path)) {
            return server.cloned();
        }
        match strategy {
            Some(Strategy::Local) => self.resolve(path, "local", place, local.cloned()),
            Some(Strategy::Server) => self.resolve(path, "server", place, server.cloned()),
            Some(Strategy::Manual) => self.conflict(path, place),
            Some(Strategy::Timestamp) => self.later_time(path, place),
            Some(Strategy::Status) => self.most_recent(path, place),
            Some(Strategy::Union) => self.structure(path, place, arrays::Removals::Ignored),
            Some(Strategy::Counter) | None => self.structure(path, place, arrays::Removals::Kept),
        }
    }

    fn structure(&mut self, path: &str, place: SideValues<'a>, removals: arrays::Removals) -> Option<Value> {
        match place {
            SideValues {
                base: None | Some(Value::Object(_)),
                local: Some(Value::Object(local)),
                server: Some(Value::Object(server)),
            } => {
                let base = place.base.and_then(Value::as_object);
                Some(Value::Object(self.members(path, base, local, server)))
            }
            SideValues {
                base: None | Some(Value::Array(_)),
                local: Some(Value::Array(local)),
                server: Some(Value::Array(server)),
            } => {
                let base = place.base.and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
                let merged = self.elements(path, [base, local, server], removals);
                let merged = Value::Array(merged);
                match is_equal(place.local, place.server) {
                    true => Some(merged),
                    false => self.resolve(path, "set", place, Some(merged)),
                }
            }
            SideValues { base: Some(base), local: Some(local), server: Some(server) }
                if [base, local, server].into_iter().all(|value| parse_time(value).is_some()) =>
            {
                self.later_time(path, place)
            }
            _ if path.rsplit('/').next() == Some(STATUS) && place.local.is_some() && place.server.is_some() => {
                self.most_recent(path, place)
            }
            _ => self.conflict(path, place),
        }
    }

    fn members(
        &mut self,
        path: &str,
        base: Option<&'a Map<String, Value>>,
        local: &'a Map<String, Value>,
        server: &'a Map<String, Value>,
    ) -> Map<String, Value> {
        let mut merged = Map::new();
        let added = local.keys().filter(|name| !server.contains_key(*name));
        let mut names: Vec<&String> = server.keys().chain(added).collect();
        names.sort();
        for name in names {
            let place = SideValues {
                base: base.and_then(|base| base.get(name)),
                local: local.get(name),
                server: server.get(name),
            };
            if let Some(value) = self.merge_path(&format!("{path}/{}", escape(name)), place) {
                merged.insert(name.clone(), value);
            }
        }
        merged
    }

    /// The later of two times; a value that is no time is left to a person.
    fn later_time(&mut self, path: &str, place: SideValues<'a>) -> Option<Value> {
        let (Some(local), Some(server)) = (place.local.and_then(parse_time), place.server.and_then(parse_time)) else {
            return self.conflict(path, place);
        };
        let value = if local > server { place.local } else { place.server };
        self.resolve(path, "timestamp", place, value.cloned())
    }

    /// The most recent value that is not null.
    fn most_recent(&mut self, path: &str, place: SideValues<'a>) -> Option<Value> {
        let value = self.most_recent_side(path, place);
        self.resolve(path, STATUS, place, value.cloned())
    }

    fn most_recent_side(&self, path: &str, place: SideValues<'a>) -> Option<&'a Value> {
        let device_is_later = self.sides.local_at > (self.sides.server_at)(path);
        let (first, second) = if device_is_later { (place.local, place.server) } else { (place.server, place.local) };
        first.filter(|value| !value.is_null()).or(second.filter(|value| !value.is_null())).or(first)
    }

    fn resolve(
        &mut self,
        path: &str,
        rule: &'static str,
        place: SideValues<'a>,
        value: Option<Value>,
    ) -> Option<Value> {
        self.resolved.push(Resolved { path: path.to_owned(), rule, values: place });
        value
    }

    /// The server's value stays.
    fn conflict(&mut self, path: &str, place: SideValues<'a>) -> Option<Value> {
        let suggestion = match (place.local, place.server) {
            (Some(_), Some(_)) => self.most_recent_side(path, place),
            (one, other) => one.or(other),
        };
        self.conflicts.push(Conflict { path: path.to_owned(), values: place, suggestion });
        place.server.cloned()
    }

    /// Of members that belong together the server's hold when both sides changed any of them.
    fn enforce_units(&mut self, state: &mut Value) {
        let Sides { base, local, server, .. } = *self.sides;
        for unit in &self.rules.units {
            let changed = |side: &Value| unit.iter().any(|name| !is_equal(side.get(name), base.get(name)));
            let differ = unit.iter().any(|name| !is_equal(local.get(name), server.get(name)));
            if !(changed(local) && changed(server) && differ) {
                continue;
            }
            for name in unit {
                let path = format!("/{}", escape(name));
                let outside = |other: &str| other != path && !other.starts_with(&format!("{path}/"));
                self.resolved.retain(|resolved| outside(&resolved.path));
                self.conflicts.retain(|conflict| outside(&conflict.path));
                let place = SideValues { base: base.get(name), local: local.get(name), server: server.get(name) };
                if let Value::Object(members) = &mut *state {
                    match place.server {
                        Some(value) => drop(members.insert(name.clone(), value.clone())),
                        None => drop(members.remove(name)),
                    }
                }
                if !is_equal(place.local, place.server) {
                    self.resolve(&path, "unit", place, place.server.cloned());
                }
            }
        }
    }
}

fn is_equal(one: Option<&Value>, other: Option<&Value>) -> bool {
    match (one, other) {
        (Some(one), Some(other)) => equal(one, other),
        (None, None) => true,
        _ => false,
    }
}

fn parse_time(value: &Value) -> Option<Timestamp> {
    value.as_str().and_then(Timestamp::parse)
}

/// The base and what both sides added to it; `None`: not all are numbers.
fn sum(place: SideValues<'_>) -> Option<Value> {
    let number = |value: Option<&Value>| value.and_then(Value::as_number).cloned();
    let base = place.base.map_or_else(|| Some(Number::from(0)), |base| base.as_number().cloned())?;
    let (local, server) = (number(place.local)?, number(place.server)?);
    if let (Some(base), Some(local), Some(server)) = (whole_value(&base), whole_value(&local), whole_value(&server)) {
        return i64::try_from(server + (local - base)).ok().map(Value::from);
    }
    let sum = server.as_f64()? + local.as_f64()? - base.as_f64()?;
    Number::from_f64(sum).map(Value::Number)
}

/// What stands at a path in which elements with an id are named by it.
pub(crate) fn value_at<'a>(state: &'a Value, path: &str, rules: &MergeRules) -> Option<&'a Value> {
    let mut value = state;
    let mut walked = String::new();
    for token in patch::tokens(path) {
        value = match value {
            Value::Object(members) => members.get(&*token)?,
            Value::Array(items) => items.get(arrays::index_of(items, &token, rules.id_member(&walked))?)?,
            _ => return None,
        };
        walked.push('/');
        walked.push_str(&escape(&token));
    }
    Some(value)
}

/// Puts `value` at such a path; `None` takes away what stands there. Returns whether there is a place for it.
pub(crate) fn replace_at(state: &mut Value, path: &str, rules: &MergeRules, value: Option<Value>) -> bool {
    let tokens = patch::tokens(path);
    let Some((last, above)) = tokens.split_last() else { return false };
    let mut holder = state;
    let mut walked = String::new();
    for token in above {
        let next = match holder {
            Value::Object(members) => members.get_mut(&**token),
            Value::Array(items) => {
                let at = arrays::index_of(items, token, rules.id_member(&walked));
                at.and_then(|at| items.get_mut(at))
            }
            _ => None,
        };
        let Some(next) = next else { return false };
        holder = next;
        walked.push('/');
        walked.push_str(&escape(token));
    }
    match (holder, value) {
        (Value::Object(members), Some(value)) => drop(members.insert(last.to_string(), value)),
        (Value::Object(members), None) => drop(members.remove(&**last)),
        (Value::Array(items), value) => match (arrays::index_of(items, last, rules.id_member(&walked)), value) {
            (Some(at), Some(value)) => items.splice(at..=at, [value]).for_each(drop),
            (Some(at), None) => drop(items.remove(at)),
            (None, Some(value)) => items.push(value),
            (None, None) => {}
        },
        _ => return false,
    }
    true
}

/// Whether what stands at one path holds what stands at the other.
pub(crate) fn overlaps(one: &str, other: &str) -> bool {
    let holds = |outer: &str, inner: &str| {
        inner.strip_prefix(outer).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    holds(one, other) || holds(other, one)
}
