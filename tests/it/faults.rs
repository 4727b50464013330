//! Storage that fails while the server runs, and what everybody sees of it: changes go on in memory and are called not
//! durable, become durable in order when storage returns, and past the bound are refused.

use reqwest::{RequestBuilder, Response};
use serde_json::{Value, json};

use crate::support::history::verified_history;
use crate::support::process::{command, json, run_to_end};
use crate::support::{Disk, Follower, Process, SmallDisk};

const FAULTS: [(&str, bool); 4] = [("enospc", true), ("short", true), ("eio-write", false), ("eio-fsync", false)];

fn merge(server: &Process, path: &str, patch: &Value) -> RequestBuilder {
    let request = server.request("PATCH", path).header("content-type", "application/merge-patch+json");
    request.body(patch.to_string())
}

fn keyed(server: &Process, key: &str, name: &str, payload: &Value) -> RequestBuilder {
    let body = json!({ "type": "keyed", "payload": payload, "patch": { "keyed": key } });
    server.request("POST", &format!("/api/v1/{name}/actions")).header("idempotency-key", key).json(&body)
}

/// Status, whether it was given before, and text.
async fn told(response: Response) -> (u16, bool, String) {
    let replayed = response.headers().contains_key("idempotency-replayed");
    (response.status().as_u16(), replayed, response.text().await.unwrap())
}

async fn recovered(server: &Process) -> Value {
    server.until_ready(|status, report| status == 200 && report["storage"]["state"] == "ok").await
}

/// A server with `games/g1` at version 2, on a disk that works.
async fn start(flags: &[&str]) -> (Disk, Process) {
    let (disk, server) = Disk::with_server(flags);
    assert_eq!(server.put("/api/v1/games/g1", &json!({ "round": 1 })).await.0, 201);
    assert_eq!(server.merge("/api/v1/games/g1", &json!({ "round": 2 })).await.0, 200);
    (disk, server)
}

async fn follow(server: &Process, path: &str, resume: Option<&str>) -> Follower {
    Follower::connect(&format!("{}{path}", server.url), None, resume).await.unwrap()
}

/// Every way to write, while storage fails. Returns the keyed answer.
async fn write_in_every_way(server: &Process) -> String {
    let path = "/api/v1/games/g1";
    let (status, document) = server.merge(path, &json!({ "round": 3 })).await;
    assert_eq!((status, &document["durable"], &document["version"]), (202, &json!(false), &json!(3)), "{document}");
    let minimal = merge(server, path, &json!({ "round": 4 })).header("prefer", "return=minimal").send().await.unwrap();
    assert_eq!(minimal.headers()["preference-applied"], "return=minimal");
    assert!(minimal.headers()["etag"].to_str().unwrap().starts_with("\"4-"));
    assert_eq!(json(minimal).await, (202, json!({ "durable": false })));
    let (status, document) = server.post("/api/v1/games", &json!({ "id": "g2", "state": { "round": 1 } })).await;
    assert_eq!((status, &document["durable"]), (202, &json!(false)), "{document}");
    let operations = json!([
        { "op": "patch", "collection": "games", "id": "g1", "patch": { "round": 5 } },
        { "op": "create", "collection": "games", "id": "g3", "state": { "round": 1 } },
        { "op": "delete", "collection": "games", "id": "g3" },
    ]);
    let (status, batch) = server.post("/api/v1/batch", &json!({ "operations": operations })).await;
    assert_eq!((status, &batch["durable"]), (202, &json!(false)), "{batch}");
    assert_eq!(batch["results"].as_array().unwrap().len(), 3);
    let (status, replayed, answer) = told(keyed(server, "k", "games/g1", &json!(1)).send().await.unwrap()).await;
    assert_eq!((status, replayed), (202, false), "{answer}");
    assert!(answer.trim_end().ends_with(",\"durable\":false}"), "{answer}");
    assert_eq!(
        told(keyed(server, "k", "games/g1", &json!(1)).send().await.unwrap()).await,
        (202, true, answer.clone())
    );
    assert_eq!(told(keyed(server, "k", "games/g1", &json!(2)).send().await.unwrap()).await.0, 422);
    let (status, document) = server.post(&format!("{path}/rollback"), &json!({ "toVersion": 4 })).await;
    assert_eq!((status, &document["state"]), (202, &json!({ "round": 4 })), "{document}");
    let (status, refused) = server.post("/api/v1/games", &json!({ "id": "g2", "state": {} })).await;
    assert_eq!(status, 409, "a refusal stays one: {refused}");
    answer
}

/// What was written, read in every way, while none of it is on disk.
async fn read_in_every_way(server: &Process) {
    let (_, document) = server.get("/api/v1/games/g1").await;
    assert_eq!((&document["durable"], &document["version"]), (&json!(false), &json!(7)));
    assert_eq!(server.get("/api/v1/games/g2").await.1["durable"], false);
    assert_eq!(server.get("/api/v1/games/g3").await.0, 410);
    let (_, list) = server.get("/api/v1/games?include=state").await;
    let listed: Vec<_> = list["items"].as_array().unwrap().iter().map(|item| (&item["id"], &item["version"])).collect();
    assert_eq!(listed, [(&json!("g1"), &json!(7)), (&json!("g2"), &json!(1))]);
    for (version, round) in [(1, 1), (2, 2), (3, 3), (5, 5), (7, 4)] {
        let (status, past) = server.get(&format!("/api/v1/games/g1?version={version}")).await;
        assert_eq!((status, &past["state"]["round"]), (200, &json!(round)), "{past}");
        assert_eq!(past["durable"], json!(version < 3), "{past}");
    }
    assert_eq!(server.get("/api/v1/games/g1?version=8").await.0, 404);
    assert_eq!(verified_history(server, "games/g1").await.len(), 7);
    assert_eq!(verified_history(server, "games/g2").await.len(), 1);
    let (_, page) = server.get("/api/v1/games/g1/events?limit=2&after=1").await;
    assert_eq!(page["items"][1]["version"], 3, "a page over the edge of the disk: {page}");
    assert!(page["nextCursor"].is_string());
}

/// Storage fails, everything goes on in memory, storage returns, everything is on disk.
async fn fails_and_returns(fault: &str, full: bool) {
    let (disk, mut server) = start(&[]).await;
    let mut one = follow(&server, "/api/v1/games/g1/events", None).await;
    one.expect("snapshot").await;
    let mut all = follow(&server, "/api/v1/stream?collection=games", None).await;
    let before = all.expect("snapshot").await.id;
    disk.set(fault);
    let keyed_answer = write_in_every_way(&server).await;
    read_in_every_way(&server).await;

    let report = server.until_ready(|_, _| true).await;
    assert_eq!((&report["status"], &report["storage"]["state"]), (&json!("ready"), &json!("degraded")), "{report}");
    assert_eq!((&report["storage"]["full"], &report["backlog"]["events"]), (&json!(full), &json!(8)), "{report}");
    assert_eq!((&report["seq"], &report["durableSeq"]), (&json!(10), &json!(2)), "{report}");

    let followed = all.changes(8).await;
    assert_eq!(one.changes(5).await.last().unwrap().data["version"], 7);
    let mut fresh = follow(&server, "/api/v1/stream?collection=games", None).await;
    let snapshot = fresh.expect("snapshot").await;
    assert_eq!(snapshot.data["documents"].as_array().unwrap().len(), 2);
    assert!(snapshot.data["documents"].as_array().unwrap().iter().all(|document| document["durable"] == false));
    let mut resumed = follow(&server, "/api/v1/stream?collection=games", Some(&before)).await;
    assert_eq!(resumed.expect("resumed").await.data["count"], 8);
    assert_eq!(resumed.changes(8).await, followed);

    let poll = {
        let request = server.request("GET", "/api/v1/games/g1/events?after=7&wait=20");
        tokio::spawn(async move { json(request.send().await.unwrap()).await })
    };
    assert_eq!(server.merge("/api/v1/games/g1", &json!({ "round": 8 })).await.0, 202);
    let (status, page) = poll.await.unwrap();
    assert_eq!((status, &page["items"][0]["version"]), (200, &json!(8)), "{page}");
    let mut last = String::new();
    for follower in [&mut one, &mut all, &mut fresh, &mut resumed] {
        last = follower.changes(1).await[0].id.clone();
    }
    // A client whose connection drops while storage fails is owed the news as well.
    let mut dropped = follow(&server, "/api/v1/stream?collection=games", Some(&last)).await;
    assert_eq!(dropped.expect("resumed").await.data["count"], 0);

    disk.set("off");
    for follower in [&mut one, &mut all, &mut fresh, &mut resumed, &mut dropped] {
        assert_eq!(follower.expect("durable").await.data["seq"], 11);
    }
    // As is one that comes back only now.
    let mut away = follow(&server, "/api/v1/stream?collection=games", Some(&last)).await;
    assert_eq!(away.expect("resumed").await.data["count"], 0);
    assert_eq!(away.expect("durable").await.data["seq"], 11);
    let report = recovered(&server).await;
    assert_eq!((&report["backlog"]["events"], &report["backlog"]["bytes"]), (&json!(0), &json!(0)), "{report}");
    assert_eq!(report["durableSeq"], 11);
    assert_eq!(server.get("/api/v1/games/g1").await.1["durable"], true);
    assert_eq!(server.merge("/api/v1/games/g1", &json!({ "round": 9 })).await.0, 200);
    let histories = [verified_history(&server, "games/g1").await, verified_history(&server, "games/g2").await];
    server.kill();
    disk.set("off");
    server.start_again();
    for (name, history) in ["games/g1", "games/g2"].iter().zip(&histories) {
        assert_eq!(verified_history(&server, name).await, *history, "the same bytes");
    }
    assert_eq!(histories[0].len(), 9);
    let mut texts = followed.iter().map(|told| &told.text);
    assert!(texts.all(|text| text.contains("\"g3\"") || histories.iter().flatten().any(|event| event == text)));
    assert_eq!(server.get("/api/v1/games/g3").await.1["lastVersion"], 2);
    let (status, replayed, answer) = told(keyed(&server, "k", "games/g1", &json!(1)).send().await.unwrap()).await;
    assert_eq!((status, replayed), (200, true), "its change is on disk by now: {answer}");
    assert_eq!(answer.replace("\"durable\":true", "\"durable\":false"), keyed_answer);
}

#[tokio::test]
async fn a_full_disk_makes_changes_wait_until_there_is_room() {
    fails_and_returns("enospc", true).await;
}

#[tokio::test]
async fn a_disk_that_fills_up_in_the_middle_of_a_page_makes_changes_wait_until_there_is_room() {
    fails_and_returns("short", true).await;
}

#[tokio::test]
async fn a_disk_that_takes_no_writes_makes_changes_wait_until_it_does() {
    fails_and_returns("eio-write", false).await;
}

/// The commit whose sync fails may be on disk all the same: it must be there once, and not twice.
#[tokio::test]
async fn a_disk_that_does_not_sync_makes_changes_wait_until_it_does() {
    fails_and_returns("eio-fsync", false).await;
}

/// What a kill leaves of `games/g1`, versions 3 to 6 of which were never durable. `expected`: how many may be left.
async fn killed_while_failing(fault: &str, expected: &[usize]) {
    let (disk, mut server) = start(&[]).await;
    let mut follower = follow(&server, "/api/v1/games/g1/events", None).await;
    let durable = follower.expect("snapshot").await.id;
    disk.set(fault);
    let (status, _, answer) = told(keyed(&server, "k", "games/g1", &json!(1)).send().await.unwrap()).await;
    assert_eq!(status, 202, "{answer}");
    for round in 4..=6 {
        assert_eq!(server.merge("/api/v1/games/g1", &json!({ "round": round })).await.0, 202);
    }
    let told_of = follower.changes(4).await;
    // At least one attempt to get it to disk has failed in between.
    server.until_ready(|_, report| report["failures"].as_u64() >= Some(2)).await;
    server.kill();
    disk.set("off");
    server.start_again();

    let history = verified_history(&server, "games/g1").await;
    let kept = history.len();
    assert!(expected.contains(&kept), "{fault}: {kept}");
    assert!(history[2..].iter().zip(&told_of).all(|(event, told)| *event == told.text));
    let mut back = follow(&server, "/api/v1/games/g1/events", Some(&durable)).await;
    assert_eq!(back.expect("resumed").await.data["count"], kept - 2);
    let mut lost = follow(&server, "/api/v1/games/g1/events", Some(&told_of[3].id)).await;
    let snapshot = lost.expect("snapshot").await;
    assert_eq!(
        (&snapshot.data["reason"], &snapshot.data["documents"][0]["version"]),
        (&json!("diverged"), &json!(kept))
    );
    // The retry makes the change that was lost, or finds the one that was not.
    let (status, replayed, answer) = told(keyed(&server, "k", "games/g1", &json!(1)).send().await.unwrap()).await;
    assert_eq!((status, replayed), (200, kept > 2), "{answer}");
    for round in 4..=9 {
        assert_eq!(server.merge("/api/v1/games/g1", &json!({ "round": round })).await.0, 200);
    }
    let history = verified_history(&server, "games/g1").await;
    assert_eq!(history.len(), 9);
    assert_eq!(history.iter().filter(|event| event.contains("\"keyed\":\"k\"") || event.contains("/keyed")).count(), 1);
    // Its seq is taken again by now, by another change.
    let mut lost = follow(&server, "/api/v1/games/g1/events", Some(&told_of[3].id)).await;
    assert_eq!(lost.expect("snapshot").await.data["reason"], "diverged");
}

#[tokio::test]
async fn a_kill_while_the_disk_is_full_loses_only_what_was_never_called_durable() {
    killed_while_failing("enospc", &[2]).await;
}

#[tokio::test]
async fn a_kill_while_writes_fail_loses_only_what_was_never_called_durable() {
    killed_while_failing("eio-write", &[2]).await;
}

/// The commit that failed turns up after the kill, since all of its bytes were in the file and only the sync said no;
/// unless the kill comes while it is being written once more in its own place.
#[tokio::test]
async fn a_kill_while_syncs_fail_loses_only_what_was_never_called_durable() {
    killed_while_failing("eio-fsync", &[2, 3]).await;
}

#[tokio::test]
async fn past_the_bound_changes_are_refused_and_everything_else_goes_on() {
    for (fault, full) in FAULTS {
        let (disk, server) = start(&["--backlog-events-max=5"]).await;
        let mut follower = follow(&server, "/api/v1/games/g1/events", None).await;
        follower.expect("snapshot").await;
        disk.set(fault);
        let (status, _, first) = told(keyed(&server, "k", "games/g1", &json!(1)).send().await.unwrap()).await;
        assert_eq!(status, 202, "{first}");
        // Many at once: they are decided together, and the bound holds for them all.
        let burst = (0..40).map(|round| merge(&server, "/api/v1/games/g1", &json!({ "round": round })).send());
        let statuses: Vec<u16> = futures_util::future::join_all(burst)
            .await
            .into_iter()
            .map(|answer| answer.unwrap().status().as_u16())
            .collect();
        let refusal = if full { 507 } else { 503 };
        assert_eq!(statuses.iter().filter(|status| **status == 202).count(), 4, "{statuses:?}");
        assert_eq!(statuses.iter().filter(|status| **status == refusal).count(), 36, "{statuses:?}");

        let refused = merge(&server, "/api/v1/games/g1", &json!({})).send().await.unwrap();
        assert_eq!(refused.headers()["content-type"], "application/problem+json");
        assert!(refused.headers()["retry-after"].to_str().unwrap().parse::<u64>().unwrap() > 0);
        let (status, problem) = json(refused).await;
        let kind = if full { "/problems/storage-full" } else { "/problems/storage-unavailable" };
        assert_eq!((status, &problem["type"]), (refusal, &json!(kind)), "{problem}");
        assert!(problem["retryAfterSeconds"].is_u64());
        let (status, report) = server.get("/readyz").await;
        assert_eq!((status, &report["status"], &report["backlog"]["events"]), (503, &json!("unavailable"), &json!(5)));
        assert_eq!(server.get("/healthz").await.0, 200);
        assert_eq!(server.get("/api/v1/games/g1").await.1["version"], 7);
        assert_eq!(follower.changes(5).await[4].data["version"], 7);
        let mut fresh = follow(&server, "/api/v1/games/g1/events", None).await;
        assert_eq!(fresh.expect("snapshot").await.data["documents"][0]["version"], 7);
        let again = told(keyed(&server, "k", "games/g1", &json!(1)).send().await.unwrap()).await;
        assert_eq!(again, (202, true, first), "the first answer needs no room");

        disk.set("off");
        assert_eq!(follower.expect("durable").await.data["seq"], 7);
        recovered(&server).await;
        assert_eq!(server.merge("/api/v1/games/g1", &json!({ "round": 8 })).await.0, 200);
        assert_eq!(verified_history(&server, "games/g1").await.len(), 8);
    }
}

#[tokio::test]
async fn documents_that_are_only_read_do_not_pile_up_in_memory_while_storage_fails() {
    let (disk, server) = start(&["--hot-documents-max=20"]).await;
    for index in 0..100 {
        assert_eq!(server.put(&format!("/api/v1/boards/b{index}"), &json!({ "n": index })).await.0, 201);
    }
    disk.set("enospc");
    assert_eq!(server.merge("/api/v1/games/g1", &json!({ "round": 3 })).await.0, 202);
    for index in 0..100 {
        let (status, document) = server.get(&format!("/api/v1/boards/b{index}")).await;
        assert_eq!((status, &document["state"]["n"]), (200, &json!(index)), "{document} {}", server.log());
    }
    server.until_ready(|_, report| report["documentsInMemory"].as_u64() <= Some(21)).await;
    assert_eq!(server.get("/api/v1/games/g1").await.1["version"], 3, "what is nowhere else stays");
    for index in 0..100 {
        assert_eq!(server.merge(&format!("/api/v1/boards/b{index}"), &json!({ "m": 1 })).await.0, 202);
    }
    disk.set("off");
    recovered(&server).await;
    for index in 0..100 {
        let (_, document) = server.get(&format!("/api/v1/boards/b{index}")).await;
        assert_eq!((&document["state"], &document["durable"]), (&json!({ "m": 1, "n": index }), &json!(true)));
    }
}

/// A file that is not as it was left is not appended to: it would break histories, and what waits is still in memory.
#[tokio::test]
async fn a_log_that_somebody_else_changed_meanwhile_is_not_appended_to() {
    let (disk, server) = start(&[]).await;
    let database = rusqlite::Connection::open(server.data_dir().join("rejoin.db")).unwrap();
    database.execute_batch("CREATE TABLE aside AS SELECT * FROM events WHERE seq = 2").unwrap();
    disk.set("enospc");
    assert_eq!(server.merge("/api/v1/games/g1", &json!({ "round": 3 })).await.0, 202);
    let mut follower = follow(&server, "/api/v1/games/g1/events", None).await;
    follower.expect("snapshot").await;
    database.execute_batch("DELETE FROM events WHERE seq = 2").unwrap();
    disk.set("off");
    let other_end =
        |report: &Value| report["storage"]["reason"].as_str().is_some_and(|why| why.contains("ends otherwise"));
    let report = server.until_ready(|_, report| other_end(report)).await;
    assert_eq!((&report["backlog"]["events"], &report["durableSeq"]), (&json!(1), &json!(2)), "{report}");
    let again = report["failures"].as_u64().map(|failures| failures + 2);
    let report = server.until_ready(|_, report| report["failures"].as_u64() >= again).await;
    assert!(other_end(&report), "it does not get used to it: {report}");
    assert_eq!(server.get("/api/v1/games/g1").await.1["durable"], false);

    database.execute_batch("INSERT INTO events SELECT * FROM aside; DROP TABLE aside").unwrap();
    assert_eq!(follower.expect("durable").await.data["seq"], 3);
    recovered(&server).await;
    assert_eq!(verified_history(&server, "games/g1").await.len(), 3);
}

/// The same without any trick: a file that may not grow further.
#[tokio::test]
async fn a_database_at_its_page_limit_is_a_full_disk() {
    let mut server = Process::start(&["--database-pages-max=256"]);
    let (mut durable, mut status) = (0, 0);
    for round in 0..500 {
        let state = json!({ "round": round, "text": format!("{round}").repeat(1500) });
        status = server.put("/api/v1/games/g1", &state).await.0;
        if status == 202 {
            break;
        }
        durable += 1;
    }
    assert_eq!(status, 202);
    assert!(durable > 10, "{durable}");
    // Once more, and far more than could find room when it is tried again.
    let large = json!({ "text": "x".repeat(500_000) });
    assert_eq!(server.put("/api/v1/games/g1", &large).await.0, 202);
    let report = server.until_ready(|_, _| true).await;
    assert_eq!((&report["storage"]["state"], &report["storage"]["full"]), (&json!("degraded"), &json!(true)));
    let mut follower = follow(&server, "/api/v1/games/g1/events", None).await;
    let lost = follower.expect("snapshot").await;
    assert_eq!(lost.data["documents"][0]["durable"], false);

    assert_eq!(server.terminate().code(), Some(6), "an ending that whoever runs it can tell");
    assert_eq!(follower.expect("bye").await.data["reason"], "shutdown");
    assert!(server.log().contains("changes that were not on disk are lost"), "{}", server.log());
    server.start_again_with(&[]);
    // The first that waited may have found room in between.
    let kept = verified_history(&server, "games/g1").await.len();
    assert!(kept == durable || kept == durable + 1, "{kept} of {durable}");
    let mut back = follow(&server, "/api/v1/games/g1/events", Some(&lost.id)).await;
    assert_eq!(back.expect("snapshot").await.data["reason"], "diverged");
    assert_eq!(server.put("/api/v1/games/g1", &json!({})).await.0, 200);
}

/// Begins to read, and goes on reading until it is dropped: what is written after that stays in the WAL.
fn reader(server: &Process) -> rusqlite::Connection {
    let reader = rusqlite::Connection::open(server.data_dir().join("rejoin.db")).unwrap();
    reader.execute_batch("BEGIN").unwrap();
    reader.query_row("SELECT count(*) FROM events", [], |_| Ok(())).unwrap();
    reader
}

#[tokio::test]
async fn a_disk_that_is_full_is_told_as_full_while_somebody_reads() {
    let server = Process::start(&["--database-pages-max=256"]);
    assert_eq!(server.put("/api/v1/games/g1", &json!({})).await.0, 201);
    let reader = reader(&server);
    let mut status = 200;
    for round in 0..500 {
        let state = json!({ "round": round, "text": format!("{round}").repeat(1500) });
        status = server.put("/api/v1/games/g1", &state).await.0;
        if status == 202 {
            break;
        }
    }
    assert_eq!(status, 202);
    // None of these attempts comes as far as the disk.
    let report = server.until_ready(|_, report| report["failures"].as_u64() >= Some(3)).await;
    let reason = report["storage"]["reason"].as_str().unwrap();
    assert_eq!((&report["storage"]["state"], &report["storage"]["full"]), (&json!("degraded"), &json!(true)));
    assert!(reason.contains("full") && reason.contains("read transaction"), "{reason}");
    drop(reader);
}

#[tokio::test]
async fn whoever_is_refused_for_the_disk_finds_it_told_as_failing() {
    let (disk, server) = start(&[]).await;
    // A game that is over may go to make room, which is tried before it is known that storage fails.
    assert_eq!(server.put("/api/v1/games/over", &json!({})).await.0, 201);
    assert_eq!(server.post("/api/v1/games/over/complete", &json!({})).await.0, 200);
    // Keeps that attempt busy for a quarter of a second.
    let reader = reader(&server);
    assert_eq!(server.merge("/api/v1/games/g1", &json!({ "round": 3 })).await.0, 200);
    disk.set("enospc");
    let (status, refused) = server.post("/api/v1/sessions", &json!({ "user": "ann" })).await;
    let (_, report) = server.get("/readyz").await;
    assert_eq!((status, &report["storage"]["state"]), (503, &json!("degraded")), "{refused}: {report}");
    disk.set("off");
    drop(reader);
    recovered(&server).await;
    assert_eq!(server.post("/api/v1/sessions", &json!({ "user": "ann" })).await.0, 201);
}

#[tokio::test]
async fn a_stop_while_storage_fails_tries_once_more_and_says_what_is_lost() {
    let (disk, mut server) = start(&[]).await;
    disk.set("eio-write");
    assert_eq!(server.merge("/api/v1/games/g1", &json!({ "round": 3 })).await.0, 202);
    assert_eq!(server.merge("/api/v1/games/g1", &json!({ "round": 4 })).await.0, 202);
    assert_eq!(server.terminate().code(), Some(6));
    assert!(server.log().contains("2 changes that were not on disk are lost"), "{}", server.log());

    disk.set("off");
    server.start_again();
    assert_eq!(verified_history(&server, "games/g1").await.len(), 2);
    disk.set("enospc");
    assert_eq!(server.merge("/api/v1/games/g1", &json!({ "round": 3 })).await.0, 202);
    // Long enough for the attempts to be seconds apart: the stop does not wait for the next.
    server.until_ready(|_, report| report["failures"].as_u64() >= Some(5)).await;
    disk.set("off");
    assert!(server.terminate().success());
    server.start_again();
    assert_eq!(verified_history(&server, "games/g1").await.len(), 3);
}

/// SQLite tells EIO of a read as damage of the file.
#[tokio::test]
async fn a_disk_that_cannot_be_read_is_no_damage() {
    let (disk, mut server) = start(&["--reconciliation-seconds=3600"]).await;
    for name in ["g2", "g3"] {
        assert_eq!(server.put(&format!("/api/v1/games/{name}"), &json!({ "round": 1 })).await.0, 201);
    }
    assert!(server.terminate().success());
    server.start_again();
    // The first comparison is over. A commit then has all readers forget the pages that they remember.
    assert_eq!(server.post("/reconciliation/run", &json!({})).await.0, 200);
    assert_eq!(server.merge("/api/v1/games/g1", &json!({ "round": 3 })).await.0, 200);
    disk.set("eio-read");
    let paths = [
        "/api/v1/games/g2",
        "/api/v1/games/g2?version=1",
        "/api/v1/games/g3/events",
        "/api/v1/games/g1?version=1",
        "/api/v1/games?include=state",
    ];
    for path in paths {
        let (status, problem) = server.get(path).await;
        let slug = json!("/problems/storage-unavailable");
        assert_eq!((status, &problem["type"]), (503, &slug), "{path}: {problem}");
    }
    assert_eq!(server.get("/api/v1/games/g1").await.1["state"]["round"], 3, "what is in memory is read");
    let (status, written) = server.merge("/api/v1/games/g3", &json!({ "round": 2 })).await;
    // What the engine remembers of the file may be enough.
    assert!([200, 202, 503].contains(&status), "{status} {written}");
    let report = server.until_ready(|_, report| report["storage"]["errors"].is_array()).await;
    let error = &report["storage"]["errors"][0];
    assert!(error["at"].is_string() && error["reason"].as_str().unwrap().contains("read"), "{report}");
    let (_, run) = server.post("/reconciliation/run", &json!({})).await;
    assert!(!run.to_string().contains("discrepancy"), "{run}");

    disk.set("off");
    assert_eq!(server.post("/reconciliation/run", &json!({})).await.0, 200);
    server.until_ready(|_, report| report["storage"].get("errors").is_none()).await;
    recovered(&server).await;
    assert_eq!(server.merge("/api/v1/games/g3", &json!({ "round": 3 })).await.0, 200);
    assert_eq!(verified_history(&server, "games/g1").await.len(), 3);
    let (_, audit) = server.get("/reconciliation/audit?limit=100").await;
    assert!(!audit.to_string().contains("discrepancy"), "{audit}");
}

#[tokio::test]
async fn a_disk_that_fails_at_the_start_is_a_reason_not_to_start() {
    for (fault, _) in FAULTS.into_iter().filter(|(_, full)| !full) {
        let (disk, mut server) = start(&[]).await;
        server.kill();
        disk.set(fault);
        let mut command = command(&server.data_dir(), "127.0.0.1:0", &[]);
        command.envs(server.environment());
        let (code, said) = run_to_end(command);
        assert_eq!(code, 15, "{fault}: {said}");
        assert_eq!(said.lines().count(), 1, "{said}");
        disk.set("off");
        server.start_again();
        assert_eq!(verified_history(&server, "games/g1").await.len(), 2);
    }
}

/// A server that has just started without room, with `games/g1` at version 2: reads it, changes it, and has it all on
/// disk once there is room.
async fn starts_without_room(server: &mut Process, make_room: impl FnOnce()) {
    let report = server.until_ready(|_, _| true).await;
    assert_eq!(
        (&report["storage"]["state"], &report["storage"]["full"]),
        (&json!("degraded"), &json!(true)),
        "{report}"
    );
    assert_eq!(verified_history(server, "games/g1").await.len(), 2);
    assert_eq!(server.get("/api/v1/games/g1?version=1").await.1["state"]["round"], 1);
    assert_eq!(server.get("/api/v1/games").await.1["items"][0]["version"], 2);
    let (status, written) = server.merge("/api/v1/games/g1", &json!({ "round": 3 })).await;
    assert_eq!((status, &written["durable"]), (202, &json!(false)), "{written}");
    let (status, _, answer) = told(keyed(server, "k", "games/g1", &json!(1)).send().await.unwrap()).await;
    assert_eq!(status, 202, "{answer}");
    let (status, written) = server.put("/api/v1/games/g2", &json!({ "round": 1 })).await;
    assert_eq!((status, &written["durable"]), (202, &json!(false)), "{written}");

    make_room();
    recovered(server).await;
    assert_eq!(server.merge("/api/v1/games/g1", &json!({ "round": 5 })).await.0, 200);
    assert_eq!(server.post("/reconciliation/run", &json!({})).await.0, 200);
    server.until_ready(|_, report| report["storage"].get("errors").is_none()).await;
    server.kill();
    server.start_again_with(&["--strict"]);
    assert_eq!(verified_history(server, "games/g1").await.len(), 5);
    assert_eq!(verified_history(server, "games/g2").await.len(), 1);
}

#[tokio::test]
async fn a_disk_that_is_full_at_the_start_is_read_and_written_once_there_is_room() {
    for (fault, _) in FAULTS.into_iter().filter(|(_, full)| *full) {
        for clean in [false, true] {
            let (disk, mut server) = start(&[]).await;
            if clean {
                assert!(server.terminate().success());
            } else {
                server.kill();
            }
            disk.set(fault);
            server.start_again();
            starts_without_room(&mut server, || disk.set("off")).await;
        }
    }
}

#[tokio::test]
async fn a_file_system_that_is_full_at_the_start_is_read_and_written_once_there_is_room() {
    for clean in [false, true] {
        let (_, mut server) = start(&[]).await;
        if clean {
            assert!(server.terminate().success());
        } else {
            server.kill();
        }
        let (data, aside) = (server.data_dir(), server.data_dir().with_file_name("aside"));
        std::fs::rename(&data, &aside).unwrap();
        std::fs::create_dir(&data).unwrap();
        let Some(disk) = SmallDisk::mount(&data, 4096) else { return };
        for entry in std::fs::read_dir(&aside).unwrap() {
            let entry = entry.unwrap();
            // The index of the WAL is made anew, for which there is no room.
            if entry.file_name() != "rejoin.db-shm" {
                std::fs::copy(entry.path(), data.join(entry.file_name())).unwrap();
            }
        }
        disk.fill();
        server.start_again_in(&[]);
        starts_without_room(&mut server, || disk.free()).await;
        server.kill();
    }
}
