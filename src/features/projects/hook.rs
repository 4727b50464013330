//! Writes which documents belong to which project, and the progress that follows, with the change of a document.

use serde::Deserialize;
use serde_json::Value;

use super::limits::MEMBERS_MAX;
use super::members::{Member, MemberKind, PROJECTS, project_of};
use super::progress::measure::Settings;
use super::sql;
use crate::base::error::{Error, Kind, Result};
use crate::base::ids::DocumentName;
use crate::engine::hooks::{Change, ChangeRows, DocumentHook, StoredRows};
use crate::store::Connection;

/// See the module.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ProjectsHook;

impl DocumentHook for ProjectsHook {
    fn name(&self) -> &'static str {
        "projects"
    }

    fn before_store(&self, change: &Change<'_>, rows: &StoredRows<'_>) -> Result<Option<ChangeRows>> {
        let collection = &change.document().collection;
        if let Some(kind) = MemberKind::of_collection(collection) {
            return member_rows(change, kind, rows);
        }
        if collection.as_str() == PROJECTS { project_rows(change, rows) } else { Ok(None) }
    }

    fn document_removed(&self, conn: &Connection, key: i64) -> Result<()> {
        sql::remove(conn, key)
    }
}

/// The rows of a document that may belong to a project. Error: `TooLarge` when the project has as many as it may.
fn member_rows(change: &Change<'_>, kind: MemberKind, rows: &StoredRows<'_>) -> Result<Option<ChangeRows>> {
    let Some(member) = read_state(change, |state| Member::of_state(kind, state)) else { return Ok(None) };
    let member = member.flatten();
    let before = change.value_before().and_then(project_of);
    let (key, at) = (change.document_key(), change.at());
    if let Some(project) = deleted_with(change) {
        if before != Some(project.as_str()) {
            return Err(members_change(&project));
        }
        let write = move |conn: &Connection| sql::set_member(conn, key, None, at);
        return Ok(Some(ChangeRows::new(&deletions(&project), write)));
    }
    let project = member.as_ref().map(|member| member.project.clone());
    if let Some(project) = project.as_deref().filter(|project| before != Some(project)) {
        check_room(project, rows)?;
    }
    if project.is_none() && before.is_none() && (change.creates() || change.value_before().is_some()) {
        return Ok(None);
    }
    let group = project.unwrap_or_default();
    Ok(Some(ChangeRows::new(&group, move |conn| sql::set_member(conn, key, member.as_ref(), at))))
}

/// Error: `TooLarge`.
fn check_room(project: &str, rows: &StoredRows<'_>) -> Result<()> {
    let stored = rows.read(|conn| sql::members::total(conn, project));
    // Where the disk cannot be read, writing goes on.
    if stored.unwrap_or(0) + rows.pending_rows(project) < MEMBERS_MAX {
        return Ok(());
    }
    let message = format!("the project {project} has {MEMBERS_MAX} documents, as many as it may");
    Err(Error::new(Kind::TooLarge, message).with("maxDocuments", MEMBERS_MAX))
}

/// The rows of a project. Error: [`members_change`] when one is deleted with its documents, and those are not all.
fn project_rows(change: &Change<'_>, rows: &StoredRows<'_>) -> Result<Option<ChangeRows>> {
    if let Some(project) = deleted_with(change) {
        let stored = rows.read(|conn| sql::members::total(conn, &project))?;
        if rows.pending_rows(&project) > 0 || rows.pending_rows(&deletions(&project)) != stored {
            return Err(members_change(&project));
        }
    }
    let Some(settings) = read_state(change, Settings::of_project) else { return Ok(None) };
    let (key, at, project) = (change.document_key(), change.at(), change.document().id.to_string());
    let write = move |conn: &Connection| match &settings {
        Some(settings) => sql::set_project(conn, (key, &project), settings, at),
        // Created in the same transaction, it has rows that come after those of removed documents went.
        None => sql::remove(conn, key),
    };
    Ok(Some(ChangeRows::new("settings of projects", write)))
}

/// Counts the documents of a project that are deleted with it. No project is called so.
fn deletions(project: &str) -> String {
    format!("deleted with {project}")
}

/// The refusal to delete a project with documents that are not all that it has now. Another try helps.
pub(super) fn members_change(project: &str) -> Error {
    Error::new(Kind::VersionConflict, format!("documents of the project {project} change right now; try again"))
}

/// The id of the project that a document is deleted with, itself included.
fn deleted_with(change: &Change<'_>) -> Option<String> {
    #[derive(Deserialize)]
    struct Body {
        payload: Payload,
    }
    #[derive(Deserialize)]
    struct Payload {
        with: DocumentName,
    }
    let body = if change.deletes() { serde_json::from_slice::<Body>(change.event_body()).ok() } else { None };
    body.map(|body| body.payload.with)
        .filter(|with| with.collection.as_str() == PROJECTS)
        .map(|with| with.id.to_string())
}

/// What `read` makes of the state after a change; `Some(None)`: the document is deleted; `None`: what it says is told
/// with a later change.
fn read_state<T>(change: &Change<'_>, read: impl FnOnce(&Value) -> T) -> Option<Option<T>> {
    match (change.value_after(), change.state()) {
        (Some(state), _) => Some(Some(read(state))),
        (None, Some(text)) => serde_json::from_slice(text).ok().map(|state| Some(read(&state))),
        (None, None) => change.deletes().then_some(None),
    }
}
