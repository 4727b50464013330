//! The server as a library: own rules, own clock, own entropy.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rejoin::Config;
use rejoin::SeededEntropy;
use rejoin::Server;
use rejoin::{Action, Actor, Rejection, Rules};
use rejoin::{Builder, Stopped};
use rejoin::{Clock, ManualClock, Timestamp};
use reqwest::{Client, Method};
use serde_json::{Value, json};

use crate::support::process::json;
use crate::support::{Follower, session};

const START: Timestamp = Timestamp::from_millis(1_763_616_000_000);
const DAY: Duration = Duration::from_secs(24 * 3600);

/// A counter that only grows, and a die.
struct Counter;

impl Rules for Counter {
    fn create(&self, state: Value, _: &Actor) -> Result<Value, Rejection> {
        match state["count"].as_i64() {
            Some(_) => Ok(state),
            None => Err(Rejection::new("a counter needs a count")),
        }
    }

    fn apply(&self, state: &Value, action: &Action<'_>, actor: &Actor) -> Result<Value, Rejection> {
        let mut after = state.clone();
        match action.kind {
            "add" => match action.payload["by"].as_i64() {
                Some(by) if by > 0 => after["count"] = json!(state["count"].as_i64().unwrap() + by),
                _ => {
                    let mut no = Rejection::new("it only goes up");
                    no.details.insert("least".to_owned(), json!(1));
                    return Err(no);
                }
            },
            "roll" => {
                after["rolled"] = json!({ "by": actor.id, "host": actor.host, "at": action.at, "seed": action.seed });
            }
            "panic" => panic!("these rules have a bug"),
            kind => return Err(Rejection::new(format!("nobody can {kind}"))),
        }
        Ok(after)
    }
}

/// A server in this process.
struct Embedded {
    server: Server,
    url: String,
    client: Client,
}

fn config(directory: &Path) -> Config {
    let listen = "127.0.0.1:0".parse().unwrap();
    Config { listen, data_dir: directory.to_owned(), ..Config::default() }
}

fn builder(clock: &Arc<ManualClock>) -> Builder {
    Server::builder().rules("counters", Counter).clock(Arc::clone(clock) as _).entropy(Arc::new(SeededEntropy::new(7)))
}

impl Embedded {
    async fn start(builder: Builder) -> Self {
        let server = builder.start().await.unwrap();
        let url = format!("http://{}", server.local_addr());
        // No connection is kept: moving the clock makes the server close those that are idle.
        let client = Client::builder().pool_max_idle_per_host(0).build().unwrap();
        Self { server, url, client }
    }

    async fn ask(&self, method: Method, path: &str, viewer: Option<&str>, body: Option<Value>) -> (u16, Value) {
        let mut request = self.client.request(method, format!("{}/api/v1/{path}", self.url));
        if let Some(viewer) = viewer {
            // One of its own each time: the clock may have gone past the life of an earlier one.
            let opened = session::open(&self.url, viewer).await;
            request = request.bearer_auth(opened["token"].as_str().unwrap());
        }
        if let Some(body) = body {
            request = request.json(&body);
        }
        json(request.send().await.unwrap()).await
    }

    async fn get(&self, path: &str) -> (u16, Value) {
        self.ask(Method::GET, path, None, None).await
    }

    async fn put(&self, path: &str, state: Value) -> (u16, Value) {
        self.ask(Method::PUT, path, None, Some(json!({ "state": state }))).await
    }

    async fn act(&self, viewer: Option<&str>, kind: &str, payload: Value) -> (u16, Value) {
        let body = json!({ "type": kind, "payload": payload });
        self.ask(Method::POST, "counters/c/actions", viewer, Some(body)).await
    }

    async fn documents_in_memory(&self) -> u64 {
        let response = self.client.get(format!("{}/readyz", self.url)).send().await.unwrap();
        json(response).await.1["documentsInMemory"].as_u64().unwrap()
    }
}

async fn started(directory: &Path) -> (Arc<ManualClock>, Embedded) {
    let clock = Arc::new(ManualClock::at(START));
    let server = Embedded::start(builder(&clock).config(config(directory))).await;
    (clock, server)
}

fn assert_problem((status, body): &(u16, Value), expected: u16, slug: &str) {
    assert_eq!((*status, &body["type"]), (expected, &json!(format!("/problems/{slug}"))), "{body}");
}

#[tokio::test]
async fn rules_decide_what_an_action_does_and_say_why_not() {
    let directory = tempfile::tempdir().unwrap();
    let (_, server) = started(directory.path()).await;
    let refused = server.put("counters/c", json!({})).await;
    assert_problem(&refused, 422, "action-rejected");
    assert_eq!(refused.1["detail"], "a counter needs a count");
    assert_eq!(server.put("counters/c", json!({ "count": 1 })).await.0, 201);
    let (status, event) = server.act(Some("ann"), "add", json!({ "by": 2 })).await;
    assert_eq!((status, &event["patch"]), (200, &json!([{ "op": "replace", "path": "/count", "value": 3 }])));
    assert_eq!(
        (&event["actor"], &event["type"], &event["payload"]),
        (&json!("ann"), &json!("add"), &json!({ "by": 2 }))
    );
    let refused = server.act(Some("ann"), "add", json!({ "by": -2 })).await;
    assert_problem(&refused, 422, "action-rejected");
    assert_eq!((&refused.1["detail"], &refused.1["least"]), (&json!("it only goes up"), &json!(1)));
    assert_eq!(server.act(None, "dance", json!({})).await.1["detail"], "nobody can dance");
    let body = json!({ "type": "add", "payload": { "by": 1 }, "patch": { "count": 99 } });
    let cheat = server.ask(Method::POST, "counters/c/actions", None, Some(body)).await;
    assert_problem(&cheat, 400, "invalid-request");
    assert_eq!(server.get("counters/c").await.1["version"], 2, "refusals leave no trace");
    // A collection without rules is freeform.
    assert_eq!(server.put("notes/n", json!({})).await.0, 201);
    server.server.stop().await;
}

#[tokio::test]
async fn only_the_host_edits_past_the_rules() {
    let directory = tempfile::tempdir().unwrap();
    let (_, server) = started(directory.path()).await;
    assert_eq!(server.put("counters/c", json!({ "count": 1 })).await.0, 201);
    let calls = [
        (Method::PUT, "counters/c", Some(json!({ "state": { "count": 9 } }))),
        (Method::POST, "counters/c/rollback", Some(json!({ "toVersion": 1 }))),
        (Method::DELETE, "counters/c", None),
    ];
    for (method, path, body) in calls.clone() {
        let refused = server.ask(method.clone(), path, Some("ann"), body).await;
        assert!(matches!(refused.0, 403 | 422), "{method} {path}: {refused:?}");
    }
    let refused = server.ask(Method::PUT, "counters/c", Some("ann"), calls[0].2.clone()).await;
    assert_problem(&refused, 422, "action-rejected");
    assert_eq!(server.get("counters/c").await.1["version"], 1);
    for (method, path, body) in calls {
        assert_eq!(server.ask(method, path, None, body).await.0, 200);
    }
    server.server.stop().await;
}

#[tokio::test]
async fn a_panic_in_rules_is_one_failed_request() {
    let directory = tempfile::tempdir().unwrap();
    let (_, server) = started(directory.path()).await;
    assert_eq!(server.put("counters/c", json!({ "count": 1 })).await.0, 201);
    let batch = json!({ "operations": [
        { "op": "put", "collection": "notes", "id": "n", "state": {} },
        { "op": "action", "collection": "counters", "id": "c", "type": "add", "payload": { "by": 1 } },
        { "op": "action", "collection": "counters", "id": "c", "type": "panic" },
    ] });
    for _ in 0..2 {
        let failed = server.act(Some("ann"), "panic", json!({})).await;
        assert_problem(&failed, 500, "internal");
        assert!(failed.1["requestId"].is_string() && !failed.1.to_string().contains("bug"), "{}", failed.1);
        let failed = server.ask(Method::POST, "batch", None, Some(batch.clone())).await;
        assert_problem(&failed, 500, "internal");
    }
    assert_eq!(server.get("notes/n").await.0, 404, "all or nothing");
    let (status, event) = server.act(Some("ann"), "add", json!({ "by": 1 })).await;
    assert_eq!((status, &event["version"]), (200, &json!(2)), "{event}");
    server.server.stop().await;
}

#[tokio::test]
async fn time_and_randomness_are_passed_in() {
    let mut events = Vec::new();
    for _ in 0..2 {
        let directory = tempfile::tempdir().unwrap();
        let (clock, server) = started(directory.path()).await;
        let (_, document) = server.put("counters/c", json!({ "count": 1 })).await;
        assert_eq!(document["createdAt"], START.to_string());
        clock.advance(Duration::from_millis(1500));
        let (_, first) = server.act(Some("ann"), "roll", json!({})).await;
        assert_eq!(first["at"], Timestamp::from_millis(START.as_millis() + 1500).to_string());
        let rolled = server.get("counters/c").await.1["state"]["rolled"].clone();
        assert_eq!((&rolled["by"], &rolled["host"], &rolled["at"]), (&json!("ann"), &json!(false), &first["at"]));
        assert_eq!(rolled["seed"].as_array().unwrap().len(), 32);
        let (_, second) = server.act(None, "roll", json!({})).await;
        let again = server.get("counters/c").await.1["state"]["rolled"].clone();
        assert_eq!((&again["by"], &again["host"]), (&json!("host"), &json!(true)));
        assert_ne!(again["seed"], rolled["seed"], "each action has its own");
        events.push((first, second));
        server.server.stop().await;
    }
    assert_eq!(events[0], events[1], "the same seed and the same clock, the same bytes and hashes");
}

#[tokio::test]
async fn history_is_kept_for_days() {
    let directory = tempfile::tempdir().unwrap();
    let clock = Arc::new(ManualClock::at(START));
    let config = Config { history_days: 2, ..config(directory.path()) };
    let start = || Embedded::start(builder(&clock).config(config.clone()));
    let server = start().await;
    for round in 1..=5 {
        server.put("notes/n", json!({ "round": round })).await;
        clock.advance(DAY / 4);
    }
    let url = format!("{}/api/v1/notes/n/events", server.url);
    let old = Follower::connect(&url, None, Some("0")).await.unwrap().changes_after_resumed(5).await;
    clock.advance(2 * DAY);
    // Enough bytes for a snapshot to be due, and with it a look at what may go.
    server.put("notes/n", json!({ "round": 6, "text": "x".repeat(5000) })).await;
    clock.advance(DAY);
    server.put("notes/n", json!({ "round": 7, "text": "y".repeat(6000) })).await;
    let (_, page) = server.get("notes/n/events").await;
    assert_eq!(
        (&page["firstVersion"], &page["items"][0]["version"]),
        (&json!(6), &json!(6)),
        "{}",
        page["firstVersion"]
    );
    assert_problem(&server.get("notes/n?version=4").await, 410, "gone");
    assert_eq!(server.get("notes/n?version=5").await.1["state"]["round"], 5, "the state that history starts from");
    assert_eq!(server.get("notes/n?version=6").await.1["state"]["round"], 6);
    server.server.stop().await;

    // After a restart nothing older is in memory either.
    let server = start().await;
    let url = format!("{}/api/v1/notes/n/events", server.url);
    let mut follower = Follower::connect(&url, None, Some(&old[2].id)).await.unwrap();
    let snapshot = follower.expect("snapshot").await;
    assert_eq!((&snapshot.data["reason"], &snapshot.data["documents"][0]["version"]), (&json!("trimmed"), &json!(7)));
    let kept = Follower::connect(&url, None, Some("0")).await.unwrap().changes_after_resumed(2).await;
    assert_eq!(kept[0].data["version"], 6, "from the start means from the start of what is kept");
    server.server.stop().await;
}

/// Lets the server's ticks fly by: the clock of its timers is moved, not waited for.
async fn ticks(count: u32) {
    tokio::time::pause();
    for _ in 0..count {
        tokio::time::advance(Duration::from_millis(100)).await;
        tokio::task::yield_now().await;
    }
    tokio::time::resume();
}

#[tokio::test]
async fn idle_documents_leave_memory_and_come_back_as_they_were() {
    let directory = tempfile::tempdir().unwrap();
    let (clock, server) = started(directory.path()).await;
    let mut written = Vec::new();
    for index in 0..20 {
        let path = format!("notes/n{index}");
        server.put(&path, json!({ "n": index })).await;
        server.put(&path, json!({ "n": index, "m": 1 })).await;
        written.push(server.put(&path, json!({ "n": index, "m": 2 })).await.1);
    }
    assert_eq!(server.documents_in_memory().await, 20);
    clock.advance(Config::default().hot_idle / 2);
    // Uses are dated by the engine's last look at the clock, which a write makes it take.
    server.put("notes/other", json!({})).await;
    server.get("notes/n3").await;
    clock.advance(Config::default().hot_idle / 2 + Duration::from_secs(1));
    for _ in 0..100 {
        ticks(110).await;
        if server.documents_in_memory().await <= 2 {
            break;
        }
    }
    assert_eq!(server.documents_in_memory().await, 2, "those that were used stay");
    for document in &written {
        let (status, again) = server.get(&format!("notes/{}", document["id"].as_str().unwrap())).await;
        assert_eq!((status, &again), (200, document));
        let path = format!("notes/{}", document["id"].as_str().unwrap());
        assert_eq!(server.put(&path, json!({ "m": 3 })).await.1["version"], 4);
    }
    server.server.stop().await;
}

#[tokio::test]
async fn what_cannot_be_rules_or_a_configuration_is_said_before_anything_is_opened() {
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().join("data");
    let error = Server::builder().config(config(&data)).rules("No Collection", Counter).start().await.err().unwrap();
    assert_eq!(error.exit_code(), 2, "{error}");
    let wrong = Config { history_events: 0, ..config(&data) };
    let error = Server::builder().config(wrong).start().await.err().unwrap();
    assert_eq!(error.exit_code(), 2, "{error}");
    assert!(!data.exists());
    let first = Server::builder().config(config(&data)).start().await.unwrap();
    let error = Server::builder().config(config(&data)).start().await.err().unwrap();
    assert_eq!(error.exit_code(), 11, "{error}");
    first.stop().await;
    Server::builder().config(config(&data)).start().await.unwrap().stop().await;
}

/// A clock that is the end of the engine, once it is told so.
struct Trap(AtomicBool);

impl Clock for Trap {
    fn now(&self) -> Timestamp {
        let in_engine = std::thread::current().name() == Some("rejoin-engine");
        assert!(!(in_engine && self.0.load(Ordering::Relaxed)), "a bug in the engine");
        START
    }
}

#[tokio::test]
async fn an_engine_that_ends_by_a_bug_is_noticed() {
    let directory = tempfile::tempdir().unwrap();
    let trap = Arc::new(Trap(AtomicBool::new(false)));
    let builder = Server::builder().clock(Arc::clone(&trap) as _).config(config(directory.path()));
    let mut server = Embedded::start(builder).await;
    let (_, written) = server.put("notes/n", json!({ "n": 1 })).await;
    trap.0.store(true, Ordering::Relaxed);
    assert_problem(&server.put("notes/n", json!({ "n": 2 })).await, 503, "storage-unavailable");
    tokio::time::timeout(Duration::from_secs(10), server.server.wait_for_engine_failure())
        .await
        .expect("whoever runs it learns of it");
    let ready = server.client.get(format!("{}/readyz", server.url)).send().await.unwrap();
    assert_eq!(ready.status(), 503);
    assert_eq!(server.get("notes/n").await.1, written, "reading needs no engine");
    assert_eq!(server.server.stop().await, Stopped::Unfinished);
}
