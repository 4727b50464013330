//! The tables `projects_members` and `projects_counts`.

use rusqlite::{OptionalExtension as _, Row};

use super::cached;
use crate::base::clock::Timestamp;
use crate::base::error::Result;
use crate::base::ids::{DocumentName, Version};
use crate::features::projects::members::{Member, MemberKind, PROJECTS};
use crate::features::projects::progress::measure::{Counts, Entities, PlotLoops};
use crate::store::rows::{self, int};
use crate::store::{Connection, sql_error};

/// A document of a project.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct MemberDocument {
    pub key: i64,
    pub kind: MemberKind,
    pub name: DocumentName,
}

/// What the document `key` counts as.
pub(crate) fn find(conn: &Connection, key: i64) -> Result<Option<Member>> {
    let sql = "SELECT project, kind, words, closed FROM projects_members WHERE document = ?1";
    let read = |row: &Row<'_>| {
        let kind = rows::parsed(row, 1, MemberKind::from_name)?;
        Ok(Member { project: row.get(0)?, kind, words: rows::number(row, 2)?, closed: row.get(3)? })
    };
    cached(conn, sql)?.query_row([key], read).optional().map_err(sql_error)
}

/// The documents of a project, of one kind or of all, by kind and key, at most `limit`.
pub(crate) fn list(
    conn: &Connection,
    project: &str,
    kind: Option<MemberKind>,
    limit: usize,
) -> Result<Vec<MemberDocument>> {
    let sql = "SELECT m.document, m.kind, d.collection, d.id FROM projects_members m
               JOIN documents d ON d.key = m.document
               WHERE m.project = ?1 AND (?2 IS NULL OR m.kind = ?2) ORDER BY m.kind, m.document LIMIT ?3";
    let read = |row: &Row<'_>| {
        let name = DocumentName::new(&row.get::<_, String>(2)?, &row.get::<_, String>(3)?);
        Ok(MemberDocument {
            key: row.get(0)?,
            kind: rows::parsed(row, 1, MemberKind::from_name)?,
            name: name.map_err(|error| rows::invalid_column(2, error))?,
        })
    };
    let values = (project, kind.map(MemberKind::collection), rows::count(limit));
    let mut statement = cached(conn, sql)?;
    let found = statement.query_map(values, read).map_err(sql_error)?;
    found.collect::<rusqlite::Result<_>>().map_err(sql_error)
}

/// Puts the document `key` where it belongs now, and counts it.
pub(super) fn replace(conn: &Connection, key: i64, before: Option<&Member>, after: Option<&Member>) -> Result<()> {
    if let Some(before) = before {
        count(conn, before, -1)?;
    }
    match after {
        None => cached(conn, "DELETE FROM projects_members WHERE document = ?1")?.execute([key]).map_err(sql_error)?,
        Some(Member { project, kind, words, closed }) => {
            let sql = "INSERT OR REPLACE INTO projects_members (document, project, kind, words, closed)
                       VALUES (?1, ?2, ?3, ?4, ?5)";
            let row = (key, project, kind.collection(), int(*words), *closed);
            cached(conn, sql)?.execute(row).map_err(sql_error)?
        }
    };
    after.map_or(Ok(()), |after| count(conn, after, 1))
}

/// Adds a member to the sums of its project, or takes it out.
fn count(conn: &Connection, member: &Member, by: i64) -> Result<()> {
    let Member { project, kind, words, closed } = member;
    let is = |wanted: MemberKind| if *kind == wanted { by } else { 0 };
    let loops = is(MemberKind::PlotLoop);
    let (open, closed) = if *closed { (0, loops) } else { (loops, 0) };
    let values = (
        project,
        int(*words) * by,
        is(MemberKind::Chapter),
        is(MemberKind::Character),
        is(MemberKind::WikiEntry),
        open,
        closed,
    );
    let sql = "INSERT INTO projects_counts VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7) ON CONFLICT (project) DO UPDATE
               SET words = words + ?2, chapters = chapters + ?3, characters = characters + ?4,
                   wiki_entries = wiki_entries + ?5, loops_open = loops_open + ?6, loops_closed = loops_closed + ?7";
    cached(conn, sql)?.execute(values).map_err(sql_error)?;
    let empty = "DELETE FROM projects_counts
                 WHERE project = ?1 AND chapters + characters + wiki_entries + loops_open + loops_closed = 0";
    if by < 0 { cached(conn, empty)?.execute([project]).map(drop).map_err(sql_error) } else { Ok(()) }
}

/// What is counted of a project's documents.
pub(crate) fn counts(conn: &Connection, project: &str) -> Result<Counts> {
    let sql = "SELECT words, chapters, characters, wiki_entries, loops_open, loops_closed FROM projects_counts
               WHERE project = ?1";
    let read = |row: &Row<'_>| Ok(Counts { words: rows::number(row, 0)?, entities: entities(row, 1)? });
    Ok(cached(conn, sql)?.query_row([project], read).optional().map_err(sql_error)?.unwrap_or_default())
}

/// The five columns from `first` on.
pub(super) fn entities(row: &Row<'_>, first: usize) -> rusqlite::Result<Entities> {
    Ok(Entities {
        chapters: rows::number(row, first)?,
        characters: rows::number(row, first + 1)?,
        wiki_entries: rows::number(row, first + 2)?,
        plot_loops: PlotLoops { open: rows::number(row, first + 3)?, closed: rows::number(row, first + 4)? },
    })
}

/// How many documents a project has.
pub(crate) fn total(conn: &Connection, project: &str) -> Result<u64> {
    let Entities { chapters, characters, wiki_entries, plot_loops } = counts(conn, project)?.entities;
    Ok(chapters + characters + wiki_entries + plot_loops.open + plot_loops.closed)
}

/// The words of each chapter of a project.
pub(crate) fn chapter_words(conn: &Connection, project: &str) -> Result<Vec<u64>> {
    let sql = "SELECT words FROM projects_members WHERE project = ?1 AND kind = ?2";
    let mut statement = cached(conn, sql)?;
    let values = (project, MemberKind::Chapter.collection());
    let found = statement.query_map(values, |row| rows::number(row, 0)).map_err(sql_error)?;
    found.collect::<rusqlite::Result<_>>().map_err(sql_error)
}

/// When the document `key` changed last.
pub(super) fn last_change_at(conn: &Connection, key: i64) -> Result<Option<Timestamp>> {
    let sql = "SELECT at FROM events WHERE document = ?1 ORDER BY version DESC LIMIT 1";
    cached(conn, sql)?.query_row([key], |row| rows::time(row, 0)).optional().map_err(sql_error)
}

/// Whether a project was there, and is deleted.
pub(super) fn is_project_deleted(conn: &Connection, project: &str) -> Result<bool> {
    let sql = "SELECT e.deletes FROM documents d JOIN events e ON e.document = d.key
               WHERE d.collection = ?1 AND d.id = ?2 ORDER BY e.version DESC LIMIT 1";
    let found = cached(conn, sql)?.query_row((PROJECTS, project), |row| row.get(0)).optional().map_err(sql_error)?;
    Ok(found.unwrap_or(false))
}

/// Whether the newest event of the document `key` is of this version.
pub(crate) fn is_at(conn: &Connection, key: i64, version: Version) -> Result<bool> {
    let sql = "SELECT version FROM events WHERE document = ?1 ORDER BY version DESC LIMIT 1";
    let found = cached(conn, sql)?.query_row([key], |row| rows::version(row, 0)).optional().map_err(sql_error)?;
    Ok(found == Some(version))
}

/// Those of `collections` that have a document which everybody may read.
pub(crate) fn public_collections(
    conn: &Connection,
    collections: impl IntoIterator<Item = String>,
) -> Result<Vec<String>> {
    let sql = "SELECT 1 FROM documents WHERE collection = ?1
                 AND coalesce(json_extract(access, '$.read'), 'all') = 'all' LIMIT 1";
    let mut statement = cached(conn, sql)?;
    let mut found = Vec::new();
    for collection in collections {
        if statement.exists([&collection]).map_err(sql_error)? {
            found.push(collection);
        }
    }
    Ok(found)
}

/// Whether all documents of a collection are in the index.
pub(crate) fn is_indexed(conn: &Connection, collection: &str) -> Result<bool> {
    let sql = "SELECT 1 FROM projects_indexed WHERE collection = ?1";
    cached(conn, sql)?.exists([collection]).map_err(sql_error)
}

/// Whether all documents that there are are in the index.
pub(crate) fn is_all_indexed(conn: &Connection) -> Result<bool> {
    // Projects are the last.
    is_indexed(conn, PROJECTS)
}

pub(crate) fn set_indexed(conn: &Connection, collection: &str) -> Result<()> {
    let sql = "INSERT OR IGNORE INTO projects_indexed VALUES (?1)";
    cached(conn, sql)?.execute([collection]).map(drop).map_err(sql_error)
}
