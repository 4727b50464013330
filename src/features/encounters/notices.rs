//! Whom a change of an encounter concerns.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::base::ids::UserId;
use crate::document::notices::{Notice, NoticeKind, NoticeRecipient};

/// Whose turn it is, and that it began, is paused, goes on or has ended.
pub(super) fn notices(before: &Value, after: &Value) -> Vec<Notice> {
    status_notices(before, after).into_iter().chain(turn_notice(before, after)).collect()
}

fn status_notices(before: &Value, after: &Value) -> Vec<Notice> {
    let said = match (status(before), status(after)) {
        (before, after) if before == after => return Vec::new(),
        ("paused", "active") => "goes on",
        (_, "active") => "has begun",
        (_, "paused") => "is paused",
        (_, "completed") => "has ended",
        _ => return Vec::new(),
    };
    let title = format!("{} {said}", title_of(after).unwrap_or("The encounter"));
    let notice = |to| Notice { to, kind: NoticeKind::Status, title: title.clone(), body: String::new() };
    let players: BTreeSet<UserId> = ids(after).filter_map(|id| player_of(after, id)).collect();
    let players = players.into_iter().map(NoticeRecipient::Player);
    std::iter::once(NoticeRecipient::Host).chain(players).map(notice).collect()
}

/// Those whom nobody plays are the host's.
fn turn_notice(before: &Value, after: &Value) -> Option<Notice> {
    let current = |state: &Value| (state.get("turn").cloned(), state.get("round").and_then(Value::as_u64));
    if current(before) == current(after) {
        return None;
    }
    let id = after.get("turn")?.as_str()?;
    let name = after.pointer(&format!("/combatants/{id}/name")).and_then(Value::as_str).unwrap_or(id);
    let round = after.get("round").and_then(Value::as_u64).unwrap_or(1);
    Some(Notice {
        to: player_of(after, id).map_or(NoticeRecipient::Host, NoticeRecipient::Player),
        kind: NoticeKind::Turn,
        title: "Your turn".to_owned(),
        body: format!("{name} acts in round {round} of {}", title_of(after).unwrap_or("the encounter")),
    })
}

fn status(state: &Value) -> &str {
    state.get("status").and_then(Value::as_str).unwrap_or("planning")
}

/// What everybody may call it.
fn title_of(state: &Value) -> Option<&str> {
    state.get("name").and_then(Value::as_str).filter(|name| !name.is_empty())
}

fn ids(state: &Value) -> impl Iterator<Item = &str> {
    state.get("combatants").and_then(Value::as_object).into_iter().flatten().map(|(id, _)| id.as_str())
}

/// Who plays a combatant: of a concealed one only the host's part of the state says it.
fn player_of(state: &Value, id: &str) -> Option<UserId> {
    let places = [format!("/combatants/{id}/playerId"), format!("/hidden/combatants/{id}/playerId")];
    let player = places.iter().find_map(|place| state.pointer(place)?.as_str())?;
    UserId::new(player).ok()
}
