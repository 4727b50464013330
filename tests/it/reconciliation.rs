//! What should be is compared with what is: outside services that report, verdicts, their audit and their stream.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::{Follower, Process, Reply};

mod bounds;
mod dashboards;
mod own;
mod reports;
mod rows;
mod stale;

pub(crate) const STREAM: &str = "/reconciliation/stream";
pub(crate) const SERVICES: &str = "/reconciliation/services";

/// A server with a service that reports.
pub(crate) async fn start(flags: &[&str]) -> Process {
    // What the server compares by itself has tests of its own.
    let quiet = ["--reconciliation-seconds", "0", "--reconciliation-scrub-kib", "0"];
    let server = Process::start(&[&quiet, flags].concat());
    register(&server, "billing", 3600).await;
    server
}

pub(crate) async fn register(server: &Process, name: &str, every: u32) -> Value {
    let reply = server.tell("PUT", &format!("{SERVICES}/{name}"), &[], json!({ "reportEverySeconds": every })).await;
    assert!(matches!(reply.status, 200 | 201), "{reply:?}");
    reply.body
}

/// Sends a report, which must be taken.
pub(crate) async fn report(server: &Process, name: &str, body: &Value) -> Value {
    send_report(server, name, &[], body).await.expect(200).body
}

pub(crate) async fn send_report(server: &Process, name: &str, headers: &[(&str, &str)], body: &Value) -> Reply {
    server.tell("POST", &format!("{SERVICES}/{name}/reports"), headers, body).await
}

/// A report of so many rows, of which so many should be there.
pub(crate) fn rows(expected: i64, actual: i64) -> Value {
    json!({ "expected": { "rows": expected }, "actual": { "rows": actual } })
}

pub(crate) async fn follow(server: &Process, resume: Option<&str>) -> Follower {
    Follower::connect(&format!("{}{STREAM}", server.url), None, resume).await.unwrap()
}

/// The next update of this service; others may come between.
pub(crate) async fn update_of(follower: &mut Follower, service: &str) -> Value {
    loop {
        let told = follower.next().await.expect("the stream goes on");
        if told.event == "reconciliation.update" && told.data["service"] == service {
            assert_eq!(told.data["eventId"], told.id, "the update's id is its eventId");
            return told.data;
        }
    }
}

/// The verdict in force.
pub(crate) async fn in_force(server: &Process, service: &str) -> Option<Value> {
    let (status, body) = server.get("/reconciliation/status").await;
    assert_eq!(status, 200, "{body}");
    body["items"].as_array().unwrap().iter().find(|item| item["service"] == service).cloned()
}

/// Rows of the audit, newest first.
pub(crate) async fn audit(server: &Process, query: &str) -> Vec<Value> {
    let (status, body) = server.get(&format!("/reconciliation/audit?{query}")).await;
    assert_eq!(status, 200, "{body}");
    body["items"].as_array().unwrap().clone()
}

/// Asks until the answer is as wanted.
pub(crate) async fn until(server: &Process, service: &str, wanted: impl Fn(&Value) -> bool) -> Value {
    let end = Instant::now() + Duration::from_secs(20);
    loop {
        let found = in_force(server, service).await;
        if let Some(found) = found.clone().filter(|found| wanted(found)) {
            return found;
        }
        assert!(Instant::now() < end, "{found:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
