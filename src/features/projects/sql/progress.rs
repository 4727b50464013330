//! The table `projects_progress`, and the change of a progress with the snapshots that it makes due.

use rusqlite::{OptionalExtension as _, Row};

use super::{cached, members, phases, snapshots, unchecked};
use crate::base::clock::Timestamp;
use crate::base::error::{Error, Kind, Result};
use crate::base::ids::UserId;
use crate::features::projects::progress::measure::{Measures, ProjectProgress, Settings, Stated};
use crate::features::projects::progress::phases::{PhaseChange, Phases, check_change};
use crate::features::projects::progress::snapshots::{SaveDecision, decide, due};
use crate::store::rows::{self, int, optional};
use crate::store::{Connection, sql_error};

/// A row of the table.
#[derive(Clone, Debug)]
pub(crate) struct ProgressRow {
    pub key: i64,
    pub project: String,
    pub version: u64,
    pub at: Timestamp,
    pub began_at: Timestamp,
    pub stated: Stated,
    pub settings: Settings,
    pub saved_at: Option<Timestamp>,
    pub due_at: Option<Timestamp>,
}

const COLUMNS: &str = "document, project, version, at, began_at, phase, completion, words, notes, phases, goal_words, \
                       saved_at, due_at";

fn read(row: &Row<'_>) -> rusqlite::Result<ProgressRow> {
    let phases = Phases::new(rows::json(row, 9)?).ok_or_else(|| rows::invalid_column(9, "no list of phases"))?;
    Ok(ProgressRow {
        key: row.get(0)?,
        project: row.get(1)?,
        version: rows::number(row, 2)?,
        at: rows::time(row, 3)?,
        began_at: rows::time(row, 4)?,
        stated: Stated {
            phase: row.get(5)?,
            completion_percent: row.get(6)?,
            word_count: optional(row, 7, rows::number)?,
            notes: row.get(8)?,
        },
        settings: Settings { phases, goal_words: optional(row, 10, rows::number)? },
        saved_at: optional(row, 11, rows::time)?,
        due_at: optional(row, 12, rows::time)?,
    })
}

/// The progress of a project that is there.
pub(crate) fn find(conn: &Connection, project: &str) -> Result<Option<ProgressRow>> {
    let sql = format!("SELECT {COLUMNS} FROM projects_progress WHERE project = ?1");
    cached(conn, &sql)?.query_row([project], read).optional().map_err(sql_error)
}

impl ProgressRow {
    /// The row with what is counted now.
    pub(crate) fn measures(&self, conn: &Connection) -> Result<Measures> {
        Ok(Measures::new(&self.settings, &self.stated, members::counts(conn, &self.project)?))
    }

    pub(crate) fn progress(&self, conn: &Connection) -> Result<ProjectProgress> {
        Ok(ProjectProgress { measures: self.measures(conn)?, version: self.version, at: self.at })
    }

    fn write(&self, conn: &Connection) -> Result<()> {
        let sql = format!(
            "INSERT OR REPLACE INTO projects_progress ({COLUMNS})
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13)"
        );
        let Self { key, project, version, at, began_at, stated, settings, saved_at, due_at } = self;
        let phases = serde_json::to_string(settings.phases.names()).map_err(Error::internal)?;
        let row = (
            key,
            project,
            int(*version),
            at.to_string(),
            began_at.to_string(),
            &stated.phase,
            stated.completion_percent,
            stated.word_count.map(int),
            &stated.notes,
            phases,
            settings.goal_words.map(int),
            saved_at.map(|at| at.to_string()),
            due_at.map(|at| at.to_string()),
        );
        cached(conn, &sql)?.execute(row).map(drop).map_err(sql_error)
    }

    /// Saves what waits, if its time has come.
    fn save_due(&mut self, conn: &Connection, now: Timestamp) -> Result<()> {
        let Some(due_at) = self.due_at.filter(|due_at| *due_at <= now) else { return Ok(()) };
        snapshots::insert(conn, self.key, &self.progress(conn)?)?;
        (self.saved_at, self.due_at) = (Some(due_at), None);
        self.write(conn)
    }
}

/// A change of a project's progress under way: begun before anything is written that it consists of.
pub(crate) struct ProgressChange {
    /// As it is to be.
    pub row: ProgressRow,
    before: Measures,
    row_before: (Stated, Settings),
    at: Timestamp,
}

/// Begins a change. `None`: the project is not there.
pub(crate) fn begin(conn: &Connection, project: &str, at: Timestamp) -> Result<Option<ProgressChange>> {
    let Some(mut row) = find(conn, project)? else { return Ok(None) };
    let at = at.max(row.at);
    row.save_due(conn, at)?;
    let (before, row_before) = (row.measures(conn)?, (row.stated.clone(), row.settings.clone()));
    Ok(Some(ProgressChange { row, before, row_before, at }))
}

/// The same for a project that must be there. Error: [`not_stored_yet`].
pub(crate) fn begin_of(conn: &Connection, project: &str, at: Timestamp) -> Result<ProgressChange> {
    begin(conn, project, at)?.ok_or_else(not_stored_yet)
}

/// The refusal of what needs the rows of a project that has none: it was created while storage fails, or just now
/// deleted.
pub(crate) fn not_stored_yet() -> Error {
    Error::new(Kind::StorageUnavailable, "the progress of this project is not stored yet; try again")
}

impl ProgressChange {
    /// As it was.
    pub(crate) fn before(&self) -> &Measures {
        &self.before
    }

    /// Puts the project into another phase. Errors: those of [`check_change`].
    pub(crate) fn change_phase(
        &mut self,
        conn: &Connection,
        (field, to): (&str, &str),
        reason: Option<String>,
        changed_by: &UserId,
    ) -> Result<PhaseChange> {
        let (row, from) = (&mut self.row, self.before.phase.clone());
        check_change(&row.settings.phases, &from, (field, to), reason.is_some())?;
        let since = phases::since(conn, row.key)?.unwrap_or(row.began_at);
        let lasted_ms = u64::try_from(self.at.as_millis() - since.as_millis()).unwrap_or(0);
        let (to, changed_by) = (to.to_owned(), changed_by.to_string());
        row.stated.phase = Some(to.clone());
        let change = PhaseChange { from, to, reason, changed_by, at: self.at, lasted_ms };
        phases::insert(conn, row.key, &change)?;
        Ok(change)
    }

    /// Stores what has changed.
    pub(crate) fn finish(self, conn: &Connection) -> Result<()> {
        let Self { mut row, before, row_before: (stated, settings), at } = self;
        if stated.phase != row.stated.phase {
            unchecked::note_project(conn, &row.project, at)?;
        }
        let now = row.measures(conn)?;
        if now == before {
            let same = stated == row.stated && settings == row.settings;
            return if same { Ok(()) } else { row.write(conn) };
        }
        (row.version, row.at) = (row.version + 1, at);
        save(conn, row, now)
    }
}

/// The project of the document `key`, called `project`, is new.
pub(super) fn create(conn: &Connection, (key, project): (i64, &str), settings: &Settings, at: Timestamp) -> Result<()> {
    let row = ProgressRow {
        key,
        project: project.to_owned(),
        version: 1,
        at,
        began_at: at,
        stated: Stated::default(),
        settings: settings.clone(),
        saved_at: None,
        due_at: None,
    };
    let now = row.measures(conn)?;
    save(conn, row, now)
}

/// Stores a row whose progress has changed to `now`, and the snapshot that is due.
fn save(conn: &Connection, mut row: ProgressRow, now: Measures) -> Result<()> {
    let last = snapshots::last(conn, row.key)?;
    let last = last.as_ref().map(|last| &last.measures).zip(row.saved_at);
    match decide(last, &now, row.at) {
        SaveDecision::Nothing => row.due_at = None,
        SaveDecision::Later => row.due_at = row.saved_at.map(due),
        SaveDecision::Now => {
            snapshots::insert(conn, row.key, &ProjectProgress { measures: now, version: row.version, at: row.at })?;
            (row.saved_at, row.due_at) = (Some(row.at), None);
        }
    }
    row.write(conn)
}

/// Saves what waits of a project, if its time has come.
pub(crate) fn save_due_of(conn: &Connection, project: &str, now: Timestamp) -> Result<()> {
    find(conn, project)?.map_or(Ok(()), |mut row| row.save_due(conn, now))
}

/// Saves what waits of each project whose time has come. Returns when the next is due.
pub(crate) fn save_all_due(conn: &Connection, now: Timestamp) -> Result<Option<Timestamp>> {
    let sql = format!("SELECT {COLUMNS} FROM projects_progress WHERE due_at <= ?1");
    let mut statement = cached(conn, &sql)?;
    let found = statement.query_map([now.to_string()], read).map_err(sql_error)?;
    let found: Vec<ProgressRow> = found.collect::<rusqlite::Result<_>>().map_err(sql_error)?;
    found.into_iter().try_for_each(|mut row| row.save_due(conn, now))?;
    next_due(conn)
}

/// When something is to be saved next.
pub(crate) fn next_due(conn: &Connection) -> Result<Option<Timestamp>> {
    let sql = "SELECT min(due_at) FROM projects_progress WHERE due_at IS NOT NULL";
    cached(conn, sql)?.query_row((), |row| optional(row, 0, rows::time)).map_err(sql_error)
}

/// The id of the project with the document `key`, if it is there.
pub(super) fn project_of(conn: &Connection, key: i64) -> Result<Option<String>> {
    let sql = "SELECT project FROM projects_progress WHERE document = ?1";
    cached(conn, sql)?.query_row([key], |row| row.get(0)).optional().map_err(sql_error)
}

/// The progress of the project with the document `key` goes, with its past.
pub(super) fn remove(conn: &Connection, key: i64) -> Result<()> {
    for table in ["projects_progress", "projects_snapshots", "projects_phases"] {
        cached(conn, &format!("DELETE FROM {table} WHERE document = ?1"))?.execute([key]).map_err(sql_error)?;
    }
    Ok(())
}
