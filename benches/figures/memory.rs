//! What memory grows with: subscribers that only wait, and not the documents that nobody uses.

use std::path::Path;
use std::time::Duration;

use anyhow::Result;

use crate::client::{Connection, get, get_stream, with_json};
use crate::fixture;
use crate::process::{Memory, Process};
use crate::stats::median;
use crate::subscribers::{Subscribers, with_streams};
use crate::table::{Bar, Row};

const SUBSCRIBERS: usize = 3000;
/// Documents that they are spread over.
const FOLLOWED: usize = 100;
const RUNS: usize = 3;
/// How long memory may settle.
const SETTLE: Duration = Duration::from_millis(500);
/// Documents in use.
const USED: usize = 100;
/// Documents on disk.
const MANY: usize = 100_000;

pub async fn measure() -> Result<Vec<Row>> {
    let mut idle = Vec::new();
    for _ in 0..RUNS {
        idle.push(with_streams(per_subscriber()).await? / 1000.0);
    }
    let figure = "memory per idle SSE subscriber";
    let idle = Row::values(figure, String::new(), String::new(), &idle, " KB", Bar::AtMost(12.0));
    Ok(vec![idle, with_many_documents().await?])
}

async fn per_subscriber() -> Result<f64> {
    let directory = fixture::on_disk()?;
    let server = Process::rejoin(&directory.path().join("data"))?;
    let mut connection = Connection::open(server.address).await?;
    let body = serde_json::json!({ "state": fixture::state() }).to_string();
    for number in 0..FOLLOWED {
        connection.must(&with_json("PUT", &fixture::path(number), &body)).await?;
    }
    let stream = |number: usize| get_stream(&format!("{}/events", fixture::path(number % FOLLOWED)), None);
    // The first ones pay for what all share.
    let _warm = Subscribers::open(server.address, (0..FOLLOWED).map(stream)).await?;
    tokio::time::sleep(SETTLE).await;
    let before = server.memory()?;
    let subscribers = Subscribers::open(server.address, (0..SUBSCRIBERS).map(stream)).await?;
    tokio::time::sleep(SETTLE).await;
    let after = server.memory()?;
    drop(subscribers);
    Ok((after.anonymous - before.anonymous) / SUBSCRIBERS as f64)
}

async fn with_many_documents() -> Result<Row> {
    let directory = fixture::on_disk()?;
    let (few, many) = (directory.path().join("few"), directory.path().join("many"));
    fixture::fill(&few, USED).await?;
    fixture::fill(&many, MANY).await?;
    let (mut small, mut large, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..RUNS {
        let (with_few, with_many) = (in_use(&few, 1).await?, in_use(&many, MANY / USED).await?);
        small.push(with_few.resident / 1e6);
        large.push(with_many.resident / 1e6);
        ratios.push(with_many.resident / with_few.resident);
    }
    let measured = format!("{:.1} MB resident", median(&large));
    let limit = format!("{:.1} MB (100 on disk)", median(&small));
    Ok(Row::ratio("memory, 100,000 documents on disk, 100 in use", measured, limit, &ratios, Bar::AtMost(1.3)))
}

/// The memory of a server of which a hundred documents are read and changed, each `stride` numbers from the last.
async fn in_use(data_dir: &Path, stride: usize) -> Result<Memory> {
    let server = Process::rejoin(data_dir)?;
    let mut connection = Connection::open(server.address).await?;
    for turn in 0..3 {
        for number in (0..USED).map(|number| number * stride) {
            connection.must(&get(&fixture::path(number))).await?;
            let path = format!("{}/actions", fixture::path(number));
            connection.must(&with_json("POST", &path, &fixture::action(turn))).await?;
        }
    }
    tokio::time::sleep(SETTLE).await;
    server.memory()
}
