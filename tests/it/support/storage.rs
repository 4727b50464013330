//! What a server tells of its storage, and what its file has.

use std::path::Path;
use std::time::{Duration, Instant};

use rusqlite::{Connection, OpenFlags};
use serde_json::{Value, json};

use super::Process;

/// How many events a file has.
pub fn events(path: &Path) -> i64 {
    let database = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY).unwrap();
    database.query_row("SELECT count(*) FROM events", [], |row| row.get(0)).unwrap()
}

pub async fn well(server: &Process) -> Value {
    server.until_ready(|_, report| report["storage"]["state"] == "ok").await
}

/// Waits until storage is degraded for a reason with these words.
pub async fn degraded(server: &Process, words: &str) -> Value {
    let told = |report: &Value| report["storage"]["reason"].as_str().is_some_and(|reason| reason.contains(words));
    server.until_ready(|_, report| report["storage"]["state"] == "degraded" && told(report)).await
}

/// A row of the audit tells a discrepancy of the log with these words: once rows are stored again.
pub async fn is_in_the_audit(server: &Process, words: &str) {
    let end = Instant::now() + Duration::from_secs(30);
    loop {
        let (status, run) = server.post("/reconciliation/run", &json!({})).await;
        let (_, audit) = server.get("/reconciliation/audit?service=log&limit=50").await;
        let rows = audit["items"].as_array().cloned().unwrap_or_default();
        let told = rows.iter().find(|row| row.to_string().contains(words));
        match told {
            Some(row) => return assert_eq!(row["status"], "discrepancy", "{row}"),
            None => assert!(Instant::now() < end, "{status} {run} {audit}"),
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
