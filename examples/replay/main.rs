//! Plays real poker hands against a running server (`cargo run --release --example poker`), at many tables at once,
//! each player with a stream of their own, and checks everything that they see. The server may be killed and started
//! again meanwhile. Exit code 0 only if every hand came out right.

mod client;
mod copy;
mod phh;
mod player;
mod table;

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::ensure;
use clap::Parser;
use client::{Client, Counts};
use rejoin::SystemEntropy;

/// Plays every `.phh` hand below a folder against a running poker server.
#[derive(Parser)]
struct Arguments {
    /// The server's address.
    #[arg(long, default_value = "http://127.0.0.1:7766")]
    server: String,
    /// How many hands are played at once.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u16).range(1..))]
    tables: u16,
    /// The folder with the hands.
    directory: PathBuf,
}

#[tokio::main]
async fn main() -> anyhow::Result<ExitCode> {
    let arguments = Arguments::parse();
    let mut files = Vec::new();
    find_hands(&arguments.directory, &mut files)?;
    files.sort();
    ensure!(!files.is_empty(), "there is no .phh file below {}", arguments.directory.display());
    let client = Arc::new(Client::new(&arguments.server, run_id())?);
    let files = Arc::new(files);
    let next = Arc::new(AtomicUsize::new(0));
    let began = Instant::now();
    let tables: Vec<_> =
        (0..arguments.tables).map(|_| tokio::spawn(play_all(client.clone(), files.clone(), next.clone()))).collect();
    let mut failures = Vec::new();
    for table in tables {
        failures.extend(table.await?);
    }
    failures.sort();
    for failure in &failures {
        writeln!(std::io::stderr(), "{failure}")?;
    }
    write_summary(&client.counts, files.len(), failures.len(), began.elapsed())?;
    Ok(if failures.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// One table: takes the next hand until there is none. What went wrong, by hand.
async fn play_all(client: Arc<Client>, files: Arc<Vec<PathBuf>>, next: Arc<AtomicUsize>) -> Vec<String> {
    let mut failures = Vec::new();
    while let Some((number, file)) = take_next(&files, &next) {
        let id = format!("{}-{number}", client.run());
        // In a task of its own, so that a panic is that hand's failure and nothing else's.
        let played = tokio::spawn(table::play(client.clone(), file.clone(), id.clone())).await;
        let failure = match played {
            Ok(Ok(())) => continue,
            Ok(Err(e)) => format!("{e:#}"),
            Err(e) => e.to_string(),
        };
        failures.push(format!("{} (games/{id}): {failure}", file.display()));
    }
    failures
}

fn take_next(files: &[PathBuf], next: &AtomicUsize) -> Option<(usize, PathBuf)> {
    let number = next.fetch_add(1, Ordering::Relaxed);
    files.get(number).map(|file| (number, file.clone()))
}

fn find_hands(directory: &Path, files: &mut Vec<PathBuf>) -> std::io::Result<()> {
    for entry in directory.read_dir()? {
        let path = entry?.path();
        // A link that leads back up is not followed: its target is no directory entry of its own.
        if path.is_dir() && !path.is_symlink() {
            find_hands(&path, files)?;
        } else if path.extension().is_some_and(|extension| extension == "phh") {
            files.push(path);
        }
    }
    Ok(())
}

/// Eight random hexadecimal digits after an `r`.
fn run_id() -> String {
    format!("r{:08x}", rejoin::internals::below(&SystemEntropy, 1 << 32))
}

fn write_summary(counts: &Counts, hands: usize, failed: usize, took: Duration) -> std::io::Result<()> {
    let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
    let actions = count(&counts.actions);
    let seconds = took.as_secs_f64();
    #[expect(clippy::cast_precision_loss, reason = "a rate for people to read")]
    let rate = actions as f64 / seconds.max(0.001);
    let mut out = std::io::stdout().lock();
    writeln!(out, "hands            {hands}, {failed} of them wrong")?;
    writeln!(out, "actions          {actions}, {rate:.0} per second")?;
    writeln!(out, "events received  {}", count(&counts.changes))?;
    writeln!(out, "reconnects       {}", count(&counts.reconnects))?;
    writeln!(out, "replayed events  {}", count(&counts.replayed))?;
    writeln!(out, "snapshots        {} in place of a replay", count(&counts.snapshots))?;
    writeln!(out, "requests again   {}", count(&counts.retries))?;
    writeln!(out, "answered before  {}", count(&counts.answered_before))?;
    writeln!(out, "not yet durable  {}", count(&counts.not_durable))?;
    writeln!(out, "wall time        {seconds:.2} s")
}
