//! How long a crash is felt: from `kill -9` until every subscriber has what it missed.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use crate::client::{Connection, get, get_stream, with_json};
use crate::fixture;
use crate::process::Process;
use crate::stats::median;
use crate::subscribers::{Subscribers, with_streams};
use crate::table::{Bar, Row};

const RUNS: usize = 5;
/// Documents that the subscribers are spread over.
const DOCUMENTS: usize = 20;
/// Changes that each subscriber missed.
const MISSED: usize = 200;
const LIMIT: Duration = Duration::from_secs(60);

pub async fn measure() -> Result<Vec<Row>> {
    let (mut thousand, mut hundred, mut starts) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..RUNS {
        thousand.push(with_streams(run(1000)).await?.whole);
        let run = with_streams(run(100)).await?;
        hundred.push(run.resumed * 1000.0);
        starts.push((run.whole - run.resumed) * 1000.0);
    }
    let missed = format!("{MISSED} changes each");
    let start = format!("after a start of {:.0} ms", median(&starts));
    let figure = "kill -9 → start → 1,000 subscribers have what they missed";
    Ok(vec![
        Row::values(figure, missed, String::new(), &thousand, " s", Bar::AtMost(2.0)),
        Row::values("… 100 subscribers, from the start on", start, String::new(), &hundred, " ms", Bar::AtMost(35.0)),
    ])
}

struct Run {
    /// From the kill to the last change, seconds.
    whole: f64,
    /// From when the server listens to the last change, seconds.
    resumed: f64,
}

async fn run(subscribers: usize) -> Result<Run> {
    let directory = fixture::on_disk()?;
    let data_dir = directory.path().join("data");
    let mut server = Process::rejoin(&data_dir)?;
    let mut connection = Connection::open(server.address).await?;
    let body = serde_json::json!({ "state": fixture::state() }).to_string();
    let mut positions = Vec::new();
    for number in 0..DOCUMENTS {
        connection.must(&with_json("PUT", &fixture::path(number), &body)).await?;
        let reply = connection.must(&get(&fixture::path(number))).await?;
        positions.push(reply.header("rejoin-position").context("no position")?.to_owned());
    }
    for turn in 0..MISSED {
        for number in 0..DOCUMENTS {
            let path = format!("{}/actions", fixture::path(number));
            connection.must(&with_json("POST", &path, &fixture::action(u64::try_from(turn)?))).await?;
        }
    }
    let requests = positions.iter().enumerate().cycle().take(subscribers);
    let requests =
        requests.map(|(number, position)| get_stream(&format!("{}/events", fixture::path(number)), Some(position)));
    let killed = Instant::now();
    server.kill();
    let server = Process::rejoin(&data_dir)?;
    let listening = Instant::now();
    let streams = Subscribers::open(server.address, requests).await?;
    let all = u64::try_from(subscribers * MISSED)?;
    streams.wait(LIMIT, |tally| tally.changes.get() >= all).await?;
    Ok(Run { whole: killed.elapsed().as_secs_f64(), resumed: listening.elapsed().as_secs_f64() })
}
