//! Writes under a condition: made when it holds, refused with what stands there when it does not.

use serde_json::{Value, json};

use crate::support::{AS, Process, Reply};

const PATH: &str = "/api/v1/games/g1";
const MERGE: (&str, &str) = ("content-type", "application/merge-patch+json");

/// Every way of writing to a document that is there, with this header.
async fn all_writes(server: &Process, header: (&str, &str)) -> Vec<Reply> {
    let (actions, rollback) = (format!("{PATH}/actions"), format!("{PATH}/rollback"));
    let json_patch = ("content-type", "application/json-patch+json");
    vec![
        server.tell("PUT", PATH, &[header], json!({ "state": { "n": 9 } })).await,
        server.tell("PATCH", PATH, &[header, MERGE], json!({ "n": 9 })).await,
        server.tell("PATCH", PATH, &[header, json_patch], json!([])).await,
        server.tell("POST", &actions, &[header], json!({ "type": "x", "patch": { "n": 9 } })).await,
        server.tell("POST", &rollback, &[header], json!({ "toVersion": 1 })).await,
        server.ask("DELETE", PATH, &[header]).await,
    ]
}

fn check_conflict(reply: Reply, status: u16, document: &Value) {
    let problem = reply.problem(status, "version-conflict");
    assert_eq!(problem["currentVersion"], document["version"]);
    assert_eq!(problem["currentHash"], document["hash"]);
    assert_eq!(problem["current"], document["state"]);
}

#[tokio::test]
async fn a_stale_if_match_is_412_with_what_is_there_and_changes_nothing() {
    let server = Process::start(&[]);
    let first = server.tell("PUT", PATH, &[], json!({ "state": { "n": 1 } })).await.expect(201);
    let old = first.header("etag").to_owned();
    let (_, now) = server.merge(PATH, &json!({ "n": 2 })).await;
    let standing = server.standing(PATH).await;
    let same_version_other_history = "\"2-000000000000\"";
    let weak = format!("W/{}", standing.1);
    for stale in [old.as_str(), same_version_other_history, "\"x\"", "\"3-000000000000\"", &weak, "\"2\""] {
        for reply in all_writes(&server, ("if-match", stale)).await {
            check_conflict(reply, 412, &now);
        }
    }
    assert_eq!(server.standing(PATH).await, standing);
    for holding in [standing.1.clone(), format!("\"x\", {}", standing.1), "*".to_owned()] {
        let tag = if holding == "*" { holding } else { server.ask("GET", PATH, &[]).await.header("etag").to_owned() };
        server.tell("PATCH", PATH, &[("if-match", &tag), MERGE], json!({ "n": 3 })).await.expect(200);
    }
}

#[tokio::test]
async fn if_none_match_keeps_a_write_from_what_is_there() {
    let server = Process::start(&[]);
    let any = ("if-none-match", "*");
    let made = server.tell("PUT", PATH, &[any], json!({ "state": { "n": 1 } })).await.expect(201);
    let standing = server.standing(PATH).await;
    for reply in all_writes(&server, any).await {
        check_conflict(reply, 412, &made.body);
    }
    for reply in all_writes(&server, ("if-none-match", &standing.1)).await {
        check_conflict(reply, 412, &made.body);
    }
    assert_eq!(server.standing(PATH).await, standing);
    let other = [("if-none-match", "\"7-abcdefabcdef\"")];
    server.tell("PUT", PATH, &other, json!({ "state": { "n": 2 } })).await.expect(200);
    server.ask("DELETE", PATH, &[]).await.expect(200);
    let back = server.tell("PUT", PATH, &[any], json!({ "state": { "n": 4 } })).await.expect(201);
    assert_eq!(back.body["version"], 4);
}

#[tokio::test]
async fn a_stale_expected_version_is_409_with_what_is_there() {
    let server = Process::start(&[]);
    server.put(PATH, &json!({ "n": 1 })).await;
    let (_, now) = server.merge(PATH, &json!({ "n": 2 })).await;
    let standing = server.standing(PATH).await;
    for version in [0_u64, 1, 3, u64::MAX] {
        let calls = [
            ("PUT", PATH.to_owned(), json!({ "state": {}, "expectedVersion": version })),
            ("POST", format!("{PATH}/actions"), json!({ "type": "x", "patch": {}, "expectedVersion": version })),
            ("POST", format!("{PATH}/rollback"), json!({ "toVersion": 1, "expectedVersion": version })),
        ];
        for (method, path, body) in calls {
            check_conflict(server.tell(method, &path, &[], body).await, 409, &now);
        }
    }
    assert_eq!(server.standing(PATH).await, standing);
    let body = json!({ "state": { "n": 3 }, "expectedVersion": 2 });
    // Both conditions hold, then the header alone does not.
    server.tell("PUT", PATH, &[("if-match", &standing.1)], &body).await.expect(200);
    let body = json!({ "state": { "n": 4 }, "expectedVersion": 3 });
    server.tell("PUT", PATH, &[("if-match", &standing.1)], &body).await.problem(412, "version-conflict");
}

#[tokio::test]
async fn conditions_on_what_is_not_there() {
    let server = Process::start(&[]);
    let state = json!({ "state": {} });
    for tag in ["*", "\"1-abcdefabcdef\""] {
        let problem = server.tell("PUT", PATH, &[("if-match", tag)], &state).await.problem(412, "version-conflict");
        assert_eq!((&problem["currentVersion"], problem.get("current")), (&json!(0), None));
        let patched = server.tell("PATCH", PATH, &[("if-match", tag), MERGE], json!({})).await;
        patched.problem(412, "version-conflict");
        server.ask("DELETE", PATH, &[("if-match", tag)]).await.problem(412, "version-conflict");
    }
    let body = json!({ "state": {}, "expectedVersion": 1 });
    let problem = server.tell("PUT", PATH, &[], body).await.problem(409, "version-conflict");
    assert_eq!(problem["currentVersion"], 0);
    server.ask("GET", PATH, &[]).await.problem(404, "not-found");
    server.tell("PUT", PATH, &[], json!({ "state": {}, "expectedVersion": 0 })).await.expect(201);
}

#[tokio::test]
async fn conditions_on_what_was_deleted() {
    let server = Process::start(&[]);
    server.put(PATH, &json!({ "secret": 1 })).await;
    let gone = server.ask("DELETE", PATH, &[]).await.expect(200);
    let tag = gone.header("etag").to_owned();
    for stale in ["*", tag.as_str(), "\"1-abcdefabcdef\""] {
        let reply = server.tell("PUT", PATH, &[("if-match", stale)], json!({ "state": {} })).await;
        check_conflict(reply, 412, &gone.body);
    }
    let body = json!({ "state": {}, "expectedVersion": 1 });
    check_conflict(server.tell("PUT", PATH, &[], body).await, 409, &gone.body);
    let body = json!({ "state": {}, "expectedVersion": 2 });
    assert_eq!(server.tell("PUT", PATH, &[], body).await.expect(201).body["version"], 3);
    server.ask("DELETE", PATH, &[]).await.expect(200);
    let body = json!({ "state": {}, "expectedVersion": 0 });
    assert_eq!(server.tell("PUT", PATH, &[], body).await.expect(201).body["version"], 5);
}

#[tokio::test]
async fn a_conflict_shows_a_player_no_more_than_a_read_does() {
    let server = Process::start(&[]);
    let state = json!({ "n": 1, "hidden": { "deck": "spades" }, "private": { "ann": "king", "bob": "queen" } });
    server.put(PATH, &state).await;
    let ann = (AS, "ann");
    let stale = ("if-match", "\"7-abcdefabcdef\"");
    let by_header = server.tell("PATCH", PATH, &[ann, stale, MERGE], json!({ "n": 2 })).await;
    let body = json!({ "type": "x", "patch": { "n": 2 }, "expectedVersion": 7 });
    let by_body = server.tell("POST", &format!("{PATH}/actions"), &[ann], body).await;
    for (reply, status) in [(by_header, 412), (by_body, 409)] {
        assert!(!reply.text.contains("spades") && !reply.text.contains("queen"), "{}", reply.text);
        let problem = reply.problem(status, "version-conflict");
        assert_eq!(problem["current"], json!({ "n": 1, "private": { "ann": "king" } }));
    }
}
