//! Whom a change of an interaction concerns.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::base::ids::UserId;
use crate::document::notices::{Notice, NoticeKind, NoticeRecipient};

/// Whose turn it is, what waits for a review or was reviewed, and that it began, is paused, goes on or has ended.
pub(super) fn notices(before: &Value, after: &Value) -> Vec<Notice> {
    let mut notices = status_notices(before, after);
    notices.extend(submitted(before, after));
    notices.extend(reviewed(before, after));
    notices.extend(turn_notice(before, after));
    notices
}

fn status_notices(before: &Value, after: &Value) -> Vec<Notice> {
    let goes_on = |status| ["in-progress", "waiting-for-dm"].contains(&status);
    let said = match (status(before), status(after)) {
        (before, after) if before == after || (goes_on(before) && goes_on(after)) => return Vec::new(),
        ("paused", after) if goes_on(after) => "goes on",
        (_, after) if goes_on(after) => "has begun",
        (_, "paused") => "is paused",
        (_, "completed") => "has ended",
        (_, "cancelled") => "is cancelled",
        _ => return Vec::new(),
    };
    let title = format!("{} {said}", title_of(after).unwrap_or("The interaction"));
    let notice = |to| Notice { to, kind: NoticeKind::Status, title: title.clone(), body: String::new() };
    let players: BTreeSet<UserId> =
        participants(after).filter_map(|one| one.get("playerId")).filter_map(user).collect();
    let players = players.into_iter().map(NoticeRecipient::Player);
    std::iter::once(NoticeRecipient::Host).chain(players).map(notice).collect()
}

/// An action waits for the DM.
fn submitted(before: &Value, after: &Value) -> Option<Notice> {
    let pending =
        after.get("pending").filter(|pending| !pending.is_null() && before.get("pending") != Some(pending))?;
    let player = pending.get("playerId")?.as_str()?;
    Some(Notice {
        to: NoticeRecipient::Host,
        kind: NoticeKind::Action,
        title: "An action waits for your review".to_owned(),
        body: format!("{} acts in {}", name_of(after, player), title_of(after).unwrap_or("the interaction")),
    })
}

/// The DM has decided an action that waited: the last entry of the log says how.
fn reviewed(before: &Value, after: &Value) -> Option<Notice> {
    let pending =
        before.get("pending").filter(|pending| !pending.is_null() && after.get("pending") != Some(pending))?;
    let player = user(pending.get("playerId")?)?;
    let last = |state: &Value| state.get("log").and_then(Value::as_array).and_then(|log| log.last().cloned());
    let entry = last(after).filter(|entry| last(before).as_ref() != Some(entry))?;
    let said = match entry.get("kind").and_then(Value::as_str) {
        Some("approve") => "approved",
        Some("reject") => "rejected",
        _ => return None,
    };
    let reason = entry.get("reason").and_then(Value::as_str).unwrap_or_default();
    Some(Notice {
        to: NoticeRecipient::Player(player),
        kind: NoticeKind::Action,
        title: format!("Your action in {} is {said}", title_of(after).unwrap_or("the interaction")),
        body: reason.to_owned(),
    })
}

fn turn_notice(before: &Value, after: &Value) -> Option<Notice> {
    let current = |state: &Value| (state.get("turn").cloned(), state.get("round").and_then(Value::as_u64));
    if current(before) == current(after) {
        return None;
    }
    let player = user(after.get("turn")?)?;
    let round = after.get("round").and_then(Value::as_u64).unwrap_or(1);
    Some(Notice {
        to: NoticeRecipient::Player(player),
        kind: NoticeKind::Turn,
        title: "Your turn".to_owned(),
        body: format!("Round {round} of {}", title_of(after).unwrap_or("the interaction")),
    })
}

fn status(state: &Value) -> &str {
    state.get("status").and_then(Value::as_str).unwrap_or("idle")
}

/// What everybody may call it.
fn title_of(state: &Value) -> Option<&str> {
    let names = ["name", "title"].into_iter().filter_map(|member| state.get(member)?.as_str());
    names.into_iter().find(|name| !name.is_empty())
}

fn participants(state: &Value) -> impl Iterator<Item = &Value> {
    state.get("participants").and_then(Value::as_array).into_iter().flatten()
}

fn name_of<'a>(state: &'a Value, player: &'a str) -> &'a str {
    let found = participants(state).find(|one| one.get("playerId").and_then(Value::as_str) == Some(player));
    found.and_then(|one| one.get("name")?.as_str()).unwrap_or(player)
}

fn user(value: &Value) -> Option<UserId> {
    UserId::new(value.as_str()?).ok()
}
