//! The database file as others find it: damaged or without its WAL, held open by another process, looked into by
//! people.

use std::fs;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use rusqlite::{Connection, OpenFlags};
use serde_json::{Value, json};

use crate::support::Process;
use crate::support::history::verified_history;
use crate::support::process::{command, run_to_end};

const WAL_HEADER: u64 = 32;
const FRAME: u64 = 24 + 4096;

/// A server that was killed after `games/g1` had so many versions.
async fn killed_at(version: u64) -> Process {
    let mut server = Process::start(&[]);
    for round in 1..=version {
        let (status, _) = server.put("/api/v1/games/g1", &json!({ "round": round, "pad": "x".repeat(3000) })).await;
        assert!(status < 202, "{status}");
    }
    server.kill();
    server
}

fn wal_of(server: &Process) -> std::path::PathBuf {
    server.data_dir().join("rejoin.db-wal")
}

fn flip_a_bit(path: &Path, offset: u64) {
    let file = fs::OpenOptions::new().read(true).write(true).open(path).unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, offset).unwrap();
    file.write_all_at(&[byte[0] ^ 1], offset).unwrap();
}

/// What was kept of WALs that were damaged.
fn copies_of_wal(server: &Process) -> Vec<Vec<u8>> {
    let paths = fs::read_dir(server.data_dir()).unwrap().map(|entry| entry.unwrap().path());
    let copies = paths.filter(|path| path.to_string_lossy().contains("rejoin.db-wal.damaged-"));
    copies.map(|path| fs::read(path).unwrap()).collect()
}

/// Everywhere where a loss is told of a server that has just started, and that it is told once.
async fn told_everywhere(server: &mut Process, words: &str) {
    let report = server.until_ready(|status, _| status == 200).await;
    let warning = report["storage"]["warning"].as_str().unwrap_or_default().to_owned();
    assert!(warning.contains(words), "{report}");
    assert!(server.log().contains(words), "{}", server.log());
    let end = Instant::now() + Duration::from_secs(20);
    let row = loop {
        let (_, audit) = server.get("/reconciliation/audit?service=log&limit=50").await;
        let rows = audit["items"].as_array().cloned().unwrap_or_default();
        match rows.into_iter().find(|row| row.to_string().contains(words)) {
            Some(row) => break row,
            None => assert!(Instant::now() < end, "{audit}"),
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    };
    assert_eq!(row["status"], "discrepancy", "{row}");
    assert!(server.terminate().success());
    server.start_again();
    let report = server.until_ready(|status, _| status == 200).await;
    assert_eq!(report["storage"].get("warning"), None, "{report}");
}

fn strict_start(server: &Process) -> (i32, String) {
    run_to_end(command(&server.data_dir(), "127.0.0.1:0", &["--strict".to_owned()]))
}

#[tokio::test]
async fn a_flipped_bit_in_the_wal_is_told_and_the_wal_is_kept() {
    let mut server = killed_at(30).await;
    let wal = wal_of(&server);
    let frames = (fs::metadata(&wal).unwrap().len() - WAL_HEADER) / FRAME;
    // Behind the frames of the start, which makes the tables.
    flip_a_bit(&wal, WAL_HEADER + frames * 2 / 3 * FRAME + 24 + 1000);
    let damaged = fs::read(&wal).unwrap();

    for _ in 0..2 {
        let (code, said) = strict_start(&server);
        assert_eq!(code, 16, "{said}");
        assert!(said.contains("the WAL is damaged at byte"), "{said}");
        assert_eq!(fs::read(&wal).unwrap(), damaged, "a refused start changes nothing");
    }
    server.start_again();
    let kept = verified_history(&server, "games/g1").await.len();
    assert!(kept > 0 && kept < 30, "{kept}");
    told_everywhere(&mut server, "the WAL is damaged at byte").await;
    assert_eq!(copies_of_wal(&server), [damaged]);
}

#[tokio::test]
async fn a_wal_of_which_the_end_is_damaged_or_cut_off_is_told_and_kept() {
    for place in ["last frame", "cut off"] {
        let mut server = killed_at(20).await;
        let wal = wal_of(&server);
        let length = fs::metadata(&wal).unwrap().len();
        match place {
            "last frame" => flip_a_bit(&wal, length - 2000),
            _ => fs::OpenOptions::new().write(true).open(&wal).unwrap().set_len(WAL_HEADER + 10 * FRAME).unwrap(),
        }
        let damaged = fs::read(&wal).unwrap();
        assert_eq!(strict_start(&server).0, 16, "{place}");
        assert_eq!(fs::read(&wal).unwrap(), damaged, "a refused start changes nothing");
        assert_eq!(copies_of_wal(&server).len(), 0, "{place}");
        server.start_again();
        told_everywhere(&mut server, "has stored events up to 20 here; the WAL was copied to rejoin.db-wal.damaged-")
            .await;
        assert_eq!(copies_of_wal(&server), [damaged], "{place}");
    }
}

#[tokio::test]
async fn damage_in_the_header_or_the_last_frame_of_the_wal_is_told() {
    for place in ["header", "last frame"] {
        let mut server = killed_at(12).await;
        let wal = wal_of(&server);
        let length = fs::metadata(&wal).unwrap().len();
        flip_a_bit(&wal, if place == "header" { 17 } else { length - FRAME + 24 + 7 });
        assert_eq!(strict_start(&server).0, 16, "{place}");
        server.start_again();
        let words = if place == "header" { "the WAL is damaged at byte 0" } else { "has stored events up to 12 here" };
        told_everywhere(&mut server, words).await;
    }
}

#[tokio::test]
async fn a_wal_that_is_gone_is_told() {
    let mut server = killed_at(12).await;
    fs::remove_file(wal_of(&server)).unwrap();
    for _ in 0..2 {
        let (code, said) = strict_start(&server);
        assert_eq!(code, 16, "{said}");
        assert!(said.contains("a server has stored events up to 12 here"), "{said}");
    }
    server.start_again();
    told_everywhere(&mut server, "a server has stored events up to 12 here").await;
}

#[tokio::test]
async fn a_copy_of_an_open_file_without_its_wal_is_told() {
    let mut server = Process::start(&[]);
    assert_eq!(server.put("/api/v1/games/g1", &json!({ "round": 1 })).await.0, 201);
    let copy = tempfile::tempdir().unwrap();
    fs::copy(server.data_dir().join("rejoin.db"), copy.path().join("rejoin.db")).unwrap();
    let flags = ["--strict".to_owned()];
    let (code, said) = run_to_end(command(copy.path(), "127.0.0.1:0", &flags));
    assert_eq!(code, 16, "{said}");
    assert!(said.contains("its WAL was not copied with it"), "{said}");
    // A copy of a file that nobody has open is whole.
    assert!(server.terminate().success());
    let whole = server.data_dir().join("rejoin.db");
    server.start_again_with(&["--strict"]);
    assert!(server.terminate().success());
    fs::remove_file(server.data_dir().join("rejoin.lock")).unwrap();
    assert!(whole.exists());
    server.start_again_with(&["--strict"]);
    assert_eq!(verified_history(&server, "games/g1").await.len(), 1);
}

#[tokio::test]
async fn a_copy_that_sqlite_makes_of_an_open_file_has_everything_and_passes() {
    let server = Process::start(&[]);
    for round in 0..6 {
        assert!(server.put("/api/v1/games/g1", &json!({ "round": round })).await.0 <= 201);
        let copy = tempfile::tempdir().unwrap();
        fs::create_dir(copy.path().join("data")).unwrap();
        let (from, to) = (server.data_dir().join("rejoin.db"), copy.path().join("data/rejoin.db"));
        let vacuum = || {
            let from = Connection::open(&from).unwrap();
            let _ = fs::remove_file(&to);
            from.execute("VACUUM INTO ?1", [to.to_str().unwrap()]).unwrap();
        };
        let backup = || {
            let copied = Command::new("sqlite3").arg(&from).arg(format!(".backup {}", to.display())).status();
            // Not every machine has it.
            copied.map_or_else(|_| vacuum(), |status| assert!(status.success()));
        };
        match round % 3 {
            0 => vacuum(),
            1 => backup(),
            // Over an older one.
            _ => (0..2).for_each(|_| backup()),
        }
        fs::copy(server.data_dir().join("rejoin.integrity-key"), copy.path().join("data/rejoin.integrity-key"))
            .unwrap();
        let copied = Process::start_in(copy, &["--strict"]);
        assert_eq!(verified_history(&copied, "games/g1").await.len(), round + 1, "{round}");
        let report = copied.until_ready(|status, _| status == 200).await;
        assert_eq!(report["storage"], json!({ "state": "ok" }), "{round}");
    }
}

/// Whatever the schema is when it is copied.
#[tokio::test]
async fn a_copy_without_its_wal_is_told_also_after_another_program_has_changed_the_schema() {
    let server = Process::start(&[]);
    let beside = Connection::open(server.data_dir().join("rejoin.db")).unwrap();
    beside.execute_batch("CREATE TABLE notes (text TEXT); CREATE INDEX notes_text ON notes (text)").unwrap();
    let version = |conn: &Connection| conn.query_row("PRAGMA schema_version", [], |row| row.get::<_, i64>(0)).unwrap();
    let marked = || beside.query_row("SELECT open FROM open_mark", [], |row| row.get::<_, i64>(0)).unwrap();
    let end = Instant::now() + Duration::from_secs(30);
    while marked() != version(&beside) {
        assert!(Instant::now() < end, "{} {}", marked(), version(&beside));
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    beside.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).unwrap();
    assert_eq!(server.put("/api/v1/games/g1", &json!({ "round": 1 })).await.0, 201);
    let copy = tempfile::tempdir().unwrap();
    fs::copy(server.data_dir().join("rejoin.db"), copy.path().join("rejoin.db")).unwrap();
    let (code, said) = run_to_end(command(copy.path(), "127.0.0.1:0", &["--strict".to_owned()]));
    assert_eq!(code, 16, "{said}");
    assert!(said.contains("its WAL was not copied with it"), "{said}");
}

#[tokio::test]
async fn a_kill_is_no_loss_whoever_has_looked_in_since() {
    let mut server = killed_at(5).await;
    server.start_again_with(&["--strict"]);
    server.kill();
    // Whoever closes it last moves the WAL into the database and removes it.
    let database = Connection::open(server.data_dir().join("rejoin.db")).unwrap();
    let events: i64 = database.query_row("SELECT count(*) FROM events", [], |row| row.get(0)).unwrap();
    drop(database);
    assert_eq!((events, wal_of(&server).exists()), (5, false));
    server.start_again_with(&["--strict"]);
    let report = server.until_ready(|status, _| status == 200).await;
    assert_eq!(report["storage"], json!({ "state": "ok" }));
}

#[tokio::test]
async fn an_empty_database_beside_a_wal_is_refused_and_the_wal_stays() {
    for missing in [false, true] {
        let server = killed_at(5).await;
        let database = server.data_dir().join("rejoin.db");
        let wal = fs::read(wal_of(&server)).unwrap();
        match missing {
            true => fs::remove_file(&database).unwrap(),
            false => fs::write(&database, "").unwrap(),
        }
        let (code, said) = run_to_end(command(&server.data_dir(), "127.0.0.1:0", &[]));
        assert_eq!(code, 14, "{said}");
        assert!(said.contains("it is empty, and its WAL is not"), "{said}");
        assert_eq!(fs::read(wal_of(&server)).unwrap(), wal);
    }
}

fn reader_of(server: &Process) -> Connection {
    let path = server.data_dir().join("rejoin.db");
    let reader = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY).unwrap();
    reader.execute_batch("BEGIN; SELECT count(*) FROM events;").unwrap();
    let _: i64 = reader.query_row("SELECT count(*) FROM events", [], |row| row.get(0)).unwrap();
    reader
}

async fn warned(server: &Process, warned: bool) -> Value {
    server.until_ready(|_, report| report["storage"].get("warning").is_some() == warned).await
}

#[tokio::test]
async fn a_wal_past_its_bound_is_told_until_it_is_within() {
    let server = Process::start(&["--wal-bytes-max=1048576"]);
    assert_eq!(server.put("/api/v1/games/g1", &json!({})).await.0, 201);
    let reader = reader_of(&server);
    for round in 0..8 {
        let state = json!({ "round": round, "text": format!("{round}").repeat(300_000) });
        assert_eq!(server.put("/api/v1/games/g1", &state).await.0, 200);
    }
    let report = warned(&server, true).await;
    let warning = report["storage"]["warning"].as_str().unwrap();
    assert!(warning.contains("wal-bytes-max") && warning.contains("read transaction"), "{warning}");
    assert_eq!(report["storage"]["state"], "ok");
    assert!(report["walBytes"].as_u64() > Some(1_048_576), "{report}");
    assert!(server.log().contains("the WAL is past its bound"), "{}", server.log());
    drop(reader);
    warned(&server, false).await;
    let wal = fs::metadata(wal_of(&server)).unwrap().len();
    assert!(wal <= 1_048_576, "{wal}");
}

/// Another process reads, which would keep a WAL from being emptied, and a second one writes for longer than is waited.
#[tokio::test]
async fn a_busy_database_is_no_failed_disk() {
    let server = Process::start(&[]);
    // A lock that is short enough is waited for; on a busy machine it may take longer than it should.
    let short = Connection::open(server.data_dir().join("rejoin.db")).unwrap();
    short.execute_batch("BEGIN IMMEDIATE").unwrap();
    let lock = std::thread::spawn(move || {
        let began = Instant::now();
        std::thread::sleep(Duration::from_millis(50));
        short.execute_batch("ROLLBACK").unwrap();
        began.elapsed()
    });
    let (status, written) = server.put("/api/v1/games/g0", &json!({})).await;
    let held = lock.join().unwrap();
    assert!(status == 201 || held > Duration::from_millis(150), "{status} after {held:?}: {written}");
    server.until_ready(|_, report| report["storage"]["state"] == "ok").await;
    assert_eq!(server.put("/api/v1/games/g1", &json!({ "round": 1 })).await.0, 201);
    let reader = reader_of(&server);
    let writer = Connection::open(server.data_dir().join("rejoin.db")).unwrap();
    writer.execute_batch("BEGIN IMMEDIATE").unwrap();
    // Those who come together wait together.
    let waiting = Instant::now();
    let together = json!({ "round": 2 });
    let writes = (0..10).map(|_| server.merge("/api/v1/games/g1", &together));
    for (status, written) in futures_util::future::join_all(writes).await {
        assert_eq!((status, &written["durable"]), (202, &json!(false)), "{written}");
    }
    // The bound of each is a quarter of a second; ten in a row with the former five seconds would take fifty.
    assert!(waiting.elapsed() < Duration::from_millis(4500), "{:?}", waiting.elapsed());
    let report = server.until_ready(|_, report| report["storage"]["state"] == "degraded").await;
    let reason = report["storage"]["reason"].as_str().unwrap();
    assert!(reason.contains("another process has a write transaction on the database open"), "{reason}");
    assert_eq!(report["storage"]["full"], false);
    writer.execute_batch("ROLLBACK").unwrap();

    server.until_ready(|_, report| report["storage"]["state"] == "ok").await;
    assert_eq!(server.merge("/api/v1/games/g1", &json!({ "round": 3 })).await.0, 200);
    let kept = verified_history(&server, "games/g1").await.len();
    assert!(kept >= 3, "{kept}");
    drop(reader);
}

/// Collection, id, version, state and behind of all documents, by id.
fn current_documents(path: &Path) -> Vec<(String, i64, Value, i64)> {
    let database = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY).unwrap();
    let sql = "SELECT collection || '/' || id, version, state, behind FROM current_documents ORDER BY id";
    let mut statement = database.prepare(sql).unwrap();
    let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get::<_, String>(2)?, row.get(3)?)));
    let rows = rows.unwrap().map(|row| row.unwrap());
    rows.map(|(name, version, state, behind)| (name, version, serde_json::from_str(&state).unwrap(), behind)).collect()
}

#[tokio::test]
async fn the_current_state_can_be_read_with_sqlite() {
    let mut server = Process::start(&[]);
    let path = server.data_dir().join("rejoin.db");
    assert_eq!(server.put("/api/v1/games/a", &json!({ "round": 1 })).await.0, 201);
    assert_eq!(server.put("/api/v1/games/b", &json!({ "round": 1 })).await.0, 201);
    assert_eq!(server.put("/api/v1/games/c", &json!({ "round": 1 })).await.0, 201);
    assert_eq!(server.merge("/api/v1/games/b", &json!({ "round": 2 })).await.0, 200);
    assert_eq!(server.merge("/api/v1/games/b", &json!({ "text": "hi" })).await.0, 200);
    assert_eq!(server.request("DELETE", "/api/v1/games/c").send().await.unwrap().status(), 200);
    let a = ("games/a".to_owned(), 1, json!({ "round": 1 }), 0);
    assert_eq!(current_documents(&path), [a.clone(), ("games/b".to_owned(), 3, json!({ "round": 1 }), 2)]);
    // Quiet for ten seconds.
    let whole = [a, ("games/b".to_owned(), 3, json!({ "round": 2, "text": "hi" }), 0)];
    let end = Instant::now() + Duration::from_secs(40);
    while current_documents(&path) != whole {
        assert!(Instant::now() < end, "{:?}", current_documents(&path));
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    assert_eq!(server.merge("/api/v1/games/a", &json!({ "round": 2 })).await.0, 200);
    assert!(server.terminate().success());
    assert_eq!(current_documents(&path)[0], ("games/a".to_owned(), 2, json!({ "round": 2 }), 0), "a clean stop");
    // One of them is kept, whatever was before.
    let database = Connection::open(&path).unwrap();
    let sql = "SELECT seq, collection, id, version, type, actor, payload, patch FROM readable_events WHERE seq = 4";
    let event = database.query_row(sql, [], |row| {
        let text = |column| row.get::<_, Option<String>>(column);
        Ok((row.get::<_, i64>(0)?, text(1)?, text(2)?, row.get::<_, i64>(3)?, text(4)?, text(6)?, text(7)?))
    });
    let (seq, collection, id, version, kind, payload, patch) = event.unwrap();
    assert_eq!((seq, collection.as_deref(), id.as_deref(), version), (4, Some("games"), Some("b"), 2));
    assert_eq!((kind.is_some(), payload.is_some()), (true, true));
    let patch: Value = serde_json::from_str(&patch.unwrap()).unwrap();
    assert_eq!(patch, json!([{ "op": "replace", "path": "/round", "value": 2 }]));
}

#[tokio::test]
async fn the_current_state_is_that_of_the_newest_life_and_the_newest_replacement() {
    let mut server = Process::start(&[]);
    let path = server.data_dir().join("rejoin.db");
    for name in ["lived-twice", "replaced"] {
        let document = format!("/api/v1/games/{name}");
        assert_eq!(server.put(&document, &json!({ "old": 1 })).await.0, 201);
        if name == "lived-twice" {
            assert_eq!(server.request("DELETE", &document).send().await.unwrap().status(), 200);
        }
        assert!([200, 201].contains(&server.put(&document, &json!({ "new": 1 })).await.0));
        assert_eq!(server.merge(&document, &json!({ "q": 1 })).await.0, 200);
        assert_eq!(server.merge(&document, &json!({ "q": 2 })).await.0, 200);
    }
    // As long as neither was quiet for ten seconds, the newest whole state is in the log alone.
    let whole = |name: &str, version, state: Value, behind| (format!("games/{name}"), version, state, behind);
    let quiet = |name, version| whole(name, version, json!({ "new": 1, "q": 2 }), 0);
    let found = current_documents(&path);
    let busy = [whole("lived-twice", 5, json!({ "new": 1 }), 2), whole("replaced", 4, json!({ "new": 1 }), 2)];
    for (at, document) in found.iter().enumerate() {
        assert!([&busy[at], &quiet(["lived-twice", "replaced"][at], busy[at].1)].contains(&document), "{found:?}");
    }
    assert_eq!(found.len(), 2);
    assert!(server.terminate().success());
    // A view of an earlier release is made anew.
    let earlier = "DROP VIEW current_documents; CREATE VIEW current_documents AS SELECT 1 AS state;";
    Connection::open(&path).unwrap().execute_batch(earlier).unwrap();
    server.start_again();
    assert_eq!(current_documents(&path), [quiet("lived-twice", 5), quiet("replaced", 4)]);
}

#[tokio::test]
async fn a_quiet_document_that_a_kill_left_behind_is_stored_whole_after_the_next_start() {
    let mut server = Process::start(&[]);
    let path = server.data_dir().join("rejoin.db");
    assert_eq!(server.put("/api/v1/games/a", &json!({ "round": 1 })).await.0, 201);
    assert_eq!(server.merge("/api/v1/games/a", &json!({ "round": 2 })).await.0, 200);
    server.kill();
    server.start_again();
    let whole = [("games/a".to_owned(), 2, json!({ "round": 2 }), 0)];
    let end = Instant::now() + Duration::from_secs(40);
    while current_documents(&path) != whole {
        assert!(Instant::now() < end, "{:?}", current_documents(&path));
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}
