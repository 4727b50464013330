//! Whatever is sent: it is refused with a problem that names it, nothing changes, and the server still answers.

use serde_json::{Value, json};

use crate::limits::nested;
use crate::support::{Process, Reply, send};

mod frames;
mod names;
mod patches;

const PATH: &str = "/api/v1/games/g1";
const MERGE: (&str, &str) = ("content-type", "application/merge-patch+json");
const JSON_PATCH: (&str, &str) = ("content-type", "application/json-patch+json");

/// A server with one document that must not change.
struct Bench {
    server: Process,
    standing: (String, String, String, Value),
}

impl Bench {
    async fn new() -> Self {
        let server = Process::start(&[]);
        let state = json!({ "n": 1, "list": [1, 2], "a": { "b": "text" } });
        assert_eq!(server.put(PATH, &state).await.0, 201);
        server.merge(PATH, &json!({ "n": 2 })).await;
        let standing = server.standing(PATH).await;
        Self { server, standing }
    }

    /// Requires this problem, and that nothing happened.
    async fn refused(&self, what: &str, reply: Reply, status: u16, slug: &str) -> Value {
        let kind = format!("/problems/{slug}");
        assert_eq!(
            (reply.status, reply.body["type"].as_str()),
            (status, Some(kind.as_str())),
            "{what}: {}",
            reply.text
        );
        let problem = reply.problem(status, slug);
        for internals in ["serde", "struct ", "enum", "variant", "rusqlite", "SQL", "panick", "src/"] {
            let detail = problem["detail"].as_str().unwrap();
            assert!(!detail.contains(internals), "{what}: {problem}");
        }
        self.unchanged(what).await;
        problem
    }

    async fn unchanged(&self, what: &str) {
        assert_eq!(self.server.standing(PATH).await, self.standing, "{what}");
    }

    /// The calls that take a JSON body, with what else must be in it.
    fn targets() -> [(&'static str, String, Value); 5] {
        let operation = json!({ "op": "delete", "collection": "games", "id": "g1" });
        [
            ("POST", "/api/v1/games".to_owned(), json!({ "state": {} })),
            ("PUT", PATH.to_owned(), json!({ "state": {} })),
            ("POST", format!("{PATH}/actions"), json!({ "type": "x" })),
            ("POST", format!("{PATH}/rollback"), json!({ "toVersion": 1 })),
            ("POST", "/api/v1/batch".to_owned(), json!({ "operations": [operation] })),
        ]
    }
}

#[tokio::test]
async fn bodies_that_are_not_json() {
    let bench = Bench::new().await;
    let broken = [
        "",
        " ",
        "{",
        "}",
        "{\"state\":",
        "{\"state\":{}",
        "{\"state\":{}}}",
        "{'state':{}}",
        "{\"state\":{},}",
        "{\"state\":{\"a\":01}}",
        "{\"state\":{\"a\":NaN}}",
        "{\"state\":{\"a\":1}} x",
        "{\"state\":{\"a\":\"\\x\"}}",
        "{\"state\":{\"a\":\"\\ud800\"}}",
        "{\"state\":{\"a\":\"\u{1}\"}}",
        "\u{feff}{\"state\":{}}",
        "// \n{}",
        "nul",
        "{\"state\":{}}{\"state\":{}}",
        "{\"a\":1,\"a\"}",
        "+1",
        "--1",
        "{\"state\":{\"a\":.5}}",
        "\u{0}",
    ];
    for (method, path, _) in Bench::targets() {
        for body in broken {
            let reply = bench.server.tell(method, &path, &[], body).await;
            let problem = bench.refused(&format!("{method} {path} {body:?}"), reply, 400, "invalid-request").await;
            assert!(problem["errors"][0]["field"].is_string(), "{problem}");
        }
    }
    for media_type in [MERGE, JSON_PATCH] {
        for body in broken {
            let reply = bench.server.tell("PATCH", PATH, &[media_type], body).await;
            bench.refused(&format!("PATCH {body:?}"), reply, 400, "invalid-request").await;
        }
    }
}

#[tokio::test]
async fn members_of_the_wrong_type_and_members_that_nobody_knows() {
    let bench = Bench::new().await;
    for (method, path, good) in Bench::targets() {
        let mut bodies = vec![json!([]), json!("x"), json!(1), json!(null), json!(true), json!({}), json!([good])];
        // A list of the members' values in their order is not the object.
        bodies.push(json!([{}, null]));
        bodies.push(json!([1, 1]));
        bodies.push(json!([null, {}, null, {}]));
        bodies.push(json!(["x", null, { "n": 3 }, null]));
        let with = |name: &str, value: Value| {
            let mut body = good.clone();
            body[name] = value;
            body
        };
        bodies.push(with("surprise", json!(1)));
        bodies.push(with("State", json!({})));
        bodies.push(with("expected_version", json!(1)));
        for wrong in [json!("x"), json!([]), json!(-1), json!(1.5), json!(true), json!(1e30), json!({})] {
            bodies.push(with("expectedVersion", wrong.clone()));
            for name in good.as_object().unwrap().keys() {
                if !(name == "state" && wrong == json!({}) || name == "type" && wrong == json!("x")) {
                    bodies.push(with(name, wrong.clone()));
                }
            }
        }
        for body in bodies {
            let reply = bench.server.tell(method, &path, &[], &body).await;
            bench.refused(&format!("{method} {path} {body}"), reply, 400, "invalid-request").await;
        }
    }
    for (method, path, body) in [
        ("PUT", PATH, r#"{"state":{},"state":{}}"#),
        ("POST", "/api/v1/games/g1/rollback", r#"{"toVersion":1,"toVersion":2}"#),
        ("POST", "/api/v1/batch", r#"{"operations":[{"op":{"delete":null},"collection":"games","id":"g1"}]}"#),
        ("POST", "/api/v1/games", r#"{"state":{},"access":{"write":{"host":null}}}"#),
        ("POST", "/api/v1/games", r#"{"state":{},"access":["host"]}"#),
        ("POST", "/api/v1/games", r#"{"state":{"private":[]}}"#),
    ] {
        let reply = bench.server.tell(method, path, &[], body).await;
        bench.refused(&format!("{method} {path} {body}"), reply, 400, "invalid-request").await;
    }
}

#[tokio::test]
async fn bombs_of_depth_size_and_number() {
    let bench = Bench::new().await;
    let deep = |text: &str, levels: usize| text.repeat(levels);
    for (what, body) in [
        ("deep objects", json!({ "state": nested(64) }).to_string()),
        ("deep arrays", format!("{{\"state\":{{\"a\":{}{}}}}}", deep("[", 70), deep("]", 70))),
        ("a wall of brackets", deep("[", 1_000_000)),
        ("a wall of objects", deep("{\"a\":", 300_000)),
        ("a large string", json!({ "state": { "t": "x".repeat(1_100_000) } }).to_string()),
        ("a large name", format!("{{\"state\":{{\"{}\":1}}}}", "x".repeat(1_100_000))),
        ("many members", {
            let members: Vec<String> = (0..120_000).map(|n| format!("\"k{n}\":0")).collect();
            format!("{{\"state\":{{{}}}}}", members.join(","))
        }),
        ("many items", format!("{{\"state\":{{\"a\":[{}0]}}}}", "0,".repeat(600_000))),
        ("a large body", format!("{{\"state\":{{}}}}{}", " ".repeat(2 << 20))),
    ] {
        let reply = bench.server.tell("PUT", PATH, &[], body.clone()).await;
        bench.refused(what, reply, 413, "too-large").await;
        let reply = bench.server.tell("POST", "/api/v1/games", &[], body).await;
        bench.refused(what, reply, 413, "too-large").await;
    }
    let many: Vec<Value> = (0..10_001).map(|_| json!({ "op": "test", "path": "/n", "value": 2 })).collect();
    let reply = bench.server.json_patch(PATH, &json!(many)).await;
    bench.refused("many operations", reply, 413, "too-large").await;
    let mut doubling = vec![json!({ "op": "add", "path": "/x", "value": "0123456789".repeat(10) })];
    doubling.extend((0..60).map(|n| json!({ "op": "copy", "from": "", "path": format!("/c{n}") })));
    let reply = bench.server.json_patch(PATH, &json!(doubling)).await;
    bench.refused("a copy bomb", reply, 413, "too-large").await;
    let mut doubling = vec![json!({ "op": "add", "path": "/x", "value": ["0123456789".repeat(100)] })];
    doubling.extend((0..60).map(|_| json!({ "op": "copy", "from": "/x", "path": "/x/-" })));
    let reply = bench.server.json_patch(PATH, &json!(doubling)).await;
    bench.refused("a copy bomb in depth", reply, 413, "too-large").await;
    let action = json!({ "type": "x", "payload": { "t": "x".repeat(2 << 20) } });
    let reply = bench.server.tell("POST", &format!("{PATH}/actions"), &[], action).await;
    bench.refused("a large payload", reply, 413, "too-large").await;
}

#[tokio::test]
async fn bodies_of_another_type() {
    let bench = Bench::new().await;
    let server = &bench.server;
    for media_type in [
        "text/plain",
        "application/x-www-form-urlencoded",
        "application/jsonp",
        "text/json",
        "json",
        "*/*",
        "",
        "application/json-patch+json",
        "application/merge-patch+json",
        "application/json; charset=utf-16",
        "application/json;charset=\"latin1\"",
        "multipart/form-data; boundary=x",
    ] {
        for (method, path, body) in Bench::targets() {
            let reply = server.tell(method, &path, &[("content-type", media_type)], body).await;
            let problem =
                bench.refused(&format!("{method} {path} {media_type}"), reply, 415, "unsupported-media-type").await;
            assert!(problem["accepted"].is_array(), "{problem}");
        }
    }
    for media_type in
        ["application/json", "text/plain", "application/merge-patch", "application/merge-patch+json;charset=x"]
    {
        let reply = server.tell("PATCH", PATH, &[("content-type", media_type)], json!({ "n": 3 })).await;
        assert!(reply.header("accept-patch").contains("json"), "{reply:?}");
        bench.refused(media_type, reply, 415, "unsupported-media-type").await;
    }
    let none = send(server.request("PUT", PATH).body(r#"{"state":{}}"#)).await;
    bench.refused("no type", none, 415, "unsupported-media-type").await;
    let twice =
        server.request("PUT", PATH).header("content-type", "application/json").header("content-type", "text/plain");
    bench.refused("two types", send(twice.body(r#"{"state":{}}"#)).await, 400, "invalid-request").await;
    let mixed = [("content-type", "Application/JSON ; Charset=\"UTF-8\"")];
    server.tell("PUT", "/api/v1/games/g2", &mixed, json!({ "state": {} })).await.expect(201);
}

#[tokio::test]
async fn stale_writes_and_numbers_that_are_no_versions() {
    let bench = Bench::new().await;
    let server = &bench.server;
    let reply = server.tell("PATCH", PATH, &[MERGE, ("if-match", "\"1-000000000000\"")], json!({ "n": 3 })).await;
    bench.refused("stale header", reply, 412, "version-conflict").await;
    let reply = server.tell("PUT", PATH, &[], json!({ "state": {}, "expectedVersion": 1 })).await;
    bench.refused("stale body", reply, 409, "version-conflict").await;
    let reply = server.tell("POST", "/api/v1/games", &[], json!({ "id": "g1", "state": {} })).await;
    bench.refused("creating what exists", reply, 409, "already-exists").await;
    for number in ["-1", "1.5", "1e20", "18446744073709551616", "\"1\"", "null", "true", "[1]"] {
        let rollback =
            server.tell("POST", &format!("{PATH}/rollback"), &[], format!("{{\"toVersion\":{number}}}")).await;
        bench.refused(&format!("toVersion {number}"), rollback, 400, "invalid-request").await;
    }
    let rollback = server.tell("POST", &format!("{PATH}/rollback"), &[], r#"{"toVersion":1e2}"#).await;
    bench.refused("1e2 is the whole number 100", rollback, 404, "not-found").await;
    for number in ["18446744073709551615", "9223372036854775808", "9223372036854775807", "0"] {
        let rollback =
            server.tell("POST", &format!("{PATH}/rollback"), &[], format!("{{\"toVersion\":{number}}}")).await;
        bench.refused(&format!("toVersion {number}"), rollback, 404, "not-found").await;
        let reply = server.ask("GET", &format!("{PATH}?version={number}"), &[]).await;
        bench.refused(&format!("version {number}"), reply, 404, "not-found").await;
        if number != "0" {
            let reply = server.ask("GET", &format!("{PATH}/events?after={number}"), &[]).await;
            assert_eq!(reply.expect(200).body["items"], json!([]), "after {number}");
        }
        let body = format!("{{\"state\":{{}},\"expectedVersion\":{number}}}");
        let reply = server.tell("PUT", PATH, &[], body).await;
        bench.refused(&format!("expectedVersion {number}"), reply, 409, "version-conflict").await;
    }
}

#[tokio::test]
async fn headers_that_mean_nothing() {
    let bench = Bench::new().await;
    let server = &bench.server;
    let long = "k".repeat(256);
    for key in ["", "\"\"", "a b", "\"open", "\"a\"b\"", "käse", long.as_str()] {
        for (method, path, body) in Bench::targets() {
            let reply = server.tell(method, &path, &[("idempotency-key", key)], body).await;
            let problem = bench.refused(&format!("{method} {path} key {key:?}"), reply, 400, "invalid-request").await;
            assert_eq!(problem["errors"][0]["field"], "Idempotency-Key");
        }
    }
    let twice = server.request("PUT", PATH).header("idempotency-key", "a").header("idempotency-key", "b");
    bench.refused("two keys", send(twice.json(&json!({ "state": {} }))).await, 400, "invalid-request").await;
    for (name, field) in [("if-match", "If-Match"), ("if-none-match", "If-None-Match")] {
        for value in ["", "x", "1", "\"a", "a\"", "\"a\" \"b\"", "*, \"a\"", "**", "\"a b\"", "w/\"a\"", ","] {
            let reply = server.tell("PATCH", PATH, &[MERGE, (name, value)], json!({ "n": 3 })).await;
            let problem = bench.refused(&format!("{name} {value:?}"), reply, 400, "invalid-request").await;
            assert_eq!(problem["errors"][0]["field"], field);
        }
        let stars = server.request("DELETE", PATH).header(name, "*").header(name, "*");
        bench.refused("two stars", send(stars).await, 400, "invalid-request").await;
    }
    // Preferences that nobody knows are ignored: RFC 7240 wants it so.
    for prefer in ["", "return", "return=nothing", "wait=x", ";;;", "return=minimal=x"] {
        let reply = server.tell("PUT", "/api/v1/games/g2", &[("prefer", prefer)], json!({ "state": {} })).await;
        assert!(matches!(reply.status, 200 | 201), "{prefer} {reply:?}");
        assert!(!reply.headers.contains_key("preference-applied"));
    }
}
