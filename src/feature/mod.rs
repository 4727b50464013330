//! Rank 5: what a feature hands the server: one [`Feature`].
//!
//! The features of this crate are made by a [`FeatureDefinition`] each, once what they are made from is there
//! ([`FeatureContext`]); those of a program that embeds the server are handed to its
//! [`Builder`](crate::Builder::feature) ready-made. From then on both are the same.

pub(crate) mod memory_rows;

use std::collections::{BTreeMap, HashMap};
use std::future::Future;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use futures_util::future::BoxFuture;

use crate::base::clock::Timestamp;
use crate::base::entropy::Entropy;
use crate::base::error::{ProblemType, Result};
use crate::base::ids::Collection;
use crate::base::options::{AnyOptionSet, FeatureOptions, OptionSet};
use crate::consumers::Consumer;
use crate::consumers::runner::ConsumersHandle;
use crate::document::rules::Rules;
use crate::engine::hooks::{DocumentHook, RelocationStore};
use crate::feature::memory_rows::{MemoryRows, MemoryRowsRegistry};
use crate::http::api::{Api, Routes, ToSchema};
use crate::http::providers::{DocumentRemover, PlaceProvider, SessionOpener};
use crate::http::request::caller::{ServiceTokens, Sessions};
use crate::http::response::api_description::ApiAdditions;
use crate::http::response::relocation::RelocationPaths;
use crate::http::server::path_guard::OpenPaths;
use crate::http::server::public_files::PublicFiles;
use crate::http::server::rate_limit::RateLimiter;
use crate::jobs::Job;
use crate::jobs::runner::RunnerHandle;
use crate::live::messages::MessageStore;
use crate::live::presence::Participants;
use crate::store::{Connection, HistoryRetention, Reader};

/// Runs for as long as the server does, and is dropped when it has stopped.
pub(crate) type Task = Box<dyn FnOnce(Api) -> BoxFuture<'static, ()> + Send>;
/// Stores at the stop what is stored from time to time only.
pub(crate) type Close = Box<dyn FnOnce() -> BoxFuture<'static, Result<()>> + Send + Sync>;

/// A capability of the server: everything that it consists of, in one value. `examples/highscores` has each part.
///
/// ```
/// use rejoin::axum::extract::State;
/// use rejoin::utoipa_axum::routes;
/// use rejoin::{Api, Caller, Feature, HandlerResult, Json, Kind, ProblemType, Routes, Server, sql_error, utoipa};
///
/// static TOO_MANY_CLAPS: ProblemType = ProblemType {
///     slug: "too-many-claps",
///     kind: Kind::Rejected,
///     title: "Nobody claps as often as this",
///     meaning: "There are as many claps as there may be.",
///     remedy: "Clap for something else.",
/// };
///
/// /// Clap
/// #[utoipa::path(post, path = "/api/v1/claps", responses((status = 200, description = "All claps.", body = i64)))]
/// async fn clap(State(api): State<Api>, _: Caller) -> HandlerResult<Json<i64>> {
///     let sql = "INSERT INTO claps_each DEFAULT VALUES RETURNING number";
///     let all = api.write_rows(|conn, _| {
///         let number: i64 = conn.query_row(sql, (), |row| row.get(0)).map_err(sql_error)?;
///         if number > 1000 { Err(TOO_MANY_CLAPS.error("a thousand is enough")) } else { Ok(number) }
///     });
///     Ok(Json(all.await?))
/// }
///
/// let claps = Feature::new("claps")
///     .tables("CREATE TABLE IF NOT EXISTS claps_each (number INTEGER PRIMARY KEY) STRICT")
///     .routes(Routes::new().routes(routes!(clap)))
///     .problem(&TOO_MANY_CLAPS);
/// let builder = Server::builder().feature(claps);
/// # let _ = builder;
/// ```
pub struct Feature {
    pub(crate) name: &'static str,
    pub(crate) tables: Option<&'static str>,
    pub(crate) routes: Vec<Routes>,
    pub(crate) problems: Vec<&'static ProblemType>,
    pub(crate) api: ApiAdditions,
    pub(crate) reserved: &'static [&'static str],
    pub(crate) open_paths: OpenPaths,
    pub(crate) hooks: Vec<Arc<dyn DocumentHook>>,
    pub(crate) consumers: Vec<Consumer>,
    pub(crate) message_stores: Vec<Arc<dyn MessageStore>>,
    pub(crate) jobs: Vec<Job>,
    pub(crate) tasks: Vec<Task>,
    pub(crate) close: Vec<Close>,
    pub(crate) memory_rows: Vec<Arc<dyn MemoryRows>>,
    pub(crate) parts: ServerParts,
}

/// What a server has once, and one of its features provides. Of several that do, the first is taken.
#[derive(Default)]
pub(crate) struct ServerParts {
    /// Knows the sessions that requests show.
    pub sessions: Option<Arc<dyn Sessions>>,
    /// Opens sessions for other features.
    pub session_opener: Option<Arc<dyn SessionOpener>>,
    /// Gives people their places in documents.
    pub places: Option<Arc<dyn PlaceProvider>>,
    /// Deletes documents of a collection with what belongs to them.
    pub document_remover: Option<Arc<dyn DocumentRemover>>,
    /// Knows the tokens of scripts and bots.
    pub service_tokens: Option<Arc<dyn ServiceTokens>>,
    /// Says how much each may ask.
    pub rate_limiter: Option<Arc<dyn RateLimiter>>,
    /// Tells who belongs to a document, connected or not.
    pub participants: Option<Arc<dyn Participants>>,
    /// Has stored which documents are frozen or have moved.
    pub relocations: Option<Arc<dyn RelocationStore>>,
    /// The calls about those.
    pub relocation_paths: Option<RelocationPaths>,
    /// Path and query of a link that makes an administrator of who opens it first.
    pub administrator_link: Option<String>,
    /// Answers paths that are none of the server's own.
    pub public_files: Option<PublicFiles>,
}

impl ServerParts {
    /// Takes from `other` what is not there yet.
    pub(crate) fn complete_with(&mut self, other: Self) {
        let Self {
            sessions,
            session_opener,
            places,
            document_remover,
            service_tokens,
            rate_limiter,
            participants,
            relocations,
            relocation_paths,
            administrator_link,
            public_files,
        } = other;
        self.sessions = self.sessions.take().or(sessions);
        self.session_opener = self.session_opener.take().or(session_opener);
        self.places = self.places.take().or(places);
        self.document_remover = self.document_remover.take().or(document_remover);
        self.service_tokens = self.service_tokens.take().or(service_tokens);
        self.rate_limiter = self.rate_limiter.take().or(rate_limiter);
        self.participants = self.participants.take().or(participants);
        self.relocations = self.relocations.take().or(relocations);
        self.relocation_paths = self.relocation_paths.or(relocation_paths);
        self.administrator_link = self.administrator_link.take().or(administrator_link);
        self.public_files = self.public_files.take().or(public_files);
    }
}

impl Feature {
    /// A feature that consists of nothing yet. `name` is lower-case words with '-' between; it appears in the log and
    /// in start errors, and begins the names of its tables.
    #[must_use]
    pub fn new(name: &'static str) -> Self {
        Self {
            name,
            tables: None,
            routes: Vec::new(),
            problems: Vec::new(),
            api: ApiAdditions::default(),
            reserved: &[],
            open_paths: OpenPaths::default(),
            hooks: Vec::new(),
            consumers: Vec::new(),
            message_stores: Vec::new(),
            jobs: Vec::new(),
            tasks: Vec::new(),
            close: Vec::new(),
            memory_rows: Vec::new(),
            parts: ServerParts::default(),
        }
    }

    /// Sets the SQL that makes its tables. It runs at each start, so it says `IF NOT EXISTS`. The names of tables and
    /// indexes begin with the feature's name and `_`, with `_` for `-`. A row that belongs to a document has
    /// its [key](crate::Change::document_key) and goes in [`DocumentHook::document_removed`]. Handlers reach the tables
    /// by [`DataAccess::read_rows`](crate::DataAccess::read_rows) and
    /// [`DataAccess::write_rows`](crate::DataAccess::write_rows), which [`Api`](crate::Api) leads to.
    ///
    /// The rows of a table with a column `mac TEXT` are compared: the server writes into it a keyed checksum of the
    /// table's name and the row's other columns, and reconciliation tells a row which somebody else has written or
    /// changed. Leave the column out of statements. A query that is not to trust such a row has the condition
    /// `mac_matches(mac, 'table', every, other, column)`, in the order of the table.
    #[must_use]
    pub fn tables(mut self, sql: &'static str) -> Self {
        self.tables = Some(sql);
        self
    }

    /// Adds calls. They are described in `/openapi.json`. A path of which another feature has the same methods is
    /// refused at the start; one that begins with `/api/v1/` and a word that is no collection's
    /// [reserves](Self::reserves) the word, since it hides documents.
    #[must_use]
    pub fn routes(mut self, routes: Routes) -> Self {
        self.routes.push(routes);
        self
    }

    /// Sets words that no collection is called, since its calls are at `/api/v1/<word>`: no document is created there.
    /// One that is there already can be read and changed, by its own path as far as no call has it, and in streams and
    /// batches.
    #[must_use]
    pub fn reserves(mut self, words: &'static [&'static str]) -> Self {
        self.reserved = words;
        self
    }

    /// Sets the paths, each with all that is below it, that are open to whoever can reach the server. Without this a
    /// caller of another network who shows no session is refused before the handler.
    #[must_use]
    pub fn open_to_all(mut self, paths: &'static [&'static str]) -> Self {
        self.open_paths.to_all = paths;
        self
    }

    /// Sets the paths that are open to every session and service token, also to one that reaches some documents only;
    /// one that ends with `/` stands for all that is below it, but for `/` itself.
    /// The paths of those documents are; what else there is is refused to it before the handler.
    #[must_use]
    pub fn open_to_credentials(mut self, paths: &'static [&'static str]) -> Self {
        self.open_paths.to_credentials = paths;
        self
    }

    /// Adds a problem type, which gets a page: `/problems/<slug>`.
    #[must_use]
    pub fn problem(mut self, problem: &'static ProblemType) -> Self {
        self.problems.push(problem);
        self
    }

    /// Adds a problem type, as [`problem`](Self::problem), with which its [hook](Self::hook) refuses changes:
    /// `/openapi.json` lists it at each call that changes documents.
    #[must_use]
    pub fn change_problem(mut self, problem: &'static ProblemType) -> Self {
        self.api.change_problems.push(problem);
        self.problem(problem)
    }

    /// Adds the members that its problems have, besides those of every problem, to the schema `Problem`. `T` is a
    /// struct with a field each.
    #[must_use]
    pub fn problem_members<T: ToSchema>(mut self) -> Self {
        self.api.problem_members.push(T::schema());
        self
    }

    /// Describes a tag that its calls have, in `/openapi.json`.
    #[must_use]
    pub fn tag(mut self, name: &'static str, description: &'static str) -> Self {
        self.api.add_tag(name, description);
        self
    }

    #[must_use]
    pub(crate) fn problems(mut self, problems: &'static [&'static ProblemType]) -> Self {
        self.problems.extend(problems);
        self
    }

    /// Adds what the engine does with documents for it.
    #[must_use]
    pub fn hook(mut self, hook: impl DocumentHook + 'static) -> Self {
        self.hooks.push(Arc::new(hook));
        self
    }

    /// Adds what reads the log behind the changes, from a place that it keeps.
    #[must_use]
    pub fn consumer(mut self, consumer: Consumer) -> Self {
        self.consumers.push(consumer);
        self
    }

    /// Adds who has stored messages that its hooks have sent to viewers.
    #[must_use]
    pub(crate) fn message_store(mut self, store: Arc<dyn MessageStore>) -> Self {
        self.message_stores.push(store);
        self
    }

    /// Adds a job, which the server runs at its times. One with a name that is there already takes its place.
    #[must_use]
    pub fn job(mut self, job: Job) -> Self {
        self.jobs.push(job);
        self
    }

    /// Adds something that goes on for as long as the server runs. It is dropped when the server has stopped.
    #[must_use]
    pub fn task<F>(mut self, run: impl FnOnce(Api) -> F + Send + 'static) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        self.tasks.push(Box::new(move |api| Box::pin(run(api))));
        self
    }

    /// Adds what is to be stored at the stop, after the last request and before the engine ends.
    #[must_use]
    pub(crate) fn close<F>(mut self, store: impl FnOnce() -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Result<()>> + Send + 'static,
    {
        self.close.push(Box::new(move || Box::pin(store())));
        self
    }

    /// Adds a table of which memory has all rows: both are compared.
    #[must_use]
    pub(crate) fn memory_rows(mut self, rows: impl MemoryRows + 'static) -> Self {
        self.memory_rows.push(Arc::new(rows));
        self
    }

    /// Provides parts that the server has once.
    #[must_use]
    pub(crate) fn provides(mut self, parts: ServerParts) -> Self {
        self.parts.complete_with(parts);
        self
    }
}

/// What a feature of this crate is made from.
pub(crate) struct FeatureContext<'a> {
    pub api: &'a Api,
    pub reader: &'a Reader,
    pub options: &'a FeatureOptions,
    /// The way to the jobs of all features.
    pub jobs: &'a RunnerHandle,
    /// The way to the consumers of all features.
    pub consumers: &'a ConsumersHandle,
    /// The rows of all features that memory has, too.
    pub memory_rows: MemoryRowsRegistry,
    pub data_dir: &'a Path,
    /// The folder whose files are served at `/`.
    pub public: Option<&'a Path>,
    /// Folders of which nothing is served, wherever they are: the data directory and that of backups.
    pub private_folders: Vec<PathBuf>,
    /// Whether requests from this machine are its owner's.
    pub loopback_owner: bool,
    /// The flags in force, by name.
    pub flags: BTreeMap<String, bool>,
    /// How much of the past is kept.
    pub history: HistoryRetention,
    /// The rules, by collection.
    pub rules: &'a HashMap<String, Arc<dyn Rules>>,
}

/// A feature of this crate, before there is a server.
#[derive(Clone, Copy)]
pub(crate) struct FeatureDefinition {
    pub name: &'static str,
    /// Its options at their defaults.
    pub options: Option<fn() -> Box<dyn AnyOptionSet>>,
    /// The SQL that makes its tables where a file does not have them yet, each `IF NOT EXISTS`.
    pub tables: Option<&'static str>,
    /// The collections whose new documents live in memory only, as its options have it.
    pub volatile_collections: fn(&FeatureOptions) -> Vec<Collection>,
    pub commands: CommandParts,
    /// Fills an empty feature of this name. Error: what is stored of it cannot be read.
    pub open: fn(&FeatureContext<'_>, Feature) -> Result<Feature>,
}

/// Makes a link: for the server of a data directory, at a time.
type CreateLink = fn(&Path, &dyn Entropy, Timestamp) -> io::Result<String>;
/// Changes the restored database, given the one that it replaces.
type EndAsIn = fn(&Connection, Option<&Connection>, Timestamp) -> Result<usize>;

/// What commands of the program need of a feature, whether or not a server runs.
#[derive(Clone, Copy)]
pub(crate) struct CommandParts {
    /// Makes a link that makes an administrator of whoever opens it first, for the server of a data directory. Returns
    /// its path and query. Error: the directory takes no file.
    pub administrator_link: Option<CreateLink>,
    /// Ends in a restored database what is not good any more in the one that it replaces; `None`: that one cannot be
    /// read. Returns how much.
    pub end_as_in: Option<EndAsIn>,
    /// Where backups of the server of a data directory are.
    pub backup_folder: Option<fn(&FeatureOptions, &Path) -> PathBuf>,
}

impl CommandParts {
    pub(crate) const NONE: Self = Self { administrator_link: None, end_as_in: None, backup_folder: None };
}

impl FeatureDefinition {
    pub(crate) const fn new(name: &'static str, open: fn(&FeatureContext<'_>, Feature) -> Result<Feature>) -> Self {
        Self {
            name,
            options: None,
            tables: None,
            volatile_collections: |_| Vec::new(),
            commands: CommandParts::NONE,
            open,
        }
    }

    pub(crate) const fn with_options<S: OptionSet>(self) -> Self {
        Self { options: Some(|| Box::new(S::default())), ..self }
    }

    pub(crate) const fn with_commands(self, commands: CommandParts) -> Self {
        Self { commands, ..self }
    }

    pub(crate) const fn with_tables(self, sql: &'static str) -> Self {
        Self { tables: Some(sql), ..self }
    }
}
