//! Rank 6: the wiring, on one screen. The start goes from the file to the listener, the stop the other way round.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use axum::Router;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval, timeout};
use tokio_util::sync::CancellationToken;

use crate::base::clock::{Clock, SystemClock};
use crate::base::entropy::{Entropy, SystemEntropy};
use crate::base::ids::Collection;
use crate::base::limits;
use crate::config::{self, Config, ConfigError};
use crate::document::json::Bounds;
use crate::document::rules::Rules;
use crate::document::visibility::Viewer;
use crate::engine::command::{self, Engine};
use crate::engine::health::Health;
use crate::engine::policy::SnapshotPolicy;
use crate::engine::reads::Reads;
use crate::engine::standing::Standings;
use crate::engine::thread::{Ending, TICK, Thread};
use crate::engine::{self, BacklogBounds, HotBounds, Volatile};
use crate::features;
use crate::features::games::cleanup::{Cleanup, Compact, Purge};
use crate::features::games::sql::persist::CompletedGames;
use crate::features::rate_limits::rules::Limit;
use crate::features::rate_limits::service::{self as rate_limits, RateLimits};
use crate::features::sessions::rules::Terms;
use crate::features::sessions::service::Keeper;
use crate::http::api::{Api, Parts};
use crate::http::body::BodyLimits;
use crate::http::guard::{Doors, Guard};
use crate::http::hosts::Hosts;
use crate::http::openapi;
use crate::http::pages;
use crate::http::server::{ServerOptions, serve};
use crate::jobs::runner::{Handle, Runner};
use crate::jobs::{self, Job, alarm};
use crate::live::hub::Hub;
use crate::live::presence::Presence;
use crate::live::ring::RingBounds;
use crate::store::{self, History, Memory, OpenError, Reader, Synchronous};

/// How long the engine may take at the end to store what there is.
const FINISH_TIMEOUT: Duration = Duration::from_secs(30);

/// What the process exits with when what features have stored is damaged: as for any damage.
const DAMAGED_EXIT_CODE: u8 = 14;

/// A running server. Dropped without [`stop`](Server::stop), it breaks off all connections at once; the engine then
/// stores what it has taken and ends by itself.
pub struct Server {
    address: SocketAddr,
    data_dir: PathBuf,
    engine: Engine,
    finished: watch::Receiver<Option<Ending>>,
    /// The listener and its connections. Ends by itself once told to stop.
    serving: JoinSet<()>,
    /// How much each may ask.
    quota: Arc<RateLimits>,
    /// What goes on for as long as there is a server.
    _tasks: JoinSet<()>,
    stop: CancellationToken,
    sessions: Keeper,
}

/// What a server is made of.
pub struct Builder {
    config: Config,
    rules: HashMap<String, Arc<dyn Rules>>,
    jobs: Vec<Job>,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
    synchronous: Synchronous,
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
    /// What is stored of games on their way between servers cannot be read.
    #[error("the tables of moving games cannot be read: {0}")]
    Games(String),
    /// The sessions cannot be read.
    #[error("the table of sessions cannot be read: {0}")]
    Sessions(String),
    /// The address is not to be had.
    #[error("cannot listen on {0}: {1}")]
    Listen(SocketAddr, std::io::Error),
    /// The stored limits on requests cannot be read.
    #[error("the tables of rate limits cannot be read: {0}")]
    RateLimits(String),
    /// No thread for the engine.
    #[error("cannot start the engine's thread: {0}")]
    Thread(std::io::Error),
}

impl StartError {
    /// What the process exits with: 2 configuration, 3 listen address, 4 no thread, 10 to 15 storage (14 also for
    /// the tables of moving games and of sessions).
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Config(_) | Self::Rules(..) => config::EXIT_CODE,
            Self::Listen(..) => 3,
            Self::Thread(_) => 4,
            Self::Games(_) | Self::RateLimits(_) | Self::Sessions(_) => DAMAGED_EXIT_CODE,
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

    /// Puts `rules` in charge of a collection.
    #[must_use]
    pub fn rules(mut self, collection: &str, rules: impl Rules) -> Self {
        self.rules.insert(collection.to_owned(), Arc::new(rules));
        self
    }

    /// Adds a job, which the server runs at its times. One with a name that is there already takes its place.
    #[must_use]
    pub fn job(mut self, job: Job) -> Self {
        self.jobs.push(job);
        self
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
        self.config.validate()?;
        let config = self.config;
        let mut options = engine_options(&config, self.rules, &self.clock, &self.entropy)?;
        // The address first: a second server on it must not touch the file.
        let failed = |error| StartError::Listen(config.listen, error);
        let listener = TcpListener::bind(config.listen).await.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;

        let (mut writer, reader) = store::open(store_options(&config, self.synchronous))?;
        let vanished = writer.begin_run(&options.volatile.collections)?;
        let head = writer.head();
        let hub = Arc::new(Hub::new((head.seq, head.hash), options.ring));
        let presence = Presence::new(Arc::clone(&hub), Arc::clone(&self.clock), config.presence_debounce);
        let memory = Arc::new(Memory::open()?);
        let (beside, present) = (Arc::clone(&memory), Arc::clone(&presence));
        options.expendable = Some(Arc::new(CompletedGames { memory: beside, presence: present }));
        let health = Arc::new(Health::default());
        let (engine, commands) = command::channel();
        let (done, finished) = watch::channel(None);
        let thread = Thread::new(options, writer, reader.clone(), Arc::clone(&hub), Arc::clone(&health));
        let thread = thread.with_standings(standings(&reader)?);
        let quota = quota(&config, &reader, &engine, &self.clock, &self.entropy)?;
        let sessions = sessions(&config, &reader, &engine, &self.clock)?;
        let run = move || {
            let _ = done.send(Some(thread.run(commands)));
        };
        thread::Builder::new().name("rejoin-engine".to_owned()).spawn(run).map_err(StartError::Thread)?;

        let stop = CancellationToken::new();
        let api = Api(Arc::new(Parts {
            memory,
            presence: Arc::clone(&presence),
            reads: Reads::new(Arc::clone(&hub), reader, engine.clone(), vanished),
            engine: engine.clone(),
            health,
            clock: Arc::clone(&self.clock),
            entropy: self.entropy,
            body: BodyLimits { bytes_max: config.body_bytes_max, depth_max: config.depth_max },
            reconnect_token: Duration::from_secs(u64::from(config.reconnect_token_minutes) * 60),
            flags: config.flags,
            heartbeat: config.heartbeat,
            stop: stop.clone(),
        }));
        let hosts = Hosts::new(address, &config.allowed_hosts);
        let jobs = jobs(&config, &engine, &hub, &sessions, self.jobs);
        let (runner, handle) = Runner::new(jobs, engine.clone(), api.reads.clone(), Arc::clone(&self.clock));
        let router = router(&handle, &quota, &sessions).with_state(api.clone());
        let doors = Doors { hosts, sessions: Arc::clone(&sessions.table) as _, quota: Arc::clone(&quota) as _ };
        let guard = Guard::new(router, doors, Arc::clone(&hub), self.clock.now());
        let server = ServerOptions { connections_max: config.connections_max, ..ServerOptions::default() };
        let mut tasks = JoinSet::new();
        tasks.spawn(hub.fan_out());
        tasks.spawn(presence.run());
        tasks.spawn(tick(engine.clone()));
        tasks.spawn(runner.run());
        tasks.spawn(alarm::run(handle));
        tasks.spawn(Arc::clone(&quota).keep_saved(api.reads.clone()));
        tasks.spawn(features::games::departure::keep_moving(api));
        tasks.spawn(sessions.clone().keep());
        let mut serving = JoinSet::new();
        serving.spawn(serve(listener, Arc::new(guard), server, stop.clone()));
        let data_dir = config.data_dir;
        Ok(Server { address, data_dir, engine, finished, serving, quota, _tasks: tasks, stop, sessions })
    }
}

/// What the engine is told.
fn engine_options(
    config: &Config,
    rules: HashMap<String, Arc<dyn Rules>>,
    clock: &Arc<dyn Clock>,
    entropy: &Arc<dyn Entropy>,
) -> Result<engine::Options, StartError> {
    let rules = rules.into_iter().map(|(name, rules)| match Collection::new(&name) {
        Ok(collection) => Ok((collection, rules)),
        Err(error) => Err(StartError::Rules(name, error.message().to_owned())),
    });
    Ok(engine::Options {
        clock: Arc::clone(clock),
        entropy: Arc::clone(entropy),
        rules: Arc::new(rules.collect::<Result<_, _>>()?),
        state: Bounds { depth_max: config.depth_max, state_bytes_max: config.state_bytes_max },
        ring: RingBounds { events_max: config.ring_events_max, bytes_max: limits::RING_BYTES_MAX },
        hot: HotBounds {
            documents_max: config.hot_documents_max,
            bytes_max: config.hot_bytes_max,
            idle: config.hot_idle,
        },
        backlog: BacklogBounds { events_max: config.backlog_events_max, bytes_max: config.backlog_bytes_max },
        snapshot_events_max: config.history_events,
        volatile: volatile(config),
        snapshots: SnapshotPolicy {
            ratio_thousandths: config.snapshot_ratio_thousandths,
            age: Some(config.snapshot_age).filter(|age| !age.is_zero()),
        },
        expendable: None,
    })
}

/// Everything that can be asked. A feature has one line here.
fn router(jobs: &Handle, quota: &Arc<RateLimits>, sessions: &Keeper) -> Router<Api> {
    openapi::assemble([
        pages::routes(),
        features::operations::routes::router(),
        features::flags::routes::router(),
        features::operations::routes::jobs::router(jobs.clone()),
        features::rate_limits::routes::router(Arc::clone(quota)),
        features::documents::routes::router(),
        features::games::routes::router(),
        features::sessions::routes::router(sessions.clone()),
    ])
}

/// What a flag turns persistence off for.
fn volatile(config: &Config) -> Volatile {
    let games = Collection::new("games").ok().filter(|_| !config.flags.games_persistence);
    Volatile {
        collections: games.into_iter().collect(),
        documents_max: config.volatile_documents_max,
        ..Volatile::default()
    }
}

/// Everything that the server does by itself, and what its user adds. A job has one line here.
fn jobs(config: &Config, engine: &Engine, hub: &Arc<Hub>, sessions: &Keeper, own: Vec<Job>) -> Vec<Job> {
    let hub = Arc::clone(hub);
    let cleanup = Cleanup {
        compacted: days(config.games_compacted_days),
        compact: compact(engine.clone()),
        completed: days(config.games_completed_days),
        abandoned: days(config.games_abandoned_days),
        purge: purge(engine.clone()),
        connected: Arc::new(move |name| hub.is_followed(name)),
    };
    let mut jobs = vec![jobs::log::trim_job(), features::games::cleanup::cleanup_job(cleanup)];
    jobs.push(sessions.cleanup_job());
    for job in own {
        jobs.retain(|other| other.name != job.name);
        jobs.push(job);
    }
    jobs
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

fn days(count: u32) -> Duration {
    Duration::from_secs(u64::from(count) * 24 * 3600)
}

/// The games that were on their way between servers, or gone, when the server stopped.
fn standings(reader: &Reader) -> Result<Standings, StartError> {
    let stored = reader.rows(features::games::sql::migrate::standings);
    stored.map(Standings::new).map_err(|error| StartError::Games(error.to_string()))
}

/// How much each may ask, as it is stored.
fn quota(
    config: &Config,
    reader: &Reader,
    engine: &Engine,
    clock: &Arc<dyn Clock>,
    entropy: &Arc<dyn Entropy>,
) -> Result<Arc<RateLimits>, StartError> {
    let default = Limit {
        capacity: config.rate_limit_capacity,
        refill: config.rate_limit_refill,
        window_seconds: config.rate_limit_window_seconds,
    };
    let options = rate_limits::Options { default, administrators: config.rate_limit_administrators };
    let quota = RateLimits::open(options, reader, engine.clone(), Arc::clone(clock), Arc::clone(entropy));
    quota.map_err(|error| StartError::RateLimits(error.to_string()))
}

/// The sessions that had not ended when the server stopped.
fn sessions(config: &Config, reader: &Reader, engine: &Engine, clock: &Arc<dyn Clock>) -> Result<Keeper, StartError> {
    let terms = Terms { ttl: config.session_ttl, idle: config.session_idle };
    let restored = Keeper::restore(reader, engine.clone(), terms, Arc::clone(clock));
    restored.map_err(|error| StartError::Sessions(error.to_string()))
}

fn store_options(config: &Config, synchronous: Synchronous) -> store::Options {
    store::Options {
        history: History { events_max: config.history_events, kept: days(config.history_days) },
        pages_max: config.database_pages_max,
        synchronous,
        ..store::Options::new(&config.data_dir)
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
    /// Begins a server with the defaults: no rules, the machine's clock.
    pub fn builder() -> Builder {
        Builder {
            config: Config::default(),
            rules: HashMap::new(),
            jobs: Vec::new(),
            clock: Arc::new(SystemClock),
            entropy: Arc::new(SystemEntropy),
            synchronous: Synchronous::Full,
        }
    }

    /// Where it listens.
    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// Where its data is.
    pub fn data_dir(&self) -> &Path {
        &self.data_dir
    }

    /// Waits until the engine has ended without being told to, which only a bug of ours makes it do: the server is of no
    /// use then, and whoever runs it should end the process and start another. Cancel safe.
    pub async fn failed(&mut self) {
        let _ = self.finished.wait_for(Option::is_some).await;
    }

    /// Stops: no new connections, streams end with `bye`, requests finish, the engine stores what there is.
    pub async fn stop(mut self) -> Stopped {
        self.stop.cancel();
        let _ = self.serving.join_next().await;
        // Error: storage fails. Then a little is given away at the next start.
        let _ = timeout(FINISH_TIMEOUT, self.quota.save()).await;
        if let Ok(Err(error)) = timeout(FINISH_TIMEOUT, self.sessions.store_uses()).await {
            tracing::warn!(%error, "when sessions were last used is not stored");
        }
        self.engine.stop().await;
        let ending = timeout(FINISH_TIMEOUT, self.finished.wait_for(Option::is_some)).await;
        match ending.map(|ending| ending.ok().and_then(|ending| *ending)) {
            Ok(Some(Ending { lost: 0 })) => Stopped::Clean,
            Ok(Some(Ending { lost })) => Stopped::Lost(lost),
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
    /// Storage failed to the end; so many changes, all told as not durable, are gone.
    Lost(usize),
    /// The engine did not end in time, or had ended by a panic. What was acknowledged is on disk all the same.
    Unfinished,
}
