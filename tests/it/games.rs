//! Seats, reconnect tokens and the end of games.

mod answers;
mod lives;
mod memory;
mod once;
mod reconnect;
mod seats;
mod secrets;
mod token_requests;

use serde_json::{Value, json};

use crate::support::{AS, Process, Reply};

/// The game `g1`, made by the owner, with alice on seat 0 and bob on seat 1.
async fn start(flags: &[&str]) -> Process {
    let server = Process::start(flags);
    open_game(&server).await;
    server
}

async fn open_game(server: &Process) {
    let state = json!({
        "maxSeats": 4,
        "pot": 0,
        "hidden": { "deck": ["DECK1"] },
        "private": { "alice": { "cards": ["CARDS-OF-ALICE-1"] }, "bob": { "cards": ["CARDS-OF-BOB-1"] } },
    });
    assert_eq!(server.post("/api/v1/games", &json!({ "id": "g1", "state": state })).await.0, 201);
    for player in ["alice", "bob"] {
        assert_eq!(join(server, player, player, None).await.status, 201);
    }
}

/// Some viewer's header; none for the owner, who goes by "".
fn as_viewer(viewer: &str) -> Vec<(&str, &str)> {
    if viewer.is_empty() { Vec::new() } else { vec![(AS, viewer)] }
}

async fn join(server: &Process, viewer: &str, player: &str, seat: Option<u32>) -> Reply {
    let mut body = json!({ "playerId": player });
    if let Some(seat) = seat {
        body["seat"] = seat.into();
    }
    server.tell("POST", "/api/v1/games/g1/seats", &as_viewer(viewer), body).await
}

async fn ask_token(server: &Process, viewer: &str, player: &str) -> Reply {
    let path = format!("/api/game/g1/connection-token?playerId={player}");
    server.ask("GET", &path, &as_viewer(viewer)).await
}

async fn token(server: &Process, player: &str) -> String {
    ask_token(server, player, player).await.expect(200).body["token"].as_str().unwrap().to_owned()
}

fn body(player: &str, token: &str) -> Value {
    json!({ "gameId": "g1", "playerId": player, "reconnectToken": token })
}

async fn reconnect(server: &Process, viewer: &str, player: &str, token: &str) -> Reply {
    server.tell("POST", "/api/game/g1/reconnect", &as_viewer(viewer), body(player, token)).await
}

/// A request that carries a key.
async fn keyed(server: &Process, player: &str, key: &str, body: &Value) -> Reply {
    let headers = [(AS, player), ("idempotency-key", key)];
    server.tell("POST", "/api/game/g1/reconnect", &headers, body).await
}

fn next(reply: &Reply) -> String {
    reply.body["reconnectToken"].as_str().unwrap().to_owned()
}
