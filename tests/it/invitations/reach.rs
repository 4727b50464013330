//! What a session reaches that came by an invitation: its documents and itself, of all calls that there are.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::{EXCHANGE, ME, invite, invite_to_game, with_games};
use crate::support::{Follower, Process};

/// What is open to everybody who can reach the server, or says nothing but about the caller.
const OPEN: &[&str] = &[
    "get /",
    "get /_",
    "get /_/",
    "get /_/favicon.svg",
    "get /_/{asset}",
    "get /client/{file}",
    "get /favicon.ico",
    "get /favicon.svg",
    "get /healthz",
    "get /join",
    "get /join/join.css",
    "get /join/join.js",
    "get /login",
    "get /problems",
    "get /problems/{slug}",
    "post /api/v1/invitations/exchange",
    "post /api/v1/invitations/look",
    "get /api/v1/flags",
    "get /api/v1/me",
    "delete /api/v1/sessions/current",
    "patch /api/v1/sessions/current",
];
/// What looks by itself at each document that it is about: see the tests below, and those of notifications.
const BY_DOCUMENT: &[&str] = &[
    "get /api/v1/stream",
    "post /api/v1/batch",
    "get /api/v1/notifications",
    "get /api/v1/notifications/preferences",
    "put /api/v1/notifications/preferences",
    "post /api/v1/notifications/read-all",
    "post /api/v1/notifications/{notificationId}/read",
];

/// Every call of the description about `document` of `collection`, and its path with everything filled in.
async fn calls(server: &Process, collection: &str, document: &str) -> Vec<(String, String, String)> {
    let (status, description) = server.get("/openapi.json").await;
    assert_eq!(status, 200);
    let mut calls = Vec::new();
    for (path, item) in description["paths"].as_object().unwrap() {
        for (method, _) in item.as_object().unwrap() {
            let mut filled = path.clone();
            // Of these calls the collection is games, whichever is asked about.
            let game = if collection == "games" { document } else { "g2" };
            let id = if path.starts_with("/api/v1/games/{id}") { game } else { document };
            for (parameter, value) in [("collection", collection), ("id", id), ("gameId", game)] {
                filled = filled.replace(&format!("{{{parameter}}}"), value);
            }
            let filled: Vec<&str> =
                filled.split('/').map(|part| if part.starts_with('{') { "other" } else { part }).collect();
            calls.push((format!("{method} {path}"), method.to_uppercase(), filled.join("/")));
        }
    }
    calls
}

#[tokio::test]
async fn of_all_calls_an_invited_session_has_those_about_its_documents_and_itself() {
    let server = with_games().await;
    let ann = invite_to_game(&server, 1).await.join(&server, "Ann").await;
    let mut seen = BTreeSet::new();
    for (collection, document) in [("games", "g2"), ("games", "none"), ("notes", "g1"), ("sessions", "g1")] {
        for (name, method, path) in calls(&server, collection, document).await {
            seen.insert(name.clone());
            if OPEN.contains(&name.as_str()) || BY_DOCUMENT.contains(&name.as_str()) {
                continue;
            }
            let reply = server.tell(&method, &path, &ann.shown(), json!({})).await;
            assert!(matches!(reply.status, 403 | 404), "{method} {path}: {} {}", reply.status, reply.text);
            assert!(!reply.text.contains("deck") && !reply.text.contains("Table g2"), "{path}: {}", reply.text);
        }
    }
    for listed in OPEN.iter().chain(BY_DOCUMENT) {
        assert!(seen.contains(*listed), "{listed} is described no more: take it out here");
    }
    assert!(seen.len() > 60, "{}", seen.len());
    // It is still there, and nothing was changed.
    ann.get(&server, "/api/v1/games/g1").await.expect(200);
    assert_eq!(server.get("/api/v1/games/g2").await.1["version"], 1);
    assert_eq!(server.get("/api/v1/games").await.1["items"].as_array().unwrap().len(), 2);
    assert_eq!(server.get("/api/v1/admin/sessions").await.1["items"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn batches_and_streams_of_an_invited_session_tell_of_its_documents_alone() {
    let server = with_games().await;
    server.put("/api/v1/notes/n1", &json!({ "secret": true })).await;
    let ann = invite_to_game(&server, 1).await.join(&server, "Ann").await;
    let operation = |op: &str, name: &str| {
        let (collection, id) = name.split_once('/').unwrap();
        let more = match op {
            "patch" => json!({ "patch": { "a": 1 } }),
            "delete" => json!({}),
            _ => json!({ "state": {} }),
        };
        let mut operation = json!({ "op": op, "collection": collection, "id": id });
        operation.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        operation
    };
    let batch = |operations: Vec<Value>| json!({ "operations": operations });
    for op in ["create", "put", "patch", "delete"] {
        for name in ["games/g2", "games/none", "notes/n1"] {
            let body = batch(vec![operation("patch", "games/g1"), operation(op, name)]);
            let problem = ann.tell(&server, "POST", "/api/v1/batch", body).await.problem(404, "not-found");
            assert_eq!(problem["index"], 1, "{op} {name}");
        }
    }
    assert_eq!(server.get("/api/v1/games/g1").await.1["version"], 1, "nothing of a refused batch is done");
    ann.tell(&server, "POST", "/api/v1/batch", batch(vec![operation("patch", "games/g1")])).await.expect(200);

    let url = format!("{}/api/v1/stream?doc=games/g1&doc=games/g2&collection=games&collection=notes", server.url);
    let mut stream = Follower::with(&url, &ann.shown(), None).await;
    let snapshot = stream.expect("snapshot").await;
    let told = |snapshot: &Value| {
        let documents = snapshot["documents"].as_array().unwrap();
        documents.iter().map(|document| document["id"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(told(&snapshot.data), ["g1"]);
    server.put("/api/v1/games/g2", &json!({ "round": 5 })).await;
    server.put("/api/v1/notes/n2", &json!({})).await;
    server.put("/api/v1/games/g1", &json!({ "round": 6 })).await;
    let change = stream.expect("change").await;
    assert_eq!((&change.data["id"], change.data["version"].as_u64()), (&json!("g1"), Some(3)));
    // From where it was, and as a page.
    let mut resumed = Follower::with(&url, &ann.shown(), Some(&snapshot.id)).await;
    let begun = resumed.expect_any(&["resumed", "snapshot"]).await;
    if begun.event == "resumed" {
        assert_eq!(begun.data["count"], 1, "{}", begun.text);
    }
    let headers = [ann.shown()[0], ("accept", "application/json")];
    let page = server.ask("GET", "/api/v1/stream?collection=games&collection=notes", &headers).await.expect(200);
    assert!(!page.text.contains("\"g2\"") && !page.text.contains("n2") && page.text.contains("g1"), "{}", page.text);
}

#[tokio::test]
async fn an_invited_session_is_told_what_concerns_its_documents_alone() {
    let server = Process::start(&[]);
    let plan = async |id: &str, player: &str| {
        let combatants = json!({
            "a": { "name": "A", "side": "party", "initiative": 1, "hitPoints": 9, "playerId": player },
            "b": { "name": "B", "side": "party", "initiative": 9, "hitPoints": 9, "playerId": "bob" },
        });
        let state = json!({ "name": id, "combatants": combatants });
        server.tell("POST", "/api/v1/encounters", &[], json!({ "id": id, "state": state })).await.expect(201);
    };
    plan("open", "nobody").await;
    let invitation = json!({ "name": "ask", "documents": ["encounters/open"] });
    let ann = invite(&server, invitation).await.join(&server, "Ann").await;
    for id in ["mine", "other"] {
        plan(id, &ann.user).await;
    }
    let second = invite(&server, json!({ "user": ann.user, "documents": ["encounters/mine"] })).await;
    let body = json!({ "token": second.token });
    server.tell("POST", EXCHANGE, &ann.shown(), body).await.expect(200);
    for id in ["mine", "other"] {
        for kind in ["start", "nextTurn"] {
            let path = format!("/api/v1/encounters/{id}/actions");
            server.tell("POST", &path, &[], json!({ "type": kind })).await.expect(200);
        }
    }
    let list = ann.get(&server, "/api/v1/notifications").await.expect(200);
    let about: BTreeSet<&str> =
        list.body["items"].as_array().unwrap().iter().map(|one| one["document"].as_str().unwrap()).collect();
    assert_eq!(about, BTreeSet::from(["encounters/mine"]), "{}", list.text);
    ann.tell(&server, "POST", "/api/v1/notifications/read-all", json!({})).await.expect(200);
    // Those about the other are there for a session of the same person that reaches all, and are unread.
    let whole = server.tell("POST", "/api/v1/sessions", &[], json!({ "user": ann.user })).await.expect(201).body;
    let bearer = format!("Bearer {}", whole["token"].as_str().unwrap());
    let all = server.ask("GET", "/api/v1/notifications", &[("authorization", &bearer)]).await.expect(200).body;
    let unread = all["items"].as_array().unwrap().iter().filter(|one| one["read"] == false);
    let unread: BTreeSet<&str> = unread.map(|one| one["document"].as_str().unwrap()).collect();
    assert_eq!(unread, BTreeSet::from(["encounters/other"]), "{all}");
}

#[tokio::test]
async fn the_session_of_an_invitation_is_the_users_only_one_that_it_can_touch() {
    let server = with_games().await;
    let ann = invite_to_game(&server, 1).await.join(&server, "Ann").await;
    let other = server.tell("POST", "/api/v1/sessions", &[], json!({ "user": ann.user })).await.expect(201).body;
    let path = format!("/api/v1/sessions/{}", other["id"].as_str().unwrap());
    ann.tell(&server, "DELETE", &path, json!({})).await.problem(403, "forbidden");
    ann.tell(&server, "DELETE", "/api/v1/sessions", json!({})).await.problem(403, "forbidden");
    ann.tell(&server, "POST", "/api/v1/sessions", json!({})).await.problem(403, "forbidden");
    // The other one is of the same person, and reaches all that they may.
    let bearer = format!("Bearer {}", other["token"].as_str().unwrap());
    let whole = server.ask("GET", ME, &[("authorization", &bearer)]).await.expect(200).body;
    assert_eq!((&whole["name"], &whole["session"]["documents"]), (&json!("Ann"), &Value::Null));
    server.ask("GET", "/api/v1/games", &[("authorization", &bearer)]).await.expect(200);
    ann.tell(&server, "DELETE", "/api/v1/sessions/current", json!({})).await.expect(204);
    ann.get(&server, ME).await.problem(401, "unauthenticated");
}
