//! Persistence of new games turned off: they live in memory, say so, and leave nothing behind; everything else is as it
//! always was.

use serde_json::{Value, json};

use crate::support::history::verified_history;
use crate::support::replica::position;
use crate::support::{Disk, Follower, Process, Replica};

const OFF: (&str, &str) = ("REJOIN_FF_GAMES_PERSISTENCE", "false");
/// Follows everything that the tests here make.
const ALL: &str = "/api/v1/stream?collection=games&collection=notes";

async fn follow(server: &Process, path: &str, resume: Option<&str>) -> Follower {
    Follower::connect(&format!("{}{path}", server.url), None, resume).await.unwrap()
}

/// The kept history of a document.
async fn events(server: &Process, name: &str) -> Vec<Value> {
    let (status, page) = server.get(&format!("/api/v1/{name}/events?limit=500")).await;
    assert_eq!(status, 200, "{page}");
    page["items"].as_array().unwrap().clone()
}

/// All events of these documents in the order of the log.
async fn log_of(server: &Process, names: &[&str]) -> Vec<Value> {
    let mut all = Vec::new();
    for name in names {
        all.extend(events(server, name).await);
    }
    all.sort_by_key(|event| event["seq"].as_u64());
    all
}

/// Asserts that `path` resumes exactly after each of `log`, and from the beginning.
async fn resumes_everywhere(server: &Process, path: &str, log: &[Value], step: usize) {
    for offset in (0..=log.len()).step_by(step) {
        let from = offset.checked_sub(1).map_or("0".to_owned(), |index| position(&log[index]));
        let mut follower = follow(server, path, Some(&from)).await;
        for (told, event) in follower.changes_after_resumed(log.len() - offset).await.iter().zip(&log[offset..]) {
            assert_eq!((&told.data, &told.id), (event, &position(event)));
        }
    }
}

/// Asserts that whoever comes back to `path` from `position` is told `reason` and the whole state.
async fn is_told(server: &Process, path: &str, position: &str, reason: &str) -> Value {
    let told = follow(server, path, Some(position)).await.expect("snapshot").await;
    assert_eq!(told.data["reason"], reason, "{path} {position}");
    told.data["documents"].clone()
}

/// `games/memory-only` and `notes/on-disk`, each changed `each` times by two writers at once.
async fn played(server: &Process, each: usize) {
    let (status, game) = server.post("/api/v1/games", &json!({ "id": "memory-only", "state": { "n": 0 } })).await;
    assert_eq!((status, &game["durable"], &game["persistent"]), (201, &json!(false), &json!(false)), "{game}");
    let (status, other) = server.post("/api/v1/notes", &json!({ "id": "on-disk", "state": { "n": 0 } })).await;
    assert_eq!((status, &other["durable"], other.get("persistent")), (201, &json!(true), None), "{other}");
    let writer = |name: &'static str, number: usize| {
        let (client, url) = (server.client.clone(), format!("{}/api/v1/{name}/actions", server.url));
        tokio::spawn(async move {
            for n in 0..each / 2 {
                let patch = json!({ format!("by{number}"): n, "card": "queen-of-nowhere" });
                let request = client.post(&url).json(&json!({ "type": "play", "patch": patch }));
                let response = request.send().await.unwrap();
                assert_eq!(response.status(), 200);
                let event: Value = serde_json::from_str(&response.text().await.unwrap()).unwrap();
                assert_eq!(event["durable"], name.starts_with("notes"), "{event}");
                assert_eq!(event.get("persistent"), name.starts_with("games").then_some(&json!(false)), "{event}");
            }
        })
    };
    let writers = [("games/memory-only", 0), ("games/memory-only", 1), ("notes/on-disk", 0), ("notes/on-disk", 1)];
    for writer in writers.map(|(name, number)| writer(name, number)) {
        writer.await.unwrap();
    }
}

/// The two documents of [`played`].
const BOTH: [&str; 2] = ["games/memory-only", "notes/on-disk"];

/// A server on which both documents have 61 versions.
async fn both_played() -> Process {
    let server = Process::start_with(&[], &[OFF]);
    played(&server, 60).await;
    server
}

#[tokio::test]
async fn the_flag_that_is_off_is_told() {
    let server = Process::start_with(&[], &[OFF]);
    assert_eq!(server.get("/api/v1/flags").await, (200, json!({ "flags": { "gamesPersistence": false } })));
}

#[tokio::test]
async fn a_follower_of_both_is_told_every_change_and_knows_the_state_that_reads_give() {
    let server = Process::start_with(&[], &[OFF]);
    let (mut live, mut replica) = (follow(&server, ALL, None).await, Replica::of_host());
    replica.take(&live.expect("snapshot").await);
    played(&server, 60).await;
    for told in live.changes(122).await {
        replica.take(&told);
    }
    for name in BOTH {
        let (_, document) = server.get(&format!("/api/v1/{name}")).await;
        let known = &replica.documents[name];
        assert_eq!((&document["state"], &document["hash"]), (&known.state, &json!(known.hash)));
    }
}

#[tokio::test]
async fn reads_and_lists_tell_which_of_the_two_is_durable_and_which_is_not_persistent() {
    let server = both_played().await;
    for name in BOTH {
        let (_, document) = server.get(&format!("/api/v1/{name}")).await;
        assert_eq!(document["durable"], name == "notes/on-disk");
        assert_eq!(document.get("persistent"), (name == "games/memory-only").then_some(&json!(false)));
    }
    let (_, list) = server.get("/api/v1/games?include=state").await;
    assert_eq!((&list["items"][0]["id"], &list["items"][0]["persistent"]), (&json!("memory-only"), &json!(false)));
    assert_eq!(server.get("/api/v1/notes").await.1["items"][0].get("persistent"), None);
    let snapshot = follow(&server, ALL, None).await.expect("snapshot").await;
    assert_eq!(snapshot.data["documents"].as_array().unwrap().len(), 2);
}

#[tokio::test]
async fn the_history_of_a_game_in_memory_is_whole_and_can_be_paged() {
    let server = both_played().await;
    for name in BOTH {
        assert_eq!(verified_history(&server, name).await.len(), 61);
        let after = position(&events(&server, name).await[9]);
        let (_, page) = server.get(&format!("/api/v1/{name}/events?after={after}&limit=1")).await;
        assert_eq!(page["items"][0]["version"], 11);
    }
}

#[tokio::test]
async fn every_version_of_a_game_in_memory_can_be_read_and_brought_back() {
    let server = both_played().await;
    for name in BOTH {
        let kept = events(&server, name).await;
        for version in [1, 2, 30, 60, 61] {
            let (status, then) = server.get(&format!("/api/v1/{name}?version={version}")).await;
            assert_eq!((status, &then["version"]), (200, &json!(version)));
            assert_eq!(then["hash"], kept[version - 1]["hash"]);
        }
        assert_eq!(server.get(&format!("/api/v1/{name}?version=62")).await.0, 404);
        let (status, back) = server.post(&format!("/api/v1/{name}/rollback"), &json!({ "toVersion": 1 })).await;
        assert_eq!((status, &back["state"]), (200, &json!({ "n": 0 })), "{back}");
    }
}

#[tokio::test]
async fn streams_of_one_and_of_both_resume_after_every_change() {
    let server = both_played().await;
    for name in BOTH {
        resumes_everywhere(&server, &format!("/api/v1/{name}/events"), &events(&server, name).await, 5).await;
        let (status, back) = server.post(&format!("/api/v1/{name}/rollback"), &json!({ "toVersion": 1 })).await;
        assert_eq!(status, 200, "{back}");
    }
    resumes_everywhere(&server, ALL, &log_of(&server, &BOTH).await, 7).await;
}

#[tokio::test]
async fn a_batch_over_both_is_all_or_nothing_and_a_repeated_key_gets_the_first_answer() {
    let mut server = Process::start_with(&[], &[OFF]);
    played(&server, 2).await;
    let act = |collection: &str, id: &str, n: u32, version: u32| {
        json!({ "op": "action", "type": "both", "collection": collection, "id": id, "patch": { "both": n },
                "expectedVersion": version })
    };
    let both = |n: u32, version: u32, game: u32| {
        let operations = [act("notes", "on-disk", n, version), act("games", "memory-only", n, game)];
        json!({ "operations": operations })
    };
    let (status, refused) = server.post("/api/v1/batch", &both(1, 3, 7)).await;
    assert_eq!((status, &refused["index"]), (409, &json!(1)), "{refused}");
    let keyed =
        |key: &str, path: &str, body: &Value| server.request("POST", path).header("idempotency-key", key).json(body);
    let first = crate::support::process::json(keyed("b", "/api/v1/batch", &both(2, 3, 3)).send().await.unwrap()).await;
    assert_eq!((first.0, &first.1["durable"]), (200, &json!(false)), "{}", first.1);
    assert_eq!(first.1["results"][0].get("persistent"), None);
    assert_eq!((&first.1["results"][1]["persistent"], &first.1["results"][1]["version"]), (&json!(false), &json!(4)));
    let single = json!({ "type": "once", "patch": { "once": true } });
    let path = "/api/v1/games/memory-only/actions";
    let once = crate::support::process::json(keyed("a", path, &single).send().await.unwrap()).await;
    for (key, path, body, answer) in [("b", "/api/v1/batch", both(2, 3, 3), &first), ("a", path, single, &once)] {
        let again = keyed(key, path, &body).send().await.unwrap();
        assert_eq!(again.headers()["idempotency-replayed"], "true");
        assert_eq!(crate::support::process::json(again).await, *answer);
    }
    let other = keyed("a", path, &json!({ "type": "other" })).send().await.unwrap();
    assert_eq!(other.status(), 422);
    assert_eq!(server.get("/api/v1/games/memory-only").await.1["version"], 5);
    server.kill();
    server.start_again();
    assert_eq!(server.get("/api/v1/notes/on-disk").await.1["state"]["both"], 2);
    let again = server.request("POST", "/api/v1/batch").header("idempotency-key", "b").json(&both(2, 3, 3));
    assert_eq!(again.send().await.unwrap().headers()["idempotency-replayed"], "true");
}

/// Bytes of every file of the data directory.
fn bytes_on_disk(server: &Process) -> Vec<u8> {
    let files = std::fs::read_dir(server.data_dir()).unwrap();
    files.flat_map(|file| std::fs::read(file.unwrap().path()).unwrap()).collect()
}

fn holds(bytes: &[u8], text: &str) -> bool {
    memchr::memmem::find(bytes, text.as_bytes()).is_some()
}

#[tokio::test]
async fn nothing_of_a_game_in_memory_is_ever_on_disk() {
    let mut server = Process::start_with(&[], &[OFF]);
    for name in ["games/memory-only", "notes/on-disk"] {
        assert_eq!(server.put(&format!("/api/v1/{name}"), &json!({ "of": format!("content-of-{name}") })).await.0, 201);
        for n in 0..30 {
            // Large enough that snapshots are due, and with keys, whose answers are remembered.
            let patch = json!({ "n": n, "long": format!("{n}-of-{name}").repeat(200) });
            let action = json!({ "type": "grow", "patch": patch });
            let request = server.request("POST", &format!("/api/v1/{name}/actions")).json(&action);
            assert_eq!(request.header("idempotency-key", format!("{name}{n}")).send().await.unwrap().status(), 200);
        }
    }
    for stopped in [false, true] {
        if stopped {
            assert!(server.terminate().success());
            assert!(server.log().contains("1 documents that lived in memory only are gone"), "{}", server.log());
        }
        let bytes = bytes_on_disk(&server);
        assert!(holds(&bytes, "on-disk") && holds(&bytes, "content-of-notes/on-disk"));
        assert!(!holds(&bytes, "memory-only") && !holds(&bytes, "content-of-games"), "after the end: {stopped}");
    }
    let database = rusqlite::Connection::open(server.data_dir().join("rejoin.db")).unwrap();
    let count = |sql: &str| database.query_row(sql, [], |row| row.get::<_, i64>(0)).unwrap();
    assert_eq!(count("SELECT count(*) FROM documents"), 1);
    assert_eq!(count("SELECT count(*) FROM events"), 31);
    assert_eq!(count("SELECT count(*) FROM events e JOIN documents d ON d.key = e.document"), 31);
    assert_eq!(count("SELECT count(*) FROM idempotency_keys"), 30);
}

#[tokio::test]
async fn after_a_restart_it_is_gone_and_everybody_who_knew_it_is_told() {
    let mut server = Process::start_with(&[], &[OFF]);
    played(&server, 40).await;
    let game = events(&server, "games/memory-only").await;
    let kept = events(&server, "notes/on-disk").await;
    // Of a snapshot that shows only what stays: it is a place that stays, whatever came after it.
    assert_eq!(server.merge("/api/v1/games/memory-only", &json!({ "last": true })).await.0, 200);
    let path = "/api/v1/stream?collection=notes";
    let shown = follow(&server, path, None).await.expect("snapshot").await.id;
    assert_eq!(shown, position(kept.last().unwrap()));
    // The second time with the flag turned on again, the third as it was.
    for environment in [vec![OFF], vec![], vec![OFF]] {
        server.kill();
        server.start_again_in(&environment);
        assert_eq!(server.get("/api/v1/games/memory-only").await.0, 404);
        assert_eq!(server.get("/api/v1/games").await.1["items"], json!([]));
        for event in game.iter().step_by(6) {
            let path = "/api/v1/games/memory-only/events";
            assert_eq!(is_told(&server, path, &position(event), "diverged").await, json!([]));
            is_told(&server, ALL, &position(event), "diverged").await;
        }
        // Their place is still there, but what they were told beside it is not.
        for event in kept.iter().skip(1).step_by(6) {
            assert_eq!(is_told(&server, ALL, &position(event), "diverged").await.as_array().unwrap().len(), 1);
            let both = "/api/v1/stream?doc=games/memory-only&doc=notes/on-disk";
            is_told(&server, both, &position(event), "diverged").await;
        }
        assert_eq!(events(&server, "notes/on-disk").await, kept);
        assert_eq!(verified_history(&server, "notes/on-disk").await.len(), kept.len());
        resumes_everywhere(&server, "/api/v1/notes/on-disk/events", &kept, 6).await;
        resumes_everywhere(&server, path, &kept, 6).await;
        follow(&server, path, Some(&shown)).await.changes_after_resumed(0).await;
    }
    // A place in the log that is used again is told from the one before by its hash.
    let lost = game.last().unwrap();
    played_on(&server, lost["seq"].as_u64().unwrap()).await;
    is_told(&server, "/api/v1/notes/on-disk/events", &position(lost), "diverged").await;
}

/// Changes `notes/on-disk` until the log is at least at `seq`.
async fn played_on(server: &Process, seq: u64) {
    while server.get("/readyz").await.1["seq"].as_u64().unwrap() < seq {
        assert_eq!(server.merge("/api/v1/notes/on-disk", &json!({ "more": seq })).await.0, 200);
    }
}

#[tokio::test]
async fn flags_for_clients_are_handed_on_as_booleans() {
    let environment = [("REJOIN_FF_NEW_LOBBY", "true"), ("REJOIN_FF_SOUNDS", "false"), OFF];
    let server = Process::start_with(&[], &environment);
    let flags = json!({ "flags": { "gamesPersistence": false, "newLobby": true, "sounds": false } });
    assert_eq!(server.get("/api/v1/flags").await, (200, flags.clone()));
    assert_eq!(server.get_as("alice", "/api/v1/flags").await, (200, flags));
}

#[tokio::test]
async fn games_that_were_there_stay_on_disk_and_those_of_before_stay_in_memory() {
    let mut server = Process::start(&[]);
    assert_eq!(server.get("/api/v1/flags").await.1, json!({ "flags": { "gamesPersistence": true } }));
    for id in ["old", "deleted"] {
        let (status, game) = server.post("/api/v1/games", &json!({ "id": id, "state": { "n": 1 } })).await;
        assert_eq!((status, &game["durable"], game.get("persistent")), (201, &json!(true), None));
    }
    assert_eq!(server.request("DELETE", "/api/v1/games/deleted").send().await.unwrap().status(), 200);
    server.kill();
    server.start_again_in(&[OFF]);
    for n in 2..6 {
        let (status, game) = server.merge("/api/v1/games/old", &json!({ "n": n })).await;
        assert_eq!((status, &game["durable"], game.get("persistent")), (200, &json!(true), None), "{game}");
    }
    // Created again, it is still the document that it was.
    let (status, game) = server.put("/api/v1/games/deleted", &json!({ "again": true })).await;
    assert_eq!((status, &game["version"], &game["durable"]), (201, &json!(3), &json!(true)), "{game}");
    assert_eq!(server.put("/api/v1/games/new", &json!({})).await.1["persistent"], false);
    let old = events(&server, "games/old").await;
    resumes_everywhere(&server, "/api/v1/games/old/events", &old, 1).await;
    server.kill();
    server.start_again_in(&[]);
    assert_eq!(server.get("/api/v1/games/new").await.0, 404);
    assert_eq!(server.get("/api/v1/games/deleted").await.1["version"], 3);
    resumes_everywhere(&server, "/api/v1/games/old/events", &old, 1).await;
    let (_, new) = server.put("/api/v1/games/new", &json!({})).await;
    assert_eq!((&new["durable"], &new["version"]), (&json!(true), &json!(1)));
}

#[tokio::test]
async fn what_left_memory_is_said_to_be_trimmed_and_never_left_out() {
    let server = Process::start_with(&["--ring-events-max", "2048"], &[OFF]);
    played(&server, 10).await;
    let (game, kept) = (events(&server, "games/memory-only").await, events(&server, "notes/on-disk").await);
    // One more that will be left in memory, so that history begins in the middle.
    let change = json!({ "op": "put", "collection": "notes", "id": "filler", "state": { "n": 1 } });
    let batch = json!({ "operations": vec![change; 100] });
    for round in 0..21 {
        assert_eq!(server.post("/api/v1/batch", &batch).await.0, 200);
        if round == 10 {
            assert_eq!(server.merge("/api/v1/games/memory-only", &json!({ "late": true })).await.0, 200);
        }
    }
    let path = "/api/v1/games/memory-only/events";
    let (_, page) = server.get(path).await;
    assert_eq!((&page["firstVersion"], page["items"].as_array().unwrap().len()), (&json!(12), 1));
    assert_eq!(page["items"][0]["version"], 12);
    let (status, gone) = server.get("/api/v1/games/memory-only?version=5").await;
    assert_eq!((status, &gone["firstVersion"]), (410, &json!(12)), "{gone}");
    assert_eq!(server.get("/api/v1/games/memory-only?version=12").await.0, 200);
    assert_eq!(server.get(&format!("{path}?after={}", position(&game[3]))).await.0, 410);
    for event in &game {
        let documents = is_told(&server, path, &position(event), "trimmed").await;
        assert_eq!(documents[0]["version"], 12);
    }
    let log = log_of(&server, &["notes/on-disk"]).await;
    for (index, event) in log.iter().enumerate() {
        // By its own name it is all on disk; beside the game, what the game lost is missing.
        let path = "/api/v1/notes/on-disk/events";
        follow(&server, path, Some(&position(event))).await.changes_after_resumed(kept.len() - index - 1).await;
        let both = "/api/v1/stream?doc=games/memory-only&doc=notes/on-disk";
        if event["seq"].as_u64() < game.last().unwrap()["seq"].as_u64() {
            assert_eq!(is_told(&server, both, &position(event), "trimmed").await.as_array().unwrap().len(), 2);
        }
    }
    // From the beginning of what is kept: all that is on disk, and of the game what is in memory.
    let both = "/api/v1/stream?doc=games/memory-only&doc=notes/on-disk";
    let told = follow(&server, both, Some("0")).await.changes_after_resumed(kept.len() + 1).await;
    assert_eq!(told.last().unwrap().data, page["items"][0]);
    // Whoever follows goes on from there.
    let mut follower = follow(&server, path, Some(&position(&page["items"][0]))).await;
    follower.changes_after_resumed(0).await;
    assert_eq!(server.merge("/api/v1/games/memory-only", &json!({ "later": true })).await.0, 200);
    assert_eq!(follower.expect("change").await.data["version"], 13);
}

#[tokio::test]
async fn what_needs_the_disk_is_refused_for_a_game_in_memory() {
    let mut server = Process::start_with(&[], &[OFF]);
    assert_eq!(server.put("/api/v1/games/g1", &json!({})).await.0, 201);
    let (persist, restore) = ("/api/game/g1/persist", "/api/game/g1/restore");
    for (method, path, body) in [
        ("POST", persist, json!({ "gameId": "g1" })),
        ("POST", persist, json!({ "gameId": "g1", "forceOverwrite": true })),
        ("GET", restore, json!({})),
        ("DELETE", persist, json!({})),
        ("POST", "/api/v1/games/g1/migrate", json!({ "to": "http://127.0.0.1:9" })),
    ] {
        let answer = server.request(method, path).json(&body).send().await.unwrap();
        let (status, problem) = crate::support::process::json(answer).await;
        assert_eq!((status, &problem["type"]), (409, &json!("/problems/not-persistent")), "{method} {path}: {problem}");
    }
    let (_, stored) = server.get("/api/v1/games/g1/persistence").await;
    assert_eq!((&stored["version"], &stored["persistedVersion"], &stored["events"]), (&json!(1), &json!(0), &json!(0)));
    assert_eq!(server.merge("/api/v1/games/g1", &json!({ "goes": "on" })).await.0, 200);
    // With rows of its own a game is never taken for another, whatever was in memory before.
    assert_eq!(server.post("/api/v1/games/g1/seats", &json!({ "playerId": "alice" })).await.0, 201);
    server.kill();
    server.start_again_in(&[]);
    assert_eq!(server.put("/api/v1/games/g2", &json!({})).await.0, 201);
    assert_eq!(server.get("/api/v1/games/g2/seats").await.1["items"], json!([]));
    assert_eq!(server.post("/api/v1/games/g2/seats", &json!({ "playerId": "alice" })).await.0, 201);
}

#[tokio::test]
async fn there_are_only_so_many() {
    let server = Process::start_with(&["--volatile-documents-max", "2"], &[OFF]);
    for id in ["a", "b"] {
        assert_eq!(server.put(&format!("/api/v1/games/{id}"), &json!({})).await.0, 201);
    }
    let (status, problem) = server.put("/api/v1/games/c", &json!({})).await;
    assert_eq!((status, &problem["type"], &problem["maxDocuments"]), (413, &json!("/problems/too-large"), &json!(2)));
    assert_eq!(server.get("/api/v1/games/c").await.0, 404);
    let create = |collection: &str| json!({ "op": "create", "collection": collection, "id": "x", "state": {} });
    let (status, problem) =
        server.post("/api/v1/batch", &json!({ "operations": [create("notes"), create("games")] })).await;
    assert_eq!((status, &problem["index"]), (413, &json!(1)));
    assert_eq!(server.get("/api/v1/notes/x").await.0, 404);
    assert_eq!(server.put("/api/v1/notes/c", &json!({})).await.0, 201);
    assert_eq!(server.merge("/api/v1/games/a", &json!({ "n": 1 })).await.0, 200);
}

#[tokio::test]
async fn a_disk_that_fails_concerns_only_what_is_for_the_disk() {
    let (disk, mut server) = Disk::with_server(&["--flags.games-persistence", "false"]);
    played(&server, 4).await;
    let mut game = follow(&server, "/api/v1/games/memory-only/events", None).await;
    let mut all = follow(&server, ALL, None).await;
    game.expect("snapshot").await;
    let mut replica = Replica::of_host();
    replica.take(&all.expect("snapshot").await);
    disk.set("enospc");
    for n in 0..5 {
        let (status, document) = server.merge("/api/v1/notes/on-disk", &json!({ "n": n })).await;
        assert_eq!((status, &document["durable"]), (202, &json!(false)), "{document}");
        let (status, document) = server.merge("/api/v1/games/memory-only", &json!({ "n": n })).await;
        assert_eq!((status, &document["persistent"]), (200, &json!(false)), "{document}");
        let change = |collection: &str, id: &str| {
            let patch = json!({ "both": n });
            json!({ "op": "patch", "collection": collection, "id": id, "patch": patch })
        };
        let operations = json!([change("notes", "on-disk"), change("games", "memory-only")]);
        let (status, answer) = server.post("/api/v1/batch", &json!({ "operations": operations })).await;
        assert_eq!((status, &answer["durable"]), (202, &json!(false)), "{answer}");
    }
    assert_eq!(server.put("/api/v1/games/another", &json!({})).await.0, 201);
    disk.set("off");
    server.until_ready(|status, report| status == 200 && report["storage"]["state"] == "ok").await;
    for told in all.changes(21).await {
        replica.take(&told);
    }
    all.expect("durable").await;
    let report = server.get("/readyz").await.1;
    assert_eq!((&report["durableSeq"], &report["backlog"]["events"]), (&report["seq"], &json!(0)), "{report}");
    assert_eq!(server.merge("/api/v1/games/memory-only", &json!({ "n": 9 })).await.0, 200);
    // Nobody tells those who follow it alone of a disk.
    assert_eq!(game.changes(11).await.last().unwrap().data["version"], 16);
    assert_eq!(server.merge("/api/v1/notes/on-disk", &json!({ "n": 9 })).await.1["durable"], true);
    let kept = events(&server, "notes/on-disk").await;
    server.kill();
    server.start_again();
    assert_eq!(events(&server, "notes/on-disk").await, kept);
    verified_history(&server, "notes/on-disk").await;
    assert_eq!(server.get("/api/v1/games/memory-only").await.0, 404);
    assert!(!holds(&bytes_on_disk(&server), "memory-only"));
}

#[tokio::test]
async fn removing_for_good_and_making_room_beside_a_game_in_memory_leaves_it_and_says_what_is_missing() {
    let mut server = Process::start(&[]);
    for id in ["over", "kept"] {
        assert_eq!(server.put(&format!("/api/v1/games/{id}"), &json!({ "n": 1 })).await.0, 201);
    }
    server.kill();
    server.start_again_in(&[OFF]);
    played(&server, 10).await;
    let game = events(&server, "games/memory-only").await;
    assert_eq!(server.merge("/api/v1/games/over", &json!({ "n": 2 })).await.0, 200);
    assert_eq!(server.post("/api/v1/games/over/complete", &json!({})).await.0, 200);
    let removed = server.request("DELETE", "/api/game/over/persist").send().await.unwrap();
    assert_eq!(removed.status(), 204);
    // What comes before a removal is read from disk, where nothing of the game is.
    let path = "/api/v1/games/memory-only/events";
    for event in &game[..game.len() - 1] {
        assert_eq!(is_told(&server, path, &position(event), "trimmed").await[0]["version"], 11);
    }
    assert_eq!(server.get("/api/v1/games/memory-only").await.1["version"], 11);
    let (status, document) = server.merge("/api/v1/games/memory-only", &json!({ "on": true })).await;
    assert_eq!((status, &document["version"]), (200, &json!(12)));
    // Those that are on disk are stored whole and read back as ever.
    assert_eq!(server.post("/api/game/kept/persist", &json!({ "gameId": "kept" })).await.0, 200);
    assert_eq!(server.get("/api/game/kept/restore").await.0, 200);
    assert!(server.terminate().success());
    assert!(!holds(&bytes_on_disk(&server), "memory-only"));
}

#[tokio::test]
async fn a_game_that_moves_here_is_on_disk_whatever_new_ones_are() {
    let from = Process::start(&[]);
    let mut to = Process::start_with(&[], &[OFF]);
    played(&to, 4).await;
    assert_eq!(from.put("/api/v1/games/moving", &json!({ "n": 1 })).await.0, 201);
    let (status, moved) = from.post("/api/v1/games/moving/migrate", &json!({ "to": to.url })).await;
    assert_eq!(status, 200, "{moved}");
    let (status, game) = to.merge("/api/v1/games/moving", &json!({ "n": 2 })).await;
    assert_eq!((status, &game["durable"], game.get("persistent")), (200, &json!(true), None), "{game}");
    // One that is in memory here is never replaced by one that comes.
    assert_eq!(from.put("/api/v1/games/memory-only", &json!({})).await.0, 201);
    let (status, refused) = from.post("/api/v1/games/memory-only/migrate", &json!({ "to": to.url })).await;
    assert_eq!((status, &refused["type"]), (422, &json!("/problems/move-refused")), "{refused}");
    assert_eq!(to.get("/api/v1/games/memory-only").await.1["version"], 5);
    to.kill();
    to.start_again_in(&[OFF]);
    assert_eq!(verified_history(&to, "games/moving").await.len(), 2);
    assert_eq!(to.get("/api/v1/games/memory-only").await.0, 404);
}

#[tokio::test]
async fn a_full_disk_makes_room_for_what_is_stored_together_with_a_game_in_memory() {
    let mut server = Process::start(&["--database-pages-max=400"]);
    for id in ["c1", "c2", "c3"] {
        assert_eq!(server.put(&format!("/api/v1/games/{id}"), &json!({ "text": id.repeat(50_000) })).await.0, 201);
        assert_eq!(server.post(&format!("/api/v1/games/{id}/complete"), &json!({})).await.0, 200);
    }
    server.kill();
    server.start_again_in(&[OFF]);
    assert_eq!(server.put("/api/v1/games/memory-only", &json!({})).await.0, 201);
    let mut n = 0;
    while server.get("/api/v1/games/c2").await.0 == 200 {
        n += 1;
        assert!(n < 40, "the file is bounded");
        let (id, large) = (format!("e{n}"), "x".repeat(100_000));
        let operations = json!([
            { "op": "put", "collection": "notes", "id": id, "state": { "text": large } },
            { "op": "put", "collection": "games", "id": "memory-only", "state": { "n": n } },
        ]);
        let (status, answer) = server.post("/api/v1/batch", &json!({ "operations": operations })).await;
        assert_eq!(status, 200, "{answer}");
        let report = server.get("/readyz").await.1;
        assert_eq!((&report["durableSeq"], &report["backlog"]["events"]), (&report["seq"], &json!(0)), "{report}");
    }
    let (_, game) = server.get("/api/v1/games/memory-only").await;
    assert_eq!((&game["state"]["n"], &game["version"]), (&json!(n), &json!(n + 1)));
    server.kill();
    server.start_again();
    assert_eq!(verified_history(&server, &format!("notes/e{n}")).await.len(), 1);
    assert!(!holds(&bytes_on_disk(&server), "memory-only"));
}

#[tokio::test]
async fn whoever_knew_a_game_in_memory_is_told_when_a_stored_one_has_its_name() {
    let mut server = Process::start_with(&[], &[OFF]);
    played(&server, 10).await;
    let kept = events(&server, "notes/on-disk").await;
    server.kill();
    server.start_again_in(&[]);
    assert_eq!(server.put("/api/v1/games/memory-only", &json!({ "another": true })).await.1["version"], 1);
    let both = "/api/v1/stream?doc=games/memory-only&doc=notes/on-disk";
    for event in kept.iter().skip(1) {
        let documents = is_told(&server, both, &position(event), "diverged").await;
        assert_eq!(documents[0]["state"], json!({ "another": true }), "{documents}");
    }
    // In a place of after that, everybody knew the one that is there.
    let (_, later) = server.merge("/api/v1/notes/on-disk", &json!({ "n": 1 })).await;
    let last = events(&server, "notes/on-disk").await.pop().unwrap();
    assert_eq!(later["version"], last["version"]);
    follow(&server, both, Some(&position(&last))).await.changes_after_resumed(0).await;
}

#[tokio::test]
async fn the_same_when_the_stored_one_comes_from_another_server_in_the_same_run() {
    let from = Process::start(&[]);
    assert_eq!(from.put("/api/v1/games/memory-only", &json!({ "another": true })).await.0, 201);
    let to = Process::start_with(&["--ring-events-max", "2048", "--hot-idle-seconds", "1"], &[OFF]);
    played(&to, 10).await;
    let kept = events(&to, "notes/on-disk").await;
    assert_eq!(to.request("DELETE", "/api/v1/games/memory-only").send().await.unwrap().status(), 200);
    // Until the server has let go of it.
    let end = std::time::Instant::now() + std::time::Duration::from_secs(60);
    loop {
        let (status, moved) = from.post("/api/v1/games/memory-only/migrate", &json!({ "to": to.url })).await;
        if status == 200 {
            break;
        }
        assert!(std::time::Instant::now() < end, "{status} {moved}");
        tokio::time::sleep(std::time::Duration::from_millis(500)).await;
    }
    let change = json!({ "op": "put", "collection": "notes", "id": "filler", "state": { "n": 1 } });
    let batch = json!({ "operations": vec![change; 100] });
    for _ in 0..22 {
        assert_eq!(to.post("/api/v1/batch", &batch).await.0, 200);
    }
    let both = "/api/v1/stream?doc=games/memory-only&doc=notes/on-disk";
    let documents = is_told(&to, both, &position(&kept[3]), "trimmed").await;
    assert_eq!(documents.as_array().unwrap().len(), 2, "{documents}");
}
