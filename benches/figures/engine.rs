//! What a durable write costs: one writer against the disk, 256 writers against the same without the sync.

use std::future::Future;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use rejoin::internals::engine::WriteReply;
use rejoin::internals::store::Synchronous;
use tokio::task::LocalSet;

use crate::client::{Connection, with_json};
use crate::fixture::{self, Alone};
use crate::probe;
use crate::process::Process;
use crate::stats::{median, micros};
use crate::table::{Bar, Row};

/// Acknowledged writes per run of one writer.
const WRITES: u64 = 1000;
/// Writes before those. A WAL that still grows costs more at each sync than one that is written over, as it is from the
/// first checkpoint (4,000 frames, some four a write) on; that is what the probe does, and what a server does for life.
const WARM: u64 = 1500;
/// Runs of one writer whose probes agree.
const RUNS: usize = 5;
/// Runs more than that, for those whose probes disagree.
const RERUNS: usize = 3;
/// How long many writers write, per run.
const SPAN: Duration = Duration::from_millis(1500);
/// The many writers.
const WRITERS: usize = 256;

pub async fn measure() -> Result<Vec<Row>> {
    let alone = one_writer("durable write, one writer, p50: engine alone", Bar::AtMost(1.5), alone_p50).await?;
    let whole = one_writer("durable write, one writer, p50: over HTTP", Bar::None, server_p50).await?;
    Ok(vec![alone, whole, many_writers().await?])
}

/// Measures between two probes, again where they disagree.
async fn one_writer<F: Future<Output = Result<f64>>>(
    figure: &'static str,
    bar: Bar,
    run: impl Fn(std::path::PathBuf) -> F,
) -> Result<Row> {
    let (mut measured, mut limits, mut ratios, mut discarded) = (Vec::new(), Vec::new(), Vec::new(), 0);
    while ratios.len() < RUNS && discarded <= RERUNS {
        let directory = fixture::on_disk()?;
        let before = probe::sync_p50(directory.path())?;
        let p50 = run(directory.path().to_owned()).await?;
        let after = probe::sync_p50(directory.path())?;
        if !probe::agree(before, after) {
            discarded += 1;
            continue;
        }
        let limit = f64::midpoint(before, after);
        measured.push(p50);
        limits.push(limit);
        ratios.push(p50 / limit);
    }
    let (p50, limit) = (format!("{:.0} µs", median(&measured)), format!("{:.0} µs (fdatasync)", median(&limits)));
    let row = Row::ratio(figure, p50, limit, &ratios, bar);
    Ok(if ratios.len() < RUNS { row.doubted("invalid: the probes before and after disagree") } else { row })
}

async fn alone_p50(directory: std::path::PathBuf) -> Result<f64> {
    let alone = Alone::start(&directory.join("data"), Synchronous::Full)?;
    fixture::write(&alone.engine, vec![fixture::creation(0)?]).await?;
    let mut times = Vec::new();
    for turn in 0..WARM + WRITES {
        let request = fixture::act(0, turn)?;
        let started = Instant::now();
        fixture::write(&alone.engine, vec![request]).await?;
        times.push(micros(started.elapsed()));
    }
    alone.stop().await?;
    Ok(median(&times.split_off(usize::try_from(WARM)?)))
}

async fn server_p50(directory: std::path::PathBuf) -> Result<f64> {
    let server = Process::rejoin(&directory.join("data"))?;
    let mut connection = Connection::open(server.address).await?;
    let body = serde_json::json!({ "state": fixture::state() }).to_string();
    connection.must(&with_json("PUT", &fixture::path(0), &body)).await?;
    let path = format!("{}/actions", fixture::path(0));
    let mut times = Vec::new();
    for turn in 0..WARM + WRITES {
        let request = with_json("POST", &path, &fixture::action(turn));
        let started = Instant::now();
        if connection.send(&request).await? != 200 {
            bail!("an action was refused");
        }
        times.push(micros(started.elapsed()));
    }
    Ok(median(&times.split_off(usize::try_from(WARM)?)))
}

async fn many_writers() -> Result<Row> {
    let (mut full, mut normal, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..RUNS {
        let directory = fixture::on_disk()?;
        full.push(writes_per_second(&directory.path().join("full"), Synchronous::Full).await?);
        normal.push(writes_per_second(&directory.path().join("normal"), Synchronous::Normal).await?);
        ratios.extend(full.last().zip(normal.last()).map(|(full, normal)| full / normal));
    }
    let text = |values: &[f64]| format!("{:.1} k/s", median(values) / 1000.0);
    let (measured, limit) = (text(&full), format!("{} (synchronous=NORMAL)", text(&normal)));
    Ok(Row::ratio("durable writes/s, 256 writers, engine alone", measured, limit, &ratios, Bar::AtLeast(0.8)))
}

async fn writes_per_second(data_dir: &Path, synchronous: Synchronous) -> Result<f64> {
    let alone = Alone::start(data_dir, synchronous)?;
    for number in 0..WRITERS {
        fixture::write(&alone.engine, vec![fixture::creation(number)?]).await?;
    }
    let started = Instant::now();
    let tasks = LocalSet::new();
    let writers: Vec<_> = (0..WRITERS)
        .map(|number| {
            let engine = alone.engine.clone();
            tasks.spawn_local(async move {
                let mut turn = 0;
                while started.elapsed() < SPAN {
                    let WriteReply::Made(_) = fixture::write(&engine, vec![fixture::act(number, turn)?]).await? else {
                        bail!("an action was taken for another");
                    };
                    turn += 1;
                }
                Ok(turn)
            })
        })
        .collect();
    tasks.await;
    let elapsed = started.elapsed();
    let mut written = 0;
    for writer in writers {
        written += writer.await??;
    }
    alone.stop().await?;
    Ok(written as f64 / elapsed.as_secs_f64())
}
