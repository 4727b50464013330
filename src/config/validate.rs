//! What a configuration must be, wherever its values come from.

use std::net::SocketAddr;
use std::time::Duration;

use tracing_subscriber::EnvFilter;

use super::{Config, ConfigError, HEARTBEAT_MAX};
use crate::base::limits::BATCH_COMMANDS_MAX;
use crate::engine::policy;
use crate::features::rate_limits::rules::{TOKENS_MAX, WINDOW_SECONDS_MAX};
use crate::features::usage::rules::LIMIT_MAX;
use crate::tailnet::listen::Listen;
use crate::tailnet::ranges::is_node;

/// Smallest bound of the database file, pages: less does not hold the schema and one batch.
const DATABASE_PAGES_MIN: u64 = 256;
/// Longest life of a session without renewal, seconds: a year and some. Browsers keep no cookie for longer.
const SESSION_TTL_MAX: u64 = 400 * 24 * 3600;
/// Longest host name, bytes (RFC 1035).
const HOST_LENGTH_MAX: usize = 253;

impl Config {
    /// Checks each value by itself and against the others. Error: names the first option that is wrong and the rule.
    pub fn validate(&self) -> Result<(), ConfigError> {
        self.check_listen()?;
        self.check_ranges()?;
        self.check_relations()?;
        self.check_texts()
    }

    /// Anybody can send to an address of other networks, so listening there takes a word of its own.
    fn check_listen(&self) -> Result<(), ConfigError> {
        for place in self.listen.places() {
            let Listen::Address(address) = place else { continue };
            let ip = address.ip();
            if ip.is_loopback() || is_node(ip) || self.allow_listen_beyond_tailnet {
                continue;
            }
            let what =
                if ip.is_unspecified() { "stands for every network of this machine" } else { "is an address beyond" };
            let rule = "loopback and the tailnet, and allow-listen-beyond-tailnet is not set";
            return match ip.is_unspecified() {
                true => refuse("listen", format_args!("{address} {what}, not only {rule}")),
                false => refuse("listen", format_args!("{address} {what} {rule}")),
            };
        }
        Ok(())
    }

    fn check_ranges(&self) -> Result<(), ConfigError> {
        let no_bound = u64::MAX;
        let heartbeat_max = HEARTBEAT_MAX.as_secs();
        let pages = self.database_pages_max.map_or(DATABASE_PAGES_MIN, u64::from);
        let ranges = [
            ("history-events", self.history_events, 1, no_bound),
            ("history-days", u64::from(self.history_days), 1, 36_500),
            ("body-bytes-max", wide(self.body_bytes_max), 1024, 1 << 30),
            ("state-bytes-max", wide(self.state_bytes_max), 512, 1 << 29),
            // The JSON parser gives up at 128 by itself, and a state travels inside an envelope.
            ("depth-max", wide(self.depth_max), 1, 100),
            ("hot-documents-max", wide(self.hot_documents_max), 1, no_bound),
            ("hot-idle-seconds", whole_seconds("hot-idle-seconds", self.hot_idle)?, 1, 365 * 24 * 3600),
            ("volatile-documents-max", wide(self.volatile_documents_max), 1, 1_000_000),
            ("backlog-events-max", wide(self.backlog_events_max), 1, no_bound),
            // A batch must not push its own start out of the ring.
            ("ring-events-max", wide(self.ring_events_max), wide(2 * BATCH_COMMANDS_MAX), 1 << 24),
            ("connections-max", wide(self.connections_max), 1, 1_000_000),
            ("connections-per-user-max", wide(self.connections_per_user_max), 1, 1_000_000),
            ("streams-per-user-max", wide(self.streams_per_user_max), 1, 1_000_000),
            ("tailnet-poll-seconds", whole_seconds("tailnet-poll-seconds", self.tailnet_poll)?, 1, 300),
            ("tailnet-recheck-seconds", whole_seconds("tailnet-recheck-seconds", self.tailnet_recheck)?, 1, 3600),
            ("heartbeat-seconds", whole_seconds("heartbeat-seconds", self.heartbeat)?, 1, heartbeat_max),
            ("reconnect-token-minutes", u64::from(self.reconnect_token_minutes), 1, 7 * 24 * 60),
            ("presence-debounce-ms", whole_millis("presence-debounce-ms", self.presence_debounce)?, 0, 60_000),
            (
                "snapshot-age-seconds",
                whole_seconds("snapshot-age-seconds", self.snapshot_age)?,
                0,
                policy::AGE_MAX.as_secs(),
            ),
            (
                "snapshot-ratio",
                self.snapshot_ratio_thousandths.into(),
                policy::RATIO_MIN.into(),
                policy::RATIO_MAX.into(),
            ),
            ("games-compacted-days", u64::from(self.games_compacted_days), 0, 36_500),
            ("games-completed-days", u64::from(self.games_completed_days), 1, 36_500),
            ("games-abandoned-days", u64::from(self.games_abandoned_days), 1, 36_500),
            ("rate-limit-capacity", self.rate_limit_capacity.into(), 1, TOKENS_MAX.into()),
            ("rate-limit-refill", self.rate_limit_refill.into(), 1, TOKENS_MAX.into()),
            ("rate-limit-window-seconds", self.rate_limit_window_seconds.into(), 1, WINDOW_SECONDS_MAX.into()),
            ("usage-default-parties-created", self.usage_default_parties.unwrap_or(0), 0, LIMIT_MAX),
            ("usage-default-encounters-created", self.usage_default_encounters.unwrap_or(0), 0, LIMIT_MAX),
            ("usage-default-creatures-created", self.usage_default_creatures.unwrap_or(0), 0, LIMIT_MAX),
            ("reconciliation-seconds", whole_seconds("reconciliation-seconds", self.reconciliation_interval)?, 0, 3600),
            ("reconciliation-scrub-kib", self.reconciliation_scrub_kib, 0, 1 << 20),
            ("reconciliation-days", u64::from(self.reconciliation_days), 1, 36_500),
            ("reconciliation-rows", self.reconciliation_rows, 1, 100_000_000),
            ("session-ttl-seconds", whole_seconds("session-ttl-seconds", self.session_ttl)?, 1, SESSION_TTL_MAX),
            ("session-idle-seconds", whole_seconds("session-idle-seconds", self.session_idle)?, 1, SESSION_TTL_MAX),
            ("database-pages-max", pages, DATABASE_PAGES_MIN, u64::from(u32::MAX) - 1),
        ];
        for (name, value, least, most) in ranges {
            if value < least {
                return refuse(name, format_args!("{value} is too small; the least is {least}"));
            }
            if value > most {
                return refuse(name, format_args!("{value} is too large; the most is {most}"));
            }
        }
        Ok(())
    }

    fn check_relations(&self) -> Result<(), ConfigError> {
        let (body, state) = (self.body_bytes_max, self.state_bytes_max);
        if body / 2 < state {
            let rule = format_args!("{state} must be at most half of body-bytes-max ({body}), or it could not be sent");
            return refuse("state-bytes-max", rule);
        }
        if self.hot_bytes_max < state {
            let rule = format_args!("{} must be at least state-bytes-max ({state})", self.hot_bytes_max);
            return refuse("hot-bytes-max", rule);
        }
        if self.backlog_bytes_max < body {
            let rule = format_args!("{} must be at least body-bytes-max ({body})", self.backlog_bytes_max);
            return refuse("backlog-bytes-max", rule);
        }
        Ok(())
    }

    fn check_texts(&self) -> Result<(), ConfigError> {
        if self.data_dir.as_os_str().is_empty() {
            return refuse("data-dir", format_args!("must not be empty"));
        }
        for name in &self.allowed_hosts {
            if !is_host_name(name) {
                let rule = "is not a host name (letters, digits, '-' and '.'; no port, no scheme, no '*')";
                return refuse("allowed-host", format_args!("'{}' {rule}", name.escape_debug()));
            }
        }
        let socket = self.tailscaled_socket.as_os_str();
        if socket.is_empty() {
            return refuse("tailscaled-socket", format_args!("must not be empty"));
        }
        if socket.to_str().is_some_and(|text| text.parse::<SocketAddr>().is_ok() || text.contains("://")) {
            let rule = "is no path of a socket; tailscaled over TCP (macOS's graphical builds) is not supported yet";
            return refuse("tailscaled-socket", format_args!("'{}' {rule}", self.tailscaled_socket.display()));
        }
        if let Some(name) = self.administrator_capability.as_ref().filter(|name| !is_capability(name)) {
            let rule = "is not the name of an app capability such as example.org/cap/rejoin";
            return refuse("administrator-capability", format_args!("'{}' {rule}", name.escape_debug()));
        }
        if let Err(e) = EnvFilter::try_new(&self.log) {
            return refuse("log", format_args!("'{}' is not a log filter: {e}", self.log.escape_debug()));
        }
        Ok(())
    }
}

fn refuse(name: &str, why: std::fmt::Arguments<'_>) -> Result<(), ConfigError> {
    Err(ConfigError(format!("{name}: {why}")))
}

/// Sizes fit into 64 bits on every machine that there is.
fn wide(size: usize) -> u64 {
    u64::try_from(size).unwrap_or(u64::MAX)
}

fn whole_seconds(name: &str, duration: Duration) -> Result<u64, ConfigError> {
    if duration.subsec_nanos() == 0 {
        return Ok(duration.as_secs());
    }
    Err(ConfigError(format!("{name}: {duration:?} is not a whole number of seconds")))
}

fn whole_millis(name: &str, duration: Duration) -> Result<u64, ConfigError> {
    if duration.subsec_nanos().is_multiple_of(1_000_000) {
        return Ok(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX));
    }
    Err(ConfigError(format!("{name}: {duration:?} is not a whole number of milliseconds")))
}

/// A domain and a path, as tailnet policies name capabilities of applications.
fn is_capability(name: &str) -> bool {
    let path = |path: &str| !path.is_empty() && path.bytes().all(|b| b.is_ascii_graphic());
    name.split_once('/').is_some_and(|(domain, rest)| is_host_name(domain) && path(rest))
        && name.len() <= HOST_LENGTH_MAX
}

fn is_host_name(name: &str) -> bool {
    let label = |label: &str| {
        let inner = label.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
        (1..=63).contains(&label.len()) && inner && !label.starts_with('-') && !label.ends_with('-')
    };
    name.len() <= HOST_LENGTH_MAX && name.split('.').all(label)
}
