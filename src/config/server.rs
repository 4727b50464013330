//! The options of the server itself. Features define theirs in their own folders.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use super::{HEARTBEAT_MAX, PORT, kinds};
use crate::base::ids::UserId;
use crate::base::limits::{self, BATCH_COMMANDS_MAX};
use crate::base::options::{FeatureOptions, OptionError, boolean, milliseconds, named, option_set, seconds, whole};
use crate::engine::policy;
use crate::tailnet::client::default_socket;
use crate::tailnet::listen_address::{ListenAddress, ListenAddresses};
use crate::tailnet::ranges::is_node;

/// Smallest bound of the database file, pages: less does not hold the schema and one batch.
const DATABASE_PAGES_MIN: u64 = 256;
/// Ring bounds, events. A batch must not push its own start out of the ring.
const RING_EVENTS_MIN: u64 = 2 * BATCH_COMMANDS_MAX as u64;
const NO_BOUND: u64 = u64::MAX;

option_set! {
    /// What a server needs to know before it starts. Sizes are bytes; [`validate`](Config::validate) says what is out
    /// of range.
    ///
    /// ```
    /// use rejoin::Config;
    ///
    /// let mut config = Config { history_events: 100, ..Config::default() };
    /// config.set("listen", "127.0.0.1:0")?;
    /// config.validate()?;
    /// assert!(config.set("history-events", "none").is_err());
    /// # Ok::<(), rejoin::ConfigError>(())
    /// ```
    pub struct Config {
        /// Listen here; tailnet:PORT is each of this node's tailnet addresses; port 0 takes a free one (repeatable)
        "listen" "ADDRESS:PORT" listen: ListenAddresses =
            SocketAddr::from((Ipv4Addr::LOCALHOST, PORT)).into(), kinds::listen_addresses();
        /// Keep the database here; made when it is not there
        "data-dir" "FOLDER" data_dir: PathBuf = PathBuf::from("./rejoin-data"), kinds::path();
        /// Serve the files of this folder at /; the server's own page is at /_/ then
        "public" "FOLDER" public: Option<PathBuf> = None, kinds::path().optional();
        /// Answer to this host name too, besides the listen address and localhost (repeatable)
        "allowed-host" "NAME" allowed_hosts: Vec<String> = Vec::new(), kinds::host_names();
        /// Let pages of this origin in too, such as http://localhost:5173 (repeatable)
        "allowed-origin" "ORIGIN" allowed_origins: Vec<String> = Vec::new(), kinds::origins();
        /// Ask tailscaled at this socket who is at the other end of a connection
        "tailscaled-socket" "PATH" tailscaled_socket: PathBuf = default_socket(), kinds::tailscaled_socket();
        /// Let --listen name addresses of other networks, whose callers need a session
        "allow-listen-beyond-tailnet" "BOOLEAN" allow_listen_beyond_tailnet: bool = false, boolean();
        /// Take a process of this machine for the owner; false behind a reverse proxy, which is such a process
        "loopback-owner" "BOOLEAN" loopback_owner: bool = true, boolean();
        /// This user of the tailnet administers, or nodes with this tag, besides the node's owner (repeatable)
        "administrator" "USER-ID|TAG" administrators: Vec<UserId> = Vec::new(), kinds::users_and_tags();
        /// Who is granted this app capability with {"role": "admin"} by the tailnet's policy administers
        "administrator-capability" "DOMAIN/NAME" administrator_capability: Option<String> =
            None, kinds::capability().optional();
        /// Let nodes with this tag in, as the user tag-NAME (repeatable)
        "allowed-tag" "TAG" allowed_tags: Vec<UserId> = Vec::new(), kinds::tags();
        /// Let nodes of other tailnets in that are shared with this one
        "allow-shared-nodes" "BOOLEAN" allow_shared_nodes: bool = false, boolean();
        /// Look this often which addresses this node has
        "tailnet-poll-seconds" "SECONDS" tailnet_poll: Duration = limits::TAILNET_POLL, seconds(1, 300);
        /// Ask this often whether who is connected may still be
        "tailnet-recheck-seconds" "SECONDS" tailnet_recheck: Duration = limits::RECHECK, seconds(1, 3600);
        /// Keep this many events per document
        "history-events" "COUNT" history_events: u64 = limits::HISTORY_EVENTS, whole(1, NO_BOUND);
        /// Keep a document's events for this long
        "history-days" "DAYS" history_days: u32 = limits::HISTORY_DAYS, whole(1, 36_500);
        /// Largest request body
        "body-bytes-max" "BYTES" body_bytes_max: usize = limits::BODY_BYTES_MAX, whole(1024, 1 << 30);
        /// Largest state; at most half of the largest body
        "state-bytes-max" "BYTES" state_bytes_max: usize = limits::STATE_BYTES_MAX, whole(512, 1 << 29);
        /// Deepest nesting of a body or a state
        // The JSON parser gives up at 128 by itself, and a state travels inside an envelope.
        "depth-max" "LEVELS" depth_max: usize = limits::DEPTH_MAX, whole(1, 100);
        /// Keep at most this many documents in memory
        "hot-documents-max" "COUNT" hot_documents_max: usize = limits::HOT_DOCUMENTS_MAX, whole(1, NO_BOUND);
        /// Keep at most this many bytes of states in memory
        "hot-bytes-max" "BYTES" hot_bytes_max: usize = limits::HOT_BYTES_MAX, whole(0, NO_BOUND);
        /// Drop a document from memory when it was not used for this long
        "hot-idle-seconds" "SECONDS" hot_idle: Duration = limits::HOT_IDLE, seconds(1, 365 * 24 * 3600);
        /// Keep at most this many documents that live in memory only
        "volatile-documents-max" "COUNT" volatile_documents_max: usize =
            limits::VOLATILE_DOCUMENTS_MAX, whole(1, 1_000_000);
        /// Accept this many changes while storage fails
        "backlog-events-max" "COUNT" backlog_events_max: usize = limits::BACKLOG_EVENTS_MAX, whole(1, NO_BOUND);
        /// Accept this many bytes of changes while storage fails
        "backlog-bytes-max" "BYTES" backlog_bytes_max: usize = limits::BACKLOG_BYTES_MAX, whole(0, NO_BOUND);
        /// Keep this many recent events in memory for streams
        "ring-events-max" "COUNT" ring_events_max: usize = limits::RING_EVENTS_MAX, whole(RING_EVENTS_MIN, 1 << 24);
        /// Serve at most this many connections at once
        "connections-max" "COUNT" connections_max: usize = limits::CONNECTIONS_MAX, whole(1, 1_000_000);
        /// Serve at most this many connections of one person of the tailnet
        "connections-per-user-max" "COUNT" connections_per_user_max: usize =
            limits::CONNECTIONS_PER_USER_MAX, whole(1, 1_000_000);
        /// Serve at most this many streams of one user
        "streams-per-user-max" "COUNT" streams_per_user_max: usize = limits::STREAMS_PER_USER_MAX, whole(1, 1_000_000);
        /// Send a heartbeat on each stream this often
        "heartbeat-seconds" "SECONDS" heartbeat: Duration =
            Duration::from_secs(15), seconds(1, HEARTBEAT_MAX.as_secs());
        /// Tell that a player's connection is lost when it was for this long
        "presence-debounce-ms" "MILLISECONDS" presence_debounce: Duration =
            limits::PRESENCE_DEBOUNCE, milliseconds(0, 60_000);
        /// Let the database file grow to this many pages of 4 KiB
        "database-pages-max" "PAGES" database_pages_max: Option<u32> =
            None, whole(DATABASE_PAGES_MIN, u64::from(u32::MAX) - 1).optional();
        /// Warn when the write-ahead log of the database is larger
        "wal-bytes-max" "BYTES" wal_bytes_max: u64 = limits::WAL_BYTES_MAX, whole(1 << 20, NO_BOUND);
        /// Do not start when something that was stored is missing in the database
        "strict" "BOOLEAN" strict: bool = false, boolean();
        /// Store a document whole when changes since the last time add up to this many times its state
        "snapshot-ratio" "RATIO" snapshot_ratio_thousandths: u32 = policy::RATIO_DEFAULT, kinds::ratio();
        /// Store a changed document whole after this long; 0: never for that
        "snapshot-age-seconds" "SECONDS" snapshot_age: Duration = Duration::ZERO, seconds(0, policy::AGE_MAX.as_secs());
        /// Write these log lines: a level, or parts with levels, such as info,rejoin::http=debug
        "log" "FILTER" log: String = "info".to_owned(), kinds::log_filter();
        /// How log lines look: human, json, or auto (human on a terminal, json otherwise)
        "log-format" "FORMAT" log_format: LogFormat = LogFormat::Auto, named(LogFormat::as_str);
    }
    other {
        /// Flags for clients, which mean nothing to the server, by name.
        pub client_flags: BTreeMap<String, bool> = BTreeMap::new();
        /// The options of features.
        pub features: FeatureOptions = crate::features::option_sets().collect();
    }
    check check_relations;
}

fn check_relations(config: &Config) -> Result<(), OptionError> {
    check_listen(config)?;
    let (body, state) = (config.body_bytes_max, config.state_bytes_max);
    if body / 2 < state {
        let rule = format!("{state} must be at most half of body-bytes-max ({body}), or it could not be sent");
        return Err(OptionError { name: "state-bytes-max", why: rule });
    }
    if config.hot_bytes_max < state {
        let rule = format!("{} must be at least state-bytes-max ({state})", config.hot_bytes_max);
        return Err(OptionError { name: "hot-bytes-max", why: rule });
    }
    if config.backlog_bytes_max < body {
        let rule = format!("{} must be at least body-bytes-max ({body})", config.backlog_bytes_max);
        return Err(OptionError { name: "backlog-bytes-max", why: rule });
    }
    Ok(())
}

/// Anybody can send to an address of other networks, so listening there takes a word of its own.
fn check_listen(config: &Config) -> Result<(), OptionError> {
    for place in config.listen.addresses() {
        let ListenAddress::Address(address) = place else { continue };
        let ip = address.ip();
        if ip.is_loopback() || is_node(ip) || config.allow_listen_beyond_tailnet {
            continue;
        }
        let rule = "loopback and the tailnet, and allow-listen-beyond-tailnet is not set";
        let why = match ip.is_unspecified() {
            true => format!("{address} stands for every network of this machine, not only {rule}"),
            false => format!("{address} is an address beyond {rule}"),
        };
        return Err(OptionError { name: "listen", why });
    }
    Ok(())
}

/// How log lines look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// [`Human`](Self::Human) on a terminal, [`Json`](Self::Json) otherwise.
    #[default]
    Auto,
    /// Lines for people.
    Human,
    /// One JSON object per line.
    Json,
}

impl LogFormat {
    /// Its name in the configuration.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Human => "human",
            Self::Json => "json",
        }
    }
}

impl FromStr for LogFormat {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        [Self::Auto, Self::Human, Self::Json]
            .into_iter()
            .find(|format| format.as_str() == text)
            .ok_or_else(|| format!("'{text}' is none of auto, human and json"))
    }
}
