//! What a GET of a document and one of a file cost, each against the smallest handler that returns the same bytes.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use tokio::task::{JoinSet, LocalSet};

use crate::client::{Connection, get, with_json};
use crate::fixture;
use crate::limits;
use crate::process::Process;
use crate::stats::{median, micros};
use crate::table::{Bar, Row};

const CONNECTIONS: usize = 64;
const SPAN: Duration = Duration::from_millis(1500);
const RUNS: usize = 7;

/// Bytes of the file that is served.
const FILE_BYTES: usize = 10 * 1024;

pub async fn measure() -> Result<Vec<Row>> {
    let directory = fixture::on_disk()?;
    let public = directory.path().join("public");
    std::fs::create_dir(&public)?;
    std::fs::write(public.join("app.js"), vec![b'x'; FILE_BYTES])?;
    let flags = ["--public", &*public.to_string_lossy()];
    let server = Process::rejoin_with(&directory.path().join("data"), &flags)?;
    let mut connection = Connection::open(server.address).await?;
    let body = serde_json::json!({ "state": fixture::state() }).to_string();
    connection.must(&with_json("PUT", &fixture::path(0), &body)).await?;
    Ok(vec![
        compare(&server, &fixture::path(0), "GET of a 1 KB document, server CPU").await?,
        compare(&server, "/app.js", "GET of a file of 10 KB, server CPU").await?,
    ])
}

/// What a GET of `path` costs, against a handler that returns the same bytes.
async fn compare(server: &Process, path: &str, name: &'static str) -> Result<Row> {
    let mut reply = Connection::open(server.address).await?.must(&get(path)).await?;
    reply.head.append(&mut reply.body);
    let directory = fixture::on_disk()?;
    let file = directory.path().join("answer");
    std::fs::write(&file, &reply.head)?;
    let smallest = Process::limit(&[limits::GET, &file.to_string_lossy()])?;

    let (mut ours, mut floors, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..RUNS {
        ours.push(per_request(server, path).await?);
        floors.push(per_request(&smallest, "/").await?);
        ratios.extend(ours.last().zip(floors.last()).map(|(ours, floor)| ours / floor));
    }
    let measured = format!("{:.2} µs", median(&ours));
    let limit = format!("{:.2} µs (axum handler)", median(&floors));
    Ok(Row::ratio(name, measured, limit, &ratios, Bar::AtMost(1.3)))
}

/// Server CPU per request, microseconds.
async fn per_request(server: &Process, path: &str) -> Result<f64> {
    let request = get(path);
    let before = server.cpu()?;
    let end = Instant::now() + SPAN;
    let work = async {
        let mut asking = JoinSet::new();
        for _ in 0..CONNECTIONS {
            let mut connection = Connection::open(server.address).await?;
            let request = request.clone();
            asking.spawn_local(async move {
                let mut count = 0_u32;
                while Instant::now() < end {
                    if connection.send(&request).await? != 200 {
                        bail!("a request was refused");
                    }
                    count += 1;
                }
                Ok(count)
            });
        }
        let mut requests = 0.0;
        while let Some(count) = asking.join_next().await {
            requests += f64::from(count??);
        }
        Ok(requests)
    };
    let requests: Result<f64> = LocalSet::new().run_until(work).await;
    Ok(micros(server.cpu()?.saturating_sub(before)) / requests?)
}
