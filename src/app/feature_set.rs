//! The features of a server, joined: those of this crate and those of the program that embeds it.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;

use axum::Router;
use tokio::time::timeout;

use crate::app::{FINISH_TIMEOUT, StartError};
use crate::base::error::{Error, ProblemType};
use crate::base::ids::Collection;
use crate::base::options::FeatureOptions;
use crate::config::Config;
use crate::consumers::{self, Consumer};
use crate::engine;
use crate::engine::refusal::RESERVED_COLLECTION;
use crate::feature::memory_rows::MemoryRows;
use crate::feature::{Close, Feature, FeatureContext, ServerParts, Task};
use crate::features::{DEFINITIONS, RESERVED};
use crate::http::api::{Api, Routes};
use crate::http::request::caller::{Authenticators, Loopback, NoSessions};
use crate::http::request::cookie::SessionCookie;
use crate::http::request::origins::AllowedOrigins;
use crate::http::response::api_description::{self, ApiAdditions};
use crate::http::response::problem_pages;
use crate::http::response::problem_types;
use crate::http::server::middleware::MiddlewareDeps;
use crate::http::server::path_guard::{OpenPaths, PathGuard};
use crate::http::server::public_files::OwnPaths;
use crate::http::server::rate_limit::NoRateLimit;
use crate::jobs::{self, Job};
use crate::live::messages::MessageStore;
use crate::store::{self, Writer};

/// See the module.
#[derive(Default)]
pub(super) struct FeatureSet {
    pub routes: Vec<Routes>,
    pub problems: Vec<&'static ProblemType>,
    pub api: ApiAdditions,
    pub hooks: engine::Hooks,
    /// Each with its collections.
    pub consumers: Vec<(Consumer, Vec<Collection>)>,
    /// Words that no collection is called.
    reserved: BTreeSet<Collection>,
    open_paths: Vec<OpenPaths>,
    pub message_stores: Vec<Arc<dyn MessageStore>>,
    pub jobs: Vec<Job>,
    pub tasks: Vec<Task>,
    pub close: StopSteps,
    memory_rows: Vec<Arc<dyn MemoryRows>>,
    pub parts: ServerParts,
}

/// What features store at the stop.
#[derive(Default)]
pub(super) struct StopSteps(Vec<(&'static str, Close)>);

/// The collections whose new documents live in memory only.
pub(super) fn volatile_collections(options: &FeatureOptions) -> BTreeSet<Collection> {
    DEFINITIONS.iter().flat_map(|feature| (feature.volatile_collections)(options)).collect()
}

/// The folders of which nothing is served, wherever they are: the server's data and its backups.
pub(super) fn private_folders(config: &Config) -> Vec<PathBuf> {
    let backups = DEFINITIONS.iter().filter_map(|feature| feature.commands.backup_folder);
    let backups = backups.map(|folder| folder(&config.features, &config.data_dir));
    std::iter::once(config.data_dir.clone()).chain(backups).collect()
}

/// Makes the tables of the features that `schema.sql` does not have. Error: it does not work, or one makes what another
/// has.
pub(super) fn create_tables(features: &[Feature], writer: &Writer) -> Result<(), StartError> {
    let created = writer.create_tables("consumers", consumers::TABLES);
    created.map_err(|why| StartError::Feature("consumers", format!("its tables: {why}")))?;
    for definition in DEFINITIONS {
        let Some(sql) = definition.tables else { continue };
        let created = writer.create_tables("", sql);
        created.map_err(|why| StartError::Feature(definition.name, format!("its tables: {why}")))?;
    }
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
        let shared = [engine::problems::PROBLEMS, jobs::problems::PROBLEMS, store::PROBLEMS];
        set.problems.extend(shared.into_iter().flatten());
        set.jobs.push(jobs::trim::trim_job());
        set.reserve("server", RESERVED)?;
        set.open_paths.push(OpenPaths { to_all: &["/problems"], to_credentials: &[] });
        for definition in DEFINITIONS {
            let opened = (definition.open)(context, Feature::new(definition.name));
            set.add(opened.map_err(|error| StartError::Stored(definition.name, error.to_string()))?)?;
            names.insert(definition.name);
        }
        for feature in own {
            check_name(feature.name, names.insert(feature.name))?;
            set.check_routes(&feature)?;
            set.add(feature)?;
        }
        for name in context.rules.keys() {
            if set.reserved.iter().any(|reserved| reserved.as_str() == name) {
                return Err(StartError::Rules(name.clone(), RESERVED_COLLECTION.to_owned()));
            }
        }
        set.check_problems()?;
        // Nobody else sets it.
        let _ = context.memory_rows.set(std::mem::take(&mut set.memory_rows));
        Ok(set)
    }

    /// Error: a word that it reserves cannot be a collection's name anyhow.
    fn add(&mut self, feature: Feature) -> Result<(), StartError> {
        let Feature { name, tables: _, routes, problems, api, reserved, open_paths, hooks, .. } = feature;
        let Feature { consumers, message_stores, jobs, tasks, close, memory_rows, parts, .. } = feature;
        self.reserve(name, reserved)?;
        self.open_paths.push(open_paths);
        self.routes.extend(routes);
        self.problems.extend(problems);
        self.api.extend(api);
        self.hooks.extend(hooks);
        for consumer in consumers {
            self.add_consumer(name, consumer)?;
        }
        self.message_stores.extend(message_stores);
        jobs.into_iter().for_each(|job| self.add_job(job));
        self.tasks.extend(tasks);
        self.close.0.extend(close.into_iter().map(|close| (name, close)));
        self.memory_rows.extend(memory_rows);
        self.parts.complete_with(parts);
        Ok(())
    }

    fn reserve(&mut self, feature: &'static str, words: &[&str]) -> Result<(), StartError> {
        for word in words {
            let why = |error: Error| StartError::Feature(feature, format!("it reserves '{word}': {}", error.message()));
            self.reserved.insert(Collection::new(word).map_err(why)?);
        }
        Ok(())
    }

    /// Error: it is not as it should be, or there is one of its name.
    fn add_consumer(&mut self, feature: &'static str, consumer: Consumer) -> Result<(), StartError> {
        let collections = match consumer.check() {
            Ok(_) if self.consumers.iter().any(|(other, _)| other.name == consumer.name) => {
                Err("is there already".to_owned())
            }
            checked => checked,
        };
        let refused = |why| StartError::Feature(feature, format!("its consumer '{}' {why}", consumer.name));
        let collections = collections.map_err(refused)?;
        self.consumers.push((consumer, collections));
        Ok(())
    }

    /// Adds a job, in place of any other of its name.
    pub(super) fn add_job(&mut self, job: Job) {
        self.jobs.retain(|other| other.name != job.name);
        self.jobs.push(job);
    }

    /// Error: another feature has one of its calls.
    fn check_routes(&self, feature: &Feature) -> Result<(), StartError> {
        let mut pairs = self.routes.iter().flat_map(|known| feature.routes.iter().map(move |more| (known, more)));
        match pairs.find_map(|(known, more)| api_description::overlap(known, more)) {
            Some(why) => Err(StartError::Feature(feature.name, format!("its routes: {why}"))),
            None => Ok(()),
        }
    }

    /// Error: a problem type has the slug of another, or texts that no page can show.
    fn check_problems(&self) -> Result<(), StartError> {
        let mut slugs: BTreeSet<&str> = problem_types::all().map(|general| general.slug).collect();
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

    /// Attaches what belongs to the engine, to streams, to presence, and to other features.
    pub(super) fn attach(&mut self, options: &mut engine::EngineOptions, api: &Api) {
        options.hooks.append(&mut self.hooks);
        options.reserved_collections.extend(self.reserved.iter().cloned());
        api.reads.hub.set_message_stores(std::mem::take(&mut self.message_stores));
        options.relocations = self.parts.relocations.take();
        self.api.relocation = options.relocations.as_ref().map(|store| store.problems()).unwrap_or_default();
        if let Some(participants) = self.parts.participants.take() {
            api.presence.set_participants(participants);
        }
        let ServerParts { session_opener, places, document_remover, .. } = &mut self.parts;
        api.providers.set(session_opener.take(), places.take(), document_remover.take());
    }

    /// Everything that can be asked.
    pub(super) fn router(&mut self, deps: &MiddlewareDeps) -> Router<Api> {
        let problem_pages = problem_pages::routes(std::mem::take(&mut self.problems));
        let parts = std::iter::once(problem_pages).chain(std::mem::take(&mut self.routes));
        api_description::assemble(parts, std::mem::take(&mut self.api), deps.authenticators.sessions.cookie())
    }

    /// What a request has to pass.
    pub(super) fn middleware_deps(&mut self, config: &Config) -> MiddlewareDeps {
        let loopback = if config.loopback_owner { Loopback::Owner } else { Loopback::Nobody };
        let own_paths = OwnPaths::new(self.routes.iter().flat_map(api_description::paths));
        let ServerParts { sessions, service_tokens, rate_limiter, relocation_paths, public_files, .. } =
            &mut self.parts;
        let sessions = sessions.take().unwrap_or_else(|| Arc::new(NoSessions(SessionCookie::of_server("none"))));
        let (open, reserved) = (std::mem::take(&mut self.open_paths), std::mem::take(&mut self.reserved));
        let path_guard =
            PathGuard::new(own_paths.clone(), public_files.is_none(), open).with_documents(reserved, *relocation_paths);
        MiddlewareDeps {
            path_guard,
            public_files: public_files.take().map(|files| (own_paths, files)),
            authenticators: Authenticators { sessions, service_tokens: service_tokens.take() },
            loopback,
            allowed_origins: AllowedOrigins::new(&config.allowed_origins),
            rate_limiter: rate_limiter.take().unwrap_or_else(|| Arc::new(NoRateLimit)),
            relocation_paths: *relocation_paths,
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
