//! `GET /`, `/healthz`, `/readyz`.

use axum::Router;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use http::StatusCode;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use serde_json::json;

use crate::engine::health::Storage;
use crate::http::api::Api;
use crate::http::pages;

/// The calls for operators, and the front page.
pub fn router() -> Router<Api> {
    Router::new().route("/", get(front)).route("/healthz", get(alive)).route("/readyz", get(ready))
}

async fn front() -> Response {
    let mut page = pages::page("Rejoin", include_str!("front.html"));
    // Another release has another front page at the same address.
    page.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    page
}

/// 200 while the process lives.
async fn alive() -> Response {
    body(StatusCode::OK, &json!({ "status": "alive" }))
}

/// 200 while changes are taken, degraded storage included and named; 503 past the bound of what may wait in memory.
async fn ready(State(api): State<Api>) -> Response {
    let report = api.health.report();
    let storage = match &report.storage {
        Storage::Well => json!({ "state": "ok" }),
        Storage::Degraded { reason, full, since } => {
            json!({ "state": "degraded", "reason": reason, "full": full, "since": since })
        }
    };
    let (seq, durable) = {
        let ring = api.reads.hub.gate();
        (ring.head().0, ring.durable())
    };
    let takes_changes = api.engine.is_running() && !report.past_bound;
    let answer = json!({
        "status": if !takes_changes { "unavailable" } else { "ready" },
        "storage": storage,
        "backlog": { "events": report.backlog_events, "bytes": report.backlog_bytes },
        "lastCommit": report.last_commit,
        "seq": seq,
        "durableSeq": durable,
        "commits": report.commits,
        "failures": report.failures,
        "documentsInMemory": api.reads.hub.documents_count(),
    });
    body(if takes_changes { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE }, &answer)
}

fn body(status: StatusCode, value: &serde_json::Value) -> Response {
    let json = [(CONTENT_TYPE, HeaderValue::from_static("application/json"))];
    (status, json, value.to_string()).into_response()
}
