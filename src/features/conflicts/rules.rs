//! What is told and kept of a merge. Pure.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::base::clock::Timestamp;
use crate::document::json;
use crate::document::merge::{Conflict, Resolved, SideValues};
use crate::document::visibility::{self, Audience};

/// Bytes of the values of a place that a rule decided, past which the event does not repeat them: history has them.
const VALUES_BYTES_MAX: usize = 16 << 10;

/// The type of the event in which a device's edits come.
pub(crate) const SYNC: &str = "sync";
/// The type of the event in which a conflict is resolved.
pub(crate) const RESOLVE: &str = "resolveConflict";

/// A value that may not be there: then its member is left out, which null is not.
fn deserialize_some<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<Value>, D::Error> {
    Value::deserialize(deserializer).map(Some)
}

/// A place that both sides changed, as it is told and kept.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct MergedPath {
    /// Of a conflict: its name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// A JSON Pointer in which elements of arrays are named by their id.
    pub path: String,
    /// What decided it; of a conflict `manual`.
    pub rule: String,
    #[serde(default, deserialize_with = "deserialize_some", skip_serializing_if = "Option::is_none")]
    pub base: Option<Value>,
    #[serde(default, deserialize_with = "deserialize_some", skip_serializing_if = "Option::is_none")]
    pub local: Option<Value>,
    #[serde(default, deserialize_with = "deserialize_some", skip_serializing_if = "Option::is_none")]
    pub server: Option<Value>,
    /// What stands there now, if a rule decided.
    #[serde(default, deserialize_with = "deserialize_some", skip_serializing_if = "Option::is_none")]
    pub value: Option<Value>,
    /// What the server would take, of a conflict.
    #[serde(default, deserialize_with = "deserialize_some", skip_serializing_if = "Option::is_none")]
    pub suggestion: Option<Value>,
    /// `auto` when a rule decided.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resolution: Option<String>,
    /// Whether it is a conflict that is kept already.
    #[serde(skip)]
    pub known: bool,
}

impl MergedPath {
    fn new(path: String, rule: &str, values: SideValues<'_>) -> Self {
        let [base, local, server] = [values.base, values.local, values.server].map(Option::<&Value>::cloned);
        let (id, value, suggestion, resolution, known) = (None, None, None, None, false);
        Self { id, path, rule: rule.to_owned(), base, local, server, value, suggestion, resolution, known }
    }

    fn resolved(Resolved { path, rule, values }: Resolved<'_>) -> Self {
        Self { resolution: Some("auto".to_owned()), ..Self::new(path, rule, values) }
    }

    fn conflict(Conflict { path, values, suggestion }: Conflict<'_>, id: String) -> Self {
        Self { suggestion: suggestion.cloned(), id: Some(id), ..Self::new(path, "manual", values) }
    }

    /// The same as it is kept: a conflict with its values, which are needed to resolve it.
    fn keep_value(self) -> Self {
        if self.is_conflict() || self.value_bytes() <= VALUES_BYTES_MAX {
            return self;
        }
        Self { base: None, local: None, server: None, value: None, ..self }
    }

    /// Bytes of its values as JSON.
    pub(crate) fn value_bytes(&self) -> usize {
        [&self.base, &self.local, &self.server, &self.value].into_iter().flatten().map(json::size).sum()
    }

    /// Whether it is a conflict that a person decides.
    pub(crate) fn is_conflict(&self) -> bool {
        self.id.is_some() && self.rule == "manual"
    }

    /// Whether `audience` may see where it is.
    pub(crate) fn is_shown_to(&self, audience: Audience<'_>) -> bool {
        match audience {
            Audience::Host => true,
            Audience::Player(player) => visibility::check_path(&self.path, player).is_ok(),
        }
    }
}

/// What comes of a merge, for who asked.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct MergeReport {
    pub resolved: Vec<MergedPath>,
    pub conflicts: Vec<MergedPath>,
}

impl MergeReport {
    /// Of what a rule decided no value is told yet. `new_id` names each conflict.
    pub(crate) fn new(
        resolved: Vec<Resolved<'_>>,
        conflicts: Vec<Conflict<'_>>,
        mut new_id: impl FnMut() -> String,
    ) -> Self {
        Self {
            resolved: resolved.into_iter().map(MergedPath::resolved).collect(),
            conflicts: conflicts.into_iter().map(|conflict| MergedPath::conflict(conflict, new_id())).collect(),
        }
    }

    /// All places, those that a rule decided first.
    pub(crate) fn places(self) -> impl Iterator<Item = MergedPath> {
        self.resolved.into_iter().chain(self.conflicts)
    }

    /// The payload of the event: each viewer gets the places that they may see.
    pub(crate) fn payload(self, base_version: u64, device_at: Timestamp) -> Value {
        let mut payload = json!({ "baseVersion": base_version, "deviceAt": device_at.to_string() });
        for place in self.places().filter(|place| !place.known).map(MergedPath::keep_value) {
            let list = if place.is_conflict() { "conflicts" } else { "resolved" };
            let tokens: Vec<&str> = place.path.split('/').skip(1).take(2).collect();
            let reach = match tokens.as_slice() {
                ["private", player, ..] => vec!["private", *player],
                ["private" | "hidden", ..] => vec!["hidden"],
                _ => Vec::new(),
            };
            let holder =
                reach.into_iter().fold(&mut payload, |value, name| member(value, name, Value::Object(Map::new())));
            if let (Value::Array(list), Ok(place)) = (member(holder, list, json!([])), serde_json::to_value(&place)) {
                list.push(place);
            }
        }
        payload
    }

    /// What [`payload`](Self::payload) holds.
    pub(crate) fn of_payload(payload: &Value) -> Self {
        let private = payload.get("private").and_then(Value::as_object).into_iter().flatten().map(|(_, part)| part);
        let parts = [Some(payload), payload.get("hidden")].into_iter().flatten().chain(private);
        let mut report = Self::default();
        for part in parts {
            let list = |name: &str| -> Vec<MergedPath> {
                part.get(name).and_then(|list| serde_json::from_value(list.clone()).ok()).unwrap_or_default()
            };
            report.resolved.extend(list("resolved"));
            report.conflicts.extend(list("conflicts"));
        }
        report
    }
}

/// The member of an object, which is `default` when it is not there.
fn member<'a>(value: &'a mut Value, name: &str, default: Value) -> &'a mut Value {
    if !value.is_object() {
        *value = Value::Object(Map::new());
    }
    match value {
        Value::Object(members) => members.entry(name).or_insert(default),
        other => other,
    }
}

/// How a person resolves a conflict.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Resolution {
    Local,
    Server,
    Merge,
}

impl Resolution {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Local => "local",
            Self::Server => "server",
            Self::Merge => "merge",
        }
    }
}

/// The payload of the event that resolves a conflict.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ResolvePayload {
    pub conflict_id: String,
    pub resolution: Resolution,
}

#[cfg(test)]
mod tests {
    #![expect(clippy::indexing_slicing, reason = "a failed index fails the test")]
    use super::*;

    fn place(path: &str, rule: &str, text: &str) -> MergedPath {
        let local = json!(text);
        let values = SideValues { base: None, local: Some(&local), server: Some(&Value::Null) };
        MergedPath { id: (rule == "manual").then(|| path.to_owned()), ..MergedPath::new(path.to_owned(), rule, values) }
    }

    #[test]
    fn an_event_tells_each_viewer_their_places_and_repeats_no_large_value_that_a_rule_decided() {
        let large = "x".repeat(VALUES_BYTES_MAX);
        let conflicts = ["/a", "/hidden/b", "/private/ana/c", "/private"];
        let conflicts = conflicts.map(|path| place(path, "manual", &large)).to_vec();
        let resolved = vec![place("/d", "set", &large), place("/e", "set", "y")];
        let report = MergeReport { resolved, conflicts };
        let payload = report.clone().payload(3, Timestamp::from_millis(0));
        let paths = |part: &str| -> Vec<String> {
            let list = payload.pointer(part).and_then(Value::as_array).into_iter().flatten();
            list.map(|place| place["path"].as_str().unwrap_or_default().to_owned()).collect()
        };
        assert_eq!(paths("/conflicts"), ["/a"]);
        assert_eq!(paths("/hidden/conflicts"), ["/hidden/b", "/private"]);
        assert_eq!(paths("/private/ana/conflicts"), ["/private/ana/c"]);
        let read = MergeReport::of_payload(&payload);
        assert_eq!(read.conflicts.len(), 4);
        assert!(read.conflicts.iter().all(|conflict| conflict.local == Some(json!(large))));
        assert_eq!((read.resolved[0].local.clone(), read.resolved[1].clone()), (None, report.resolved[1].clone()));
    }
}
