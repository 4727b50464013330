//! The clean-up on a real engine and a real file, under a clock that stands still.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a panic fails the test")]

use std::sync::Arc;

use parking_lot::Mutex;
use serde_json::json;

use super::cleanup::{Cleanup, cleanup_job};
use crate::base::error::{Error, Kind};
use crate::base::ids::DocumentName;
use crate::document::access::Access;
use crate::document::decide::{Expected, Request, WriteOperation};
use crate::document::visibility::Viewer;
use crate::engine::request::Write;
use crate::jobs::RunRecord;
use crate::jobs::tests::running::{AtWork, DAY, RunningRunner};
use crate::store::{Connection, sql_error};

/// What the purge was asked to remove. It refuses games whose name says so.
type Purged = Arc<Mutex<Vec<String>>>;

fn cleanup(running: &RunningRunner) -> (AtWork, Purged) {
    let purged = Purged::default();
    let (asked, engine) = (Arc::clone(&purged), running.engine.clone());
    let compacting = running.engine.clone();
    let cleanup = Cleanup {
        compacted: DAY,
        compact: Arc::new(move |name, version| {
            let engine = compacting.clone();
            Box::pin(async move { engine.compact(name, version).await.map(drop) })
        }),
        completed: 7 * DAY,
        abandoned: 30 * DAY,
        purge: Arc::new(move |name, version| {
            let (asked, engine) = (Arc::clone(&asked), engine.clone());
            Box::pin(async move {
                asked.lock().push(name.to_string());
                match name.id.as_str() {
                    "stuck" => return Err(Error::new(Kind::Damaged, "it does not add up")),
                    "moves" => return Err(Error::new(Kind::VersionConflict, "somebody plays")),
                    _ => {}
                }
                let expected = Expected { version: Some(version), ..Expected::default() };
                let requests = vec![Request { name, operation: WriteOperation::Delete, expected }];
                engine.write(Write { requests, viewer: Viewer::Owner, key: None }).await.map(drop)
            })
        }),
        connected: Arc::new(|name: &DocumentName| name.id.as_str() == "watched"),
    };
    (running.runner(vec![cleanup_job(cleanup)]), purged)
}

async fn create(running: &RunningRunner, collection: &str, id: &str) {
    let operation = WriteOperation::Create { state: json!({ "round": 1 }), host: None, access: Access::default() };
    let name = DocumentName::new(collection, id).unwrap();
    let requests = vec![Request { name, operation, expected: Expected::default() }];
    running.engine.write(Write { requests, viewer: Viewer::Owner, key: None }).await.unwrap();
}

async fn complete(running: &RunningRunner, id: &'static str) {
    let write = move |conn: &Connection, now: crate::base::clock::Timestamp| {
        let sql = "INSERT INTO games (document, status, completed_at)
                   SELECT key, 'completed', ?2 FROM documents WHERE collection = 'games' AND id = ?1";
        conn.execute(sql, (id, now.to_string())).map_err(sql_error)
    };
    assert_eq!(running.engine.rows(write).await.unwrap(), 1);
}

fn count(record: &RunRecord, name: &str) -> u64 {
    record.summary.as_ref().unwrap().counts[name]
}

async fn removals(running: &RunningRunner) -> Vec<(String, String)> {
    let ask = |conn: &Connection| {
        let sql = "SELECT document, why FROM game_removals ORDER BY document";
        let mut statement = conn.prepare(sql).map_err(sql_error)?;
        let found = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).map_err(sql_error)?;
        found.collect::<Result<_, _>>().map_err(sql_error)
    };
    running.reads.read(move |reader| reader.rows(ask)).await.unwrap()
}

#[tokio::test]
async fn games_that_are_over_are_removed_and_no_other() {
    let running = RunningRunner::start(None);
    for id in ["done-long-ago", "done-today", "silent", "watched", "stuck", "moves"] {
        create(&running, "games", id).await;
    }
    create(&running, "maps", "silent").await;
    complete(&running, "done-long-ago").await;
    let (at_work, purged) = cleanup(&running);
    let record = at_work.run("games-cleanup", false).await;
    assert_eq!((count(&record, "completed"), count(&record, "abandoned")), (0, 0));

    running.clock.advance(7 * DAY);
    assert_eq!(count(&at_work.run("games-cleanup", false).await, "completed"), 0, "seven days are not past yet");
    running.clock.advance(24 * DAY);
    complete(&running, "done-today").await;
    create(&running, "games", "young").await;

    let dry = at_work.run("games-cleanup", true).await;
    assert_eq!((count(&dry, "completed"), count(&dry, "abandoned"), count(&dry, "failed")), (1, 3, 0));
    let names = dry.summary.unwrap().names;
    assert_eq!(names[0], "games/done-long-ago (completed)");
    assert!(purged.lock().is_empty() && removals(&running).await.is_empty(), "a dry run removes nothing");

    let record = at_work.run("games-cleanup", false).await;
    assert_eq!(record.outcome.as_deref(), Some("succeeded"), "{record:?}");
    assert_eq!((count(&record, "completed"), count(&record, "abandoned"), count(&record, "failed")), (1, 1, 1));
    assert_eq!(*purged.lock(), ["games/done-long-ago", "games/moves", "games/silent", "games/stuck"]);
    let noted = [("games/done-long-ago", "completed"), ("games/silent", "abandoned")];
    assert_eq!(removals(&running).await, noted.map(|(name, why)| (name.to_owned(), why.to_owned())));
    purged.lock().clear();
    let again = at_work.run("games-cleanup", false).await;
    assert_eq!((count(&again, "completed"), count(&again, "abandoned")), (0, 0), "what is removed stays so");
    assert_eq!(*purged.lock(), ["games/moves", "games/stuck"]);
}

#[tokio::test]
async fn what_is_written_to_a_completed_game_is_kept_as_long_as_any() {
    let running = RunningRunner::start(None);
    create(&running, "games", "done").await;
    complete(&running, "done").await;
    running.clock.advance(7 * DAY);
    let (name, operation) =
        (DocumentName::new("games", "done").unwrap(), WriteOperation::Patch(json!({ "round": 2 }).into()));
    let requests = vec![Request { name, operation, expected: Expected::default() }];
    running.engine.write(Write { requests, viewer: Viewer::Owner, key: None }).await.unwrap();
    let (at_work, purged) = cleanup(&running);
    running.clock.advance(7 * DAY);
    assert_eq!(count(&at_work.run("games-cleanup", false).await, "completed"), 0, "written to seven days ago");
    running.clock.advance(DAY);
    assert_eq!(count(&at_work.run("games-cleanup", false).await, "completed"), 1);
    assert_eq!(*purged.lock(), ["games/done"]);
}

#[tokio::test]
async fn the_history_of_a_completed_game_goes_a_day_after_its_end() {
    let running = RunningRunner::start(None);
    for id in ["done", "goes-on"] {
        create(&running, "games", id).await;
        for round in 2..6 {
            let patch = json!({ "round": round });
            let request = Request {
                name: DocumentName::new("games", id).unwrap(),
                operation: WriteOperation::Patch(patch.into()),
                expected: Expected::default(),
            };
            running.engine.write(Write { requests: vec![request], viewer: Viewer::Owner, key: None }).await.unwrap();
        }
    }
    complete(&running, "done").await;
    let (at_work, _) = cleanup(&running);
    assert_eq!(count(&at_work.run("games-cleanup", false).await, "compacted"), 0);
    running.clock.advance(DAY);
    let dry = at_work.run("games-cleanup", true).await;
    assert_eq!((count(&dry, "compacted"), &dry.summary.unwrap().names[0][..]), (1, "games/done (history)"));
    let kept = async |id| {
        let name = DocumentName::new("games", id).unwrap();
        running.reads.read(move |reader| reader.storage_statistics(&name)).await.unwrap().unwrap().events
    };
    assert_eq!(kept("done").await, 5, "a dry run drops nothing");
    assert_eq!(count(&at_work.run("games-cleanup", false).await, "compacted"), 1);
    assert_eq!((kept("done").await, kept("goes-on").await), (1, 5));
    assert_eq!(count(&at_work.run("games-cleanup", false).await, "compacted"), 0, "once");
}

#[tokio::test]
async fn tokens_go_a_day_after_they_expired() {
    let running = RunningRunner::start(None);
    create(&running, "games", "g1").await;
    complete(&running, "g1").await;
    let issue = |conn: &Connection, now: crate::base::clock::Timestamp| {
        for index in 0..2_500 {
            let sql = "INSERT INTO reconnect_tokens (hash, document, player, identity, family, issued_at, expires_at)
                       VALUES (?1, 1, 'alice', 'alice', ?1, ?2, ?2)";
            conn.execute(sql, (format!("{index:064}"), now.to_string())).map_err(sql_error)?;
        }
        Ok(())
    };
    running.engine.rows(issue).await.unwrap();
    let (at_work, _) = cleanup(&running);
    running.clock.advance(DAY);
    assert_eq!(count(&at_work.run("games-cleanup", false).await, "tokens"), 0, "they are told as expired for a day");
    running.clock.advance(DAY);
    assert_eq!(count(&at_work.run("games-cleanup", true).await, "tokens"), 2_500);
    assert_eq!(count(&at_work.run("games-cleanup", false).await, "tokens"), 2_500);
    assert_eq!(count(&at_work.run("games-cleanup", false).await, "tokens"), 0);
}

#[tokio::test]
async fn many_games_are_looked_at_page_by_page() {
    let running = RunningRunner::start(None);
    let name = |index: usize| DocumentName::new("games", &format!("g{index:04}")).unwrap();
    let create = |index| Request {
        name: name(index),
        operation: WriteOperation::Create { state: json!({}), host: None, access: Access::default() },
        expected: Expected::default(),
    };
    for batch in 0..5 {
        let requests = (batch * 90..(batch + 1) * 90).map(create).collect();
        running.engine.write(Write { requests, viewer: Viewer::Owner, key: None }).await.unwrap();
    }
    running.clock.advance(31 * DAY);
    let (at_work, _) = cleanup(&running);
    let dry = at_work.run("games-cleanup", true).await;
    assert_eq!(count(&dry, "abandoned"), 450);
    assert_eq!(dry.summary.unwrap().names.len(), 100, "the names are bounded");
}
