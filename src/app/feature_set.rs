//! The features of a server, joined: those of this crate and those of the program that embeds it.

use std::collections::BTreeSet;
use std::sync::Arc;

use axum::Router;
use tokio::time::timeout;

use crate::app::{FINISH_TIMEOUT, StartError};
use crate::base::error::ProblemType;
use crate::base::ids::Collection;
use crate::base::options::FeatureOptions;
use crate::engine;
use crate::feature::{Close, Feature, FeatureContext, ServerParts, Task};
use crate::features::DEFINITIONS;
use crate::http::api::{Api, Routes};
use crate::http::request::caller::{Loopback, NoSessions};
use crate::http::request::cookie::SessionCookie;
use crate::http::response::openapi;
use crate::http::response::problem_pages;
use crate::http::response::problem_types;
use crate::http::server::middleware::MiddlewareDeps;
use crate::http::server::rate_limit::NoRateLimit;
use crate::jobs::{self, Job};
use crate::live::presence::Presence;
use crate::store::Writer;

/// See the module.
#[derive(Default)]
pub(super) struct FeatureSet {
    pub routes: Vec<Routes>,
    pub problems: Vec<&'static ProblemType>,
    pub hooks: engine::Hooks,
    pub jobs: Vec<Job>,
    pub tasks: Vec<Task>,
    pub close: StopSteps,
    pub parts: ServerParts,
}

/// What features store at the stop.
#[derive(Default)]
pub(super) struct StopSteps(Vec<(&'static str, Close)>);

/// The collections whose new documents live in memory only.
pub(super) fn volatile_collections(options: &FeatureOptions) -> BTreeSet<Collection> {
    DEFINITIONS.iter().flat_map(|feature| (feature.volatile_collections)(options)).collect()
}

/// Makes the tables of the features that `schema.sql` does not have. Error: it does not work, or one makes what another
/// has.
pub(super) fn create_tables(features: &[Feature], writer: &Writer) -> Result<(), StartError> {
    for feature in features {
        let Some(sql) = feature.tables else { continue };
        let created = writer.create_tables(&format!("{}_", feature.name.replace('-', "_")), sql);
        created.map_err(|why| StartError::Feature(feature.name, format!("its tables: {why}")))?;
    }
    Ok(())
}

fn check_name(name: &'static str, unique: bool) -> Result<(), StartError> {
    let word = |word: &str| {
        let letter = word.bytes().next().is_some_and(|b| b.is_ascii_lowercase());
        letter && word.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit())
    };
    let why = match unique {
        true if name.split('-').all(word) => return Ok(()),
        true => "a feature is called by words of lower-case letters and digits, with '-' between",
        false => "there is a feature of this name already",
    };
    Err(StartError::Feature(name, why.to_owned()))
}

impl FeatureSet {
    /// Opens the features of this crate, and joins them with `own`. Before anything can be asked. Error: what is stored
    /// of one cannot be read, or two do not go together.
    pub(super) fn open(context: &FeatureContext<'_>, own: Vec<Feature>) -> Result<Self, StartError> {
        let (mut set, mut names) = (Self::default(), BTreeSet::new());
        let shared = [engine::problems::PROBLEMS, jobs::problems::PROBLEMS, problem_types::SHARED];
        set.problems.extend(shared.into_iter().flatten());
        set.jobs.push(jobs::trim::trim_job());
        for definition in DEFINITIONS {
            let opened = (definition.open)(context, Feature::new(definition.name));
            set.add(opened.map_err(|error| StartError::Stored(definition.name, error.to_string()))?);
            names.insert(definition.name);
        }
        for feature in own {
            check_name(feature.name, names.insert(feature.name))?;
            set.check_routes(&feature)?;
            set.add(feature);
        }
        set.check_problems()?;
        Ok(set)
    }

    fn add(&mut self, feature: Feature) {
        let Feature { name, tables: _, routes, problems, hooks, jobs, tasks, close, parts } = feature;
        self.routes.extend(routes);
        self.problems.extend(problems);
        self.hooks.extend(hooks);
        jobs.into_iter().for_each(|job| self.add_job(job));
        self.tasks.extend(tasks);
        self.close.0.extend(close.into_iter().map(|close| (name, close)));
        self.parts.complete_with(parts);
    }

    /// Adds a job, in place of any other of its name.
    pub(super) fn add_job(&mut self, job: Job) {
        self.jobs.retain(|other| other.name != job.name);
        self.jobs.push(job);
    }

    /// Error: another feature has one of its calls.
    fn check_routes(&self, feature: &Feature) -> Result<(), StartError> {
        let mut pairs = self.routes.iter().flat_map(|known| feature.routes.iter().map(move |more| (known, more)));
        match pairs.find_map(|(known, more)| openapi::overlap(known, more)) {
            Some(why) => Err(StartError::Feature(feature.name, format!("its routes: {why}"))),
            None => Ok(()),
        }
    }

    /// Error: a problem type has the slug of another, or texts that no page can show.
    fn check_problems(&self) -> Result<(), StartError> {
        let mut slugs: BTreeSet<&str> = problem_types::GENERAL.iter().map(|general| general.slug).collect();
        for ProblemType { slug, title, meaning, remedy, .. } in &self.problems {
            let refuse = |why: &str| Err(StartError::Problem(slug, why.to_owned()));
            if slug.is_empty() || !slug.bytes().all(|c| c.is_ascii_lowercase() || c == b'-') {
                return refuse("a slug consists of lower-case letters and '-'");
            }
            if !slugs.insert(slug) {
                return refuse("another problem type has this slug");
            }
            if [title, meaning, remedy].iter().any(|text| text.is_empty() || text.contains(['<', '>', '&', '"'])) {
                return refuse("its texts must not be empty, nor have '<', '>', '&' or '\"'");
            }
        }
        Ok(())
    }

    /// Attaches what belongs to the engine and to presence.
    pub(super) fn attach(&mut self, options: &mut engine::Options, presence: &Presence) {
        options.hooks.append(&mut self.hooks);
        options.relocations = self.parts.relocations.take();
        if let Some(participants) = self.parts.participants.take() {
            presence.set_participants(participants);
        }
    }

    /// Everything that can be asked.
    pub(super) fn router(&mut self, deps: &MiddlewareDeps) -> Router<Api> {
        let problem_pages = problem_pages::routes(std::mem::take(&mut self.problems));
        let parts = std::iter::once(problem_pages).chain(std::mem::take(&mut self.routes));
        openapi::assemble(parts, deps.sessions.cookie())
    }

    /// What a request has to pass.
    pub(super) fn middleware_deps(&mut self, loopback_owner: bool) -> MiddlewareDeps {
        let loopback = if loopback_owner { Loopback::Owner } else { Loopback::Nobody };
        let ServerParts { sessions, rate_limiter, .. } = &mut self.parts;
        MiddlewareDeps {
            sessions: sessions.take().unwrap_or_else(|| Arc::new(NoSessions(SessionCookie::of_server("none")))),
            loopback,
            rate_limiter: rate_limiter.take().unwrap_or_else(|| Arc::new(NoRateLimit)),
        }
    }
}

impl StopSteps {
    /// Stores what is stored from time to time only. Where storage fails a little is given away at the next start.
    pub(super) async fn run(self) {
        for (name, close) in self.0 {
            if let Ok(Err(error)) = timeout(FINISH_TIMEOUT, close()).await {
                tracing::warn!(%error, "not everything of {name} is stored");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed unwrap fails the test")]
    use super::*;
    use crate::base::error::Kind;

    #[test]
    fn problem_types_have_slugs_of_their_own_and_texts_that_need_no_escaping() {
        static GOOD: ProblemType =
            ProblemType { slug: "odd-thing", kind: Kind::Rejected, title: "a", meaning: "b", remedy: "c" };
        static SLUG: ProblemType =
            ProblemType { slug: "Odd", kind: Kind::Rejected, title: "a", meaning: "b", remedy: "c" };
        static TEXT: ProblemType =
            ProblemType { slug: "odd-text", kind: Kind::Rejected, title: "a", meaning: "<b>", remedy: "c" };
        static KNOWN: ProblemType =
            ProblemType { slug: "not-found", kind: Kind::Rejected, title: "a", meaning: "b", remedy: "c" };
        let check = |problems: &[&'static ProblemType]| {
            FeatureSet { problems: problems.to_vec(), ..FeatureSet::default() }.check_problems()
        };
        check(&[&GOOD]).unwrap();
        for bad in [&[&SLUG][..], &[&TEXT], &[&KNOWN], &[&GOOD, &GOOD]] {
            assert!(matches!(check(bad), Err(StartError::Problem(..))), "{bad:?}");
        }
    }
}
