//! Arrays as sets: elements with an id are matched by it, others by their value. What either side added stays, what
//! either removed goes. The order is the server's, with the device's additions behind the neighbours that they had.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};

use serde_json::{Number, Value};

use super::{Merger, SideValues};
use crate::document::json::escape;

/// The members that name an element.
const ID_MEMBERS: [&str; 3] = ["id", "_id", "key"];

/// Whether what one side removed goes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Removals {
    Kept,
    /// It stays.
    Ignored,
}

/// What makes two elements one.
#[derive(Clone, PartialEq, Eq, Hash)]
enum ElementIdentity<'a> {
    Id(Cow<'a, str>),
    Value(String),
}

/// The elements of an array, each once.
struct Elements<'a> {
    order: Vec<(ElementIdentity<'a>, &'a Value)>,
    positions: HashMap<ElementIdentity<'a>, usize>,
}

impl<'a> Elements<'a> {
    fn of(array: &'a [Value], id_member: Option<&str>) -> Self {
        let mut elements = Self { order: Vec::with_capacity(array.len()), positions: HashMap::new() };
        for value in array {
            let identity = identity(value, id_member);
            // Of elements with the same id the last one counts.
            match elements.positions.get(&identity).and_then(|at| elements.order.get_mut(*at)) {
                Some((_, earlier)) => *earlier = value,
                None => {
                    elements.positions.insert(identity.clone(), elements.order.len());
                    elements.order.push((identity, value));
                }
            }
        }
        elements
    }

    fn get(&self, identity: &ElementIdentity<'_>) -> Option<&'a Value> {
        self.positions.get(identity).and_then(|at| self.order.get(*at)).map(|(_, value)| *value)
    }
}

impl<'a> Merger<'_, 'a> {
    /// Merges base, device's and server's elements.
    pub(super) fn elements(&mut self, path: &str, sides: [&'a [Value]; 3], removals: Removals) -> Vec<Value> {
        let id_member = self.rules.id_member(path);
        let [base, local, server] = sides.map(|array| Elements::of(array, id_member));
        let mut kept = Vec::with_capacity(server.order.len());
        for (identity, element) in &server.order {
            let place = SideValues { base: base.get(identity), local: local.get(identity), server: Some(element) };
            if let Some(value) = self.element(path, identity, place, removals) {
                kept.push((identity, value));
            }
        }
        let there: HashSet<&ElementIdentity<'_>> = kept.iter().map(|(identity, _)| *identity).collect();
        let mut neighbour = None;
        // What the device added, by the element of the server that it comes behind.
        let mut added: HashMap<Option<&ElementIdentity<'_>>, Vec<Value>> = HashMap::new();
        for (identity, element) in &local.order {
            if server.get(identity).is_none() {
                let place = SideValues { base: base.get(identity), local: Some(element), server: None };
                let value = self.element(path, identity, place, removals);
                added.entry(neighbour).or_default().extend(value);
            } else if there.contains(identity) {
                neighbour = Some(identity);
            }
        }
        let mut merged = added.remove(&None).unwrap_or_default();
        for (identity, value) in kept {
            merged.push(value);
            merged.extend(added.remove(&Some(identity)).into_iter().flatten());
        }
        merged
    }

    /// What becomes of one element.
    fn element(
        &mut self,
        path: &str,
        identity: &ElementIdentity<'_>,
        place: SideValues<'a>,
        removals: Removals,
    ) -> Option<Value> {
        if removals == Removals::Ignored && (place.local.is_none() || place.server.is_none()) {
            return place.server.or(place.local).cloned();
        }
        match identity {
            ElementIdentity::Id(id) => self.merge_path(&format!("{path}/{}", escape(id)), place),
            ElementIdentity::Value(_) => {
                let removed = place.base.is_some() && (place.local.is_none() || place.server.is_none());
                if removed { None } else { place.server.or(place.local).cloned() }
            }
        }
    }
}

/// Where the element of this id is.
pub(super) fn index_of(items: &[Value], id: &str, id_member: Option<&str>) -> Option<usize> {
    items.iter().position(|item| matches!(identity(item, id_member), ElementIdentity::Id(found) if found == id))
}

/// By which an element is known. `id_member`: the member that names it at this path.
fn identity<'a>(value: &'a Value, id_member: Option<&str>) -> ElementIdentity<'a> {
    let named = |member: &str| match value.get(member) {
        Some(Value::String(id)) => Some(Cow::Borrowed(id.as_str())),
        Some(Value::Number(id)) => Some(Cow::Owned(canonical_number(id))),
        _ => None,
    };
    let id = id_member.into_iter().chain(ID_MEMBERS).find_map(named).filter(|_| value.is_object());
    id.map_or_else(|| ElementIdentity::Value(canonical(value)), ElementIdentity::Id)
}

/// The same text for all values that are equal.
fn canonical(value: &Value) -> String {
    match value {
        Value::Number(number) => canonical_number(number),
        Value::Array(items) => format!("[{}]", items.iter().map(canonical).collect::<Vec<_>>().join(",")),
        Value::Object(members) => {
            let member =
                |(name, value): (&String, &Value)| format!("{}:{}", Value::from(name.as_str()), canonical(value));
            format!("{{{}}}", members.iter().map(member).collect::<Vec<_>>().join(","))
        }
        other => other.to_string(),
    }
}

/// 1.0 as 1.
fn canonical_number(number: &Number) -> String {
    let text = number.to_string();
    match text.strip_suffix(".0") {
        Some("-0") => "0".to_owned(),
        Some(whole) if !whole.contains('e') => whole.to_owned(),
        _ => text,
    }
}
