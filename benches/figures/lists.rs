//! What it takes to answer a list with `where` over 10,000 documents: in memory, and on disk.

use std::time::Instant;

use anyhow::{Result, bail};

use crate::client::{Connection, get};
use crate::fixture;
use crate::process::Process;
use crate::table::{Bar, Row};

const DOCUMENTS: usize = 10_000;
const RUNS: usize = 15;
/// `{"pot":{"lt":10}}`, which no document is: all of them are looked at.
const WHERE: &str = "%7B%22pot%22%3A%7B%22lt%22%3A10%7D%7D";

pub async fn measure() -> Result<Vec<Row>> {
    let directory = fixture::on_disk()?;
    let data = directory.path().join("data");
    fixture::fill(&data, DOCUMENTS).await?;
    let server = Process::rejoin(&data)?;
    let mut connection = Connection::open(server.address).await?;
    let cold = answers(&mut connection).await?;
    for number in 0..DOCUMENTS {
        connection.must(&get(&fixture::path(number))).await?;
    }
    let hot = answers(&mut connection).await?;
    let row = |name, values: &[f64], bar| Row::values(name, String::new(), String::new(), values, " ms", bar);
    Ok(vec![
        row("list with where, 10,000 documents of 1 KB in memory", &hot, Bar::AtMost(30.0)),
        row("… on disk, without an index", &cold, Bar::None),
    ])
}

/// How long each of some answers takes, milliseconds.
async fn answers(connection: &mut Connection) -> Result<Vec<f64>> {
    let request = get(&format!("/api/v1/{}?where={WHERE}", fixture::COLLECTION));
    let mut times = Vec::with_capacity(RUNS);
    for _ in 0..RUNS {
        let started = Instant::now();
        let reply = connection.must(&request).await?;
        times.push(started.elapsed().as_secs_f64() * 1000.0);
        let answer: serde_json::Value = serde_json::from_slice(&reply.body)?;
        if answer.get("scanned").and_then(serde_json::Value::as_u64) != Some(u64::try_from(DOCUMENTS)?) {
            bail!("not all documents were looked at: {answer}");
        }
    }
    Ok(times)
}
