//! How much each user may create: as users and administrators see it, over every way to create, and across kills.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::support::{AS, Dice, Disk, Moment, Process, Reply};

const USAGE: &str = "/api/v1/usage";
const SUBSCRIPTIONS: &str = "/api/v1/admin/subscriptions";
const COUNTERS: [(&str, &str); 3] =
    [("parties", "partiesCreated"), ("encounters", "encountersCreated"), ("creatures", "creaturesCreated")];

async fn usage_of(server: &Process, user: &str) -> Value {
    server.ask("GET", USAGE, &[(AS, user)]).await.expect(200).body
}

/// The counters of a user, in the order of [`COUNTERS`].
async fn counts(server: &Process, user: &str) -> [u64; 3] {
    let usage = usage_of(server, user).await;
    COUNTERS.map(|(_, counter)| usage["counters"][counter].as_u64().unwrap())
}

fn subscription(limits: &Value) -> Value {
    json!({
        "plan": "gold", "status": "active", "limits": limits,
        "currentPeriodStart": "2020-01-31T00:00:00Z", "currentPeriodEnd": "2020-02-29T00:00:00Z",
    })
}

/// A subscription whose period runs now, and for long.
fn running(limits: &Value) -> Value {
    let mut running = subscription(limits);
    running["currentPeriodStart"] = "2026-01-01T00:00:00Z".into();
    running["currentPeriodEnd"] = "2126-01-01T00:00:00Z".into();
    running
}

async fn subscribe(server: &Process, user: &str, subscription: &Value) -> Value {
    let set = server.tell("PUT", &format!("{SUBSCRIPTIONS}/{user}"), &[], subscription).await;
    assert!([200, 201].contains(&set.status), "{}", set.text);
    set.body
}

async fn create(server: &Process, user: &str, collection: &str, id: &str) -> Reply {
    let body = json!({ "id": id, "state": {} });
    server.tell("POST", &format!("/api/v1/{collection}"), &[(AS, user)], body).await
}

fn quota(refused: Reply) -> (u64, u64, Value) {
    let problem = refused.problem(403, "quota-exceeded");
    (problem["used"].as_u64().unwrap(), problem["limit"].as_u64().unwrap(), problem)
}

#[tokio::test]
async fn every_way_to_create_counts_once_and_past_the_limit_none_does() {
    let server = Process::start(&[]);
    subscribe(&server, "alice", &running(&json!({ "partiesCreated": 4 }))).await;
    create(&server, "alice", "parties", "posted").await.expect(201);
    let put = async |id: &str| {
        server.tell("PUT", &format!("/api/v1/parties/{id}"), &[(AS, "alice")], r#"{"state":{}}"#).await
    };
    put("put").await.expect(201);
    put("put").await.expect(200);
    let batch = async |ids: &[&str]| {
        let create = |id: &&str| json!({ "op": "create", "collection": "parties", "id": id, "state": {} });
        let operations: Vec<Value> = ids.iter().map(create).collect();
        server.tell("POST", "/api/v1/batch", &[(AS, "alice")], json!({ "operations": operations })).await
    };
    let (used, limit, problem) = quota(batch(&["b1", "b2", "b3"]).await);
    assert_eq!((used, limit, &problem["index"]), (4, 4, &json!(2)));
    assert_eq!(
        (&problem["counter"], &problem["resetAt"]),
        (&json!("partiesCreated"), &json!("2126-01-01T00:05:00.000Z"))
    );
    assert_eq!(counts(&server, "alice").await, [2, 0, 0], "of the batch nothing was done");
    server.ask("GET", "/api/v1/parties/b1", &[]).await.problem(404, "not-found");

    let keyed = [(AS, "alice"), ("idempotency-key", "k")];
    for replayed in [false, true] {
        let made = server.tell("POST", "/api/v1/parties", &keyed, r#"{"id":"keyed","state":{}}"#).await.expect(201);
        assert_eq!(made.headers.contains_key("idempotency-replayed"), replayed);
    }
    batch(&["b1"]).await.expect(200);
    let (used, _, problem) = quota(batch(&["b2"]).await);
    assert_eq!((used, &problem["index"]), (4, &json!(0)));
    for refused in [create(&server, "alice", "parties", "more").await, put("more").await] {
        assert_eq!(quota(refused).0, 4);
    }
    server.tell("POST", "/api/v1/parties", &keyed, r#"{"id":"keyed","state":{}}"#).await.expect(201);
    put("put").await.expect(200);
    create(&server, "alice", "parties", "put").await.problem(409, "already-exists");

    assert_eq!(server.ask("DELETE", "/api/v1/parties/put", &[(AS, "alice")]).await.status, 200);
    assert_eq!(quota(create(&server, "alice", "parties", "put").await).0, 4, "deleting gives nothing back");
    create(&server, "alice", "creatures", "owl").await.expect(201);
    create(&server, "alice", "notes", "free").await.expect(201);
    create(&server, "bob", "parties", "bobs").await.expect(201);
    server.post("/api/v1/parties", &json!({ "id": "owners", "state": {} })).await;
    assert_eq!(counts(&server, "alice").await, [4, 0, 1]);
    assert_eq!(counts(&server, "bob").await, [1, 0, 0]);
    let (_, own) = server.get(USAGE).await;
    assert_eq!((&own["userId"], &own["plan"], &own["limits"]), (&json!("@owner"), &json!("owner"), &json!({})));
    assert_eq!(own["counters"]["partiesCreated"], 1, "the owner is counted and has no limit");
}

#[tokio::test]
async fn a_user_sees_how_they_stand_and_an_administrator_sets_it() {
    let server = Process::start(&["--usage-default-creatures-created=1", "--env=development"]);
    let usage = usage_of(&server, "alice").await;
    assert_eq!(
        (&usage["userId"], &usage["plan"], &usage["status"]),
        (&json!("alice"), &json!("default"), &json!("active"))
    );
    assert_eq!(usage["limits"], json!({ "creaturesCreated": 1 }));
    assert_eq!(usage["counters"], json!({ "partiesCreated": 0, "encountersCreated": 0, "creaturesCreated": 0 }));
    assert!(usage["currentPeriodStart"].as_str().unwrap().ends_with("-01T00:00:00.000Z"), "{usage}");
    assert!(usage["resetAt"].as_str().unwrap().ends_with("-01T00:05:00.000Z"), "{usage}");
    create(&server, "alice", "creatures", "one").await.expect(201);
    assert_eq!(quota(create(&server, "alice", "creatures", "two").await).1, 1);

    let path = format!("{SUBSCRIPTIONS}/alice");
    server.ask("GET", &path, &[]).await.problem(404, "not-found");
    let sent = running(&json!({ "creaturesCreated": 2, "partiesCreated": null }));
    let set = server.tell("PUT", &path, &[], &sent).await.expect(201).body;
    let expected = json!({
        "userId": "alice", "plan": "gold", "status": "active", "limits": { "creaturesCreated": 2 },
        "currentPeriodStart": "2026-01-01T00:00:00.000Z", "currentPeriodEnd": "2126-01-01T00:00:00.000Z",
    });
    assert_eq!(set, expected);
    assert_eq!(server.get(&path).await, (200, expected.clone()));
    assert_eq!(server.tell("PUT", &path, &[], &expected).await.expect(200).body, expected, "what is read can be sent");
    create(&server, "alice", "creatures", "two").await.expect(201);
    assert_eq!(quota(create(&server, "alice", "creatures", "three").await).1, 2);
    let usage = usage_of(&server, "alice").await;
    assert_eq!((&usage["plan"], &usage["currentPeriodEnd"]), (&json!("gold"), &expected["currentPeriodEnd"]));
    assert_eq!(server.get(&format!("{USAGE}?user=alice")).await, (200, usage));

    let mut paused = expected.clone();
    paused["status"] = "paused".into();
    subscribe(&server, "alice", &paused).await;
    let (used, limit, problem) = quota(create(&server, "alice", "creatures", "three").await);
    assert_eq!((used, limit, &problem["resetAt"]), (2, 2, &Value::Null), "it stands still");
    let mut cancelled = expected;
    cancelled["status"] = "cancelled".into();
    subscribe(&server, "alice", &cancelled).await;
    assert_eq!(quota(create(&server, "alice", "creatures", "three").await).1, 1, "the default plan is in force");
    let usage = usage_of(&server, "alice").await;
    assert_eq!((&usage["plan"], &usage["status"]), (&json!("default"), &json!("cancelled")));
}

#[tokio::test]
async fn administrators_page_through_subscriptions_and_nobody_else_does() {
    let server = Process::start(&[]);
    for user in ["cid", "ann", "bob"] {
        subscribe(&server, user, &running(&json!({}))).await;
    }
    let first = server.get(&format!("{SUBSCRIPTIONS}?limit=2")).await.1;
    let rest = format!("{SUBSCRIPTIONS}?limit=2&cursor={}", first["nextCursor"].as_str().unwrap());
    let rest = server.get(&rest).await.1;
    let users = |page: &Value| -> Vec<String> {
        page["items"].as_array().unwrap().iter().map(|item| item["userId"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!((users(&first), users(&rest)), (vec!["ann".to_owned(), "bob".to_owned()], vec!["cid".to_owned()]));
    assert!(rest.get("nextCursor").is_none());
    let one = format!("{SUBSCRIPTIONS}/ann");
    for (method, path) in [("GET", SUBSCRIPTIONS), ("GET", &one), ("GET", &format!("{USAGE}?user=ann"))] {
        server.ask(method, path, &[(AS, "ann")]).await.problem(403, "forbidden");
    }
    server.tell("PUT", &one, &[(AS, "ann")], running(&json!({}))).await.problem(403, "forbidden");
    server.tell("PUT", &one, &[(AS, "ann")], "nonsense").await.problem(403, "forbidden");
}

#[tokio::test]
async fn what_is_no_subscription_is_refused_and_named() {
    let server = Process::start(&[]);
    let with = |field: &str, value: Value| {
        let mut body = running(&json!({}));
        body[field] = value;
        body
    };
    let without = |field: &str| {
        let mut body = running(&json!({}));
        body.as_object_mut().unwrap().remove(field);
        body
    };
    for (field, body) in [
        ("plan", with("plan", json!(""))),
        ("plan", with("plan", json!("x".repeat(65)))),
        ("plan", with("plan", json!("a\nb"))),
        ("plan", with("plan", json!(1))),
        ("plan", without("plan")),
        ("status", with("status", json!("resting"))),
        ("status", with("status", json!({ "active": null }))),
        ("status", without("status")),
        ("currentPeriodStart", with("currentPeriodStart", json!("yesterday"))),
        ("currentPeriodStart", with("currentPeriodStart", json!(17))),
        ("currentPeriodStart", with("currentPeriodStart", json!("1969-12-31T23:59:59Z"))),
        ("currentPeriodEnd", with("currentPeriodEnd", json!("2026-01-01T00:00:00Z"))),
        ("currentPeriodEnd", with("currentPeriodEnd", json!("2025-01-01T00:00:00Z"))),
        ("currentPeriodEnd", without("currentPeriodEnd")),
        ("limits.partiesCreated", with("limits", json!({ "partiesCreated": -1 }))),
        ("limits.partiesCreated", with("limits", json!({ "partiesCreated": 1.5 }))),
        ("limits.creaturesCreated", with("limits", json!({ "creaturesCreated": "9" }))),
        ("limits.encountersCreated", with("limits", json!({ "encountersCreated": 1_u64 << 53 }))),
        ("limits.dragonsCreated", with("limits", json!({ "dragonsCreated": 1 }))),
        ("limits", with("limits", json!("none"))),
        ("userId", with("userId", json!("bob"))),
        ("counters", with("counters", json!({}))),
    ] {
        let refused = server.tell("PUT", &format!("{SUBSCRIPTIONS}/ann"), &[], &body).await;
        let problem = refused.problem(400, "invalid-request");
        assert_eq!(problem["errors"][0]["field"], field, "{body}: {problem}");
    }
    let path = format!("{SUBSCRIPTIONS}/no.body");
    server.tell("PUT", &path, &[], running(&json!({}))).await.problem(400, "invalid-request");
    server.ask("GET", &format!("{USAGE}?user=no.body"), &[]).await.problem(400, "invalid-request");
    server.ask("GET", &format!("{USAGE}?users=ann"), &[]).await.problem(400, "invalid-request");
    server.ask("GET", &format!("{SUBSCRIPTIONS}?limit=0"), &[]).await.problem(400, "invalid-request");
    let text = [("content-type", "text/plain")];
    server.tell("PUT", &format!("{SUBSCRIPTIONS}/ann"), &text, "").await.problem(415, "unsupported-media-type");
    assert_eq!(server.get(SUBSCRIPTIONS).await.1["items"], json!([]));
}

/// What must be counted: by user, in the order of [`COUNTERS`].
type Counted = BTreeMap<&'static str, [u64; 3]>;

const USERS: [&str; 3] = ["alice", "bob", "cid"];
/// Of creatures each user may have this many.
const CREATURES_MAX: u64 = 6;

/// Creates at random, one by one, in batches, and again under the same key; returns what was acknowledged.
async fn create_at_random(server: &Process, dice: &mut Dice, counted: &mut Counted, from: usize, writes: usize) {
    for index in from..from + writes {
        let user = dice.pick(&USERS);
        let count = 1 + dice.below(3);
        let kinds: Vec<usize> = (0..count).map(|_| usize::try_from(dice.below(3)).unwrap()).collect();
        // Now and then one that is there already: then nothing of it counts.
        let spoilt = dice.below(6) == 0;
        let name = |place: usize| {
            if spoilt && place + 1 == kinds.len() { "there".to_owned() } else { format!("d{index}-{place}") }
        };
        let operation = |(place, kind): (usize, &usize)| {
            let collection = COUNTERS[*kind].0;
            json!({ "op": "create", "collection": collection, "id": name(place), "state": {} })
        };
        let operations: Vec<Value> = kinds.iter().enumerate().map(operation).collect();
        let key = format!("k{index}");
        let headers = [(AS, user), ("idempotency-key", key.as_str())];
        for _ in 0..1 + dice.below(2) {
            let answer = server.tell("POST", "/api/v1/batch", &headers, json!({ "operations": operations })).await;
            let mine = counted.entry(USERS[USERS.iter().position(|name| *name == user).unwrap()]).or_default();
            let mut after = *mine;
            kinds.iter().for_each(|kind| after[*kind] += 1);
            let replayed = answer.headers.contains_key("idempotency-replayed");
            match answer.status {
                200 | 202 if replayed => {}
                200 | 202 => {
                    assert!(!spoilt && after[2] <= CREATURES_MAX, "{}", answer.text);
                    *mine = after;
                }
                403 => assert!(after[2] > CREATURES_MAX && quota(answer).0 >= CREATURES_MAX),
                _ => assert!(spoilt, "{}", answer.problem(409, "already-exists")),
            }
        }
    }
}

async fn check(server: &Process, counted: &Counted, seed: u64) {
    for user in USERS {
        assert_eq!(counts(server, user).await, counted.get(user).copied().unwrap_or_default(), "{user}, seed {seed}");
    }
}

async fn prepare(server: &Process) {
    for (collection, _) in COUNTERS {
        server.post(&format!("/api/v1/{collection}"), &json!({ "id": "there", "state": {} })).await;
    }
}

#[tokio::test]
async fn counters_equal_the_creations_over_random_writes_and_kills() {
    for seed in 1..=3 {
        let (mut dice, mut counted) = (Dice::new(seed), Counted::new());
        let mut server = Process::start(&[&format!("--usage-default-creatures-created={CREATURES_MAX}")]);
        prepare(&server).await;
        for round in 0..4 {
            create_at_random(&server, &mut dice, &mut counted, round * 100, 15).await;
            check(&server, &counted, seed).await;
            server.kill();
            server.start_again();
            check(&server, &counted, seed).await;
        }
    }
}

/// Killed while requests are on their way: whatever came of them, each counter is the number of documents.
#[tokio::test]
async fn a_kill_among_creations_leaves_as_many_counted_as_there_are() {
    let (disk, mut server) = Disk::with_server(&[]);
    for (round, moment) in Moment::ALL.into_iter().enumerate() {
        let request = server.request_as("alice", "POST", "/api/v1/batch").await;
        // In the middle of all; the second half of its batch.
        disk.kill(moment, &format!("d{round}-20-b"));
        let writes: Vec<_> = (0..40)
            .map(|index| {
                let request = request.try_clone().unwrap();
                let id = |part: &str| format!("d{round}-{index}-{part}");
                let operation =
                    |part: &str| json!({ "op": "create", "collection": "parties", "id": id(part), "state": {} });
                let operations = [operation("a"), operation("b")];
                tokio::spawn(request.json(&json!({ "operations": operations })).send())
            })
            .collect();
        server.until_killed().await;
        for write in writes {
            let _ = write.await.unwrap();
        }
        disk.set("off");
        server.start_again();
        let there = parties(&server).await;
        assert_eq!(counts(&server, "alice").await[0], u64::try_from(there.len()).unwrap(), "{moment:?}");
        let kept = there.contains(&format!("d{round}-20-b"));
        assert_eq!(kept, moment.keeps_the_change(), "{moment:?}");
    }
}

/// The ids of all parties.
async fn parties(server: &Process) -> Vec<String> {
    let (mut ids, mut path) = (Vec::new(), "/api/v1/parties?limit=500".to_owned());
    loop {
        let page = server.get(&path).await.1;
        let items = page["items"].as_array().unwrap().iter();
        ids.extend(items.map(|item| item["id"].as_str().unwrap().to_owned()));
        let Some(cursor) = page["nextCursor"].as_str() else { return ids };
        path = format!("/api/v1/parties?limit=500&cursor={cursor}");
    }
}

#[tokio::test]
async fn what_is_created_while_storage_fails_is_limited_at_once_and_counted_when_it_is_durable() {
    for fault in ["enospc", "short", "eio-write", "eio-fsync"] {
        let (disk, mut server) = Disk::with_server(&["--usage-default-creatures-created=6"]);
        prepare(&server).await;
        let (mut dice, mut counted) = (Dice::new(7), Counted::new());
        create_at_random(&server, &mut dice, &mut counted, 0, 10).await;
        disk.set(fault);
        create_at_random(&server, &mut dice, &mut counted, 100, 25).await;
        disk.set("off");
        let well = |status, report: &Value| status == 200 && report["storage"]["state"] == "ok";
        server.until_ready(well).await;
        check(&server, &counted, 7).await;
        create_at_random(&server, &mut dice, &mut counted, 200, 10).await;
        server.kill();
        disk.set("off");
        server.start_again();
        check(&server, &counted, 7).await;
    }
}

async fn reset(server: &Process) -> Value {
    let run = server.tell("POST", "/api/v1/admin/jobs/usage-reset/run", &[], "{}").await.expect(200).body;
    assert_eq!(run["outcome"], "succeeded", "{run}");
    run["counts"].clone()
}

#[tokio::test]
async fn in_production_the_reset_begins_the_period_that_runs_and_elsewhere_it_does_not() {
    let mut server = Process::start(&["--env=production"]);
    subscribe(&server, "alice", &subscription(&json!({ "partiesCreated": 1 }))).await;
    create(&server, "alice", "parties", "a").await.expect(201);
    quota(create(&server, "alice", "parties", "b").await);
    let (_, jobs) = server.get("/api/v1/admin/jobs").await;
    let job = jobs["items"].as_array().unwrap().iter().find(|job| job["name"] == "usage-reset").unwrap().clone();
    assert_eq!(job["schedule"], "every day at 00:05 UTC");

    server.terminate();
    server.start_again_with(&[]);
    assert_eq!(reset(&server).await, json!({ "due": 1, "reset": 0, "failed": 0, "months": 0 }));
    quota(create(&server, "alice", "parties", "b").await);
    server.terminate();
    server.start_again_with(&["--env=production"]);
    assert_eq!(reset(&server).await, json!({ "due": 1, "reset": 1, "failed": 0, "months": 0 }));
    assert_eq!(counts(&server, "alice").await, [0, 0, 0]);
    let (_, set) = server.get(&format!("{SUBSCRIPTIONS}/alice")).await;
    let day = |field: &str| set[field].as_str().unwrap()[8..10].to_owned();
    assert!(["31", "30", "29", "28"].contains(&day("currentPeriodStart").as_str()), "{set}");
    assert!(["31", "30", "29", "28"].contains(&day("currentPeriodEnd").as_str()), "{set}");
    create(&server, "alice", "parties", "b").await.expect(201);
    assert_eq!(reset(&server).await["due"], 0, "once per period");
    quota(create(&server, "alice", "parties", "c").await);
}

#[tokio::test]
async fn a_kill_in_the_middle_of_the_reset_is_made_up_for_and_nobody_is_reset_twice() {
    let (disk, mut server) = Disk::with_server(&["--env=production"]);
    let users: Vec<String> = (0..150).map(|index| format!("u{index:03}")).collect();
    for user in &users {
        let mut ended = subscription(&json!({}));
        ended["plan"] = format!("plan-of-{user}").into();
        subscribe(&server, user, &ended).await;
        create(&server, user, "parties", user).await.expect(201);
    }
    // The reset goes by name, a hundred at a time. Nothing else writes names of plans.
    disk.kill(Moment::BeforeWrite, "plan-of-u149");
    let asked = server.request("POST", "/api/v1/admin/jobs/usage-reset/run").send().await;
    assert!(asked.is_err(), "killed before it was answered");
    server.until_killed().await;
    let ended = "SELECT count(*) FROM subscriptions WHERE period_end < '2021'";
    let database = rusqlite::Connection::open(server.data_dir().join("rejoin.db")).unwrap();
    let left: u32 = database.query_row(ended, [], |row| row.get(0)).unwrap();
    assert!((1..=50).contains(&left), "it was in the middle: {left}");
    drop(database);
    disk.set("off");
    server.start_again();
    // The run that the start makes up for, or this one, does what is left.
    let end = std::time::Instant::now() + std::time::Duration::from_secs(20);
    loop {
        let run = server.tell("POST", "/api/v1/admin/jobs/usage-reset/run", &[], "{}").await;
        if run.status == 200 && run.body["counts"]["due"] == 0 {
            break;
        }
        assert!(std::time::Instant::now() < end, "{}", run.text);
    }
    for user in &users {
        assert_eq!(counts(&server, user).await, [0, 0, 0]);
        create(&server, user, "parties", &format!("{user}-again")).await.expect(201);
    }
    reset(&server).await;
    for user in &users {
        assert_eq!(counts(&server, user).await, [1, 0, 0], "{user}");
    }
}
