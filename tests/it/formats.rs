//! Files of earlier formats: they are brought up to this one when they are opened, and have lost nothing.

use std::path::Path;

use rusqlite::Connection;
use serde_json::json;

use crate::support::Process;
use crate::support::process::operate;

/// Dumps of files as servers of those formats left them, with the hash of the newest event in each.
const FILES: [(u8, &str, &str); 4] = [
    (1, include_str!("../fixtures/format-1.sql"), "2bd384a63d92b0874a7e60999fae4c1c3733bdb386847ea234f0fa7ea8ffe886"),
    (2, include_str!("../fixtures/format-2.sql"), "2bd384a63d92b0874a7e60999fae4c1c3733bdb386847ea234f0fa7ea8ffe886"),
    (3, include_str!("../fixtures/format-3.sql"), "456f35a9c42a0b8faeb2067ff093de1edbbb3e31139f676204a23326d209ce50"),
    (4, include_str!("../fixtures/format-4.sql"), "456f35a9c42a0b8faeb2067ff093de1edbbb3e31139f676204a23326d209ce50"),
];

/// Tables in which these files have rows.
const WITH_MACS: [&str; 8] =
    ["documents", "snapshots", "idempotency_keys", "games", "seats", "sessions", "jobs", "reconciliation_audit"];

#[tokio::test]
async fn a_file_of_an_earlier_format_is_brought_up_to_this_one_and_verifies() {
    for (format, dump, hash) in FILES {
        let mut server = Process::start(&["--reconciliation-scrub-kib", "65536"]);
        assert!(server.terminate().success());
        let path = server.data_dir().join("rejoin.db");
        let fresh: i64 =
            Connection::open(&path).unwrap().query_row("PRAGMA user_version", [], |row| row.get(0)).unwrap();
        for entry in std::fs::read_dir(server.data_dir()).unwrap() {
            std::fs::remove_file(entry.unwrap().path()).unwrap();
        }
        Connection::open(&path).unwrap().execute_batch(dump).unwrap();
        server.start_again();

        let (status, game) = server.get("/api/v1/games/g1").await;
        assert_eq!(
            (status, &game["version"], &game["hash"]),
            (200, &json!(10), &json!(hash)),
            "format {format}: {game}"
        );
        assert_eq!(game["state"], json!({ "round": 8, "keyed": true }));
        assert_eq!(server.get("/api/v1/games/g1?version=8").await.1["state"], json!({ "round": 7 }));
        assert_eq!(server.get("/api/v1/games/g1/seats").await.1["items"][0]["playerId"], "ann");
        assert_eq!(server.merge("/api/v1/games/g1", &json!({ "round": 9 })).await.1["durable"], true);
        let verdicts = server.post("/reconciliation/run", &json!({})).await.1;
        let verdicts = verdicts["items"].as_array().unwrap();
        assert!(verdicts.iter().all(|verdict| verdict["status"] == "verified"), "format {format}: {verdicts:?}");
        let before = &server.get("/reconciliation/audit").await.1["items"];
        assert!(before.as_array().unwrap().len() > verdicts.len(), "the audit of then is there: {before}");
        let (_, ready) = server.get("/readyz").await;
        assert_eq!(ready["storage"].get("warning"), None, "format {format}: {ready}");
        assert!(server.terminate().success());
        let conn = Connection::open(&path).unwrap();
        for table in WITH_MACS {
            let count = |what: &str| -> i64 {
                conn.query_row(&format!("SELECT {what} FROM {table}"), [], |row| row.get(0)).unwrap()
            };
            assert!(count("count(*)") > 0, "format {format}: {table}");
            assert_eq!(count("count(*)"), count("count(mac)"), "format {format}: {table}");
        }
        let now: i64 = Connection::open(&path).unwrap().query_row("PRAGMA user_version", [], |row| row.get(0)).unwrap();
        assert_eq!(now, fresh);
    }
}

/// Makes a database of a dump, with nothing else in its folder.
fn write_file(path: &Path, dump: &str) {
    Connection::open(path).unwrap().execute_batch(dump).unwrap();
}

fn names_in(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).unwrap();
    let mut names: Vec<String> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn a_file_of_an_earlier_format_is_verified_as_it_is() {
    for (format, dump, _) in FILES {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("old.db");
        write_file(&path, dump);
        let verify = |arguments: &[&str]| operate("verify", arguments, folder.path());
        let file = path.to_str().unwrap();
        let (before, names) = (std::fs::read(&path).unwrap(), names_in(folder.path()));
        let (code, said) = verify(&[file]);
        assert_eq!(code, 0, "format {format}: {said}");
        assert!(said.contains("verified: "), "format {format}: {said}");
        assert_eq!(std::fs::read(&path).unwrap(), before, "format {format}");
        assert_eq!(names_in(folder.path()), names, "format {format}");

        let changed = "UPDATE events SET body = replace(body, '/round', '/hound') WHERE seq = 9";
        assert_eq!(Connection::open(&path).unwrap().execute(changed, []).unwrap(), 1);
        let (code, said) = verify(&[file]);
        assert_eq!(code, 14, "format {format}: {said}");
        assert!(said.contains("games/g1") || said.contains("damaged at version"), "format {format}: {said}");
        let (code, said) = verify(&["--repair", file]);
        assert_eq!(code, 15, "format {format}: {said}");
        assert!(said.contains("start a server with it once"), "format {format}: {said}");
        assert_eq!(names_in(folder.path()), names, "format {format}");
    }
}

#[tokio::test]
async fn a_backup_of_an_earlier_format_is_restored_over_a_file_of_this_one() {
    for (format, dump, hash) in FILES {
        let mut server = Process::start(&[]);
        assert_eq!(server.put("/api/v1/notes/n", &json!({ "n": 1 })).await.0, 201);
        let made = server.post("/api/v1/sessions", &json!({ "user": "ann" })).await;
        assert_eq!(made.0, 201, "{}", made.1);
        assert!(server.terminate().success());
        let backup = server.data_dir().parent().unwrap().join("old-backup.db");
        write_file(&backup, dump);
        let (code, said) = operate("restore", &[backup.to_str().unwrap()], &server.data_dir());
        assert_eq!(code, 0, "format {format}: {said}");
        assert!(said.contains("what was there is in"), "format {format}: {said}");
        server.start_again();
        let (status, game) = server.get("/api/v1/games/g1").await;
        assert_eq!((status, &game["version"], &game["hash"]), (200, &json!(10), &json!(hash)), "{format}: {game}");
        assert_eq!(server.get("/api/v1/notes/n").await.0, 404, "format {format}");
        assert_eq!(server.merge("/api/v1/games/g1", &json!({ "round": 9 })).await.1["durable"], true);
        let (_, ready) = server.get("/readyz").await;
        assert_eq!(ready["storage"].get("warning"), None, "format {format}: {ready}");
        assert!(server.terminate().success());
        std::fs::remove_file(&backup).unwrap();
    }
}
