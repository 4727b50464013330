//! Answers of every kind, compared with their descriptions.

use serde_json::{Value, json};

use super::start;
use crate::support::process;
use crate::support::{Follower, Process, Told};

const DOCUMENT: &str = "/api/v1/{collection}/{id}";
const COLLECTION: &str = "/api/v1/{collection}";
const LIMITS: &str = "/api/v1/admin/rate-limits";
const SEATS: &str = "/api/v1/games/{id}/seats";
const SERVICE: &str = "/reconciliation/services/{service}";

/// A call, the operation that describes it, and the status of its answer.
struct Call {
    method: &'static str,
    /// The operation's path, with its parameters in braces.
    operation: String,
    path: String,
    media_type: &'static str,
    body: Option<Value>,
    status: u16,
}

/// A GET of `path`, which is described as `operation`.
fn get(operation: impl Into<String>, path: impl Into<String>, status: u16) -> Call {
    let (operation, path) = (operation.into(), path.into());
    Call { method: "get", operation, path, media_type: "application/json", body: None, status }
}

/// The same of a path without parameters.
fn read(path: &str) -> Call {
    get(path.split('?').next().unwrap(), path, 200)
}

/// A call with a body.
fn send(method: &'static str, operation: impl Into<String>, path: &str, body: Value, status: u16) -> Call {
    Call { method, body: Some(body), ..get(operation, path, status) }
}

/// A POST with a body to a path without parameters.
fn post(path: &str, body: Value, status: u16) -> Call {
    send("post", path, path, body, status)
}

/// Makes the calls in their order and compares each answer with its description.
async fn check_answers(server: &Process, description: &Value, calls: impl IntoIterator<Item = Call>) {
    for Call { method, operation, path, media_type, body, status } in calls {
        let mut request = server.request(&method.to_uppercase(), &path).header("accept", "application/json");
        if let Some(body) = body {
            request = request.header("content-type", media_type).body(body.to_string());
        }
        let response = request.send().await.unwrap();
        let kind = response.headers()["content-type"].to_str().unwrap().to_owned();
        let (got, answer) = process::json(response).await;
        assert_eq!(got, status, "{method} {path}: {answer}");
        let described = &description["paths"][operation][method]["responses"][status.to_string()];
        let schema = &described["content"][kind]["schema"];
        assert!(schema.is_object(), "{method} {path}: {status} is not described");
        check(description, schema, &answer).unwrap_or_else(|complaint| panic!("{method} {path}: {complaint}"));
    }
}

/// Checks `value` against `schema`, for the words of JSON Schema that the description uses, and more strictly: an
/// object with named members has no others.
fn check(description: &Value, schema: &Value, value: &Value) -> Result<(), String> {
    if let Some(reference) = schema["$ref"].as_str() {
        let schema = description.pointer(reference.trim_start_matches('#')).ok_or(reference)?;
        return check(description, schema, value);
    }
    for word in ["oneOf", "anyOf"] {
        if let Some(choices) = schema[word].as_array() {
            let complaints: Vec<String> =
                choices.iter().filter_map(|one| check(description, one, value).err()).collect();
            return if complaints.len() < choices.len() { Ok(()) } else { Err(complaints.join("; or ")) };
        }
    }
    if let Some(types) = schema.get("type") {
        let kind = match value {
            Value::Null => "null",
            Value::Bool(_) => "boolean",
            Value::Number(number) if number.is_u64() || number.is_i64() => "integer",
            Value::Number(_) => "number",
            Value::String(_) => "string",
            Value::Array(_) => "array",
            Value::Object(_) => "object",
        };
        let takes = |kind: &str| types == kind || types.as_array().is_some_and(|types| types.contains(&json!(kind)));
        if !(takes(kind) || (kind == "integer" && takes("number"))) {
            return Err(format!("{value} is not of type {types}"));
        }
    }
    if schema["enum"].as_array().is_some_and(|values| !values.contains(value)) {
        return Err(format!("{value} is none of {}", schema["enum"]));
    }
    for item in value.as_array().into_iter().flatten() {
        check(description, &schema["items"], item)?;
    }
    match value {
        Value::Object(members) => {
            let all = parts(description, schema);
            for required in all.iter().flat_map(|part| part["required"].as_array()).flatten() {
                let name = required.as_str().unwrap();
                members.get(name).ok_or(format!("{name} is missing in {value}"))?;
            }
            let named: Vec<_> = all.iter().filter_map(|part| part["properties"].as_object()).collect();
            for (name, member) in members.iter().filter(|_| !named.is_empty()) {
                let mut schemas = named.iter().filter_map(|properties| properties.get(name)).peekable();
                schemas.peek().ok_or(format!("{name} is not described: {value}"))?;
                schemas.try_for_each(|schema| check(description, schema, member))?;
            }
            Ok(())
        }
        _ => Ok(()),
    }
}

/// The schemas that hold for an object together.
fn parts<'a>(description: &'a Value, schema: &'a Value) -> Vec<&'a Value> {
    match (schema["$ref"].as_str(), schema["allOf"].as_array()) {
        (Some(reference), _) => parts(description, description.pointer(reference.trim_start_matches('#')).unwrap()),
        (None, Some(all)) => all.iter().flat_map(|part| parts(description, part)).collect(),
        (None, None) => vec![schema],
    }
}

#[tokio::test]
async fn writes_of_documents_answer_as_described() {
    let (server, description) = start().await;
    let secret = json!({ "state": { "round": 2, "hidden": { "deck": [1, 2] } } });
    let stale = json!({ "state": {}, "expectedVersion": 1 });
    let created = json!({ "op": "create", "collection": "games", "id": "g3", "state": {} });
    let merge = Call { media_type: "application/merge-patch+json", ..patch(json!({ "round": 3 }), 200) };
    let missing = json!([{ "op": "remove", "path": "/x" }]);
    let calls = [
        send("post", COLLECTION, "/api/v1/games", json!({ "id": "g2", "state": {} }), 201),
        send("post", COLLECTION, "/api/v1/games", json!({ "id": "g1", "state": {} }), 409),
        send("post", COLLECTION, "/api/v1/games", json!({ "no": 1 }), 400),
        send("put", DOCUMENT, "/api/v1/games/g1", secret, 200),
        send("put", DOCUMENT, "/api/v1/games/g1", stale, 409),
        Call { media_type: "text/plain", ..send("put", DOCUMENT, "/api/v1/games/g1", json!({}), 415) },
        merge,
        Call { media_type: "application/json-patch+json", ..patch(missing, 422) },
        of_document("actions", json!({ "type": "wave" })),
        of_document("rollback", json!({ "toVersion": 1 })),
        post("/api/v1/batch", json!({ "operations": [created] }), 200),
    ];
    check_answers(&server, &description, calls).await;
}

/// A PATCH of `games/g1`.
fn patch(body: Value, status: u16) -> Call {
    send("patch", DOCUMENT, "/api/v1/games/g1", body, status)
}

/// A POST to a call of `games/g1`.
fn of_document(name: &str, body: Value) -> Call {
    send("post", format!("{DOCUMENT}/{name}"), &format!("/api/v1/games/g1/{name}"), body, 200)
}

#[tokio::test]
async fn reads_of_documents_answer_as_described() {
    let (server, description) = start().await;
    let calls = [
        get(DOCUMENT, "/api/v1/games/g1", 200),
        get(DOCUMENT, "/api/v1/games/none", 404),
        get(COLLECTION, "/api/v1/games?include=state&limit=1", 200),
        get(format!("{DOCUMENT}/events"), "/api/v1/games/g1/events?limit=2", 200),
        Call { method: "delete", ..get(DOCUMENT, "/api/v1/games/g1", 200) },
        get(DOCUMENT, "/api/v1/games/g1", 410),
    ];
    check_answers(&server, &description, calls).await;
}

#[tokio::test]
async fn seats_and_reconnects_answer_as_described() {
    let (server, description) = start().await;
    let token = "/api/game/{gameId}/connection-token";
    let calls = [
        send("post", SEATS, "/api/v1/games/g1/seats", json!({ "playerId": "alice" }), 201),
        send("post", SEATS, "/api/v1/games/g1/seats", json!({ "playerId": "bob", "seat": 0 }), 409),
        get(SEATS, "/api/v1/games/g1/seats", 200),
        get(token, "/api/game/g1/connection-token?playerId=alice", 200),
        send("post", "/api/game/{gameId}/reconnect", "/api/game/g1/reconnect", json!({ "gameId": "g3" }), 400),
        send("post", "/api/v1/games/{id}/complete", "/api/v1/games/g1/complete", json!({}), 200),
    ];
    check_answers(&server, &description, calls).await;
}

#[tokio::test]
async fn rate_limits_answer_as_described() {
    let (server, description) = start().await;
    let calls = [
        read(&format!("{LIMITS}/configs?limit=1")),
        get(format!("{LIMITS}/configs/{{userId}}"), format!("{LIMITS}/configs/alice"), 200),
        read(&format!("{LIMITS}/rules")),
        get(format!("{LIMITS}/rules/{{ruleId}}"), format!("{LIMITS}/rules/calm"), 200),
        read(&format!("{LIMITS}/metrics")),
    ];
    check_answers(&server, &description, calls).await;
}

#[tokio::test]
async fn reconciliation_answers_as_described() {
    let (server, description) = start().await;
    let report = json!({ "expected": { "sent": 3 }, "actual": { "sent": 2.5 } });
    let mail = "/reconciliation/services/mail";
    let calls = [
        send("put", SERVICE, mail, json!({ "reportEverySeconds": 60 }), 201),
        send("post", format!("{SERVICE}/reports"), &format!("{mail}/reports"), report, 200),
        get(SERVICE, mail, 200),
        read("/reconciliation/services?limit=1"),
        read("/reconciliation/status"),
        read("/reconciliation/audit"),
        post("/reconciliation/run", json!({ "service": "mail" }), 200),
        post("/reconciliation/run", json!({ "service": "nobody" }), 404),
        post("/reconciliation/run", json!({ "service": "documents/games" }), 200),
        post("/reconciliation/repair", json!({ "document": "games/g1", "source": "memory" }), 409),
    ];
    check_answers(&server, &description, calls).await;
}

#[tokio::test]
async fn warnings_of_projects_answer_as_described() {
    let (server, description) = start().await;
    server.put("/api/v1/projects/p", &json!({ "name": "Book" })).await;
    server.put("/api/v1/characters/a", &json!({ "projectId": "p", "name": "A", "born": "2", "died": "1" })).await;
    let at = |rest: &str| format!("/api/v1/projects/{{id}}{rest}");
    let check = |status| Call {
        method: "post",
        ..get(at("/consistency/check"), "/api/v1/projects/p/consistency/check", status)
    };
    check_answers(&server, &description, [check(200), check(429)]).await;
    let (_, found) = server.get("/api/v1/projects/p/warnings").await;
    let path = |rest: &str| format!("/api/v1/projects/p/warnings/{}{rest}", found["items"][0]["id"].as_str().unwrap());
    let (one, dismiss) = (at("/warnings/{warningId}"), at("/warnings/{warningId}/dismiss"));
    let bulk = json!({ "filter": {}, "action": "resolve", "reason": "done" });
    let calls = [
        get(at("/warnings"), "/api/v1/projects/p/warnings?status=all", 200),
        get(at("/warnings/count"), "/api/v1/projects/p/warnings/count", 200),
        get(one.as_str(), path(""), 200),
        get(one.as_str(), "/api/v1/projects/p/warnings/none", 404),
        send("post", dismiss.as_str(), &path("/dismiss"), json!({ "reason": "so" }), 200),
        send("post", dismiss.as_str(), &path("/dismiss"), json!({ "reason": "so" }), 409),
        send("post", at("/warnings/{warningId}/resolve"), &path("/resolve"), json!({}), 409),
        send("post", at("/warnings/bulk"), "/api/v1/projects/p/warnings/bulk", bulk, 200),
        read("/api/v1/admin/consumers"),
    ];
    check_answers(&server, &description, calls).await;
}

#[tokio::test]
async fn client_errors_answer_as_described() {
    let (server, description) = start().await;
    let calls =
        [post("/audit/client-error", json!({ "message": "x is undefined" }), 200), read("/audit/client-errors")];
    check_answers(&server, &description, calls).await;
}

#[tokio::test]
async fn sessions_answer_as_described() {
    let (server, description) = start().await;
    let calls = [
        post("/api/v1/sessions", json!({ "device": { "name": "desk" } }), 201),
        post("/api/v1/sessions", json!({ "user": "a b" }), 400),
        read("/api/v1/sessions?limit=1"),
        read("/api/v1/admin/sessions?user=ann"),
        Call { method: "delete", ..get("/api/v1/sessions/{id}", "/api/v1/sessions/none", 404) },
        read("/api/v1/me"),
    ];
    check_answers(&server, &description, calls).await;
}

#[tokio::test]
async fn what_the_server_says_of_itself_is_as_described() {
    let (server, description) = start().await;
    let calls = [read("/problems"), get("/problems/{slug}", "/problems/gone", 200), read("/healthz"), read("/readyz")];
    check_answers(&server, &description, calls).await;
}

/// Requires that an event is as the stream's operation describes it.
fn check_event(description: &Value, operation: &str, told: &Told) {
    let described = &description["paths"][operation]["get"]["responses"]["200"]["content"]["text/event-stream"];
    let all = parts(description, &described["schema"]["items"])[0];
    let find = |variant: &&Value| {
        let pattern = parts(description, variant)[0]["properties"]["event"]["pattern"].as_str().unwrap_or_default();
        let names = pattern.trim_start_matches(['^', '(']).trim_end_matches(['$', ')']).replace('\\', "");
        names.split('|').any(|name| name == told.event)
    };
    let choices = all["oneOf"].as_array().unwrap_or_else(|| panic!("{operation}: {all}"));
    let variant = choices.iter().find(find).unwrap_or_else(|| panic!("{operation}: {} is not described", told.event));
    let value = json!({ "event": told.event, "id": told.id, "data": told.data });
    let with_id = parts(description, variant)[0]["properties"].get("id").is_some();
    let value = if with_id { value } else { json!({ "event": told.event, "data": told.data }) };
    check(description, variant, &value).unwrap_or_else(|why| panic!("{operation}: {}: {why}", told.event));
}

#[tokio::test]
async fn streams_send_what_is_described() {
    let mut server = Process::start(&["--heartbeat-seconds", "1"]);
    server.put("/api/v1/games/g1", &json!({ "round": 1 })).await;
    let description = super::description(&server).await;
    let operation = "/api/v1/{collection}/{id}/events";
    let url = format!("{}/api/v1/games/g1/events", server.url);
    let mut seen = std::collections::BTreeSet::new();
    let mut stream = Follower::connect(&url, Some("alice"), None).await.unwrap();
    server.merge("/api/v1/games/g1", &json!({ "round": 2 })).await;
    while !["snapshot", "change", "presence", "heartbeat"].iter().all(|name| seen.contains(*name)) {
        let told = stream.next_raw().await.unwrap();
        check_event(&description, operation, &told);
        seen.insert(told.event);
    }
    let position = stream.last_event_id.clone();
    let mut resumed = Follower::connect(&url, Some("alice"), Some(&position)).await.unwrap();
    check_event(&description, operation, &resumed.expect("resumed").await);
    let verdicts = format!("{}/reconciliation/stream", server.url);
    let mut verdicts = Follower::connect(&verdicts, None, None).await.unwrap();
    check_event(&description, "/reconciliation/stream", &verdicts.next_raw().await.unwrap());
    server.terminate();
    while let Some(told) = resumed.next_raw().await {
        check_event(&description, operation, &told);
        seen.insert(told.event);
    }
    assert!(seen.contains("bye"), "{seen:?}");
}

#[tokio::test]
async fn projects_answer_as_described() {
    const PROJECT: &str = "/api/v1/projects/{id}/progress";
    let (server, description) = start().await;
    let of_project = |suffix: &str, query: &str| {
        get(format!("{PROJECT}{suffix}"), format!("/api/v1/projects/p/progress{suffix}{query}"), 200)
    };
    let (progress, phases) = ("/api/v1/projects/p/progress", "/api/v1/projects/p/progress/phases");
    let chapter = json!({ "state": { "projectId": "p", "text": "some words" } });
    let calls = [
        send("put", DOCUMENT, "/api/v1/projects/p", json!({ "state": { "goal": { "words": 9 } } }), 201),
        send("put", DOCUMENT, "/api/v1/chapters/c", chapter, 201),
        send("put", PROJECT, progress, json!({ "notes": "n", "completionPercent": 2.5 }), 200),
        send("put", PROJECT, progress, json!({ "wordCount": 3 }), 409),
        send("post", format!("{PROJECT}/phases"), phases, json!({ "to": "writing", "reason": "r" }), 201),
        send("post", format!("{PROJECT}/phases"), phases, json!({ "to": "writing" }), 409),
        of_project("", ""),
        of_project("/history", "?order=desc"),
        of_project("/phases", ""),
        of_project("/statistics", "?tz=Asia/Tokyo"),
        of_project("/trends", "?period=weekly"),
    ];
    check_answers(&server, &description, calls).await;
}
