//! What it takes to drop the history of games and to remove them, and what is left of them.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use rejoin::{Clock, ManualClock, SystemClock};
use rusqlite::Connection as Database;
use serde_json::{Value, json};

use super::table::{as_player, fill, session};
use super::{EVENTS, millis};
use crate::client::{Connection, get, with_json};
use crate::fixture;
use crate::process::Process;
use crate::stats::median;
use crate::table::{Bar, Row};

const RUNS: usize = 5;
/// Games that one run of the job removes.
const GAMES: usize = 10;

/// What the job does with completed games, and when.
#[derive(Clone, Copy)]
enum Cleaning {
    /// Two days after their end: their history goes.
    Compacts,
    /// Years after.
    Removes,
}

struct Run {
    /// Milliseconds per game.
    took: f64,
    /// Bytes of all rows and index entries per game, before.
    before: f64,
    /// And after.
    after: f64,
}

/// `by_host`: how long each took that its host removed, milliseconds.
pub async fn measure(by_host: &[f64]) -> Result<Vec<Row>> {
    let (mut compacted, mut runs) = (Vec::new(), Vec::new());
    for _ in 0..RUNS {
        compacted.push(run(Cleaning::Compacts).await?);
        runs.push(run(Cleaning::Removes).await?);
    }
    let of_compacted = |field: fn(&Run) -> f64| compacted.iter().map(field).collect::<Vec<_>>();
    let of = |field: fn(&Run) -> f64| runs.iter().map(field).collect::<Vec<_>>();
    let host = format!("by its host: {:.1} ms", median(by_host));
    let before = format!("of {:.0} KB", median(&of(|run| run.before)) / 1000.0);
    let none = String::new;
    Ok(vec![
        Row::values(
            "dropping the history of a completed game",
            none(),
            none(),
            &of_compacted(|run| run.took),
            " ms",
            Bar::AtMost(1000.0),
        ),
        Row::values(
            "… what is left beside its state, indexes and all",
            before.clone(),
            none(),
            &of_compacted(|run| run.after),
            " B",
            Bar::AtMost(1024.0),
        ),
        Row::values(
            "clean-up, per completed game of 50 KB, 1,000 events",
            host,
            none(),
            &of(|run| run.took),
            " ms",
            Bar::AtMost(1000.0),
        ),
        Row::values(
            "… what is left of it, indexes and all",
            before,
            none(),
            &of(|run| run.after),
            " B",
            Bar::AtMost(1024.0),
        ),
    ])
}

/// The request by which a host removes a game.
pub fn remove(id: &str) -> Vec<u8> {
    format!("DELETE /api/game/{id}/persist HTTP/1.1\r\nhost: figures\r\n\r\n").into_bytes()
}

async fn run(cleaning: Cleaning) -> Result<Run> {
    let directory = fixture::on_disk()?;
    let data_dir = directory.path().join("data");
    // The clean-up counts from the last event too.
    let long_ago = SystemClock.now().minus(Duration::from_secs(21 * 24 * 3600));
    fill(&data_dir, GAMES, EVENTS, Arc::new(ManualClock::at(long_ago))).await?;
    let server = Process::rejoin(&data_dir)?;
    let mut connection = Connection::open(server.address).await?;
    for number in 0..GAMES {
        play_out(&mut connection, &format!("game-{number}")).await?;
    }
    age(&data_dir, cleaning)?;
    let before = stored(&data_dir)?;
    let started = Instant::now();
    let reply = connection.must(&with_json("POST", "/api/v1/admin/jobs/games-cleanup/run", "{}")).await?;
    let took = millis(started);
    let record: Value = serde_json::from_slice(&reply.body)?;
    let (count, status) = match cleaning {
        Cleaning::Compacts => ("/counts/compacted", 200),
        Cleaning::Removes => ("/counts/completed", 410),
    };
    ensure!(record.pointer(count) == Some(&json!(GAMES)), "{record}");
    let mut states = 0;
    for number in 0..GAMES {
        let reply = connection.ask(&get(&format!("/api/v1/games/game-{number}"))).await?;
        ensure!(reply.status == status, "a cleaned game answers {}", reply.status);
        let game: Value = serde_json::from_slice(&reply.body)?;
        states += game.get("state").map_or(0, |state| state.to_string().len());
    }
    let (games, after) = (GAMES as f64, stored(&data_dir)? - states as f64);
    Ok(Run { took: took / games, before: before / games, after: after / games })
}

/// Gives a game what games have beside their state: players, a token, an end.
async fn play_out(connection: &mut Connection, id: &str) -> Result<()> {
    for player in ["p1", "p2"] {
        let join = with_json("POST", &format!("/api/v1/games/{id}/seats"), &json!({ "playerId": player }).to_string());
        let session = session(connection, player).await?;
        connection.must(&as_player(&session, &join)).await?;
        let ask = get(&format!("/api/game/{id}/connection-token?playerId={player}"));
        connection.must(&as_player(&session, &ask)).await?;
    }
    connection.must(&with_json("POST", &format!("/api/v1/games/{id}/complete"), "{}")).await?;
    Ok(())
}

fn open(data_dir: &Path) -> Result<Database> {
    let database = Database::open(data_dir.join("rejoin.db"))?;
    database.busy_timeout(Duration::from_secs(10))?;
    Ok(database)
}

/// Lets the games have been over for as long as it takes.
fn age(data_dir: &Path, cleaning: Cleaning) -> Result<()> {
    let ago = match cleaning {
        Cleaning::Compacts => "-2 days",
        Cleaning::Removes => "-20 days",
    };
    let sql = "UPDATE games SET completed_at = strftime('%Y-%m-%dT%H:%M:%fZ', 'now', ?1)";
    let aged = open(data_dir)?.execute(sql, [ago])?;
    ensure!(aged == GAMES, "{aged} games were completed");
    Ok(())
}

/// Bytes of all rows and index entries of what games consist of, and of the record of those that were removed.
fn stored(data_dir: &Path) -> Result<f64> {
    let sql = "SELECT sum(s.payload) FROM dbstat s JOIN sqlite_schema m ON m.name = s.name WHERE m.tbl_name IN
               ('documents', 'events', 'snapshots', 'idempotency_keys', 'games', 'seats', 'reconnect_tokens',
                'reconnect_answers', 'moves', 'game_removals')";
    Ok(open(data_dir)?.query_row(sql, (), |row| row.get::<_, i64>(0))? as f64)
}
