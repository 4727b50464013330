//! A game that was deleted and is created again is another: nobody sits in it, no token takes a seat, and it runs.

use serde_json::{Value, json};

use super::{ask_token, join, open_game, reconnect, token};
use crate::support::{Follower, Process};

const OFF: (&str, &str) = ("REJOIN_FF_GAMES_PERSISTENCE", "false");

async fn again(server: &Process) {
    open_game(server).await;
    for player in ["alice", "bob"] {
        server.ask("DELETE", &format!("/api/v1/games/g1/seats/{player}"), &[]).await.expect(204);
    }
}

async fn lives_anew(server: &Process) {
    let before = token(server, "alice").await;
    server.ask("POST", "/api/v1/games/g1/complete", &[]).await.expect(200);
    server.ask("DELETE", "/api/v1/games/g1", &[]).await.expect(200);
    join(server, "carol", "carol", None).await.problem(410, "gone");
    server.ask("POST", "/api/v1/games/g1/complete", &[]).await.problem(410, "gone");
    reconnect(server, "alice", "alice", &before).await.problem(410, "gone");
    let state = json!({ "maxSeats": 1 });
    assert_eq!(server.post("/api/v1/games", &json!({ "id": "g1", "state": state })).await.0, 201);
    assert_eq!(server.get("/api/v1/games/g1/seats").await.1["items"], json!([]));
    ask_token(server, "alice", "alice").await.problem(403, "not-a-participant");
    reconnect(server, "alice", "alice", &before).await.problem(401, "reconnect-token-unknown");
    join(server, "carol", "carol", None).await.expect(201);
    reconnect(server, "alice", "alice", &before).await.problem(401, "reconnect-token-unknown");
    // Both in one transaction.
    let operations = json!([
        { "op": "delete", "collection": "games", "id": "g1" },
        { "op": "create", "collection": "games", "id": "g1", "state": {} },
    ]);
    assert_eq!(server.post("/api/v1/batch", &json!({ "operations": operations })).await.0, 200);
    assert_eq!(server.get("/api/v1/games/g1/seats").await.1["items"], json!([]));
    join(server, "dave", "dave", None).await.expect(201);
}

#[tokio::test]
async fn a_stored_game_that_is_created_again_is_another() {
    let mut server = Process::start(&[]);
    open_game(&server).await;
    lives_anew(&server).await;
    server.kill();
    server.start_again();
    let seats = server.get("/api/v1/games/g1/seats").await.1;
    assert_eq!(seats["items"].as_array().unwrap().len(), 1, "{seats}");
}

#[tokio::test]
async fn a_game_in_memory_that_is_created_again_is_another() {
    let server = Process::start_with(&[], &[OFF]);
    open_game(&server).await;
    lives_anew(&server).await;
}

#[tokio::test]
async fn whoever_watches_sees_the_seats_go_with_the_game() {
    for environment in [vec![], vec![OFF]] {
        let server = Process::start_with(&[], &environment);
        open_game(&server).await;
        let url = format!("{}/api/v1/games/g1/events", server.url);
        let mut host = Follower::connect(&url, None, None).await.unwrap();
        host.expect("snapshot").await;
        assert_eq!(host.presence().await.data["players"].as_array().unwrap().len(), 2);
        server.ask("DELETE", "/api/v1/games/g1", &[]).await.expect(200);
        assert_eq!(host.changes(1).await[0].data["type"], "delete");
        let present = host.presence().await.data["players"].clone();
        let ids: Vec<&Value> = present.as_array().unwrap().iter().map(|player| &player["playerId"]).collect();
        assert_eq!(ids, ["owner"], "only the host, who watches: {present}");
        again(&server).await;
    }
}
