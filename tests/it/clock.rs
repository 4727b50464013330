//! A wall clock that is wrong: nothing is removed, ended or moved on by it before it is believed again.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rejoin::{Config, ManualClock, Server, Timestamp};
use reqwest::{Client, Method};
use serde_json::{Value, json};

use crate::support::process::json;
use crate::support::session;

const START: Timestamp = Timestamp::from_millis(1_763_616_000_000);
const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(24 * 3600);

struct Running {
    server: Server,
    url: String,
    client: Client,
}

impl Running {
    async fn start(directory: &Path, clock: &Arc<ManualClock>) -> Self {
        let listen = "127.0.0.1:0".parse().unwrap();
        let config = Config { listen, data_dir: directory.to_owned(), ..Config::default() };
        let server = Server::builder().config(config).clock(Arc::clone(clock) as _).start().await.unwrap();
        let url = format!("http://{}", server.local_addr());
        let client = Client::builder().pool_max_idle_per_host(0).build().unwrap();
        Self { server, url, client }
    }

    async fn call(&self, method: Method, path: &str, body: Option<Value>) -> (u16, Value) {
        let request = self.client.request(method, format!("{}{path}", self.url));
        let request = if let Some(body) = body { request.json(&body) } else { request };
        json(request.send().await.unwrap()).await
    }

    /// Asks for a run of the clean-up, after the one that may be under way by schedule.
    async fn clean_up(&self) -> (u16, Value) {
        loop {
            let answer = self.call(Method::POST, "/api/v1/admin/jobs/games-cleanup/run", None).await;
            if answer.1["type"] != "/problems/already-exists" {
                return answer;
            }
        }
    }

    /// What the newest run of the clean-up failed with, once it has.
    async fn failed_clean_up(&self) -> String {
        loop {
            let (_, jobs) = self.call(Method::GET, "/api/v1/admin/jobs", None).await;
            let job = jobs["items"].as_array().unwrap().iter().find(|job| job["name"] == "games-cleanup").unwrap();
            if let Some(error) = job["runs"][0]["error"].as_str() {
                return error.to_owned();
            }
        }
    }

    async fn is_trusted(&self) -> bool {
        self.call(Method::GET, "/readyz", None).await.1["clock"]["trusted"].as_bool().unwrap()
    }

    /// The status that the session of `token` is answered with.
    async fn shows(&self, token: &str) -> u16 {
        let request = self.client.get(format!("{}/api/v1/me", self.url)).bearer_auth(token);
        request.send().await.unwrap().status().as_u16()
    }
}

async fn with_a_game(directory: &Path) -> (Arc<ManualClock>, Running) {
    let clock = Arc::new(ManualClock::at(START));
    let server = Running::start(directory, &clock).await;
    let game = json!({ "state": { "maxSeats": 2 } });
    assert_eq!(server.call(Method::PUT, "/api/v1/games/g1", Some(game)).await.0, 201);
    (clock, server)
}

fn assert_doubted((status, problem): &(u16, Value)) {
    assert_eq!((*status, &problem["type"]), (409, &json!("/problems/clock-doubted")), "{problem}");
    assert!(problem["detail"].as_str().unwrap().contains("/api/v1/admin/clock/confirm"), "{problem}");
}

#[tokio::test]
async fn a_clock_that_is_wrong_for_a_moment_removes_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let (clock, server) = with_a_game(directory.path()).await;
    let opened = session::open(&server.url, "bob").await;
    let token = opened["token"].as_str().unwrap();
    clock.set(START.plus(DAY * 40));
    assert!(!server.is_trusted().await);
    assert_doubted(&server.clean_up().await);
    assert_eq!(server.shows(token).await, 401, "a session past its time is refused");
    clock.advance(Duration::from_secs(3));
    clock.set(START.plus(Duration::from_secs(3)));
    assert!(server.is_trusted().await);
    assert_eq!(server.shows(token).await, 200, "and good again when the clock is right");
    assert_eq!(server.clean_up().await.1["counts"]["abandoned"], 0);
    assert_eq!(server.call(Method::GET, "/api/v1/games/g1", None).await.0, 200);
    server.server.stop().await;
}

#[tokio::test]
async fn a_clock_is_believed_after_an_hour_or_on_an_administrators_word() {
    let directory = tempfile::tempdir().unwrap();
    let (clock, server) = with_a_game(directory.path()).await;
    clock.set(START.plus(DAY * 40));
    assert_doubted(&server.clean_up().await);
    let dry = server.call(Method::POST, "/api/v1/admin/jobs/games-cleanup/run?dryRun=true", None).await;
    assert_eq!((dry.0, &dry.1["counts"]["abandoned"]), (200, &json!(1)), "what would be done can be asked");
    clock.advance(HOUR);
    assert!(server.is_trusted().await);
    clock.set(START.plus(DAY * 80));
    assert_doubted(&server.clean_up().await);
    let (status, told) = server.call(Method::POST, "/api/v1/admin/clock/confirm", None).await;
    assert_eq!((status, told), (200, json!({ "trusted": true })));
    assert_eq!(server.clean_up().await.1["counts"]["abandoned"], 1);
    server.server.stop().await;
}

#[tokio::test]
async fn a_start_with_a_clock_far_from_the_newest_event_removes_nothing_for_an_hour() {
    let directory = tempfile::tempdir().unwrap();
    let (_, server) = with_a_game(directory.path()).await;
    server.server.stop().await;
    let clock = Arc::new(ManualClock::at(START.plus(DAY * 40)));
    let server = Running::start(directory.path(), &clock).await;
    assert!(!server.is_trusted().await);
    let error = server.failed_clean_up().await;
    assert!(error.contains("/api/v1/admin/clock/confirm"), "the run that was due says why it did nothing: {error}");
    assert_doubted(&server.clean_up().await);
    assert_eq!(server.call(Method::GET, "/api/v1/games/g1", None).await.0, 200);
    clock.advance(HOUR);
    assert_eq!(server.clean_up().await.1["counts"]["abandoned"], 1);
    server.server.stop().await;
}

#[tokio::test]
async fn what_is_stored_under_a_doubted_clock_proves_nothing_at_the_next_start() {
    let directory = tempfile::tempdir().unwrap();
    let (_, server) = with_a_game(directory.path()).await;
    assert_eq!(server.clean_up().await.0, 200);
    server.server.stop().await;
    let wrong = Arc::new(ManualClock::at(START.plus(DAY * 40)));
    for n in 0..2 {
        let server = Running::start(directory.path(), &wrong).await;
        assert!(!server.is_trusted().await, "start {n}");
        let note = json!({ "state": { "n": n } });
        assert!(server.call(Method::PUT, &format!("/api/v1/notes/n{n}"), Some(note)).await.0 == 201);
        assert_doubted(&server.clean_up().await);
        assert_eq!(server.call(Method::GET, "/api/v1/games/g1", None).await.0, 200);
        server.server.stop().await;
    }
    let server = Running::start(directory.path(), &wrong).await;
    assert_eq!(server.call(Method::POST, "/api/v1/admin/clock/confirm", None).await.0, 200);
    server.server.stop().await;
    let server = Running::start(directory.path(), &wrong).await;
    assert!(server.is_trusted().await, "confirmed before the stop");
    server.server.stop().await;
}
