//! Games that live in memory only are played as any other, for as long as the server runs; nothing of it is on disk.

use futures_util::future::join_all;
use serde_json::{Value, json};

use super::{ask_token, body, join, keyed, next, open_game, reconnect, token};
use crate::support::{AS, Disk, Follower, Process};

const OFF: (&str, &str) = ("REJOIN_FF_GAMES_PERSISTENCE", "false");
const SEATS: &str = "/api/v1/games/g1/seats";

async fn start() -> Process {
    let server = Process::start_with(&[], &[OFF]);
    open_game(&server).await;
    assert_eq!(server.get("/api/v1/games/g1").await.1["persistent"], false);
    server
}

#[tokio::test]
async fn a_player_takes_a_seat_comes_back_and_the_game_ends() {
    let server = start().await;
    join(&server, "carol", "carol", Some(0)).await.problem(409, "seat-taken");
    let seat = join(&server, "carol", "carol", None).await.expect(201).body;
    assert_eq!(seat["seat"], 2);
    join(&server, "carol", "dave", None).await.problem(403, "forbidden");
    let first = ask_token(&server, "carol", "carol").await.expect(200);
    assert_eq!(first.header("cache-control"), "no-store");
    let first = first.body["token"].as_str().unwrap().to_owned();

    let seen = server.ask("GET", "/api/v1/games/g1", &[]).await.header("rejoin-position").to_owned();
    assert_eq!(server.merge("/api/v1/games/g1", &json!({ "pot": 1 })).await.0, 200);
    assert_eq!(server.merge("/api/v1/games/g1", &json!({ "hidden": { "deck": ["DECK2"] } })).await.0, 200);
    let mut request = body("carol", &first);
    request["lastEventId"] = seen.into();
    let back = keyed(&server, "carol", "k", &request).await.expect(200);
    assert_eq!((&back.body["gameState"]["pot"], &back.body["version"]), (&json!(1), &json!(3)));
    assert_eq!(back.body["missedEvents"].as_array().unwrap().len(), 2);
    assert!(!back.text.contains("DECK") && !back.text.contains("CARDS-OF-ALICE"), "{}", back.text);
    let again = keyed(&server, "carol", "k", &request).await.expect(200);
    assert_eq!((again.header("idempotency-replayed"), &again.text), ("true", &back.text));
    let url = format!("{}/api/v1/games/g1/events", server.url);
    let mut follower = Follower::connect(&url, Some("carol"), back.body["position"].as_str()).await.unwrap();
    assert_eq!(follower.expect("resumed").await.data["count"], 0);
    while follower.presence().await.data["players"][2]["connected"] != true {}
    let listed = server.get(SEATS).await.1["items"].clone();
    assert_eq!((&listed[2]["playerId"], &listed[2]["connected"]), (&json!("carol"), &json!(true)), "{listed}");

    reconnect(&server, "carol", "carol", &first).await.problem(409, "reconnect-token-raced");
    reconnect(&server, "bob", "carol", &next(&back)).await.problem(403, "reconnect-token-mismatch");
    server.ask("DELETE", &format!("{SEATS}/bob"), &[(AS, "carol")]).await.problem(403, "forbidden");
    server.ask("DELETE", &format!("{SEATS}/bob"), &[]).await.expect(204);
    ask_token(&server, "bob", "bob").await.problem(403, "not-a-participant");
    server.ask("POST", "/api/v1/games/g1/complete", &[(AS, "carol")]).await.problem(403, "forbidden");
    let over = server.ask("POST", "/api/v1/games/g1/complete", &[]).await.expect(200).body;
    assert_eq!(over["status"], "completed");
    reconnect(&server, "carol", "carol", &next(&back)).await.problem(410, "game-completed");
    join(&server, "erin", "erin", None).await.problem(410, "game-completed");
    assert_eq!(server.ask("POST", "/api/v1/games/g1/complete", &[]).await.expect(200).body, over, "once");
}

#[tokio::test]
async fn of_a_hundred_requests_with_one_token_exactly_one_wins_and_of_twenty_joins_four() {
    let server = start().await;
    let token = token(&server, "alice").await;
    let replies = join_all((0..100).map(|_| reconnect(&server, "alice", "alice", &token))).await;
    assert_eq!(replies.iter().filter(|reply| reply.status == 200).count(), 1);
    assert_eq!(replies.iter().filter(|reply| reply.status == 409).count(), 99);
    let players: Vec<String> = (0..20).map(|number| format!("p{number}")).collect();
    let joined = join_all(players.iter().map(|player| join(&server, player, player, None))).await;
    assert_eq!(joined.iter().filter(|reply| reply.status == 201).count(), 2, "the other two were taken");
}

#[tokio::test]
async fn a_repeated_key_gets_the_first_answer_for_as_long_as_the_server_runs() {
    let server = start().await;
    let send =
        async |key: &str, path: &str, body: Value| server.tell("POST", path, &[("idempotency-key", key)], body).await;
    let seated = send("k", SEATS, json!({ "playerId": "carol" })).await.expect(201);
    server.ask("DELETE", &format!("{SEATS}/carol"), &[]).await.expect(204);
    let again = send("k", SEATS, json!({ "playerId": "carol" })).await.expect(201);
    assert_eq!((again.header("idempotency-replayed"), &again.text), ("true", &seated.text));
    send("k", SEATS, json!({ "playerId": "dave" })).await.problem(422, "idempotency-mismatch");
    let over = send("c", "/api/v1/games/g1/complete", json!({})).await.expect(200);
    server.ask("DELETE", "/api/v1/games/g1", &[]).await.expect(200);
    let again = send("c", "/api/v1/games/g1/complete", json!({})).await.expect(200);
    assert_eq!((again.header("idempotency-replayed"), &again.text), ("true", &over.text));
    // A game on disk and one in memory share the keys of a caller.
    send("k", "/api/v1/games/other/seats", json!({ "playerId": "carol" })).await.problem(422, "idempotency-mismatch");
}

#[tokio::test]
async fn a_failing_disk_does_not_concern_it_and_nothing_of_it_is_there() {
    let (disk, mut server) = Disk::with_server(&["--flags.games-persistence", "false"]);
    open_game(&server).await;
    assert_eq!(server.put("/api/v1/notes/e", &json!({ "n": 1 })).await.0, 201);
    server.meet("carol").await;
    disk.set("enospc");
    assert_eq!(server.merge("/api/v1/notes/e", &json!({ "n": 2 })).await.0, 202);
    join(&server, "carol", "carol", None).await.expect(201);
    let token = token(&server, "carol").await;
    reconnect(&server, "carol", "carol", &token).await.expect(200);
    server.ask("POST", "/api/v1/games/g1/complete", &[]).await.expect(200);
    disk.set("off");
    server.until_ready(|status, report| status == 200 && report["storage"]["state"] == "ok").await;
    assert!(server.terminate().success());
    let database = rusqlite::Connection::open(server.data_dir().join("rejoin.db")).unwrap();
    for table in ["games", "seats", "reconnect_tokens", "idempotency_keys"] {
        let count: i64 = database.query_row(&format!("SELECT count(*) FROM {table}"), [], |row| row.get(0)).unwrap();
        assert_eq!(count, 0, "{table}");
    }
    server.start_again();
    server.ask("GET", SEATS, &[]).await.problem(404, "not-found");
}
