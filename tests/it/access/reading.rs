//! What may not be read is nowhere: in no answer, no list, no refusal.

use serde_json::{Value, json};

use super::{PATH, create, set_access};
use crate::support::{AS, Process, Reply};

/// Everything that can be asked of a game: method, the path after the document's, a body.
fn requests() -> Vec<(&'static str, String, Option<Value>)> {
    let body = |method, path: &str, body: Value| (method, path.to_owned(), Some(body));
    let gets = ["", "?version=1", "/events", "/events?after=1", "/access", "/seats", "/persistence"];
    let game = "/api/game/g1";
    let mut all: Vec<_> = gets.iter().map(|path| ("GET", format!("{PATH}{path}"), None)).collect();
    all.extend([
        ("HEAD", PATH.to_owned(), None),
        ("DELETE", PATH.to_owned(), None),
        ("DELETE", format!("{PATH}/seats/bob"), None),
        ("DELETE", format!("{game}/persist"), None),
        ("GET", format!("{game}/restore"), None),
        ("GET", format!("{game}/connection-token?playerId=bob"), None),
        body("PUT", &format!("{PATH}/access"), json!({})),
        body("POST", &format!("{PATH}/actions"), json!({ "type": "x" })),
        body("POST", &format!("{PATH}/rollback"), json!({ "toVersion": 1 })),
        body("POST", &format!("{PATH}/seats"), json!({ "playerId": "bob" })),
        body("POST", &format!("{PATH}/complete"), json!({})),
        body("POST", &format!("{PATH}/migrate"), json!({ "to": "http://127.0.0.1:1" })),
        body("POST", &format!("{game}/persist"), json!({ "gameId": "g1" })),
        body(
            "POST",
            &format!("{game}/reconnect"),
            json!({ "gameId": "g1", "playerId": "bob", "reconnectToken": format!("rjt_{}", "a".repeat(43)) }),
        ),
        body(
            "POST",
            "/api/v1/batch",
            json!({ "operations": [{ "op": "patch", "collection": "games", "id": "g1", "patch": { "n": 1 } }] }),
        ),
    ]);
    all
}

async fn send(server: &Process, viewer: &str, (method, path, body): &(&str, String, Option<Value>)) -> Reply {
    match body {
        None => server.ask(method, path, &[(AS, viewer)]).await,
        Some(body) => server.tell(method, path, &[(AS, viewer)], body).await,
    }
}

#[tokio::test]
async fn whoever_may_not_read_is_told_the_same_as_if_it_had_never_been_there() {
    let mut server = Process::start(&[]);
    let mut never = Vec::new();
    // The refusals are 404 but for that of a token which nobody knows.
    for request in requests() {
        let reply = send(&server, "bob", &request).await;
        never.push((reply.status, reply.text));
    }
    create(&server, Some("ann"), json!({ "id": "g1", "state": { "n": 0 } })).await.expect(201);
    create(&server, Some("ann"), json!({ "id": "g2", "state": { "n": 0 } })).await.expect(201);
    server.tell("POST", &format!("{PATH}/seats"), &[(AS, "bob")], json!({ "playerId": "bob" })).await.expect(201);
    for grant in [json!("host"), json!(["eve"]), json!([])] {
        set_access(&server, PATH, json!({ "read": grant, "write": "all", "delete": "all" })).await;
        let standing = server.standing(PATH).await;
        for (request, never) in requests().iter().zip(&never) {
            let reply = send(&server, "bob", request).await;
            assert_eq!((reply.status, reply.text), *never, "{request:?}");
        }
        server.tell("PUT", PATH, &[(AS, "bob")], json!({ "state": {} })).await.problem(404, "not-found");
        assert_eq!(server.standing(PATH).await, standing);
        let taken = create(&server, Some("bob"), json!({ "id": "g1", "state": {} })).await;
        let told = taken.problem(409, "already-exists");
        assert!(told.get("currentVersion").is_none() && told.get("currentHash").is_none(), "{told}");
        for query in ["", "?include=state", "?limit=1", "?include=state&limit=1"] {
            let list = server.ask("GET", &format!("/api/v1/games{query}"), &[(AS, "bob")]).await.expect(200);
            assert_eq!(list.body["items"].as_array().unwrap().len(), 1, "{}", list.text);
            assert_eq!(list.body["items"][0]["id"], "g2");
            let all = server.ask("GET", &format!("/api/v1/games{query}"), &[(AS, "ann")]).await.expect(200);
            assert_eq!(all.body["items"][0]["id"], "g1");
        }
        server.kill();
        server.start_again();
    }
    set_access(&server, PATH, json!({ "read": ["bob"] })).await;
    assert_eq!(server.get_as("bob", PATH).await.0, 200);
    assert_eq!(server.get_as("eve", PATH).await.0, 404);
    // What was deleted is as little there as what is.
    server.ask("DELETE", PATH, &[]).await.expect(200);
    assert_eq!((server.get_as("bob", PATH).await.0, server.get_as("eve", PATH).await.0), (410, 404));
}

#[tokio::test]
async fn host_and_access_are_shown_to_the_host_alone() {
    let mut server = Process::start(&[]);
    let access = json!({ "read": "all", "write": ["bob"], "delete": "host" });
    let body = json!({ "id": "g1", "state": { "n": 0 }, "access": { "write": ["bob"] } });
    let made = create(&server, Some("ann"), body).await.expect(201);
    assert_eq!((&made.body["host"], &made.body["access"]), (&json!("ann"), &access));
    let given = json!({ "host": "dan", "read": ["bob"], "expectedVersion": 1 });
    let set = server.tell("PUT", &format!("{PATH}/access"), &[(AS, "ann")], given).await.expect(200);
    let access = json!({ "read": ["bob"], "write": "all", "delete": "host" });
    assert_eq!((&set.body["host"], &set.body["access"], &set.body["version"]), (&json!("dan"), &access, &json!(2)));
    assert_eq!(set.header("etag"), format!("\"2-{}\"", &set.body["hash"].as_str().unwrap()[..12]));
    for _ in 0..2 {
        let shown = server.ask("GET", &format!("{PATH}/access"), &[(AS, "dan")]).await.expect(200);
        assert_eq!((&shown.body["host"], &shown.body["access"]), (&json!("dan"), &access));
        let document = server.get_as("dan", PATH).await.1;
        assert_eq!((&document["host"], &document["access"]), (&json!("dan"), &access));
        // The host of before reads nothing any more.
        assert_eq!(server.get_as("ann", PATH).await.0, 404);
        server.ask("GET", &format!("{PATH}/access"), &[(AS, "bob")]).await.problem(403, "forbidden");
        let to_bob = [
            server.ask("GET", PATH, &[(AS, "bob")]).await.expect(200).text,
            server.ask("GET", &format!("{PATH}/events"), &[(AS, "bob")]).await.expect(200).text,
            server.ask("GET", "/api/v1/games?include=state", &[(AS, "bob")]).await.expect(200).text,
        ];
        for text in to_bob {
            assert!(!text.contains("dan") && !text.contains("\"access\":") && !text.contains("salt"), "{text}");
        }
        let events = server.get_as("dan", &format!("{PATH}/events")).await.1;
        assert_eq!(events["items"][1]["access"]["host"], "dan");
        assert_eq!(events["items"][1]["type"], "access");
        server.kill();
        server.start_again();
    }
    set_access(&server, PATH, json!({ "host": "owner" })).await;
    assert_eq!(server.get(PATH).await.1["host"], "owner");
}

#[tokio::test]
async fn access_is_changed_by_the_host_under_the_usual_conditions() {
    let server = Process::start(&[]);
    create(&server, Some("ann"), json!({ "id": "g1", "state": { "n": 0 } })).await.expect(201);
    let path = format!("{PATH}/access");
    server.tell("PUT", &path, &[(AS, "bob")], json!({ "write": "all" })).await.problem(403, "forbidden");
    let stale = [(AS, "ann"), ("if-match", "\"1-aaaaaaaaaaaa\"")];
    server.tell("PUT", &path, &stale, json!({})).await.problem(412, "version-conflict");
    server.tell("PUT", &path, &[(AS, "ann")], json!({ "expectedVersion": 7 })).await.problem(409, "version-conflict");
    for body in [json!({ "read": "me" }), json!({ "host": "a b" }), json!({ "reed": "all" }), json!([]), json!("all")] {
        server.tell("PUT", &path, &[(AS, "ann")], body).await.problem(400, "invalid-request");
    }
    let key = [(AS, "ann"), ("idempotency-key", "once")];
    for replayed in [false, true] {
        let set = server.tell("PUT", &path, &key, json!({ "read": "host" })).await.expect(200);
        assert_eq!(set.headers.contains_key("idempotency-replayed"), replayed);
        assert_eq!(set.body["version"], 2);
    }
    assert_eq!(server.get(PATH).await.1["version"], 2);
    server.tell("PUT", "/api/v1/games/none/access", &[], json!({})).await.problem(404, "not-found");
}

#[tokio::test]
async fn a_repeated_request_brings_back_nothing_that_may_no_longer_be_seen() {
    let server = Process::start(&[]);
    create(&server, Some("ann"), json!({ "id": "g1", "state": { "n": 0, "hidden": { "x": "SECRET" } } })).await;
    let patch = async |viewer: &str, key: &str| {
        let headers = [(AS, viewer), ("idempotency-key", key), ("content-type", "application/merge-patch+json")];
        server.tell("PATCH", PATH, &headers, json!({ "n": 1 })).await
    };
    assert!(patch("ann", "a").await.expect(200).text.contains("SECRET"));
    patch("bob", "b").await.expect(200);
    set_access(&server, PATH, json!({ "host": "dan" })).await;
    let again = patch("ann", "a").await;
    assert_eq!((again.status, again.text.as_str(), again.header("idempotency-replayed")), (204, "", "true"));
    set_access(&server, PATH, json!({ "read": "host" })).await;
    patch("ann", "a").await.problem(404, "not-found");
    patch("bob", "b").await.problem(404, "not-found");
    assert_eq!(server.get(PATH).await.1["version"], 5, "nothing was done twice");
}
