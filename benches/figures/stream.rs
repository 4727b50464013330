//! What it costs to tell 1,000 subscribers: paced, against a bare loop of writes, and flooded.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use tokio::task::JoinSet;

use crate::client::{Connection, get, get_stream, with_json};
use crate::fixture;
use crate::limits;
use crate::process::Process;
use crate::stats::{median, micros};
use crate::subscribers::{Subscribers, with_streams};
use crate::table::{Bar, Row};

const SUBSCRIBERS: usize = 1000;
/// Events per paced run.
const EVENTS: u32 = 300;
/// Slow enough that none waits for the one before, so that each is a write of its own.
const EVENTS_PER_SECOND: u32 = 100;
const RUNS: usize = 5;
/// Connections that post in the flood.
const POSTING: usize = 64;
const FLOOD: Duration = Duration::from_secs(2);

pub async fn measure() -> Result<Vec<Row>> {
    let (mut ours, mut floors, mut ratios, mut posts) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    let (mut rates, mut flooded) = (Vec::new(), Vec::new());
    for _ in 0..RUNS {
        let alone = with_streams(paced(0)).await?;
        let told = with_streams(paced(SUBSCRIBERS)).await?;
        let floor = with_streams(floor(told.bytes)).await?;
        let deliveries = SUBSCRIBERS as f64 * f64::from(EVENTS);
        let cost = micros(told.cpu) / deliveries;
        ours.push(cost);
        floors.push(micros(floor) / deliveries);
        ratios.push(told.cpu.as_secs_f64() / floor.as_secs_f64());
        posts.push(micros(alone.cpu) / deliveries);
        let (rate, cost) = with_streams(flood()).await?;
        rates.push(rate / 1e6);
        flooded.push(cost);
    }
    let measured = format!("{:.2} µs, of which the actions themselves {:.2}", median(&ours), median(&posts));
    let limit = format!("{:.2} µs (bare writes)", median(&floors));
    let cost = format!("{:.2} CPU s per million", median(&flooded));
    Ok(vec![
        Row::ratio("server CPU per SSE delivery, 1,000 subscribers", measured, limit, &ratios, Bar::AtMost(1.25)),
        Row::values(
            "… CPU s per million against 7 of a peer",
            String::new(),
            String::new(),
            &ours,
            " s",
            Bar::AtMost(7.0),
        ),
        Row::values("… flooded, deliveries/s", cost, String::new(), &rates, " M/s", Bar::AtLeast(2.0)),
    ])
}

struct Told {
    cpu: Duration,
    /// Per delivery.
    bytes: u64,
}

/// A server with one document and its subscribers.
async fn subscribed(count: usize) -> Result<(tempfile::TempDir, Process, Subscribers)> {
    let directory = fixture::on_disk()?;
    let server = Process::rejoin(&directory.path().join("data"))?;
    let body = serde_json::json!({ "state": fixture::state() }).to_string();
    Connection::open(server.address).await?.must(&with_json("PUT", &fixture::path(0), &body)).await?;
    let path = format!("{}/events", fixture::path(0));
    let subscribers = Subscribers::open(server.address, (0..count).map(|_| get_stream(&path, None))).await?;
    Ok((directory, server, subscribers))
}

async fn paced(count: usize) -> Result<Told> {
    let (_directory, server, subscribers) = subscribed(count).await?;
    let mut connection = Connection::open(server.address).await?;
    let path = format!("{}/actions", fixture::path(0));
    let (before, bytes) = (server.cpu()?, subscribers.tally.bytes.get());
    let started = Instant::now();
    for number in 1..=EVENTS {
        connection.must(&with_json("POST", &path, &fixture::action(u64::from(number)))).await?;
        let due = started + Duration::from_secs(1) / EVENTS_PER_SECOND * number;
        tokio::time::sleep(due.saturating_duration_since(Instant::now())).await;
    }
    let deliveries = u64::try_from(count)? * u64::from(EVENTS);
    subscribers.wait(Duration::from_secs(20), |tally| tally.changes.get() >= deliveries).await?;
    let cpu = server.cpu()?.saturating_sub(before);
    let bytes = (subscribers.tally.bytes.get() - bytes).checked_div(deliveries).unwrap_or(0);
    Ok(Told { cpu, bytes })
}

/// The same bytes at the same pace from a bare loop.
async fn floor(bytes: u64) -> Result<Duration> {
    let mut server = Process::limit(&[limits::WRITES, &SUBSCRIBERS.to_string()])?;
    let subscribers = Subscribers::open(server.address, (0..SUBSCRIBERS).map(|_| get("/"))).await?;
    let before = server.cpu()?;
    server.tell(&format!("{EVENTS} {bytes} {EVENTS_PER_SECOND}"))?;
    let deliveries = u64::try_from(SUBSCRIBERS)? * u64::from(EVENTS);
    subscribers.wait(Duration::from_secs(20), |tally| tally.changes.get() >= deliveries).await?;
    Ok(server.cpu()?.saturating_sub(before))
}

/// As many deliveries as there can be: per second, and what a million of them costs, CPU seconds.
async fn flood() -> Result<(f64, f64)> {
    let (_directory, server, subscribers) = subscribed(SUBSCRIBERS).await?;
    let before = server.cpu()?;
    let started = Instant::now();
    let mut posting = JoinSet::new();
    for _ in 0..POSTING {
        let connection = Connection::open(server.address).await?;
        posting.spawn_local(post(connection, started + FLOOD));
    }
    let mut posted = 0;
    while let Some(count) = posting.join_next().await {
        posted += count??;
    }
    let deliveries = u64::try_from(SUBSCRIBERS)? * posted;
    subscribers.wait(Duration::from_secs(60), |tally| tally.changes.get() >= deliveries).await?;
    let elapsed = started.elapsed().as_secs_f64();
    let cpu = server.cpu()?.saturating_sub(before);
    Ok((deliveries as f64 / elapsed, micros(cpu) / deliveries as f64))
}

async fn post(mut connection: Connection, end: Instant) -> Result<u64> {
    let path = format!("{}/actions", fixture::path(0));
    let mut count = 0;
    while Instant::now() < end {
        if connection.send(&with_json("POST", &path, &fixture::action(count))).await? != 200 {
            bail!("an action was refused");
        }
        count += 1;
    }
    Ok(count)
}
