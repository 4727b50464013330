//! What messages without history cost: 1,000 a second to 100 followers, against actions that bring as many deliveries.

use std::time::{Duration, Instant};

use anyhow::Result;

use crate::client::{Connection, get_stream, with_json};
use crate::fixture;
use crate::process::Process;
use crate::stats::{median, micros};
use crate::subscribers::{Subscribers, with_streams};
use crate::table::{Bar, Row};

const FOLLOWERS: usize = 100;
const SENT: u32 = 3000;
const SENT_PER_SECOND: u32 = 1000;
const RUNS: usize = 5;

pub async fn measure() -> Result<Vec<Row>> {
    let (mut messages, mut actions, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..RUNS {
        let message = with_streams(sent("messages", b"event: message\n", message)).await?;
        let action = with_streams(sent("actions", b"event: change\n", fixture::action)).await?;
        messages.push(message);
        actions.push(action);
        ratios.push(message / action);
    }
    let measured = format!("{:.2} µs", median(&messages));
    let limit = format!("{:.2} µs (actions)", median(&actions));
    let name = "server CPU per delivery of a message, 1,000/s to 100 followers";
    Ok(vec![Row::ratio(name, measured, limit, &ratios, Bar::AtMost(1.0))])
}

/// The body of a message over HTTP, as large as that of an action.
fn message(number: u64) -> String {
    let payload = serde_json::json!({ "by": "player-3", "amount": number, "said": "x".repeat(120) });
    serde_json::json!({ "type": "pointer", "payload": payload }).to_string()
}

/// Sends at the pace, and gives the server's processor time per delivery, microseconds. In memory, so that the pace is
/// kept with one sync for each action.
async fn sent(what: &str, mark: &'static [u8], body: impl Fn(u64) -> String) -> Result<f64> {
    let directory = fixture::in_memory()?;
    let server = Process::rejoin(&directory.path().join("data"))?;
    let state = serde_json::json!({ "state": fixture::state() }).to_string();
    let mut connection = Connection::open(server.address).await?;
    connection.must(&with_json("PUT", &fixture::path(0), &state)).await?;
    let path = format!("{}/events", fixture::path(0));
    let streams = (0..FOLLOWERS).map(|_| get_stream(&path, None));
    let followers = Subscribers::open_for(mark, server.address, streams).await?;
    let path = format!("{}/{what}", fixture::path(0));
    let (before, started) = (server.cpu()?, Instant::now());
    for number in 1..=SENT {
        connection.must(&with_json("POST", &path, &body(u64::from(number)))).await?;
        let due = started + Duration::from_secs(1) / SENT_PER_SECOND * number;
        tokio::time::sleep(due.saturating_duration_since(Instant::now())).await;
    }
    let deliveries = u64::try_from(FOLLOWERS)? * u64::from(SENT);
    followers.wait(Duration::from_secs(20), |tally| tally.changes.get() >= deliveries).await?;
    Ok(micros(server.cpu()?.saturating_sub(before)) / deliveries as f64)
}
