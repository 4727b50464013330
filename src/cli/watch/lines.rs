//! Events as lines for people.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt::Write as _;

use serde::Deserialize;
use serde_json::Value;

use super::MoveNotice;
use crate::document::patch::{self, PatchOperation};
use crate::net::sse_parser::SseMessage;

/// Operations of a patch, and characters of a value and of a state, that a line shows.
const OPERATIONS_SHOWN: usize = 4;
const VALUE_CHARS_SHOWN: usize = 40;
const STATE_CHARS_SHOWN: usize = 2000;

/// Makes the lines, and keeps what each document says, so that a change can show what was there before.
#[derive(Debug, Default)]
pub(super) struct LineFormatter {
    /// Whether each change names its document.
    several: bool,
    /// By `collection/id`. As many as the server's snapshot has, and those that came since.
    states: HashMap<String, Value>,
}

impl LineFormatter {
    /// `several`: more than one document is followed.
    pub(super) fn new(several: bool) -> Self {
        Self { several, states: HashMap::new() }
    }

    /// An event as a line. Data of another form than expected is shown as it is.
    pub(super) fn line(&mut self, message: &SseMessage) -> String {
        let data = &message.data;
        let line = match message.event.as_str() {
            "change" => self.change(data),
            "snapshot" => self.snapshot(data),
            "resumed" => resumed(data),
            "durable" => durable(data),
            "presence" => presence(data),
            "moved" => self.moved_line(data),
            "bye" => end_line(data),
            _ => None,
        };
        line.unwrap_or_else(|| format!("{} {data}", message.event))
    }

    fn change(&mut self, data: &str) -> Option<String> {
        #[derive(Deserialize)]
        struct ChangeEvent {
            collection: String,
            id: String,
            version: u64,
            #[serde(rename = "type")]
            kind: String,
            actor: String,
            at: String,
            patch: Vec<PatchOperation>,
        }
        let ChangeEvent { collection, id, version, kind, actor, at, patch } = serde_json::from_str(data).ok()?;
        let name = format!("{collection}/{id}");
        let mut state = self.states.remove(&name);
        let summary = summary(state.as_ref(), &detailed(state.as_ref(), &patch));
        // What does not apply was missed; the next snapshot has it.
        if patch::apply(&mut state, patch).is_ok()
            && let Some(state) = state
        {
            self.states.insert(name.clone(), state);
        }
        // Of 2025-11-20T05:20:00.042Z the time; a terminal is watched for less than a day.
        let time = at.get(11..).map_or(at.as_str(), |time| time.trim_end_matches('Z'));
        let name = if self.several { format!("{name} ") } else { String::new() };
        Some(format!("{time}  {name}v{version}  {kind}  by {actor}  {summary}"))
    }

    fn moved_line(&mut self, data: &str) -> Option<String> {
        #[derive(Deserialize)]
        struct Name {
            collection: String,
            id: String,
        }
        let MoveNotice { to, .. } = serde_json::from_str(data).ok()?;
        if !self.several {
            return Some(format!("moved to {to}"));
        }
        let Name { collection, id } = serde_json::from_str(data).ok()?;
        self.states.remove(&format!("{collection}/{id}"));
        Some(format!("{collection}/{id} moved to {to}; rejoin watch {collection}/{id} --server {to} follows it there"))
    }

    fn snapshot(&mut self, data: &str) -> Option<String> {
        let data: Value = serde_json::from_str(data).ok()?;
        let reason = data.get("reason")?.as_str()?;
        self.states.clear();
        let mut told = Vec::new();
        for document in data.get("documents")?.as_array()? {
            let text = |member| document.get(member).and_then(Value::as_str).unwrap_or("?");
            let version = document.get("version").map_or_else(String::new, |version| format!(" v{version}"));
            let name = format!("{}/{}", text("collection"), text("id"));
            let state = document
                .get("state")
                .map_or_else(String::new, |state| format!("  {}", truncate(state, STATE_CHARS_SHOWN)));
            told.push(format!("{name}{version}{state}"));
            self.states.extend(document.get("state").map(|state| (name, state.clone())));
        }
        let gone = data.get("gone").and_then(Value::as_array).into_iter().flatten();
        told.extend(gone.filter_map(Value::as_str).map(|name| format!("{name} is gone")));
        Some(format!("snapshot ({reason}) {}", told.join(", ")))
    }
}

/// A patch that replaces a known state by another, as the changes that are in it.
fn detailed<'a>(state: Option<&Value>, patch: &'a [PatchOperation]) -> Cow<'a, [PatchOperation]> {
    let (Some(before), [PatchOperation::Replace { path, value }]) = (state, patch) else { return patch.into() };
    let changes = if path.is_empty() && !value.is_null() {
        patch::diff(Some(before), Some(value), usize::MAX / 2).ok()
    } else {
        None
    };
    changes.map_or(patch.into(), |changes| changes.operations.into())
}

/// What a patch does to `state`, as far as that is known.
fn summary(state: Option<&Value>, patch: &[PatchOperation]) -> String {
    let mut out = String::new();
    for (index, operation) in patch.iter().take(OPERATIONS_SHOWN).enumerate() {
        let path = if operation.path().is_empty() { "everything" } else { operation.path() };
        let before = state.filter(|_| !operation.path().is_empty()).and_then(|state| state.pointer(operation.path()));
        let was = before.map_or_else(String::new, |before| format!(" (was {})", truncate(before, VALUE_CHARS_SHOWN)));
        out.push_str(if index == 0 { "" } else { ", " });
        // Writing to memory cannot fail.
        let _ = match operation {
            PatchOperation::Add { value, .. } => write!(out, "+{path} {}", truncate(value, VALUE_CHARS_SHOWN)),
            PatchOperation::Replace { value, .. } => write!(out, "{path} {}{was}", truncate(value, VALUE_CHARS_SHOWN)),
            PatchOperation::Remove { .. } => write!(out, "-{path}{was}"),
        };
    }
    match patch.len().saturating_sub(OPERATIONS_SHOWN) {
        0 if patch.is_empty() => "nothing to see".to_owned(),
        0 => out,
        more => format!("{out}, and {more} more"),
    }
}

fn truncate(value: &Value, chars: usize) -> String {
    let text = value.to_string();
    match text.char_indices().nth(chars) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text,
    }
}

fn resumed(data: &str) -> Option<String> {
    let data: Value = serde_json::from_str(data).ok()?;
    let count = data.get("count")?.as_u64()?;
    Some(format!("resumed {count} {}", if count == 1 { "change" } else { "changes" }))
}

fn durable(data: &str) -> Option<String> {
    let data: Value = serde_json::from_str(data).ok()?;
    Some(format!("on disk up to event {}", data.get("seq")?.as_u64()?))
}

fn presence(data: &str) -> Option<String> {
    let data: Value = serde_json::from_str(data).ok()?;
    let id = |of: &Value| of.get("playerId").and_then(Value::as_str).map(str::to_owned);
    let players = data.get("players")?.as_array()?;
    let all = |connected: bool| {
        let those = players.iter().filter(|player| player.get("connected") == Some(&Value::Bool(connected)));
        those.filter_map(id).collect::<Vec<_>>().join(", ")
    };
    let mut out = format!("here: {}", all(true));
    if let Some(change) = data.get("change") {
        out = format!("{} {}; {out}", id(change)?, change.get("event")?.as_str()?);
    }
    let away = all(false);
    Some(if away.is_empty() { out } else { format!("{out}; away: {away}") })
}

fn end_line(data: &str) -> Option<String> {
    let data: Value = serde_json::from_str(data).ok()?;
    Some(format!("server said bye ({})", data.get("reason")?.as_str()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(event: &str, data: &str) -> SseMessage {
        SseMessage { event: event.to_owned(), data: data.to_owned(), last_event_id: String::new() }
    }

    fn check(event: &str, data: &str, expect: &str) {
        assert_eq!(LineFormatter::default().line(&message(event, data)), expect);
    }

    #[test]
    fn events_become_lines_for_people() {
        check(
            "change",
            r#"{"seq":9,"collection":"games","id":"g1","version":7,"type":"raise","actor":"alice",
                "at":"2025-11-20T05:20:00.042Z","payload":{},"hash":"aa","patch":[
                {"op":"replace","path":"/pot","value":640},{"op":"add","path":"/seats/2","value":"bob"},
                {"op":"remove","path":"/x"}]}"#,
            "05:20:00.042  v7  raise  by alice  /pot 640, +/seats/2 \"bob\", -/x",
        );
        check(
            "snapshot",
            r#"{"reason":"trimmed","documents":[{"collection":"games","id":"g1","version":7}]}"#,
            "snapshot (trimmed) games/g1 v7",
        );
        check("resumed", r#"{"from":"1-aa","to":"4-bb","count":3}"#, "resumed 3 changes");
        check("resumed", r#"{"from":"1-aa","to":"2-bb","count":1}"#, "resumed 1 change");
        check("durable", r#"{"seq":12}"#, "on disk up to event 12");
        let moved = r#"{"collection":"games","id":"g1","to":"http://127.0.0.1:9","position":"4-aa"}"#;
        check("moved", moved, "moved to http://127.0.0.1:9");
        check("bye", r#"{"reason":"shutdown"}"#, "server said bye (shutdown)");
        check(
            "presence",
            r#"{"players":[{"playerId":"alice","connected":true},{"playerId":"bob","connected":false},
                {"playerId":"carol","connected":true}],"change":{"playerId":"bob","event":"lost"}}"#,
            "bob lost; here: alice, carol; away: bob",
        );
        check("presence", r#"{"players":[{"playerId":"alice","connected":true}]}"#, "here: alice");
        check("presence", r#"{"who":1}"#, r#"presence {"who":1}"#);
        check("change", "not JSON", "change not JSON");
    }

    #[test]
    fn long_patches_and_values_are_cut() {
        let long = PatchOperation::Add { path: String::new(), value: "ä".repeat(100).into() };
        let text = summary(None, &[long.clone(), long.clone(), long.clone(), long.clone(), long]);
        assert!(text.starts_with("+everything \"ää") && text.ends_with("…, and 1 more"), "{text}");
        assert!(text.chars().count() < 5 * (VALUE_CHARS_SHOWN + 20), "{text}");
        assert_eq!(summary(None, &[]), "nothing to see");
    }

    #[test]
    fn a_change_shows_what_was_there_before_and_which_document_of_several() {
        let mut lines = LineFormatter::new(true);
        let documents = r#"[{"collection":"games","id":"g1","version":1,"state":{"n":0,"x":[1]}}]"#;
        let snapshot = format!(r#"{{"reason":"start","gone":["games/g2"],"documents":{documents}}}"#);
        let told = lines.line(&message("snapshot", &snapshot));
        assert_eq!(told, r#"snapshot (start) games/g1 v1  {"n":0,"x":[1]}, games/g2 is gone"#);
        let change = |id: &str, patch: &str| {
            format!(
                r#"{{"collection":"games","id":"{id}","version":2,"type":"put","actor":"a",
                "at":"2025-11-20T05:20:00.042Z","patch":{patch}}}"#
            )
        };
        let patch = r#"[{"op":"replace","path":"/n","value":1},{"op":"remove","path":"/x"}]"#;
        let told = lines.line(&message("change", &change("g1", patch)));
        assert_eq!(told, "05:20:00.042  games/g1 v2  put  by a  /n 1 (was 0), -/x (was [1])");
        let told = lines.line(&message("change", &change("g1", r#"[{"op":"replace","path":"/n","value":2}]"#)));
        assert!(told.ends_with("/n 2 (was 1)"), "{told}");
        let whole = r#"[{"op":"replace","path":"","value":{"n":3,"y":true}}]"#;
        let told = lines.line(&message("change", &change("g1", whole)));
        assert!(told.ends_with("/n 3 (was 2), +/y true"), "{told}");
        let told = lines.line(&message("change", &change("g2", r#"[{"op":"add","path":"","value":{"n":7}}]"#)));
        assert!(told.ends_with(r#"+everything {"n":7}"#), "{told}");
    }
}
