//! Who may delete, and how what was deleted comes back.

use serde_json::{Value, json};

use super::{PATH, create, set_access};
use crate::support::{AS, Process};

fn campaign() -> Value {
    json!({ "id": "g1", "state": { "n": 1, "hidden": { "traitor": "bob" } } })
}

#[tokio::test]
async fn a_player_deletes_only_what_the_access_lets_them() {
    let mut server = Process::start(&[]);
    create(&server, Some("ann"), campaign()).await.expect(201);
    let operation = json!({ "operations": [{ "op": "delete", "collection": "games", "id": "g1" }] });
    for round in 0..2 {
        let standing = server.standing(PATH).await;
        server.ask("DELETE", PATH, &[(AS, "bob")]).await.problem(403, "forbidden");
        server.tell("POST", "/api/v1/batch", &[(AS, "bob")], &operation).await.problem(403, "forbidden");
        assert_eq!(server.standing(PATH).await, standing);
        let delete = if round == 0 { json!(["eve"]) } else { json!("host") };
        set_access(&server, PATH, json!({ "delete": delete })).await;
        server.kill();
        server.start_again();
    }
    set_access(&server, PATH, json!({ "delete": ["bob"], "write": "host" })).await;
    server.ask("DELETE", PATH, &[(AS, "eve")]).await.problem(403, "forbidden");
    server.ask("DELETE", PATH, &[(AS, "bob")]).await.expect(200);
    server.ask("GET", PATH, &[(AS, "bob")]).await.problem(410, "gone");
}

#[tokio::test]
async fn the_host_brings_back_what_was_deleted_as_long_as_its_history_is_kept() {
    let mut server = Process::start(&[]);
    create(&server, Some("ann"), campaign()).await.expect(201);
    server.merge(PATH, &json!({ "n": 2 })).await;
    server.ask("DELETE", PATH, &[(AS, "ann")]).await.expect(200);
    let rollback = format!("{PATH}/rollback");
    for (viewer, version, status) in [("bob", 1, 403), ("ann", 3, 400), ("ann", 9, 404)] {
        let body = json!({ "toVersion": version });
        let reply = server.tell("POST", &rollback, &[(AS, viewer)], body).await;
        assert_eq!(reply.status, status, "{viewer} {version}: {}", reply.text);
    }
    server.kill();
    server.start_again();
    let stale = json!({ "toVersion": 2, "expectedVersion": 2 });
    server.tell("POST", &rollback, &[(AS, "ann")], stale).await.problem(409, "version-conflict");
    let body = json!({ "toVersion": 2, "expectedVersion": 3 });
    let key = [(AS, "ann"), ("idempotency-key", "back")];
    for _ in 0..2 {
        let back = server.tell("POST", &rollback, &key, &body).await.expect(201);
        assert_eq!((&back.body["version"], &back.body["host"]), (&json!(4), &json!("ann")));
        assert_eq!(back.body["state"], json!({ "n": 2, "hidden": { "traitor": "bob" } }));
        server.kill();
        server.start_again();
    }
    assert_eq!(server.get_as("bob", PATH).await.1["state"], json!({ "n": 2 }));
    server.ask("DELETE", PATH, &[(AS, "ann")]).await.expect(200);
    server.ask("DELETE", "/api/game/g1/persist", &[(AS, "ann")]).await.expect(204);
    let gone = server.tell("POST", &rollback, &[(AS, "ann")], json!({ "toVersion": 4 })).await;
    gone.problem(410, "gone");
}
