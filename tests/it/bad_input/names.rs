//! Names, paths and queries that are none.

use serde_json::json;

use super::{Bench, PATH};

const DOCUMENTS: [&str; 24] = [
    "/api/v1/Games/g1",
    "/api/v1/9games/g1",
    "/api/v1/-games/g1",
    "/api/v1/games_x/g1",
    "/api/v1/ga%20mes/g1",
    "/api/v1/g%C3%A4mes/g1",
    "/api/v1/games/-g1",
    "/api/v1/games/_g1",
    "/api/v1/games/g.1",
    "/api/v1/games/g%201",
    "/api/v1/games/g%001",
    "/api/v1/games/g1%00",
    "/api/v1/games/g1%0a",
    "/api/v1/games/g1%0d%0aX:1",
    "/api/v1/games/g1%2f",
    "/api/v1/games/%2e%2e",
    "/api/v1/games/..",
    "/api/v1/games/%2e",
    "/api/v1/games/g1%2500",
    "/api/v1/games/%ff",
    "/api/v1/games%2fg1/g1",
    "/api/v1/games/g1;v=1",
    "/api/v1/games/*",
    "/api/v1/games/g1'--",
];

#[tokio::test]
async fn paths_that_name_no_document() {
    let bench = Bench::new().await;
    let address = bench.server.address().to_owned();
    let long_id = format!("/api/v1/games/{}", "x".repeat(65));
    let long_collection = format!("/api/v1/{}/g1", "x".repeat(64));
    for target in DOCUMENTS.iter().copied().chain([long_id.as_str(), long_collection.as_str()]) {
        bench.refused(target, bench.server.raw_get(target), 400, "invalid-request").await;
        bench.refused(target, bench.server.raw_get(&format!("{target}/events")), 400, "invalid-request").await;
        let body = r#"{"state":{}}"#;
        let head = format!("Host: {address}\r\nConnection: close\r\nContent-Type: application/json");
        let put = format!("PUT {target} HTTP/1.1\r\n{head}\r\nContent-Length: {}\r\n\r\n{body}", body.len());
        bench.refused(target, bench.server.raw(put.as_bytes()), 400, "invalid-request").await;
    }
    for id in ["", "-a", "a b", "a/b", "..", "ä", "a\u{0}", &"x".repeat(65)] {
        let reply = bench.server.tell("POST", "/api/v1/games", &[], json!({ "id": id, "state": {} })).await;
        bench.refused(&format!("id {id:?}"), reply, 400, "invalid-request").await;
    }
    // The same document by another spelling of its path.
    let same = bench.server.raw_get("/api/v1/g%61mes/%671").expect(200);
    assert_eq!(same.body["id"], "g1");
}

#[tokio::test]
async fn paths_that_lead_nowhere_and_methods_that_they_do_not_take() {
    let bench = Bench::new().await;
    for target in [
        "/api",
        "/api/",
        "/api/v1",
        "/api/v1/",
        "/api/v2/games",
        "/api/v1/games/",
        "/api/v1/games/g1/",
        "//",
        "/api/v1/games/g1/none",
        "/api/v1//g1",
        "/api/v1/games/g1/events/1",
        "/../etc/passwd",
        "/%2e%2e/etc/passwd",
        "/healthz/",
        "/problems/none",
        "/.git/config",
        "/api/v1/games/../../../healthz",
    ] {
        let reply = bench.server.raw_get(target);
        assert!(matches!(reply.status, 400 | 404), "{target} {reply:?}");
        let (status, slug) = if reply.status == 404 { (404, "not-found") } else { (400, "invalid-request") };
        bench.refused(target, reply, status, slug).await;
    }
    let (actions, rollback, events) = (format!("{PATH}/actions"), format!("{PATH}/rollback"), format!("{PATH}/events"));
    for (method, path) in [
        ("DELETE", "/api/v1/games"),
        ("PUT", "/api/v1/games"),
        ("PATCH", "/api/v1/games"),
        ("POST", PATH),
        ("GET", &actions),
        ("DELETE", &actions),
        ("GET", &rollback),
        ("POST", &events),
        ("GET", "/api/v1/batch"),
        ("POST", "/api/v1/stream"),
        ("POST", "/healthz"),
        ("DELETE", "/"),
        ("OPTIONS", PATH),
        ("TRACE", PATH),
        ("FROBNICATE", PATH),
    ] {
        let reply = bench.server.ask(method, path, &[]).await;
        let allow = reply.header("allow").to_owned();
        bench.refused(&format!("{method} {path}"), reply, 405, "method-not-allowed").await;
        assert!(!allow.is_empty() && !allow.split(',').any(|taken| taken.trim() == method), "{method} {path} {allow}");
    }
}

#[tokio::test]
async fn queries_that_nobody_understands() {
    let bench = Bench::new().await;
    let long = format!("/api/v1/games?cursor={}", "A".repeat(600));
    for target in [
        "/api/v1/games?limit=0",
        "/api/v1/games?limit=501",
        "/api/v1/games?limit=-1",
        "/api/v1/games?limit=1.5",
        "/api/v1/games?limit=x",
        "/api/v1/games?limit=",
        "/api/v1/games?limit=1&limit=2",
        "/api/v1/games?limit=99999999999999999999",
        "/api/v1/games?cursor=",
        "/api/v1/games?cursor=!!!",
        "/api/v1/games?cursor=AAAA",
        "/api/v1/games?cursor=Li4vLi4",
        "/api/v1/games?include=everything",
        "/api/v1/games?include=",
        "/api/v1/games?unknown=1",
        "/api/v1/games?Limit=1",
        "/api/v1/games?limit=%ff",
        "/api/v1/games?%ff=1",
        "/api/v1/games?limit=%",
        "/api/v1/games?limit=%zz",
        long.as_str(),
        "/api/v1/games/g1?version=-1",
        "/api/v1/games/g1?version=x",
        "/api/v1/games/g1?version=",
        "/api/v1/games/g1?version=1.0",
        "/api/v1/games/g1?version=18446744073709551616",
        "/api/v1/games/g1?version=1&version=2",
        "/api/v1/games/g1?Version=1",
        "/api/v1/games/g1?expectedVersion=1",
    ] {
        let problem = bench.refused(target, bench.server.raw_get(target), 400, "invalid-request").await;
        assert!(problem["errors"][0]["field"].is_string(), "{target} {problem}");
    }
}

#[tokio::test]
async fn a_write_that_carries_a_query_is_a_mistake_and_is_refused() {
    let bench = Bench::new().await;
    let query = "?expectedVersion=1";
    for (method, path, body) in Bench::targets() {
        let reply = bench.server.tell(method, &format!("{path}{query}"), &[], body).await;
        bench.refused(&format!("{method} {path}{query}"), reply, 400, "invalid-request").await;
    }
    let reply = bench.server.tell("PATCH", &format!("{PATH}{query}"), &[super::MERGE], json!({ "n": 3 })).await;
    bench.refused("PATCH with a query", reply, 400, "invalid-request").await;
    let reply = bench.server.ask("DELETE", &format!("{PATH}?version=1"), &[]).await;
    bench.refused("DELETE with a query", reply, 400, "invalid-request").await;
}

#[tokio::test]
async fn every_parameter_that_does_not_fit_is_named() {
    let bench = Bench::new().await;
    for (target, fields) in [
        ("/api/v1/games?limit=x&order=y&include=z", "include limit order"),
        ("/api/v1/games?limit=0&order=y&cursor=!", "cursor limit order"),
        ("/api/v1/games?limit=501&cursor=%zz&include=state", "cursor limit"),
        ("/api/v1/games/g1/events?limit=0&wait=99&after=-&cursor=!", "after cursor limit wait"),
        ("/api/v1/stream?doc=x&doc=games/g1&doc=Y/Z&wait=61", "doc[0] doc[2] wait"),
        ("/api/v1/stream?collection=UPPER&collection=b&collection=%20&wait=x", "collection[0] collection[2] wait"),
        ("/api/v1/games/g1?version=x&foo=1", "foo version"),
        ("/api/v1/games/g1?version=1&version=2&foo=1", "foo version"),
        ("/reconciliation/audit?since=x&until=y&status=z&limit=0&cursor=!", "cursor limit since status until"),
        ("/api/v1/conflicts?document=x&status=z&limit=0", "document limit status"),
        ("/api/v1/admin/sessions?user=a%20b&limit=501&x=1", "limit user x"),
        ("/api/v1/admin/rate-limits/metrics?limit=0&x=1", "limit x"),
    ] {
        let reply = bench.server.ask("GET", target, &[]).await;
        let problem = bench.refused(target, reply, 400, "invalid-request").await;
        let errors = problem["errors"].as_array().unwrap();
        let mut named: Vec<_> = errors.iter().map(|error| error["field"].as_str().unwrap()).collect();
        named.sort_unstable();
        named.dedup();
        assert_eq!(named.join(" "), fields, "{target}: {problem}");
    }
    let many: Vec<String> = (0..100).map(|n| format!("p{n}=1")).collect();
    let target = format!("/api/v1/games?{}", many.join("&"));
    let reply = bench.server.ask("GET", &target, &[]).await;
    let problem = bench.refused(&target, reply, 400, "invalid-request").await;
    assert_eq!(problem["errors"].as_array().unwrap().len(), 20);
}
