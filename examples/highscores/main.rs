//! A feature from outside the crate: the best score of each player. Documents of the collection `scores` say who scored
//! what; the best of each player is a row, written in the transaction of the change that made it.
//!
//!     cargo run --example highscores -- --listen 127.0.0.1:7766 --data-dir highscores-data
//!     curl -X PUT http://127.0.0.1:7766/api/v1/scores/s1 -H 'Content-Type: application/json' \
//!         -d '{"state":{"player":"ann","score":12}}'
//!     curl http://127.0.0.1:7766/api/v1/highscores

use std::process::ExitCode;
use std::time::Duration;

use rejoin::axum::extract::State;
use rejoin::utoipa::{self, ToSchema};
use rejoin::utoipa_axum::routes;
use rejoin::{Api, Caller, Change, ChangeRows, Consumer, DocumentHook, Error, Feature, HandlerResult, Job};
use rejoin::{JobContext, Json, Kind, LoggedChange, ProblemType, Result, Routes, Schedule, Server, StoredRows};
use rejoin::{Summary, rusqlite, sql_error};
use serde::{Deserialize, Serialize};

const TABLES: &str = "CREATE TABLE IF NOT EXISTS highscores_best
                          (player TEXT PRIMARY KEY, score INTEGER NOT NULL, document TEXT NOT NULL) STRICT;
                      CREATE TABLE IF NOT EXISTS highscores_writers
                          (user TEXT PRIMARY KEY, changes INTEGER NOT NULL) STRICT";
/// Nobody scores more.
const SCORE_MAX: i64 = 1_000_000;
/// Players that the job leaves on the list.
const PLAYERS_KEPT: i64 = 100;

static SCORE_IMPOSSIBLE: ProblemType = ProblemType {
    slug: "score-impossible",
    kind: Kind::Rejected,
    title: "Nobody scores as much",
    meaning: "The score is negative, or higher than anybody can score.",
    remedy: "scoreMax says how much it may be.",
};

fn main() -> ExitCode {
    let trim = Job::new("highscores-trim", Schedule::Hourly, Duration::from_secs(60), trim);
    let highscores = Feature::new("highscores")
        .tables(TABLES)
        .hook(KeepBest)
        .consumer(Consumer::new("highscores-writers", &["scores"], count_writers))
        .reserves(&["highscores"])
        .routes(Routes::new().routes(routes!(list)).routes(routes!(list_writers)))
        .tag("highscores", "The best score of each player.")
        .change_problem(&SCORE_IMPOSSIBLE)
        .problem_members::<ScoreProblem>()
        .job(trim);
    rejoin::run(Server::builder().name("highscores").feature(highscores))
}

/// A score, in the state of a document and on the list.
#[derive(Deserialize, Serialize, ToSchema)]
struct Score {
    player: String,
    score: i64,
}

/// What a problem says of an impossible score.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
#[expect(dead_code, reason = "only its schema is used")]
struct ScoreProblem {
    /// `score-impossible`: how much it may be.
    #[schema(required = false)]
    score_max: i64,
}

struct KeepBest;

impl DocumentHook for KeepBest {
    fn name(&self) -> &'static str {
        "highscores"
    }

    fn before_store(&self, change: &Change<'_>, _: &StoredRows<'_>) -> Result<Option<ChangeRows>> {
        let Some(state) = change.state().filter(|_| change.document().collection.as_str() == "scores") else {
            return Ok(None);
        };
        let Score { player, score } = serde_json::from_slice(state)
            .map_err(|error| Error::invalid_field("state", format!("is no score: {error}")))?;
        if !(0..=SCORE_MAX).contains(&score) {
            return Err(SCORE_IMPOSSIBLE.error(format!("{score} is impossible")).with("scoreMax", SCORE_MAX));
        }
        let document = change.document().to_string();
        Ok(Some(ChangeRows::new("best", move |conn| {
            let sql = "INSERT INTO highscores_best (player, score, document) VALUES (?1, ?2, ?3)
                       ON CONFLICT (player) DO UPDATE SET score = excluded.score, document = excluded.document
                       WHERE excluded.score > score";
            conn.execute(sql, (&player, score, &document)).map(drop).map_err(sql_error)
        })))
    }
}

/// The best score of each player, the highest first
#[utoipa::path(
    get, path = "/api/v1/highscores", operation_id = "listHighscores", tag = "highscores",
    responses((status = 200, description = "The list.", body = Vec<Score>)),
)]
async fn list(State(api): State<Api>, _: Caller) -> HandlerResult<Json<Vec<Score>>> {
    let best = api.read_rows(|conn| {
        let sql = "SELECT player, score FROM highscores_best ORDER BY score DESC, player LIMIT 100";
        let mut statement = conn.prepare_cached(sql).map_err(sql_error)?;
        let rows = statement.query_map((), |row| Ok(Score { player: row.get(0)?, score: row.get(1)? }));
        rows.and_then(Iterator::collect).map_err(sql_error)
    });
    Ok(Json(best.await?))
}

/// Counts the changes of each user, behind the changes.
fn count_writers(conn: &rusqlite::Connection, changes: &[LoggedChange]) -> Result<()> {
    #[derive(Deserialize)]
    struct Event {
        actor: String,
    }
    let sql = "INSERT INTO highscores_writers (user, changes) VALUES (?1, 1)
               ON CONFLICT (user) DO UPDATE SET changes = changes + 1";
    for change in changes {
        let Event { actor } = serde_json::from_slice(change.event_body()).map_err(Error::internal)?;
        conn.execute(sql, [actor]).map_err(sql_error)?;
    }
    Ok(())
}

/// A user who changed scores.
#[derive(Serialize, ToSchema)]
struct Writer {
    user: String,
    changes: i64,
}

/// Who changed how many scores
#[utoipa::path(
    get, path = "/api/v1/highscores/writers", operation_id = "listScoreWriters", tag = "highscores",
    responses((status = 200, description = "Everybody.", body = Vec<Writer>)),
)]
async fn list_writers(State(api): State<Api>, _: Caller) -> HandlerResult<Json<Vec<Writer>>> {
    let writers = api.read_rows(|conn| {
        let sql = "SELECT user, changes FROM highscores_writers ORDER BY changes DESC, user LIMIT 100";
        let mut statement = conn.prepare_cached(sql).map_err(sql_error)?;
        let rows = statement.query_map((), |row| Ok(Writer { user: row.get(0)?, changes: row.get(1)? }));
        rows.and_then(Iterator::collect).map_err(sql_error)
    });
    Ok(Json(writers.await?))
}

/// Forgets the scores that are on no list.
async fn trim(context: JobContext) -> Result<Summary> {
    let sql = "DELETE FROM highscores_best WHERE player NOT IN
                   (SELECT player FROM highscores_best ORDER BY score DESC, player LIMIT ?1)";
    let forgotten = context.write_rows(move |conn, _| conn.execute(sql, [PLAYERS_KEPT]).map_err(sql_error)).await?;
    let mut summary = Summary::default();
    summary.count("forgotten", forgotten);
    Ok(summary)
}
