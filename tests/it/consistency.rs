//! Projects are checked a moment after they changed, and what is found is kept as warnings.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::sleep;

use crate::support::{AS, Clocked, Follower, Process};

const PROJECT: &str = "/api/v1/projects/p";
const WARNINGS: &str = "/api/v1/projects/p/warnings";
const CHECK: &str = "/api/v1/projects/p/consistency/check";

/// Asks until `wanted` holds of the answer, for at most a minute of the machine's time.
async fn until(ask: impl AsyncFn() -> Value, wanted: impl Fn(&Value) -> bool) -> Value {
    for _ in 0..1_200 {
        let answer = ask().await;
        if wanted(&answer) {
            return answer;
        }
        sleep(Duration::from_millis(50)).await;
    }
    panic!("not within a minute: {}", ask().await);
}

/// Where the warnings of an answer are, in order.
fn places(answer: &Value) -> BTreeSet<String> {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let place = |item: &Value| {
        let place = &item["where"];
        format!("{} {}{}", text(&item["check"]), text(&place["document"]), text(&place["path"]))
    };
    answer["items"].as_array().unwrap().iter().map(place).collect()
}

fn character(name: &str, born: &str, died: &str) -> Value {
    json!({ "projectId": "p", "name": name, "born": born, "died": died })
}

async fn put(server: &Process, path: &str, state: Value) {
    let (status, answer) = server.put(&format!("/api/v1/{path}"), &state).await;
    assert!(matches!(status, 200 | 201), "{answer}");
}

async fn warnings(server: &Process, query: &str) -> Value {
    server.ask("GET", &format!("{WARNINGS}{query}"), &[]).await.expect(200).body
}

/// How many changes the consumer has before it.
async fn lag(server: &Clocked) -> Value {
    let all = server.ask("GET", "/api/v1/admin/consumers", &[]).await.expect(200).body;
    let items = all["items"].as_array().unwrap();
    items.iter().find(|item| item["name"] == "projects-consistency").unwrap()["lag"]["changes"].clone()
}

/// When the project was last checked.
fn checked_at(server: &Clocked) -> Option<String> {
    let sql = "SELECT at FROM projects_checks WHERE project = 'p'";
    server.database().query_row(sql, (), |row| row.get(0)).ok()
}

#[tokio::test]
async fn a_burst_of_a_thousand_edits_is_one_check_that_sees_the_last_and_the_next_waits_for_its_time() {
    let server = Clocked::start(|_| {}).await;
    server.put(PROJECT, json!({ "name": "Book" })).await.expect(201);
    for round in 0..20 {
        let operations = (0..50).map(|number| {
            let last = round == 19 && number == 49;
            let state = character("Ann", "1850", if last { "1840" } else { "1900" });
            json!({ "op": "put", "collection": "characters", "id": "a", "state": state })
        });
        let body = json!({ "operations": operations.collect::<Vec<_>>() });
        server.post("/api/v1/batch", body).await.expect(200);
    }
    until(async || lag(&server).await, |lag| *lag == 0).await;
    sleep(Duration::from_millis(600)).await;
    assert_eq!(checked_at(&server), None, "it waits for two seconds of quiet, and the clock stands still");

    server.advance(Duration::from_millis(2_000));
    let list = async || server.ask("GET", WARNINGS, &[]).await.expect(200).body;
    let found = until(list, |found| !places(found).is_empty()).await;
    assert_eq!(places(&found), BTreeSet::from(["impossible-date characters/a/died".to_owned()]));
    let first = checked_at(&server).unwrap();

    server.put("/api/v1/characters/a", character("Ann", "1850", "1900")).await.expect(200);
    until(async || lag(&server).await, |lag| *lag == 0).await;
    server.advance(Duration::from_millis(29_000));
    sleep(Duration::from_millis(600)).await;
    assert_eq!(checked_at(&server).as_ref(), Some(&first), "not within thirty seconds of the one before");
    let problem = server.post(CHECK, json!({})).await.problem(429, "checked-lately");
    assert_eq!(problem["retryAfterSeconds"], 1, "{problem}");
    server.advance(Duration::from_millis(1_000));
    until(list, |found| places(found).is_empty()).await;
    let second = checked_at(&server).unwrap();
    server.advance(Duration::from_secs(300));
    sleep(Duration::from_millis(600)).await;
    assert_eq!(checked_at(&server), Some(second), "nothing has changed since");
    server.stop().await;
}

#[tokio::test]
async fn a_kill_between_change_and_check_loses_no_check() {
    let mut server = Process::start(&["--projects-check-interval", "1"]);
    put(&server, "projects/p", json!({ "name": "Book" })).await;
    for (round, pause) in [0, 40, 900, 2_000, 2_100].into_iter().enumerate() {
        // Each time another character, whose change was made right before the kill.
        put(&server, &format!("characters/c{round}"), character(&format!("C{round}"), "1850", "1840")).await;
        sleep(Duration::from_millis(pause)).await;
        server.kill();
        server.start_again();
        let wanted = format!("impossible-date characters/c{round}/died");
        let found = until(async || warnings(&server, "").await, |found| places(found).contains(&wanted)).await;
        assert_eq!(places(&found).len(), round + 1, "{found}");
    }
    put(&server, "characters/c0", character("C0", "1840", "1850")).await;
    server.kill();
    server.start_again();
    let gone = |found: &Value| !places(found).contains("impossible-date characters/c0/died");
    until(async || warnings(&server, "").await, gone).await;
    let all = warnings(&server, "?status=resolved").await;
    assert_eq!(places(&all), BTreeSet::from(["impossible-date characters/c0/died".to_owned()]));
}

#[tokio::test]
async fn warnings_are_read_resolved_dismissed_and_opened_again() {
    let server = Process::start(&["--projects-check-interval", "1"]);
    put(&server, "projects/p", json!({ "name": "Book" })).await;
    let stream = format!("{}{PROJECT}/events", server.url);
    let mut follower = Follower::connect(&stream, None, None).await.unwrap();
    follower.expect("snapshot").await;
    put(&server, "characters/a", character("Ann", "1850", "1840")).await;
    put(&server, "characters/b", character("Ann", "1850", "1900")).await;
    let found = until(async || warnings(&server, "").await, |found| places(found).len() == 2).await;
    let of = |check: &str| {
        let items = found["items"].as_array().unwrap();
        items.iter().find(|item| item["check"] == check).unwrap().clone()
    };
    let (dates, names) = (of("impossible-date"), of("duplicate-name"));
    let mut told = BTreeSet::new();
    for _ in 0..2 {
        let data = follower.expect("warning").await.data;
        assert_eq!(
            (&data["collection"], &data["id"], &data["payload"]["status"]),
            (&json!("projects"), &json!("p"), &json!("open"),)
        );
        told.insert(data["payload"]["id"].as_str().unwrap().to_owned());
        assert_eq!(data["payload"].as_object().unwrap().len(), 5, "its state alone: {data}");
    }
    assert_eq!(told.len(), 2, "each as it appears");
    let count = server.ask("GET", &format!("{WARNINGS}/count"), &[]).await.expect(200).body;
    assert_eq!(count, json!({ "error": 1, "warning": 1, "info": 0, "total": 2 }));
    assert_eq!(places(&warnings(&server, "?severity=error").await).len(), 1);
    assert_eq!(places(&warnings(&server, "?check=duplicate-name").await).len(), 1);
    assert_eq!(dates["values"], json!({ "born": "1850", "died": "1840" }));
    let unknown = server.ask("GET", &format!("{WARNINGS}?check=none"), &[]).await.problem(400, "invalid-request");
    assert!(unknown["detail"].as_str().unwrap().contains("duplicate-name"), "{unknown}");

    let path = |warning: &Value, rest: &str| format!("{WARNINGS}/{}{rest}", warning["id"].as_str().unwrap());
    let read = server.ask("GET", &path(&dates, ""), &[]).await.expect(200).body;
    assert_eq!(read, dates);
    server.ask("GET", &format!("{WARNINGS}/none"), &[]).await.problem(404, "not-found");
    let resolved =
        server.tell("POST", &path(&dates, "/resolve"), &[], json!({ "note": "seen to" })).await.expect(200).body;
    assert_eq!((&resolved["status"], &resolved["note"]), (&json!("resolved"), &json!("seen to")));
    assert_eq!(follower.expect("warning").await.data["payload"]["status"], "resolved");
    for action in ["/resolve", "/dismiss"] {
        let again = server.tell("POST", &path(&dates, action), &[], json!({ "reason": "no" })).await;
        if action == "/dismiss" {
            again.problem(409, "warning-not-open");
        } else {
            again.problem(400, "invalid-request");
        }
    }
    server.tell("POST", &path(&dates, "/resolve"), &[], json!({})).await.problem(409, "warning-not-open");
    server.tell("POST", &path(&names, "/dismiss"), &[], json!({})).await.problem(400, "invalid-request");
    let long = json!({ "reason": "x".repeat(1_001) });
    let refused = server.tell("POST", &path(&names, "/dismiss"), &[], long).await.problem(400, "invalid-request");
    assert_eq!(refused["errors"][0]["field"], "reason", "{refused}");
    let twice = json!({ "ids": [names["id"], names["id"]], "action": "dismiss", "reason": "twins" });
    let answer = server.tell("POST", &format!("{WARNINGS}/bulk"), &[], twice).await.expect(200).body;
    assert_eq!(answer, json!({ "changed": 1 }));

    // What is still there is opened again; what is dismissed stays so until its values change.
    let check = async || {
        let answer = async || server.tell("POST", CHECK, &[], "").await;
        until(async || answer().await.body, |report| report["full"] == true).await
    };
    check().await;
    assert_eq!(places(&warnings(&server, "").await), places(&warnings(&server, "?check=impossible-date").await));
    assert_eq!(places(&warnings(&server, "?status=dismissed").await).len(), 1);
    put(&server, "characters/c", character("Ann", "1850", "1900")).await;
    until(async || warnings(&server, "").await, |found| places(found).len() == 2).await;

    let bulk = json!({ "filter": { "severity": "warning" }, "action": "dismiss", "reason": "triplets" });
    let changed = server.tell("POST", &format!("{WARNINGS}/bulk"), &[], bulk).await.expect(200).body;
    assert_eq!(changed, json!({ "changed": 1 }));
    let bulk = json!({ "ids": [dates["id"], names["id"]], "action": "resolve", "reason": "both" });
    let problem = server.tell("POST", &format!("{WARNINGS}/bulk"), &[], bulk).await.problem(409, "warning-not-open");
    assert_eq!(problem["warnings"], json!([names["id"]]), "{problem}");
    assert_eq!(places(&warnings(&server, "").await).len(), 1, "nothing was changed");

    // A finding that is gone resolves itself, and a project that is gone takes its warnings along.
    put(&server, "characters/a", character("Ann", "1850", "1900")).await;
    until(async || warnings(&server, "").await, |found| places(found).is_empty()).await;
    server.tell("DELETE", PROJECT, &[], "").await.expect(200);
    server.ask("GET", WARNINGS, &[]).await.problem(410, "gone");
    put(&server, "projects/p", json!({ "name": "Book", "checks": { "duplicate-name": false } })).await;
    assert_eq!(places(&warnings(&server, "?status=all").await), BTreeSet::new());
}

#[tokio::test]
async fn checks_see_what_everybody_may_read_who_may_read_the_project() {
    let server = Process::start(&["--projects-check-interval", "1"]);
    let create = async |collection: &str, id: &str, state: Value, read: Value| {
        let body = json!({ "id": id, "state": state, "access": { "read": read, "write": "host" } });
        server.tell("POST", &format!("/api/v1/{collection}"), &[(AS, "ann")], body).await.expect(201);
    };
    server.meet("bob").await;
    server.meet("eve").await;
    create("projects", "p", json!({ "name": "Book" }), json!(["bob"])).await;
    create("characters", "shown", character("Ann", "1850", "1840"), json!(["bob"])).await;
    create("characters", "secret", character("Ann", "1850", "1840"), json!("host")).await;
    let hidden = json!({ "projectId": "p", "name": "Cid", "hidden": { "bossId": "none", "characterIds": ["none"] } });
    create("characters", "masked", hidden, json!(["bob", "eve"])).await;
    let chapter = json!({ "projectId": "p", "title": "One", "characterIds": ["secret", "masked"] });
    create("chapters", "1", chapter, json!(["bob"])).await;
    let list = async || server.ask("GET", WARNINGS, &[(AS, "bob")]).await.expect(200).body;
    let found = until(list, |found| places(found).len() == 2).await;
    let expected = ["impossible-date characters/shown/died", "missing-reference chapters/1/characterIds/0"];
    assert_eq!(places(&found), expected.map(str::to_owned).into());

    let id = found["items"][0]["id"].as_str().unwrap();
    let dismiss = format!("{WARNINGS}/{id}/dismiss");
    let reason = json!({ "reason": "no" });
    server.tell("POST", &dismiss, &[(AS, "bob")], reason.clone()).await.problem(403, "forbidden");
    server.tell("POST", CHECK, &[(AS, "bob")], "").await.problem(403, "forbidden");
    for path in [WARNINGS.to_owned(), format!("{WARNINGS}/count"), format!("{WARNINGS}/{id}")] {
        server.ask("GET", &path, &[(AS, "eve")]).await.problem(404, "not-found");
    }
    server.tell("POST", &dismiss, &[(AS, "eve")], reason.clone()).await.problem(404, "not-found");
    server.tell("POST", &dismiss, &[(AS, "ann")], reason).await.expect(200);
}

#[tokio::test]
async fn warnings_of_documents_that_one_may_not_read_are_shown_to_nobody_who_may_not() {
    let server = Process::start(&["--projects-check-interval", "1"]);
    put(&server, "projects/p", json!({ "name": "Book" })).await;
    put(&server, "characters/a", character("Ann", "1850", "1840")).await;
    let found = until(async || warnings(&server, "").await, |found| places(found).len() == 1).await;
    let id = found["items"][0]["id"].as_str().unwrap();
    let seen = async |query: &str| server.get_as("bob", &format!("{WARNINGS}{query}")).await;
    assert_eq!(seen("").await, (200, found.clone()));

    server.tell("PUT", "/api/v1/characters/a/access", &[], json!({ "read": "host" })).await.expect(200);
    let gone = async |query: &str| assert_eq!(seen(query).await.1["items"], json!([]), "{query}");
    gone("").await;
    gone("?status=all").await;
    assert_eq!(seen("/count").await.1["total"], 0);
    assert_eq!(seen(&format!("/{id}")).await.0, 404);
    let (status, _) = server.post_as("bob", &format!("{WARNINGS}/{id}/dismiss"), &json!({ "reason": "no" })).await;
    assert_eq!(status, 404);
    // The next check does not look at the document any more, and the owner still sees what was found.
    until(async || warnings(&server, "?status=resolved").await, |found| places(found).len() == 1).await;
    gone("?status=all").await;

    let wish = json!({ "name": "reader", "documents": ["projects/p"], "access": "read" });
    let token = server.tell("POST", "/api/v1/service-tokens", &[], wish).await.expect(201).body;
    let bearer = format!("Bearer {}", token["token"].as_str().unwrap());
    server.ask("GET", WARNINGS, &[("authorization", &bearer)]).await.problem(403, "forbidden");
}
