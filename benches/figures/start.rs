//! How long until a server that starts answers, with many documents on disk and with few.

use std::path::Path;
use std::time::Instant;

use anyhow::Result;

use crate::client::{Connection, get};
use crate::fixture;
use crate::process::Process;
use crate::stats::median;
use crate::table::{Bar, Row};

const FEW: usize = 100;
const MANY: usize = 100_000;
const RUNS: usize = 11;

pub async fn measure() -> Result<Vec<Row>> {
    let directory = fixture::on_disk()?;
    let (few, many) = (directory.path().join("few"), directory.path().join("many"));
    fixture::fill(&few, FEW).await?;
    fixture::fill(&many, MANY).await?;
    let (mut with_few, mut with_many, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..RUNS {
        with_few.push(until_answered(&few, FEW / 2).await?);
        with_many.push(until_answered(&many, MANY / 2).await?);
        ratios.extend(with_many.last().zip(with_few.last()).map(|(many, few)| many / few));
    }
    let measured = format!("{:.1} ms", median(&with_many));
    let limit = format!("{:.1} ms (100 documents)", median(&with_few));
    let figure = "start until the first answer, 100,000 documents";
    Ok(vec![Row::ratio(figure, measured, limit, &ratios, Bar::AtMost(1.5))])
}

/// From the start of the process to the whole answer to a GET of a document, milliseconds.
async fn until_answered(data_dir: &Path, number: usize) -> Result<f64> {
    let started = Instant::now();
    let server = Process::rejoin(data_dir)?;
    Connection::open(server.address).await?.must(&get(&fixture::path(number))).await?;
    Ok(started.elapsed().as_secs_f64() * 1000.0)
}
