//! Backups and restores: `rejoin backup`, `POST` and `GET /api/v1/admin/backups`, the job, `rejoin restore`.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::history::verified_history;
use crate::support::process::operate;
use crate::support::{Clocked, Follower, Process, position, session};

const BACKUPS: &str = "/api/v1/admin/backups";

/// Waits until the server has this many verified backups, and returns all that it lists.
async fn until_verified(server: &Process, count: usize) -> Vec<Value> {
    let end = Instant::now() + Duration::from_secs(60);
    loop {
        let (status, list) = server.get(BACKUPS).await;
        assert_eq!(status, 200, "{list}");
        let items = list["items"].as_array().unwrap().clone();
        if items.iter().filter(|item| item["verified"] == true).count() == count {
            return items;
        }
        assert!(Instant::now() < end, "{items:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

fn folder(server: &Process) -> PathBuf {
    server.data_dir().join("backups")
}

fn names(folder: &Path) -> Vec<String> {
    // The server makes the folder with its first backup.
    let entries = std::fs::read_dir(folder).into_iter().flatten();
    let mut names: Vec<String> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[tokio::test]
async fn a_backup_is_made_on_request_listed_private_verified_and_told_by_readyz() {
    let server = Process::start(&[]);
    server.put("/api/v1/games/g1", &json!({ "n": 1 })).await;
    assert_eq!(server.get("/readyz").await.1["lastBackup"], Value::Null);
    let (status, begun) = server.post(BACKUPS, &json!({})).await;
    assert_eq!(status, 202, "{begun}");
    let mut members: Vec<&String> = begun.as_object().unwrap().keys().collect();
    members.sort();
    assert_eq!(members, ["at", "bytes", "file", "id", "verified"]);
    let items = until_verified(&server, 1).await;
    assert_eq!((items.len(), &items[0]["id"], &items[0]["file"]), (1, &begun["id"], &begun["file"]));
    let path = folder(&server).join(items[0]["file"].as_str().unwrap());
    let metadata = std::fs::metadata(&path).unwrap();
    assert_eq!((metadata.permissions().mode() & 0o777, json!(metadata.len())), (0o600, items[0]["bytes"].clone()));
    assert_eq!(std::fs::metadata(folder(&server)).unwrap().permissions().mode() & 0o777, 0o700);
    let last = &server.get("/readyz").await.1["lastBackup"];
    assert_eq!(last["at"], items[0]["at"]);
    assert!(last["ageSeconds"].as_u64().unwrap() < 3600, "{last}");
    let (code, said) = operate("verify", &[path.to_str().unwrap()], &server.data_dir());
    assert_eq!((code, said.contains("1 documents")), (0, true), "{said}");
    let other = server.ask("GET", BACKUPS, &[("as", "bob")]).await;
    assert!(matches!(other.status, 401 | 403), "{other:?}");
    let bad = server.tell("POST", BACKUPS, &[], json!({ "to": "/etc/passwd" })).await;
    bad.problem(400, "invalid-request");
}

#[tokio::test]
async fn the_command_asks_a_running_server_and_reads_the_file_without_one() {
    let mut server = Process::start(&[]);
    server.put("/api/v1/games/g1", &json!({ "n": 1 })).await;
    let (code, said) = operate("backup", &[], &server.data_dir());
    assert_eq!(code, 0, "{said}");
    let path = said.lines().next().unwrap();
    assert!(path.starts_with(folder(&server).to_str().unwrap()) && Path::new(path).exists(), "{said}");
    assert_eq!(server.get(BACKUPS).await.1["items"].as_array().unwrap().len(), 1, "the server made it");
    let elsewhere = server.data_dir().parent().unwrap().join("usb/copy.db");
    std::fs::create_dir(elsewhere.parent().unwrap()).unwrap();
    for running in [true, false] {
        let _ = std::fs::remove_file(&elsewhere);
        if !running {
            assert!(server.terminate().success());
        }
        let (code, said) = operate("backup", &["--to", elsewhere.to_str().unwrap()], &server.data_dir());
        assert_eq!(code, 0, "{said}");
        assert_eq!(std::fs::metadata(&elsewhere).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(operate("verify", &[elsewhere.to_str().unwrap()], &server.data_dir()).0, 0);
        assert_eq!(names(elsewhere.parent().unwrap()), ["copy.db"]);
        let (code, said) = operate("backup", &["--to", elsewhere.to_str().unwrap()], &server.data_dir());
        assert_eq!((code, said.contains("is there already")), (10, true), "{said}");
    }
    let none = server.data_dir().parent().unwrap().join("none");
    assert_eq!(operate("backup", &[], &none).0, 10);
    let (code, said) = operate("backup", &["--server", "http://127.0.0.1:9"], &server.data_dir());
    assert_eq!((code, said.lines().count()), (1, 1), "{said}");
}

#[tokio::test]
async fn a_backup_of_damaged_data_is_kept_apart_and_does_not_count() {
    let server = Process::start(&[]);
    for n in 0..5 {
        server.put("/api/v1/games/g1", &json!({ "n": n })).await;
    }
    let database = rusqlite::Connection::open(server.data_dir().join("rejoin.db")).unwrap();
    database.execute("UPDATE events SET body = replace(body, 'games', 'gomes') WHERE version = 3", []).unwrap();
    let (code, said) = operate("backup", &[], &server.data_dir());
    assert_eq!((code, said.contains("games/g1: damaged at version 3")), (1, true), "{said}");
    let items = server.get(BACKUPS).await.1["items"].clone();
    assert_eq!((items.as_array().unwrap().len(), &items[0]["verified"]), (1, &json!(false)));
    assert_eq!(server.get("/readyz").await.1["lastBackup"], Value::Null);
    let name = names(&folder(&server)).remove(0);
    assert!(name.ends_with(".unverified.db"), "{name}");
}

#[tokio::test]
async fn a_backup_that_a_kill_breaks_off_leaves_nothing_that_looks_whole() {
    let mut server = Process::start(&[]);
    for n in 0..40 {
        server.put(&format!("/api/v1/games/g{n}"), &json!({ "text": "x".repeat(100_000) })).await;
    }
    let mut broken_off = 0;
    for _ in 0..10 {
        let before = names(&folder(&server));
        server.post(BACKUPS, &json!({})).await;
        while names(&folder(&server)).iter().all(|name| before.contains(name)) {
            tokio::task::yield_now().await;
        }
        server.kill();
        let left = names(&folder(&server));
        broken_off += usize::from(left.iter().any(|name| name.ends_with(".partial")));
        for name in left.iter().filter(|name| name.ends_with(".db")) {
            let path = folder(&server).join(name);
            assert_eq!(operate("verify", &[path.to_str().unwrap()], &server.data_dir()).0, 0, "{name}");
        }
        server.start_again();
        let listed = server.get(BACKUPS).await.1;
        assert!(!listed.to_string().contains("partial"), "{listed}");
    }
    assert!(broken_off > 0, "no kill came in time");
    let (code, said) = operate("backup", &[], &server.data_dir());
    assert_eq!(code, 0, "{said}");
    let left = names(&folder(&server));
    assert!(left.iter().all(|name| name.ends_with(".db")), "what was left is removed: {left:?}");
}

#[tokio::test]
async fn the_job_makes_them_by_schedule_and_keeps_so_many() {
    let server = Clocked::start(|config| config.set("backups-kept", "2").unwrap()).await;
    server.put("/api/v1/games/g1", json!({})).await;
    for day in 1..=4 {
        server.advance(Duration::from_secs(24 * 3600));
        server.post("/api/v1/admin/clock/confirm", json!({})).await;
        let ran = server.post("/api/v1/admin/jobs/backup/run", json!({})).await.expect(200);
        assert_eq!(ran.body["outcome"], "succeeded", "{}", ran.text);
        let items = server.ask("GET", BACKUPS, &[]).await.body["items"].as_array().unwrap().len();
        assert!(items <= 2, "day {day}: {items}");
    }
    let jobs = server.ask("GET", "/api/v1/admin/jobs", &[]).await;
    let job = jobs.body["items"].as_array().unwrap().iter().find(|job| job["name"] == "backup").unwrap().clone();
    assert_eq!(job["schedule"], "every day at 03:30 UTC");
    server.stop().await;
}

/// Writes to some documents until told to stop; counts what was acknowledged.
fn keep_writing(server: &Process, stop: &Arc<AtomicBool>, written: &Arc<AtomicU64>) -> tokio::task::JoinHandle<()> {
    let (url, client) = (server.url.clone(), server.client.clone());
    let (stop, written) = (Arc::clone(stop), Arc::clone(written));
    tokio::spawn(async move {
        while !stop.load(Ordering::SeqCst) {
            let n = written.load(Ordering::SeqCst);
            let path = format!("{url}/api/v1/games/g{}", n % 5);
            let body = json!({ "state": { "n": n, "text": "x".repeat(500) } });
            if client.put(path).json(&body).send().await.is_ok_and(|answer| answer.status().is_success()) {
                written.fetch_add(1, Ordering::SeqCst);
            }
        }
    })
}

/// The drill: a backup under load, a kill, a restore, and clients who come back.
#[tokio::test]
async fn after_a_restore_clients_resume_or_are_told_and_ended_sessions_stay_ended() {
    let mut server = Process::start(&[]);
    let (stop, written) = (Arc::<AtomicBool>::default(), Arc::<AtomicU64>::default());
    let load = keep_writing(&server, &stop, &written);
    while written.load(Ordering::SeqCst) < 50 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    server.put("/api/v1/notes/early", &json!({ "n": 1 })).await;
    let early = server.get("/api/v1/notes/early/events?limit=9").await.1["items"][0].clone();
    let (kept, ended) = (session::open(&server.url, "ann").await, session::open(&server.url, "bob").await);
    let (code, said) = operate("backup", &[], &server.data_dir());
    assert_eq!(code, 0, "{said}");
    let backup = PathBuf::from(said.lines().next().unwrap());
    let before = written.load(Ordering::SeqCst);
    while written.load(Ordering::SeqCst) < before + 20 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let path = format!("/api/v1/admin/sessions/{}", ended["session"]["id"].as_str().or(ended["id"].as_str()).unwrap());
    assert_eq!(server.ask("DELETE", &path, &[]).await.status, 204);
    let late = server.put("/api/v1/notes/late", &json!({ "n": 1 })).await.1;
    assert_eq!(late["version"], 1);
    let late = server.get("/api/v1/notes/late/events?limit=9").await.1["items"][0].clone();
    stop.store(true, Ordering::SeqCst);
    load.await.unwrap();

    let (code, said) = operate("restore", &[backup.to_str().unwrap()], &server.data_dir());
    assert_eq!((code, said.contains("in use")), (11, true), "not while it runs: {said}");
    server.kill();
    let (code, said) = operate("restore", &[backup.to_str().unwrap()], &server.data_dir());
    assert_eq!(code, 0, "{said}");
    assert!(said.contains("stay ended: 1"), "{said}");
    let replaced = said.lines().find_map(|line| line.strip_prefix("what was there is in ")).unwrap().to_owned();
    assert_eq!(names(Path::new(&replaced)), ["rejoin.db", "rejoin.db-wal"]);
    let replaced = Path::new(&replaced).join("rejoin.db");
    let (code, said) = operate("verify", &[replaced.to_str().unwrap()], &server.data_dir());
    assert_eq!(code, 0, "what was replaced is whole: {said}");
    let (code, said) = operate("verify", &[], &server.data_dir());
    assert_eq!(code, 0, "{said}");

    server.start_again_with(&["--strict"]);
    assert_eq!(server.get("/readyz").await.1["storage"], json!({ "state": "ok" }), "nothing is missed");
    for n in 0..5 {
        verified_history(&server, &format!("games/g{n}")).await;
    }
    assert_eq!(server.get("/api/v1/notes/late").await.0, 404);
    let url = format!("{}/api/v1/notes/early/events", server.url);
    let mut resumed = Follower::connect(&url, None, Some(&position(&early))).await.unwrap();
    assert_eq!(resumed.expect("resumed").await.data["count"], 0);
    let mut told = Follower::connect(&url, None, Some(&position(&late))).await.unwrap();
    assert_eq!(told.expect("snapshot").await.data["reason"], "diverged");
    for (opened, status) in [(&kept, 200), (&ended, 401)] {
        let bearer = format!("Bearer {}", opened["token"].as_str().unwrap());
        let me = server.ask("GET", "/api/v1/me", &[("authorization", &bearer)]).await;
        assert_eq!(me.status, status, "{}", me.text);
    }
    let again = server.put("/api/v1/notes/late", &json!({ "n": 2 })).await;
    assert_eq!(again.0, 201);
}

#[tokio::test]
async fn what_is_no_good_backup_is_refused_and_nothing_changes() {
    let mut server = Process::start(&[]);
    for n in 0..9 {
        server.put("/api/v1/games/g1", &json!({ "n": n })).await;
    }
    let (_, said) = operate("backup", &[], &server.data_dir());
    let backup = PathBuf::from(said.lines().next().unwrap());
    assert!(server.terminate().success());
    let before = (names(&server.data_dir()), std::fs::read(server.data_dir().join("rejoin.db")).unwrap());
    let directory = tempfile::tempdir().unwrap();
    let damaged = directory.path().join("damaged.db");
    std::fs::copy(&backup, &damaged).unwrap();
    let database = rusqlite::Connection::open(&damaged).unwrap();
    database.execute("UPDATE events SET body = replace(body, 'games', 'gomes') WHERE version = 3", []).unwrap();
    drop(database);
    let text = directory.path().join("text.db");
    std::fs::write(&text, "this is no database, only a text of some length\n".repeat(100)).unwrap();
    let cut = directory.path().join("cut.db");
    let bytes = std::fs::read(&backup).unwrap();
    std::fs::write(&cut, &bytes[..bytes.len() / 2]).unwrap();
    let none = directory.path().join("none.db");
    for (file, expected) in [(&damaged, 14), (&text, 12), (&cut, 14), (&none, 10)] {
        let (code, said) = operate("restore", &[file.to_str().unwrap()], &server.data_dir());
        assert_eq!(code, expected, "{}: {said}", file.display());
        let now = (names(&server.data_dir()), std::fs::read(server.data_dir().join("rejoin.db")).unwrap());
        assert!(now == before, "{}: {said}", file.display());
    }
    std::fs::write(server.data_dir().join("rejoin.db"), "garbage".repeat(1000)).unwrap();
    let (code, said) = operate("restore", &[backup.to_str().unwrap()], &server.data_dir());
    assert_eq!((code, said.contains("all sessions and tokens have ended")), (0, true), "{said}");
    server.start_again_with(&["--strict"]);
    assert_eq!(server.get("/api/v1/games/g1").await.1["version"], 9);
    let empty = directory.path().join("new");
    assert_eq!(operate("restore", &[backup.to_str().unwrap()], &empty).0, 0, "into a new directory");
    assert_eq!(operate("verify", &[], &empty).0, 0);
}
