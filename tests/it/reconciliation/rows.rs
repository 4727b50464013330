//! What no chain covers: the state of a trimmed document, and the rows of features. Each is edited with `sqlite3` in
//! hand, with all checksums that anybody can compute made right.

use data_encoding::HEXLOWER;
use rusqlite::Connection;
use sha2::{Digest, Sha256};

use super::*;
use crate::support::process::operate;

/// Compared every second, scrubbed not at all: what is found, the comparison finds.
const FLAGS: [&str; 6] = ["--reconciliation-seconds", "1", "--reconciliation-scrub-kib", "0", "--history-events", "2"];

fn tamper(server: &Process, sql: &str) {
    let conn = Connection::open(server.data_dir().join("rejoin.db")).unwrap();
    conn.pragma_update(None, "foreign_keys", false).unwrap();
    conn.execute_batch(sql).unwrap();
    assert!(conn.total_changes() > 0, "{sql}");
}

/// Changes the states of all snapshots of `games/a`, each with its checksum.
fn change_states(server: &Process) {
    type Row = (i64, i64, String, String, String);
    let conn = Connection::open(server.data_dir().join("rejoin.db")).unwrap();
    let sql = "SELECT version, seq, hash, at, state FROM snapshots WHERE document = 1";
    let read = |row: &rusqlite::Row<'_>| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?, row.get(4)?));
    let rows: Vec<Row> = conn.prepare(sql).unwrap().query_map([], read).unwrap().map(Result::unwrap).collect();
    assert!(!rows.is_empty());
    for (version, seq, hash, at, state) in rows {
        let state = state.replace("pot", "pit");
        let facts = Sha256::new()
            .chain_update(HEXLOWER.decode(hash.as_bytes()).unwrap())
            .chain_update(format!("{version} {seq} {at} state"))
            .finalize();
        let checksum = HEXLOWER.encode(&Sha256::new().chain_update(facts).chain_update(&state).finalize());
        let sql = "UPDATE snapshots SET state = ?1, checksum = ?2 WHERE document = 1 AND version = ?3";
        assert_eq!(conn.execute(sql, (state, checksum, version)).unwrap(), 1);
    }
}

/// `games/a` at version 6, of which the last two events are kept, and bob on a seat with a token; in no memory.
async fn cold() -> (Process, String) {
    let mut server = Process::start(&FLAGS);
    for round in 1..=6 {
        let state = json!({ "state": { "round": round, "pot": 640 } });
        let reply = server.tell("PUT", "/api/v1/games/a", &[], state).await;
        assert!(matches!(reply.status, 200 | 201), "{reply:?}");
    }
    assert_eq!(server.post_as("bob", "/api/v1/games/a/seats", &json!({ "playerId": "bob" })).await.0, 201);
    let (_, token) = server.get_as("bob", "/api/game/a/connection-token?playerId=bob").await;
    assert!(server.terminate().success());
    server.start_again();
    // Somebody else's writes are noticed from the first comparison on.
    server.tell("POST", "/reconciliation/run", &[], json!({})).await.expect(200);
    (server, token["token"].as_str().unwrap().to_owned())
}

async fn in_force_as(server: &Process, service: &str, status: &str) -> Value {
    until(server, service, |found| found["status"] == status).await
}

#[tokio::test]
async fn a_state_of_a_trimmed_document_that_is_changed_with_its_checksum_is_not_served_and_told() {
    for running in [true, false] {
        let (mut server, _) = cold().await;
        if running {
            in_force_as(&server, "documents/games", "verified").await;
            change_states(&server);
        } else {
            assert!(server.terminate().success());
            change_states(&server);
            server.start_again();
        }
        let problem = server.ask("GET", "/api/v1/games/a", &[]).await.problem(500, "damaged-document");
        assert!(!problem.to_string().contains("pit"), "{problem}");
        server.ask("GET", "/api/v1/games/a?version=5", &[]).await.problem(500, "damaged-document");
        if running {
            let found = in_force_as(&server, "documents/games", "discrepancy").await;
            assert_eq!(found["documents"][0]["document"], "games/a", "{found}");
        }
        let run = json!({ "service": "documents/games" });
        let run = server.tell("POST", "/reconciliation/run", &[], run).await.expect(200).body;
        assert_eq!(
            (&run["items"][0]["status"], &run["items"][0]["documents"][0]["document"]),
            (&json!("discrepancy"), &json!("games/a")),
            "{run}"
        );
        let (code, said) = operate("verify", &[], &server.data_dir());
        assert!(code == 14 && said.contains("games/a: damaged at version"), "{said}");
    }
}

/// What is done to a row, its table, the row's name, what is then refused.
type Edit = (&'static str, &'static str, &'static str, &'static str, &'static str);

const EDITS: [Edit; 4] = [
    ("UPDATE seats SET identity = 'eve'", "seats", "seats/games/a/bob", "GET", "/api/v1/games/a/seats"),
    (
        "INSERT INTO seats (document, player, seat, identity, joined_at)
         SELECT document, 'eve', 5, 'eve', joined_at FROM seats",
        "seats",
        "seats/games/a/eve",
        "GET",
        "/api/v1/games/a/seats",
    ),
    (
        "UPDATE games SET status = 'completed', completed_at = '2020-01-01T00:00:00.000Z'",
        "games",
        "games/games/a",
        "POST",
        "/api/v1/games/a/complete",
    ),
    ("UPDATE games SET mac = NULL", "games", "games/games/a", "POST", "/api/v1/games/a/complete"),
];

#[tokio::test]
async fn a_row_that_somebody_else_wrote_is_told_within_one_interval_and_not_used_until_an_administrator_takes_it() {
    for (sql, table, row, method, refused) in EDITS {
        let (mut server, _) = cold().await;
        let service = format!("tables/{table}");
        let before = in_force_as(&server, &service, "verified").await;
        assert_eq!(before["compared"], json!(["macs"]), "{before}");
        tamper(&server, sql);
        let found = in_force_as(&server, &service, "discrepancy").await;
        assert_eq!(found["documents"].as_array().unwrap().len(), 1, "{sql}: {found}");
        assert_eq!(found["documents"][0]["document"], row, "{sql}: {found}");
        assert_eq!(found["discrepancyDetails"]["actual"]["different"], 1, "{sql}: {found}");
        assert!(server.log().contains(&format!("the row {row} in the database differs")), "{sql}");
        let (_, seen) = server.get_as("bob", "/reconciliation/status").await;
        let of_bob = seen["items"].as_array().unwrap().iter().find(|item| item["service"] == service).unwrap();
        assert_eq!((&of_bob["status"], &of_bob["documents"]), (&json!("discrepancy"), &json!([])), "{of_bob}");

        let problem = server.ask(method, refused, &[]).await.problem(500, "changed-row");
        assert_eq!(problem["row"], row, "{sql}: {problem}");
        server.ask("GET", "/api/v1/games/a", &[]).await.expect(200);
        let (code, said) = operate("verify", &[], &server.data_dir());
        assert!(code == 14 && said.contains(&format!("the row {row} is not as a server wrote it")), "{said}");
        // It stays so over a start.
        assert!(server.terminate().success());
        server.start_again();
        server.ask(method, refused, &[]).await.problem(500, "changed-row");
        in_force_as(&server, &service, "discrepancy").await;

        let repair = async |body: Value| server.tell("POST", "/reconciliation/repair", &[], body).await;
        repair(json!({ "row": row, "source": "memory" })).await.problem(409, "not-in-memory");
        let (status, _) =
            server.post_as("bob", "/reconciliation/repair", &json!({ "row": row, "source": "disk" })).await;
        assert_eq!(status, 403);
        let repaired = repair(json!({ "row": row, "source": "disk" })).await.expect(200).body;
        assert_eq!((&repaired["status"], &repaired["row"]), (&json!("verified"), &json!(row)), "{repaired}");
        in_force_as(&server, &service, "verified").await;
        let rows = audit(&server, &format!("service={service}&limit=500")).await;
        assert!(rows.iter().any(|entry| entry["action"] == "repair" && entry["documents"][0]["document"] == row));
        repair(json!({ "row": row, "source": "disk" })).await.problem(409, "not-different");
        server.ask(method, refused, &[]).await.expect(200);
        let (code, said) = operate("verify", &[], &server.data_dir());
        assert_eq!(code, 0, "{said}");
    }
}

/// What is done to tables that say who may do how much, what was done, and what was answered; the row's name, and how
/// it is repaired.
const OTHER_EDITS: [(&str, &str, &str); 9] = [
    ("UPDATE jobs SET covered = '2020-01-01T00:00:00.000Z' WHERE name = 'backup'", "jobs/backup", "disk"),
    (
        "INSERT INTO job_runs (id, job, cause, dry_run, started_at)
         VALUES (1000, 'backup', 'request', 0, '2020-01-01T00:00:00.000Z')",
        "job_runs/1000",
        "neither",
    ),
    (
        "INSERT INTO subscriptions (user_id, plan, status, period_start, period_end)
         VALUES ('eve', 'gold', 'active', '2026-01-01T00:00:00.000Z', '2096-01-01T00:00:00.000Z')",
        "subscriptions/eve",
        "neither",
    ),
    (
        "INSERT INTO usage_counters (user_id, parties, encounters, creatures, since)
         VALUES ('eve', 0, 0, 0, '2096-01-01T00:00:00.000Z')",
        "usage_counters/eve",
        "neither",
    ),
    (
        "INSERT INTO rate_limit_users (user, capacity, refill, window_seconds, created_at, updated_at)
         VALUES ('eve', 9, 9, 9, '2026-01-01T00:00:00.000Z', '2026-01-01T00:00:00.000Z')",
        "rate_limit_users/eve",
        "neither",
    ),
    (
        "INSERT INTO game_removals (document, version, hash, why, at)
         VALUES ('games/x', 3, 'x', 'completed', '2096-01-01T00:00:00.000Z')",
        "game_removals/games/x/3",
        "neither",
    ),
    (
        "INSERT INTO client_errors (fingerprint, message, reported_by, count, first_seen, last_seen, place)
         VALUES ('f', 'm', 'eve', 1, '2026-01-01T00:00:00.000Z', '2026-01-01T00:00:00.000Z', 1)",
        "client_errors/f",
        "neither",
    ),
    (
        "INSERT INTO conflicts (number, document, path, rule, version, made_by, at)
         SELECT 7, key, '/round', 'manual', 1, 'eve', created_at FROM documents WHERE id = 'a'",
        "conflicts/7",
        "neither",
    ),
    ("UPDATE reconciliation_audit SET count = 100 WHERE seq = 1", "reconciliation_audit/1", "disk"),
];

#[tokio::test]
async fn rows_of_jobs_limits_usage_and_records_are_told_and_repaired_as_an_administrator_says() {
    let (server, _) = cold().await;
    in_force_as(&server, "tables/reconciliation_audit", "verified").await;
    let edits: Vec<&str> = OTHER_EDITS.iter().map(|(sql, ..)| *sql).collect();
    tamper(&server, &edits.join(";"));
    let run = server.tell("POST", "/reconciliation/run", &[], json!({})).await.expect(200).body;
    let (code, said) = operate("verify", &[], &server.data_dir());
    assert_eq!(code, 14, "{said}");
    for (sql, row, source) in OTHER_EDITS {
        let service = format!("tables/{}", row.split('/').next().unwrap());
        let found = run["items"].as_array().unwrap().iter().find(|item| item["service"] == service);
        let found = found.unwrap_or_else(|| panic!("{sql}: {run}"));
        assert_eq!(
            (&found["status"], &found["documents"][0]["document"]),
            (&json!("discrepancy"), &json!(row)),
            "{sql}"
        );
        assert!(said.contains(&format!("the row {row} is not as a server wrote it")), "{sql}: {said}");
        let repair = json!({ "row": row, "source": source });
        let repaired = server.tell("POST", "/reconciliation/repair", &[], repair).await.expect(200).body;
        assert_eq!(repaired["status"], "verified", "{sql}: {repaired}");
        in_force_as(&server, &service, "verified").await;
    }
    let (code, said) = operate("verify", &[], &server.data_dir());
    assert_eq!(code, 0, "{said}");
    let stored = Connection::open(server.data_dir().join("rejoin.db")).unwrap();
    let count = |sql: &str| stored.query_row(sql, [], |row| row.get::<_, i64>(0)).unwrap();
    assert_eq!(count("SELECT count(*) FROM subscriptions"), 0);
    assert_eq!(count("SELECT count(*) FROM jobs WHERE covered < '2021'"), 1, "it was taken as it is");
}

#[tokio::test]
async fn a_row_that_somebody_inserted_is_removed_when_an_administrator_says_that_neither_side_is_right() {
    let (server, _) = cold().await;
    in_force_as(&server, "tables/games", "verified").await;
    tamper(&server, EDITS[1].0);
    tamper(&server, "UPDATE games SET mac = NULL");
    in_force_as(&server, "tables/seats", "discrepancy").await;
    let repair = async |body: Value| server.tell("POST", "/reconciliation/repair", &[], body).await;
    let seats = || async { server.ask("GET", "/api/v1/games/a/seats", &[]).await };
    seats().await.problem(500, "changed-row");
    // The seats refer to it.
    repair(json!({ "row": "games/games/a", "source": "neither" })).await.problem(409, "row-in-use");
    let repaired = repair(json!({ "row": "seats/games/a/eve", "source": "neither" })).await.expect(200).body;
    assert_eq!(
        (&repaired["source"], &repaired["done"], &repaired["status"]),
        (&json!("neither"), &json!("the row is removed"), &json!("verified")),
        "{repaired}"
    );
    repair(json!({ "row": "games/games/a", "source": "disk" })).await.expect(200);
    let left = seats().await.expect(200).body;
    assert_eq!((left["items"].as_array().unwrap().len(), &left["items"][0]["playerId"]), (1, &json!("bob")), "{left}");
    for body in [
        json!({ "row": "seats/games/a/bob", "source": "both" }),
        json!({ "row": "seats/games/a/bob", "document": "games/a", "source": "disk" }),
        json!({ "source": "disk" }),
        json!({ "document": "games/a", "source": "neither" }),
    ] {
        repair(body).await.problem(400, "invalid-request");
    }
    // Memory knows sessions and is right.
    let reply = server.tell("POST", "/api/v1/sessions", &[], json!({ "user": "ann" })).await.expect(201);
    let row = format!("sessions/{}", reply.body["id"].as_str().unwrap());
    repair(json!({ "row": row, "source": "memory" })).await.problem(409, "not-different");
}

#[tokio::test]
async fn a_document_that_was_given_to_somebody_else_is_not_served_until_an_administrator_takes_it() {
    let (mut server, _) = cold().await;
    in_force_as(&server, "documents/games", "verified").await;
    tamper(&server, "UPDATE documents SET host = 'eve' WHERE id = 'a'");
    let problem = server.ask("GET", "/api/v1/games/a", &[]).await.problem(500, "damaged-document");
    assert_eq!(problem["document"], "games/a", "{problem}");
    assert_eq!(server.get_as("eve", "/api/v1/games/a").await.0, 500);
    let (status, _) = server.post_as("eve", "/api/v1/games/a/actions", &json!({ "type": "x" })).await;
    assert_eq!(status, 500);
    let found = in_force_as(&server, "documents/games", "discrepancy").await;
    assert_eq!(found["documents"][0]["document"], "games/a", "{found}");
    let (code, said) = operate("verify", &[], &server.data_dir());
    assert!(code == 14 && said.contains("its row is not as this server wrote it"), "{said}");
    // As it was it is good again; as somebody else has it, once it is taken.
    tamper(&server, "UPDATE documents SET host = NULL WHERE id = 'a'");
    in_force_as(&server, "documents/games", "verified").await;
    assert!(server.terminate().success());
    server.start_again();
    assert_eq!(server.get("/api/v1/games/a").await.1["state"]["round"], 6);
    assert!(server.terminate().success());
    tamper(&server, "UPDATE documents SET host = 'ann' WHERE id = 'a'");
    server.start_again();
    let run = json!({ "service": "documents/games" });
    let run = server.tell("POST", "/reconciliation/run", &[], run).await.expect(200).body;
    assert_eq!(run["items"][0]["status"], "discrepancy", "{run}");
    let repair = json!({ "document": "games/a", "source": "disk" });
    server.tell("POST", "/reconciliation/repair", &[], repair).await.expect(200);
    assert_eq!(server.get_as("ann", "/api/v1/games/a").await.1["state"]["round"], 6);
    in_force_as(&server, "documents/games", "verified").await;
    let (code, said) = operate("verify", &[], &server.data_dir());
    assert_eq!(code, 0, "{said}");
}

#[tokio::test]
async fn a_token_whose_row_was_given_to_somebody_else_takes_no_seat() {
    let (server, token) = cold().await;
    tamper(&server, "UPDATE reconnect_tokens SET identity = 'eve'");
    let body = json!({ "gameId": "a", "playerId": "bob", "reconnectToken": token });
    let (status, problem) = server.post_as("eve", "/api/game/a/reconnect", &body).await;
    assert_eq!((status, &problem["type"]), (500, &json!("/problems/changed-row")), "{problem}");
    let found = in_force_as(&server, "tables/reconnect_tokens", "discrepancy").await;
    assert!(!found.to_string().contains(&token), "{found}");
}

#[tokio::test]
async fn an_answer_that_somebody_changed_is_not_given_again_and_the_request_is_told() {
    let server = Process::start(&FLAGS);
    let key = [("Idempotency-Key", "k1")];
    let send = async || server.tell("POST", "/api/v1/games", &key, json!({ "id": "g1", "state": {} })).await;
    send().await.expect(201);
    send().await.expect(201);
    in_force_as(&server, "tables/idempotency_keys", "verified").await;
    tamper(&server, "UPDATE idempotency_keys SET answer = replace(answer, 'g1', 'g2')");
    let problem = send().await.problem(500, "changed-row");
    assert_eq!(problem["row"], "idempotency_keys/@owner/k1", "{problem}");
    let found = in_force_as(&server, "tables/idempotency_keys", "discrepancy").await;
    assert_eq!(found["documents"][0]["document"], "idempotency_keys/@owner/k1", "{found}");
    assert!(!found.to_string().contains("g2"), "the answer is not told: {found}");
    assert_eq!(server.get("/api/v1/games/g1").await.1["version"], 1, "nothing is done twice");
}

#[tokio::test]
async fn sessions_on_disk_are_as_memory_has_them_and_an_inserted_one_lets_nobody_in() {
    let mut server = Process::start(&FLAGS);
    let open = async |user: &str| {
        let reply = server.tell("POST", "/api/v1/sessions", &[], json!({ "user": user })).await.expect(201);
        (reply.body["id"].as_str().unwrap().to_owned(), reply.body["token"].as_str().unwrap().to_owned())
    };
    let (id, token) = open("ann").await;
    let (gone, gone_token) = open("gus").await;
    let me = async |server: &Process, token: &str| {
        let bearer = format!("Bearer {token}");
        let reply = server.ask("GET", "/api/v1/me", &[("Authorization", &bearer)]).await;
        (reply.status, reply.body["user"].clone())
    };
    // One that ended: its row comes back as it was, with its MAC.
    let keep_aside = "CREATE TABLE aside AS SELECT * FROM sessions WHERE 0;
                      INSERT INTO aside SELECT * FROM sessions WHERE user = 'gus'";
    tamper(&server, keep_aside);
    let bearer = format!("Bearer {gone_token}");
    server.ask("DELETE", "/api/v1/sessions/current", &[("Authorization", &bearer)]).await.expect(204);
    let all = in_force_as(&server, "tables/sessions", "verified").await;
    assert_eq!(all["compared"], json!(["macs", "memory"]), "{all}");

    let hash = HEXLOWER.encode(&Sha256::digest("rejoin_session_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"));
    let insert = format!(
        "INSERT INTO sessions SELECT 'inserted', '{hash}', NULL, 0, device_name, device_kind, device_os, user_agent,
         address, current_phase, created_at, renewed_at, last_seen_at, opened_by, mac FROM sessions WHERE id = '{id}'"
    );
    let inserted = "rejoin_session_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
    let edits = [
        (insert.clone(), "sessions/inserted".to_owned()),
        (format!("UPDATE sessions SET user = 'eve' WHERE id = '{id}'"), format!("sessions/{id}")),
        (format!("DELETE FROM sessions WHERE id = '{id}'"), format!("sessions/{id}")),
        ("INSERT INTO sessions SELECT * FROM aside".to_owned(), format!("sessions/{gone}")),
    ];
    for (sql, row) in &edits {
        let mut follower = follow(&server, None).await;
        tamper(&server, sql);
        assert_eq!(me(&server, inserted).await.0, 401, "{sql}");
        let found = loop {
            let update = update_of(&mut follower, "tables/sessions").await;
            if update["status"] == "discrepancy" {
                break update;
            }
        };
        assert_eq!(found["documents"][0]["document"], *row, "{sql}: {found}");
        assert!(!found.to_string().contains(&hash), "{found}");
        let mended = update_of(&mut follower, "tables/sessions").await;
        assert_eq!((&mended["status"], &mended["action"]), (&json!("verified"), &json!("repair")), "{sql}: {mended}");
        assert_eq!(me(&server, &token).await, (200, json!("ann")), "{sql}");
        let stored = Connection::open(server.data_dir().join("rejoin.db")).unwrap();
        let rows: (i64, String) = stored
            .query_row("SELECT count(*), max(user) FROM sessions", [], |row| Ok((row.get(0)?, row.get(1)?)))
            .unwrap();
        assert_eq!(rows, (1, "ann".to_owned()), "{sql}");
    }
    // While no server runs.
    assert!(server.terminate().success());
    tamper(&server, &insert);
    tamper(&server, &format!("UPDATE sessions SET user = 'eve' WHERE id = '{id}'"));
    server.start_again();
    assert_eq!(me(&server, inserted).await.0, 401);
    assert_eq!(me(&server, &token).await.0, 401, "whose it is cannot be told any more");
    assert_eq!(me(&server, &gone_token).await.0, 401);
    let wanted = |rows: &[Value]| {
        let named = |row: &Value, name: &str| row["documents"].to_string().contains(name);
        let told = |name: &str| rows.iter().any(|row| row["status"] == "discrepancy" && named(row, name));
        told("sessions/inserted") && told(&format!("sessions/{id}"))
    };
    let end = Instant::now() + Duration::from_secs(20);
    while !wanted(&audit(&server, "service=tables/sessions&limit=500").await) {
        assert!(Instant::now() < end);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    until(&server, "tables/sessions", |found| found["counts"]["rows"] == 0).await;
}

#[tokio::test]
async fn without_its_key_a_database_is_taken_as_it_is_which_is_said() {
    let (mut server, _) = cold().await;
    let key = server.data_dir().join("rejoin.integrity-key");
    assert!(server.get("/readyz").await.1["storage"].get("warning").is_none());
    assert!(server.terminate().success());
    std::fs::remove_file(&key).unwrap();
    let (code, said) = operate("verify", &[], &server.data_dir());
    assert!(code == 0 && said.contains("rejoin.integrity-key, is not there"), "{said}");
    tamper(&server, "UPDATE seats SET identity = 'eve'");
    server.start_again();
    let ready = server.get("/readyz").await.1;
    assert!(ready["storage"]["warning"].as_str().unwrap().contains("rejoin.integrity-key"), "{ready}");
    assert!(server.log().contains("are not told from others"));
    server.ask("GET", "/api/v1/games/a", &[]).await.expect(200);
    server.ask("GET", "/api/v1/games/a/seats", &[]).await.expect(200);
    in_force_as(&server, "tables/seats", "verified").await;
    assert!(server.terminate().success());
    server.start_again();
    assert!(server.get("/readyz").await.1["storage"].get("warning").is_none(), "it is said once");

    // Removed while it runs, it is written anew.
    let bytes = std::fs::read(&key).unwrap();
    std::fs::remove_file(&key).unwrap();
    let end = Instant::now() + Duration::from_secs(20);
    while !key.exists() {
        assert!(Instant::now() < end);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(std::fs::read(&key).unwrap(), bytes);
}
