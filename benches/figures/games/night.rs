//! A game night: `kill -9` in mid-hand, and how long it takes until everyone is back at the table.

use std::cell::Cell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::table::{Stream, act, as_player, create, session};
use crate::client::{Connection, get, with_json};
use crate::fixture;
use crate::process::Process;
use crate::stats::median;
use crate::subscribers::with_streams;
use crate::table::{Bar, Row};

const RUNS: usize = 5;
const TABLES: usize = 40;
const PLAYERS: usize = 5;
/// How long is played before the kill.
const PLAYED: Duration = Duration::from_secs(1);
const LIMIT: Duration = Duration::from_secs(60);

/// Seconds.
struct Run {
    /// From the start of the process until it listens.
    listening: f64,
    /// From the start of the process to the last client's `resumed`.
    resumed: f64,
    /// From the start of the process until the last client has what it missed.
    whole: f64,
    /// Actions that were acknowledged before the kill.
    acknowledged: u64,
}

/// When a client was back.
struct Back {
    resumed: Instant,
    whole: Instant,
}

pub async fn measure() -> Result<Vec<Row>> {
    let mut runs = Vec::new();
    for _ in 0..RUNS {
        runs.push(with_streams(run()).await?);
    }
    let of = |field: fn(&Run) -> f64| runs.iter().map(field).collect::<Vec<_>>();
    let acknowledged: Vec<f64> = runs.iter().map(|run| run.acknowledged as f64).collect();
    let listening = format!(
        "listening after {:.0} ms; {:.0} actions before the kill, none lost",
        median(&of(|run| run.listening)) * 1000.0,
        median(&acknowledged)
    );
    let figure = "kill -9 in mid-hand, start → last of 200 clients at 40 tables resumed";
    Ok(vec![
        Row::values(figure, listening, String::new(), &of(|run| run.resumed), " s", Bar::AtMost(2.0)),
        Row::values(
            "… and has all it missed",
            String::new(),
            String::new(),
            &of(|run| run.whole),
            " s",
            Bar::AtMost(2.0),
        ),
    ])
}

async fn run() -> Result<Run> {
    let directory = fixture::on_disk()?;
    let data_dir = directory.path().join("data");
    let mut server = Process::rejoin(&data_dir)?;
    seat_everyone(server.address).await?;
    let (tell, told) = watch::channel(server.address);
    let begun = Rc::new(Cell::new(0));
    let mut clients = JoinSet::new();
    for client in 0..TABLES * PLAYERS {
        clients.spawn_local(play(client, told.clone(), Rc::clone(&begun)));
    }
    let all_begun = async {
        while begun.get() < TABLES * PLAYERS {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(LIMIT, all_begun).await.context("not everyone has begun")?;
    let mut writers = JoinSet::new();
    for table in 0..TABLES {
        writers.spawn_local(write(server.address, table));
    }
    tokio::time::sleep(PLAYED).await;
    server.kill();
    let started = Instant::now();
    // Beside this thread, which lets the clients see meanwhile that they are alone.
    let server = tokio::task::spawn_blocking(move || Process::rejoin(&data_dir)).await??;
    let listening = started.elapsed().as_secs_f64();
    tell.send(server.address)?;
    let (mut resumed, mut whole) = (started, started);
    let back = async {
        while let Some(back) = clients.join_next().await {
            let back = back??;
            (resumed, whole) = (resumed.max(back.resumed), whole.max(back.whole));
        }
        anyhow::Ok(())
    };
    tokio::time::timeout(LIMIT, back).await.context("not everyone came back")??;
    let since = |moment: Instant| moment.duration_since(started).as_secs_f64();
    let (resumed, whole) = (since(resumed), since(whole));
    Ok(Run { listening, resumed, whole, acknowledged: nothing_lost(server.address, writers).await? })
}

async fn seat_everyone(address: SocketAddr) -> Result<()> {
    let mut connection = Connection::open(address).await?;
    let mut sessions = Vec::new();
    for player in 1..=PLAYERS {
        sessions.push(session(&mut connection, &format!("p{player}")).await?);
    }
    for table in 0..TABLES {
        connection.must(&create(&format!("table-{table}"))).await?;
        for (session, player) in sessions.iter().zip(1..) {
            let body = serde_json::json!({ "playerId": format!("p{player}") }).to_string();
            let join = with_json("POST", &format!("/api/v1/games/table-{table}/seats"), &body);
            connection.must(&as_player(session, &join)).await?;
        }
    }
    Ok(())
}

/// Follows a table until the server is gone, and again as soon as there is one.
async fn play(client: usize, mut address: watch::Receiver<SocketAddr>, begun: Rc<Cell<usize>>) -> Result<Back> {
    let (table, player) = (format!("table-{}", client / PLAYERS), format!("p{}", client % PLAYERS + 1));
    let at = *address.borrow_and_update();
    let session = session(&mut Connection::open(at).await?, &player).await?;
    let mut stream = Stream::open(at, &table, &session, None).await?;
    begun.set(begun.get() + 1);
    while stream.next().await?.is_some() {}
    let position = stream.position.context("no position")?;
    address.changed().await?;
    let at = *address.borrow_and_update();
    let mut stream = Stream::open(at, &table, &session, Some(&position)).await?;
    let (mut resumed, mut missed) = (None, u64::MAX);
    loop {
        let Some(event) = stream.next().await? else { bail!("the stream ended") };
        match event.name.as_str() {
            "resumed" => {
                let data: Value = serde_json::from_str(&event.data)?;
                missed = data.get("count").and_then(Value::as_u64).context("no count")?;
                resumed = Some(Instant::now());
            }
            "change" => missed = missed.saturating_sub(1),
            "snapshot" => bail!("a snapshot instead of what was missed"),
            _ => {}
        }
        if let (Some(resumed), 0) = (resumed, missed) {
            return Ok(Back { resumed, whole: Instant::now() });
        }
    }
}

/// Plays at a table until the server is gone. Which table, and how many actions were acknowledged.
async fn write(address: SocketAddr, table: usize) -> Result<(usize, u64)> {
    let mut connection = Connection::open(address).await?;
    let mut acknowledged = 0;
    loop {
        match connection.send(&act(&format!("table-{table}"), acknowledged)).await {
            Ok(200) => acknowledged += 1,
            Ok(status) => bail!("an action was refused: {status}"),
            Err(_) => return Ok((table, acknowledged)),
        }
    }
}

/// Makes sure that every acknowledged action is there. Returns how many there were.
async fn nothing_lost(address: SocketAddr, mut writers: JoinSet<Result<(usize, u64)>>) -> Result<u64> {
    let mut connection = Connection::open(address).await?;
    let mut all = 0;
    while let Some(written) = writers.join_next().await {
        let (table, acknowledged) = written??;
        let reply = connection.must(&get(&format!("/api/v1/games/table-{table}"))).await?;
        let game: Value = serde_json::from_slice(&reply.body)?;
        let version = game.get("version").and_then(Value::as_u64).context("no version")?;
        // The first version is the game's creation.
        ensure!(version > acknowledged, "table {table} is at {version} after {acknowledged} actions");
        all += acknowledged;
    }
    Ok(all)
}
