//! Both jobs on a real engine and a real file, under a clock that is moved.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a panic fails the test")]

use std::sync::mpsc::sync_channel;

use serde_json::json;

use super::*;
use crate::base::error::Kind;
use crate::base::ids::{DocumentName, Version};
use crate::document::decide::{Expected, Request, WriteOperation};
use crate::document::visibility::Viewer;
use crate::engine::request::Write;
use crate::jobs::RunRecord;
use crate::jobs::tests::running::{DAY, RunningRunner};
use crate::store::{Connection, sql_error};

fn named(id: &str) -> DocumentName {
    DocumentName::new("maps", id).unwrap()
}

async fn write(running: &RunningRunner, id: &str, operation: WriteOperation) {
    let requests = vec![Request { name: named(id), operation, expected: Expected::default() }];
    running.engine.write(Write { requests, viewer: Viewer::Owner, key: None }).await.unwrap();
}

/// Brings a document to `version`, many versions in one transaction.
async fn change(running: &RunningRunner, id: &str, version: u64) {
    let from = running.reads.document(&named(id)).await.unwrap().map_or(0, |document| document.version.0);
    for some in (from + 1..=version).collect::<Vec<_>>().chunks(100) {
        let put = |round: &u64| Request {
            name: named(id),
            operation: WriteOperation::Put { state: json!({ "round": round }) },
            expected: Expected::default(),
        };
        let requests = some.iter().map(put).collect();
        running.engine.write(Write { requests, viewer: Viewer::Owner, key: None }).await.unwrap();
    }
}

/// The versions whose events are kept, and that all of them verify.
async fn kept(running: &RunningRunner, id: &str) -> (u64, u64) {
    let name = named(id);
    let read = move |reader: &store::Reader| {
        let kept = reader.storage_statistics(&name)?.unwrap();
        let document = reader.verify(&name)?.unwrap();
        assert_eq!(document.document.version, kept.last_version);
        assert_eq!(kept.events, kept.last_version.0 - kept.first_version.0 + 1, "without a gap");
        let first = reader.state_at(&name, kept.first_version)?;
        assert!(kept.first_version == Version(1) || first.is_deleted() || first.state.is_some());
        Ok((kept.first_version.0, kept.last_version.0))
    };
    running.reads.read(read).await.unwrap()
}

fn count(record: &RunRecord, name: &str) -> u64 {
    assert_eq!(record.outcome.as_deref(), Some("succeeded"), "{record:?}");
    record.summary.as_ref().unwrap().counts[name]
}

const LONG: Duration = Duration::from_secs(1000 * 24 * 3600);

#[tokio::test]
async fn history_that_is_too_old_goes_though_nobody_changes_the_document() {
    let running = RunningRunner::start(None);
    change(&running, "idle", 20).await;
    change(&running, "deleted", 5).await;
    write(&running, "deleted", WriteOperation::Delete).await;
    change(&running, "single", 1).await;
    running.clock.advance(20 * DAY);
    change(&running, "idle", 23).await;
    change(&running, "young", 4).await;
    let at_work = running.runner(vec![trim_job(HistoryRetention::default())]);
    assert_eq!(count(&at_work.run("history-trim", false).await, "documents"), 0);
    running.clock.advance(11 * DAY);
    let dry = at_work.run("history-trim", true).await;
    assert_eq!((count(&dry, "looked"), count(&dry, "documents"), count(&dry, "events")), (4, 2, 0));
    assert_eq!(kept(&running, "idle").await, (1, 23), "a dry run trims nothing");

    let record = at_work.run("history-trim", false).await;
    assert_eq!((count(&record, "documents"), count(&record, "events"), count(&record, "failed")), (2, 25, 0));
    assert_eq!(kept(&running, "idle").await, (21, 23), "what is young is kept");
    assert_eq!(kept(&running, "deleted").await, (6, 6), "the newest is kept, however old");
    assert_eq!((kept(&running, "single").await, kept(&running, "young").await), ((1, 1), (1, 4)));
    assert_eq!(count(&at_work.run("history-trim", false).await, "documents"), 0);
    // The documents go on as if nothing had been.
    change(&running, "idle", 24).await;
    write(&running, "deleted", WriteOperation::Put { state: json!({}) }).await;
    assert_eq!((kept(&running, "idle").await, kept(&running, "deleted").await), ((21, 24), (6, 7)));
}

#[tokio::test]
async fn a_bound_that_was_lowered_is_kept_step_by_step_and_run_by_run() {
    let running = RunningRunner::start(None);
    for id in ["a", "b", "c", "d"] {
        change(&running, id, 250).await;
    }
    let history = HistoryRetention { events_max: 10, kept: LONG };
    let pace = TrimPace { page: 2, documents_max: 100, events_per_step: 50, events_max: 300 };
    let at_work = running.runner(vec![trim_job_at(history, pace)]);
    let mut left = 4 * 240;
    for (events, documents) in [(300, 2), (300, 3), (300, 2), (60, 1), (0, 0)] {
        let record = at_work.run("history-trim", false).await;
        let (trimmed, touched) = (count(&record, "events"), count(&record, "documents"));
        assert!(trimmed <= events + 50 && touched <= documents, "{record:?}");
        left -= trimmed;
    }
    assert_eq!(left, 0);
    for id in ["a", "b", "c", "d"] {
        assert_eq!(kept(&running, id).await, (241, 250));
    }
}

#[tokio::test]
async fn each_run_goes_on_where_the_last_ended_and_then_begins_anew() {
    let running = RunningRunner::start(None);
    for index in 0..7 {
        change(&running, &format!("d{index}"), 1).await;
    }
    let pace = TrimPace { page: 2, documents_max: 4, ..PACE };
    let at_work = running.runner(vec![trim_job_at(HistoryRetention { events_max: 1, kept: LONG }, pace)]);
    assert_eq!(count(&at_work.run("history-trim", false).await, "looked"), 4);
    // Behind where it stands: not before the next time round.
    change(&running, "d0", 3).await;
    change(&running, "d6", 3).await;
    let record = at_work.run("history-trim", false).await;
    assert_eq!((count(&record, "looked"), count(&record, "documents")), (3, 1));
    assert_eq!((kept(&running, "d0").await, kept(&running, "d6").await), ((1, 3), (3, 3)));
    assert_eq!(count(&at_work.run("history-trim", false).await, "documents"), 1);
    assert_eq!(kept(&running, "d0").await, (3, 3));
}

#[tokio::test]
async fn a_damaged_history_stays_as_it_is_and_keeps_no_other() {
    let running = RunningRunner::start(None);
    for id in ["bad", "good"] {
        change(&running, id, 6).await;
    }
    let spoil = |conn: &Connection, _| {
        let sql = "UPDATE events SET body = replace(body, '3', '4') WHERE version = 3 AND document = 1";
        conn.execute(sql, []).map_err(sql_error)
    };
    assert_eq!(running.engine.rows(spoil).await.unwrap(), 1);
    let at_work = running.runner(vec![trim_job(HistoryRetention { events_max: 2, kept: LONG })]);
    let record = at_work.run("history-trim", false).await;
    assert_eq!((count(&record, "documents"), count(&record, "failed"), count(&record, "events")), (2, 1, 4));
    assert_eq!(kept(&running, "good").await, (5, 6));
    let bad = running.reads.read(|reader| Ok(reader.storage_statistics(&named("bad"))?.unwrap().events)).await.unwrap();
    assert_eq!(bad, 6);
}

#[tokio::test]
async fn the_wal_is_emptied_at_a_quiet_moment_and_not_while_somebody_reads_it() {
    let running = RunningRunner::start(None);
    change(&running, "a", 200).await;
    let wal = running.directory.path().join("rejoin.db-wal");
    assert!(wal.metadata().unwrap().len() > 0);
    let (let_go, held) = sync_channel::<()>(1);
    let (begun, begins) = sync_channel::<()>(1);
    let reads = running.reads.clone();
    let reading = tokio::spawn(async move {
        let hold = move |conn: &Connection| {
            conn.query_row("SELECT count(*) FROM events", [], |row| row.get::<_, i64>(0)).map_err(sql_error)?;
            begun.send(()).unwrap();
            held.recv_timeout(Duration::from_secs(20)).unwrap();
            Ok(())
        };
        reads.read(move |reader| reader.rows(hold)).await.unwrap();
    });
    tokio::task::spawn_blocking(move || begins.recv_timeout(Duration::from_secs(20)).unwrap()).await.unwrap();
    change(&running, "a", 210).await;
    let at_work = running.runner(vec![optimize_job()]);
    let record = at_work.run("storage-optimize", false).await;
    assert_eq!((count(&record, "optimized"), count(&record, "walEmptied")), (1, 0));
    assert!(count(&record, "walFrames") > 0);
    let_go.send(()).unwrap();
    reading.await.unwrap();
    assert_eq!(count(&at_work.run("storage-optimize", false).await, "walEmptied"), 1);
    // The record of the run's end is in it again.
    assert!(wal.metadata().unwrap().len() < 100_000);
    assert_eq!(running.engine.maintain_file().await.map(|tidied| tidied.wal_emptied).ok(), Some(true));
    assert_eq!(wal.metadata().unwrap().len(), 0);
    change(&running, "a", 220).await;
    assert_eq!(kept(&running, "a").await, (1, 220));
}

#[tokio::test]
async fn it_is_done_under_a_load_that_never_pauses_and_refused_while_storage_fails() {
    let running = Arc::new(RunningRunner::start(Some(256)));
    let load: Vec<_> = (0..4)
        .map(|index| {
            let running = Arc::clone(&running);
            tokio::spawn(async move {
                loop {
                    write(&running, &format!("d{index}"), WriteOperation::Put { state: json!({}) }).await;
                }
            })
        })
        .collect();
    let tidied = tokio::time::timeout(Duration::from_secs(60), running.engine.maintain_file()).await;
    assert!(tidied.unwrap().unwrap().optimized);
    for task in load {
        task.abort();
        let _ = task.await;
    }
    let fill = |conn: &Connection, _| {
        conn.execute_batch("CREATE TABLE filler (text TEXT)").map_err(sql_error)?;
        conn.execute("INSERT INTO filler VALUES (?1)", ["x".repeat(2 << 20)]).map(drop).map_err(sql_error)
    };
    assert_eq!(running.engine.rows(fill).await.unwrap_err().kind(), Kind::StorageUnavailable);
    assert_eq!(running.engine.maintain_file().await.unwrap_err().kind(), Kind::StorageUnavailable);
    running.recover().await;
    assert!(running.engine.maintain_file().await.unwrap().optimized);
}
