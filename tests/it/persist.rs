//! Games on disk: stored on demand and by policy, read back, damaged, removed, and what happens when the disk is full.

use rusqlite::{Connection, OptionalExtension};
use serde_json::{Value, json};

use crate::support::disk::Disk;
use crate::support::history::verified_history;
use crate::support::{AS, Follower, Process};

const G1: &str = "/api/v1/games/g1";
const PERSIST: &str = "/api/game/g1/persist";
const RESTORE: &str = "/api/game/g1/restore";

fn database(server: &Process) -> Connection {
    let connection = Connection::open(server.data_dir().join("rejoin.db")).unwrap();
    connection.busy_timeout(std::time::Duration::from_secs(10)).unwrap();
    connection
}

fn count(server: &Process, sql: &str) -> i64 {
    database(server).query_row(sql, [], |row| row.get(0)).unwrap()
}

/// The versions of the snapshots of a game.
fn snapshots(server: &Process, id: &str) -> Vec<i64> {
    let connection = database(server);
    let sql = "SELECT s.version FROM snapshots s JOIN documents d ON d.key = s.document WHERE d.id = ?1 ORDER BY 1";
    let mut statement = connection.prepare(sql).unwrap();
    statement.query_map([id], |row| row.get(0)).unwrap().collect::<Result<_, _>>().unwrap()
}

/// What is stored of a game in all, rows and indexes left aside.
fn bytes(server: &Process, id: &str) -> i64 {
    let connection = database(server);
    let key =
        connection.query_row("SELECT key FROM documents WHERE id = ?1", [id], |row| row.get::<_, i64>(0)).unwrap();
    let sum = |table: &str, key_column: &str, columns: &str| {
        let terms: Vec<_> = columns.split(' ').map(|column| format!("coalesce(octet_length({column}), 0)")).collect();
        let sql = format!("SELECT coalesce(sum({}), 0) FROM {table} WHERE {key_column} = ?1", terms.join(" + "));
        connection.query_row(&sql, [key], |row| row.get::<_, i64>(0)).unwrap()
    };
    sum("documents", "key", "collection id host access created_at base_hash base_seq base_version key")
        + sum("events", "document", "seq document version at hash deletes body")
        + sum("snapshots", "document", "document version seq hash at checksum state")
}

/// The end of a game, said to have come then.
async fn complete(server: &Process, id: &str, at: &str) {
    let (status, answer) = server.post(&format!("/api/v1/games/{id}/complete"), &json!({})).await;
    assert!((200..300).contains(&status), "{status} {answer}");
    let database = database(server);
    rejoin::internals::store::write_as_server(&database, &server.data_dir().join("rejoin.db")).unwrap();
    assert_eq!(
        database
            .execute(
                "UPDATE games SET completed_at = ?1 WHERE completed_at > ?1 AND document =
        (SELECT key FROM documents WHERE id = ?2)",
                [at, id]
            )
            .unwrap(),
        1
    );
}

/// `games/g1`, hosted by alice, at version 4.
async fn start(flags: &[&str]) -> Process {
    let server = Process::start(flags);
    let state = json!({ "round": 1, "hidden": { "deck": [1, 2] }, "private": { "bob": { "cards": [3] } } });
    assert_eq!(server.post_as("alice", "/api/v1/games", &json!({ "id": "g1", "state": state })).await.0, 201);
    play(&server, 2..=4).await;
    server
}

async fn play(server: &Process, rounds: std::ops::RangeInclusive<u64>) {
    for round in rounds {
        let (status, answer) = server.merge(G1, &json!({ "round": round })).await;
        assert_eq!((status, &answer["version"]), (200, &json!(round)), "{answer}");
    }
}

async fn persist(server: &Process) -> (u16, Value) {
    server.post(PERSIST, &json!({ "gameId": "g1" })).await
}

#[tokio::test]
async fn a_game_is_stored_whole_on_demand_and_read_back() {
    let mut server = start(&[]).await;
    assert_eq!(snapshots(&server, "g1"), [0i64; 0]);
    let (status, answer) = persist(&server).await;
    assert_eq!((status, &answer["success"], &answer["version"]), (200, &json!(true), &json!(4)), "{answer}");
    assert!(answer["persistedAt"].as_str().is_some_and(|at| at.ends_with('Z')));
    assert_eq!(snapshots(&server, "g1"), [4]);
    play(&server, 5..=6).await;
    server.kill();
    server.start_again();
    // Nothing has it in memory now.
    let reply = server.ask("GET", RESTORE, &[]).await.expect(200);
    assert_eq!((&reply.body["version"], &reply.body["state"]["round"]), (&json!(6), &json!(6)));
    let read = server.ask("GET", G1, &[]).await.expect(200);
    assert_eq!((&reply.text, reply.header("etag")), (&read.text, read.header("etag")));
    assert_eq!(reply.header("rejoin-position"), read.header("rejoin-position"));
    play(&server, 7..=7).await;
    // A player gets what that player may see.
    let (_, bob) = server.get_as("bob", RESTORE).await;
    assert_eq!(bob["state"], json!({ "round": 7, "private": { "bob": { "cards": [3] } } }));
    let (_, carol) = server.get_as("carol", RESTORE).await;
    assert_eq!(carol["state"], json!({ "round": 7, "private": {} }));
    assert_eq!(server.get("/api/game/none/restore").await.0, 404);
    assert_eq!(server.post("/api/game/none/persist", &json!({ "gameId": "none" })).await.0, 404);
    assert_eq!(server.post(PERSIST, &json!({ "gameId": "g2" })).await.0, 400);
    assert_eq!(server.post(PERSIST, &json!({ "gameId": "g1", "x": 1 })).await.0, 400);
    assert_eq!(server.post_as("bob", PERSIST, &json!({ "gameId": "g1", "forceOverwrite": true })).await.0, 403);
    assert_eq!(server.ask("DELETE", G1, &[]).await.status, 200);
    assert_eq!((persist(&server).await.0, server.get(RESTORE).await.0), (410, 410));
}

#[tokio::test]
async fn figures_tell_what_is_stored() {
    let server = start(&[]).await;
    persist(&server).await;
    play(&server, 5..=5).await;
    let (status, told) = server.get(&format!("{G1}/persistence")).await;
    assert_eq!(status, 200, "{told}");
    let figure = |name: &str| told[name].as_u64().unwrap_or_else(|| panic!("{name} in {told}"));
    assert_eq!((figure("version"), figure("persistedVersion"), figure("events")), (5, 5, 5));
    assert_eq!((figure("snapshots"), figure("snapshotVersion"), figure("firstVersion")), (1, 4, 1));
    let sql = "SELECT (SELECT sum(octet_length(body)) FROM events) + (SELECT sum(octet_length(state)) FROM snapshots)";
    assert_eq!(i64::try_from(figure("bytes")).unwrap(), count(&server, sql));
    assert_eq!(told["lastPersisted"], server.get(G1).await.1["updatedAt"]);
    let times = &told["server"];
    assert!(times["commitP50Ms"].as_f64().unwrap() <= times["commitP99Ms"].as_f64().unwrap(), "{times}");
    assert_eq!((&times["healthy"], &times["failures"], &times["retries"]), (&json!(true), &json!(0), &json!(0)));
    assert!(times["commits"].as_u64().unwrap() >= 6, "{times}");
    assert_eq!(server.get("/api/v1/games/none/persistence").await.0, 404);
}

/// Damages what is stored of `g1` while the server runs and the game is in memory, and says what restore says.
async fn damaged(server: &Process, sql: &str) -> Value {
    let reply = {
        assert_eq!(database(server).execute(sql, []).unwrap(), 1, "{sql}");
        server.ask("GET", RESTORE, &[]).await
    };
    reply.problem(500, "damaged-document")
}

#[tokio::test]
async fn damage_is_told_with_the_last_good_version_and_what_to_do() {
    for (sql, good) in [
        ("UPDATE events SET body = replace(body, '\"value\":3', '\"value\":9') WHERE version = 3", Some(2)),
        ("UPDATE events SET hash = replace(hash, substr(hash, 1, 1), 'z') WHERE version = 3", Some(2)),
        ("DELETE FROM events WHERE version = 5", Some(4)),
        ("UPDATE snapshots SET state = '{}' WHERE version = 4", Some(3)),
        ("UPDATE snapshots SET seq = 1 WHERE version = 4", Some(3)),
        ("DELETE FROM events WHERE version = 1", None),
    ] {
        let server = start(&[]).await;
        persist(&server).await;
        play(&server, 5..=6).await;
        let problem = damaged(&server, sql).await;
        assert_eq!(problem["lastGoodVersion"].as_u64(), good, "{sql}: {problem}");
        let detail = problem["detail"].as_str().unwrap();
        assert!(detail.contains("restore a backup"), "{detail}");
        // The game goes on in memory, and what the detail says helps.
        if let Some(good) = good {
            assert!(detail.contains(&format!("version {good}")), "{detail}");
            let body = json!({ "toVersion": good });
            let (status, answer) = server.post(&format!("{G1}/rollback"), &body).await;
            assert_eq!((status, &answer["state"]["round"]), (200, &json!(good)), "{sql}: {answer}");
        }
    }
}

#[tokio::test]
async fn persisting_a_running_game_makes_it_readable_again_after_damage() {
    let mut server = start(&[]).await;
    let problem = damaged(&server, "UPDATE events SET body = replace(body, 'patch', 'match') WHERE version = 3").await;
    assert_eq!(problem["lastGoodVersion"], 2);
    assert_eq!(persist(&server).await.0, 200);
    server.kill();
    server.start_again();
    assert_eq!(server.get(G1).await.1["state"]["round"], 4);
    server.ask("GET", RESTORE, &[]).await.problem(500, "damaged-document");
}

#[tokio::test]
async fn what_the_refusal_says_of_a_running_game_makes_its_history_add_up_again() {
    let server = start(&[]).await;
    let problem = damaged(&server, "UPDATE events SET body = replace(body, 'patch', 'match') WHERE version = 3").await;
    let detail = problem["detail"].as_str().unwrap();
    assert!(detail.contains("POST /reconciliation/repair with source memory"), "{detail}");
    // Persisting it makes the game readable at the next start. That alone mends no history.
    assert_eq!(persist(&server).await.0, 200);
    server.ask("GET", RESTORE, &[]).await.problem(500, "damaged-document");
    let repair = json!({ "document": "games/g1", "source": "memory" });
    let (status, repaired) = server.post("/reconciliation/repair", &repair).await;
    assert_eq!(status, 200, "{repaired}");
    let (status, restored) = server.get(RESTORE).await;
    assert_eq!((status, &restored["state"]["round"]), (200, &json!(4)), "{restored}");
}

#[tokio::test]
async fn damage_while_stopped_is_told_too() {
    let mut server = start(&[]).await;
    server.kill();
    let sql = "UPDATE events SET body = replace(body, 'patch', 'match') WHERE version = 4";
    assert_eq!(database(&server).execute(sql, []).unwrap(), 1);
    server.start_again();
    let problem = server.ask("GET", RESTORE, &[]).await.problem(500, "damaged-document");
    assert_eq!(problem["lastGoodVersion"], 3, "{problem}");
    assert_eq!(server.get(&format!("{G1}?version=3")).await.1["state"]["round"], 3);
    assert_eq!(server.get("/readyz").await.0, 200);
}

#[tokio::test]
async fn what_somebody_else_has_stored_is_overwritten_only_on_demand() {
    let server = start(&[]).await;
    let sql = "INSERT INTO events (seq, document, version, at, hash, deletes, body)
               SELECT seq + 1, document, version + 1, at, hash, 0, body FROM events ORDER BY seq DESC LIMIT 1";
    assert_eq!(database(&server).execute(sql, []).unwrap(), 1);
    let refused = server.tell("POST", PERSIST, &[], json!({ "gameId": "g1" })).await.problem(409, "version-conflict");
    assert_eq!((&refused["currentVersion"], &refused["storedVersion"]), (&json!(4), &json!(5)), "{refused}");
    let body = json!({ "gameId": "g1", "forceOverwrite": true });
    let (status, answer) = server.post_as("alice", PERSIST, &body).await;
    assert_eq!((status, &answer["version"]), (200, &json!(4)), "{answer}");
    play(&server, 5..=6).await;
    assert_eq!(server.get("/readyz").await.1["storage"]["state"], "ok");
    assert_eq!(server.get(RESTORE).await.1["state"]["round"], 6);
}

#[tokio::test]
async fn a_completed_game_is_removed_but_for_its_last_version_and_hash() {
    let mut server = start(&[]).await;
    persist(&server).await;
    let events = format!("{}{G1}/events", server.url);
    let mut follower = Follower::connect(&events, Some("bob"), None).await.unwrap();
    let before = follower.expect("snapshot").await.id;
    play(&server, 5..=6).await;
    let middle = follower.changes(2).await.pop().unwrap().id;
    server.ask("DELETE", PERSIST, &[]).await.problem(409, "game-running");
    complete(&server, "g1", "2026-01-01T00:00:00.000Z").await;
    server.ask("DELETE", PERSIST, &[(AS, "bob")]).await.problem(403, "forbidden");
    assert_eq!(server.ask("DELETE", PERSIST, &[(AS, "alice")]).await.status, 204);
    // Whoever watches is told; whoever comes back is told that what was missed is gone.
    let last = follower.changes(1).await.pop().unwrap();
    assert_eq!(
        (&last.data["version"], &last.data["type"], &last.data["actor"]),
        (&json!(7), &json!("purge"), &json!("alice"))
    );
    for position in [before.as_str(), "0"] {
        let mut late = Follower::connect(&events, Some("bob"), Some(position)).await.unwrap();
        let told = late.next().await.unwrap();
        match position {
            "0" => assert_eq!((told.event.as_str(), &told.data["count"]), ("resumed", &json!(1))),
            _ => assert_eq!((told.event.as_str(), &told.data["reason"]), ("snapshot", &json!("trimmed"))),
        }
    }
    // Who had seen everything misses the end alone, if that place in the log is still known.
    let mut late = Follower::connect(&events, Some("bob"), Some(&middle)).await.unwrap();
    assert_eq!(late.expect("snapshot").await.data["reason"], "trimmed");
    let mut late = Follower::connect(&events, Some("bob"), Some(&last.id)).await.unwrap();
    assert_eq!(late.expect("resumed").await.data["count"], 0);
    assert_removed(&server, 7).await;
    assert_eq!(server.ask("DELETE", PERSIST, &[(AS, "alice")]).await.status, 204, "again");
    server.kill();
    server.start_again();
    assert_removed(&server, 7).await;
    // Created again, its versions go on, and the chain verifies from the base.
    let (status, again) = server.post_as("alice", "/api/v1/games", &json!({ "id": "g1", "state": {} })).await;
    assert_eq!((status, &again["version"]), (201, &json!(8)), "{again}");
    assert_eq!(server.get(RESTORE).await.1["version"], 8);
    server.ask("DELETE", PERSIST, &[]).await.problem(409, "game-running");
}

async fn assert_removed(server: &Process, last: u64) {
    for path in [G1, RESTORE, &format!("{G1}?version={last}")] {
        let problem = server.ask("GET", path, &[]).await.problem(410, "gone");
        assert_eq!(problem["lastVersion"], last, "{path}: {problem}");
        assert_eq!(problem["lastHash"].as_str().map(str::len), Some(64), "{path}: {problem}");
    }
    for version in 1..last {
        let problem = server.ask("GET", &format!("{G1}?version={version}"), &[]).await.problem(410, "gone");
        assert_eq!(problem["firstVersion"], last, "{problem}");
    }
    let (_, history) = server.get(&format!("{G1}/events")).await;
    assert_eq!(history["items"].as_array().map(Vec::len), Some(1), "{history}");
    assert_eq!(server.get("/api/v1/games").await.1["items"], json!([]));
    let left = bytes(server, "g1");
    assert!(left < 1024, "{left} bytes are left");
    assert_eq!(snapshots(server, "g1"), [i64::try_from(last).unwrap()]);
    let row = database(server).query_row("SELECT 1 FROM games", [], |_| Ok(())).optional().unwrap();
    assert_eq!(row, None, "nothing says any more that it was completed");
}

#[tokio::test]
async fn a_deleted_game_leaves_its_history_when_it_is_removed() {
    let server = start(&[]).await;
    assert_eq!(server.ask("DELETE", G1, &[]).await.status, 200);
    assert_eq!(server.ask("DELETE", PERSIST, &[]).await.status, 204);
    assert_removed(&server, 5).await;
    assert_eq!(server.ask("DELETE", "/api/game/none/persist", &[]).await.status, 404);
}

#[tokio::test]
async fn a_new_phase_or_status_is_a_snapshot_of_its_own() {
    let server = start(&[]).await;
    play(&server, 5..=5).await;
    for (version, patch) in [
        (6, json!({ "phase": "flop" })),
        (7, json!({ "round": 7 })),
        (8, json!({ "phase": "turn" })),
        (9, json!({ "status": "paused" })),
        (10, json!({ "pot": 5 })),
        (11, json!({ "status": null })),
    ] {
        assert_eq!(server.merge(G1, &patch).await.1["version"], version);
        // In the same transaction: it is there when the change is answered.
        let forced = patch.get("phase").or(patch.get("status")).is_some();
        assert_eq!(snapshots(&server, "g1").last() == Some(&version), forced, "{version}");
    }
    assert_eq!(snapshots(&server, "g1"), [6, 8, 9, 11]);
    assert_eq!(server.get(RESTORE).await.0, 200, "they verify");
}

/// The versions at which a game with this `persistence` is stored whole while 100 KB of patches come.
async fn policy(server: &Process, id: &str, persistence: Value) -> usize {
    let state = json!({ "text": "x".repeat(10_000), "persistence": persistence });
    assert_eq!(server.put(&format!("/api/v1/games/{id}"), &state).await.0, 201);
    for round in 0..20 {
        let patch = json!({ "text": format!("{round:05}").repeat(1000) });
        assert_eq!(server.merge(&format!("/api/v1/games/{id}"), &patch).await.0, 200);
    }
    snapshots(server, id).len()
}

#[tokio::test]
async fn how_often_a_game_is_stored_whole_is_the_servers_and_the_games_choice() {
    let server = Process::start(&["--snapshot-ratio", "4"]);
    let (rare, often, wrong) = (
        policy(&server, "a", Value::Null).await,
        policy(&server, "b", json!({ "patchRatio": 0.5 })).await,
        policy(&server, "c", json!({ "patchRatio": -1, "maxAgeSeconds": "soon" })).await,
    );
    assert!((4..=6).contains(&rare), "{rare}");
    assert_eq!(often, 20);
    assert_eq!(wrong, rare, "a wrong wish is none");
}

#[tokio::test]
async fn an_old_snapshot_is_followed_by_another() {
    let server = Process::start(&[]);
    let state = json!({ "round": 1, "persistence": { "maxAgeSeconds": 1 } });
    assert_eq!(server.put(G1, &state).await.0, 201);
    let end = std::time::Instant::now() + std::time::Duration::from_secs(20);
    let mut round = 1;
    while snapshots(&server, "g1").is_empty() {
        assert!(std::time::Instant::now() < end, "no snapshot came");
        round += 1;
        play(&server, round..=round).await;
    }
    assert!(round > 2, "not the first change at once");
}

#[tokio::test]
async fn the_host_rolls_a_game_back_and_players_see_one_change() {
    let server = start(&[]).await;
    let mut bob = Follower::connect(&format!("{}{G1}/events", server.url), Some("bob"), None).await.unwrap();
    bob.expect("snapshot").await;
    play(&server, 5..=8).await;
    bob.changes(4).await;
    for to in [1u64, 3, 8] {
        let (status, answer) = server.post_as("alice", &format!("{G1}/rollback"), &json!({ "toVersion": to })).await;
        assert_eq!((status, &answer["state"]["round"]), (200, &json!(to)), "{answer}");
        assert_eq!(answer["state"]["hidden"], json!({ "deck": [1, 2] }));
        let told = bob.changes(1).await.pop().unwrap();
        assert_eq!((&told.data["type"], &told.data["version"]), (&json!("rollback"), &answer["version"]));
        assert!(!told.text.contains("deck"), "{}", told.text);
        assert_eq!(server.get_as("bob", G1).await.1["state"]["round"], to);
    }
    assert_eq!(server.post_as("bob", &format!("{G1}/rollback"), &json!({ "toVersion": 1 })).await.0, 403);
    assert_eq!(verified_history(&server, "games/g1").await.len(), 11);
}

#[tokio::test]
async fn while_the_disk_fails_persisting_is_refused_and_the_game_goes_on() {
    let (disk, server) = Disk::with_server(&[]);
    assert_eq!(server.put(G1, &json!({ "round": 1 })).await.0, 201);
    disk.set("eio-write");
    let reply = server.tell("POST", PERSIST, &[], json!({ "gameId": "g1" })).await;
    assert!(reply.problem(503, "storage-unavailable")["retryAfterSeconds"].is_u64());
    let (status, answer) = server.merge(G1, &json!({ "round": 2 })).await;
    assert_eq!((status, &answer["version"]), (202, &json!(2)), "{answer}");
    assert_eq!(persist(&server).await.0, 503);
    assert_eq!(server.ask("DELETE", PERSIST, &[]).await.status, 409, "it runs");
    let (_, told) = server.get(&format!("{G1}/persistence")).await;
    assert_eq!((&told["version"], &told["persistedVersion"]), (&json!(2), &json!(1)), "{told}");
    assert_eq!(told["server"]["healthy"], false, "{told}");
    disk.set("off");
    server.until_ready(|_, report| report["storage"]["state"] == "ok").await;
    assert_eq!(persist(&server).await.1["version"], 2);
    let (_, told) = server.get(&format!("{G1}/persistence")).await;
    assert!(told["server"]["retries"].as_u64() >= Some(1) && told["server"]["failures"].as_u64() >= Some(1), "{told}");
}

/// A game of some 100 KB, of which half came with its creation.
async fn large(server: &Process, id: &str) -> (u16, Value) {
    let path = format!("/api/v1/games/{id}");
    let (status, answer) = server.put(&path, &json!({ "text": id.repeat(25_000) })).await;
    if status != 201 {
        return (status, answer);
    }
    server.merge(&path, &json!({ "more": id.repeat(25_000) })).await
}

#[tokio::test]
async fn a_full_disk_takes_completed_games_first_and_the_oldest_of_them_before() {
    let mut server = Process::start(&["--database-pages-max=450"]);
    for (id, at) in [("c2", 2), ("c1", 1), ("c3", 3), ("c4", 4), ("c5", 5), ("c6", 6)] {
        assert_eq!(large(&server, id).await.0, 200);
        complete(&server, id, &format!("2026-01-0{at}T00:00:00.000Z")).await;
    }
    let url = format!("{}/api/v1/games/c1/events", server.url);
    let mut watching = Follower::connect(&url, None, None).await.unwrap();
    watching.expect("snapshot").await;
    // Each is on disk at once, as if there was room, until nothing is left that may go.
    let mut running = Vec::new();
    let stopped = loop {
        let id = format!("r{}", running.len());
        let (status, answer) = large(&server, &id).await;
        if status != 200 {
            break (status, answer);
        }
        running.push(id);
        assert!(running.len() < 40, "the file is bounded");
        let there: Vec<u16> = {
            let mut there = Vec::new();
            for id in ["c1", "c2", "c3", "c4", "c5", "c6"] {
                there.push(server.get(&format!("/api/v1/games/{id}")).await.0);
            }
            there
        };
        assert!(there.windows(2).all(|pair| pair[0] >= pair[1]), "the oldest first: {there:?}");
    };
    assert_eq!(stopped.0, 202, "{}", stopped.1);
    assert_eq!(watching.changes(1).await[0].data["type"], "purge");
    for id in ["c1", "c2", "c3", "c4", "c5", "c6"] {
        server.ask("GET", &format!("/api/v1/games/{id}"), &[]).await.problem(410, "gone");
        assert!(bytes(&server, id) < 1024, "{id}");
    }
    assert!(running.len() > 10, "{} games found room", running.len());
    server.kill();
    server.start_again();
    for id in &running {
        let (status, game) = server.get(&format!("/api/game/{id}/restore")).await;
        assert_eq!((status, &game["version"]), (200, &json!(2)), "{id} {}", game["detail"]);
    }
    server.ask("GET", "/api/game/c1/restore", &[]).await.problem(410, "gone");
}
