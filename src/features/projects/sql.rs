//! The tables of projects, and what a change of a document does to them.

pub(crate) mod members;
pub(crate) mod phases;
pub(crate) mod progress;
pub(crate) mod snapshots;
pub(crate) mod unchecked;
pub(crate) mod warnings;

use rusqlite::CachedStatement;

use crate::base::clock::Timestamp;
use crate::base::error::Result;
use crate::features::projects::members::Member;
use crate::features::projects::progress::measure::Settings;
use crate::store::{Connection, sql_error};

/// The document `key` counts as `member` from now on; `None`: for no project. Nothing else is written where that is
/// nothing new.
pub(crate) fn set_member(conn: &Connection, key: i64, member: Option<&Member>, at: Timestamp) -> Result<()> {
    let before = members::find(conn, key)?;
    if before.as_ref() == member {
        return Ok(());
    }
    let mut projects: Vec<&str> = before.iter().chain(member).map(|member| member.project.as_str()).collect();
    projects.dedup();
    let changes: Vec<_> = projects.iter().map(|project| progress::begin(conn, project, at)).collect::<Result<_>>()?;
    members::replace(conn, key, before.as_ref(), member)?;
    changes.into_iter().flatten().try_for_each(|change| change.finish(conn))
}

/// The project of the document `key`, called `project`, is there with these settings.
pub(crate) fn set_project(
    conn: &Connection,
    (key, project): (i64, &str),
    settings: &Settings,
    at: Timestamp,
) -> Result<()> {
    if let Some(mut change) = progress::begin(conn, project, at)? {
        change.row.settings = settings.clone();
        return change.finish(conn);
    }
    progress::create(conn, (key, project), settings, at)
}

/// What belongs to the document `key` goes, when it is deleted: its progress and the past of that, or its place in a
/// project. It is told after the tombstone is stored.
pub(crate) fn remove(conn: &Connection, key: i64) -> Result<()> {
    if let Some(project) = progress::project_of(conn, key)? {
        warnings::remove_project(conn, &project)?;
    }
    progress::remove(conn, key)?;
    let Some(member) = members::find(conn, key)? else { return Ok(()) };
    let at = members::last_change_at(conn, key)?;
    match at {
        Some(at) if !members::is_project_deleted(conn, &member.project)? => set_member(conn, key, None, at),
        Some(_) | None => members::replace(conn, key, Some(&member), None),
    }
}

fn cached<'a>(conn: &'a Connection, sql: &str) -> Result<CachedStatement<'a>> {
    conn.prepare_cached(sql).map_err(sql_error)
}

#[cfg(test)]
mod tests;
