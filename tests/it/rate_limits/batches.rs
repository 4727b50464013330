//! A batch counts as the calls that it stands for.

use serde_json::{Value, json};

use super::{CONFIGS, METRICS, RULES, rule, start};
use crate::support::{AS, Process, Reply};

fn create(id: &str) -> Value {
    json!({ "op": "create", "collection": "games", "id": id, "state": {} })
}

async fn batch(server: &Process, user: &str, operations: Value) -> Reply {
    server.tell("POST", "/api/v1/batch", &[(AS, user)], json!({ "operations": operations })).await
}

/// What `RateLimit` says is left.
fn left(reply: &Reply) -> &str {
    reply.header("ratelimit").split(';').nth(1).unwrap()
}

async fn add_rule(server: &Process, method: &str, pattern: &str, capacity: u32) {
    let mut rule = rule(&format!("{method} {}", pattern.trim_start_matches('/')), pattern, capacity);
    rule["httpMethod"] = method.into();
    server.tell("POST", RULES, &[], rule).await.expect(201);
}

#[tokio::test]
async fn operations_count_against_the_rules_of_the_calls_that_they_stand_for() {
    let server = start(&[]).await;
    add_rule(&server, "POST", "/api/v1/games", 3).await;
    // Two of three, then two more: one too many, and none of them is taken.
    batch(&server, "bob", json!([create("a"), create("b")])).await.expect(200);
    let refused = batch(&server, "bob", json!([create("c"), create("d")])).await;
    let wait: u64 = refused.header("retry-after").parse().unwrap();
    let problem = refused.problem(429, "rate-limited");
    assert_eq!((&problem["rule"], &problem["retryAfterSeconds"]), (&json!("POST api/v1/games"), &json!(wait)));
    assert!((3500..=3600).contains(&wait), "until there is room for two: {wait}");
    server.ask("GET", "/api/v1/games/c", &[]).await.problem(404, "not-found");
    let last = server.tell("POST", "/api/v1/games", &[(AS, "bob")], json!({ "state": {} })).await.expect(201);
    assert_eq!(left(&last), "r=0");
    batch(&server, "bob", json!([create("c")])).await.problem(429, "rate-limited");
    batch(&server, "carol", json!([create("c")])).await.expect(200);
    let metrics = server.get(METRICS).await.1;
    let counted = metrics["byRule"].as_array().unwrap().iter().find(|r| r["rule"] == "POST api/v1/games").unwrap();
    assert_eq!((&counted["allowed"], &counted["limited"]), (&json!(4), &json!(3)), "{metrics}");
}

#[tokio::test]
async fn every_kind_of_operation_stands_for_its_call() {
    let server = start(&[]).await;
    let calls = [
        ("PUT", "/api/v1/pots/*", json!({ "op": "put", "collection": "pots", "id": "p", "state": {} })),
        ("PATCH", "/api/v1/pots/p", json!({ "op": "patch", "collection": "pots", "id": "p", "patch": { "n": 1 } })),
        ("POST", "/api/v1/*/*/actions", json!({ "op": "action", "collection": "pots", "id": "p", "type": "x" })),
        ("POST", "/api/v1/chips", json!({ "op": "create", "collection": "chips", "state": {} })),
    ];
    for (method, pattern, operation) in &calls {
        add_rule(&server, method, pattern, 1).await;
        batch(&server, "bob", json!([operation])).await.expect(200);
        let problem = batch(&server, "bob", json!([operation])).await.problem(429, "rate-limited");
        assert_eq!(problem["rule"], format!("{method} {}", &pattern[1..]), "{operation}");
    }
    add_rule(&server, "DELETE", "/api/v1/*/p", 1).await;
    let delete = json!({ "op": "delete", "collection": "pots", "id": "p" });
    batch(&server, "bob", json!([delete])).await.expect(200);
    batch(&server, "bob", json!([delete])).await.problem(429, "rate-limited");
}

#[tokio::test]
async fn a_batch_of_several_rules_takes_from_all_or_from_none() {
    let server = start(&[]).await;
    add_rule(&server, "POST", "/api/v1/games", 5).await;
    add_rule(&server, "POST", "/api/v1/chips", 1).await;
    let chip = json!({ "op": "create", "collection": "chips", "state": {} });
    batch(&server, "bob", json!([chip])).await.expect(200);
    let problem = batch(&server, "bob", json!([create("a"), create("b"), chip])).await.problem(429, "rate-limited");
    assert_eq!(problem["rule"], "POST api/v1/chips");
    // All five are still there.
    let five: Value = (0..5).map(|n| create(&format!("g-{n}"))).collect();
    batch(&server, "bob", five).await.expect(200);
}

#[tokio::test]
async fn a_batch_that_is_larger_than_a_rule_allows_is_told_so() {
    let server = start(&[]).await;
    add_rule(&server, "POST", "/api/v1/games", 3).await;
    for _ in 0..2 {
        let refused = batch(&server, "bob", (0..4).map(|n| create(&format!("g-{n}"))).collect()).await;
        assert!(!refused.headers.contains_key("retry-after"), "no waiting helps: {refused:?}");
        let problem = refused.problem(429, "rate-limited");
        assert_eq!((&problem["rule"], &problem["capacity"]), (&json!("POST api/v1/games"), &json!(3)));
        assert!(problem["detail"].as_str().unwrap().contains("smaller batches"), "{problem}");
    }
    batch(&server, "bob", (0..3).map(|n| create(&format!("g-{n}"))).collect()).await.expect(200);
}

#[tokio::test]
async fn a_limit_of_ones_own_counts_operations_too_and_the_default_counts_requests() {
    let server = start(&["--rate-limit-capacity", "3", "--rate-limit-window-seconds", "3600"]).await;
    let own = json!({ "bucketCapacity": 6, "refillRate": 1, "windowSeconds": 3600, "userId": "bob" });
    server.tell("POST", CONFIGS, &[], own).await.expect(201);
    // One for the request, four for what is in it, one for the next request.
    batch(&server, "bob", (0..4).map(|n| create(&format!("a-{n}"))).collect()).await.expect(200);
    batch(&server, "bob", json!([create("b")])).await.problem(429, "rate-limited");
    for round in 0..3 {
        batch(&server, "carol", (0..10).map(|n| create(&format!("c-{round}-{n}"))).collect()).await.expect(200);
    }
    batch(&server, "carol", json!([create("c")])).await.problem(429, "rate-limited");
    for round in 0..5 {
        let many: Value = (0..10).map(|n| create(&format!("o-{round}-{n}"))).collect();
        server.tell("POST", "/api/v1/batch", &[], json!({ "operations": many })).await.expect(200);
    }
}

#[tokio::test]
async fn a_batch_counts_together_with_its_operations_where_one_limit_is_of_both() {
    let server = start(&[]).await;
    let own = json!({ "bucketCapacity": 4, "refillRate": 1, "windowSeconds": 3600, "userId": "bob" });
    server.tell("POST", CONFIGS, &[], own).await.expect(201);
    for _ in 0..2 {
        let refused = batch(&server, "bob", (0..4).map(|n| create(&format!("g-{n}"))).collect()).await;
        assert!(!refused.headers.contains_key("retry-after"), "no waiting helps: {refused:?}");
        let problem = refused.problem(429, "rate-limited");
        assert_eq!(problem["capacity"], 4, "{problem}");
        assert!(problem["detail"].as_str().unwrap().contains("4 operations and the batch itself"), "{problem}");
    }
    // It took nothing: three and the batch itself are as many as there are.
    let whole = batch(&server, "bob", (0..3).map(|n| create(&format!("g-{n}"))).collect()).await;
    assert_eq!(left(&whole), "r=0", "{whole:?}");
    whole.expect(200);
    server.ask("GET", "/api/v1/games/g-0", &[(AS, "bob")]).await.problem(429, "rate-limited");
}

#[tokio::test]
async fn a_refused_batch_takes_no_token_for_itself() {
    let server = start(&["--rate-limit-capacity", "3", "--rate-limit-window-seconds", "3600"]).await;
    add_rule(&server, "POST", "/api/v1/games", 2).await;
    let many = |count| (0..count).map(|n| create(&format!("g-{n}"))).collect::<Value>();
    for _ in 0..4 {
        let refused = batch(&server, "bob", many(3)).await;
        assert_eq!(left(&refused), "r=3", "{refused:?}");
        refused.problem(429, "rate-limited");
    }
    batch(&server, "bob", many(2)).await.expect(200);
    for _ in 0..4 {
        let problem = batch(&server, "bob", json!([create("one-more")])).await.problem(429, "rate-limited");
        assert_eq!(problem["rule"], "POST api/v1/games");
    }
    // Of the three that everybody has, one was taken by the batch that passed.
    for _ in 0..2 {
        server.ask("GET", "/api/v1/games/g-0", &[(AS, "bob")]).await.expect(200);
    }
    server.ask("GET", "/api/v1/games/g-0", &[(AS, "bob")]).await.problem(429, "rate-limited");
}
