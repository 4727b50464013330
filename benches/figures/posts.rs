//! The whole way: 64 connections post actions, each is on disk before its answer, and goes to one subscriber.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use tokio::task::JoinSet;

use crate::client::{Connection, get_stream, with_json};
use crate::fixture;
use crate::process::Process;
use crate::stats::{median, micros, quantile};
use crate::subscribers::{Subscribers, with_streams};
use crate::table::{Bar, Row};

/// Writers at once.
pub const CONNECTIONS: usize = 64;
/// How long they write.
pub const SPAN: Duration = Duration::from_secs(2);
const RUNS: usize = 5;

struct Run {
    per_second: f64,
    cpu_micros: f64,
    p50: f64,
    p99: f64,
}

pub async fn measure() -> Result<Vec<Row>> {
    let (mut durable, mut memory) = (Vec::new(), Vec::new());
    for _ in 0..RUNS {
        let (disk, tmpfs) = (fixture::on_disk()?, fixture::in_memory()?);
        durable.push(with_streams(run(disk.path(), true)).await?);
        memory.push(with_streams(run(tmpfs.path(), false)).await?);
    }
    let of = |runs: &[Run], field: fn(&Run) -> f64| runs.iter().map(field).collect::<Vec<_>>();
    let ratios: Vec<f64> = durable.iter().zip(&memory).map(|(d, m)| d.per_second / m.per_second).collect();
    let rates = of(&durable, |run| run.per_second);
    let measured = format!("{:.1} k/s", median(&rates) / 1000.0);
    let limit = format!("{:.1} k/s (tmpfs, no subscriber)", median(&of(&memory, |run| run.per_second)) / 1000.0);
    let thousands: Vec<f64> = rates.iter().map(|rate| rate / 1000.0).collect();
    let times = format!(
        "answer p50 {:.1} ms, p99 {:.1} ms",
        median(&of(&durable, |run| run.p50)) / 1000.0,
        median(&of(&durable, |run| run.p99)) / 1000.0
    );
    let cpu = of(&durable, |run| run.cpu_micros);
    let cpu_limit = format!("{:.1} µs (tmpfs, no subscriber)", median(&of(&memory, |run| run.cpu_micros)));
    let cpu_ratios: Vec<f64> = durable.iter().zip(&memory).map(|(d, m)| d.cpu_micros / m.cpu_micros).collect();
    Ok(vec![
        Row::ratio("POST → durable → one SSE, 64 connections", measured, limit, &ratios, Bar::AtLeast(0.4)),
        Row::values(
            "… against five times PocketBase's 10 k/s",
            times,
            String::new(),
            &thousands,
            " k/s",
            Bar::AtLeast(50.0),
        ),
        Row::ratio("… server CPU per action", format!("{:.1} µs", median(&cpu)), cpu_limit, &cpu_ratios, Bar::None),
    ])
}

async fn run(directory: &Path, subscribed: bool) -> Result<Run> {
    let server = Process::rejoin(&directory.join("data"))?;
    let mut setup = Connection::open(server.address).await?;
    let body = serde_json::json!({ "state": fixture::state() }).to_string();
    for number in 0..CONNECTIONS {
        setup.must(&with_json("PUT", &fixture::path(number), &body)).await?;
    }
    let streams = (0..CONNECTIONS).filter(|_| subscribed);
    let streams = streams.map(|number| get_stream(&format!("{}/events", fixture::path(number)), None));
    let subscribers = Subscribers::open(server.address, streams).await?;
    let before = server.cpu()?;
    let started = Instant::now();
    let mut posting = JoinSet::new();
    for number in 0..CONNECTIONS {
        let connection = Connection::open(server.address).await?;
        posting.spawn_local(post(connection, format!("{}/actions", fixture::path(number)), started + SPAN));
    }
    let mut times = Vec::new();
    while let Some(posted) = posting.join_next().await {
        times.extend(posted??);
    }
    let posted = u64::try_from(times.len())?;
    if subscribed {
        subscribers.wait(Duration::from_secs(10), |tally| tally.changes.get() >= posted).await?;
    }
    let elapsed = started.elapsed().as_secs_f64();
    let cpu = server.cpu()?.saturating_sub(before);
    let count = posted as f64;
    Ok(Run {
        per_second: count / elapsed,
        cpu_micros: micros(cpu) / count,
        p50: quantile(&times, 0.5),
        p99: quantile(&times, 0.99),
    })
}

/// Posts actions to `path` until `end`; how long each answer took, microseconds.
pub async fn post(mut connection: Connection, path: String, end: Instant) -> Result<Vec<f64>> {
    // Made before, so that the load does not spend its time on it; which turn it is does not matter.
    let requests: Vec<_> = (0..2).map(|turn| with_json("POST", &path, &fixture::action(turn))).collect();
    let mut times = Vec::new();
    for request in requests.iter().cycle() {
        let started = Instant::now();
        if started >= end {
            break;
        }
        if connection.send(request).await? != 200 {
            bail!("an action was refused");
        }
        times.push(micros(started.elapsed()));
    }
    Ok(times)
}
