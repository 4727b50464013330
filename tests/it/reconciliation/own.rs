//! The server's own services: the file is changed behind the back of a running server, in each way there is.

use std::os::unix::fs::FileExt;
use std::path::PathBuf;

use rusqlite::Connection;

use super::*;

/// Compared every second, scrubbed as fast as it goes.
const FLAGS: [&str; 4] = ["--reconciliation-seconds", "1", "--reconciliation-scrub-kib", "0"];
const GAMES: &str = "documents/games";

fn file(server: &Process) -> PathBuf {
    server.data_dir().join("rejoin.db")
}

/// What somebody does with `sqlite3` in hand.
fn tamper(server: &Process, sql: &str) {
    let conn = Connection::open(file(server)).unwrap();
    conn.pragma_update(None, "foreign_keys", false).unwrap();
    conn.execute_batch(sql).unwrap();
    assert!(conn.total_changes() > 0, "{sql}");
}

async fn fill(server: &Process) {
    for round in 1..=6 {
        for name in ["games/a", "games/b"] {
            let state = json!({ "state": { "round": round, "pot": 640 + round, "text": "text ".repeat(60) } });
            let reply = server.tell("PUT", &format!("/api/v1/{name}"), &[], state).await;
            assert!(matches!(reply.status, 200 | 201), "{reply:?}");
        }
    }
}

/// A server with two games of six versions, each also stored whole.
async fn filled() -> Process {
    let mut server = Process::start(&FLAGS);
    fill(&server).await;
    assert!(server.terminate().success());
    server.start_again();
    server
}

/// The next verdict on the games that is `status`.
async fn until(follower: &mut Follower, status: &str) -> Value {
    let end = Instant::now() + Duration::from_secs(15);
    loop {
        let update = update_of(follower, GAMES).await;
        if update["status"] == status {
            return update;
        }
        assert!(Instant::now() < end, "never {status}: {update}");
    }
}

#[tokio::test]
async fn whatever_is_changed_behind_our_back_is_told_within_one_interval_named_and_mended() {
    for (what, sql, version, source) in [
        (
            "a state and an event",
            "UPDATE snapshots SET state = replace(state, '646', '999') WHERE document = 1;
             DELETE FROM events WHERE document = 1 AND version = 3",
            3,
            "disk",
        ),
        (
            "a body",
            "UPDATE events SET body = replace(body, '643', '999') WHERE document = 1 AND version = 3",
            3,
            "memory",
        ),
        ("the newest event", "DELETE FROM events WHERE document = 1 AND version = 6", 6, "memory"),
        (
            "an event more",
            "INSERT INTO events SELECT 1000, document, 7, at, hash, 0, body FROM events
             WHERE document = 1 AND version = 6",
            7,
            "memory",
        ),
        ("a document", "DELETE FROM documents WHERE key = 1", 6, "memory"),
    ] {
        let server = filled().await;
        let (_, read) = server.get("/api/v1/games/a").await;
        let mut follower = follow(&server, None).await;
        while until(&mut follower, "verified").await["counts"] != json!({ "documents": 2, "changes": 12 }) {}
        tamper(&server, sql);
        // The first that is compared after it, or the one after that if one was under way.
        let mut update = update_of(&mut follower, GAMES).await;
        if update["status"] == "verified" {
            update = update_of(&mut follower, GAMES).await;
        }
        assert_eq!(update["status"], "discrepancy", "{what}: {update}");
        assert_eq!(update["documents"][0]["document"], "games/a", "{what}: {update}");
        assert_eq!(update["documents"][0]["version"], version, "{what}: {update}");
        assert_ne!(
            update["discrepancyDetails"]["expected"], update["discrepancyDetails"]["actual"],
            "{what}: {update}"
        );

        let body = json!({ "document": "games/a", "source": source });
        let repaired = server.tell("POST", "/reconciliation/repair", &[], body.clone()).await.expect(200).body;
        assert_eq!((&repaired["status"], &repaired["source"]), (&json!("verified"), &json!(source)), "{repaired}");
        until(&mut follower, "verified").await;
        let (_, audit) = server.get("/reconciliation/audit?limit=500").await;
        let rows = audit["items"].as_array().unwrap();
        let repair = rows.iter().find(|row| row["action"] == "repair").unwrap();
        assert_eq!(repair["documents"][0]["document"], "games/a", "{what}: {repair}");
        server.tell("POST", "/reconciliation/repair", &[], body).await.problem(409, "not-different");

        let (_, after) = server.get("/api/v1/games/a").await;
        assert_eq!(after["version"], repaired["version"], "{what}");
        if source == "disk" {
            assert_eq!(after["state"]["pot"], 999, "{what}");
        } else {
            assert_eq!(after["state"], read["state"], "{what}");
        }
        // All of it is on disk: after a start nothing is known but what is there.
        let mut server = server;
        server.kill();
        server.start_again();
        let run = server.tell("POST", "/reconciliation/run", &[], json!({ "service": GAMES })).await.expect(200);
        assert_eq!(run.body["items"][0]["status"], "verified", "{what}: {}", run.text);
        assert_eq!(server.get("/api/v1/games/a").await.1["state"], after["state"], "{what}");
        assert_eq!(server.get("/api/v1/games/b").await.1["version"], 6, "{what}");
    }
}

#[tokio::test]
async fn a_snapshot_that_is_damaged_alone_is_told_and_written_anew_by_itself() {
    let server = filled().await;
    let (_, read) = server.get("/api/v1/games/a").await;
    let mut follower = follow(&server, None).await;
    until(&mut follower, "verified").await;
    tamper(&server, "UPDATE snapshots SET state = replace(state, '646', '999') WHERE document = 1");
    let told = until(&mut follower, "discrepancy").await;
    assert_eq!((&told["documents"][0]["document"], &told["documents"][0]["version"]), (&json!("games/a"), &json!(6)));
    let mended = until(&mut follower, "verified").await;
    assert_eq!(
        (&mended["action"], &mended["documents"][0]["document"]),
        (&json!("repair"), &json!("games/a")),
        "{mended}"
    );
    let (_, after) = server.get("/api/v1/games/a").await;
    assert_eq!((&after["hash"], &after["state"]), (&read["hash"], &read["state"]), "no event was needed for it");
    let body = json!({ "document": "games/a", "source": "memory" });
    server.tell("POST", "/reconciliation/repair", &[], body).await.problem(409, "not-different");
}

/// The verdict in force of a collection, once it is `status`.
async fn in_force_as(server: &Process, service: &str, status: &str) -> Value {
    super::until(server, service, |found| found["status"] == status).await
}

#[tokio::test]
async fn of_a_collection_that_is_gone_no_difference_stays_in_force() {
    let server = filled().await;
    // What was there before is not known to be somebody else's.
    server.tell("POST", "/reconciliation/run", &[], json!({})).await.expect(200);
    let row = "INSERT INTO documents SELECT 900, 'strange', 'x', host, access, created_at, 0, 0, 0, base_hash,
               NULL FROM documents WHERE key = 1";
    for mended in [true, false] {
        tamper(&server, row);
        let found = in_force_as(&server, "documents/strange", "discrepancy").await;
        assert_eq!(found["documents"][0]["document"], "strange/x", "{found}");
        if mended {
            let body = json!({ "document": "strange/x", "source": "memory" });
            let repaired = server.tell("POST", "/reconciliation/repair", &[], body).await.expect(200).body;
            assert_eq!((&repaired["service"], &repaired["status"]), (&json!("documents/strange"), &json!("verified")));
            let rows = audit(&server, "service=documents/strange&limit=500").await;
            assert!(rows.iter().any(|row| row["action"] == "repair" && row["status"] == "verified"), "{rows:?}");
        } else {
            tamper(&server, "DELETE FROM documents WHERE key = 900");
        }
        let found = in_force_as(&server, "documents/strange", "verified").await;
        assert_eq!(found["counts"], json!({ "documents": 0, "changes": 0 }), "{found}");
    }
}

#[tokio::test]
async fn a_bit_that_flips_in_the_file_is_found_by_the_scrub() {
    let mut server = filled().await;
    assert!(server.terminate().success());
    server.start_again_with(&["--reconciliation-seconds", "3600", "--reconciliation-scrub-kib", "4096"]);
    let mut follower = follow(&server, None).await;
    until(&mut follower, "verified").await;
    let (whole, mark) = (std::fs::read(file(&server)).unwrap(), br#"{"pot":646,"#);
    let writing = std::fs::OpenOptions::new().write(true).open(file(&server)).unwrap();
    for (at, _) in whole.windows(mark.len()).enumerate().filter(|(_, window)| window == mark) {
        let at = at + mark.len() - 2;
        writing.write_all_at(&[whole[at] ^ 1], u64::try_from(at).unwrap()).unwrap();
    }
    let update = until(&mut follower, "discrepancy").await;
    assert_eq!((&update["action"], &update["documents"][0]["version"]), (&json!("scrub"), &json!(6)), "{update}");
    assert_eq!(update["compared"], json!(["changes", "rows", "states"]));
}

#[tokio::test]
async fn a_change_of_access_after_a_comparison_is_no_difference_to_the_scrub() {
    // Compared only when asked to, so that the access always changes between a comparison and the scrub.
    let server = Process::start(&["--reconciliation-seconds", "3600", "--reconciliation-scrub-kib", "1048576"]);
    fill(&server).await;
    let run = server.tell("POST", "/reconciliation/run", &[], json!({})).await.expect(200);
    assert!(run.body["items"].as_array().unwrap().iter().all(|item| item["status"] == "verified"), "{}", run.text);
    let mut follower = follow(&server, None).await;
    for read in ["host", "all", "host"] {
        let access = json!({ "read": read });
        server.tell("PUT", "/api/v1/games/a/access", &[], access).await.expect(200);
    }
    // That this is found says that the scrub has read what comes before it too.
    tamper(&server, "UPDATE events SET body = replace(body, '643', '999') WHERE document = 2 AND version = 3");
    let found = until(&mut follower, "discrepancy").await;
    assert_eq!(found["action"], "scrub", "{found}");
    let documents = found["documents"].as_array().unwrap();
    assert!(documents.iter().all(|difference| difference["document"] == "games/b"), "{found}");
}

#[tokio::test]
async fn the_names_of_documents_that_differ_are_for_administrators() {
    let server = Process::start(&["--reconciliation-seconds", "3600", "--reconciliation-scrub-kib", "0"]);
    fill(&server).await;
    let secret = json!({ "read": ["carol"] });
    server.tell("PUT", "/api/v1/games/a/access", &[], secret).await.expect(200);
    let mut player = Follower::connect(&format!("{}{STREAM}", server.url), Some("alice"), None).await.unwrap();
    server.tell("POST", "/reconciliation/run", &[], json!({})).await.expect(200);
    tamper(&server, "DELETE FROM events WHERE document = 1 AND version = 7");
    let run = server.tell("POST", "/reconciliation/run", &[], json!({ "service": GAMES })).await.expect(200);
    let whole = run.body["items"][0].clone();
    assert_eq!(whole["documents"][0]["document"], "games/a", "{whole}");
    assert_eq!(whole["discrepancyDetails"]["missingJobIds"], json!(["games/a@7"]), "{whole}");
    let mut limited = whole.clone();
    limited["documents"] = json!([]);
    limited["discrepancyDetails"]["missingJobIds"] = json!([]);

    let of_games = |items: Value| {
        let items = items["items"].as_array().unwrap().clone();
        items.into_iter().find(|item| item["service"] == GAMES && item["status"] == "discrepancy").unwrap()
    };
    for path in ["/reconciliation/status", "/reconciliation/audit"] {
        assert_eq!(of_games(server.get(path).await.1), whole, "{path}");
        assert_eq!(of_games(server.get_as("alice", path).await.1), limited, "{path}");
    }
    assert_eq!(until(&mut player, "discrepancy").await, limited, "as it is found");
    let mut late = Follower::connect(&format!("{}{STREAM}", server.url), Some("alice"), None).await.unwrap();
    assert_eq!(until(&mut late, "discrepancy").await, limited, "what is in force");
    assert_eq!(until(&mut follow(&server, None).await, "discrepancy").await, whole, "to the administrator");
}

#[tokio::test]
async fn a_verdict_says_what_was_compared_and_since_when_everything_was() {
    let mut server = filled().await;
    let verdict = async |server: &Process, body: Value| {
        let ran = server.tell("POST", "/reconciliation/run", &[], body).await.expect(200).body;
        let games = ran["items"].as_array().unwrap().iter().find(|verdict| verdict["service"] == GAMES).cloned();
        games.unwrap()
    };
    let told = verdict(&server, json!({})).await;
    assert_eq!((&told["status"], &told["compared"]), (&json!("verified"), &json!(["changes"])), "{told}");
    assert_eq!(told["allSince"], Value::Null, "without the scrub not everything is ever compared");
    let told = verdict(&server, json!({ "service": GAMES })).await;
    assert_eq!((&told["compared"], &told["allSince"]), (&json!(["changes", "rows"]), &Value::Null), "{told}");

    assert!(server.terminate().success());
    server.start_again_with(&["--reconciliation-seconds", "1", "--reconciliation-scrub-kib", "65536"]);
    let mut follower = follow(&server, None).await;
    let told = loop {
        let update = until(&mut follower, "verified").await;
        if !update["allSince"].is_null() {
            break update;
        }
    };
    assert!(told["allSince"].as_str() <= told["at"].as_str(), "{told}");
    let kept = server.get(&format!("/reconciliation/audit?service={GAMES}")).await.1;
    assert_eq!(kept["items"][0]["compared"], json!(["changes"]), "{kept}");
    assert!(kept["items"][0]["allSince"].is_string(), "{kept}");
}

#[tokio::test]
async fn what_is_asked_wrongly_is_refused() {
    let server = Process::start(&FLAGS);
    fill(&server).await;
    for (body, field) in [
        (json!({ "document": "games", "source": "memory" }), "document"),
        (json!({ "document": "games/a", "source": "both" }), "source"),
    ] {
        let problem = server.tell("POST", "/reconciliation/repair", &[], body).await.problem(400, "invalid-request");
        assert_eq!(problem["errors"][0]["field"], field, "{problem}");
    }
    let body = json!({ "document": "games/a", "source": "memory" });
    let (status, refusal) = server.post_as("ann", "/reconciliation/repair", &body).await;
    assert_eq!((status, &refusal["type"]), (403, &json!("/problems/forbidden")));
    server.tell("POST", "/reconciliation/repair", &[], body).await.problem(409, "not-different");
    let run = json!({ "service": "documents/none" });
    server.tell("POST", "/reconciliation/run", &[], run).await.problem(404, "not-found");
}

/// Killed over and over while it compares, scrubs and writes: nothing is found different afterwards, and nothing is
/// lost.
#[tokio::test]
async fn a_kill_in_the_middle_of_a_comparison_leaves_nothing_behind() {
    let flags = ["--reconciliation-seconds", "1", "--reconciliation-scrub-kib", "65536"];
    let mut server = Process::start(&flags);
    let mut version = 0;
    for turn in 0..6 {
        let client = server.client.clone();
        let runs = (0..4).map(|_| {
            let (client, url) = (client.clone(), format!("{}/reconciliation/run", server.url));
            tokio::spawn(async move {
                // Until the server is gone.
                let run = json!({ "service": GAMES });
                while client.post(&url).json(&run).send().await.is_ok_and(|answer| answer.status() != 500) {}
            })
        });
        let runs: Vec<_> = runs.collect();
        for _ in 0..10 + turn * 3 {
            let state = json!({ "state": { "turn": turn, "version": version } });
            let reply = server.tell("PUT", "/api/v1/games/a", &[], state).await;
            assert!(matches!(reply.status, 200 | 201), "{reply:?}");
            version = reply.body["version"].as_u64().unwrap();
        }
        server.kill();
        for run in runs {
            run.await.unwrap();
        }
        server.start_again();
        assert_eq!(server.get("/api/v1/games/a").await.1["version"], version);
        let run = server.tell("POST", "/reconciliation/run", &[], json!({})).await.expect(200).body;
        for item in run["items"].as_array().unwrap() {
            assert_eq!(item["status"], "verified", "{item}");
        }
    }
    let (_, audit) = server.get("/reconciliation/audit?status=discrepancy").await;
    assert_eq!(audit["items"], json!([]));
}
