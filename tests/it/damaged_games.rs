//! A game that is damaged on disk and in nobody's memory: its host can do what the problem says.

use rusqlite::Connection;
use serde_json::{Value, json};

use crate::support::{AS, Follower, Process, Reply};

const G1: &str = "/api/v1/games/g1";
const RESTORE: &str = "/api/game/g1/restore";
const PERSIST: &str = "/api/game/g1/persist";
const ROLLBACK: &str = "/api/v1/games/g1/rollback";

const BODY_OF_4: &str = "UPDATE events SET body = replace(body, '\"value\":4', '\"value\":9') WHERE version = 4";
const HASH_OF_4: &str = "UPDATE events SET hash = replace(hash, substr(hash, 1, 1), 'z') WHERE version = 4";
const NO_4: &str = "DELETE FROM events WHERE version = 4";
const LAST: &str = "UPDATE events SET body = replace(body, 'patch', 'match') WHERE version = 6";

fn database(server: &Process) -> Connection {
    let connection = Connection::open(server.data_dir().join("rejoin.db")).unwrap();
    connection.busy_timeout(std::time::Duration::from_secs(10)).unwrap();
    connection
}

/// `g1` of alice's at version 6, bob on a seat with a token, the position after version 2; damaged by `sql` and cold.
async fn damaged(sql: &str) -> (Process, String, String) {
    let mut server = Process::start(&[]);
    let state = json!({ "round": 1, "hidden": { "deck": [1, 2] }, "private": { "bob": { "cards": [3] } } });
    assert_eq!(server.post_as("alice", "/api/v1/games", &json!({ "id": "g1", "state": state })).await.0, 201);
    assert_eq!(server.post_as("bob", &format!("{G1}/seats"), &json!({ "playerId": "bob" })).await.0, 201);
    let (_, token) = server.get_as("bob", "/api/game/g1/connection-token?playerId=bob").await;
    let mut seen = String::new();
    for round in 2..=6 {
        let reply =
            server.tell("PATCH", G1, &[("content-type", "application/merge-patch+json")], json!({ "round": round }));
        let reply = reply.await.expect(200);
        if round == 2 {
            reply.header("rejoin-position").clone_into(&mut seen);
        }
    }
    server.kill();
    assert_eq!(database(&server).execute(sql, []).unwrap(), 1, "{sql}");
    server.start_again();
    (server, token["token"].as_str().unwrap().to_owned(), seen)
}

async fn roll_back(server: &Process, viewer: &str, body: Value) -> Reply {
    server.tell("POST", ROLLBACK, &[(AS, viewer)], body).await
}

#[tokio::test]
async fn the_host_rolls_back_to_the_last_good_version_and_the_game_goes_on() {
    for (sql, good) in [(BODY_OF_4, 3), (HASH_OF_4, 3), (NO_4, 3), (LAST, 5)] {
        let (mut server, token, seen) = damaged(sql).await;
        server.ask("GET", G1, &[]).await.problem(500, "damaged-document");
        let problem = server.ask("GET", RESTORE, &[]).await.problem(500, "damaged-document");
        assert_eq!(problem["lastGoodVersion"], good, "{sql}: {problem}");
        let detail = problem["detail"].as_str().unwrap();
        assert!(detail.contains(&format!("version {good}")) && detail.contains("rollback"), "{detail}");
        roll_back(&server, "bob", json!({ "toVersion": good })).await.problem(403, "forbidden");
        roll_back(&server, "alice", json!({ "toVersion": 6 })).await.problem(500, "damaged-document");
        roll_back(&server, "alice", json!({ "toVersion": 7 })).await.problem(404, "not-found");
        let stale = roll_back(&server, "alice", json!({ "toVersion": good, "expectedVersion": 5 })).await;
        let stale = stale.problem(409, "version-conflict");
        assert_eq!((&stale["currentVersion"], stale.get("current")), (&json!(6), None), "{stale}");

        let back = roll_back(&server, "alice", json!({ "toVersion": good })).await.expect(200).body;
        assert_eq!((&back["version"], &back["state"]["round"]), (&json!(7), &json!(good)), "{sql}: {back}");
        assert_eq!(back["state"]["hidden"], json!({ "deck": [1, 2] }));
        for restarted in [false, true] {
            let restored = server.ask("GET", RESTORE, &[]).await.expect(200).body;
            assert_eq!(restored["hash"], back["hash"], "{sql} {restarted}");
            assert_eq!(restored["damagedVersions"], json!([{ "from": good + 1, "to": 6 }]), "{sql}");
            assert_eq!(
                server.get_as("bob", G1).await.1["state"],
                json!({ "round": good, "private": { "bob": { "cards": [3] } } })
            );
            assert_eq!(server.get(&format!("{G1}?version={good}")).await.1["state"]["round"], good);
            let told = server.ask("GET", &format!("{G1}?version=6"), &[]).await.problem(500, "damaged-document");
            assert_eq!(told["document"], "games/g1", "{told}");
            let (_, page) = server.get(&format!("{G1}/events?after=6")).await;
            assert_eq!(page["items"][0]["type"], "rollback", "{page}");
            server.kill();
            server.start_again();
        }
        comes_back(&server, &token, &seen).await;
        // And on, as if nothing had been.
        assert_eq!(server.merge(G1, &json!({ "round": 8 })).await.1["version"], 8);
        assert_eq!(server.get(RESTORE).await.1["state"]["round"], 8);
    }
}

/// Bob, who saw what was before the damage, is told that not all can be told, and goes on.
async fn comes_back(server: &Process, token: &str, seen: &str) {
    let url = format!("{}{G1}/events", server.url);
    let mut bob = Follower::connect(&url, Some("bob"), Some(seen)).await.unwrap();
    let told = loop {
        let told = bob.next().await.unwrap();
        assert!(!told.text.contains("deck"), "{}", told.text);
        if told.event == "snapshot" || told.data["type"] == "rollback" {
            break told;
        }
    };
    if told.event == "snapshot" {
        assert_eq!((&told.data["reason"], &told.data["documents"][0]["version"]), (&json!("trimmed"), &json!(7)));
    }
    let body = json!({ "gameId": "g1", "playerId": "bob", "reconnectToken": token, "lastEventId": seen });
    let (status, back) = server.post_as("bob", "/api/game/g1/reconnect", &body).await;
    assert_eq!((status, &back["version"]), (200, &json!(7)), "{back}");
    let missed = back["missedEvents"].as_array().unwrap().len();
    assert!(back["missedReason"] == "trimmed" || missed == 5, "{back}");
}

#[tokio::test]
async fn a_running_game_that_is_damaged_on_disk_can_be_restored_once_it_was_rolled_back() {
    let server = Process::start(&[]);
    assert_eq!(server.post("/api/v1/games", &json!({ "id": "g1", "state": { "round": 1 } })).await.0, 201);
    for round in 2..=6 {
        assert_eq!(server.merge(G1, &json!({ "round": round })).await.0, 200);
    }
    let mut follower = Follower::connect(&format!("{}{G1}/events", server.url), None, None).await.unwrap();
    follower.expect("snapshot").await;
    assert_eq!(database(&server).execute(BODY_OF_4, []).unwrap(), 1);
    server.ask("GET", RESTORE, &[]).await.problem(500, "damaged-document");
    assert_eq!(server.post(ROLLBACK, &json!({ "toVersion": 3 })).await.1["state"], json!({ "round": 3 }));
    let told = follower.changes(1).await.pop().unwrap().data;
    assert_eq!((&told["type"], &told["payload"]), (&json!("rollback"), &json!({ "toVersion": 3 })));
    let restored = server.ask("GET", RESTORE, &[]).await.expect(200).body;
    assert_eq!((&restored["version"], &restored["damagedVersions"]), (&json!(7), &json!([{ "from": 4, "to": 6 }])));
}

#[tokio::test]
async fn a_completed_game_that_is_damaged_can_be_removed() {
    for sql in [BODY_OF_4, HASH_OF_4, NO_4, LAST, "DELETE FROM events WHERE version = 1"] {
        let (mut server, ..) = damaged(sql).await;
        server.ask("DELETE", PERSIST, &[]).await.problem(409, "game-running");
        let host = [(AS, "alice")];
        server.ask("POST", &format!("{G1}/complete"), &[(AS, "bob")]).await.problem(403, "forbidden");
        server.ask("POST", &format!("{G1}/complete"), &host).await.expect(200);
        server.ask("DELETE", PERSIST, &[(AS, "bob")]).await.problem(403, "forbidden");
        server.ask("DELETE", PERSIST, &host).await.expect(204);
        for _ in 0..2 {
            for path in [G1, RESTORE] {
                let gone = server.ask("GET", path, &[]).await.problem(410, "gone");
                assert_eq!(gone["lastVersion"], 7, "{sql}: {gone}");
            }
            server.kill();
            server.start_again();
        }
        let (status, again) = server.post("/api/v1/games", &json!({ "id": "g1", "state": {} })).await;
        assert_eq!((status, &again["version"]), (201, &json!(8)));
        assert_eq!(server.get(RESTORE).await.1["version"], 8);
    }
}

#[tokio::test]
async fn of_a_game_without_a_good_version_the_problem_says_so() {
    let (server, ..) = damaged("DELETE FROM events WHERE version = 1").await;
    let problem = server.ask("GET", RESTORE, &[]).await.problem(500, "damaged-document");
    assert_eq!(problem.get("lastGoodVersion"), None, "{problem}");
    assert!(problem["detail"].as_str().unwrap().contains("complete and remove it"), "{problem}");
    roll_back(&server, "alice", json!({ "toVersion": 1 })).await.problem(500, "damaged-document");
}

#[tokio::test]
async fn the_clean_up_removes_a_damaged_game_that_is_over() {
    let (server, ..) = damaged(BODY_OF_4).await;
    server.ask("POST", &format!("{G1}/complete"), &[]).await.expect(200);
    let database = database(&server);
    rejoin::internals::store::write_as_server(&database, &server.data_dir().join("rejoin.db")).unwrap();
    for aged in ["UPDATE games SET completed_at = ?1", "UPDATE events SET at = ?1"] {
        assert!(database.execute(aged, ["2020-01-01T00:00:00.000Z"]).unwrap() > 0);
    }
    let record = server.tell("POST", "/api/v1/admin/jobs/games-cleanup/run", &[], "{}").await.expect(200).body;
    assert_eq!((&record["counts"]["completed"], &record["counts"]["failed"]), (&json!(1), &json!(0)), "{record}");
    server.ask("GET", G1, &[]).await.problem(410, "gone");
}
