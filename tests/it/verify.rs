//! `rejoin verify`: what it says of files that are whole, damaged, or not ours, and what `--repair` leaves.

use std::path::Path;
use std::process::Command;

use serde_json::json;

use crate::support::Process;
use crate::support::process::operate;

/// Runs `rejoin verify` and returns its exit code and what it printed.
fn verify(arguments: &[&str], data: &Path) -> (i32, String) {
    operate("verify", arguments, data)
}

fn tamper(data: &Path, sql: &str) {
    let database = rusqlite::Connection::open(data.join("rejoin.db")).unwrap();
    database.pragma_update(None, "foreign_keys", false).unwrap();
    assert!(database.execute(sql, []).unwrap() > 0, "{sql}");
}

/// A stopped server's data: `games/a` with ten versions and snapshots now and then, `games/b` beside it.
async fn stopped() -> Process {
    let mut server = Process::start(&["--snapshot-ratio", "0.05"]);
    for round in 1..=10 {
        for id in ["a", "b"] {
            let state = json!({ "round": round, "text": "x".repeat(40 * round) });
            assert!(server.put(&format!("/api/v1/games/{id}"), &state).await.0 < 300);
        }
    }
    assert!(server.terminate().success());
    server
}

const A: &str = "document = (SELECT key FROM documents WHERE id = 'a')";

#[tokio::test]
async fn a_whole_database_verifies_beside_a_server_and_without_and_nothing_is_left_beside_it() {
    let mut server = Process::start(&[]);
    for n in 0..30 {
        server.put(&format!("/api/v1/games/g{}", n % 7), &json!({ "n": n })).await;
    }
    let (code, said) = verify(&[], &server.data_dir());
    assert_eq!(code, 0, "{said}");
    assert!(said.starts_with("verified: ") && said.contains("7 documents"), "{said}");
    assert!(server.terminate().success());
    let files = |data: &Path| {
        let mut names: Vec<_> = std::fs::read_dir(data).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        names
    };
    let before = files(&server.data_dir());
    let (code, said) = verify(&[], &server.data_dir());
    assert_eq!((code, said.lines().count()), (0, 1), "{said}");
    assert_eq!(files(&server.data_dir()), before);
    let copy = server.data_dir().parent().unwrap().join("copy.db");
    std::fs::copy(server.data_dir().join("rejoin.db"), &copy).unwrap();
    assert_eq!(verify(&[copy.to_str().unwrap()], &server.data_dir()).0, 0, "any file");
}

#[tokio::test]
async fn each_kind_of_damage_is_named_with_the_last_good_version() {
    let server = stopped().await;
    let data = server.data_dir();
    let file = data.join("rejoin.db");
    let good = std::fs::read(&file).unwrap();
    for (sql, version, last_good) in [
        ("UPDATE events SET body = replace(body, '/round', '/rings')", 7, "last good version 6"),
        ("UPDATE events SET hash = (SELECT hash FROM events WHERE seq = 1)", 7, "last good version 6"),
        ("UPDATE events SET deletes = 1", 7, "last good version 6"),
        ("UPDATE events SET at = '2001-01-01T00:00:00.000Z'", 7, "last good version 10"),
        ("DELETE FROM events", 7, "last good version 6"),
        ("UPDATE events SET body = CAST(x'ff' AS TEXT)", 7, "last good version 6"),
        ("UPDATE events SET hash = 'x'", 7, "last good version 6"),
        ("UPDATE events SET version = 70", 7, "last good version 6"),
    ] {
        std::fs::write(&file, &good).unwrap();
        tamper(&data, &format!("{sql} WHERE {A} AND version = 7"));
        let (code, said) = verify(&[], &data);
        assert_eq!(code, 14, "{sql}: {said}");
        let line = format!("games/a: damaged at version {version}; {last_good}");
        assert!(said.lines().any(|said| said.starts_with(&line)), "{sql}: {line}: {said}");
        assert!(!said.contains("games/b"), "{sql}: {said}");
        assert!(said.lines().last().unwrap().starts_with("damaged: "), "{said}");
    }
    for sql in [
        format!("UPDATE snapshots SET state = replace(state, 'x', 'y') WHERE {A}"),
        format!("UPDATE snapshots SET checksum = hash WHERE {A}"),
        format!("UPDATE events SET body = replace(body, '\"round\"', '\"rings\"') WHERE {A} AND version = 1"),
        "DELETE FROM documents WHERE id = 'a'".to_owned(),
        "UPDATE documents SET host = 'no id!' WHERE id = 'a'".to_owned(),
        "UPDATE documents SET base_version = 3 WHERE id = 'a'".to_owned(),
    ] {
        std::fs::write(&file, &good).unwrap();
        tamper(&data, &sql);
        let (code, said) = verify(&[], &data);
        assert_eq!(code, 14, "{sql}: {said}");
        assert!(said.contains("games/a: damaged at version ") && !said.contains("games/b"), "{sql}: {said}");
    }
}

#[tokio::test]
async fn what_is_damaged_is_cut_back_after_a_copy_and_the_rest_stays() {
    let mut server = stopped().await;
    let data = server.data_dir();
    tamper(&data, &format!("UPDATE events SET body = replace(body, 'round', 'rings') WHERE {A} AND version = 7"));
    tamper(&data, &format!("DELETE FROM snapshots WHERE {A} AND version > 6"));
    let damaged = std::fs::read(data.join("rejoin.db")).unwrap();
    let (code, said) = verify(&["--repair"], &data);
    assert_eq!(code, 0, "{said}");
    assert!(said.contains("games/a: repaired; it ends at version 6, lost: versions 7 to 10"), "{said}");
    let copy = said.lines().find_map(|line| line.strip_prefix("copied to ")).unwrap();
    assert_eq!(std::fs::read(Path::new(copy).join("rejoin.db")).unwrap(), damaged);
    let (code, said) = verify(&[], &data);
    assert_eq!((code, said.lines().count()), (0, 1), "{said}");
    server.start_again_with(&["--strict"]);
    let (_, a) = server.get("/api/v1/games/a").await;
    assert_eq!((&a["version"], &a["state"]["round"]), (&json!(6), &json!(6)));
    assert_eq!(server.get("/api/v1/games/b").await.1["version"], 10);
    let (status, changed) = server.merge("/api/v1/games/a", &json!({ "round": 7 })).await;
    assert_eq!((status, &changed["version"]), (200, &json!(7)));
}

#[tokio::test]
async fn a_snapshot_or_a_column_that_is_wrong_costs_nothing() {
    for sql in [
        format!("UPDATE snapshots SET state = replace(state, 'x', 'y') WHERE {A} AND state IS NOT NULL"),
        format!("UPDATE events SET at = '2001-01-01T00:00:00.000Z' WHERE {A} AND version = 3"),
        format!("UPDATE events SET deletes = 1 WHERE {A} AND version = 3"),
    ] {
        let mut server = stopped().await;
        let data = server.data_dir();
        tamper(&data, &sql);
        let (code, said) = verify(&["--repair"], &data);
        assert_eq!(code, 0, "{sql}: {said}");
        assert!(said.contains("games/a: repaired; nothing is lost"), "{sql}: {said}");
        server.start_again();
        assert_eq!(server.get("/api/v1/games/a").await.1["version"], 10, "{sql}");
        assert_eq!(server.get("/api/v1/games/a/events?limit=500").await.1["items"].as_array().unwrap().len(), 10);
    }
}

#[tokio::test]
async fn a_document_without_a_good_version_is_deleted_after_its_last() {
    for sql in [
        format!("UPDATE events SET body = replace(body, 'round', 'rings') WHERE {A}"),
        "DELETE FROM documents WHERE id = 'a'".to_owned(),
    ] {
        let mut server = stopped().await;
        let data = server.data_dir();
        tamper(&data, &sql);
        let (code, said) = verify(&["--repair"], &data);
        assert_eq!(code, 0, "{sql}: {said}");
        assert!(said.contains("games/a: repaired; it is deleted, lost: all of it, up to version 10"), "{sql}: {said}");
        server.start_again_with(&["--strict"]);
        let gone = server.ask("GET", "/api/v1/games/a", &[]).await.problem(410, "gone");
        assert_eq!(gone["lastVersion"], 11, "{gone}");
        assert_eq!(server.put("/api/v1/games/a", &json!({})).await.1["version"], 12, "its history goes on");
    }
}

#[tokio::test]
async fn an_index_that_is_wrong_is_told_and_made_anew() {
    let server = stopped().await;
    let data = server.data_dir();
    let database = rusqlite::Connection::open(data.join("rejoin.db")).unwrap();
    let sql = "SELECT sql, rootpage FROM sqlite_schema WHERE name = 'idempotency_keys_by_age'";
    let (index, page): (String, i64) = database.query_row(sql, [], |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
    // A row that the index does not know, as a server writes it.
    rejoin::internals::store::write_as_server(&database, &data.join("rejoin.db")).unwrap();
    let hide = "PRAGMA writable_schema = ON; DELETE FROM sqlite_schema WHERE name = 'idempotency_keys_by_age';
                PRAGMA writable_schema = RESET;
                INSERT INTO idempotency_keys (scope, key, fingerprint, answer, at)
                VALUES ('owner', 'k', 'f', '{}', '2026-01-01T00:00:00.000Z'); PRAGMA writable_schema = ON;";
    database.execute_batch(hide).unwrap();
    let show = "INSERT INTO sqlite_schema (type, name, tbl_name, rootpage, sql)
                VALUES ('index', 'idempotency_keys_by_age', 'idempotency_keys', ?1, ?2)";
    database.execute(show, (page, index)).unwrap();
    drop(database);
    let (code, said) = verify(&[], &data);
    assert_eq!(code, 14, "{said}");
    assert!(said.starts_with("file: ") && said.contains("idempotency_keys_by_age"), "{said}");
    let (code, said) = verify(&["--repair"], &data);
    assert_eq!(code, 0, "{said}");
}

#[tokio::test]
async fn refusals_have_the_exit_codes_of_the_server() {
    let server = Process::start(&[]);
    server.put("/api/v1/games/a", &json!({})).await;
    let (code, said) = verify(&["--repair"], &server.data_dir());
    assert_eq!(code, 11, "{said}");
    let directory = tempfile::tempdir().unwrap();
    let (code, said) = verify(&[], &directory.path().join("none"));
    assert_eq!((code, said.contains("there is no database")), (10, true), "{said}");
    let text = directory.path().join("text.db");
    std::fs::write(&text, "this is no database, only a text of some length\n".repeat(100)).unwrap();
    assert_eq!(verify(&[text.to_str().unwrap()], directory.path()).0, 12);
    let newer = directory.path().join("newer.db");
    std::fs::write(&newer, []).unwrap();
    let database = rusqlite::Connection::open(&newer).unwrap();
    database.execute_batch("PRAGMA application_id = 1382378094; PRAGMA user_version = 99; CREATE TABLE t (x)").unwrap();
    drop(database);
    assert_eq!(verify(&[newer.to_str().unwrap()], directory.path()).0, 13);
}

#[tokio::test]
async fn an_older_file_in_its_place_is_told_as_incomplete() {
    let mut server = stopped().await;
    let file = server.data_dir().join("rejoin.db");
    let older = std::fs::read(&file).unwrap();
    server.start_again();
    server.put("/api/v1/games/c", &json!({})).await;
    assert!(server.terminate().success());
    std::fs::write(&file, older).unwrap();
    let (code, said) = verify(&[], &server.data_dir());
    assert_eq!(code, 16, "{said}");
    assert!(said.contains("a server has stored events up to 21 here"), "{said}");
    let (code, said) = verify(&["--repair"], &server.data_dir());
    assert_eq!(code, 0, "{said}");
    server.start_again_with(&["--strict"]);
}

#[test]
fn help_says_what_the_exit_codes_are() {
    let output = Command::new(env!("CARGO_BIN_EXE_rejoin")).args(["verify", "--help"]).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success() && text.contains("14 damaged") && text.contains("--repair"), "{text}");
}
