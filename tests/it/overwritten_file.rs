//! The files of a running server are cut or overwritten in place: the paths still name them.

use std::fs::{self, OpenOptions};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use rusqlite::Connection;
use serde_json::{Value, json};

use crate::support::history::verified_history;
use crate::support::storage::{degraded, events, is_in_the_audit, well};
use crate::support::{AS, Process};

fn wal(server: &Process) -> PathBuf {
    server.data_dir().join("rejoin.db-wal")
}

fn database(server: &Process) -> PathBuf {
    server.data_dir().join("rejoin.db")
}

/// A server that has stored two versions of `games/g1`, and whose WAL has them.
async fn server_with_wal() -> Process {
    let server = Process::start(&[]);
    for round in 1..=2 {
        assert!(server.put("/api/v1/games/g1", &json!({ "round": round })).await.0 < 202);
    }
    until_quiet(&wal(&server)).await;
    server
}

/// Waits until nothing is written to a file any more: verdicts and jobs are recorded soon after the start.
async fn until_quiet(path: &Path) {
    let (mut quiet, mut length) = (0, 0);
    let ends = Instant::now() + Duration::from_secs(60);
    while quiet < 5 {
        assert!(Instant::now() < ends, "{} is always written to", path.display());
        tokio::time::sleep(Duration::from_millis(100)).await;
        let now = fs::metadata(path).unwrap().len();
        (quiet, length) = if now == length && now > 0 { (quiet + 1, length) } else { (0, now) };
    }
}

fn shell(command: &str, directory: &Path) {
    assert!(Command::new("sh").args(["-c", command]).current_dir(directory).status().unwrap().success(), "{command}");
}

/// The copies of a damaged WAL.
fn kept(server: &Process) -> Vec<Vec<u8>> {
    let files = fs::read_dir(server.data_dir()).unwrap().map(|entry| entry.unwrap().path());
    let kept = files.filter(|path| path.to_string_lossy().contains("rejoin.db-wal.damaged-"));
    kept.map(|path| fs::read(path).unwrap()).collect()
}

const WAYS: [(&str, &str); 7] = [
    ("cut to nothing", "truncate -s 0 rejoin.db-wal"),
    ("emptied by a shell", ": > rejoin.db-wal"),
    ("its end cut off", "truncate -s -4200 rejoin.db-wal"),
    ("its header cut off", "truncate -s 20 rejoin.db-wal"),
    ("zeros at its beginning", "dd conv=notrunc if=/dev/zero of=rejoin.db-wal bs=64 count=1 2>/dev/null"),
    ("zeros in its middle", "dd conv=notrunc if=/dev/zero of=rejoin.db-wal bs=4096 seek=1 count=2 2>/dev/null"),
    ("another file", "cat rejoin.db > rejoin.db-wal"),
];

#[tokio::test]
async fn a_wal_that_is_cut_or_overwritten_loses_nothing_and_is_told() {
    for (way, command) in WAYS {
        for writes in [true, false] {
            let mut server = server_with_wal().await;
            let session = server.tell("POST", "/api/v1/sessions", &[], json!({ "user": "eve" })).await.expect(201);
            until_quiet(&wal(&server)).await;
            server.signal("STOP");
            shell(command, &server.data_dir());
            let spoilt = fs::read(wal(&server)).unwrap();
            server.signal("CONT");
            if writes {
                let (status, written) = server.merge("/api/v1/games/g1", &json!({ "round": 3 })).await;
                let durable = written["durable"] == json!(true);
                assert_eq!((status, durable), if durable { (200, true) } else { (202, false) }, "{way}: {written}");
            }
            is_in_the_audit(&server, "was cut or overwritten while it was open").await;
            well(&server).await;
            assert!(server.log().contains("was cut or overwritten while it was open"), "{way}: {}", server.log());
            assert!(server.log().contains("everything is written there again"), "{way}: {}", server.log());
            // What was put there is kept, unless that is nothing.
            let kept = kept(&server);
            match way.starts_with("zeros") || way == "another file" {
                true => assert!(kept == [spoilt], "{way}: {} kept", kept.len()),
                false => assert!(kept.is_empty(), "{way}: {} kept", kept.len()),
            }
            let versions = 2 + usize::from(writes);
            assert_eq!(events(&database(&server)), i64::try_from(versions).unwrap(), "{way}");
            let (_, run) = server.post("/reconciliation/run", &json!({})).await;
            assert!(!run.to_string().contains("discrepancy"), "{way}: {run}");

            server.kill();
            server.start_again_with(&["--strict"]);
            assert_eq!(verified_history(&server, "games/g1").await.len(), versions, "{way}");
            let bearer = format!("Bearer {}", session.body["token"].as_str().unwrap());
            server.ask("GET", "/api/v1/me", &[("authorization", &bearer)]).await.expect(200);
        }
    }
}

#[tokio::test]
async fn a_write_after_the_wal_was_spoilt_is_durable_once_the_wal_is_whole_again() {
    for (way, command) in WAYS {
        let mut server = server_with_wal().await;
        server.signal("STOP");
        shell(command, &server.data_dir());
        server.signal("CONT");
        let (mut durable, end) = (Vec::new(), Instant::now() + Duration::from_secs(30));
        // It may have been stopped in the middle of a transaction, which then goes on.
        let mut noticed = false;
        while !noticed || durable.is_empty() {
            assert!(Instant::now() < end, "{way}: {}", server.log());
            noticed = server.log().contains("everything is written there again");
            let (_, written) = server.merge("/api/v1/games/g1", &json!({ "round": 3 })).await;
            durable.extend((written["durable"] == json!(true)).then(|| written["version"].as_u64().unwrap()));
        }
        // Whatever was called durable is there after a kill.
        server.kill();
        server.start_again_with(&["--strict"]);
        let history = verified_history(&server, "games/g1").await;
        assert!(history.len() as u64 >= *durable.iter().max().unwrap(), "{way}: {} of {durable:?}", history.len());
    }
}

/// Nothing but SQLite writes here.
#[tokio::test]
async fn what_sqlite_itself_does_to_the_files_is_no_damage() {
    let mut server = server_with_wal().await;
    let beside = Connection::open(database(&server)).unwrap();
    beside
        .execute_batch("CREATE TABLE notes (text TEXT); PRAGMA busy_timeout = 5000; PRAGMA cache_size = 10;")
        .unwrap();
    for round in 0..40 {
        let statement = match round % 8 {
            0 => "PRAGMA wal_checkpoint(PASSIVE)",
            1 => "INSERT INTO notes SELECT hex(randomblob(2000)) FROM events, events LIMIT 300",
            2 => "PRAGMA wal_checkpoint(TRUNCATE)",
            3 => "BEGIN IMMEDIATE; INSERT INTO notes SELECT hex(randomblob(2000)) FROM notes; ROLLBACK",
            4 => "PRAGMA wal_checkpoint(RESTART)",
            5 => "DELETE FROM notes WHERE rowid % 2",
            6 => "VACUUM",
            _ => "PRAGMA optimize",
        };
        // The server may be faster.
        let _ = beside.execute_batch(statement);
        let (status, written) = server.merge("/api/v1/games/g1", &json!({ "round": round })).await;
        assert_eq!((status, &written["durable"]), (200, &json!(true)), "{statement}: {written} {}", server.log());
        if round % 10 == 9 {
            // So that it looks at its files by itself too.
            tokio::time::sleep(Duration::from_millis(700)).await;
        }
    }
    let report = well(&server).await;
    assert!(!server.log().contains("overwritten"), "{report} {}", server.log());
    drop(beside);
    server.kill();
    server.start_again_with(&["--strict"]);
    assert_eq!(verified_history(&server, "games/g1").await.len(), 42);
}

#[tokio::test]
async fn a_kill_right_after_the_wal_was_written_again_loses_nothing() {
    for round in 0..8 {
        let mut server = server_with_wal().await;
        server.signal("STOP");
        shell("truncate -s 0 rejoin.db-wal", &server.data_dir());
        server.signal("CONT");
        let end = Instant::now() + Duration::from_secs(20);
        // It is emptied once everything in it is in the database, so its length says nothing.
        while !server.log().contains("everything is written there again") {
            assert!(Instant::now() < end, "{}", server.log());
            std::thread::yield_now();
        }
        server.kill();
        server.start_again_with(&["--strict"]);
        assert_eq!(verified_history(&server, "games/g1").await.len(), 2, "{round}");
    }
}

type Spoil = fn(&Process, &Path);

#[tokio::test]
async fn a_database_that_is_cut_or_overwritten_is_told_and_nothing_is_called_durable() {
    let ways: [(&str, Spoil); 4] = [
        ("cut to nothing", |server, _| drop(OpenOptions::new().write(true).truncate(true).open(database(server)))),
        ("its end cut off", |server, _| {
            let file = OpenOptions::new().write(true).open(database(server)).unwrap();
            file.set_len(file.metadata().unwrap().len() / 2).unwrap();
        }),
        ("another database", |server, other| assert!(fs::copy(other, database(server)).unwrap() > 0)),
        ("zeros at its beginning", |server, _| {
            let file = OpenOptions::new().write(true).open(database(server)).unwrap();
            file.write_all_at(&[0; 4096], 0).unwrap();
        }),
    ];
    for (way, spoil) in ways {
        let server = server_with_wal().await;
        let other = server.data_dir().with_file_name("other.db");
        Connection::open(database(&server)).unwrap().execute("VACUUM INTO ?1", [other.to_str().unwrap()]).unwrap();
        server.signal("STOP");
        spoil(&server, &other);
        let put_there = fs::read(database(&server)).unwrap();
        server.signal("CONT");
        let (status, written) = server.merge("/api/v1/games/g1", &json!({ "round": 3 })).await;
        assert_eq!((status, &written["durable"]), (202, &json!(false)), "{way}: {written}");
        let report = degraded(&server, "rejoin.db was cut or overwritten while it was open").await;
        assert_eq!(report["storage"]["full"], false, "{way}: {report}");
        let (_, now): (u16, Value) = server.get("/api/v1/games/g1").await;
        assert_eq!((&now["version"], &now["state"]["round"]), (&json!(3), &json!(3)), "{way}: {now}");
        assert_eq!(fs::read(database(&server)).unwrap(), put_there, "{way}");
    }
}

/// Moves the WAL into the database.
async fn checkpoint(server: &Process) {
    let path = "/api/v1/admin/jobs/storage-optimize/run";
    let run = server.tell("POST", path, &[], "{}").await.expect(200).body;
    assert_eq!(run["counts"]["walEmptied"], 1, "{run}");
}

#[tokio::test]
async fn an_older_copy_of_the_database_in_its_place_is_told() {
    let server = server_with_wal().await;
    checkpoint(&server).await;
    let older = server.data_dir().with_file_name("older.db");
    fs::copy(database(&server), &older).unwrap();
    assert_eq!(server.merge("/api/v1/games/g1", &json!({ "round": 3 })).await.0, 200);
    checkpoint(&server).await;
    fs::copy(&older, database(&server)).unwrap();
    let (status, written) = server.merge("/api/v1/games/g1", &json!({ "round": 4 })).await;
    assert_eq!((status, &written["durable"]), (202, &json!(false)), "{written}");
    degraded(&server, "rejoin.db was cut or overwritten while it was open").await;
}

#[tokio::test]
async fn a_database_that_is_only_touched_is_as_it_was() {
    let server = server_with_wal().await;
    checkpoint(&server).await;
    for _ in 0..3 {
        shell("touch rejoin.db rejoin.db-wal", &server.data_dir());
        let (status, written) = server.merge("/api/v1/games/g1", &json!({ "round": 4 })).await;
        assert_eq!((status, &written["durable"]), (200, &json!(true)), "{written} {}", server.log());
    }
    assert!(!server.log().contains("overwritten"), "{}", server.log());
}

#[tokio::test]
async fn what_is_in_memory_is_rescued_when_the_database_was_overwritten() {
    let mut server = server_with_wal().await;
    for id in ["g2", "g3"] {
        assert_eq!(server.put(&format!("/api/v1/games/{id}"), &json!({ "of": id })).await.0, 201);
    }
    server.tell("PUT", "/api/v1/games/g3/access", &[], json!({ "read": "host" })).await.expect(200);
    let other = server.data_dir().with_file_name("other.db");
    Connection::open(database(&server)).unwrap().execute("VACUUM INTO ?1", [other.to_str().unwrap()]).unwrap();
    fs::copy(&other, database(&server)).unwrap();
    let put_there = fs::read(database(&server)).unwrap();
    degraded(&server, "rejoin.db was cut or overwritten while it was open").await;
    // What waits is rescued too: changes, a new document, an answer, a deletion.
    let headers = [("idempotency-key", "once"), ("content-type", "application/merge-patch+json")];
    let (path, merged) = ("/api/v1/games/g1", json!({ "round": 3 }).to_string());
    let first = server.tell("PATCH", path, &headers, merged.clone()).await.expect(202);
    assert_eq!(server.put("/api/v1/games/g4", &json!({ "of": "g4" })).await.0, 202);
    server.ask("DELETE", "/api/v1/games/g2", &[]).await.expect(202);
    // It does not come back by itself.
    fs::remove_file(database(&server)).unwrap();
    fs::write(database(&server), &put_there).unwrap();
    assert_eq!(server.put("/api/v1/games/g4", &json!({ "of": "g4", "more": true })).await.0, 202);

    let to = server.data_dir().with_file_name("rescued.db");
    let body = json!({ "to": to.to_str().unwrap() });
    let answer = server.tell("POST", "/api/v1/admin/storage/rescue", &[], body).await.expect(200).body;
    assert_eq!((&answer["from"], &answer["documents"], &answer["waiting"]), (&json!("memory"), &json!(4), &json!(0)));
    assert!(answer["lost"].as_str().unwrap().contains("history"), "{answer}");
    let report = well(&server).await;
    assert_eq!(report["storage"]["file"].as_str(), to.to_str(), "{report}");
    assert_eq!(fs::read(database(&server)).unwrap(), put_there);
    // Whoever opens that does not get our WAL with it.
    assert!(!wal(&server).exists());
    assert_eq!(kept(&server).len(), 1);
    let (status, written) = server.merge("/api/v1/games/g1", &json!({ "round": 4 })).await;
    assert_eq!((status, &written["durable"], &written["version"]), (200, &json!(true), &json!(5)), "{written}");
    let again = server.tell("PATCH", path, &headers, merged).await;
    assert_eq!(again.body["version"], first.body["version"], "it is not done twice");
    let page: Value = server.get("/api/v1/games/g1/events").await.1;
    assert_eq!((&page["items"][0]["type"], &page["items"][0]["version"]), (&json!("rescue"), &json!(4)), "{page}");
    assert_eq!(page["items"].as_array().unwrap().len(), 2, "{page}");
    is_in_the_audit(&server, "was cut or overwritten while it was open").await;

    assert!(server.terminate().success(), "{}", server.log());
    fs::remove_file(database(&server)).unwrap();
    fs::rename(&to, database(&server)).unwrap();
    server.start_again_with(&["--strict"]);
    for (id, version, state) in [("g1", 5, json!({ "round": 4 })), ("g4", 3, json!({ "of": "g4", "more": true }))] {
        let (_, document) = server.get(&format!("/api/v1/games/{id}")).await;
        assert_eq!((&document["version"], &document["state"]), (&json!(version), &state), "{document}");
    }
    server.ask("GET", "/api/v1/games/g2", &[]).await.problem(410, "gone");
    assert_eq!(server.get("/api/v1/games/g3").await.1["access"]["read"], "host");
    server.ask("GET", "/api/v1/games/g3", &[(AS, "bob")]).await.problem(404, "not-found");
    let (_, run) = server.post("/reconciliation/run", &json!({})).await;
    assert!(!run.to_string().contains("discrepancy"), "{run}");
    assert!(server.terminate().success(), "{}", server.log());
    let verified = Command::new(env!("CARGO_BIN_EXE_rejoin")).arg("verify").arg(database(&server)).output().unwrap();
    assert!(verified.status.success(), "{verified:?}");
}
