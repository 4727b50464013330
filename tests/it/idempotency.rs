//! A retry is safe: the same key gives the first answer and makes no second change.

use serde_json::{Value, json};

use crate::support::{AS, Disk, Moment, Process, Reply};

const MERGE: &str = "application/merge-patch+json";

/// A request that can be sent twice.
struct Call {
    method: &'static str,
    path: &'static str,
    media_type: &'static str,
    body: Value,
}

impl Call {
    fn post(path: &'static str, body: Value) -> Self {
        Self { method: "POST", path, media_type: "application/json", body }
    }

    async fn send(&self, server: &Process, key: &str, more: &[(&str, &str)]) -> Reply {
        let mut headers = vec![("idempotency-key", key), ("content-type", self.media_type)];
        headers.extend(more);
        server.tell(self.method, self.path, &headers, &self.body).await
    }
}

fn calls() -> Vec<Call> {
    let operations = json!([
        { "op": "create", "collection": "games", "state": {} },
        { "op": "patch", "collection": "games", "id": "g1", "patch": { "n": 4 } },
    ]);
    vec![
        Call::post("/api/v1/games", json!({ "state": { "made": true } })),
        Call::post("/api/v1/games/g1/actions", json!({ "type": "raise", "patch": { "n": 2 } })),
        Call { method: "PATCH", path: "/api/v1/games/g1", media_type: MERGE, body: json!({ "n": 3 }) },
        Call::post("/api/v1/games/g1/rollback", json!({ "toVersion": 1 })),
        Call::post("/api/v1/batch", json!({ "operations": operations })),
    ]
}

fn check_again(first: &Reply, again: &Reply) {
    assert_eq!((again.status, &again.text), (first.status, &first.text));
    assert_eq!(again.header("idempotency-replayed"), "true");
    assert!(!first.headers.contains_key("idempotency-replayed"));
    for name in ["etag", "location", "rejoin-position", "content-type", "preference-applied"] {
        assert_eq!(again.headers.get(name), first.headers.get(name), "{name}");
    }
}

async fn seq(server: &Process) -> Value {
    server.get("/readyz").await.1["seq"].clone()
}

#[tokio::test]
async fn a_repeated_key_gives_the_first_answer_also_after_kill_9() {
    let mut server = Process::start(&[]);
    server.put("/api/v1/games/g1", &json!({ "n": 1 })).await;
    let calls = calls();
    let mut first = Vec::new();
    for (index, call) in calls.iter().enumerate() {
        let reply = call.send(&server, &format!("key-{index}"), &[]).await;
        assert!(reply.status < 300, "{reply:?}");
        first.push(reply);
    }
    let (_, minimal) = (0, calls[1].send(&server, "minimal", &[("prefer", "return=minimal")]).await.expect(204));
    let end = seq(&server).await;
    for _ in 0..2 {
        for (index, call) in calls.iter().enumerate() {
            check_again(&first[index], &call.send(&server, &format!("key-{index}"), &[]).await);
        }
        check_again(&minimal, &calls[1].send(&server, "minimal", &[("prefer", "return=minimal")]).await);
        assert_eq!(seq(&server).await, end);
        server.kill();
        server.start_again();
    }
}

#[tokio::test]
async fn a_known_key_with_another_request_is_refused() {
    let server = Process::start(&[]);
    server.put("/api/v1/games/g1", &json!({ "n": 1 })).await;
    server.put("/api/v1/games/g2", &json!({ "n": 1 })).await;
    let merge = [("idempotency-key", "k"), ("content-type", MERGE)];
    server.tell("PATCH", "/api/v1/games/g1", &merge, json!([])).await.problem(400, "invalid-request");
    server.tell("PATCH", "/api/v1/games/g1", &merge, json!({ "n": 2 })).await.expect(200);
    let standing = server.standing("/api/v1/games/g1").await;
    let other_type = [("idempotency-key", "k"), ("content-type", "application/json-patch+json")];
    let key = [("idempotency-key", "k")];
    for reply in [
        server.tell("PATCH", "/api/v1/games/g1", &merge, json!({ "n": 3 })).await,
        server.tell("PATCH", "/api/v1/games/g2", &merge, json!({ "n": 2 })).await,
        server.tell("PATCH", "/api/v1/games/g1", &other_type, json!([])).await,
        server.tell("POST", "/api/v1/games/g1/actions", &key, json!({ "type": "x" })).await,
        server.tell("POST", "/api/v1/games", &key, json!({ "state": {} })).await,
    ] {
        reply.problem(422, "idempotency-mismatch");
    }
    assert_eq!(server.standing("/api/v1/games/g1").await, standing);
    // With its quotes it is the same key.
    let quoted = [("idempotency-key", "\"k\""), ("content-type", MERGE)];
    let again = server.tell("PATCH", "/api/v1/games/g1", &quoted, json!({ "n": 2 })).await.expect(200);
    assert_eq!(again.header("idempotency-replayed"), "true");
}

#[tokio::test]
async fn a_key_belongs_to_who_sends_it() {
    let server = Process::start(&[]);
    server.put("/api/v1/games/g1", &json!({ "hidden": { "deck": "ace" } })).await;
    let action = Call::post("/api/v1/games/g1/actions", json!({ "type": "x" }));
    // `owner` as a player's name is not the owner.
    for viewer in [None, Some("ann"), Some("bob"), Some("owners")] {
        let headers: Vec<(&str, &str)> = viewer.iter().map(|viewer| (AS, *viewer)).collect();
        let first = action.send(&server, "same", &headers).await.expect(200);
        assert!(!first.headers.contains_key("idempotency-replayed"), "{viewer:?}");
        check_again(&first, &action.send(&server, "same", &headers).await);
    }
    assert_eq!(server.get("/api/v1/games/g1").await.1["version"], 5);
}

#[tokio::test]
async fn a_refused_request_leaves_its_key_free() {
    let server = Process::start(&[]);
    let path = "/api/v1/games/g1/actions";
    let action = Call::post(path, json!({ "type": "x", "patch": { "n": 1 }, "expectedVersion": 1 }));
    action.send(&server, "k", &[]).await.problem(409, "version-conflict");
    server.put("/api/v1/games/g1", &json!({})).await;
    let made = action.send(&server, "k", &[]).await.expect(200);
    assert!(!made.headers.contains_key("idempotency-replayed"));
    // The condition no longer holds, but the answer was given.
    check_again(&made, &action.send(&server, "k", &[]).await);
    let reused = Call::post(path, json!({ "type": "y" }));
    reused.send(&server, "k", &[]).await.problem(422, "idempotency-mismatch");
}

#[tokio::test]
async fn requests_with_one_key_at_the_same_time_make_one_change() {
    let server = Process::start(&[]);
    server.put("/api/v1/games/g1", &json!({})).await;
    for round in 0..10_u64 {
        let (key, before) = (format!("round-{round}"), seq(&server).await.as_u64().unwrap());
        let action = Call::post("/api/v1/games/g1/actions", json!({ "type": "x", "payload": { "round": round } }));
        let (one, two, three, four) = tokio::join!(
            action.send(&server, &key, &[]),
            action.send(&server, &key, &[]),
            action.send(&server, &key, &[]),
            action.send(&server, &key, &[]),
        );
        let replies = [one, two, three, four];
        let replayed = replies.iter().filter(|reply| reply.headers.contains_key("idempotency-replayed")).count();
        assert_eq!(replayed, 3, "{replies:?}");
        assert!(replies.iter().all(|reply| reply.status == 200 && reply.text == replies[0].text), "{replies:?}");
        assert_eq!(seq(&server).await, before + 1);
    }
}

#[tokio::test]
async fn a_key_that_was_killed_in_the_middle_makes_one_change_in_the_end() {
    let (disk, mut server) = Disk::with_server(&[]);
    server.put("/api/v1/games/g1", &json!({ "n": 0 })).await;
    for (round, moment) in (1_u64..).zip(Moment::ALL) {
        let (key, body) = (format!("key-of-round-{round}"), json!({ "type": "x", "patch": { "n": round } }));
        disk.kill(moment, &key);
        let request = server.request("POST", "/api/v1/games/g1/actions").header("idempotency-key", &key).json(&body);
        assert!(request.send().await.is_err(), "{moment:?}: killed before it was answered");
        server.until_killed().await;
        disk.set("off");
        server.start_again();
        let action = Call::post("/api/v1/games/g1/actions", body);
        let reply = action.send(&server, &key, &[]).await.expect(200);
        let replayed = reply.headers.contains_key("idempotency-replayed");
        assert_eq!(replayed, moment.keeps_the_change(), "{moment:?}");
        assert_eq!(reply.body["version"], round + 1);
        assert_eq!(server.get("/api/v1/games/g1").await.1["version"], round + 1);
    }
}

#[tokio::test]
async fn a_key_that_was_answered_before_a_kill_is_on_disk() {
    let mut server = Process::start(&[]);
    server.put("/api/v1/games/g1", &json!({ "n": 0 })).await;
    let action = Call::post("/api/v1/games/g1/actions", json!({ "type": "x", "patch": { "n": 1 } }));
    let first = action.send(&server, "k", &[]).await.expect(200);
    server.kill();
    server.start_again();
    check_again(&first, &action.send(&server, "k", &[]).await);
    assert_eq!(server.get("/api/v1/games/g1").await.1["version"], 2);
}
