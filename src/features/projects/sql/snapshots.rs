//! The table `projects_snapshots`.

use rusqlite::{OptionalExtension as _, Row};

use super::{cached, members};
use crate::base::error::Result;
use crate::features::projects::progress::measure::{Measures, Progress};
use crate::store::rows::{self, int};
use crate::store::{Connection, sql_error};

const COLUMNS: &str = "number, at, version, phase, completion, words, chapters, characters, wiki_entries, loops_open, \
                       loops_closed, notes";

fn read(row: &Row<'_>) -> rusqlite::Result<(i64, Progress)> {
    let measures = Measures {
        phase: row.get(3)?,
        completion_percent: row.get(4)?,
        word_count: rows::number(row, 5)?,
        entities: members::entities(row, 6)?,
        notes: row.get(11)?,
    };
    Ok((row.get(0)?, Progress { measures, version: rows::number(row, 2)?, at: rows::time(row, 1)? }))
}

pub(super) fn insert(conn: &Connection, key: i64, progress: &Progress) -> Result<()> {
    let sql = "INSERT INTO projects_snapshots (document, at, version, phase, completion, words, chapters, characters,
                                               wiki_entries, loops_open, loops_closed, notes)
               VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)";
    let Progress { measures, version, at } = progress;
    let Measures { phase, completion_percent, word_count, entities, notes } = measures;
    let row = (
        key,
        at.to_string(),
        int(*version),
        phase,
        completion_percent,
        int(*word_count),
        int(entities.chapters),
        int(entities.characters),
        int(entities.wiki_entries),
        int(entities.plot_loops.open),
        int(entities.plot_loops.closed),
        notes,
    );
    cached(conn, sql)?.execute(row).map(drop).map_err(sql_error)
}

/// The newest of the project with the document `key`.
pub(super) fn last(conn: &Connection, key: i64) -> Result<Option<Progress>> {
    let sql = format!("SELECT {COLUMNS} FROM projects_snapshots WHERE document = ?1 ORDER BY number DESC LIMIT 1");
    let found = cached(conn, &sql)?.query_row([key], read).optional().map_err(sql_error)?;
    Ok(found.map(|(_, progress)| progress))
}
