//! How much of a game somebody may not see shows nowhere: two games that differ only in that give the same answers.

use serde_json::{Value, json};

use super::create;
use crate::support::{AS, Process, Reply};

/// What may differ: hashes, times, what follows from either, and how long things took.
fn masked(reply: &Reply) -> String {
    let mut out = String::new();
    let text = &reply.text;
    let mut digits = String::new();
    for letter in text.chars().chain(['\n']) {
        if letter.is_ascii_hexdigit() || matches!(letter, ':' | '-' | '.' | 'T' | 'Z') {
            digits.push(letter);
            continue;
        }
        let is_time = digits.len() == 24 && digits.ends_with('Z');
        out.push_str(if digits.len() == 64 || is_time { "#" } else { &digits });
        digits.clear();
        out.push(letter);
    }
    let server = out.find("\"server\":").unwrap_or(out.len());
    format!("{} {}", reply.status, &out[..server])
}

/// All that a player can ask of a game without changing it.
async fn answers(server: &Process) -> Vec<String> {
    let mut told = Vec::new();
    for path in [
        "/api/v1/games/g1",
        "/api/v1/games/g1?version=1",
        "/api/v1/games/g1/events?limit=500",
        "/api/v1/games?include=state",
        "/api/v1/games/g1/seats",
        "/api/v1/games/g1/access",
        "/api/v1/games/g1/persistence",
        "/api/game/g1/restore",
    ] {
        let reply = server.ask("GET", path, &[(AS, "bob")]).await;
        told.push(format!("{path}: {}", masked(&reply)));
    }
    told
}

/// The statuses of writes of which each says a little more, around the bound of a state.
async fn padded(server: &Process) -> Vec<u16> {
    let merge = [(AS, "bob"), ("content-type", "application/merge-patch+json")];
    let mut statuses = Vec::new();
    for step in 0..24 {
        let body = json!({ "pad": "x".repeat(60_000 + step * 128) });
        statuses.push(server.tell("PATCH", "/api/v1/games/g1", &merge, body).await.status);
    }
    let exact = json!({ "pad": "x".repeat(64_000) });
    let operation = json!({ "op": "patch", "collection": "games", "id": "g1", "patch": exact });
    let batch = json!({ "operations": [operation] });
    statuses.push(server.tell("POST", "/api/v1/batch", &[(AS, "bob")], batch).await.status);
    statuses
}

#[tokio::test]
async fn two_games_that_differ_in_what_is_hidden_give_a_player_the_same_answers() {
    let mut told = Vec::new();
    for (card, more) in [("KS", 1), ("10H", 700)] {
        let server = Process::start(&["--state-bytes-max", "65536"]);
        let hidden = json!({ "deck": [card], "note": "n".repeat(more) });
        let state = json!({ "n": 0, "hidden": hidden, "private": { "eve": { "cards": [card] } } });
        create(&server, Some("ann"), json!({ "id": "g1", "state": state })).await.expect(201);
        server.tell("POST", "/api/v1/games/g1/seats", &[(AS, "ann")], json!({ "playerId": "eve" })).await.expect(201);
        let merge = [(AS, "ann"), ("content-type", "application/merge-patch+json")];
        for n in 1..20 {
            // What it takes to say what changed, and how much else there is, differ as well.
            let dealt: Vec<Value> = (0..n).map(|_| json!(card)).collect();
            let body = json!({ "n": n, "hidden": { "deck": dealt }, "private": { "eve": { "cards": [card, n] } } });
            server.tell("PATCH", "/api/v1/games/g1", &merge, body).await.expect(200);
        }
        told.push((answers(&server).await, padded(&server).await, answers(&server).await));
    }
    assert!(told[0].1.contains(&200) && told[0].1.contains(&413), "the bound was met: {:?}", told[0].1);
    assert_eq!(told[0], told[1]);
    let host = Process::start(&[]);
    create(&host, Some("ann"), json!({ "id": "g1", "state": { "n": 0 } })).await.expect(201);
    let all = host.ask("GET", "/api/v1/games/g1/persistence", &[(AS, "ann")]).await.expect(200);
    assert!(all.body["bytes"].as_u64() > Some(0), "the host is told: {}", all.text);
    let less = host.ask("GET", "/api/v1/games/g1/persistence", &[(AS, "bob")]).await.expect(200);
    assert!(less.body.get("bytes").is_none() && less.body["events"] == 1, "{}", less.text);
}
