//! The tables `jobs` and `job_runs`.

use std::collections::HashMap;

use rusqlite::{OptionalExtension, Row};

use super::{RunOutcome, RunRecord, Summary, Trigger};
use crate::base::clock::Timestamp;
use crate::base::error::Result;
use crate::store::rows::{optional, time};
use crate::store::{Connection, sql_error};

/// The row of `jobs` that is no job.
const BELIEVED_CLOCK: &str = "believed-clock";

/// How far a job is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct JobProgress {
    /// All slots up to this are done with.
    pub covered: Timestamp,
    /// Whether a run was broken off, by the end of the server or by storage, that nothing has made up for.
    pub owed: bool,
}

/// Notes which runs the last end of the server broke off, and enters the jobs that are new. Returns how far each is.
pub(super) fn recover(
    conn: &Connection,
    names: &[&'static str],
    now: Timestamp,
) -> Result<HashMap<&'static str, JobProgress>> {
    let recover = || -> rusqlite::Result<_> {
        let broken_off = "SELECT job FROM job_runs WHERE outcome IS NULL AND dry_run = 0";
        conn.execute(&format!("UPDATE jobs SET owed = 1 WHERE name IN ({broken_off})"), [])?;
        let sql = "UPDATE job_runs SET outcome = ?1 WHERE outcome IS NULL";
        conn.execute(sql, [RunOutcome::Interrupted.as_str()])?;
        let mut progress = HashMap::new();
        for name in names {
            // What is new to this file is not late.
            let sql = "INSERT INTO jobs (name, covered, owed) VALUES (?1, ?2, 0) ON CONFLICT DO NOTHING";
            conn.execute(sql, (name, now.to_string()))?;
            let sql = "SELECT covered, owed FROM jobs WHERE name = ?1";
            let read = |row: &Row<'_>| Ok(JobProgress { covered: time(row, 0)?, owed: row.get(1)? });
            progress.insert(*name, conn.query_row(sql, [name], read)?);
        }
        Ok(progress)
    };
    recover().map_err(sql_error)
}

/// Notes that the clock is believed. What is stored under a doubted clock, events and runs of jobs among it, proves
/// nothing at the next start.
pub(crate) fn note_believed_clock(conn: &Connection, now: Timestamp) -> Result<()> {
    let sql = "INSERT INTO jobs (name, covered, owed) VALUES (?1, ?2, 0)
        ON CONFLICT (name) DO UPDATE SET covered = excluded.covered";
    conn.execute(sql, (BELIEVED_CLOCK, now.to_string())).map_err(sql_error)?;
    Ok(())
}

/// When the clock was last noted as believed, the newest event was stored and a job last began, as far as there are
/// any.
pub(crate) fn last_times(conn: &Connection) -> Result<Vec<Timestamp>> {
    let believed = format!("SELECT covered FROM jobs WHERE name = '{BELIEVED_CLOCK}'");
    let queries = [
        believed.as_str(),
        "SELECT at FROM events ORDER BY seq DESC LIMIT 1",
        "SELECT started_at FROM job_runs ORDER BY id DESC LIMIT 1",
    ];
    let read = |sql: &str| conn.query_row(sql, [], |row| time(row, 0)).optional();
    let times: rusqlite::Result<Vec<_>> = queries.into_iter().map(read).collect();
    Ok(times.map_err(sql_error)?.into_iter().flatten().collect())
}

/// Notes the beginning of a run; returns its id.
pub(super) fn start(conn: &Connection, job: &str, trigger: Trigger, dry_run: bool, now: Timestamp) -> Result<i64> {
    let sql = "INSERT INTO job_runs (job, cause, dry_run, started_at) VALUES (?1, ?2, ?3, ?4)";
    conn.execute(sql, (job, trigger.as_str(), dry_run, now.to_string())).map_err(sql_error)?;
    Ok(conn.last_insert_rowid())
}

/// The end of a run.
#[derive(Clone, Debug)]
pub(super) struct RunEnd {
    pub id: i64,
    pub job: &'static str,
    pub outcome: RunOutcome,
    pub summary: Option<Summary>,
    pub error: Option<String>,
    /// How far the job is now; `None`: as far as before.
    pub progress: Option<JobProgress>,
}

/// Notes the end of a run.
pub(super) fn end(conn: &Connection, end: &RunEnd, now: Timestamp) -> Result<()> {
    let summary = end.summary.as_ref().and_then(|summary| serde_json::to_string(summary).ok());
    let write = || -> rusqlite::Result<()> {
        let sql = "UPDATE job_runs SET ended_at = ?2, outcome = ?3, summary = ?4, error = ?5 WHERE id = ?1";
        conn.execute(sql, (end.id, now.to_string(), end.outcome.as_str(), summary, &end.error))?;
        if let Some(progress) = end.progress {
            let sql = "UPDATE jobs SET covered = ?2, owed = ?3 WHERE name = ?1";
            conn.execute(sql, (end.job, progress.covered.to_string(), progress.owed))?;
        }
        Ok(())
    };
    write().map_err(sql_error)
}

const COLUMNS: &str = "id, job, cause, dry_run, started_at, ended_at, outcome, summary, error";

/// The last runs of a job, newest first.
pub(super) fn last_runs(conn: &Connection, job: &str, limit: u32) -> Result<Vec<RunRecord>> {
    let read = || -> rusqlite::Result<_> {
        let sql = format!("SELECT {COLUMNS} FROM job_runs WHERE job = ?1 ORDER BY id DESC LIMIT ?2");
        conn.prepare_cached(&sql)?.query_map((job, limit), record)?.collect()
    };
    read().map_err(sql_error)
}

pub(super) fn run(conn: &Connection, id: i64) -> Result<Option<RunRecord>> {
    let sql = format!("SELECT {COLUMNS} FROM job_runs WHERE id = ?1");
    conn.query_row(&sql, [id], record).optional().map_err(sql_error)
}

/// Which runs are not kept: of each job those before its newest `kept`, and those begun before `before` but the newest.
const OLD: &str = "outcome IS NOT NULL AND id IN (
    SELECT id FROM (SELECT id, started_at, row_number() OVER (PARTITION BY job ORDER BY id DESC) AS place FROM job_runs)
    WHERE place > ?1 OR (place > 1 AND started_at < ?2))";

/// Forgets old runs; returns how many.
pub(super) fn trim(conn: &Connection, kept: u32, before: Timestamp) -> Result<usize> {
    conn.execute(&format!("DELETE FROM job_runs WHERE {OLD}"), (kept, before.to_string())).map_err(sql_error)
}

/// How many runs [`trim`] would forget.
pub(super) fn count_old(conn: &Connection, kept: u32, before: Timestamp) -> Result<usize> {
    let sql = format!("SELECT count(*) FROM job_runs WHERE {OLD}");
    let count: i64 = conn.query_row(&sql, (kept, before.to_string()), |row| row.get(0)).map_err(sql_error)?;
    Ok(usize::try_from(count).unwrap_or(0))
}

fn record(row: &Row<'_>) -> rusqlite::Result<RunRecord> {
    let summary: Option<String> = row.get(7)?;
    Ok(RunRecord {
        id: row.get(0)?,
        job: row.get(1)?,
        trigger: row.get(2)?,
        dry_run: row.get(3)?,
        started_at: time(row, 4)?,
        ended_at: optional(row, 5, time)?,
        outcome: row.get(6)?,
        // For people: one that a later release wrote in another way is left out.
        summary: summary.and_then(|text| serde_json::from_str(&text).ok()),
        error: row.get(8)?,
    })
}
