//! Projects: what is counted, how it was, where it goes, and that a project goes with all that belongs to it.

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::{AS, Clocked, Follower, Process};

const PROGRESS: &str = "/api/v1/projects/p/progress";

/// A call in JSON.
async fn tell(server: &Process, method: &str, path: &str, who: &[(&str, &str)], body: Value, status: u16) -> Value {
    server.tell(method, path, who, body).await.expect(status).body
}

async fn put(server: &Process, path: &str, state: Value) {
    let reply = server.tell("PUT", &format!("/api/v1/{path}"), &[], json!({ "state": state })).await;
    assert!([200, 201].contains(&reply.status), "{}", reply.text);
}

async fn progress(server: &Process) -> Value {
    server.ask("GET", PROGRESS, &[]).await.expect(200).body
}

async fn items(server: &Process, path: &str) -> Vec<Value> {
    let page = server.ask("GET", path, &[]).await.expect(200).body;
    page["items"].as_array().unwrap().clone()
}

/// What of a progress says how far it is.
fn measures(progress: &Value) -> Value {
    let mut measures = progress.clone();
    for member in ["version", "at"] {
        assert!(measures.as_object_mut().unwrap().remove(member).is_some(), "{member}: {progress}");
    }
    measures
}

#[tokio::test]
async fn progress_is_counted_from_the_documents_of_the_project() {
    let server = Process::start(&[]);
    put(&server, "chapters/early", json!({ "projectId": "p", "text": "here before the project" })).await;
    put(&server, "projects/p", json!({ "name": "The Tale", "goal": { "words": 40 } })).await;
    put(&server, "chapters/one", json!({ "projectId": "p", "text": "It was a dark and stormy night." })).await;
    put(&server, "chapters/two", json!({ "projectId": "other", "text": "of another" })).await;
    put(&server, "chapters/none", json!({ "text": "of none" })).await;
    put(&server, "characters/ana", json!({ "projectId": "p", "name": "Ana" })).await;
    put(&server, "wiki-entries/inn", json!({ "projectId": "p", "title": "The inn" })).await;
    put(&server, "plot-loops/ring", json!({ "projectId": "p", "title": "The ring", "status": "open" })).await;
    put(&server, "plot-loops/sword", json!({ "projectId": "p", "title": "The sword", "status": "closed" })).await;
    let expected = json!({ "phase": "idea", "completionPercent": 27, "wordCount": 11, "chapters": 2, "characters": 1,
                           "wikiEntries": 1, "plotLoops": { "open": 1, "closed": 1 } });
    assert_eq!(measures(&progress(&server).await), expected);

    // An edit, a move to another project, a deletion, and one that says nothing new.
    put(&server, "chapters/one", json!({ "projectId": "p", "text": "It was." })).await;
    put(&server, "plot-loops/ring", json!({ "projectId": "p", "title": "The ring", "status": "closed" })).await;
    put(&server, "characters/ana", json!({ "projectId": "other", "name": "Ana" })).await;
    server.ask("DELETE", "/api/v1/wiki-entries/inn", &[]).await.expect(200);
    let before = progress(&server).await;
    let expected = json!({ "phase": "idea", "completionPercent": 15, "wordCount": 6, "chapters": 2, "characters": 0,
                           "wikiEntries": 0, "plotLoops": { "open": 0, "closed": 2 } });
    assert_eq!(measures(&before), expected);
    put(&server, "chapters/one", json!({ "projectId": "p", "text": "It is.", "title": "One" })).await;
    assert_eq!(progress(&server).await, before, "nothing of it has changed");
}

#[tokio::test]
async fn hidden_and_private_members_are_not_counted() {
    let server = Process::start(&[]);
    put(&server, "projects/p", json!({ "name": "The Tale" })).await;
    put(&server, "chapters/one", json!({ "projectId": "p", "hidden": { "text": "a secret" } })).await;
    put(&server, "chapters/two", json!({ "hidden": { "projectId": "p" }, "text": "a secret" })).await;
    let progress = progress(&server).await;
    assert_eq!((&progress["chapters"], &progress["wordCount"]), (&json!(1), &json!(0)));
}

#[tokio::test]
async fn what_can_be_counted_is_not_typed_and_what_is_typed_wins_until_it_is_cleared() {
    let server = Process::start(&[]);
    put(&server, "projects/p", json!({ "name": "The Tale", "goal": { "words": 1_000 } })).await;
    let put_progress = async |body: Value, status| tell(&server, "PUT", PROGRESS, &[], body, status).await;
    let typed = put_progress(json!({ "wordCount": 250, "notes": "on paper" }), 200).await;
    assert_eq!(
        (&typed["wordCount"], &typed["completionPercent"], &typed["notes"]),
        (&json!(250), &json!(25), &json!("on paper"))
    );
    let typed = put_progress(json!({ "completionPercent": 33.5, "notes": null }), 200).await;
    assert_eq!((&typed["completionPercent"], typed.get("notes")), (&json!(33.5), None));
    assert_eq!(put_progress(json!({ "completionPercent": null }), 200).await["completionPercent"], 25);
    put(&server, "chapters/one", json!({ "projectId": "p", "text": "three words now" })).await;
    assert_eq!(progress(&server).await["wordCount"], 3);
    let refused = server.tell("PUT", PROGRESS, &[], json!({ "wordCount": 5, "phase": "writing" })).await;
    refused.problem(409, "words-are-counted");
    assert_eq!(progress(&server).await["phase"], "idea", "all of it was refused");
    for (bad, field) in [
        (json!({ "completionPercent": 101 }), "completionPercent"),
        (json!({ "wordCount": -1 }), "wordCount"),
        (json!({ "wordCount": 1e12 }), "wordCount"),
        (json!({ "phase": "nowhere" }), "phase"),
        (json!({ "chapters": 3 }), "chapters"),
        (json!({ "notes": "x".repeat(4_001) }), "notes"),
    ] {
        let problem = server.tell("PUT", PROGRESS, &[], bad.clone()).await.problem(400, "invalid-request");
        assert_eq!(problem["errors"][0]["field"], field, "{bad}");
    }
}

#[tokio::test]
async fn whoever_may_not_read_a_project_learns_nothing_and_readers_change_nothing() {
    let server = Process::start(&[]);
    let create = |id: &str, access: Value| json!({ "id": id, "state": { "name": "N" }, "access": access });
    for (id, access) in [("p", json!({ "read": ["ben"], "write": "host" })), ("q", json!({ "read": "host" }))] {
        tell(&server, "POST", "/api/v1/projects", &[(AS, "ana")], create(id, access), 201).await;
    }
    for path in ["", "/history", "/statistics", "/trends", "/phases"] {
        server.ask("GET", &format!("{PROGRESS}{path}"), &[(AS, "ben")]).await.expect(200);
        let secret = format!("/api/v1/projects/q/progress{path}");
        server.ask("GET", &secret, &[(AS, "ben")]).await.problem(404, "not-found");
        server.ask("GET", "/api/v1/projects/gone/progress", &[(AS, "ben")]).await.problem(404, "not-found");
    }
    let notes = json!({ "notes": "mine" });
    server.tell("PUT", PROGRESS, &[(AS, "ben")], notes.clone()).await.problem(403, "forbidden");
    server.tell("PUT", "/api/v1/projects/q/progress", &[(AS, "ben")], notes).await.problem(404, "not-found");
    let phase = json!({ "to": "writing" });
    server.tell("POST", &format!("{PROGRESS}/phases"), &[(AS, "ben")], phase).await.problem(403, "forbidden");
    server.ask("DELETE", "/api/v1/projects/p", &[(AS, "ben")]).await.problem(403, "forbidden");
    server.ask("DELETE", "/api/v1/projects/q", &[(AS, "ben")]).await.problem(404, "not-found");
}

#[tokio::test]
async fn phases_go_forward_freely_and_back_with_a_reason() {
    let server = Clocked::start(|_| {}).await;
    let phases = format!("{PROGRESS}/phases");
    server.put("/api/v1/projects/p", json!({ "name": "N" })).await.expect(201);
    server.advance(Duration::from_secs(90));
    let change = server.post(&phases, json!({ "to": "writing", "reason": "at last" })).await.expect(201).body;
    let expected = json!({ "from": "idea", "to": "writing", "reason": "at last", "changedBy": "owner",
                           "at": change["at"], "lastedSeconds": 90 });
    assert_eq!(change, expected);
    server.post(&phases, json!({ "to": "writing" })).await.problem(409, "phase-is-current");
    server.post(&phases, json!({ "to": "outline" })).await.problem(409, "phase-needs-reason");
    server.post(&phases, json!({ "to": "outline", "reason": " " })).await.problem(409, "phase-needs-reason");
    server.post(&phases, json!({ "to": "elsewhere", "reason": "x" })).await.problem(400, "invalid-request");
    server.advance(Duration::from_secs(30));
    server.post(&phases, json!({ "to": "outline", "reason": "it falls apart" })).await.expect(201);
    server.advance(Duration::from_secs(5));
    let page = server.ask("GET", &phases, &[]).await.expect(200).body;
    let ways: Vec<String> = page["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|item| format!("{} {} {}", item["from"], item["to"], item["lastedSeconds"]).replace('"', ""))
        .collect();
    assert_eq!(ways, ["idea writing 90", "writing outline 30"]);
    assert_eq!((&page["phase"], page["phases"].as_array().unwrap().len()), (&json!("outline"), 7));
    let statistics = server.ask("GET", &format!("{PROGRESS}/statistics"), &[]).await.expect(200).body;
    let spent = &statistics["phaseSeconds"];
    assert_eq!(
        (&spent["idea"], &spent["writing"], &spent["outline"], &spent["completed"]),
        (&json!(90), &json!(30), &json!(5), &json!(0))
    );
}

#[tokio::test]
async fn a_project_names_its_own_phases() {
    let server = Process::start(&[]);
    put(&server, "projects/p", json!({ "phases": ["draft", "done"] })).await;
    assert_eq!(progress(&server).await["phase"], "draft");
    let done = tell(&server, "PUT", PROGRESS, &[], json!({ "phase": "done" }), 200).await;
    assert_eq!((&done["phase"], &done["completionPercent"]), (&json!("done"), &json!(100)));
    server.tell("PUT", PROGRESS, &[], json!({ "phase": "draft" })).await.problem(409, "phase-needs-reason");
    server.tell("PUT", PROGRESS, &[], json!({ "phase": "done" })).await.problem(409, "phase-is-current");
    server.tell("PUT", PROGRESS, &[], json!({ "phase": "writing" })).await.problem(400, "invalid-request");
    put(&server, "projects/p", json!({ "phases": ["draft", "polish", "done", "sold"] })).await;
    assert_eq!(progress(&server).await["completionPercent"], 66, "an edit of the project counts");
}

#[tokio::test]
async fn a_change_of_phase_with_a_key_is_made_once() {
    let server = Process::start(&[]);
    put(&server, "projects/p", json!({ "name": "N" })).await;
    let (path, key) = (format!("{PROGRESS}/phases"), [("idempotency-key", "k1")]);
    let body = json!({ "to": "writing" });
    let first = server.tell("POST", &path, &key, body.clone()).await.expect(201);
    let again = server.tell("POST", &path, &key, body).await.expect(201);
    assert_eq!((again.header("idempotency-replayed"), &again.body), ("true", &first.body));
    assert_eq!(items(&server, &path).await.len(), 1);
}

async fn history(server: &Clocked, query: &str) -> Vec<Value> {
    let page = server.ask("GET", &format!("{PROGRESS}/history{query}"), &[]).await.expect(200).body;
    page["items"].as_array().unwrap().clone()
}

async fn write(server: &Clocked, words: usize) {
    let state = json!({ "projectId": "p", "text": vec!["word"; words].join(" ") });
    let reply = server.put("/api/v1/chapters/one", state).await;
    assert!([200, 201].contains(&reply.status), "{}", reply.text);
}

#[tokio::test]
async fn snapshots_are_saved_by_themselves_at_most_one_a_minute_and_no_two_alike() {
    let server = Clocked::start(|_| {}).await;
    server.put("/api/v1/projects/p", json!({ "name": "N" })).await.expect(201);
    let words = async |server: &Clocked| -> Vec<u64> {
        history(server, "").await.iter().map(|item| item["wordCount"].as_u64().unwrap()).collect()
    };
    assert_eq!(words(&server).await, [0], "the first is saved at once");
    for (after, count) in [(10, 5), (10, 7), (10, 9)] {
        server.advance(Duration::from_secs(after));
        write(&server, count).await;
    }
    let last = server.ask("GET", PROGRESS, &[]).await.body;
    assert_eq!(words(&server).await, [0], "a minute is not over");
    server.advance(Duration::from_secs(30));
    let saved = history(&server, "").await;
    assert_eq!(saved.len(), 2);
    assert_eq!(saved[1], last, "as it was at the last change, and with its time");
    server.advance(Duration::from_secs(10));
    write(&server, 20).await;
    write(&server, 9).await;
    server.advance(Duration::from_secs(100));
    assert_eq!(words(&server).await, [0, 9], "it is as it was");
    write(&server, 11).await;
    assert_eq!(words(&server).await, [0, 9, 11], "the last is older than a minute");
    // Whoever looks only much later finds the same.
    server.advance(Duration::from_secs(3));
    write(&server, 12).await;
    server.advance(Duration::from_secs(3_600));
    write(&server, 13).await;
    assert_eq!(words(&server).await, [0, 9, 11, 12, 13]);
    let newest: Vec<Value> = history(&server, "?order=desc&limit=2").await;
    assert_eq!((newest.len(), &newest[0]["wordCount"], &newest[1]["wordCount"]), (2, &json!(13), &json!(12)));
    let mut paged = Vec::new();
    let mut query = "?limit=2".to_owned();
    loop {
        let page = server.ask("GET", &format!("{PROGRESS}/history{query}"), &[]).await.expect(200).body;
        paged.extend(page["items"].as_array().unwrap().clone());
        let Some(cursor) = page["nextCursor"].as_str() else { break };
        query = format!("?limit=2&cursor={cursor}");
    }
    assert_eq!(paged, history(&server, "").await);
    server.stop().await;
}

#[tokio::test]
async fn statistics_and_trends_tell_what_was_written_when() {
    const DAY: Duration = Duration::from_secs(86_400);
    let server = Clocked::start(|_| {}).await;
    server.put("/api/v1/projects/p", json!({ "name": "N", "goal": { "words": 100 } })).await.expect(201);
    for count in [10, 30, 40] {
        server.advance(DAY);
        write(&server, count).await;
    }
    let ask = async |path: &str| server.ask("GET", &format!("{PROGRESS}/{path}"), &[]).await;
    let found = ask("statistics?tz=America/New_York").await.expect(200).body;
    assert_eq!((&found["total"], &found["today"], &found["streak"]["longest"]), (&json!(40), &json!(10), &json!(3)));
    assert_eq!((&found["bestDay"]["words"], &found["entities"]["chapters"]), (&json!(20), &json!(1)));
    assert_eq!(found["wordsPerChapter"], json!({ "least": 40, "median": 40, "most": 40 }));
    assert!(found["projectedFinish"].is_string(), "{found}");
    let trend = ask("trends?period=daily&tz=Europe/Berlin").await.expect(200).body;
    let buckets = trend["buckets"].as_array().unwrap();
    let deltas: Vec<i64> = buckets.iter().map(|bucket| bucket["delta"].as_i64().unwrap()).collect();
    assert_eq!((deltas, &trend["tz"]), (vec![0, 10, 20, 10], &json!("Europe/Berlin")));
    assert_eq!(buckets[3]["entities"]["chapters"], 1);
    let spring = ask("trends?since=2026-03-29&until=2026-03-30&tz=Europe/Berlin").await.expect(200).body;
    let day = &spring["buckets"][0];
    assert_eq!((&day["from"], &day["to"]), (&json!("2026-03-28T23:00:00.000Z"), &json!("2026-03-29T22:00:00.000Z")));
    for bad in [
        "trends?tz=Mars/Olympus",
        "trends?since=yesterday",
        "trends?period=monthly&since=1950-01-01",
        "trends?period=hourly",
        "trends?since=2000-01-01",
        "trends?since=2026-02-02&until=2026-01-01",
        "statistics?tz=",
        "history?order=up",
    ] {
        ask(bad).await.problem(400, "invalid-request");
    }
}

/// A project of ana's with documents of hers and of others.
async fn plan(server: &Process) {
    let create = async |who: &str, collection: &str, id: &str, access: Value| {
        let state = json!({ "projectId": "p", "name": id, "text": "some words" });
        let body = json!({ "id": id, "state": state, "access": access });
        tell(server, "POST", &format!("/api/v1/{collection}"), &[(AS, who)], body, 201).await;
    };
    create("ana", "projects", "p", json!({ "write": ["ben"] })).await;
    create("ana", "chapters", "one", json!({})).await;
    create("ben", "chapters", "two", json!({ "read": "host" })).await;
    create("cat", "characters", "hero", json!({ "write": "host" })).await;
    create("ana", "plot-loops", "ring", json!({})).await;
    create("ana", "wiki-entries", "inn", json!({})).await;
    put(server, "chapters/else", json!({ "projectId": "q", "text": "of another" })).await;
    tell(server, "PUT", PROGRESS, &[(AS, "ben")], json!({ "phase": "writing" }), 200).await;
}

#[tokio::test]
async fn a_project_is_deleted_with_all_that_belongs_to_it_by_who_may_write_to_it() {
    let server = Process::start(&[]);
    plan(&server).await;
    server.ask("DELETE", "/api/v1/projects/p", &[(AS, "cat")]).await.problem(403, "forbidden");
    let url = format!("{}/api/v1/chapters/two/events", server.url);
    let mut stream = Follower::connect(&url, Some("ben"), None).await.unwrap();
    stream.expect("snapshot").await;
    let key = [(AS, "ben"), ("idempotency-key", "gone")];
    let reply = server.ask("DELETE", "/api/v1/projects/p", &key).await.expect(200);
    let documents = json!({ "projects": 1, "chapters": 2, "characters": 1, "wikiEntries": 1, "plotLoops": 1 });
    assert_eq!(reply.body["documents"], documents);
    assert_eq!((&reply.body["phases"], &reply.body["warnings"]), (&json!(1), &json!(0)));
    assert!(reply.body["snapshots"].as_u64().unwrap() >= 1);
    let again = server.ask("DELETE", "/api/v1/projects/p", &key).await.expect(200);
    assert_eq!((again.header("idempotency-replayed"), &again.body), ("true", &reply.body));

    let told = stream.expect("change").await;
    assert_eq!((&told.data["type"], &told.data["payload"]), (&json!("delete"), &json!({ "with": "projects/p" })));
    for path in ["projects/p", "chapters/one", "characters/hero", "plot-loops/ring", "wiki-entries/inn"] {
        server.ask("GET", &format!("/api/v1/{path}"), &[]).await.problem(410, "gone");
    }
    server.ask("GET", "/api/v1/chapters/else", &[]).await.expect(200);
    server.ask("GET", PROGRESS, &[]).await.problem(410, "gone");
    server.ask("DELETE", "/api/v1/projects/p", &[]).await.problem(410, "gone");

    // Created again, it is another project.
    put(&server, "projects/p", json!({ "name": "again" })).await;
    assert_eq!(measures(&progress(&server).await)["chapters"], 0);
    assert_eq!(items(&server, &format!("{PROGRESS}/phases")).await.len(), 0);
    assert_eq!(items(&server, &format!("{PROGRESS}/history")).await.len(), 1);
}

#[tokio::test]
async fn a_project_is_not_deleted_at_another_version_and_alone_by_a_batch() {
    let server = Process::start(&[]);
    plan(&server).await;
    let stale = [("if-match", "\"7-000000000000\"")];
    server.ask("DELETE", "/api/v1/projects/p", &stale).await.problem(412, "version-conflict");
    server.ask("GET", "/api/v1/chapters/one", &[]).await.expect(200);
    let delete = json!({ "operations": [{ "op": "delete", "collection": "projects", "id": "p" }] });
    tell(&server, "POST", "/api/v1/batch", &[], delete, 200).await;
    server.ask("GET", "/api/v1/chapters/one", &[]).await.expect(200);
    // Its documents are there still, and its past is not.
    put(&server, "projects/p", json!({ "name": "again" })).await;
    let back = progress(&server).await;
    assert_eq!((&back["chapters"], &back["phase"]), (&json!(2), &json!("idea")));
    assert_eq!(items(&server, &format!("{PROGRESS}/history")).await.len(), 1);
}

#[tokio::test]
async fn documents_that_come_while_their_project_is_deleted_are_deleted_or_come_after() {
    let server = Process::start(&[]);
    for round in 0..5 {
        put(&server, "projects/p", json!({ "name": "N" })).await;
        let create = async |n: usize| {
            put(&server, &format!("chapters/c{round}-{n}"), json!({ "projectId": "p", "text": "a" })).await;
        };
        let delete = async { server.ask("DELETE", "/api/v1/projects/p", &[]).await };
        let creating = futures_util::future::join_all((0..20).map(create));
        let (_, deleted) = tokio::join!(creating, delete);
        assert!([200, 409].contains(&deleted.status), "{}", deleted.text);
        let mut gone = 0;
        for n in 0..20 {
            let status = server.ask("GET", &format!("/api/v1/chapters/c{round}-{n}"), &[]).await.status;
            gone += u64::from(status == 410);
        }
        if deleted.status == 200 {
            assert_eq!(deleted.body["documents"]["chapters"], gone, "exactly those that were there");
        }
        put(&server, "projects/p", json!({ "name": "N" })).await;
        assert_eq!(progress(&server).await["chapters"].as_u64().unwrap(), 20 - gone);
        server.ask("DELETE", "/api/v1/projects/p", &[]).await.expect(200);
    }
}

#[tokio::test]
async fn progress_is_the_same_after_a_kill_and_documents_from_before_the_tables_are_counted() {
    let mut server = Process::start(&[]);
    put(&server, "projects/p", json!({ "name": "N" })).await;
    for n in 0..300 {
        put(&server, &format!("chapters/c{n}"), json!({ "projectId": "p", "text": "two words" })).await;
    }
    let before = progress(&server).await;
    server.kill();
    let database = server.data_dir().join("rejoin.db");
    server.start_again();
    assert_eq!(progress(&server).await, before);
    server.kill();
    let conn = rusqlite::Connection::open(database).unwrap();
    for table in ["members", "counts", "progress", "snapshots", "phases", "indexed"] {
        conn.execute_batch(&format!("DROP TABLE projects_{table}")).unwrap();
    }
    drop(conn);
    server.start_again();
    let counted = loop {
        let now = progress(&server).await;
        if now["version"] != 0 {
            break now;
        }
    };
    assert_eq!(measures(&counted), measures(&before));
}
