//! How much each may ask, and what administrators say about it.

mod batches;

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::{AS, Clocked, Disk, Follower, Process, Reply};

const CONFIGS: &str = "/api/v1/admin/rate-limits/configs";
const RULES: &str = "/api/v1/admin/rate-limits/rules";
const METRICS: &str = "/api/v1/admin/rate-limits/metrics";
const GAME: &str = "/api/v1/games/g1";
/// Three at once, and no more for an hour.
const THREE: &[&str] =
    &["--rate-limit-capacity", "3", "--rate-limit-refill", "1", "--rate-limit-window-seconds", "3600"];

/// A server with a game.
async fn start(flags: &[&str]) -> Process {
    let server = Process::start(flags);
    assert_eq!(server.post("/api/v1/games", &json!({ "id": "g1", "state": {} })).await.0, 201);
    server
}

async fn get(server: &Process, user: &str, path: &str) -> Reply {
    server.ask("GET", path, &[(AS, user)]).await
}

/// How many of `count` requests pass at once.
async fn pass(server: &Process, user: &str, count: usize) -> usize {
    let mut passed = 0;
    for _ in 0..count {
        passed += usize::from(get(server, user, GAME).await.status == 200);
    }
    passed
}

fn limit(capacity: u32) -> Value {
    json!({ "bucketCapacity": capacity, "refillRate": 1, "windowSeconds": 3600 })
}

fn rule(name: &str, pattern: &str, capacity: u32) -> Value {
    let mut rule = limit(capacity);
    rule["name"] = name.into();
    rule["endpointPattern"] = pattern.into();
    rule
}

/// Waits until every bucket is stored as it is.
async fn until_saved(server: &Process) {
    let end = Instant::now() + Duration::from_secs(20);
    loop {
        let (_, metrics) = server.get(METRICS).await;
        if metrics["memory"]["unsavedBuckets"] == 0 {
            break;
        }
        assert!(Instant::now() < end, "{metrics}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    // It counts as stored when it is sent; a change is stored after that.
    assert!(server.put("/api/v1/markers/m", &json!({})).await.0 < 300);
}

#[tokio::test]
async fn everybody_but_administrators_has_two_thousand_requests_in_ten_seconds() {
    let server = start(&[]).await;
    let reply = get(&server, "alice", GAME).await.expect(200);
    assert_eq!(reply.header("ratelimit-policy"), "\"default\";q=2000;w=10");
    assert_eq!(reply.header("ratelimit"), "\"default\";r=1999;t=1");
    let missing = get(&server, "alice", "/api/v1/games/none").await.expect(404);
    assert!(missing.header("ratelimit").starts_with("\"default\";r=199"));
    let owner = server.ask("GET", GAME, &[]).await.expect(200);
    assert!(!owner.headers.contains_key("ratelimit") && !owner.headers.contains_key("ratelimit-policy"));
    for path in ["/healthz", "/readyz"] {
        assert!(!get(&server, "alice", path).await.expect(200).headers.contains_key("ratelimit"), "{path}");
    }
}

#[tokio::test]
async fn who_asks_too_much_is_told_how_long_to_wait_and_then_passes() {
    let server = Clocked::start(|config| {
        for (option, value) in
            [("rate-limit-capacity", "3"), ("rate-limit-refill", "1"), ("rate-limit-window-seconds", "2")]
        {
            config.set(option, value).unwrap();
        }
    })
    .await;
    server.put(GAME, json!({})).await.expect(201);
    let get = async |user: &str| server.ask("GET", GAME, &[(AS, user)]).await;
    for _ in 0..3 {
        get("alice").await.expect(200);
    }
    for _ in 0..2 {
        for wait in ["2", "1"] {
            let refused = get("alice").await;
            assert_eq!(refused.header("retry-after"), wait);
            assert_eq!(refused.header("ratelimit"), format!("\"default\";r=0;t={wait}"));
            assert_eq!(refused.header("ratelimit-policy"), "\"default\";q=3;w=6");
            let problem = refused.problem(429, "rate-limited");
            let told = (&problem["rule"], problem["retryAfterSeconds"].to_string());
            assert_eq!(told, (&json!("default"), wait.to_owned()));
            server.advance(Duration::from_secs(1));
        }
        get("bob").await.expect(200);
        get("alice").await.expect(200);
    }
    server.stop().await;
}

#[tokio::test]
async fn what_must_be_known_can_be_asked_by_whoever_is_over_the_limit() {
    let server = start(THREE).await;
    assert_eq!(pass(&server, "alice", 5).await, 3);
    for path in ["/healthz", "/readyz"] {
        get(&server, "alice", path).await.expect(200);
    }
    get(&server, "alice", "/healthz/").await.problem(429, "rate-limited");
    assert_eq!(server.get(GAME).await.0, 200, "the owner is exempt");
    drop(server);

    let flags: Vec<&str> = THREE.iter().copied().chain(["--rate-limit-administrators", "true"]).collect();
    let server = start(&flags).await;
    let reply = server.ask("GET", GAME, &[]).await.expect(200);
    assert_eq!(reply.header("ratelimit"), "\"default\";r=1;t=3600");
    server.ask("GET", GAME, &[]).await.expect(200);
    server.ask("GET", GAME, &[]).await.problem(429, "rate-limited");
}

#[tokio::test]
async fn a_rule_acts_at_once_by_its_pattern_and_method_and_ends_at_once() {
    let server = start(&[]).await;
    let mut reads = rule("Reads", "/api/v1/*/g1", 2);
    reads["httpMethod"] = "GET".into();
    let made = server.tell("POST", RULES, &[], &reads).await.expect(201);
    let id = made.body["id"].as_str().unwrap().to_owned();
    assert_eq!(made.header("location"), format!("{RULES}/{id}"));
    assert_eq!((&made.body["priority"], &made.body["rank"]), (&json!(0), &json!(1)));
    assert_eq!(pass(&server, "alice", 1).await, 1);
    get(&server, "alice", "/api/v1/g%61mes/g1").await.expect(200);
    let problem = get(&server, "alice", "/api/v1/g%61mes/%671").await.problem(429, "rate-limited");
    assert_eq!(problem["rule"], "Reads", "an encoded path evades no rule");
    server.ask("HEAD", GAME, &[(AS, "alice")]).await.expect(429);
    get(&server, "alice", "/api/v1/games").await.expect(200);
    let wave = json!({ "type": "wave" });
    server.tell("POST", &format!("{GAME}/actions"), &[(AS, "alice")], &wave).await.expect(200);
    let put = server.tell("PUT", GAME, &[(AS, "alice")], json!({ "state": { "a": 1 } })).await;
    assert_eq!(put.header("ratelimit-policy"), "\"default\";q=2000;w=10", "{put:?}");

    // A higher priority, then a more specific pattern.
    let mut any = rule("Any", "/**", 1);
    (any["priority"], any["id"]) = (5.into(), "any".into());
    server.tell("POST", RULES, &[], &any).await.expect(201);
    assert_eq!(get(&server, "bob", GAME).await.header("ratelimit-policy"), "\"Any\";q=1;w=3600");
    any["priority"] = 0.into();
    assert_eq!(server.tell("PUT", &format!("{RULES}/any"), &[], &any).await.expect(200).body["rank"], 2);
    assert_eq!(get(&server, "bob", GAME).await.header("ratelimit-policy"), "\"Reads\";q=2;w=7200");
    let names = |body: &Value| -> Vec<String> {
        body["items"].as_array().unwrap().iter().map(|rule| rule["name"].to_string()).collect()
    };
    assert_eq!(names(&server.get(RULES).await.1), ["\"Reads\"", "\"Any\""]);

    server.ask("DELETE", &format!("{RULES}/{id}"), &[]).await.expect(204);
    server.ask("DELETE", &format!("{RULES}/any"), &[]).await.expect(204);
    server.ask("DELETE", &format!("{RULES}/any"), &[]).await.problem(404, "not-found");
    get(&server, "alice", GAME).await.expect(200);
}

#[tokio::test]
async fn a_users_own_limit_overrides_rules_and_survives_kill_9() {
    let mut server = start(THREE).await;
    server.tell("POST", RULES, &[], rule("games", "/api/v1/games/**", 2)).await.expect(201);
    let mut config = limit(5);
    config["userId"] = "alice".into();
    let made = server.tell("POST", CONFIGS, &[], &config).await.expect(201);
    assert_eq!(made.header("location"), format!("{CONFIGS}/alice"));
    server.tell("POST", CONFIGS, &[], &config).await.problem(409, "already-exists");
    let key = [("idempotency-key", "k1")];
    config["userId"] = "carol".into();
    let first = server.tell("POST", CONFIGS, &key, &config).await.expect(201);
    let again = server.tell("POST", CONFIGS, &key, &config).await.expect(201);
    assert_eq!((&again.text, again.header("location")), (&first.text, first.header("location")));
    assert_eq!(again.header("idempotency-replayed"), "true");
    assert_eq!((pass(&server, "alice", 7).await, pass(&server, "bob", 7).await), (5, 2));
    let problem = get(&server, "alice", GAME).await.problem(429, "rate-limited");
    assert_eq!(problem["rule"], "user");
    server.tell("PUT", &format!("{CONFIGS}/alice"), &[], limit(6)).await.expect(200);
    assert_eq!(pass(&server, "alice", 7).await, 1, "the one more, and what was spent is spent");

    let (_, before) = server.get(CONFIGS).await;
    server.kill();
    server.start_again();
    assert_eq!(server.get(CONFIGS).await.1, before);
    assert_eq!(server.ask("GET", &format!("{CONFIGS}/alice"), &[]).await.expect(200).body["bucketCapacity"], 6);
    assert_eq!(get(&server, "alice", GAME).await.header("ratelimit-policy"), "\"user\";q=6;w=21600");
    server.ask("DELETE", &format!("{CONFIGS}/alice"), &[]).await.expect(204);
    server.ask("GET", &format!("{CONFIGS}/alice"), &[]).await.problem(404, "not-found");
    assert_eq!(get(&server, "alice", GAME).await.header("ratelimit-policy"), "\"games\";q=2;w=7200");
}

#[tokio::test]
async fn no_restart_fills_a_bucket() {
    let mut server = start(THREE).await;
    assert_eq!(pass(&server, "alice", 5).await, 3);
    until_saved(&server).await;
    server.kill();
    server.start_again();
    assert_eq!(pass(&server, "alice", 5).await, 0, "kill -9");

    // Of what a stop finds, nothing need have been stored before.
    assert_eq!(pass(&server, "bob", 1).await, 1);
    assert!(server.terminate().success());
    server.start_again();
    assert_eq!(pass(&server, "bob", 5).await, 2, "SIGTERM");
    assert_eq!(pass(&server, "alice", 5).await, 0);
}

/// With either fault: the write that fails for sure, and the one of which nobody knows.
#[tokio::test]
async fn while_storage_fails_limits_hold_and_no_change_is_in_force_that_is_not_on_disk() {
    for fault in ["eio-write", "eio-fsync"] {
        let (disk, mut server) = Disk::with_server(THREE);
        assert_eq!(server.post("/api/v1/games", &json!({ "id": "g1", "state": {} })).await.0, 201);
        for user in ["alice", "bob"] {
            // Who comes now has a session, and has spent nothing.
            get(&server, user, "/healthz").await.expect(200);
        }
        disk.set(fault);
        let config = format!("{CONFIGS}/alice");
        server.tell("PUT", &config, &[], limit(5)).await.problem(503, "storage-unavailable");
        assert_eq!((pass(&server, "alice", 5).await, pass(&server, "bob", 5).await), (3, 3));
        assert_eq!(server.get(CONFIGS).await.1, json!({ "items": [] }));
        disk.set("off");
        server.until_ready(|_, report| report["storage"]["state"] == "ok").await;
        let put = server.tell("PUT", &config, &[], limit(4)).await;
        assert!(matches!(put.status, 200 | 201), "{put:?}");
        assert_eq!(pass(&server, "alice", 5).await, 4);
        until_saved(&server).await;
        let (_, before) = server.get(CONFIGS).await;
        server.kill();
        server.start_again();
        assert_eq!(server.get(CONFIGS).await.1, before, "{fault}");
        assert_eq!((pass(&server, "alice", 5).await, pass(&server, "bob", 5).await), (0, 0), "{fault}");
    }
}

#[tokio::test]
async fn a_crash_at_any_moment_grants_at_most_one_bucket() {
    let mut server = start(THREE).await;
    let mut passed = 0;
    for _ in 0..3 {
        passed += pass(&server, "alice", 4).await;
        server.kill();
        server.start_again();
    }
    // What each run let pass was not stored, at worst.
    assert!((3..=9).contains(&passed), "{passed}");
    until_saved(&server).await;
    let last = pass(&server, "alice", 4).await;
    until_saved(&server).await;
    server.kill();
    server.start_again();
    assert_eq!(pass(&server, "alice", 4).await, 0, "after {last}");
}

#[tokio::test]
async fn a_stream_over_the_limit_is_told_to_come_back_and_loses_nothing() {
    let server = start(&[]).await;
    let path = format!("{}{GAME}/events", server.url);
    let mut follower = Follower::connect(&path, Some("alice"), None).await.unwrap();
    let seen = follower.expect("snapshot").await.id;
    drop(follower);
    assert!(server.merge(GAME, &json!({ "round": 1 })).await.0 < 300);
    server.tell("PUT", &format!("{CONFIGS}/alice"), &[], limit(1)).await.expect(201);
    get(&server, "alice", GAME).await.expect(200);

    let stream = [(AS, "alice"), ("accept", "text/event-stream"), ("last-event-id", &seen)];
    let turned_away = server.ask("GET", &format!("{GAME}/events"), &stream).await.expect(200);
    assert_eq!(turned_away.header("content-type"), "text/event-stream");
    assert_eq!(turned_away.header("ratelimit"), "\"user\";r=0;t=3600");
    assert!(turned_away.text.contains("data: {\"reason\":\"rate-limited\"}"), "{}", turned_away.text);
    let retry = turned_away.text.lines().find_map(|line| line.strip_prefix("retry: ")).unwrap();
    assert!((3_599_000..3_601_000).contains(&retry.parse::<u64>().unwrap()), "{retry}");
    assert!(!turned_away.text.contains("id:"), "its position stays what it was");
    get(&server, "alice", &format!("{GAME}/events")).await.problem(429, "rate-limited");

    // It may come back: what it missed is there.
    server.ask("DELETE", &format!("{CONFIGS}/alice"), &[]).await.expect(204);
    let mut follower = Follower::connect(&path, Some("alice"), Some(&seen)).await.unwrap();
    assert_eq!(follower.changes_after_resumed(1).await.len(), 1);
}

#[tokio::test]
async fn administrators_alone_see_and_change_limits() {
    let server = start(&[]).await;
    for (method, path) in [
        ("GET", CONFIGS.to_owned()),
        ("POST", CONFIGS.to_owned()),
        ("GET", format!("{CONFIGS}/alice")),
        ("PUT", format!("{CONFIGS}/alice")),
        ("DELETE", format!("{CONFIGS}/alice")),
        ("GET", RULES.to_owned()),
        ("POST", RULES.to_owned()),
        ("GET", format!("{RULES}/x")),
        ("PUT", format!("{RULES}/x")),
        ("DELETE", format!("{RULES}/x")),
        ("GET", METRICS.to_owned()),
    ] {
        server.tell(method, &path, &[(AS, "alice")], "nonsense").await.problem(403, "forbidden");
    }
}

#[tokio::test]
async fn what_does_not_fit_is_refused_by_name_and_changes_nothing() {
    let server = start(&[]).await;
    let good = rule("good", "/api/v1/games/*", 5);
    for (member, value, field) in [
        ("bucketCapacity", json!(0), "bucketCapacity"),
        ("bucketCapacity", json!(-5), "bucketCapacity"),
        ("bucketCapacity", json!(1_000_001), "bucketCapacity"),
        ("bucketCapacity", json!(9_007_199_254_740_991_u64), "bucketCapacity"),
        ("bucketCapacity", json!("5"), "bucketCapacity"),
        ("bucketCapacity", json!(1.5), "bucketCapacity"),
        ("refillRate", json!(0), "refillRate"),
        ("windowSeconds", json!(0), "windowSeconds"),
        ("windowSeconds", json!(86_401), "windowSeconds"),
        ("endpointPattern", json!("api/v1"), "endpointPattern"),
        ("endpointPattern", json!("/api/**/x"), "endpointPattern"),
        ("endpointPattern", json!("/api/v*"), "endpointPattern"),
        ("endpointPattern", json!("/games/{id}"), "endpointPattern"),
        ("httpMethod", json!("get"), "httpMethod"),
        ("httpMethod", json!("BREW"), "httpMethod"),
        ("priority", json!(-1), "priority"),
        ("priority", json!(1001), "priority"),
        ("name", json!(""), "name"),
        ("name", json!("default"), "name"),
        ("id", json!("a b"), "id"),
        ("colour", json!(1), "colour"),
    ] {
        let mut rule = good.clone();
        rule[member] = value;
        let problem = server.tell("POST", RULES, &[], &rule).await.problem(400, "invalid-request");
        assert_eq!(problem["errors"][0]["field"], field, "{rule}: {problem}");
    }
    let several =
        json!({ "name": "", "endpointPattern": "", "bucketCapacity": 0, "refillRate": 0, "windowSeconds": 0 });
    let problem = server.tell("POST", RULES, &[], several).await.problem(400, "invalid-request");
    assert_eq!(problem["errors"].as_array().unwrap().len(), 5);
    let problem = server.tell("POST", RULES, &[], json!({ "name": "x" })).await.problem(400, "invalid-request");
    assert_eq!(problem["errors"][0]["field"], "endpointPattern");

    server.tell("POST", CONFIGS, &[], limit(1)).await.problem(400, "invalid-request");
    server.tell("PUT", &format!("{CONFIGS}/a%20b"), &[], limit(1)).await.problem(400, "invalid-request");
    let mut other = limit(1);
    other["userId"] = "bob".into();
    let problem = server.tell("PUT", &format!("{CONFIGS}/alice"), &[], other).await.problem(400, "invalid-request");
    assert_eq!(problem["errors"][0]["field"], "userId");
    server.ask("GET", &format!("{METRICS}?limit=0"), &[]).await.problem(400, "invalid-request");
    server.tell("PUT", &format!("{RULES}/none"), &[], &good).await.problem(404, "not-found");
    assert_eq!(server.get(RULES).await.1, json!({ "items": [] }));
    assert_eq!(server.get(CONFIGS).await.1, json!({ "items": [] }));
    server.tell("POST", RULES, &[], &good).await.expect(201);
    let key = [("idempotency-key", "k1")];
    let other = rule("other", "/x", 5);
    let first = server.tell("POST", RULES, &key, &other).await.expect(201);
    let again = server.tell("POST", RULES, &key, &other).await.expect(201);
    assert_eq!((&again.text, again.header("location")), (&first.text, first.header("location")));
    server.tell("POST", RULES, &key, rule("third", "/x", 5)).await.problem(422, "idempotency-mismatch");
    let problem = server.tell("POST", RULES, &[], &good).await.problem(409, "already-exists");
    assert!(problem["id"].is_string(), "{problem}");
}

#[tokio::test]
async fn users_limits_come_in_pages() {
    let server = start(&[]).await;
    for user in ["c", "a", "b"] {
        server.tell("PUT", &format!("{CONFIGS}/{user}"), &[], limit(1)).await.expect(201);
    }
    let page = server.get(&format!("{CONFIGS}?limit=2")).await.1;
    let users = |page: &Value| -> Vec<Value> {
        page["items"].as_array().unwrap().iter().map(|config| config["userId"].clone()).collect()
    };
    assert_eq!(users(&page), ["a", "b"]);
    let cursor = page["nextCursor"].as_str().unwrap();
    let page = server.get(&format!("{CONFIGS}?limit=2&cursor={cursor}")).await.1;
    assert_eq!((users(&page), page.get("nextCursor")), (vec![json!("c")], None));
}

#[tokio::test]
async fn what_passed_and_what_was_refused_is_counted_by_rule_and_by_user() {
    let server = start(THREE).await;
    server.tell("POST", RULES, &[], rule("events", "/api/v1/games/*/events", 1)).await.expect(201);
    server.tell("PUT", &format!("{CONFIGS}/carol"), &[], limit(1)).await.expect(201);
    pass(&server, "alice", 5).await;
    pass(&server, "bob", 2).await;
    pass(&server, "carol", 4).await;
    get(&server, "bob", &format!("{GAME}/events")).await.expect(200);
    get(&server, "bob", &format!("{GAME}/events")).await.expect(429);
    let metrics = server.get(METRICS).await.1;
    assert_eq!((&metrics["allowed"], &metrics["limited"]), (&json!(7), &json!(6)), "{metrics}");
    let of = |list: &str, name: &str, wanted: &str| {
        let found = metrics[list].as_array().unwrap().iter().find(|item| item[name] == wanted);
        found.map(|item| (item["allowed"].as_u64().unwrap(), item["limited"].as_u64().unwrap()))
    };
    assert_eq!((of("byRule", "rule", "default"), of("byRule", "rule", "user")), (Some((5, 2)), Some((1, 3))));
    assert_eq!(of("byRule", "rule", "events"), Some((1, 1)));
    assert_eq!((of("byUser", "id", "alice"), of("byUser", "id", "bob")), (Some((3, 2)), Some((3, 1))));
    let offenders: Vec<&Value> = metrics["topOffenders"].as_array().unwrap().iter().map(|item| &item["id"]).collect();
    assert_eq!(offenders, ["carol", "alice", "bob"]);
    assert!(metrics["topOffenders"][0]["lastLimitedAt"].is_string());
    assert_eq!(server.get(&format!("{METRICS}?limit=1")).await.1["byUser"].as_array().unwrap().len(), 1);
}
