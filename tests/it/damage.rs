//! A file that is damaged at rest: the server says so when it starts, or answers for the damaged document with an error
//! that names it, while the others work. It never hands out wrong data.

use std::path::PathBuf;

use rusqlite::Connection;
use serde_json::{Value, json};

use crate::support::history::{history_after, verified_history};
use crate::support::process::{command, run_to_end};
use crate::support::{Follower, Process};

const NAMES: [&str; 3] = ["games/a", "games/b", "games/c"];
/// Versions of each document: a few pages full of events.
const VERSIONS: usize = 40;

fn state(name: &str, round: usize) -> Value {
    json!({ "name": name, "round": round, "text": format!("{name} {round} ").repeat(40) })
}

/// Three documents; the snapshots that the stop takes are the newest versions.
async fn fill(server: &Process) {
    for round in 1..=VERSIONS {
        for name in NAMES {
            let (status, answer) = server.put(&format!("/api/v1/{name}"), &state(name, round)).await;
            assert!(status == 200 || status == 201, "{answer}");
        }
    }
}

async fn stopped() -> Process {
    let mut server = Process::start(&[]);
    fill(&server).await;
    assert!(server.terminate().success());
    server
}

fn file(server: &Process) -> PathBuf {
    server.data_dir().join("rejoin.db")
}

/// Starting fails: its exit code and its one line.
fn refusal(server: &Process) -> (i32, String) {
    let (code, said) = run_to_end(command(&server.data_dir(), "127.0.0.1:0", &[]));
    assert_eq!(said.lines().count(), 1, "{said}");
    assert!(said.contains("rejoin.db"), "{said}");
    (code, said)
}

fn assert_names(name: &str, version: Option<usize>, (status, problem): &(u16, Value)) {
    assert_eq!((*status, &problem["type"]), (500, &json!("/problems/damaged-document")), "{problem}");
    assert_eq!(problem["document"], name, "{problem}");
    if let Some(version) = version {
        assert_eq!(problem["version"], version, "{problem}");
    }
}

/// Everything about this document is as it was.
async fn assert_well(server: &Process, name: &str) {
    let (status, document) = server.get(&format!("/api/v1/{name}")).await;
    assert_eq!((status, &document["state"]), (200, &state(name, VERSIONS)), "{document}");
    assert_eq!(verified_history(server, name).await.len(), VERSIONS);
    assert_eq!(server.get(&format!("/api/v1/{name}?version=20")).await.1["state"], state(name, 20));
}

/// The other documents can be read, followed, resumed and written.
async fn assert_others_work(server: &Process, damaged: &str) {
    for name in NAMES.into_iter().filter(|name| *name != damaged) {
        assert_well(server, name).await;
        let url = format!("{}/api/v1/{name}/events", server.url);
        let tenth: Value = serde_json::from_str(&history_after(server, name, 9).await[0]).unwrap();
        let position = format!("{}-{}", tenth["seq"], &tenth["hash"].as_str().unwrap()[..12]);
        let mut follower = Follower::connect(&url, None, Some(&position)).await.unwrap();
        let resumed = follower.expect("resumed").await;
        assert_eq!(resumed.data["count"], VERSIONS - 10, "{}", resumed.text);
        follower.changes(VERSIONS - 10).await;
        let (status, answer) = server.merge(&format!("/api/v1/{name}"), &json!({ "round": 0 })).await;
        assert_eq!(status, 200, "{answer}");
        follower.changes(1).await;
    }
}

#[tokio::test]
async fn a_damaged_header_is_a_reason_not_to_start() {
    let server = stopped().await;
    let whole = std::fs::read(file(&server)).unwrap();
    // The magic; page size; the format that writers know; application id.
    for (offset, code) in [(0, 12), (16, 12), (18, 12), (68, 12)] {
        let mut bytes = whole.clone();
        bytes[offset] ^= 0xff;
        bytes[offset + 1] ^= 0xff;
        std::fs::write(file(&server), &bytes).unwrap();
        let (found, said) = refusal(&server);
        assert!(found == code || found == 14, "{offset}: {found} {said}");
    }
    let mut server = server;
    std::fs::write(file(&server), &whole).unwrap();
    server.start_again();
    assert_well(&server, "games/a").await;
}

#[tokio::test]
async fn a_file_cut_short_is_a_reason_not_to_start() {
    let server = stopped().await;
    let whole = std::fs::read(file(&server)).unwrap();
    for length in [whole.len() / 2, whole.len() / 2 + 1000, whole.len() - 4096, whole.len() - 1, 100] {
        std::fs::write(file(&server), &whole[..length]).unwrap();
        let (code, said) = refusal(&server);
        assert!(code == 14 || (code == 12 && length == 100), "{length} of {}: {code} {said}", whole.len());
    }
}

#[tokio::test]
async fn a_page_of_garbage_is_an_error_and_never_data() {
    let mut server = stopped().await;
    let whole = std::fs::read(file(&server)).unwrap();
    let (pages, mut refused, mut served) = (whole.len() / 4096, 0, 0);
    for page in 1..pages {
        let mut bytes = whole.clone();
        bytes[page * 4096..(page + 1) * 4096].fill(0x5a);
        std::fs::write(file(&server), &bytes).unwrap();
        if !try_start(&mut server) {
            refused += 1;
            continue;
        }
        served += 1;
        for name in NAMES {
            let (status, answer) = server.get(&format!("/api/v1/{name}")).await;
            match status {
                200 => assert_eq!(answer["state"], state(name, VERSIONS), "page {page}"),
                _ => assert_eq!(
                    (status, &answer["type"]),
                    (500, &json!("/problems/damaged-document")),
                    "page {page}: {answer}"
                ),
            }
            let (status, answer) = server.get(&format!("/api/v1/{name}?version=20")).await;
            match status {
                200 => assert_eq!(answer["state"], state(name, 20), "page {page}"),
                _ => assert_eq!(
                    (status, &answer["type"]),
                    (500, &json!("/problems/damaged-document")),
                    "page {page}: {answer}"
                ),
            }
            let (status, answer) = server.get(&format!("/api/v1/{name}/events?limit=500")).await;
            match status {
                200 => assert_eq!(verified_history(&server, name).await.len(), VERSIONS, "page {page}"),
                _ => assert_eq!(
                    (status, &answer["type"]),
                    (500, &json!("/problems/damaged-document")),
                    "page {page}: {answer}"
                ),
            }
        }
        server.kill();
    }
    assert!(refused > 0 && served > 0, "{refused} refused, {served} served");
}

/// Starts the server if it does start.
fn try_start(server: &mut Process) -> bool {
    match server.try_start_again() {
        Ok(()) => true,
        Err(said) => {
            assert_eq!(said.lines().count(), 1, "{said}");
            assert!(said.contains("damaged") || said.contains("not a Rejoin database"), "{said}");
            false
        }
    }
}

/// Changes the file with SQL and starts again.
async fn tampered(sql: &str) -> Process {
    let mut server = stopped().await;
    let database = Connection::open(file(&server)).unwrap();
    assert!(database.execute(sql, []).unwrap() > 0, "{sql}");
    drop(database);
    server.start_again();
    server
}

#[tokio::test]
async fn a_changed_event_is_named_and_does_not_reach_anybody() {
    let sql = "UPDATE events SET body = replace(body, '/round', '/wrong')
               WHERE version = 30 AND body LIKE '%\"id\":\"b\"%'";
    let server = tampered(sql).await;
    // The newest version has a snapshot of its own and does not need the event.
    assert_eq!(server.get("/api/v1/games/b").await.1["state"], state("games/b", VERSIONS));
    assert_names("games/b", Some(30), &server.get("/api/v1/games/b/events?limit=500").await);
    assert_names("games/b", None, &server.get("/api/v1/games/b?version=30").await);
    assert_eq!(server.get("/api/v1/games/b/events?limit=20").await.1["items"].as_array().unwrap().len(), 20);
    assert_others_work(&server, "games/b").await;
    let url = format!("{}/api/v1/games/b/events", server.url);
    let mut follower = Follower::connect(&url, None, Some("0")).await.unwrap();
    follower.expect("resumed").await;
    loop {
        let told = follower.next().await.unwrap();
        if told.event == "snapshot" {
            // What cannot be told is as good as trimmed: whoever comes back must be able to get past it.
            assert_eq!((&told.data["reason"], &told.data["documents"][0]["version"]), (&json!("trimmed"), &json!(40)));
            break;
        }
        assert!(told.event == "change" && told.data["version"].as_u64() < Some(30), "{}", told.text);
    }
    assert_eq!(server.merge("/api/v1/games/b", &json!({ "round": 0 })).await.0, 200, "it goes on from its snapshot");
    follower.changes(1).await;
}

#[tokio::test]
async fn a_missing_event_is_named_and_not_passed_over() {
    let server = tampered("DELETE FROM events WHERE version = 30 AND body LIKE '%\"id\":\"b\"%'").await;
    assert_names("games/b", Some(30), &server.get("/api/v1/games/b/events?limit=500").await);
    assert_names("games/b", None, &server.get("/api/v1/games/b?version=31").await);
    assert_others_work(&server, "games/b").await;
}

#[tokio::test]
async fn a_changed_snapshot_is_passed_over_told_and_written_anew_from_the_events() {
    let server = tampered(
        "UPDATE snapshots SET state = replace(state, '\"round\":40', '\"round\":41')
                           WHERE version = 40 AND state LIKE '%\"name\":\"games/b\"%'",
    )
    .await;
    assert_eq!(server.get("/api/v1/games/b").await.1["state"], state("games/b", VERSIONS));
    assert_others_work(&server, "games/b").await;
    let run = server.post("/reconciliation/run", &json!({ "service": "documents/games" })).await.1;
    let found = &run["items"][0];
    // Unless the scrub was there before.
    if found["status"] == "discrepancy" {
        assert_eq!(
            (&found["documents"][0]["document"], &found["documents"][0]["version"]),
            (&json!("games/b"), &json!(40))
        );
    }
    let audit = server.get("/reconciliation/audit?service=documents/games&limit=100").await.1;
    let rows = audit["items"].as_array().unwrap();
    let told =
        |action: &str| rows.iter().any(|row| row["action"] == action && row["documents"][0]["document"] == "games/b");
    assert!(rows.iter().any(|row| row["status"] == "discrepancy") && told("repair"), "{audit}");
    assert_eq!(rows[0]["status"], "verified", "{audit}");
    assert_eq!(server.merge("/api/v1/games/b", &json!({ "x": 1 })).await.0, 200);
    assert_eq!(verified_history(&server, "games/b").await.len(), VERSIONS + 1);
}

/// Whatever a crash of the machine leaves of the WAL's end: the log is a prefix of what it was.
#[tokio::test]
async fn a_damaged_wal_recovers_to_a_prefix_that_verifies() {
    let mut server = Process::start(&[]);
    fill(&server).await;
    let mut whole = Vec::new();
    for name in NAMES {
        whole.push(verified_history(&server, name).await);
    }
    server.kill();
    let wal_path = server.data_dir().join("rejoin.db-wal");
    let (database, wal) = (std::fs::read(file(&server)).unwrap(), std::fs::read(&wal_path).unwrap());
    assert!(wal.len() > 50 * 4096, "{}", wal.len());
    let mut recovered = Vec::new();
    for (eighth, flip) in (0..=8).flat_map(|eighth| [(eighth, false), (eighth, true)]) {
        let mut damaged = wal.clone();
        let at = wal.len() / 8 * eighth;
        match (flip, damaged.get_mut(at + 100)) {
            (true, Some(byte)) => *byte ^= 1,
            (true, None) => continue,
            (false, _) => damaged.truncate(at + 7),
        }
        std::fs::write(file(&server), &database).unwrap();
        std::fs::write(&wal_path, &damaged).unwrap();
        let _ = std::fs::remove_file(server.data_dir().join("rejoin.db-shm"));
        if !try_start(&mut server) {
            // The schema itself was in there.
            assert_eq!(eighth, 0);
            continue;
        }
        let mut events = 0;
        for (name, whole) in NAMES.iter().zip(&whole) {
            if server.get(&format!("/api/v1/{name}")).await.0 == 404 {
                continue;
            }
            let history = verified_history(&server, name).await;
            assert_eq!(history, whole[..history.len()], "{eighth} {flip}");
            events += history.len();
        }
        recovered.push(events);
        assert_eq!(server.put("/api/v1/games/new", &json!({})).await.0, 201, "and it goes on");
        server.kill();
    }
    assert!(recovered.is_sorted(), "the later the damage, the more is left: {recovered:?}");
    assert!(recovered.first() < Some(&20) && recovered.last() > Some(&100), "{recovered:?}");
}
