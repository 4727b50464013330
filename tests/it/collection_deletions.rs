//! Deleting a whole collection, by a job that goes on after a kill.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::relay::{Does, Relay};
use crate::support::{AS, Follower, Process, Reply};

const NOTES: &str = "/api/v1/collections/notes";

/// Creates `notes/n0000` and so on.
async fn create(server: &Process, count: usize) {
    let create = |n: usize| json!({ "op": "create", "collection": "notes", "id": format!("n{n:04}"), "state": {} });
    for from in (0..count).step_by(100) {
        let operations: Vec<Value> = (from..count.min(from + 100)).map(create).collect();
        let (status, answer) = server.post("/api/v1/batch", &json!({ "operations": operations })).await;
        assert_eq!(status, 200, "{answer}");
    }
}

async fn delete(server: &Process) -> Reply {
    server.ask("DELETE", NOTES, &[]).await
}

/// Waits for the end of a deletion.
async fn ended(server: &Process, location: &str) -> Value {
    let end = Instant::now() + Duration::from_secs(60);
    loop {
        let deletion = server.ask("GET", location, &[]).await.expect(200).body;
        if deletion["status"] != "running" {
            return deletion;
        }
        let (total, deleted) = (deletion["total"].as_u64().unwrap_or(u64::MAX), deletion["deleted"].as_u64().unwrap());
        assert!(deleted <= total, "{deletion}");
        assert!(Instant::now() < end, "{deletion}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn each_document_gets_a_delete_event_and_what_is_created_later_stays() {
    let server = Process::start(&[]);
    create(&server, 450).await;
    server.put("/api/v1/other/o1", &json!({})).await;
    let (status, _) = server.post_as("alice", "/api/v1/notes", &json!({ "id": "own", "state": {} })).await;
    assert_eq!(status, 201);
    let url = format!("{}/api/v1/stream?collection=notes", server.url);
    let mut follower = Follower::connect(&url, None, None).await.unwrap();
    follower.expect("snapshot").await;
    let reply = delete(&server).await.expect(202);
    let location = reply.header("location").to_owned();
    assert_eq!((&reply.body["collection"], &reply.body["requestedBy"]), (&json!("notes"), &json!("@owner")));
    let (status, late) = server.post("/api/v1/notes", &json!({ "id": "late", "state": {} })).await;
    assert_eq!(status, 201, "{late}");
    let deletion = ended(&server, &location).await;
    assert_eq!(
        (&deletion["status"], &deletion["total"], &deletion["deleted"], &deletion["refused"]),
        (&json!("done"), &json!(451), &json!(451), &json!(0)),
        "{deletion}"
    );
    let mut deleted = std::collections::BTreeSet::new();
    while deleted.len() < 451 {
        let change = follower.expect("change").await.data;
        if change["id"] != "late" {
            assert_eq!((&change["type"], &change["version"]), (&json!("delete"), &json!(2)), "{change}");
            assert!(deleted.insert(change["id"].to_string()), "{change}");
        }
    }
    let (_, left) = server.get("/api/v1/notes").await;
    let left: Vec<&Value> = left["items"].as_array().unwrap().iter().map(|item| &item["id"]).collect();
    assert_eq!(left, ["late"]);
    assert_eq!(server.get("/api/v1/other/o1").await.0, 200);
    let again = delete(&server).await.expect(202);
    assert_eq!(ended(&server, again.header("location")).await["deleted"], 1);
    let all = server.get("/api/v1/admin/collection-deletions").await.1;
    assert_eq!(all["items"].as_array().unwrap().len(), 2);
    assert_eq!(all["items"][1], deletion);
    delete(&server).await.problem(404, "not-found");
}

#[tokio::test]
async fn a_kill_in_the_middle_ends_nothing() {
    let mut server = Process::start(&[]);
    create(&server, 1500).await;
    let location = delete(&server).await.expect(202).header("location").to_owned();
    server.kill();
    let mut kills = 1;
    loop {
        server.start_again();
        let deletion = server.ask("GET", &location, &[]).await.expect(200).body;
        if kills == 4 || deletion["status"] != "running" {
            break;
        }
        // Later each time.
        tokio::time::sleep(Duration::from_millis(40 * kills)).await;
        server.kill();
        kills += 1;
    }
    let deletion = ended(&server, &location).await;
    assert_eq!(
        (&deletion["status"], &deletion["total"], &deletion["deleted"]),
        (&json!("done"), &json!(1500), &json!(1500)),
        "{deletion}"
    );
    assert_eq!(server.get("/api/v1/notes").await.1["items"], json!([]));
    for n in (0..1500).step_by(97) {
        let history = server.get(&format!("/api/v1/notes/n{n:04}/events")).await.1;
        let types: Vec<&Value> = history["items"].as_array().unwrap().iter().map(|event| &event["type"]).collect();
        assert_eq!(types, ["create", "delete"], "once");
    }
}

#[tokio::test]
async fn it_is_refused_while_a_game_in_it_moves() {
    let (from, to) = (Process::start(&[]), Process::start(&[]));
    assert_eq!(from.post("/api/v1/games", &json!({ "id": "g1", "state": {} })).await.0, 201);
    let mut relay = Relay::before(&to).await;
    relay.when("events", Does::HoldsRequest);
    let request = from.request("POST", "/api/v1/games/g1/migrate").json(&json!({ "to": relay.url }));
    let moving = tokio::spawn(async move { request.send().await.unwrap().status().as_u16() });
    relay.until("events").await;
    let reply = from.ask("DELETE", "/api/v1/collections/games", &[]).await;
    reply.problem(409, "collection-moves");
    assert_eq!(from.get("/api/v1/admin/collection-deletions").await.1["items"], json!([]));
    assert_eq!(from.ask("DELETE", "/api/v1/games/g1/migrate", &[]).await.status, 204);
    relay.release();
    moving.await.unwrap();
    let location = from.ask("DELETE", "/api/v1/collections/games", &[]).await.expect(202).header("location").to_owned();
    assert_eq!(ended(&from, &location).await["status"], "done");
    assert_eq!(from.get("/api/v1/games/g1").await.0, 410);
}

#[tokio::test]
async fn it_is_for_administrators() {
    let server = Process::start(&[]);
    create(&server, 1).await;
    server.ask("DELETE", NOTES, &[(AS, "alice")]).await.problem(403, "forbidden");
    server.ask("GET", "/api/v1/admin/collection-deletions", &[(AS, "alice")]).await.problem(403, "forbidden");
    server.ask("DELETE", "/api/v1/collections/none", &[]).await.problem(404, "not-found");
    server.ask("DELETE", "/api/v1/collections/No%20Name", &[]).await.problem(400, "invalid-request");
    server.ask("GET", "/api/v1/admin/collection-deletions/none", &[]).await.problem(404, "not-found");
    assert_eq!(server.get("/api/v1/notes/n0000").await.0, 200);
}
