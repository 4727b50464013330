//! Rank 6: flags, environment and `rejoin.toml` become one checked [`Config`]. The only place that reads the process's
//! arguments and environment.
//!
//! A value given as a flag wins over the environment, that over the file, that over the default. All four travel
//! through one table (`config/rows.rs`), so a name, a unit or a bound exists once.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use clap::error::ErrorKind;
use clap::{Arg, ArgAction, ArgMatches};

use crate::base::flags::Flags;
use crate::base::ids::DocumentName;
use crate::base::ids::UserId;
use crate::base::limits;
use crate::engine::policy;
use crate::net::http_client::Target;
use crate::tailnet::client::default_socket;
use crate::tailnet::listen::{self, ListenOn};

mod flags;
#[cfg(all(test, target_os = "linux"))]
mod guide_tests;
mod rows;
#[cfg(test)]
mod tests;
mod validate;

use rows::{ROWS, Row, Shape};

/// Where a server listens and `rejoin watch` looks for one, when nobody says otherwise.
pub(crate) const PORT: u16 = listen::PORT;
/// The file that is read when it is there and `--config` names no other.
const FILE: &str = "rejoin.toml";
/// The exit code of a configuration that is not accepted.
pub(crate) const EXIT_CODE: u8 = 2;
/// Where `rejoin watch` finds the token of its session, other than on the command line, which others on the machine
/// see.
const SESSION_VARIABLE: &str = "REJOIN_SESSION";
const SESSION_HELP: &str = "Show this session's token; better kept in REJOIN_SESSION";
/// Longest time between two heartbeats. Whoever hears nothing for longer than this and some may give a stream up.
pub(crate) const HEARTBEAT_MAX: Duration = Duration::from_secs(60);

/// What a server needs to know before it starts. Sizes are bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Where to listen: addresses, and `tailnet` for those that this node has there. Port 0 takes any free port.
    /// Default `127.0.0.1:7766`.
    pub listen: ListenOn,
    /// The folder of the database; created when it is not there. Relative to the working folder. Default
    /// `./rejoin-data`.
    pub data_dir: PathBuf,
    /// Events kept per document. Default 10,000.
    pub history_events: u64,
    /// Days that a document's events are kept. Default 30.
    pub history_days: u32,
    /// Largest request body, bytes. Default 2 MiB.
    pub body_bytes_max: usize,
    /// Largest serialised state, bytes; at most half of `body_bytes_max`. Default 1 MiB.
    pub state_bytes_max: usize,
    /// Deepest nesting of a body or a state, levels. Default 64.
    pub depth_max: usize,
    /// Documents kept in memory. Default 20,000.
    pub hot_documents_max: usize,
    /// Bytes of states kept in memory. Default 256 MiB.
    pub hot_bytes_max: usize,
    /// How long an unused document stays in memory; whole seconds. Default 10 minutes.
    pub hot_idle: Duration,
    /// Documents that live in memory only. Default 1,000.
    pub volatile_documents_max: usize,
    /// Changes accepted while storage fails. Default 50,000.
    pub backlog_events_max: usize,
    /// Bytes of changes accepted while storage fails. Default 64 MiB.
    pub backlog_bytes_max: usize,
    /// Recent events kept in memory for streams. Default 16,384.
    pub ring_events_max: usize,
    /// Connections open at once. Default 10,000.
    pub connections_max: usize,
    /// Time between two heartbeats of a stream; whole seconds. Default 15 s.
    pub heartbeat: Duration,
    /// Minutes that a reconnect token is good. Default 30.
    pub reconnect_token_minutes: u32,
    /// How long a player's connection must be lost before others are told; whole milliseconds. Default 2 s.
    pub presence_debounce: Duration,
    /// Days that the history of a completed game is kept. Default 1; 0: until the next clean-up.
    pub games_compacted_days: u32,
    /// Days that a completed game is kept. Default 7.
    pub games_completed_days: u32,
    /// Days that a game which was not completed is kept after its last event. Default 30.
    pub games_abandoned_days: u32,
    /// Requests that anybody may send at once. Default 2,000.
    pub rate_limit_capacity: u32,
    /// Requests that anybody may send again in each window. Default 2,000.
    pub rate_limit_refill: u32,
    /// Length of the window, seconds. Default 10.
    pub rate_limit_window_seconds: u32,
    /// Whether administrators are limited too. Default false.
    pub rate_limit_administrators: bool,
    /// Flags for clients, which mean nothing to the server, by name. Default none.
    pub client_flags: BTreeMap<String, bool>,
    /// How often memory is compared with the disk; zero: only when asked. Default 10 s.
    pub reconciliation_interval: Duration,
    /// KiB a second that are read and hashed again from the disk in the background; 0: none. Default 1024.
    pub reconciliation_scrub_kib: u64,
    /// Days that the audit of reconciliation is kept. Default 30.
    pub reconciliation_days: u32,
    /// Rows that it has at most. Default 100,000.
    pub reconciliation_rows: u64,
    /// How long a session is good after it was opened or renewed; its use in the second half of this time renews it.
    /// Whole seconds. Default 30 days.
    pub session_ttl: Duration,
    /// How long a session is good after its last use; whole seconds. Default 7 days.
    pub session_idle: Duration,
    /// Host names, lower case and without port, that requests may be addressed to besides the listen address and
    /// `localhost`. Default none.
    pub allowed_hosts: Vec<String>,
    /// The socket on which tailscaled answers. Default: where it is on this system.
    pub tailscaled_socket: PathBuf,
    /// Whether addresses that are neither loopback nor the tailnet's may be listened on. Default false.
    pub allow_listen_beyond_tailnet: bool,
    /// Who administers besides the node's owner: user ids of the tailnet, and tags as the user ids that stand for them.
    /// Default nobody.
    pub administrators: Vec<UserId>,
    /// Tags whose nodes are let in, as the user ids that stand for them. Default none.
    pub allowed_tags: Vec<UserId>,
    /// Whether nodes of other tailnets are let in that are shared with this one. Default false.
    pub allow_shared_nodes: bool,
    /// The app capability of the tailnet of which the role `admin` makes an administrator. Default none.
    pub administrator_capability: Option<String>,
    /// Time between two looks at the node's addresses; whole seconds. Default 10 s.
    pub tailnet_poll: Duration,
    /// Time after which it is asked again whether somebody may still be here; whole seconds. Default 60 s.
    pub tailnet_recheck: Duration,
    /// Connections of one person of the tailnet open at once. Default 2,000.
    pub connections_per_user_max: usize,
    /// Streams of one viewer open at once. Default 1,000.
    pub streams_per_user_max: usize,
    /// Largest size of the database file, pages of 4 KiB. Default no bound but the disk.
    pub database_pages_max: Option<u32>,
    /// What the server is for. Default [`Environment::Development`].
    pub env: Environment,
    /// Parties that a user without a subscription may create in a calendar month. Default any number.
    pub usage_default_parties: Option<u64>,
    /// Encounters, likewise.
    pub usage_default_encounters: Option<u64>,
    /// Creatures, likewise.
    pub usage_default_creatures: Option<u64>,
    /// What is turned on.
    pub flags: Flags,
    /// Thousandths of the state that patches may add up to before the next snapshot; a document may say so for itself.
    /// Default 1000.
    pub snapshot_ratio_thousandths: u32,
    /// Age of the last snapshot after which the next is due if anything has changed; whole seconds. Default 0: any age.
    pub snapshot_age: Duration,
    /// Which log lines are written, as a filter of `tracing`. Default `info`.
    pub log: String,
    /// How log lines look. Default [`LogFormat::Auto`].
    pub log_format: LogFormat,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, PORT)).into(),
            data_dir: PathBuf::from("./rejoin-data"),
            history_events: limits::HISTORY_EVENTS,
            history_days: limits::HISTORY_DAYS,
            body_bytes_max: limits::BODY_BYTES_MAX,
            state_bytes_max: limits::STATE_BYTES_MAX,
            depth_max: limits::DEPTH_MAX,
            hot_documents_max: limits::HOT_DOCUMENTS_MAX,
            hot_bytes_max: limits::HOT_BYTES_MAX,
            hot_idle: limits::HOT_IDLE,
            volatile_documents_max: limits::VOLATILE_DOCUMENTS_MAX,
            backlog_events_max: limits::BACKLOG_EVENTS_MAX,
            backlog_bytes_max: limits::BACKLOG_BYTES_MAX,
            ring_events_max: limits::RING_EVENTS_MAX,
            connections_max: 10_000,
            heartbeat: Duration::from_secs(15),
            reconnect_token_minutes: limits::RECONNECT_TOKEN_MINUTES,
            presence_debounce: limits::PRESENCE_DEBOUNCE,
            games_compacted_days: 1,
            games_completed_days: 7,
            games_abandoned_days: 30,
            rate_limit_capacity: limits::RATE_LIMIT_CAPACITY,
            rate_limit_refill: limits::RATE_LIMIT_CAPACITY,
            rate_limit_window_seconds: limits::RATE_LIMIT_WINDOW_SECONDS,
            rate_limit_administrators: false,
            client_flags: BTreeMap::new(),
            reconciliation_interval: limits::RECONCILIATION_INTERVAL,
            reconciliation_scrub_kib: limits::RECONCILIATION_SCRUB_KIB,
            reconciliation_days: limits::RECONCILIATION_AUDIT_DAYS,
            reconciliation_rows: limits::RECONCILIATION_AUDIT_ROWS,
            session_ttl: limits::SESSION_TTL,
            session_idle: limits::SESSION_IDLE,
            allowed_hosts: Vec::new(),
            tailscaled_socket: default_socket(),
            allow_listen_beyond_tailnet: false,
            administrators: Vec::new(),
            allowed_tags: Vec::new(),
            allow_shared_nodes: false,
            administrator_capability: None,
            tailnet_poll: limits::TAILNET_POLL,
            tailnet_recheck: limits::RECHECK,
            connections_per_user_max: limits::CONNECTIONS_PER_USER_MAX,
            streams_per_user_max: limits::STREAMS_PER_USER_MAX,
            database_pages_max: None,
            env: Environment::default(),
            usage_default_parties: None,
            usage_default_encounters: None,
            usage_default_creatures: None,
            flags: Flags::default(),
            snapshot_ratio_thousandths: policy::RATIO_DEFAULT,
            snapshot_age: Duration::ZERO,
            log: "info".to_owned(),
            log_format: LogFormat::Auto,
        }
    }
}

/// What a server is for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Environment {
    /// Trying things out: what users created is not set back by itself.
    #[default]
    Development,
    Production,
}

impl Environment {
    /// Its name in the configuration.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Development => "development",
            Self::Production => "production",
        }
    }
}

impl FromStr for Environment {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        [Self::Development, Self::Production]
            .into_iter()
            .find(|environment| environment.as_str() == text)
            .ok_or_else(|| format!("'{text}' is neither development nor production"))
    }
}

/// How log lines look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// [`Human`](Self::Human) on a terminal, [`Json`](Self::Json) otherwise.
    #[default]
    Auto,
    Human,
    /// One JSON object per line.
    Json,
}

impl LogFormat {
    /// Its name in the configuration.
    pub const fn as_str(self) -> &'static str {
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

/// What the command line asks for.
#[derive(Clone, Debug)]
pub(crate) enum Command {
    Serve(Box<Config>),
    /// Print this: the effective configuration, as a file that can be fed back.
    CheckConfig(String),
    /// Follow a document in the terminal.
    Watch(WatchOptions),
    /// Print this: help or the version.
    Help(String),
}

/// What `rejoin watch` follows, and how it tells it.
#[derive(Clone, Debug)]
pub(crate) struct WatchOptions {
    pub server: Target,
    pub document: DocumentName,
    /// The token of the session to show; without one, the watcher is who the server takes this machine's user for.
    pub session: Option<SessionToken>,
    /// Whether the events' data is printed as it comes instead of a line for people.
    pub json: bool,
}

/// The token of a session. It shows itself to no log.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct SessionToken(String);

impl SessionToken {
    /// The text, for the server.
    pub(crate) fn expose(&self) -> &str {
        &self.0
    }
}

impl FromStr for SessionToken {
    type Err = ConfigError;

    /// Takes what may stand in a header. Error: does not repeat it.
    fn from_str(text: &str) -> Result<Self, ConfigError> {
        if text.is_empty() || !text.bytes().all(|b| b.is_ascii_graphic()) {
            return Err(ConfigError("--session: this is not the token of a session".to_owned()));
        }
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Debug for SessionToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SessionToken(kept back)")
    }
}

/// Why a configuration is not accepted: one line that names the option and where its value comes from.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ConfigError(String);

/// What this process was asked for.
pub(crate) fn from_process() -> Result<Command, ConfigError> {
    parse(std::env::args_os())
}

/// Reads `args`, of which the first is the program's name, and this process's environment and working folder.
pub(crate) fn parse(args: impl IntoIterator<Item = OsString>) -> Result<Command, ConfigError> {
    let names = || std::env::vars_os().map(|(name, _)| name).collect();
    parse_in(args, &Surroundings { variable: &|name| std::env::var_os(name), names: &names, file: Path::new(FILE) })
}

/// What a configuration is read from besides the arguments. A value, so that tests need not change the process.
struct Surroundings<'a> {
    /// Reads an environment variable.
    variable: &'a dyn Fn(&str) -> Option<OsString>,
    /// The file that is read if it is there and no other is named.
    file: &'a Path,
    /// The names of all environment variables.
    names: &'a dyn Fn() -> Vec<OsString>,
}

fn parse_in(args: impl IntoIterator<Item = OsString>, around: &Surroundings<'_>) -> Result<Command, ConfigError> {
    let matches = match program().try_get_matches_from(args) {
        Ok(matches) => matches,
        Err(e) if matches!(e.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion) => {
            return Ok(Command::Help(e.render().to_string()));
        }
        Err(e) => return Err(usage_error(&e)),
    };
    let matches = match matches.subcommand() {
        Some(("watch", matches)) => return watch_options(matches, around).map(Command::Watch),
        Some((_, serve)) => serve,
        None => &matches,
    };
    let gathered = gather(matches, around)?;
    if matches.get_flag("check-config") {
        return Ok(Command::CheckConfig(gathered.to_toml()));
    }
    Ok(Command::Serve(Box::new(gathered.config)))
}

/// The command line, made from the table of options.
fn program() -> clap::Command {
    let about = "Live state that you can pull the plug on";
    let program = clap::Command::new("rejoin").version(env!("CARGO_PKG_VERSION")).about(about);
    let watch = clap::Command::new("watch").about("Follows a document in the terminal, reconnecting by itself");
    let document = Arg::new("document").value_name("COLLECTION/ID").required(true).help("The document to follow");
    let server = Arg::new("server").long("server").value_name("URL").default_value("http://127.0.0.1:7766");
    let session = Arg::new("session").long("session").value_name("TOKEN").help(SESSION_HELP);
    let json = Arg::new("json").long("json").action(ArgAction::SetTrue).help("Print the events' data as it comes");
    with_options(program)
        .args_conflicts_with_subcommands(true)
        .subcommand(with_options(clap::Command::new("serve").about("Runs the server (what no command means, too)")))
        .subcommand(watch.args([document, server.help("The server"), session, json]))
}

fn with_options(command: clap::Command) -> clap::Command {
    let config = Arg::new("config").long("config").value_name("FILE");
    let check = Arg::new("check-config").long("check-config").action(ArgAction::SetTrue);
    command
        .args(ROWS.iter().map(Row::to_arg))
        .arg(config.help("Read this file [default: ./rejoin.toml, if it is there]"))
        .arg(check.help("Print the effective configuration, with where each value comes from, and exit"))
        .after_help(
            "Each option is also a variable (REJOIN_HISTORY_EVENTS for --history-events) and a key of the file \
             (history-events = 500). A flag wins over a variable, that over the file.",
        )
}

/// One line of what clap tells in several.
fn usage_error(error: &clap::Error) -> ConfigError {
    let text = error.render().to_string();
    let told = text.lines().map(str::trim).take_while(|line| !line.starts_with("Usage:"));
    let told: Vec<&str> = told.filter(|line| !line.is_empty()).collect();
    let told = told.join(" ");
    ConfigError(format!("{}; --help tells more", told.strip_prefix("error: ").unwrap_or(&told)))
}

fn watch_options(matches: &ArgMatches, around: &Surroundings<'_>) -> Result<WatchOptions, ConfigError> {
    let text = |name: &str| matches.get_one::<String>(name).map_or("", String::as_str);
    let session = match matches.get_one::<String>("session") {
        Some(token) => Some(token.clone()),
        None => read_variable(SESSION_VARIABLE, around)?,
    };
    Ok(WatchOptions {
        server: Target::parse(text("server")).map_err(|why| ConfigError(format!("--server: {why}")))?,
        document: DocumentName::parse(text("document")).map_err(|e| ConfigError(e.message().to_owned()))?,
        session: session.as_deref().map(str::parse).transpose()?,
        json: matches.get_flag("json"),
    })
}

/// A configuration and where its values come from, in the order of the table.
struct Gathered {
    config: Config,
    origins: Vec<String>,
    client_flags: flags::ClientFlags,
}

impl Gathered {
    /// The configuration as a file. Reading that file gives the same configuration.
    fn to_toml(&self) -> String {
        let mut out = String::from("# The effective configuration; behind each value stands where it comes from.\n");
        for (row, origin) in ROWS.iter().zip(&self.origins) {
            match row.toml(&self.config) {
                Some(value) => out.push_str(&format!("{} = {value}  # {origin}\n", row.name)),
                None => out.push_str(&format!("# {} is not set\n", row.name)),
            }
        }
        for (name, (value, origin)) in &self.client_flags {
            out.push_str(&format!("flags.{name} = {value}  # {}\n", origin.replace(char::is_control, "?")));
        }
        out
    }
}

fn gather(matches: &ArgMatches, around: &Surroundings<'_>) -> Result<Gathered, ConfigError> {
    let file = find_file(matches, around)?;
    let mut config = Config::default();
    let mut origins = Vec::with_capacity(ROWS.len());
    for row in ROWS {
        let variable = row.variable();
        let (origin, values) = if let Some(values) = matches.get_many::<String>(row.name) {
            (format!("--{}", row.name), values.cloned().collect())
        } else if let Some(value) = read_variable(&variable, around)? {
            (variable, row.split(&value))
        } else if let Some(values) = file.values.get(row.name) {
            (format!("{}: {}", file.name, row.name), values.clone())
        } else {
            origins.push("default".to_owned());
            continue;
        };
        (row.set)(&mut config, &values).map_err(|why| ConfigError(format!("{origin}: {why}")))?;
        // A comment ends with its line, and a file's name is anybody's.
        origins.push(origin.replace(char::is_control, "?"));
    }
    let client_flags = flags::gather(file.client_flags, around)?;
    config.client_flags = client_flags.iter().map(|(name, (value, _))| (name.clone(), *value)).collect();
    config.validate()?;
    Ok(Gathered { config, origins, client_flags })
}

fn read_variable(name: &str, around: &Surroundings<'_>) -> Result<Option<String>, ConfigError> {
    let value = (around.variable)(name).map(OsString::into_string).transpose();
    value.map_err(|_| ConfigError(format!("{name}: is not UTF-8")))
}

/// The values of a configuration file, checked against the table's names and shapes.
#[derive(Default)]
struct File {
    name: String,
    values: BTreeMap<&'static str, Vec<String>>,
    client_flags: flags::ClientFlags,
}

fn find_file(matches: &ArgMatches, around: &Surroundings<'_>) -> Result<File, ConfigError> {
    let named = matches.get_one::<String>("config").map(PathBuf::from);
    let named = named.or_else(|| (around.variable)("REJOIN_CONFIG").map(PathBuf::from));
    let path = named.as_deref().unwrap_or(around.file);
    match std::fs::read_to_string(path) {
        Ok(text) => read_file(&path.display().to_string(), &text),
        Err(e) if named.is_none() && e.kind() == std::io::ErrorKind::NotFound => Ok(File::default()),
        Err(e) => Err(ConfigError(format!("{}: cannot be read: {e}", path.display()))),
    }
}

fn read_file(name: &str, text: &str) -> Result<File, ConfigError> {
    let table: toml::Table = text.parse().map_err(|e: toml::de::Error| {
        let before = e.span().and_then(|span| text.get(..span.start)).unwrap_or_default();
        let line = before.matches('\n').count() + 1;
        ConfigError(format!("{name}: line {line}: {}", e.message().replace('\n', " ")))
    })?;
    let (mut values, mut client_flags) = (BTreeMap::new(), BTreeMap::new());
    for (key, value) in flatten(table) {
        let Some(row) = ROWS.iter().find(|row| row.name == key) else {
            if !key.starts_with("flags.") {
                return Err(unknown_key(name, &key));
            }
            let (flag, value) = flags::of_file(&key, &value).map_err(|why| ConfigError(format!("{name}: {why}")))?;
            client_flags.insert(flag, (value, format!("{name}: {key}")));
            continue;
        };
        let texts = texts(row.shape, value).map_err(|why| ConfigError(format!("{name}: {key}: {why}")))?;
        values.insert(row.name, texts);
    }
    Ok(File { name: name.to_owned(), values, client_flags })
}

/// The keys of the file, those of the table `flags` with its name and a dot before.
fn flatten(table: toml::Table) -> Vec<(String, toml::Value)> {
    let mut flat = Vec::with_capacity(table.len());
    for (key, value) in table {
        match value {
            toml::Value::Table(inner) if key == "flags" => {
                flat.extend(inner.into_iter().map(|(name, value)| (format!("{key}.{name}"), value)));
            }
            value => flat.push((key, value)),
        }
    }
    flat
}

fn unknown_key(name: &str, key: &str) -> ConfigError {
    let likely = key.replace('_', "-").to_ascii_lowercase();
    let hint = ROWS.iter().find(|row| row.name == likely).map(|row| format!("; it is called '{}'", row.name));
    ConfigError(format!("{name}: there is no option '{}'{}", key.escape_debug(), hint.unwrap_or_default()))
}

/// The texts of a value, as a flag would carry them.
fn texts(shape: Shape, value: toml::Value) -> Result<Vec<String>, &'static str> {
    match (shape, value) {
        (Shape::Number | Shape::Decimal, toml::Value::Integer(number)) => Ok(vec![number.to_string()]),
        (Shape::Decimal, toml::Value::Float(number)) => Ok(vec![number.to_string()]),
        (Shape::Boolean, toml::Value::Boolean(value)) => Ok(vec![value.to_string()]),
        (Shape::Text | Shape::List, toml::Value::String(text)) => Ok(vec![text]),
        (Shape::List, toml::Value::Array(items)) => {
            let item = |item| if let toml::Value::String(text) = item { Ok(text) } else { Err("must hold strings") };
            items.into_iter().map(item).collect()
        }
        (Shape::Number, _) => Err("must be a whole number"),
        (Shape::Boolean, _) => Err("must be true or false"),
        (Shape::Decimal, _) => Err("must be a number"),
        (Shape::Text, _) => Err("must be a string"),
        (Shape::List, _) => Err("must be a list of strings"),
    }
}
