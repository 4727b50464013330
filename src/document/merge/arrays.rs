//! Arrays as sets: elements with an id are matched by it, others by their value. What either side added stays, what
//! either removed goes. The order is the server's, with the device's additions behind the neighbours that they had.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Number, Value};

use super::{MergeSides, Merger};
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
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
enum ElementIdentity {
    Id(String),
    Value(String),
}

/// The elements of an array, each once.
struct Elements<'a> {
    order: Vec<(ElementIdentity, &'a Value)>,
    by_identity: BTreeMap<ElementIdentity, &'a Value>,
}

impl<'a> Elements<'a> {
    fn of(array: &'a [Value], id_member: Option<&str>) -> Self {
        let mut elements = Self { order: Vec::new(), by_identity: BTreeMap::new() };
        for value in array {
            let identity = identity(value, id_member);
            if elements.by_identity.insert(identity.clone(), value).is_none() {
                elements.order.push((identity, value));
            }
        }
        // Of elements with the same id the last one counts.
        for (identity, value) in &mut elements.order {
            *value = elements.by_identity.get(identity).copied().unwrap_or(*value);
        }
        elements
    }

    fn get(&self, identity: &ElementIdentity) -> Option<&'a Value> {
        self.by_identity.get(identity).copied()
    }
}

impl Merger<'_> {
    /// Merges base, device's and server's elements.
    pub(super) fn elements(&mut self, path: &str, sides: [&[Value]; 3], removals: Removals) -> Vec<Value> {
        let id_member = self.rules.id_member(path);
        let [base, local, server] = sides.map(|array| Elements::of(array, id_member));
        let mut merged: Vec<(ElementIdentity, Value)> = Vec::new();
        for (identity, element) in &server.order {
            let place = MergeSides { base: base.get(identity), local: local.get(identity), server: Some(element) };
            if let Some(value) = self.element(path, identity, place, removals) {
                merged.push((identity.clone(), value));
            }
        }
        let mut there: BTreeSet<ElementIdentity> = merged.iter().map(|(identity, _)| identity.clone()).collect();
        let mut neighbour: Option<&ElementIdentity> = None;
        for (identity, element) in &local.order {
            if server.get(identity).is_none() {
                let place = MergeSides { base: base.get(identity), local: Some(element), server: None };
                if let Some(value) = self.element(path, identity, place, removals) {
                    let at = neighbour.and_then(|neighbour| merged.iter().position(|(other, _)| other == neighbour));
                    merged.insert(at.map_or(0, |at| at + 1), (identity.clone(), value));
                    there.insert(identity.clone());
                }
            }
            if there.contains(identity) {
                neighbour = Some(identity);
            }
        }
        merged.into_iter().map(|(_, value)| value).collect()
    }

    /// What becomes of one element.
    fn element(
        &mut self,
        path: &str,
        identity: &ElementIdentity,
        place: MergeSides<'_>,
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
    items.iter().position(|item| identity(item, id_member) == ElementIdentity::Id(id.to_owned()))
}

/// By which an element is known. `id_member`: the member that names it at this path.
fn identity(value: &Value, id_member: Option<&str>) -> ElementIdentity {
    let named = |member: &str| match value.get(member) {
        Some(Value::String(id)) => Some(id.clone()),
        Some(Value::Number(id)) => Some(canonical(&Value::Number(id.clone()))),
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
