//! Rank 7: the wiring, on one screen. The start goes from the file to the listener, the stop the other way round. What
//! each component is told is in `options`; `feature_set` joins the features.

mod feature_set;
mod options;
pub(crate) mod process_limits;

use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval, timeout};
use tokio_util::sync::CancellationToken;

use crate::base::clock::{Clock, SystemClock};
use crate::base::clock_trust::ClockTrust;
use crate::base::entropy::{Entropy, SystemEntropy};
use crate::base::ids::Seq;
use crate::config::{self, Config, ConfigError, ProgramName};
use crate::consumers::runner::{ConsumerRunner, ConsumersHandle};
use crate::document::rules::Rules;
use crate::engine::actor::{Ending, EngineActor, TICK};
use crate::engine::data::DataAccess;
use crate::engine::handle::{self, Engine};
use crate::engine::health::Health;
use crate::engine::read::Reads;
use crate::engine::request::CommandQueue;
use crate::feature::memory_rows::MemoryRowsRegistry;
use crate::feature::{Feature, FeatureContext, Task};
use crate::features::built_in_rules;
use crate::http::api::{Api, ApiParts};
use crate::http::concurrency::ConcurrencyLimit;
use crate::http::providers::Providers;
use crate::http::request::body::BodyLimits;
use crate::http::server::admission::Admission;
use crate::http::server::connection::{ServerOptions, serve};
use crate::http::server::listener_manager::ListenerManager;
use crate::http::server::listener_set::{ListenerSet, OpenListeners, listening_addresses};
use crate::http::server::middleware::Middleware;
use crate::jobs::runner::{Runner, RunnerHandle};
use crate::jobs::{self, Job, scheduler};
use crate::live::display_names::DisplayNames;
use crate::live::hub::Hub;
use crate::live::presence::Presence;
use crate::store::{self, MemoryStore, OpenError, Reader, Synchronous};
use crate::tailnet::authenticator::Authenticator;
use crate::tailnet::client::LocalApi;

use feature_set::{FeatureSet, StopSteps, create_tables, private_folders};
use options::{bounds, engine_options, history, listen_options, policy, store_options};

/// Documents that are counted at the start, so that it does not take longer the more there are.
const DOCUMENTS_COUNTED_MAX: usize = 10_000;
/// How long the engine may take at the end to store what there is.
const FINISH_TIMEOUT: Duration = Duration::from_secs(30);

/// What the process exits with when what is stored of a feature is damaged: as for any damage.
const DAMAGED_EXIT_CODE: u8 = 14;

/// A running server. Dropped without [`stop`](Server::stop), it breaks off all connections at once; the engine then
/// stores what it has taken and ends by itself.
pub struct Server {
    open: watch::Receiver<OpenListeners>,
    /// What was waited for when it started; empty: nothing.
    waiting: String,
    data_dir: PathBuf,
    /// What was in the database when it was opened.
    contents: String,
    engine: Engine,
    finished: watch::Receiver<Option<Ending>>,
    /// The listener and its connections. Ends by itself once told to stop.
    serving: JoinSet<()>,
    /// What features have to store at the end.
    closing: StopSteps,
    administrator_link: Option<String>,
    /// What goes on for as long as there is a server.
    _tasks: JoinSet<()>,
    stop: CancellationToken,
}

/// What a server is made of.
///
/// ```no_run
/// use rejoin::{Config, Server};
///
/// # async fn serve() -> Result<(), rejoin::StartError> {
/// let server = Server::builder().config(Config::default()).start().await?;
/// println!("listening on {}", server.local_addr());
/// server.stop().await;
/// # Ok(())
/// # }
/// ```
pub struct Builder {
    config: Config,
    rules: HashMap<String, Arc<dyn Rules>>,
    features: Vec<Feature>,
    jobs: Vec<Job>,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
    synchronous: Synchronous,
    program: ProgramName,
}

/// Why a server did not start. One line each.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The configuration does not hold together.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// Rules for what is not a collection.
    #[error("rules for '{0}': {1}")]
    Rules(String, String),
    /// Storage cannot be opened.
    #[error(transparent)]
    Storage(#[from] OpenError),
    /// What is stored of a feature cannot be read.
    #[error("the tables of {0} cannot be read: {1}")]
    Stored(&'static str, String),
    /// A feature does not go together with the others.
    #[error("the feature '{0}': {1}")]
    Feature(&'static str, String),
    /// A problem type of a feature that cannot be shown.
    #[error("the problem type '{0}': {1}")]
    Problem(&'static str, String),
    /// The address is not to be had.
    #[error("cannot listen on {0}: {1}; --port or --listen choose another address")]
    Listen(SocketAddr, std::io::Error),
    /// No thread for the engine.
    #[error("cannot start the engine's thread: {0}")]
    Thread(std::io::Error),
}

impl StartError {
    /// What the process exits with: 2 configuration, 3 listen address, 4 no thread, 10 to 16 storage (14 also for
    /// the tables of features).
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Config(_) | Self::Rules(..) | Self::Feature(..) | Self::Problem(..) => config::EXIT_CODE,
            Self::Listen(..) => 3,
            Self::Thread(_) => 4,
            Self::Stored(..) => DAMAGED_EXIT_CODE,
            Self::Storage(error) => error.exit_code(),
        }
    }
}

impl Builder {
    /// Sets the configuration.
    #[must_use]
    pub fn config(mut self, config: Config) -> Self {
        self.config = config;
        self
    }

    /// Puts `rules` in charge of a collection, in place of those that the server has for it.
    #[must_use]
    pub fn rules(mut self, collection: &str, rules: impl Rules) -> Self {
        self.rules.insert(collection.to_owned(), Arc::new(rules));
        self
    }

    /// Adds a feature: tables, calls, problems, what the engine does with documents, jobs and tasks.
    #[must_use]
    pub fn feature(mut self, feature: Feature) -> Self {
        self.features.push(feature);
        self
    }

    /// Adds a job, which the server runs at its times. One with a name that is there already takes its place.
    #[must_use]
    pub fn job(mut self, job: Job) -> Self {
        self.jobs.push(job);
        self
    }

    /// Sets what the program is called in its help and `--version`, and when it starts.
    #[must_use]
    pub fn name(mut self, name: &'static str) -> Self {
        self.program.name = name;
        self
    }

    /// Sets the program's version; the default is that of this crate.
    #[must_use]
    pub fn version(mut self, version: &'static str) -> Self {
        self.program.version = version;
        self
    }

    pub(crate) fn program_name(&self) -> ProgramName {
        self.program
    }

    /// Sets where time comes from.
    #[must_use]
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// Sets where randomness comes from.
    #[must_use]
    pub fn entropy(mut self, entropy: Arc<dyn Entropy>) -> Self {
        self.entropy = entropy;
        self
    }

    /// Starts: storage, engine, listener, in this order, so that whoever connects finds everything there.
    pub async fn start(self) -> Result<Server, StartError> {
        self.config.check_start()?;
        let config = self.config;
        let mut options = engine_options(&config, self.rules.clone(), &self.clock, &self.entropy)?;
        // The addresses first: a second server on them must not touch the file.
        let (authenticator, listeners) = open_listeners(&config, &self.entropy).await?;
        let (open, waiting) = (listeners.subscribe(), listeners.missing_summary().to_owned());
        let (mut writer, reader) = store::open(store_options(&config, self.synchronous))?;
        create_tables(&self.features, &writer)?;
        let vanished = writer.begin_run(&options.volatile.collections)?;
        let head = writer.head();
        let hub = Arc::new(Hub::new((head.seq, head.hash), options.ring));
        let (engine, commands) = handle::channel();
        // Before anything is read that may be revoked.
        commands.restore_revocations(writer.revocation_journal().1);
        let trust = clock_trust(&self.clock, &reader)?;
        options.clock_trust = Some(Arc::clone(&trust));
        let reads = Reads::new(Arc::clone(&hub), reader.clone(), engine.clone(), vanished);
        let (stop, names) = (CancellationToken::new(), Arc::<DisplayNames>::default());
        let debounce = config.presence_debounce;
        let presence = Presence::new(Arc::clone(&hub), Arc::clone(&self.clock), debounce, Arc::clone(&names));
        let api = Api(Arc::new(ApiParts {
            memory: Arc::new(MemoryStore::open()?),
            names,
            providers: Providers::default(),
            listening: listening_addresses(open.clone()),
            presence,
            data: DataAccess { engine: engine.clone(), reads, clock: Arc::clone(&self.clock) },
            health: Arc::new(Health::default()),
            clock_trust: Arc::clone(&trust),
            entropy: self.entropy,
            body: BodyLimits { bytes_max: config.body_bytes_max, depth_max: config.depth_max },
            state: bounds(&config),
            streams: ConcurrencyLimit::new(config.streams_per_user_max),
            heartbeat: config.heartbeat,
            stop: stop.clone(),
        }));
        let ((runner, jobs), consumers) =
            (Runner::new(api.data.clone(), trust), ConsumersHandle::new(api.data.clone()));
        let context = context(&config, &api, &reader, (&jobs, &consumers), &self.rules);
        let mut features = FeatureSet::open(&context, self.features)?;
        self.jobs.into_iter().for_each(|job| features.add_job(job));
        features.attach(&mut options, &api);
        let actor = EngineActor::new(options, writer, reader.clone(), Arc::clone(&hub), Arc::clone(&api.health));
        // Nothing of ours runs yet, so that whoever is told why it did not start is told nothing else.
        let finished = spawn_engine(actor, commands)?;
        let middleware = Arc::new(middleware(&mut features, &config, &api));
        let admission = Admission::new(authenticator, config.connections_per_user_max, config.tailnet_recheck);
        let FeatureSet { jobs: all_jobs, tasks: of_features, close, parts, consumers: readers, .. } = features;
        let jobs = (runner.with_jobs(all_jobs), jobs.clone());
        let mut tasks = background_tasks(&api, jobs, consumers.set(readers), of_features);
        tasks.spawn(listeners.follow(stop.clone()));
        tasks.spawn(publish_addresses(reader.clone(), open.clone()));
        let mut serving = JoinSet::new();
        let (listening, server) = (ListenerSet::new(open.clone()), server_options(&config));
        serving.spawn(serve(listening, admission, middleware, server, stop.clone()));
        Ok(Server {
            open,
            waiting,
            data_dir: config.data_dir,
            contents: describe_contents(head.seq, &reader),
            engine,
            finished,
            serving,
            closing: close,
            administrator_link: parts.administrator_link,
            _tasks: tasks,
            stop,
        })
    }
}

/// What a request has to pass, and what answers it then.
fn middleware(features: &mut FeatureSet, config: &Config, api: &Api) -> Middleware {
    let deps = features.middleware_deps(config);
    let router = features.router(&deps).with_state(api.clone());
    Middleware::new(router, deps, api.reads.clone(), api.now())
}

/// Opens what can be listened on now. Error: `Listen`.
async fn open_listeners(
    config: &Config,
    entropy: &Arc<dyn Entropy>,
) -> Result<(Arc<Authenticator>, ListenerManager), StartError> {
    let authenticator = Arc::new(Authenticator::new(LocalApi::new(&config.tailscaled_socket), policy(config)));
    let opened = ListenerManager::open(listen_options(config), Arc::clone(&authenticator), Arc::clone(entropy)).await;
    let listeners = opened.map_err(|(address, error)| StartError::Listen(address, error))?;
    Ok((authenticator, listeners))
}

/// What features of this crate are made from.
fn context<'a>(
    config: &'a Config,
    api: &'a Api,
    reader: &'a Reader,
    (jobs, consumers): (&'a RunnerHandle, &'a ConsumersHandle),
    rules: &'a HashMap<String, Arc<dyn Rules>>,
) -> FeatureContext<'a> {
    FeatureContext {
        api,
        reader,
        options: &config.features,
        jobs,
        consumers,
        memory_rows: MemoryRowsRegistry::default(),
        data_dir: &config.data_dir,
        public: config.public.as_deref(),
        private_folders: private_folders(config),
        loopback_owner: config.loopback_owner,
        flags: config.flags(),
        history: history(config),
        rules,
    }
}

/// What goes on for as long as there is a server, with the tasks of features.
fn background_tasks(
    api: &Api,
    (runner, jobs): (Runner, RunnerHandle),
    consumers: Vec<ConsumerRunner>,
    of_features: Vec<Task>,
) -> JoinSet<()> {
    let mut tasks = JoinSet::new();
    tasks.spawn(Arc::clone(&api.reads.hub).fan_out());
    tasks.spawn(Arc::clone(&api.presence).run());
    tasks.spawn(tick(api.engine.clone()));
    tasks.spawn(runner.run());
    tasks.spawn(scheduler::run(jobs, Arc::clone(&api.clock_trust)));
    consumers.into_iter().for_each(|consumer| drop(tasks.spawn(consumer.run())));
    of_features.into_iter().for_each(|task| drop(tasks.spawn(task(api.clone()))));
    tasks
}

/// Starts the engine's thread, once it knows which documents are moved. What is returned tells how it ended.
fn spawn_engine(actor: EngineActor, commands: CommandQueue) -> Result<watch::Receiver<Option<Ending>>, StartError> {
    let restored = actor.restore_relocations();
    let actor = restored.map_err(|error| StartError::Stored("relocations", error.to_string()))?;
    let (done, finished) = watch::channel(None);
    let run = move || {
        let _ = done.send(Some(actor.run(commands)));
    };
    thread::Builder::new().name("rejoin-engine".to_owned()).spawn(run).map_err(StartError::Thread)?;
    Ok(finished)
}

/// What a database holds whose newest event is at `head`. A database that cannot be read is told by whoever reads it.
fn describe_contents(head: Seq, reader: &Reader) -> String {
    match reader.documents_count(DOCUMENTS_COUNTED_MAX + 1) {
        Ok(0) if head == Seq::ZERO => "new database".to_owned(),
        Ok(1) => "1 document".to_owned(),
        Ok(count) if count > DOCUMENTS_COUNTED_MAX => format!("more than {DOCUMENTS_COUNTED_MAX} documents"),
        Ok(count) => format!("{count} documents"),
        Err(_) => "not readable".to_owned(),
    }
}

/// Whether the clock is believed, after what is stored.
fn clock_trust(clock: &Arc<dyn Clock>, reader: &Reader) -> Result<Arc<ClockTrust>, StartError> {
    let stored = reader.rows(jobs::sql::last_times);
    let stored = stored.map_err(|error| StartError::Stored("jobs", error.to_string()))?;
    Ok(Arc::new(ClockTrust::new(Arc::clone(clock), &stored)))
}

fn server_options(config: &Config) -> ServerOptions {
    let connections_max = process_limits::connections_max(config.connections_max);
    ServerOptions { connections_max, ..ServerOptions::default() }
}

/// Writes where the server listens into its lock file, for the commands that ask it something.
async fn publish_addresses(reader: Reader, mut open: watch::Receiver<OpenListeners>) {
    loop {
        let addresses: Vec<String> =
            open.borrow_and_update().iter().map(|listener| listener.info().address.to_string()).collect();
        if let Err(error) = store::server_lock::write_addresses(&reader.files(), &addresses) {
            tracing::debug!(%error, "the addresses of this server could not be noted");
        }
        if open.changed().await.is_err() {
            return;
        }
    }
}

/// Tells the engine that time passes.
async fn tick(engine: Engine) {
    let mut ticks = interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        engine.tick();
    }
}

impl Server {
    /// Begins a server with the defaults: no rules but the server's own, the machine's clock.
    pub fn builder() -> Builder {
        Builder {
            config: Config::default(),
            rules: built_in_rules(),
            features: Vec::new(),
            jobs: Vec::new(),
            clock: Arc::new(SystemClock),
            entropy: Arc::new(SystemEntropy),
            synchronous: Synchronous::Full,
            program: ProgramName::default(),
        }
    }

    /// Where it listens now. None while all that is configured is the tailnet, and that is waited for.
    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.open.borrow().iter().map(|listener| listener.info().address).collect()
    }

    /// The first of [`addresses`](Self::addresses); an unspecified one while there is none.
    pub fn local_addr(&self) -> SocketAddr {
        self.addresses().first().copied().unwrap_or_else(|| SocketAddr::from(([0, 0, 0, 0], 0)))
    }

    /// What the server waited for when it had started, to listen everywhere where it is configured to; empty: nothing.
    pub fn missing_listeners(&self) -> &str {
        &self.waiting
    }

    /// Path and query of a link that makes whoever opens it first an administrator, where nobody is one for being on
    /// this machine.
    pub fn administrator_link(&self) -> Option<&str> {
        self.administrator_link.as_deref()
    }

    /// What was in the database at the start: `new database`, or how many documents.
    pub(crate) fn contents(&self) -> &str {
        &self.contents
    }

    /// Where its data is.
    pub fn data_dir(&self) -> &Path {
        &self.data_dir
    }

    /// Waits until the engine has ended without being told to, which only a bug of ours makes it do: the server is of
    /// no use then, and whoever runs it should end the process and start another. Cancel safe.
    pub async fn wait_for_engine_failure(&mut self) {
        let _ = self.finished.wait_for(Option::is_some).await;
    }

    /// Stops: no new connections, streams end with `bye`, requests finish, the engine stores what there is.
    pub async fn stop(mut self) -> Stopped {
        self.stop.cancel();
        let _ = self.serving.join_next().await;
        self.closing.run().await;
        self.engine.stop().await;
        let ending = timeout(FINISH_TIMEOUT, self.finished.wait_for(Option::is_some)).await;
        match ending.map(|ending| ending.ok().and_then(|ending| *ending)) {
            Ok(Some(Ending::CLEAN)) => Stopped::Clean,
            Ok(Some(Ending { lost, journaled })) => Stopped::Unstored { lost, journaled },
            Ok(None) | Err(_) => {
                tracing::error!("the engine did not finish");
                Stopped::Unfinished
            }
        }
    }
}

/// How a stop went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stopped {
    /// Everything is on disk.
    Clean,
    /// Storage failed to the end.
    Unstored {
        /// Changes that are gone, all told as not durable.
        lost: usize,
        /// What was taken away: it is stored at the next start.
        journaled: usize,
    },
    /// The engine did not end in time, or had ended by a panic. What was acknowledged is on disk all the same.
    Unfinished,
}
