//! A problem names all that is wrong with a request at once, in words of JSON.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::support::{Process, Reply};

const PATH: &str = "/api/v1/games/g1";

/// The fields that a refusal names.
#[track_caller]
fn fields(reply: Reply) -> BTreeSet<String> {
    let problem = reply.problem(400, "invalid-request");
    let errors = problem["errors"].as_array().unwrap_or_else(|| panic!("{problem}"));
    let told: Vec<String> = errors.iter().map(|error| error["field"].as_str().unwrap().to_owned()).collect();
    let set: BTreeSet<String> = told.iter().cloned().collect();
    assert_eq!(told.len(), set.len(), "each once: {problem}");
    for error in errors {
        let detail = error["detail"].as_str().unwrap();
        assert!(!detail.is_empty());
        for word in ["expected ", "struct", "u64", "u32", "serde", "sequence", "enum"] {
            assert!(!detail.contains(word), "{problem}");
        }
    }
    set
}

fn set(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

#[tokio::test]
async fn every_member_that_is_wrong_is_named() {
    let server = Process::start(&[]);
    server.put(PATH, &json!({ "n": 1 })).await;
    let (actions, rollback) = (format!("{PATH}/actions"), format!("{PATH}/rollback"));
    for (method, path, body, expect) in [
        ("PUT", PATH, json!({ "state": 5, "expectedVersion": "x" }), &["state", "expectedVersion"][..]),
        ("PUT", PATH, json!({ "expectedVersion": "x" }), &["state", "expectedVersion"]),
        (
            "PUT",
            PATH,
            json!({ "state": [], "surprise": 1, "expectedVersion": -1 }),
            &["state", "surprise", "expectedVersion"],
        ),
        (
            "POST",
            "/api/v1/games",
            json!({ "id": "a b", "state": "x", "host": 1, "access": 5 }),
            &["id", "state", "host", "access"],
        ),
        ("POST", "/api/v1/games", json!({ "id": 5 }), &["id", "state"]),
        (
            "POST",
            &actions,
            json!({ "type": 5, "expectedVersion": 1.5, "patch": 7 }),
            &["type", "expectedVersion", "patch"],
        ),
        ("POST", &actions, json!({ "type": "a b", "patch": 7 }), &["type", "patch"]),
        ("POST", &actions, json!({ "expectedVersion": [] }), &["type", "expectedVersion"]),
        (
            "POST",
            &rollback,
            json!({ "toVersion": null, "expectedVersion": "1", "x": 1 }),
            &["toVersion", "expectedVersion", "x"],
        ),
        ("POST", &rollback, json!({ "expectedVersion": "1" }), &["toVersion", "expectedVersion"]),
    ] {
        let reply = server.tell(method, path, &[], &body).await;
        assert_eq!(fields(reply), set(expect), "{method} {path} {body}");
    }
}

#[tokio::test]
async fn headers_and_body_are_named_together() {
    let server = Process::start(&[]);
    server.put(PATH, &json!({ "n": 1 })).await;
    let headers = [("if-match", "x"), ("idempotency-key", "a b"), ("if-none-match", "y")];
    let reply = server.tell("PUT", PATH, &headers, json!({ "state": 5 })).await;
    assert_eq!(fields(reply), set(&["If-Match", "If-None-Match", "Idempotency-Key", "state"]));
}

#[tokio::test]
async fn every_parameter_that_is_wrong_is_named() {
    let server = Process::start(&[]);
    server.put(PATH, &json!({ "n": 1 })).await;
    for (target, expect) in [
        ("/api/v1/games?limit=0&cursor=!!!", &["limit", "cursor"][..]),
        ("/api/v1/games?limit=x&include=all&y=1", &["limit", "include", "y"]),
        ("/api/v1/games?limit=1&limit=2&include=all", &["limit", "include"]),
        ("/api/v1/games/g1/events?limit=x&wait=y&after=-", &["limit", "wait", "after"]),
        ("/api/v1/games/g1?version=x&y=1", &["version", "y"]),
    ] {
        assert_eq!(fields(server.ask("GET", target, &[]).await), set(expect), "{target}");
    }
}

#[tokio::test]
async fn every_operation_of_a_batch_that_is_wrong_is_named() {
    let server = Process::start(&[]);
    let body = json!({ "operations": [
        { "op": "put", "collection": "games", "id": "g1", "state": {} },
        { "op": "put", "collection": "Games", "id": "g 1", "state": 5 },
        { "op": "delete", "collection": "games", "id": "g2", "state": {} },
        5,
        { "op": "spell", "collection": "games", "id": "g3" },
        { "op": "patch", "collection": "games", "id": "g4" },
        { "op": "patch", "collection": "games", "id": "g4", "patch": [{ "op": "ad", "path": "x" }] },
    ] });
    let reply = server.tell("POST", "/api/v1/batch", &[], &body).await;
    assert_eq!(
        fields(reply),
        set(&[
            "operations[1].collection",
            "operations[1].id",
            "operations[1].state",
            "operations[2].state",
            "operations[3]",
            "operations[4].op",
            "operations[5].patch",
            "operations[6].patch[0].op",
        ])
    );
}

#[tokio::test]
async fn what_is_wrong_is_named_up_to_a_bound() {
    let server = Process::start(&[]);
    let operations: Vec<Value> = (0..100).map(|_| json!({ "op": 1, "collection": 2, "id": 3 })).collect();
    let reply = server.tell("POST", "/api/v1/batch", &[], json!({ "operations": operations })).await;
    let problem = reply.problem(400, "invalid-request");
    let count = problem["errors"].as_array().unwrap().len();
    assert!((10..=50).contains(&count), "{count}");
}

#[tokio::test]
async fn an_action_takes_a_json_patch_too_and_names_the_operation_that_is_none() {
    let server = Process::start(&[]);
    server.put(PATH, &json!({ "n": 1, "list": [1] })).await;
    let actions = format!("{PATH}/actions");
    let patch = json!([{ "op": "test", "path": "/n", "value": 1.0 }, { "op": "add", "path": "/list/-", "value": 2 }]);
    let made = server.tell("POST", &actions, &[], json!({ "type": "add", "patch": patch })).await.expect(200);
    assert_eq!(made.body["patch"], json!([{ "op": "add", "path": "/list/1", "value": 2 }]));
    let wrong = json!({ "type": "add", "patch": [{ "op": "add", "path": "/x", "value": 1 }, { "op": "ad" }] });
    assert_eq!(fields(server.tell("POST", &actions, &[], wrong).await), set(&["patch[1].op"]));
    let stale = json!({ "type": "add", "patch": [{ "op": "test", "path": "/n", "value": 2 }] });
    let problem = server.tell("POST", &actions, &[], stale).await.problem(422, "patch-failed");
    assert_eq!(problem["operation"], 0);
    for wrong in [json!("x"), json!(5), json!(true)] {
        let body = json!({ "type": "add", "patch": wrong });
        assert_eq!(fields(server.tell("POST", &actions, &[], body).await), set(&["patch"]));
    }
    let operation = json!({ "op": "action", "collection": "games", "id": "g1", "type": "add", "patch": patch });
    server.tell("POST", "/api/v1/batch", &[], json!({ "operations": [operation] })).await.expect(200);
    // What a player may not reach by a merge patch is not reached by this one.
    server.put("/api/v1/games/g2", &json!({ "hidden": { "a": 1 }, "private": { "bob": 1 } })).await;
    for path in ["/hidden/a", "/private/bob", "", "/hidden"] {
        let body = json!({ "type": "x", "patch": [{ "op": "test", "path": path, "value": 1 }] });
        let reply = server.tell("POST", "/api/v1/games/g2/actions", &[(crate::support::AS, "ann")], body).await;
        reply.problem(403, "forbidden");
    }
}

#[tokio::test]
async fn a_patch_that_leaves_no_object_is_named_and_not_a_state_that_nobody_sent() {
    let server = Process::start(&[]);
    server.put(PATH, &json!({ "n": 1 })).await;
    for body in [json!(5), json!("x"), json!(null), json!([])] {
        let merge = [("content-type", "application/merge-patch+json")];
        assert_eq!(fields(server.tell("PATCH", PATH, &merge, &body).await), set(&["body"]), "{body}");
    }
}
