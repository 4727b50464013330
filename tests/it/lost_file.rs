//! The files of a running server are removed, moved or replaced: what they held is written anew or rescued, and until
//! then nothing is called durable.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rusqlite::Connection;
use serde_json::{Value, json};

use crate::support::history::verified_history;
use crate::support::storage::{degraded, events, is_in_the_audit, well};
use crate::support::{Disk, Process, SmallDisk};

/// A server that has stored two versions of `games/g1`, and no longer looks at its files until it is continued.
async fn stopped_server() -> Process {
    let server = Process::start(&[]);
    for round in 1..=2 {
        assert!(server.put("/api/v1/games/g1", &json!({ "round": round })).await.0 < 202);
    }
    server.signal("STOP");
    server
}

fn database(server: &Process) -> PathBuf {
    server.data_dir().join("rejoin.db")
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

/// The verdict on the log is a discrepancy with these words, for as long as the file is lost.
async fn is_a_discrepancy(server: &Process, words: &str) {
    let (status, run) = server.post("/reconciliation/run", &json!({})).await;
    let verdicts = run["items"].as_array().cloned().unwrap_or_default();
    let log = verdicts.iter().find(|verdict| verdict["service"] == "log").unwrap_or_else(|| panic!("{status} {run}"));
    assert_eq!(log["status"], "discrepancy", "{log}");
    assert!(log["documents"].to_string().contains(words), "{log}");
}

fn remove_database(server: &Process) {
    for name in ["rejoin.db", "rejoin.db-wal", "rejoin.db-shm"] {
        fs::remove_file(server.data_dir().join(name)).unwrap();
    }
}

#[tokio::test]
async fn what_is_removed_or_moved_is_not_called_durable_and_written_anew() {
    type Lose = fn(&Process);
    let ways: [(&str, Lose); 7] = [
        ("rm rejoin.db*", remove_database),
        ("rm rejoin.db", |server| fs::remove_file(database(server)).unwrap()),
        ("rm rejoin.db-wal", |server| fs::remove_file(server.data_dir().join("rejoin.db-wal")).unwrap()),
        ("rm rejoin.lock", |server| fs::remove_file(server.data_dir().join("rejoin.lock")).unwrap()),
        ("mv rejoin.db", |server| fs::rename(database(server), server.data_dir().join("moved.db")).unwrap()),
        ("rm -r data", |server| fs::remove_dir_all(server.data_dir()).unwrap()),
        ("mv data", |server| fs::rename(server.data_dir(), server.data_dir().with_extension("moved")).unwrap()),
    ];
    for (way, lose) in ways {
        let mut server = stopped_server().await;
        lose(&server);
        server.signal("CONT");
        let (status, written) = server.merge("/api/v1/games/g1", &json!({ "round": 3 })).await;
        let durable = written["durable"] == json!(true);
        assert_eq!((status, durable), if durable { (200, true) } else { (202, false) }, "{way}: {written}");
        // Either the write or the server itself has noticed it.
        well(&server).await;
        assert!(server.log().contains("names no file any more"), "{way}: {}", server.log());
        assert!(server.log().contains("everything is written there anew"), "{way}: {}", server.log());
        assert_eq!(server.merge("/api/v1/games/g1", &json!({ "round": 4 })).await.0, 200, "{way}");
        assert_eq!((mode(&server.data_dir()), mode(&database(&server))), (0o700, 0o600), "{way}");
        assert_eq!(events(&database(&server)), 4, "{way}");
        assert!(!server.data_dir().join("rejoin.db.part").exists(), "{way}");
        let lock = fs::read_to_string(server.data_dir().join("rejoin.lock")).unwrap();
        assert!(lock.contains(server.address()), "{way}: {lock}");
        is_in_the_audit(&server, "names no file any more").await;
        let (_, run) = server.post("/reconciliation/run", &json!({})).await;
        assert!(!run.to_string().contains("discrepancy"), "{way}: {run}");

        server.kill();
        server.start_again_with(&["--strict"]);
        assert_eq!(verified_history(&server, "games/g1").await.len(), 4, "{way}");
    }
}

#[tokio::test]
async fn a_write_into_a_file_that_is_gone_is_not_called_durable() {
    let server = stopped_server().await;
    // Nothing can be made in its place.
    fs::rename(server.data_dir(), server.data_dir().with_extension("moved")).unwrap();
    fs::write(server.data_dir(), "no folder").unwrap();
    server.signal("CONT");
    let (status, written) = server.merge("/api/v1/games/g1", &json!({ "round": 3 })).await;
    assert_eq!((status, &written["durable"]), (202, &json!(false)), "{written}");
    let report = degraded(&server, "names no file any more").await;
    assert_eq!(report["storage"]["full"], false, "{report}");
    degraded(&server, "it cannot be written anew").await;
    assert_eq!(server.get("/api/v1/games/g1").await.1["state"]["round"], 3);
    is_a_discrepancy(&server, "names no file any more").await;

    fs::remove_file(server.data_dir()).unwrap();
    well(&server).await;
    is_in_the_audit(&server, "names no file any more").await;
    assert_eq!(events(&database(&server)), 3);
}

#[tokio::test]
async fn a_kill_right_after_the_file_was_written_anew_loses_nothing_acknowledged() {
    for _ in 0..5 {
        let mut server = stopped_server().await;
        fs::remove_dir_all(server.data_dir()).unwrap();
        server.signal("CONT");
        let end = Instant::now() + Duration::from_secs(20);
        while !database(&server).exists() {
            assert!(Instant::now() < end, "{}", server.log());
            std::thread::yield_now();
        }
        server.kill();
        server.start_again_with(&["--strict"]);
        assert_eq!(verified_history(&server, "games/g1").await.len(), 2);
    }
}

/// A backup of the server's database with one version, under another name.
fn backup(server: &Process) -> PathBuf {
    let copy = server.data_dir().with_file_name("backup.db");
    let source = Connection::open(database(server)).unwrap();
    source.execute("VACUUM INTO ?1", [copy.to_str().unwrap()]).unwrap();
    copy
}

async fn rescue(server: &Process, to: &str) -> (u16, Value) {
    server.post("/api/v1/admin/storage/rescue", &json!({ "to": to })).await
}

#[tokio::test]
async fn a_file_that_was_put_in_its_place_is_never_touched_and_all_is_rescued_elsewhere() {
    let mut server = stopped_server().await;
    let backup = backup(&server);
    let put_there = fs::read(&backup).unwrap();
    fs::rename(&backup, database(&server)).unwrap();
    server.signal("CONT");
    let report = degraded(&server, "rejoin.db names another file than the one that is open").await;
    assert_eq!(report["storage"].get("file"), None, "{report}");
    let (status, written) = server.merge("/api/v1/games/g1", &json!({ "round": 3 })).await;
    assert_eq!((status, &written["durable"]), (202, &json!(false)), "{written}");
    is_a_discrepancy(&server, "names another file than the one that is open").await;

    // Whoever opens it does not get our WAL with it.
    let end = Instant::now() + Duration::from_secs(20);
    while server.data_dir().join("rejoin.db-wal").exists() {
        assert!(Instant::now() < end, "{}", server.log());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }

    // Reads, and reads of what is not in memory, are of the file that is open.
    assert_eq!(server.put("/api/v1/games/g2", &json!({})).await.0, 202);
    assert_eq!(server.get("/api/v1/games/g1").await.1["state"]["round"], 3);
    let (_, first) = server.get("/api/v1/games/g1?version=1").await;
    assert_eq!(first["state"]["round"], 1, "{first}");

    // A backup would be one of the other file.
    let (status, refused) = server.post("/api/v1/admin/backups", &json!({})).await;
    assert_eq!((status, &refused["type"]), (503, &json!("/problems/storage-unavailable")), "{refused}");
    assert_eq!(server.get("/api/v1/admin/backups").await.1["items"], json!([]));

    let to = server.data_dir().with_file_name("rescued.db");
    let (status, answer) = rescue(&server, to.to_str().unwrap()).await;
    assert_eq!((status, &answer["durable"], &answer["waiting"]), (200, &json!(true), &json!(0)), "{answer}");
    let report = well(&server).await;
    assert_eq!(report["storage"]["file"].as_str(), to.to_str(), "{report}");
    assert!(server.log().contains(&format!("everything is written to {}", to.display())), "{}", server.log());
    let (status, written) = server.merge("/api/v1/games/g1", &json!({ "round": 4 })).await;
    assert_eq!((status, &written["durable"]), (200, &json!(true)), "{written}");
    assert_eq!((events(&to), mode(&to)), (5, 0o600));
    assert_eq!(fs::read(database(&server)).unwrap(), put_there);
    is_in_the_audit(&server, "names another file than the one that is open").await;
    let (_, run) = server.post("/reconciliation/run", &json!({})).await;
    assert!(!run.to_string().contains("discrepancy"), "{run}");

    assert!(server.terminate().success());
    assert_eq!(fs::read(database(&server)).unwrap(), put_there);
    fs::rename(&to, database(&server)).unwrap();
    fs::remove_file(server.data_dir().join("rejoin.lock")).unwrap();
    let leftover = fs::read_dir(to.parent().unwrap()).unwrap().map(|entry| entry.unwrap().file_name());
    assert!(leftover.into_iter().all(|name| !name.to_string_lossy().contains("part")));
    server.start_again_with(&["--strict"]);
    assert_eq!(verified_history(&server, "games/g1").await.len(), 4);
}

#[tokio::test]
async fn a_rescue_is_refused_with_the_reason_and_leaves_nothing_behind() {
    let server = stopped_server().await;
    server.signal("CONT");
    server.meet("bob").await;
    let folder = server.data_dir().with_file_name("rescued");
    let to = folder.join("rejoin.db");
    let to = to.to_str().unwrap();
    let refused = |answer: (u16, Value), words: &str| {
        let (status, problem) = answer;
        let slug = json!("/problems/rescue-refused");
        assert_eq!((status, &problem["type"]), (409, &slug), "{problem}");
        assert!(problem["detail"].as_str().unwrap().contains(words), "{problem}");
    };
    refused(rescue(&server, to).await, "storage works");

    let backup = backup(&server);
    fs::rename(&backup, database(&server)).unwrap();
    refused(rescue(&server, to).await, "there is no folder");
    fs::create_dir(&folder).unwrap();
    refused(rescue(&server, "rescued/rejoin.db").await, "not the absolute path of a file");
    refused(rescue(&server, "/").await, "not the absolute path of a file");
    fs::write(to, "mine").unwrap();
    refused(rescue(&server, to).await, "exists already");
    assert_eq!(fs::read_to_string(to).unwrap(), "mine");
    fs::rename(to, format!("{to}-wal")).unwrap();
    refused(rescue(&server, to).await, "exists already");
    fs::remove_file(format!("{to}-wal")).unwrap();

    let (status, problem) = server.post("/api/v1/admin/storage/rescue", &json!({ "path": to })).await;
    assert_eq!((status, &problem["type"]), (400, &json!("/problems/invalid-request")), "{problem}");
    let (status, problem) = server.post_as("bob", "/api/v1/admin/storage/rescue", &json!({ "to": to })).await;
    assert_eq!((status, &problem["type"]), (403, &json!("/problems/forbidden")), "{problem}");
    assert_eq!(fs::read_dir(&folder).unwrap().count(), 0);
    degraded(&server, "names another file").await;

    assert_eq!(rescue(&server, to).await.0, 200);
    let names = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<String> = names.collect();
    names.sort();
    assert_eq!(
        names,
        ["rejoin.db", "rejoin.db-shm", "rejoin.db-wal", "rejoin.integrity-key", "rejoin.lock", "rejoin.revocations"]
    );
    refused(rescue(&server, &format!("{to}.again")).await, "storage works");
}

#[tokio::test]
async fn a_rescue_to_a_disk_without_room_says_so_and_leaves_nothing_there() {
    let folder = tempfile::tempdir().unwrap();
    let Some(_disk) = SmallDisk::mount(folder.path(), 64) else { return };
    let server = stopped_server().await;
    server.signal("CONT");
    let backup = backup(&server);
    fs::rename(&backup, database(&server)).unwrap();
    degraded(&server, "names another file").await;
    let to = folder.path().join("rejoin.db");
    let (status, problem) = rescue(&server, to.to_str().unwrap()).await;
    assert_eq!((status, &problem["type"]), (507, &json!("/problems/storage-full")), "{problem}");
    assert!(problem["detail"].as_str().unwrap().contains(to.to_str().unwrap()), "{problem}");
    let left = fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect::<Vec<_>>();
    assert!(left.is_empty(), "{left:?}");
    degraded(&server, "names another file").await;

    let to = server.data_dir().with_file_name("rescued.db");
    assert_eq!(rescue(&server, to.to_str().unwrap()).await.0, 200);
    assert_eq!(events(&to), 2);
}

/// A full disk is left for another one.
#[tokio::test]
async fn what_is_on_a_full_disk_can_be_rescued_to_another() {
    let mut server = Process::start(&["--database-pages-max=256"]);
    let mut status = 0;
    while status != 202 {
        status = server.put("/api/v1/games/g1", &json!({ "text": "x".repeat(9000) })).await.0;
        assert!(status <= 202);
    }
    let to = server.data_dir().with_file_name("rescued.db");
    let (status, answer) = rescue(&server, to.to_str().unwrap()).await;
    // It has the same bound on pages, which a file without gaps may not have reached.
    let durable = answer["durable"] == json!(true);
    assert_eq!(status, if durable { 200 } else { 202 }, "{answer}");
    let (_, report) = server.get("/readyz").await;
    assert_eq!(report["storage"]["file"].as_str(), to.to_str(), "{report}");
    assert_eq!(answer["durableSeq"], report["durableSeq"], "{answer} {report}");
    assert_eq!(u64::try_from(events(&to)).ok(), report["durableSeq"].as_u64());
    let _ = server.terminate();
}

#[tokio::test]
async fn a_second_server_in_a_directory_that_was_removed_and_the_first_do_not_disturb_each_other() {
    let mut first = stopped_server().await;
    fs::remove_dir_all(first.data_dir()).unwrap();
    let mut second = first.start_beside();
    assert_eq!(second.put("/api/v1/games/other", &json!({ "round": 1 })).await.0, 201);
    first.signal("CONT");
    degraded(&first, "names another file than the one that is open").await;
    assert_eq!(first.merge("/api/v1/games/g1", &json!({ "round": 3 })).await.0, 202);
    assert_eq!(second.merge("/api/v1/games/other", &json!({ "round": 2 })).await.0, 200);
    assert_eq!(first.get("/api/v1/games/other").await.0, 404);
    assert_eq!(second.get("/api/v1/games/g1").await.0, 404);

    let status = first.terminate();
    assert!(!status.success(), "{status}");
    assert!(first.log().contains("3 changes that were not on disk are lost"), "{}", first.log());
    assert_eq!(second.merge("/api/v1/games/other", &json!({ "round": 3 })).await.0, 200);
    well(&second).await;
    second.kill();
    second.start_again_with(&["--strict"]);
    assert_eq!(verified_history(&second, "games/other").await.len(), 3);
}

#[tokio::test]
async fn a_stop_loses_nothing_of_a_file_that_has_another_name() {
    let mut server = stopped_server().await;
    let backup = backup(&server);
    let moved = server.data_dir().join("moved.db");
    fs::rename(database(&server), &moved).unwrap();
    fs::rename(&backup, database(&server)).unwrap();
    server.signal("CONT");
    degraded(&server, "names another file").await;
    let status = server.terminate();
    assert!(status.success(), "{status} {}", server.log());
    assert!(!server.log().contains("are lost"), "{}", server.log());
    assert_eq!(events(&moved), 2);
}

/// A server with a document in memory and one that is only on its disk, which fails on order.
async fn server_on_disk() -> (Disk, Process) {
    let (disk, server) = Disk::with_server(&[]);
    assert_eq!(server.put("/api/v1/games/g1", &json!({ "round": 1 })).await.0, 201);
    (disk, server)
}

/// Changes are taken, and everything is readable.
async fn goes_on(server: &Process, round: u64) {
    let begun = Instant::now();
    let (status, written) = server.merge("/api/v1/games/g1", &json!({ "round": round })).await;
    assert_eq!((status, &written["durable"]), (202, &json!(false)), "{written}");
    assert_eq!(server.get("/api/v1/games/g1").await.1["state"]["round"], round);
    assert_eq!(server.get("/api/v1/games/g1?version=1").await.1["state"]["round"], 1);
    assert_eq!(server.post("/api/v1/games", &json!({ "state": {} })).await.0, 202);
    // Far more than it takes, and far less than the copy.
    assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", begun.elapsed());
}

#[tokio::test]
async fn nobody_waits_while_everything_is_written_anew() {
    let (disk, mut server) = server_on_disk().await;
    disk.set("stall-copy");
    remove_database(&server);
    degraded(&server, "everything is being written there anew").await;
    for round in 2..5 {
        goes_on(&server, round).await;
    }
    assert!(!database(&server).exists() && server.data_dir().join("rejoin.db.part").exists());
    disk.set("off");
    well(&server).await;
    assert!(!server.data_dir().join("rejoin.db.part").exists());
    server.kill();
    server.start_again_with(&["--strict"]);
    assert_eq!(verified_history(&server, "games/g1").await.len(), 4);
}

#[tokio::test]
async fn a_stop_waits_until_everything_is_written_anew() {
    let (disk, mut server) = server_on_disk().await;
    disk.set("stall-copy");
    remove_database(&server);
    degraded(&server, "everything is being written there anew").await;
    goes_on(&server, 2).await;
    server.signal("TERM");
    tokio::time::timeout(Duration::from_secs(30), async {
        while !server.log().contains("stopping; a second signal") {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await
    .unwrap();
    disk.set("off");
    let status = server.wait();
    assert!(status.success(), "{status} {}", server.log());
    server.start_again_with(&["--strict"]);
    assert_eq!(verified_history(&server, "games/g1").await.len(), 2);
}

#[tokio::test]
async fn nobody_waits_for_a_rescue_but_who_asked_for_it() {
    let (disk, server) = server_on_disk().await;
    let backup = backup(&server);
    fs::rename(&backup, database(&server)).unwrap();
    degraded(&server, "names another file").await;
    disk.set("stall-copy");
    let folder = server.data_dir().with_file_name("rescued");
    fs::create_dir(&folder).unwrap();
    let to = folder.join("rejoin.db");
    let asked = rescue(&server, to.to_str().unwrap());
    let meanwhile = async {
        while !folder.join("rejoin.db.part").exists() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        for round in 2..5 {
            goes_on(&server, round).await;
        }
        let (status, problem) = rescue(&server, folder.join("other.db").to_str().unwrap()).await;
        assert_eq!((status, &problem["type"]), (409, &json!("/problems/rescue-refused")), "{problem}");
        assert!(problem["detail"].as_str().unwrap().contains("being written"), "{problem}");
        disk.set("off");
    };
    let ((status, answer), ()) = tokio::join!(asked, meanwhile);
    assert_eq!((status, &answer["durable"], &answer["waiting"]), (200, &json!(true), &json!(0)), "{answer}");
    well(&server).await;
    let stored = server.get("/readyz").await.1["seq"].as_i64().unwrap();
    assert_eq!(events(&to), stored);
}

#[tokio::test]
async fn a_kill_in_the_middle_of_a_rescue_leaves_what_was_there() {
    let (disk, mut server) = server_on_disk().await;
    let backup = backup(&server);
    let moved = server.data_dir().join("moved.db");
    fs::rename(database(&server), &moved).unwrap();
    fs::rename(&backup, database(&server)).unwrap();
    degraded(&server, "names another file").await;
    disk.set("stall-copy");
    let to = server.data_dir().with_file_name("rescued.db");
    let asked = rescue_unanswered(&server, &to);
    tokio::time::timeout(Duration::from_secs(30), async {
        while !Path::new(&format!("{}.part", to.display())).exists() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await
    .unwrap();
    server.kill();
    asked.abort();
    disk.set("off");
    assert!(!to.exists());
    assert_eq!(events(&moved), 1);
    server.start_again_with(&["--strict"]);
    assert_eq!(verified_history(&server, "games/g1").await.len(), 1);
}

fn rescue_unanswered(server: &Process, to: &Path) -> tokio::task::JoinHandle<()> {
    let request = server.request("POST", "/api/v1/admin/storage/rescue").json(&json!({ "to": to.to_str().unwrap() }));
    tokio::spawn(async move { drop(request.send().await) })
}
