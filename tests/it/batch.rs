//! Many changes in one: all of them or none.

use serde_json::{Value, json};

use crate::support::{AS, Process, Reply};

async fn batch(server: &Process, operations: Value) -> Reply {
    server.tell("POST", "/api/v1/batch", &[], json!({ "operations": operations })).await
}

#[tokio::test]
async fn a_batch_makes_every_kind_of_change_and_later_ones_see_earlier_ones() {
    let mut server = Process::start(&[]);
    server.put("/api/v1/games/old", &json!({ "n": 1 })).await;
    let operations = json!([
        { "op": "create", "collection": "games", "id": "g1", "state": { "n": 1 } },
        { "op": "patch", "collection": "games", "id": "g1", "patch": { "m": 2 }, "expectedVersion": 1 },
        { "op": "patch", "collection": "games", "id": "g1", "patch": [{ "op": "test", "path": "/m", "value": 2 },
            { "op": "replace", "path": "/n", "value": 10 }] },
        { "op": "action", "collection": "games", "id": "g1", "type": "raise", "payload": { "by": 1 },
            "patch": { "o": 3 }, "expectedVersion": 3 },
        { "op": "delete", "collection": "games", "id": "old", "expectedVersion": 1 },
        { "op": "put", "collection": "games", "id": "old", "state": { "back": true } },
        { "op": "put", "collection": "pots", "id": "p1", "state": {}, "expectedVersion": 0 },
        { "op": "create", "collection": "pots", "state": {} },
    ]);
    let made = batch(&server, operations).await.expect(200);
    assert!(made.header("server-timing").contains("commit"));
    let results = made.body["results"].as_array().unwrap();
    let line = |index: usize| {
        let result = &results[index];
        format!("{}/{} {} {}", result["collection"], result["id"], result["version"], result["seq"]).replace('"', "")
    };
    let lines: Vec<String> = (0..7).map(line).collect();
    let expected = [
        "games/g1 1 2",
        "games/g1 2 3",
        "games/g1 3 4",
        "games/g1 4 5",
        "games/old 2 6",
        "games/old 3 7",
        "pots/p1 1 8",
    ];
    assert_eq!(lines, expected);
    assert_eq!((results.len(), results[7].as_object().unwrap().len()), (8, 5));
    let made_up = results[7]["id"].as_str().unwrap();
    server.kill();
    server.start_again();
    for (path, index, state) in [
        ("games/g1", 3, json!({ "n": 10, "m": 2, "o": 3 })),
        ("games/old", 5, json!({ "back": true })),
        (&format!("pots/{made_up}"), 7, json!({})),
    ] {
        let document = server.get(&format!("/api/v1/{path}")).await.1;
        assert_eq!((&document["state"], &document["hash"]), (&state, &results[index]["hash"]));
    }
    let (_, history) = server.get("/api/v1/games/g1/events").await;
    let hashes: Vec<&Value> = history["items"].as_array().unwrap().iter().map(|event| &event["hash"]).collect();
    assert_eq!(hashes, results[..4].iter().map(|result| &result["hash"]).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_batch_that_fails_anywhere_changes_nothing_and_names_the_operation() {
    let server = Process::start(&[]);
    server.put("/api/v1/games/g1", &json!({ "n": 1 })).await;
    let good = json!({ "op": "patch", "collection": "games", "id": "g1", "patch": { "n": 2 } });
    let fresh = json!({ "op": "create", "collection": "games", "id": "fresh", "state": {} });
    let doc = |op: &str, id: &str| json!({ "op": op, "collection": "games", "id": id });
    let with = |op: &str, id: &str, more: Value| {
        let mut operation = doc(op, id);
        operation.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        operation
    };
    let failing = [
        (with("create", "g1", json!({ "state": {} })), 409, "already-exists"),
        (with("put", "g1", json!({ "state": {}, "expectedVersion": 1 })), 409, "version-conflict"),
        (with("put", "g1", json!({ "state": [] })), 400, "invalid-request"),
        (with("patch", "none", json!({ "patch": {} })), 404, "not-found"),
        (with("patch", "g1", json!({ "patch": [{ "op": "remove", "path": "/none" }] })), 422, "patch-failed"),
        (with("patch", "g1", json!({ "patch": [{ "op": "boom", "path": "/n" }] })), 400, "invalid-request"),
        (with("action", "g1", json!({})), 400, "invalid-request"),
        (with("action", "g1", json!({ "type": "no spaces" })), 400, "invalid-request"),
        (with("delete", "none", json!({})), 404, "not-found"),
        (with("delete", "g1", json!({ "state": {} })), 400, "invalid-request"),
        (with("delete", "g1", json!({ "extra": {} })), 400, "invalid-request"),
        (with("explode", "g1", json!({})), 400, "invalid-request"),
        (with("delete", "-bad-", json!({})), 400, "invalid-request"),
        (json!({ "op": "delete", "collection": "games" }), 400, "invalid-request"),
        (json!({ "op": "delete", "collection": "GAMES", "id": "g1" }), 400, "invalid-request"),
        (json!(7), 400, "invalid-request"),
    ];
    let standing = server.standing("/api/v1/games/g1").await;
    for (operation, status, slug) in failing {
        for (operations, index) in
            [(json!([good, fresh, operation, good]), 2), (json!([good, operation]), 1), (json!([operation, good]), 0)]
        {
            // After `good`, version 1 is stale; before it, it is not.
            if slug == "version-conflict" && index == 0 {
                continue;
            }
            let problem = batch(&server, operations).await.problem(status, slug);
            assert_eq!(problem["index"], index, "{operation} {problem}");
            assert_eq!(server.standing("/api/v1/games/g1").await, standing, "{operation}");
        }
        if slug != "version-conflict" {
            assert_eq!(batch(&server, json!([operation])).await.problem(status, slug)["index"], 0);
        }
    }
    server.ask("GET", "/api/v1/games/fresh", &[]).await.problem(404, "not-found");
    let gone = json!([doc("delete", "g1"), good]);
    let problem = batch(&server, gone).await.problem(410, "gone");
    assert_eq!(problem["index"], 1);
    assert_eq!(server.standing("/api/v1/games/g1").await, standing);
}

#[tokio::test]
async fn a_batch_holds_1_to_100_operations() {
    let server = Process::start(&[]);
    let many = |count: usize| -> Value {
        (0..count).map(|n| json!({ "op": "put", "collection": "many", "id": format!("d{n}"), "state": {} })).collect()
    };
    let full = batch(&server, many(100)).await.expect(200);
    assert_eq!(full.body["results"].as_array().unwrap().len(), 100);
    for count in [0, 101, 5000] {
        batch(&server, many(count)).await.problem(400, "invalid-request");
    }
    for body in [json!({}), json!([]), json!({ "operations": {} }), json!({ "operations": [], "extra": 1 })] {
        server.tell("POST", "/api/v1/batch", &[], body).await.problem(400, "invalid-request");
    }
    assert_eq!(server.get("/readyz").await.1["seq"], 100);
}

#[tokio::test]
async fn a_batch_in_few_words_has_no_body() {
    let server = Process::start(&[]);
    let body = json!({ "operations": [{ "op": "create", "collection": "games", "id": "g1", "state": {} }] });
    let made = server.tell("POST", "/api/v1/batch", &[("prefer", "return=minimal")], body).await.expect(204);
    assert_eq!((made.text.as_str(), made.header("preference-applied")), ("", "return=minimal"));
    assert!(made.header("rejoin-position").starts_with("1-"));
}

#[tokio::test]
async fn conditions_that_name_one_document_mean_nothing_to_a_batch_and_are_refused() {
    let server = Process::start(&[]);
    let body = json!({ "operations": [{ "op": "create", "collection": "games", "id": "g1", "state": {} }] });
    for header in [("if-match", "*"), ("if-none-match", "*")] {
        server.tell("POST", "/api/v1/batch", &[header], &body).await.problem(400, "invalid-request");
    }
    server.ask("GET", "/api/v1/games/g1", &[]).await.problem(404, "not-found");
}

#[tokio::test]
async fn a_batch_cannot_be_used_to_look_or_reach_where_a_player_may_not() {
    let server = Process::start(&[]);
    server.put("/api/v1/games/g1", &json!({ "n": 1, "hidden": { "x": "spades" } })).await;
    let closed = json!({ "id": "g2", "state": { "n": 1 }, "access": { "write": "host" } });
    server.tell("POST", "/api/v1/games", &[], closed).await.expect(201);
    let good = json!({ "op": "patch", "collection": "games", "id": "g1", "patch": { "n": 2 } });
    let standing = server.standing("/api/v1/games/g1").await;
    for bad in [
        json!({ "op": "patch", "collection": "games", "id": "g1", "patch": { "hidden": null } }),
        json!({ "op": "patch", "collection": "games", "id": "g1",
            "patch": [{ "op": "test", "path": "/hidden/x", "value": "spades" }] }),
        json!({ "op": "patch", "collection": "games", "id": "g2", "patch": { "n": 2 } }),
    ] {
        let body = json!({ "operations": [good, bad] });
        let reply = server.tell("POST", "/api/v1/batch", &[(AS, "ann")], body).await;
        assert!(!reply.text.contains("spades"));
        assert_eq!(reply.problem(403, "forbidden")["index"], 1);
        assert_eq!(server.standing("/api/v1/games/g1").await, standing);
    }
}
