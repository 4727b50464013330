//! The features, hung on the spine: a feature has one line in each of the lists that it has a part in.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::app::options::{days, history};
use crate::app::{FINISH_TIMEOUT, StartError};
use crate::base::error::ProblemType;
use crate::config::Config;
use crate::document::rules::Rules;
use crate::document::visibility::Viewer;
use crate::engine::handle::Engine;
use crate::features;
use crate::features::games::cleanup::{Cleanup, Compact, Purge};
use crate::features::games::options::GameOptions;
use crate::features::operations::routes::front::RuledCollections;
use crate::features::rate_limits::options::RateLimitOptions;
use crate::features::rate_limits::rules::Limit;
use crate::features::rate_limits::service::{self as rate_limits, RateLimits};
use crate::features::reconciliation::options::ReconciliationOptions;
use crate::features::reconciliation::scrub::Shared;
use crate::features::reconciliation::self_check::Comparer;
use crate::features::reconciliation::service::{self as reconciliation, Reconciliation};
use crate::features::reconciliation::trim::trim_job;
use crate::features::sessions::links::Links;
use crate::features::sessions::options::SessionOptions;
use crate::features::sessions::rules::Terms;
use crate::features::sessions::service::Keeper;
use crate::features::usage::options::{Environment, UsageOptions};
use crate::features::usage::rules::Limits;
use crate::features::usage::service::Usage;
use crate::http::api::Api;
use crate::http::request::caller::{Loopback, Sessions as _};
use crate::http::response::openapi;
use crate::http::response::pages;
use crate::http::response::problem_types;
use crate::http::server::middleware::MiddlewareDeps;
use crate::jobs::runner::Handle;
use crate::jobs::{self, Job};
use crate::store::Reader;

/// What features keep for as long as the server runs.
pub(super) struct Leaves {
    rate_limiter: Arc<RateLimits>,
    sessions: Keeper,
    links: Links,
    administrator_link: Option<String>,
    reconciliation: Arc<Reconciliation>,
    comparer: Shared,
    usage: Usage,
}

impl Leaves {
    /// Reads what is stored of each. Before anything can be asked.
    pub(super) fn open(config: &Config, api: &Api, reader: &Reader) -> Result<Self, StartError> {
        let comparer = Comparer::new(api.engine.clone(), api.reads.clone(), Arc::clone(&api.health));
        let comparer = Shared::new(comparer);
        let links = Links::in_directory(&config.data_dir);
        Ok(Self {
            rate_limiter: open_rate_limits(config, api, reader)?,
            sessions: sessions(config, api, reader)?,
            administrator_link: administrator_link(config, api, &links),
            links,
            reconciliation: reconciliation(config, api, reader, &comparer)?,
            comparer,
            usage: usage(config),
        })
    }

    /// Everything that can be asked.
    pub(super) fn router(
        &self,
        config: &Config,
        rules: &HashMap<String, Arc<dyn Rules>>,
        jobs: &Handle,
    ) -> Router<Api> {
        let parts = [
            pages::routes(problems()),
            features::operations::routes::front::router(RuledCollections::new(rules)),
            features::operations::routes::router(),
            features::guide::routes::router(),
            features::web_client::routes::router(),
            features::flags::routes::router(&config.flags()),
            features::operations::routes::jobs::router(jobs.clone()),
            features::rate_limits::routes::router(Arc::clone(&self.rate_limiter)),
            features::documents::routes::router(),
            features::games::routes::router(),
            features::sessions::routes::router(self.sessions.clone(), self.links.clone()),
            features::usage::routes::router(self.usage),
            features::client_errors::routes::router(),
            features::reconciliation::routes::router(Arc::clone(&self.reconciliation)),
            features::reconciliation::routes::repair::router(self.comparer.clone(), Arc::clone(&self.reconciliation)),
        ];
        openapi::assemble(parts, self.sessions.table.cookie())
    }

    /// What a request has to pass.
    pub(super) fn middleware_deps(&self, config: &Config) -> MiddlewareDeps {
        let loopback = if config.loopback_owner { Loopback::Owner } else { Loopback::Nobody };
        let sessions = Arc::clone(&self.sessions.table) as _;
        MiddlewareDeps { sessions, loopback, rate_limiter: Arc::clone(&self.rate_limiter) as _ }
    }

    /// Path and query of a link for an administrator, where being on this machine makes nobody one.
    pub(super) fn administrator_link(&self) -> Option<&str> {
        self.administrator_link.as_deref()
    }

    /// Everything that the server does by itself at set times, and what its user adds.
    pub(super) fn jobs(&self, config: &Config, api: &Api, own: Vec<Job>) -> Vec<Job> {
        let hub = Arc::clone(&api.reads.hub);
        let games: GameOptions = config.features.get();
        let cleanup = Cleanup {
            compacted: days(games.compacted_days),
            compact: compact(api.engine.clone()),
            completed: days(games.completed_days),
            abandoned: days(games.abandoned_days),
            purge: purge(api.engine.clone()),
            connected: Arc::new(move |name| hub.is_followed(name)),
        };
        let audit: ReconciliationOptions = config.features.get();
        let usage: UsageOptions = config.features.get();
        let mut jobs = vec![
            jobs::log::trim_job(),
            features::games::cleanup::cleanup_job(cleanup),
            features::operations::upkeep::trim_job(history(config)),
            features::operations::upkeep::optimize_job(),
            self.sessions.cleanup_job(),
            trim_job(Arc::clone(&self.reconciliation), days(audit.days), audit.rows_max),
            features::usage::reset::reset_job(usage.environment == Environment::Production),
        ];
        for job in own {
            jobs.retain(|other| other.name != job.name);
            jobs.push(job);
        }
        jobs
    }

    /// What goes on all the time.
    pub(super) fn spawn(&self, config: &Config, api: &Api, tasks: &mut JoinSet<()>) {
        let comparing: ReconciliationOptions = config.features.get();
        let (scrub, told) = (comparing.scrub_kib * 1024, Arc::clone(&self.reconciliation));
        tasks.spawn(Arc::clone(&self.reconciliation).keep_looking());
        tasks.spawn(self.sessions.clone().keep(Arc::clone(&api.clock_trust)));
        tasks.spawn(Arc::clone(&self.reconciliation).keep_comparing(comparing.interval));
        tasks.spawn(self.comparer.clone().keep_scrubbing(told, scrub));
        tasks.spawn(Arc::clone(&self.rate_limiter).keep_saved(api.reads.clone()));
        tasks.spawn(features::games::migrate_out::keep_moving(api.clone()));
    }

    /// Stores what is stored from time to time only. Where storage fails a little is given away at the next start.
    pub(super) async fn close(&self) {
        let _ = timeout(FINISH_TIMEOUT, self.rate_limiter.save()).await;
        if let Ok(Err(error)) = timeout(FINISH_TIMEOUT, self.sessions.store_uses()).await {
            tracing::warn!(%error, "when sessions were last used is not stored");
        }
    }
}

/// A link for an administrator, where being on this machine makes nobody one. What fails is said: `rejoin session`
/// makes another.
fn administrator_link(config: &Config, api: &Api, links: &Links) -> Option<String> {
    if config.loopback_owner {
        return None;
    }
    let made = links.create(&*api.entropy, api.clock.now());
    made.inspect_err(|error| tracing::warn!(%error, "no administrator's link can be made")).ok()
}

/// The sessions that had not ended when the server stopped.
fn sessions(config: &Config, api: &Api, reader: &Reader) -> Result<Keeper, StartError> {
    let SessionOptions { ttl, idle } = config.features.get();
    let terms = Terms { ttl, idle };
    let restored = Keeper::restore(reader, api.engine.clone(), terms, Arc::clone(&api.clock));
    restored.map_err(|error| StartError::Stored("sessions", error.to_string()))
}

fn reconciliation(
    config: &Config,
    api: &Api,
    reader: &Reader,
    comparer: &Shared,
) -> Result<Arc<Reconciliation>, StartError> {
    let beginning = Reconciliation::beginning(reader);
    let beginning = beginning.map_err(|error| StartError::Stored("reconciliation", error.to_string()))?;
    let parts = reconciliation::Parts {
        engine: api.engine.clone(),
        reads: api.reads.clone(),
        clock: Arc::clone(&api.clock),
        comparing: Arc::new(comparer.clone()),
        rows_max: config.features.get::<ReconciliationOptions>().rows_max,
    };
    Ok(Reconciliation::new(parts, beginning, &*api.entropy))
}

/// What may be created without a subscription.
pub(super) fn usage(config: &Config) -> Usage {
    let UsageOptions { parties, encounters, creatures, .. } = config.features.get();
    Usage { defaults: Limits { parties, encounters, creatures } }
}

/// Removes a document if it is still at this version.
fn purge(engine: Engine) -> Purge {
    Arc::new(move |name, version| {
        let engine = engine.clone();
        Box::pin(async move { engine.purge(name, Viewer::Owner, Some(version)).await.map(drop) })
    })
}

/// Drops the history of a document if it is still at this version.
fn compact(engine: Engine) -> Compact {
    Arc::new(move |name, version| {
        let engine = engine.clone();
        Box::pin(async move { engine.compact(name, version).await.map(drop) })
    })
}

/// How much each may ask, as it is stored.
fn open_rate_limits(config: &Config, api: &Api, reader: &Reader) -> Result<Arc<RateLimits>, StartError> {
    let RateLimitOptions { capacity, refill, window_seconds, administrators } = config.features.get();
    let options = rate_limits::Options { default: Limit { capacity, refill, window_seconds }, administrators };
    let rate_limits =
        RateLimits::open(options, reader, api.engine.clone(), Arc::clone(&api.clock), Arc::clone(&api.entropy));
    rate_limits.map_err(|error| StartError::Stored("rate limits", error.to_string()))
}

/// The problem types of all features.
fn problems() -> impl Iterator<Item = &'static ProblemType> {
    [
        features::games::problems::PROBLEMS,
        features::reconciliation::problems::PROBLEMS,
        crate::engine::problems::PROBLEMS,
        jobs::problems::PROBLEMS,
        problem_types::SHARED,
        features::documents::problems::PROBLEMS,
        features::sessions::problems::PROBLEMS,
    ]
    .into_iter()
    .flatten()
    .copied()
}

/// How long a reconnect token is good.
pub(super) fn reconnect_token(config: &Config) -> Duration {
    Duration::from_secs(u64::from(config.features.get::<GameOptions>().reconnect_token_minutes) * 60)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn each_problem_type_of_a_feature_has_a_slug_of_its_own_and_a_page_that_needs_no_escaping() {
        let mut slugs: BTreeSet<&str> = problem_types::GENERAL.iter().map(|general| general.slug).collect();
        assert!(problems().count() > 10);
        for ProblemType { slug, title, meaning, remedy, .. } in problems() {
            assert!(slugs.insert(slug), "{slug} twice");
            assert!(slug.bytes().all(|c| c.is_ascii_lowercase() || c == b'-'), "{slug}");
            for text in [title, meaning, remedy] {
                assert!(!text.is_empty() && !text.contains(['<', '>', '&', '"']), "{slug}: {text}");
            }
        }
    }
}
