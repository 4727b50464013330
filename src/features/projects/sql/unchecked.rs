//! The tables `projects_unchecked`, `projects_places` and `projects_checks`: which changes no check has seen.

use rusqlite::{OptionalExtension as _, Row};

use super::{cached, members};
use crate::base::clock::Timestamp;
use crate::base::error::{Error, Kind, Result};
use crate::base::ids::DocumentName;
use crate::consumers::LoggedChange;
use crate::features::projects::consistency::schedule::Unchecked;
use crate::features::projects::members::PROJECTS;
use crate::store::rows::{self, count, optional};
use crate::store::{Connection, sql_error};

/// A document whose changes no check has seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct UncheckedDocument {
    pub name: DocumentName,
    /// How often it was noted.
    pub changes: i64,
}

/// A project with such documents.
#[derive(Clone, Debug)]
pub(crate) struct UncheckedProject {
    pub project: String,
    pub unchecked: Unchecked,
    /// When it was checked last.
    pub checked: Option<Timestamp>,
}

/// Notes which projects these changes touch: those that the documents are in, and those that they were in.
///
/// Error: `StorageUnavailable` while it is not known of all documents which project they are in.
pub(crate) fn note_changes(conn: &Connection, changes: &[LoggedChange]) -> Result<()> {
    if !members::is_all_indexed(conn)? {
        let message = "the documents of projects are still being looked at for the first time";
        return Err(Error::new(Kind::StorageUnavailable, message));
    }
    for change in changes {
        let (name, key, at) = (change.document(), change.document_key(), change.at());
        if name.collection.as_str() == PROJECTS {
            note(conn, name.id.as_str(), name, at)?;
            continue;
        }
        let now = members::find(conn, key)?.map(|member| member.project);
        let sql = "SELECT project FROM projects_places WHERE document = ?1";
        let before: Option<String> =
            cached(conn, sql)?.query_row([key], |row| row.get(0)).optional().map_err(sql_error)?;
        for project in before.iter().chain(now.iter().filter(|now| before.as_ref() != Some(now))) {
            note(conn, project, name, at)?;
        }
        if now != before {
            set_place(conn, key, now.as_deref())?;
        }
    }
    Ok(())
}

/// The document `key` is in this project as far as checks know; `None`: in none.
fn set_place(conn: &Connection, key: i64, project: Option<&str>) -> Result<()> {
    let written = match project {
        None => cached(conn, "DELETE FROM projects_places WHERE document = ?1")?.execute([key]),
        Some(project) => {
            let sql = "INSERT OR REPLACE INTO projects_places (document, project) VALUES (?1, ?2)";
            cached(conn, sql)?.execute((key, project))
        }
    };
    written.map(drop).map_err(sql_error)
}

/// A document of a project has changed.
fn note(conn: &Connection, project: &str, name: &DocumentName, at: Timestamp) -> Result<()> {
    let sql =
        "INSERT INTO projects_unchecked (project, document, first_at, last_at, changes) VALUES (?1, ?2, ?3, ?3, 1)
               ON CONFLICT (project, document) DO UPDATE SET last_at = excluded.last_at, changes = changes + 1";
    cached(conn, sql)?.execute((project, name.to_string(), at.to_string())).map(drop).map_err(sql_error)
}

/// The project itself has changed, though its document has not.
pub(crate) fn note_project(conn: &Connection, project: &str, at: Timestamp) -> Result<()> {
    note(conn, project, &DocumentName::new(PROJECTS, project)?, at)
}

/// The projects with changes that no check has seen, the first to have waited first, at most `limit`.
pub(crate) fn projects(conn: &Connection, limit: usize) -> Result<Vec<UncheckedProject>> {
    let sql = "SELECT u.project, min(u.first_at), max(u.last_at), c.at FROM projects_unchecked u
               LEFT JOIN projects_checks c ON c.project = u.project GROUP BY u.project ORDER BY 2 LIMIT ?1";
    let read = |row: &Row<'_>| {
        Ok(UncheckedProject {
            project: row.get(0)?,
            unchecked: Unchecked { first: rows::time(row, 1)?, last: rows::time(row, 2)? },
            checked: optional(row, 3, rows::time)?,
        })
    };
    let mut statement = cached(conn, sql)?;
    let found = statement.query_map([count(limit)], read).map_err(sql_error)?;
    found.collect::<rusqlite::Result<_>>().map_err(sql_error)
}

/// The documents of a project whose changes no check has seen.
pub(crate) fn documents(conn: &Connection, project: &str) -> Result<Vec<UncheckedDocument>> {
    let sql = "SELECT document, changes FROM projects_unchecked WHERE project = ?1";
    let read = |row: &Row<'_>| {
        let name = rows::parsed(row, 0, |text| DocumentName::parse(text).ok())?;
        Ok(UncheckedDocument { name, changes: row.get(1)? })
    };
    let mut statement = cached(conn, sql)?;
    let found = statement.query_map([project], read).map_err(sql_error)?;
    found.collect::<rusqlite::Result<_>>().map_err(sql_error)
}

/// When a project was checked last.
pub(crate) fn checked_at(conn: &Connection, project: &str) -> Result<Option<Timestamp>> {
    let sql = "SELECT at FROM projects_checks WHERE project = ?1";
    cached(conn, sql)?.query_row([project], |row| rows::time(row, 0)).optional().map_err(sql_error)
}

/// A project is checked; of these documents what was noted until then is seen.
pub(crate) fn set_checked(conn: &Connection, project: &str, seen: &[UncheckedDocument], now: Timestamp) -> Result<()> {
    let sql = "INSERT OR REPLACE INTO projects_checks (project, at) VALUES (?1, ?2)";
    cached(conn, sql)?.execute((project, now.to_string())).map_err(sql_error)?;
    let sql = "DELETE FROM projects_unchecked WHERE project = ?1 AND document = ?2 AND changes = ?3";
    for UncheckedDocument { name, changes } in seen {
        cached(conn, sql)?.execute((project, name.to_string(), changes)).map_err(sql_error)?;
    }
    Ok(())
}
