//! Who may read, write and delete a document, and who its host is.

mod deletion;
mod reading;
mod sizes;
mod streams;

use serde_json::{Value, json};

use crate::support::{AS, Process, Reply};

const PATH: &str = "/api/v1/games/g1";

/// Every kind of write, as `viewer` (none: the owner), none of which needs more than the right to write.
async fn writes(server: &Process, path: &str, viewer: Option<&str>) -> Vec<Reply> {
    let by: Vec<(&str, &str)> = viewer.iter().map(|viewer| (AS, *viewer)).collect();
    let merge = [by.as_slice(), &[("content-type", "application/merge-patch+json")]].concat();
    let patch = [by.as_slice(), &[("content-type", "application/json-patch+json")]].concat();
    let (collection, id) = path.trim_start_matches("/api/v1/").split_once('/').unwrap();
    let operation = json!({ "op": "patch", "collection": collection, "id": id, "patch": { "n": 4 } });
    vec![
        server.tell("PUT", path, &by, json!({ "state": { "n": 1 } })).await,
        server.tell("PATCH", path, &merge, json!({ "n": 2 })).await,
        server.tell("PATCH", path, &patch, json!([{ "op": "replace", "path": "/n", "value": 3 }])).await,
        server.tell("POST", &format!("{path}/actions"), &by, json!({ "type": "x", "patch": { "n": 5 } })).await,
        server.tell("POST", "/api/v1/batch", &by, json!({ "operations": [operation] })).await,
    ]
}

async fn may_write(server: &Process, path: &str, viewer: Option<&str>) {
    for reply in writes(server, path, viewer).await {
        assert_eq!(reply.status, 200, "{viewer:?} {}", reply.text);
    }
}

async fn may_not_write(server: &Process, path: &str, viewer: &str) {
    let standing = server.standing(path).await;
    for reply in writes(server, path, Some(viewer)).await {
        reply.problem(403, "forbidden");
    }
    server.ask("DELETE", path, &[(AS, viewer)]).await.problem(403, "forbidden");
    let rollback = json!({ "toVersion": 1 });
    let reply = server.tell("POST", &format!("{path}/rollback"), &[(AS, viewer)], rollback).await;
    reply.problem(403, "forbidden");
    assert_eq!(server.standing(path).await, standing);
    assert_eq!(server.get_as(viewer, path).await.0, 200, "reading is another matter");
}

/// Says as the owner who may do what with a document.
async fn set_access(server: &Process, path: &str, access: Value) -> Reply {
    server.tell("PUT", &format!("{path}/access"), &[], access).await.expect(200)
}

async fn create(server: &Process, viewer: Option<&str>, body: Value) -> Reply {
    let by: Vec<(&str, &str)> = viewer.iter().map(|viewer| (AS, *viewer)).collect();
    server.tell("POST", "/api/v1/games", &by, body).await
}

#[tokio::test]
async fn everyone_writes_unless_the_creation_says_otherwise() {
    let mut server = Process::start(&[]);
    create(&server, None, json!({ "id": "g1", "state": { "n": 0 } })).await.expect(201);
    may_write(&server, PATH, None).await;
    may_write(&server, PATH, Some("ann")).await;

    let host_only = json!({ "id": "g2", "state": { "n": 0 }, "access": { "write": "host" } });
    create(&server, Some("ann"), host_only).await.expect(201);
    let some = json!({ "id": "g3", "state": { "n": 0 }, "access": { "write": ["bob", "eve"] } });
    create(&server, Some("ann"), some).await.expect(201);
    let nobody = json!({ "id": "g4", "state": { "n": 0 }, "access": { "write": [] } });
    create(&server, Some("ann"), nobody).await.expect(201);
    for _ in 0..2 {
        for path in ["/api/v1/games/g2", "/api/v1/games/g3", "/api/v1/games/g4"] {
            may_write(&server, path, None).await;
            may_write(&server, path, Some("ann")).await;
            may_not_write(&server, path, "dan").await;
            may_not_write(&server, path, "host-of-none").await;
        }
        may_not_write(&server, "/api/v1/games/g2", "bob").await;
        may_not_write(&server, "/api/v1/games/g4", "bob").await;
        may_write(&server, "/api/v1/games/g3", Some("bob")).await;
        may_write(&server, "/api/v1/games/g3", Some("eve")).await;
        server.kill();
        server.start_again();
    }
}

#[tokio::test]
async fn a_host_that_was_named_at_creation_sees_and_writes_everything_and_the_creator_does_not() {
    let server = Process::start(&[]);
    let state = json!({ "n": 0, "hidden": { "deck": "ace" }, "private": { "ann": 1, "bob": 2 } });
    let body = json!({ "id": "g1", "state": state, "host": "hal", "access": { "write": "host" } });
    let made = create(&server, None, body).await.expect(201);
    assert_eq!(made.body["state"], state);
    assert_eq!(server.get_as("hal", PATH).await.1["state"], state);
    assert_eq!(server.get_as("ann", PATH).await.1["state"], json!({ "n": 0, "private": { "ann": 1 } }));
    may_not_write(&server, PATH, "ann").await;
    let deeper = server
        .tell(
            "PATCH",
            PATH,
            &[(AS, "hal"), ("content-type", "application/merge-patch+json")],
            json!({ "hidden": { "deck": "king" } }),
        )
        .await;
    assert_eq!(deeper.expect(200).body["state"]["hidden"]["deck"], "king");
    may_write(&server, PATH, Some("hal")).await;

    // A player may hand over what they create, and then are a player in it.
    let given =
        create(&server, Some("ann"), json!({ "id": "g2", "state": { "n": 1 }, "host": "bob" })).await.expect(201);
    assert_eq!(given.body["state"], json!({ "n": 1 }));
    server.merge("/api/v1/games/g2", &json!({ "hidden": { "x": 1 } })).await;
    assert_eq!(server.get_as("bob", "/api/v1/games/g2").await.1["state"]["hidden"], json!({ "x": 1 }));
    assert_eq!(server.get_as("ann", "/api/v1/games/g2").await.1["state"].get("hidden"), None);
}

#[tokio::test]
async fn who_hosts_and_who_writes_outlives_a_deletion() {
    let mut server = Process::start(&[]);
    let access = json!({ "write": ["bob"], "delete": ["bob"] });
    create(&server, Some("ann"), json!({ "id": "g1", "state": { "n": 0 }, "access": access })).await.expect(201);
    server.ask("DELETE", PATH, &[(AS, "bob")]).await.expect(200);
    for viewer in ["dan", "eve"] {
        create(&server, Some(viewer), json!({ "id": "g1", "state": {} })).await.problem(403, "forbidden");
        let put = server.tell("PUT", PATH, &[(AS, viewer)], json!({ "state": {} })).await;
        put.problem(403, "forbidden");
    }
    for body in [
        json!({ "id": "g1", "state": {}, "host": "bob" }),
        json!({ "id": "g1", "state": {}, "access": { "write": "host" } }),
    ] {
        create(&server, Some("bob"), body).await.problem(400, "invalid-request");
    }
    server.kill();
    server.start_again();
    create(&server, Some("bob"), json!({ "id": "g1", "state": { "n": 3 } })).await.expect(201);
    may_not_write(&server, PATH, "dan").await;
    may_write(&server, PATH, Some("ann")).await;
    let hidden = [(AS, "bob"), ("content-type", "application/merge-patch+json")];
    let reply = server.tell("PATCH", PATH, &hidden, json!({ "hidden": {} })).await;
    reply.problem(403, "forbidden");
}

#[tokio::test]
async fn access_and_host_must_be_what_they_can_be() {
    let server = Process::start(&[]);
    for access in [
        json!({ "write": "everyone" }),
        json!({ "write": ["-no-id-"] }),
        json!({ "write": [1] }),
        json!({ "write": { "ann": true } }),
        json!({ "read": "nobody" }),
        json!({ "delete": [1] }),
        json!({ "reads": "host" }),
        json!({ "read": vec!["ann"; 257] }),
        json!("host"),
        json!([]),
    ] {
        let reply = create(&server, None, json!({ "id": "g1", "state": {}, "access": access })).await;
        reply.problem(400, "invalid-request");
    }
    for host in [json!(""), json!("a b"), json!(7), json!("@owner"), json!("x".repeat(65))] {
        create(&server, None, json!({ "id": "g1", "state": {}, "host": host })).await.problem(400, "invalid-request");
    }
    for host in ["Owner", "OWNER", "host", "Host"] {
        let body = json!({ "id": "g1", "state": {}, "host": host });
        let problem = create(&server, None, body).await.problem(400, "invalid-request");
        assert_eq!(problem["errors"][0]["field"], "host", "{problem}");
    }
    for user in ["", "a b", "@owner", "-x", "über", "owner", "host", "Owner", "OWNER", "hosT"] {
        let reply = server.tell("POST", "/api/v1/sessions", &[], json!({ "user": user })).await;
        reply.problem(400, "invalid-request");
    }
    server.ask("GET", PATH, &[]).await.problem(404, "not-found");
}
