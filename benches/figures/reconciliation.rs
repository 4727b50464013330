//! What it costs to compare memory with the disk all the time.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use tokio::task::LocalSet;
use tokio::time::{MissedTickBehavior, interval};

use crate::client::{Connection, get, with_json};
use crate::fixture;
use crate::process::Process;
use crate::stats::{median, micros, quantile};
use crate::table::{Bar, Row};

const DOCUMENTS: usize = 100_000;
/// Connections that write; each so often that they make the rate.
const WRITERS: usize = 8;
const WRITES_PER_SECOND: u64 = 1000;
/// How often is compared: as by default.
const EVERY: Duration = Duration::from_secs(10);
/// How long each run writes, from a comparison on: two more are in it.
const SPAN: Duration = Duration::from_secs(25);
const RUNS: usize = 3;
/// How long the scrub is looked at.
const SCRUBBING: Duration = Duration::from_secs(10);
/// How long a server has for its first comparison, which reads where each document stands.
const SETTLE: Duration = Duration::from_secs(4);

const NOTHING: [&str; 4] = ["--reconciliation-seconds", "3600", "--reconciliation-scrub-kib", "0"];
const COMPARING: [&str; 4] = ["--reconciliation-seconds", "10", "--reconciliation-scrub-kib", "0"];
const SCRUB: [&str; 4] = ["--reconciliation-seconds", "3600", "--reconciliation-scrub-kib", "1024"];

pub async fn measure() -> Result<Vec<Row>> {
    let directory = fixture::on_disk()?;
    let data_dir = directory.path().join("data");
    fixture::fill(&data_dir, DOCUMENTS).await?;
    let (mut shares, mut with, mut without, mut ratios) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for _ in 0..RUNS {
        let (off, _) = writing(&data_dir, &NOTHING).await?;
        let (on, latency) = writing(&data_dir, &COMPARING).await?;
        shares.push(100.0 * latency / EVERY.as_secs_f64());
        with.push(on);
        without.push(off);
        ratios.push(on / off);
    }
    let text = |values: &[f64]| format!("p99 {:.2} ms", median(values) / 1000.0);
    let figure = "comparing memory with disk, 100,000 documents, 1,000 writes/s: share of a core";
    let latency = format!("{:.1} ms every 10 s", median(&shares) * EVERY.as_secs_f64() * 10.0);
    Ok(vec![
        Row::values(figure, latency, String::new(), &shares, " %", Bar::AtMost(1.0)),
        Row::ratio(
            "… the writes beside it",
            text(&with),
            format!("{} (none)", text(&without)),
            &ratios,
            Bar::AtMost(1.1),
        ),
        scrubbing(&data_dir).await?,
    ])
}

/// The p99 of writes at the set rate, µs, and how long the last comparison took, s.
async fn writing(data_dir: &Path, flags: &[&str]) -> Result<(f64, f64)> {
    let server = Process::rejoin_with(data_dir, flags)?;
    tokio::time::sleep(SETTLE).await;
    let (started, tasks) = (Instant::now(), LocalSet::new());
    let writers: Vec<_> = (0..WRITERS)
        .map(|writer| {
            let address = server.address;
            tasks.spawn_local(async move {
                let mut connection = Connection::open(address).await?;
                let mut times = Vec::new();
                let mut beat =
                    interval(Duration::from_secs(1) * u32::try_from(WRITERS)? / u32::try_from(WRITES_PER_SECOND)?);
                beat.set_missed_tick_behavior(MissedTickBehavior::Burst);
                let mut turn = writer;
                while started.elapsed() < SPAN {
                    beat.tick().await;
                    // A stride without a common divisor with their number: spread over all.
                    let path = format!("{}/actions", fixture::path(turn * 977 % DOCUMENTS));
                    let request = with_json("POST", &path, &fixture::action(u64::try_from(turn)?));
                    let sent = Instant::now();
                    if connection.send(&request).await? != 200 {
                        bail!("an action was refused");
                    }
                    times.push(micros(sent.elapsed()));
                    turn += WRITERS;
                }
                Ok(times)
            })
        })
        .collect();
    tasks.await;
    let mut times = Vec::new();
    for writer in writers {
        times.extend(writer.await??);
    }
    Ok((quantile(&times, 0.99), latency(&server).await?))
}

/// How long the last comparison took, seconds. It must have found everything alike.
async fn latency(server: &Process) -> Result<f64> {
    let mut connection = Connection::open(server.address).await?;
    let reply = connection.must(&get("/reconciliation/status")).await?;
    let status: serde_json::Value = serde_json::from_slice(&reply.body)?;
    let items = status.get("items").and_then(serde_json::Value::as_array).context("no items")?;
    if let Some(item) = items.iter().find(|item| item["status"] != "verified") {
        bail!("not verified: {item}");
    }
    let log = items.iter().find(|item| item["service"] == "log").context("no verdict on the log")?;
    Ok(log["latencyMs"].as_f64().context("no latency")? / 1000.0)
}

/// The processor time of the scrub at its default rate, on a server that does nothing else.
async fn scrubbing(data_dir: &Path) -> Result<Row> {
    let (mut shares, mut idle) = (Vec::new(), Vec::new());
    for _ in 0..RUNS {
        let before = busy(data_dir, &NOTHING).await?;
        idle.push(before);
        shares.push(busy(data_dir, &SCRUB).await? - before);
    }
    let limit = format!("{:.2} % without", median(&idle));
    Ok(Row::values("the scrub at 1 MiB/s: share of a core", String::new(), limit, &shares, " %", Bar::AtMost(5.0)))
}

/// Processor time through time, per cent.
async fn busy(data_dir: &Path, flags: &[&str]) -> Result<f64> {
    let server = Process::rejoin_with(data_dir, flags)?;
    tokio::time::sleep(SETTLE).await;
    let before = server.cpu()?;
    tokio::time::sleep(SCRUBBING).await;
    Ok(100.0 * (server.cpu()? - before).as_secs_f64() / SCRUBBING.as_secs_f64())
}
