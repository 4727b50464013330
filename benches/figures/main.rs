//! Speed and size, each figure beside its limit measured in the same run.
//!
//! `cargo bench --bench figures` prints the table; `cargo bench --bench figures -- read stream` only the figures of
//! these modules. What each figure means, and what was measured where, stands in `benches/README.md`.
//!
//! The server is the real program in a process of its own, seen from outside through `/proc`; so is the limit, which is
//! this program started again with another first argument. Only the engine-alone figures run the library in here.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "printing is what this program is for")]

mod client;
mod consistency;
mod encounters;
mod engine;
mod fixture;
mod games;
mod limits;
mod lists;
mod memory;
mod messages;
mod posts;
mod probe;
mod process;
mod projects;
mod rate_limits;
mod read;
mod reconciliation;
mod resume;
mod sessions;
mod start;
mod stats;
mod stream;
mod subscribers;
mod table;

use std::future::Future;
use std::pin::Pin;

use anyhow::{Result, bail};
use table::Row;

type Measuring = Pin<Box<dyn Future<Output = Result<Vec<Row>>>>>;
type Measure = fn() -> Measuring;

/// The figures in the order of the table: name, and what measures it.
const FIGURES: [(&str, Measure); 16] = [
    ("engine", || Box::pin(engine::measure())),
    ("posts", || Box::pin(posts::measure())),
    ("stream", || Box::pin(stream::measure())),
    ("messages", || Box::pin(messages::measure())),
    ("memory", || Box::pin(memory::measure())),
    ("start", || Box::pin(start::measure())),
    ("resume", || Box::pin(resume::measure())),
    ("read", || Box::pin(read::measure())),
    ("lists", || Box::pin(lists::measure())),
    ("games", || Box::pin(games::measure())),
    ("reconciliation", || Box::pin(reconciliation::measure())),
    ("limits", || Box::pin(rate_limits::measure())),
    ("sessions", || Box::pin(sessions::measure())),
    ("encounters", || Box::pin(encounters::measure())),
    ("projects", || Box::pin(projects::measure())),
    ("consistency", || Box::pin(consistency::measure())),
];

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let Some(("--limit", rest)) = arguments.split_first().map(|(first, rest)| (first.as_str(), rest)) {
        return limits::run(rest);
    }
    // Cargo adds --bench; test runners may add flags of their own.
    let wanted: Vec<&str> = arguments.iter().map(String::as_str).filter(|text| !text.starts_with("--")).collect();
    if let Some(unknown) = wanted.iter().find(|name| !FIGURES.iter().any(|(figure, _)| figure == *name)) {
        let known: Vec<&str> = FIGURES.iter().map(|(name, _)| *name).collect();
        bail!("there is no figure '{unknown}'; there are {}", known.join(", "));
    }
    // One thread: the load must leave the cores to the server.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let mut rows = Vec::new();
    for (name, measure) in FIGURES {
        if wanted.is_empty() || wanted.contains(&name) {
            eprintln!("measuring: {name}");
            rows.extend(runtime.block_on(measure())?);
        }
    }
    println!("{}", table::render(&rows));
    Ok(())
}
