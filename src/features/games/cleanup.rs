//! The job that drops the history of games that are over and later removes them, and reconnect tokens that are worth
//! nothing any more.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use tracing::{info, warn};

use super::options::GameOptions;
use super::sql::cleanup as sql;
use super::sql::cleanup::CleanupCandidate;
use crate::base::clock::Timestamp;
use crate::base::error::{Error, Kind, Result};
use crate::base::ids::{DocumentName, Version};
use crate::base::options::days;
use crate::document::visibility::Viewer;
use crate::http::api::Api;
use crate::jobs::{Job, JobContext, Schedule, Summary};

const TIMEOUT: Duration = Duration::from_secs(15 * 60);
const DAY: Duration = Duration::from_secs(24 * 3600);
/// Games looked at in one reading: no reading holds the WAL for long.
const PAGE: u32 = 200;
/// Tokens removed in one transaction.
const TOKENS_PER_ROUND: u32 = 1_000;
/// How long a token is kept after its end, so that whoever shows it is told that it expired, not that it never was.
const TOKENS_KEPT: Duration = DAY;
/// How long it is remembered which games were removed.
const REMOVALS_KEPT: Duration = Duration::from_secs(365 * 24 * 3600);

/// Removes a game for good, if it is still at this version. Errors: `NotFound`, `Gone`: it is not there;
/// `VersionConflict`: it goes on.
pub(crate) type PurgeGame = Arc<dyn Fn(DocumentName, Version) -> BoxFuture<'static, Result<()>> + Send + Sync>;
/// Drops the history of a game, if it is still at this version. Errors: as of [`PurgeGame`].
pub(crate) type CompactGame = PurgeGame;
/// Whether anybody follows a game now.
pub(crate) type Connected = Arc<dyn Fn(&DocumentName) -> bool + Send + Sync>;

/// What the clean-up needs to know.
#[derive(Clone)]
pub(crate) struct Cleanup {
    /// How long the history of a game is kept after it was completed.
    pub compacted: Duration,
    /// How long a game is kept after it was completed.
    pub completed: Duration,
    /// How long a game that was not completed is kept after its last event.
    pub abandoned: Duration,
    /// How a game is removed.
    pub purge: PurgeGame,
    /// How its history is dropped.
    pub compact: CompactGame,
    /// Who is never abandoned.
    pub connected: Connected,
}

impl Cleanup {
    /// The clean-up of the server's games.
    pub(crate) fn new(options: &GameOptions, api: &Api) -> Self {
        let (purging, compacting, hub) = (api.engine.clone(), api.engine.clone(), Arc::clone(&api.reads.hub));
        Self {
            compacted: days(options.compacted_days),
            completed: days(options.completed_days),
            abandoned: days(options.abandoned_days),
            purge: Arc::new(move |name, version| {
                let engine = purging.clone();
                Box::pin(async move { engine.purge(name, Viewer::Owner, Some(version)).await.map(drop) })
            }),
            compact: Arc::new(move |name, version| {
                let engine = compacting.clone();
                Box::pin(async move { engine.compact(name, version).await.map(drop) })
            }),
            connected: Arc::new(move |name| hub.is_followed(name)),
        }
    }
}

pub(crate) fn cleanup_job(cleanup: Cleanup) -> Job {
    let run = move |context| clean(cleanup.clone(), context);
    Job::new("games-cleanup", Schedule::Hourly, TIMEOUT, run).with_dry_run().removing_by_time()
}

async fn clean(cleanup: Cleanup, context: JobContext) -> Result<Summary> {
    let now = context.clock.now();
    let mut summary = Summary::default();
    for name in ["compacted", "completed", "abandoned", "failed", "tokens"] {
        summary.count(name, 0);
    }
    let mut after = String::new();
    loop {
        let from = after.clone();
        let page = context.reads.read(move |reader| reader.rows(|conn| sql::candidates(conn, &from, PAGE))).await?;
        let Some(last) = page.last() else { break };
        last.name.id.as_str().clone_into(&mut after);
        for game in page {
            if let Some(why) = cleanup.over(&game, now) {
                cleanup.remove(&context, game, why, &mut summary).await?;
            } else if cleanup.is_to_be_compacted(&game, now) {
                cleanup.compact(&context, game, &mut summary).await?;
            }
        }
    }
    summary.count("tokens", clean_tokens(&context, now.minus(TOKENS_KEPT)).await?);
    if !context.dry_run {
        context.engine.rows(|conn, now| sql::trim_removals(conn, now.minus(REMOVALS_KEPT))).await?;
    }
    Ok(summary)
}

impl Cleanup {
    /// Why a game is to be removed, if it is.
    fn over(&self, game: &CleanupCandidate, now: Timestamp) -> Option<&'static str> {
        match game.completed_at {
            Some(at) => (game.over_since(at) < now.minus(self.completed)).then_some("completed"),
            None => {
                let silent = game.last_event < now.minus(self.abandoned);
                (silent && !(self.connected)(&game.name)).then_some("abandoned")
            }
        }
    }

    fn is_to_be_compacted(&self, game: &CleanupCandidate, now: Timestamp) -> bool {
        game.has_history && game.completed_at.is_some_and(|at| game.over_since(at) <= now.minus(self.compacted))
    }

    /// Drops the history of a game. Error: as of [`remove`](Self::remove).
    async fn compact(&self, context: &JobContext, game: CleanupCandidate, done: &mut Summary) -> Result<()> {
        let (name, version) = (game.name, game.version);
        if !context.dry_run {
            match (self.compact)(name.clone(), version).await {
                Ok(()) => info!(document = %name, version = version.0, "the history of a completed game is dropped"),
                Err(error) => return record_failure(&name, error, done),
            }
        }
        done.count("compacted", 1);
        done.name(format!("{name} (history)"));
        Ok(())
    }

    /// Removes a game. One that cannot be removed does not keep the others. Error: storage takes nothing now.
    async fn remove(
        &self,
        context: &JobContext,
        game: CleanupCandidate,
        why: &'static str,
        done: &mut Summary,
    ) -> Result<()> {
        let (name, version) = (game.name.clone(), game.version);
        if !context.dry_run {
            // The note goes first: a removal that nobody noted could not be told from a loss. One that the end of the
            // server left without its removal is written again by the next run.
            context.engine.rows(move |conn, now| sql::note_removal(conn, &game, why, now)).await?;
            if let Err(error) = (self.purge)(name.clone(), version).await {
                let noted = name.clone();
                context.engine.rows(move |conn, _| sql::take_back_removal(conn, &noted, version)).await?;
                return record_failure(&name, error, done);
            }
            info!(document = %name, version = version.0, why, "a game is removed");
        }
        done.count(why, 1);
        done.name(format!("{name} ({why})"));
        Ok(())
    }
}

/// What one game's failure is to the others: nothing, unless storage takes nothing now. That is the error.
fn record_failure(name: &DocumentName, error: Error, done: &mut Summary) -> Result<()> {
    match error.kind() {
        kind if kind.retryable() => Err(error),
        // Somebody was faster, or plays on after all.
        Kind::NotFound | Kind::Gone | Kind::VersionConflict => Ok(()),
        _ => {
            warn!(document = %name, %error, "a game is not cleaned up");
            done.count("failed", 1);
            Ok(())
        }
    }
}

async fn clean_tokens(context: &JobContext, before: Timestamp) -> Result<usize> {
    if context.dry_run {
        return context.reads.read(move |reader| reader.rows(|conn| sql::count_expired_tokens(conn, before))).await;
    }
    let mut removed = 0;
    loop {
        let round = move |conn: &_, _| sql::remove_expired_tokens(conn, before, TOKENS_PER_ROUND);
        match context.engine.rows(round).await? {
            0 => return Ok(removed),
            count => removed += count,
        }
    }
}
