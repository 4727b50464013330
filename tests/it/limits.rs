//! The bounds on bodies, states and depth are where the configuration puts them.

use serde_json::{Value, json};

use crate::support::Process;

/// An object that nests `levels` deep, itself included.
pub fn nested(levels: usize) -> Value {
    (1..levels).fold(json!({}), |inner, _| json!({ "a": inner }))
}

#[tokio::test]
async fn a_state_may_be_as_large_as_the_bound_and_not_a_byte_larger() {
    let server = Process::start(&["--state-bytes-max", "1000", "--body-bytes-max", "3000"]);
    let path = "/api/v1/games/g1";
    let exact = json!({ "t": "x".repeat(1000 - r#"{"t":""}"#.len()) });
    server.tell("PUT", path, &[], json!({ "state": exact })).await.expect(201);
    let standing = server.standing(path).await;
    let larger = json!({ "t": "x".repeat(1001 - r#"{"t":""}"#.len()) });
    let problem = server.tell("PUT", path, &[], json!({ "state": larger })).await.problem(413, "too-large");
    assert_eq!(problem["maxBytes"], 1000);
    let merge = [("content-type", "application/merge-patch+json")];
    server.tell("PATCH", path, &merge, json!({ "u": 1 })).await.problem(413, "too-large");
    server.json_patch(path, &json!([{ "op": "copy", "from": "/t", "path": "/u" }])).await.problem(413, "too-large");
    let action = json!({ "type": "x", "patch": { "u": 1 } });
    server.tell("POST", &format!("{path}/actions"), &[], action).await.problem(413, "too-large");
    // Six bytes on the wire for one in memory: the bound is on what is stored.
    let escaped = format!("{{\"state\":{{\"t\":\"{}\"}}}}", "\\u0041".repeat(400));
    server.tell("PUT", "/api/v1/games/g2", &[], escaped).await.expect(201);
    assert_eq!(server.standing(path).await.0, standing.0);
}

#[tokio::test]
async fn a_body_may_be_as_large_as_the_bound_and_not_a_byte_larger() {
    let server = Process::start(&["--state-bytes-max", "600", "--body-bytes-max", "2000"]);
    let padded = |size: usize| format!("{:<size$}", r#"{"state":{}}"#);
    server.tell("PUT", "/api/v1/games/g1", &[], padded(2000)).await.expect(201);
    let standing = server.standing("/api/v1/games/g1").await;
    let problem = server.tell("PUT", "/api/v1/games/g1", &[], padded(2001)).await.problem(413, "too-large");
    assert_eq!(problem["maxBytes"], 2000);
    let payload = json!({ "type": "x", "payload": { "t": "x".repeat(2000) } });
    server.tell("POST", "/api/v1/games/g1/actions", &[], payload).await.problem(413, "too-large");
    assert_eq!(server.standing("/api/v1/games/g1").await, standing);
}

#[tokio::test]
async fn a_body_or_state_may_nest_as_deep_as_the_bound() {
    let server = Process::start(&["--depth-max", "8"]);
    let path = "/api/v1/games/g1";
    server.tell("PUT", path, &[], json!({ "state": nested(7) })).await.expect(201);
    let merge = [("content-type", "application/merge-patch+json")];
    server.tell("PATCH", path, &merge, nested(8)).await.expect(200);
    let standing = server.standing(path).await;
    let problem = server.tell("PATCH", path, &merge, nested(9)).await.problem(413, "too-large");
    assert_eq!(problem["maxDepth"], 8);
    server.tell("PUT", path, &[], json!({ "state": nested(8) })).await.problem(413, "too-large");
    let deepen = json!([{ "op": "copy", "from": "/a", "path": "/a/a/a/a" }]);
    server.json_patch(path, &deepen).await.problem(413, "too-large");
    assert_eq!(server.standing(path).await, standing);
    // What nests in a string does not nest.
    server.tell("PUT", path, &[], json!({ "state": { "t": "[".repeat(100) } })).await.expect(200);
}

#[tokio::test]
async fn without_configuration_the_bounds_are_two_and_one_mebibyte_and_64_levels() {
    let server = Process::start(&[]);
    let state = |size: usize| json!({ "state": { "t": "x".repeat(size - r#"{"t":""}"#.len()) } });
    server.tell("PUT", "/api/v1/games/g1", &[], state(1 << 20)).await.expect(201);
    let problem = server.tell("PUT", "/api/v1/games/g2", &[], state((1 << 20) + 1)).await.problem(413, "too-large");
    assert_eq!(problem["maxBytes"], 1 << 20);
    server.tell("PUT", "/api/v1/games/g3", &[], json!({ "state": nested(63) })).await.expect(201);
    let problem = server.tell("PUT", "/api/v1/games/g2", &[], json!({ "state": nested(64) })).await;
    assert_eq!(problem.problem(413, "too-large")["maxDepth"], 64);
    let problem = server.tell("PUT", "/api/v1/games/g2", &[], " ".repeat((2 << 20) + 1)).await;
    assert_eq!(problem.problem(413, "too-large")["maxBytes"], 2 << 20);
    server.ask("GET", "/api/v1/games/g2", &[]).await.problem(404, "not-found");
}
