//! Games: what it costs to store one, to read it back, to come back to it and to remove it.

mod night;
mod removal;
mod table;

use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use rejoin::SystemClock;
use serde_json::{Value, json};
use tokio::task::JoinSet;

use self::table::{act, as_player, create, fill, session, until_resumed};
use crate::client::{Connection, get, with_json};
use crate::posts::{CONNECTIONS, SPAN, post};
use crate::process::Process;
use crate::stats::{median, quantile};
use crate::subscribers::with_streams;
use crate::table::{Bar, Row};
use crate::{fixture, probe};

const RUNS: usize = 5;
/// Changes of the game that is measured, its creation among them.
const EVENTS: u64 = 1000;
/// Times that a thing is done within a run.
const TIMES: usize = 20;
/// Changes that a player missed who comes back.
const MISSED: u64 = 50;

/// Medians of a run, milliseconds.
struct Run {
    /// The disk's own sync.
    sync: f64,
    /// Reading back a game that is not in memory.
    cold: f64,
    /// Reading back one that runs.
    running: f64,
    persist: f64,
    reconnect: f64,
    /// Removing the game by its host.
    remove: f64,
}

pub async fn measure() -> Result<Vec<Row>> {
    let night = night::measure().await?;
    let mut runs = Vec::new();
    for _ in 0..RUNS {
        runs.push(one_game().await?);
    }
    let of = |field: fn(&Run) -> f64| runs.iter().map(field).collect::<Vec<_>>();
    let sync = format!("{:.2} ms (fdatasync of 4 KiB)", median(&of(|run| run.sync)));
    let running = format!("while it runs: {:.1} ms", median(&of(|run| run.running)));
    let bar = |figure, measured, limit, values: &[f64], bar| {
        Row::values(figure, measured, limit, values, " ms", Bar::AtMost(bar))
    };
    let (none, missed) = (String::new, format!("{MISSED} missed changes"));
    let mut rows = vec![
        bar("persist a game of 50 KB, 1,000 events", none(), sync, &of(|run| run.persist), 50.0),
        bar("restore it, not in memory before", running, none(), &of(|run| run.cold), 100.0),
        bar("reconnect with a token: connect, answer, stream resumed", missed, none(), &of(|run| run.reconnect), 500.0),
        cost().await?,
    ];
    rows.extend(night);
    rows.extend(removal::measure(&of(|run| run.remove)).await?);
    Ok(rows)
}

/// Everything that is done with one game, one after the other.
async fn one_game() -> Result<Run> {
    let directory = fixture::on_disk()?;
    let data_dir = directory.path().join("data");
    fill(&data_dir, 1, EVENTS, Arc::new(SystemClock)).await?;
    let sync = probe::sync_p50(directory.path())? / 1000.0;
    let server = Process::rejoin(&data_dir)?;
    let mut connection = Connection::open(server.address).await?;
    let cold = restore(&mut connection).await?;
    let reply = connection.must(&get("/api/v1/games/game-0/persistence")).await?;
    let kept = serde_json::from_slice::<Value>(&reply.body)?;
    ensure!(kept.get("events") == Some(&json!(EVENTS)), "not all is kept: {kept}");
    let mut times = Vec::new();
    for _ in 0..TIMES {
        times.push(restore(&mut connection).await?);
    }
    let running = median(&times);
    let persist = persist(&mut connection).await?;
    let reconnect = reconnect(&server, &mut connection).await?;
    connection.must(&with_json("POST", "/api/v1/games/game-0/complete", "{}")).await?;
    let started = Instant::now();
    connection.must(&removal::remove("game-0")).await?;
    Ok(Run { sync, cold, running, persist, reconnect, remove: millis(started) })
}

async fn restore(connection: &mut Connection) -> Result<f64> {
    let started = Instant::now();
    let reply = connection.must(&get("/api/game/game-0/restore")).await?;
    let took = millis(started);
    ensure!(reply.body.len() > 50_000, "a game of {} bytes", reply.body.len());
    Ok(took)
}

/// Each time after a change, so that there is something to store.
async fn persist(connection: &mut Connection) -> Result<f64> {
    let request = with_json("POST", "/api/game/game-0/persist", r#"{"gameId":"game-0"}"#);
    let mut times = Vec::new();
    for turn in 0..TIMES {
        connection.must(&act("game-0", u64::try_from(turn)?)).await?;
        let started = Instant::now();
        connection.must(&request).await?;
        times.push(millis(started));
    }
    Ok(median(&times))
}

/// From opening a connection with nothing but a token and a position until the stream goes on.
async fn reconnect(server: &Process, host: &mut Connection) -> Result<f64> {
    let p1 = session(host, "p1").await?;
    let join = with_json("POST", "/api/v1/games/game-0/seats", r#"{"playerId":"p1"}"#);
    host.must(&as_player(&p1, &join)).await?;
    let ask = get("/api/game/game-0/connection-token?playerId=p1");
    let given = host.must(&as_player(&p1, &ask)).await?;
    let mut token = member(&serde_json::from_slice(&given.body)?, "token")?;
    let mut times = Vec::new();
    for _ in 0..TIMES {
        let here = host.must(&get("/api/v1/games/game-0")).await?;
        let position = here.header("rejoin-position").context("no position")?.to_owned();
        for turn in 0..MISSED {
            host.must(&act("game-0", turn)).await?;
        }
        let body = json!({
            "gameId": "game-0", "playerId": "p1", "reconnectToken": token, "lastEventId": position,
        });
        let request = as_player(&p1, &with_json("POST", "/api/game/game-0/reconnect", &body.to_string()));
        let started = Instant::now();
        let reply = Connection::open(server.address).await?.must(&request).await?;
        let answer: Value = serde_json::from_slice(&reply.body)?;
        until_resumed(server.address, "game-0", &p1, &member(&answer, "position")?).await?;
        times.push(millis(started));
        let missed = answer.get("missedEvents").and_then(Value::as_array).map_or(0, Vec::len);
        ensure!(missed == usize::try_from(MISSED)?, "{missed} missed events came");
        token = member(&answer, "reconnectToken")?;
    }
    Ok(median(&times))
}

/// What waiting for the disk adds to an action, with 64 writers at once: the same on a disk and on tmpfs, in turns.
async fn cost() -> Result<Row> {
    let (mut disk, mut memory) = (Vec::new(), Vec::new());
    for _ in 0..RUNS {
        let (on_disk, in_memory) = (fixture::on_disk()?, fixture::in_memory()?);
        disk.push(with_streams(actions(on_disk.path())).await?);
        memory.push(with_streams(actions(in_memory.path())).await?);
    }
    let differences: Vec<f64> = disk.iter().zip(&memory).map(|(disk, memory)| disk - memory).collect();
    let measured = format!("answer p50 {:.2} ms", median(&disk));
    let limit = format!("{:.2} ms (tmpfs)", median(&memory));
    let figure = "what persistence adds to an action, 64 writers";
    Ok(Row::values(figure, measured, limit, &differences, " ms", Bar::AtMost(10.0)))
}

/// The p50 of the answers to actions, milliseconds.
async fn actions(directory: &std::path::Path) -> Result<f64> {
    let server = Process::rejoin(&directory.join("data"))?;
    let mut setup = Connection::open(server.address).await?;
    for number in 0..CONNECTIONS {
        setup.must(&create(&format!("game-{number}"))).await?;
    }
    let started = Instant::now();
    let mut posting = JoinSet::new();
    for number in 0..CONNECTIONS {
        let connection = Connection::open(server.address).await?;
        posting.spawn_local(post(connection, format!("/api/v1/games/game-{number}/actions"), started + SPAN));
    }
    let mut times = Vec::new();
    while let Some(posted) = posting.join_next().await {
        times.extend(posted??);
    }
    Ok(quantile(&times, 0.5) / 1000.0)
}

fn member(value: &Value, name: &str) -> Result<String> {
    Ok(value.get(name).and_then(Value::as_str).with_context(|| format!("no {name}"))?.to_owned())
}

fn millis(started: Instant) -> f64 {
    started.elapsed().as_secs_f64() * 1000.0
}
