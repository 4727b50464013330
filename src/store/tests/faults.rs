//! Writes that fail, and what follows.

use std::sync::Barrier;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::*;
use crate::base::error::Kind;
use crate::base::limits::CHECKPOINT_FRAMES;

/// Fills the database up to its bound and returns the fault.
fn fill_up(world: &mut TestStore) -> WriteError {
    for round in 0..1000 {
        world.change("games/a", Some(json!({ "round": round, "text": round.to_string().repeat(2000) })));
        match world.try_commit() {
            Ok(_) => world.batch = Batch::default(),
            Err(fault) => return fault,
        }
    }
    panic!("it never was full");
}

#[test]
fn a_full_disk_is_told_and_the_rest_follows_when_there_is_room() {
    let mut world = TestStore::with(|options| options.pages_max = Some(40));
    let fault = fill_up(&mut world);
    assert!(fault.full, "{fault}");
    let durable = Seq(world.seq.0 - 1);
    assert_eq!(world.reader.head().unwrap().seq, durable, "nothing of the failed batch shows");
    assert!(!world.try_commit().unwrap_err().full, "the connection is not written to again");
    assert!(world.writer().load(&named("games/a")).unwrap().is_some(), "and still reads");

    assert_eq!(world.writer().reopen().unwrap().seq, durable);
    assert!(world.try_commit().unwrap_err().full, "still full");
    world.writer().pages_max().store(0, Ordering::Relaxed);
    assert_eq!(world.writer().reopen().unwrap().seq, durable);
    let last = world.documents["games/a"].len() - 2;
    let hash = world.documents["games/a"][last].hash;
    assert_eq!(world.writer().event_hash(durable).unwrap(), Some(hash));
    world.commit();
    world.check();
    assert_eq!(world.writer().head().seq, world.seq);
    world.restart();
    world.check();
}

#[test]
fn a_batch_is_stored_whole_or_not_at_all() {
    let mut world = TestStore::new();
    world.put("games/a", json!({ "n": 1 }));
    world.change("games/b", Some(json!({})));
    world.change("games/a", Some(json!({ "n": 2 })));
    world.snapshot("games/a", true);
    let twice = world.batch.events[0].clone();
    world.batch.events.push(twice);
    let fault = world.try_commit().unwrap_err();
    assert!(!fault.full);
    assert_eq!(world.writer().reopen().unwrap().seq, Seq(1));
    assert_eq!(world.writer().next_key(), 2);
    assert!(world.reader.load(&named("games/b")).unwrap().is_none());
    world.batch.events.pop();
    world.commit();
    world.check();
}

#[test]
fn a_document_given_again_after_it_was_stored_is_left_as_it_is() {
    let mut world = TestStore::new();
    world.change("games/a", Some(json!({ "n": 1 })));
    let documents = world.batch.documents.clone();
    world.commit();
    world.writer().reopen().unwrap();
    world.change("games/a", Some(json!({ "n": 2 })));
    world.batch.documents = documents;
    world.commit();
    world.check();
}

#[test]
fn a_reader_that_lingers_makes_reopening_wait_and_fail_but_not_lie() {
    let mut world = TestStore::new();
    world.put("games/a", json!({ "n": 1 }));
    let conn = Connection::open(world.options.data_dir.join(FILE_NAME)).unwrap();
    conn.execute_batch("BEGIN; SELECT count(*) FROM events").unwrap();
    world.put("games/a", json!({ "n": 2 }));
    world.writer().reopen().unwrap_err();
    assert!(world.writer().load(&named("games/a")).unwrap().is_some());
    conn.execute_batch("COMMIT").unwrap();
    assert_eq!(world.writer().reopen().unwrap().seq, Seq(2));
    world.put("games/a", json!({ "n": 3 }));
    world.check();
}

#[test]
fn the_wal_stays_bounded() {
    let mut world = TestStore::with(|options| options.synchronous = Synchronous::Normal);
    let wal = world.options.data_dir.join("rejoin.db-wal");
    let mut longest = 0;
    for round in 0..60 {
        for index in 0..20 {
            let text = "x".repeat(20_000);
            world.change(&format!("games/d{index}"), Some(json!({ "round": round, "text": text })));
            world.snapshot(&format!("games/d{index}"), false);
        }
        world.commit();
        world.writer().checkpoint_if_due().unwrap();
        longest = longest.max(std::fs::metadata(&wal).unwrap().len());
    }
    let frames = longest / 4120;
    assert!(frames >= u64::from(CHECKPOINT_FRAMES), "it was put to the test: {frames}");
    assert!(frames < 2 * u64::from(CHECKPOINT_FRAMES), "{frames}");
    world.writer.take().unwrap().close();
    assert_eq!(std::fs::metadata(&wal).map_or(0, |metadata| metadata.len()), 0);
}

#[test]
fn a_long_read_that_keeps_the_wal_past_its_bound_is_ended_and_a_short_one_is_not() {
    let mut world = TestStore::with(|options| {
        (options.wal_bytes_max, options.read_age_max) = (200_000, Duration::from_millis(200));
        options.synchronous = Synchronous::Normal;
    });
    world.put("games/a", json!({ "n": 1 }));
    let (reader, begun) = (world.reader.clone(), Arc::new(Barrier::new(2)));
    let (told, ended) = (Arc::clone(&begun), Instant::now());
    let long = std::thread::spawn(move || {
        reader.rows(|conn| {
            conn.query_row("SELECT count(*) FROM events", [], |_| Ok(())).map_err(sql_error)?;
            told.wait();
            // Without an end.
            let sql = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT max(i) FROM n";
            conn.query_row(sql, [], |row| row.get::<_, i64>(0)).map_err(sql_error)
        })
    });
    begun.wait();
    while !long.is_finished() {
        assert!(ended.elapsed() < Duration::from_secs(60), "it is not ended");
        world.put("games/a", json!({ "text": "x".repeat(50_000) }));
        world.writer().checkpoint_if_due().unwrap();
        assert!(world.reader.load(&named("games/a")).is_ok(), "a short read");
    }
    assert!(ended.elapsed() >= Duration::from_millis(200));
    let error = long.join().unwrap().unwrap_err();
    assert_eq!(error.kind(), Kind::StorageUnavailable, "{error}");
    // Nothing keeps it from starting over: it is tried again each second.
    while world.writer().wal_past_bound().is_some() {
        assert!(ended.elapsed() < Duration::from_secs(60), "the WAL stays");
        std::thread::sleep(Duration::from_millis(10));
        world.writer().checkpoint_if_due().unwrap();
    }
    world.check();
}
