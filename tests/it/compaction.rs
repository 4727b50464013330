//! The history of a completed game is dropped and its state stays: what is left, and what everybody is told.

use rusqlite::Connection;
use serde_json::{Value, json};

use crate::support::history::verified_history;
use crate::support::{Disk, Follower, Process};

const G1: &str = "/api/v1/games/g1";
const RUN: &str = "/api/v1/admin/jobs/games-cleanup/run";
/// At the next clean-up.
const AT_ONCE: &[&str] = &["--games-compacted-days", "0"];

fn database(server: &Process) -> Connection {
    let connection = Connection::open(server.data_dir().join("rejoin.db")).unwrap();
    connection.busy_timeout(std::time::Duration::from_secs(10)).unwrap();
    connection
}

/// Bytes of all rows and index entries of what games consist of, beside the state.
fn overhead(server: &Process, state: &Value) -> i64 {
    let tables = [
        "documents",
        "events",
        "snapshots",
        "idempotency_keys",
        "games",
        "seats",
        "reconnect_tokens",
        "reconnect_answers",
        "moves",
    ];
    let database = database(server);
    let sum = |sql: &str| -> i64 { database.query_row(sql, [], |row| row.get(0)).unwrap() };
    let bytes_of = |table: &str| {
        let payload = "SELECT coalesce(sum(s.payload), 0) FROM dbstat s JOIN sqlite_schema m ON m.name = s.name";
        let stored = sum(&format!("{payload} WHERE m.tbl_name = '{table}'"));
        // What a row pays for being told when somebody else changes it is no history.
        let has_mac = format!("SELECT count(*) FROM pragma_table_info('{table}') WHERE name = 'mac'");
        let macs =
            if sum(&has_mac) == 0 { 0 } else { sum(&format!("SELECT coalesce(sum(length(mac)), 0) FROM {table}")) };
        stored - macs
    };
    tables.into_iter().map(bytes_of).sum::<i64>() - i64::try_from(state.to_string().len()).unwrap()
}

fn kept(server: &Process) -> (i64, i64) {
    let count = |table: &str| {
        database(server).query_row(&format!("SELECT count(*) FROM {table}"), [], |row| row.get(0)).unwrap()
    };
    (count("events"), count("snapshots"))
}

async fn clean_up(server: &Process) -> Value {
    let record = server.tell("POST", RUN, &[], "{}").await.expect(200).body;
    assert_eq!(record["outcome"], "succeeded", "{record}");
    record["counts"].clone()
}

/// A game of 50 KB with six players and 40 versions, the last change of which is this.
async fn played(server: &Process, last: &Value) -> Value {
    let state = json!({ "text": "x".repeat(50_000), "private": { "bob": { "cards": [1] } }, "n": 1 });
    assert_eq!(server.post_as("alice", "/api/v1/games", &json!({ "id": "g1", "state": state })).await.0, 201);
    let others = (3..=6).map(|number| format!("player-{number}"));
    for player in ["alice", "bob"].map(str::to_owned).into_iter().chain(others) {
        let player = player.as_str();
        assert_eq!(server.post_as(player, &format!("{G1}/seats"), &json!({ "playerId": player })).await.0, 201);
        let ask = format!("/api/game/g1/connection-token?playerId={player}");
        assert_eq!(server.get_as(player, &ask).await.0, 200);
    }
    for n in 2..40 {
        assert_eq!(server.merge(G1, &json!({ "n": n, "phase": n / 10 })).await.0, 200);
    }
    assert_eq!(server.merge(G1, last).await.0, 200);
    server.get(G1).await.1
}

#[tokio::test]
async fn of_a_completed_game_the_state_stays_and_less_than_a_kilobyte_beside_it() {
    let mut server = Process::start(AT_ONCE);
    let before = played(&server, &json!({ "n": 40 })).await;
    assert_eq!(clean_up(&server).await["compacted"], 0, "it is not over");
    assert_eq!(server.post_as("alice", &format!("{G1}/complete"), &json!({})).await.0, 200);
    let dry = server.ask("POST", &format!("{RUN}?dryRun=true"), &[]).await.expect(200).body;
    assert_eq!((&dry["counts"]["compacted"], &dry["names"]), (&json!(1), &json!(["games/g1 (history)"])), "{dry}");
    assert_eq!(kept(&server).0, 40, "a dry run drops nothing");
    assert_eq!(clean_up(&server).await["compacted"], 1);
    assert_eq!(kept(&server), (1, 1));
    assert!(server.log().contains("the history of a completed game is dropped"), "{}", server.log());
    let left = overhead(&server, &before["state"]);
    assert!(left < 1024, "{left} bytes");
    for restarted in [false, true] {
        // What was the last version still is: nothing was changed.
        assert_eq!(server.get(G1).await.1, before, "{restarted}");
        assert_eq!(server.get("/api/game/g1/restore").await.1["hash"], before["hash"]);
        assert_eq!(server.get_as("carol", G1).await.1["state"]["private"], json!({}));
        assert_eq!(server.get(&format!("{G1}?version=39")).await.1["state"]["n"], 39, "what the last is applied to");
        let gone = server.ask("GET", &format!("{G1}?version=38"), &[]).await.problem(410, "gone");
        assert_eq!(gone["firstVersion"], 39);
        let (_, page) = server.get(&format!("{G1}/events")).await;
        assert_eq!((&page["firstVersion"], page["items"].as_array().unwrap().len()), (&json!(40), 1));
        let seats = server.get(&format!("{G1}/seats")).await.1;
        assert_eq!(seats["items"].as_array().unwrap().len(), 6, "who sat there is still known");
        assert_eq!(clean_up(&server).await["compacted"], 0, "there is nothing more to drop");
        assert!(server.terminate().success());
        assert_eq!(kept(&server), (1, 1), "nor does a stop store it again");
        server.start_again();
    }
    // It can go on, and its chain with it.
    assert_eq!(server.merge(G1, &json!({ "n": 41 })).await.1["version"], 41);
    assert_eq!(server.get("/api/game/g1/restore").await.1["version"], 41);
    assert_eq!(clean_up(&server).await["compacted"], 1);
    assert_eq!(server.ask("DELETE", "/api/game/g1/persist", &[]).await.status, 204);
    assert_eq!(server.get(G1).await.0, 410);
}

#[tokio::test]
async fn a_large_last_change_is_followed_by_a_small_one_that_changes_nothing() {
    let server = Process::start(AT_ONCE);
    let before = played(&server, &json!({ "n": 40, "text": "y".repeat(50_000) })).await;
    assert_eq!(server.post_as("alice", &format!("{G1}/complete"), &json!({})).await.0, 200);
    let mut bob = Follower::connect(&format!("{}{G1}/events", server.url), Some("bob"), None).await.unwrap();
    bob.expect("snapshot").await;
    assert_eq!(clean_up(&server).await["compacted"], 1);
    let told = bob.changes(1).await.pop().unwrap().data;
    assert_eq!((&told["type"], &told["version"], &told["patch"]), (&json!("compact"), &json!(41), &json!([])));
    let (_, after) = server.get(G1).await;
    assert_eq!((&after["state"], &after["version"]), (&before["state"], &json!(41)));
    assert_eq!(kept(&server), (1, 1));
    let left = overhead(&server, &before["state"]);
    assert!(left < 1024, "{left} bytes");
    assert_eq!(clean_up(&server).await["compacted"], 0);
    // One that has nothing but its beginning.
    let short = json!({ "id": "g2", "state": { "text": "z".repeat(5000) } });
    assert_eq!(server.post("/api/v1/games", &short).await.0, 201);
    assert_eq!(server.post("/api/v1/games/g2/complete", &json!({})).await.0, 200);
    assert_eq!(clean_up(&server).await["compacted"], 1);
    assert_eq!((kept(&server), server.get("/api/game/g2/restore").await.1["version"].clone()), ((2, 2), json!(2)));
}

#[tokio::test]
async fn whoever_comes_back_to_a_dropped_history_is_told_and_gets_the_state() {
    let mut server = Process::start(AT_ONCE);
    played(&server, &json!({ "n": 40 })).await;
    let events = verified_history(&server, "games/g1").await;
    let all: Vec<Value> = server.get(&format!("{G1}/events?limit=500")).await.1["items"].as_array().unwrap().clone();
    assert_eq!(events.len(), all.len());
    assert_eq!(server.post(&format!("{G1}/complete"), &json!({})).await.0, 200);
    assert_eq!(clean_up(&server).await["compacted"], 1);
    // What is in memory is told from there; a start has only what is kept.
    server.kill();
    server.start_again();
    let url = format!("{}{G1}/events", server.url);
    for (version, told) in [(1, "snapshot"), (20, "snapshot"), (38, "snapshot"), (39, "snapshot"), (40, "resumed")] {
        let event = &all[version - 1];
        let position = format!("{}-{}", event["seq"], &event["hash"].as_str().unwrap()[..12]);
        let mut follower = Follower::connect(&url, Some("bob"), Some(&position)).await.unwrap();
        let first = follower.expect(told).await.data;
        match told {
            "snapshot" => {
                assert_eq!((&first["reason"], &first["documents"][0]["version"]), (&json!("trimmed"), &json!(40)))
            }
            _ => assert_eq!(first["count"], 40 - version),
        }
    }
}

#[tokio::test]
async fn a_damaged_history_is_left_as_it_is_and_a_failing_disk_is_waited_for() {
    let (disk, server) = Disk::with_server(AT_ONCE);
    played(&server, &json!({ "n": 40 })).await;
    assert_eq!(server.post(&format!("{G1}/complete"), &json!({})).await.0, 200);
    disk.set("eio-write");
    let record = server.tell("POST", RUN, &[], "{}").await.body;
    assert_ne!(record["outcome"], "succeeded", "{record}");
    disk.set("off");
    server.until_ready(|_, report| report["storage"]["state"] == "ok").await;
    let damage = "UPDATE events SET body = replace(body, 'patch', 'match') WHERE version = 39";
    assert_eq!(database(&server).execute(damage, []).unwrap(), 1);
    let counts = clean_up(&server).await;
    assert_eq!((&counts["compacted"], &counts["failed"]), (&json!(0), &json!(1)), "{counts}");
    assert_eq!(kept(&server).0, 40);
    assert_eq!(server.get(G1).await.0, 200, "and the game is as it was");
}
