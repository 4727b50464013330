//! The options, one row each: name, what it does, and how text becomes a field and a field text.

use std::str::FromStr;
use std::time::Duration;

use clap::{Arg, ArgAction};

use super::Config;
use crate::base::ids::UserId;
use crate::engine::policy;
use crate::tailnet::listen::ListenOn;
use crate::tailnet::policy::tag_user;

/// What a value looks like in the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    Number,
    /// `true` or `false`.
    Boolean,
    /// A number with or without a fraction.
    Decimal,
    Text,
    /// A list of strings; as a flag: repeated; as a variable: with commas between.
    List,
}

pub(super) struct Row {
    /// In the file, and as a flag; one with a dot is in a table of the file, and as a flag has the dot too.
    pub(super) name: &'static str,
    value_name: &'static str,
    help: &'static str,
    pub(super) shape: Shape,
    /// Puts a value into its field; only the text is checked here, the value by `Config::validate`.
    pub(super) set: fn(&mut Config, &[String]) -> Result<(), String>,
    /// The field as text; none when it is not set.
    get: fn(&Config) -> Vec<String>,
}

impl Row {
    /// Its name in the environment.
    pub(super) fn variable(&self) -> String {
        let name = self.name.replace("flags.", "ff-");
        format!("REJOIN_{}", name.to_ascii_uppercase().replace('-', "_"))
    }

    /// The values in an environment variable.
    pub(super) fn split(&self, value: &str) -> Vec<String> {
        if self.shape != Shape::List {
            return vec![value.to_owned()];
        }
        value.split(',').map(str::trim).filter(|item| !item.is_empty()).map(str::to_owned).collect()
    }

    pub(super) fn to_arg(&self) -> Arg {
        let default = (self.get)(&Config::default()).join(",");
        let default = if default.is_empty() { "none" } else { &default };
        let action = if self.shape == Shape::List { ArgAction::Append } else { ArgAction::Set };
        let arg = Arg::new(self.name).long(self.name).value_name(self.value_name).action(action);
        let arg = match self.shape {
            // A flag alone says yes.
            Shape::Boolean => arg.num_args(0..=1).default_missing_value("true"),
            _ => arg,
        };
        arg.allow_hyphen_values(matches!(self.shape, Shape::Number | Shape::Decimal))
            .help(format!("{} [default: {default}]", self.help))
    }

    /// The field as a value of the file; `None` when it is not set.
    pub(super) fn toml(&self, config: &Config) -> Option<String> {
        let values = (self.get)(config);
        match self.shape {
            Shape::Number | Shape::Decimal | Shape::Boolean => values.into_iter().next(),
            Shape::Text => values.first().map(|text| quote(text)),
            Shape::List => {
                let items: Vec<String> = values.iter().map(|text| quote(text)).collect();
                Some(format!("[{}]", items.join(", ")))
            }
        }
    }
}

/// A basic string of TOML. What JSON escapes and how, TOML understands; it forbids one character more.
fn quote(text: &str) -> String {
    serde_json::Value::from(text).to_string().replace('\u{7f}', "\\u007f")
}

fn one(values: &[String]) -> Result<&str, String> {
    match values {
        [value] => Ok(value),
        _ => Err("takes one value".to_owned()),
    }
}

fn boolean(values: &[String], field: &mut bool) -> Result<(), String> {
    let text = one(values)?;
    *field = text.parse().map_err(|_| format!("'{text}' is neither true nor false"))?;
    Ok(())
}

fn number<T: FromStr>(values: &[String], field: &mut T) -> Result<(), String> {
    let text = one(values)?;
    *field = text.parse().map_err(|_| format!("'{text}' is not a whole number that fits"))?;
    Ok(())
}

/// A ratio that is kept in thousandths. What is out of bounds is refused here, where it is still what was written.
fn thousandths(values: &[String], field: &mut u32) -> Result<(), String> {
    let text = one(values)?;
    let ratio = text.parse().ok().and_then(policy::thousandths);
    let (least, most) = (policy::RATIO_MIN / 10, policy::RATIO_MAX / 1000);
    *field = ratio.ok_or_else(|| format!("'{text}' is not a number from 0.0{least} to {most}"))?;
    Ok(())
}

fn seconds(values: &[String], field: &mut Duration) -> Result<(), String> {
    let mut count = 0;
    number(values, &mut count)?;
    *field = Duration::from_secs(count);
    Ok(())
}

fn places(values: &[String], field: &mut ListenOn) -> Result<(), String> {
    // A text of the file, like a variable, may name several.
    let places = values.iter().flat_map(|text| text.split(',')).map(|text| text.trim().parse());
    *field = ListenOn::new(places.collect::<Result<_, _>>()?)?;
    Ok(())
}

/// Tags and, where `people` are taken, user ids; each once.
fn identities(values: &[String], people: bool, field: &mut Vec<UserId>) -> Result<(), String> {
    *field = Vec::with_capacity(values.len());
    for text in values {
        let user = match text.strip_prefix("tag:") {
            Some(name) => tag_user(name).ok_or_else(|| format!("'{}' is not a tag", text.escape_debug()))?,
            None => person(text).filter(|_| people).ok_or_else(|| misnamed(text, people))?,
        };
        if !field.contains(&user) {
            field.push(user);
        }
    }
    Ok(())
}

/// The user id that is a number, as tailscaled has it.
fn person(text: &str) -> Option<UserId> {
    let number: i64 = text.parse().ok()?;
    (number > 0 && number.to_string() == text).then(|| UserId::new(text).ok())?
}

fn misnamed(text: &str, people: bool) -> String {
    let text = text.escape_debug();
    match people {
        false => format!("'{text}' is not a tag such as tag:bots"),
        true if text.to_string().contains('@') => {
            format!(
                "'{text}' is a login, which can be given to somebody else; name the user id, which GET /api/v1/me shows"
            )
        }
        true => format!("'{text}' is neither a user id such as 1234567890 nor a tag such as tag:bots"),
    }
}

/// The identities as they are configured.
fn named(users: &[UserId]) -> Vec<String> {
    let name = |user: &UserId| match user.as_str().strip_prefix("tag-") {
        Some(tag) => format!("tag:{tag}"),
        None => user.to_string(),
    };
    users.iter().map(name).collect()
}

/// A row for a number that is a field of the same name.
macro_rules! number {
    ($name:literal, $value:literal, $field:ident, $help:literal) => {
        Row {
            name: $name,
            value_name: $value,
            help: $help,
            shape: Shape::Number,
            set: |config, values| number(values, &mut config.$field),
            get: |config| vec![config.$field.to_string()],
        }
    };
}

/// A row for a number that is a field of the same name, and may be left unset.
macro_rules! optional {
    ($name:literal, $value:literal, $field:ident, $help:literal) => {
        Row {
            name: $name,
            value_name: $value,
            help: $help,
            shape: Shape::Number,
            set: |config, values| {
                let mut count = 0;
                number(values, &mut count)?;
                config.$field = Some(count);
                Ok(())
            },
            get: |config| config.$field.iter().map(u64::to_string).collect(),
        }
    };
}

/// A row for a duration in seconds.
macro_rules! seconds {
    ($name:literal, $field:ident, $help:literal) => {
        Row {
            name: $name,
            value_name: "SECONDS",
            help: $help,
            shape: Shape::Number,
            set: |config, values| seconds(values, &mut config.$field),
            get: |config| vec![config.$field.as_secs().to_string()],
        }
    };
}

/// All options, in the order in which people meet them.
pub(super) const ROWS: &[Row] = &[
    Row {
        name: "listen",
        value_name: "ADDRESS:PORT",
        help: "Listen here; tailnet:PORT is each of this node's tailnet addresses; port 0 takes a free one \
               (repeatable)",
        shape: Shape::List,
        set: |config, values| places(values, &mut config.listen),
        get: |config| config.listen.places().iter().map(ToString::to_string).collect(),
    },
    Row {
        name: "data-dir",
        value_name: "FOLDER",
        help: "Keep the database here; made when it is not there",
        shape: Shape::Text,
        set: |config, values| one(values).map(|text| config.data_dir = text.into()),
        get: |config| vec![config.data_dir.display().to_string()],
    },
    Row {
        name: "allowed-host",
        value_name: "NAME",
        help: "Answer to this host name too, besides the listen address and localhost (repeatable)",
        shape: Shape::List,
        set: |config, values| {
            config.allowed_hosts = values.iter().map(|name| name.to_ascii_lowercase()).collect();
            Ok(())
        },
        get: |config| config.allowed_hosts.clone(),
    },
    Row {
        name: "tailscaled-socket",
        value_name: "PATH",
        help: "Ask tailscaled at this socket who is at the other end of a connection",
        shape: Shape::Text,
        set: |config, values| one(values).map(|text| config.tailscaled_socket = text.into()),
        get: |config| vec![config.tailscaled_socket.display().to_string()],
    },
    Row {
        name: "allow-listen-beyond-tailnet",
        value_name: "BOOLEAN",
        help: "Let --listen name addresses of other networks, whose callers need a session",
        shape: Shape::Boolean,
        set: |config, values| boolean(values, &mut config.allow_listen_beyond_tailnet),
        get: |config| vec![config.allow_listen_beyond_tailnet.to_string()],
    },
    Row {
        name: "administrator",
        value_name: "USER-ID|TAG",
        help: "This user of the tailnet administers, or nodes with this tag, besides the node's owner (repeatable)",
        shape: Shape::List,
        set: |config, values| identities(values, true, &mut config.administrators),
        get: |config| named(&config.administrators),
    },
    Row {
        name: "administrator-capability",
        value_name: "DOMAIN/NAME",
        help: "Who is granted this app capability with {\"role\": \"admin\"} by the tailnet's policy administers",
        shape: Shape::Text,
        set: |config, values| one(values).map(|text| config.administrator_capability = Some(text.to_owned())),
        get: |config| config.administrator_capability.iter().cloned().collect(),
    },
    Row {
        name: "allowed-tag",
        value_name: "TAG",
        help: "Let nodes with this tag in, as the user tag-NAME (repeatable)",
        shape: Shape::List,
        set: |config, values| identities(values, false, &mut config.allowed_tags),
        get: |config| named(&config.allowed_tags),
    },
    Row {
        name: "allow-shared-nodes",
        value_name: "BOOLEAN",
        help: "Let nodes of other tailnets in that are shared with this one",
        shape: Shape::Boolean,
        set: |config, values| boolean(values, &mut config.allow_shared_nodes),
        get: |config| vec![config.allow_shared_nodes.to_string()],
    },
    seconds!("tailnet-poll-seconds", tailnet_poll, "Look this often which addresses this node has, 1 to 300"),
    seconds!(
        "tailnet-recheck-seconds",
        tailnet_recheck,
        "Ask this often whether who is connected may still be, 1 to 3600"
    ),
    number!("history-events", "COUNT", history_events, "Keep this many events per document"),
    number!("history-days", "DAYS", history_days, "Keep a document's events for this long"),
    number!("body-bytes-max", "BYTES", body_bytes_max, "Largest request body"),
    number!("state-bytes-max", "BYTES", state_bytes_max, "Largest state; at most half of the largest body"),
    number!("depth-max", "LEVELS", depth_max, "Deepest nesting of a body or a state, 1 to 100"),
    number!("hot-documents-max", "COUNT", hot_documents_max, "Keep at most this many documents in memory"),
    number!("hot-bytes-max", "BYTES", hot_bytes_max, "Keep at most this many bytes of states in memory"),
    seconds!("hot-idle-seconds", hot_idle, "Drop a document from memory when it was not used for this long"),
    number!(
        "volatile-documents-max",
        "COUNT",
        volatile_documents_max,
        "Keep at most this many documents that live in memory only"
    ),
    number!("backlog-events-max", "COUNT", backlog_events_max, "Accept this many changes while storage fails"),
    number!("backlog-bytes-max", "BYTES", backlog_bytes_max, "Accept this many bytes of changes while storage fails"),
    number!("ring-events-max", "COUNT", ring_events_max, "Keep this many recent events in memory for streams"),
    number!("connections-max", "COUNT", connections_max, "Serve at most this many connections at once"),
    number!(
        "connections-per-user-max",
        "COUNT",
        connections_per_user_max,
        "Serve at most this many connections of one person of the tailnet"
    ),
    number!("streams-per-user-max", "COUNT", streams_per_user_max, "Serve at most this many streams of one user"),
    seconds!("heartbeat-seconds", heartbeat, "Send a heartbeat on each stream this often, 1 to 60"),
    number!(
        "reconnect-token-minutes",
        "MINUTES",
        reconnect_token_minutes,
        "Let a reconnect token be good for this long"
    ),
    Row {
        name: "presence-debounce-ms",
        value_name: "MILLISECONDS",
        help: "Tell that a player's connection is lost when it was for this long, 0 to 60000",
        shape: Shape::Number,
        set: |config, values| {
            let mut count = 0;
            number(values, &mut count)?;
            config.presence_debounce = Duration::from_millis(count);
            Ok(())
        },
        get: |config| vec![config.presence_debounce.as_millis().to_string()],
    },
    number!(
        "games-compacted-days",
        "DAYS",
        games_compacted_days,
        "Drop the history of a game this long after it was completed; its state stays"
    ),
    number!("games-completed-days", "DAYS", games_completed_days, "Remove a game this long after it was completed"),
    number!(
        "games-abandoned-days",
        "DAYS",
        games_abandoned_days,
        "Remove any other game this long after its last event"
    ),
    number!("rate-limit-capacity", "REQUESTS", rate_limit_capacity, "Let anybody send this many requests at once"),
    number!("rate-limit-refill", "REQUESTS", rate_limit_refill, "Let them send this many more in each window"),
    number!("rate-limit-window-seconds", "SECONDS", rate_limit_window_seconds, "Length of that window"),
    Row {
        name: "rate-limit-administrators",
        value_name: "BOOLEAN",
        help: "Limit administrators too, the owner on this machine included",
        shape: Shape::Boolean,
        set: |config, values| boolean(values, &mut config.rate_limit_administrators),
        get: |config| vec![config.rate_limit_administrators.to_string()],
    },
    seconds!(
        "reconciliation-seconds",
        reconciliation_interval,
        "Compare memory with the disk this often, at most 3600; 0: only when asked"
    ),
    number!(
        "reconciliation-scrub-kib",
        "KIB",
        reconciliation_scrub_kib,
        "Read and hash again this many KiB a second of what is on disk; 0: none"
    ),
    number!("reconciliation-days", "DAYS", reconciliation_days, "Keep the audit of reconciliation for this long"),
    number!("reconciliation-rows", "COUNT", reconciliation_rows, "Keep at most this many rows of that audit"),
    seconds!("session-ttl-seconds", session_ttl, "Let a session be good for this long after it was opened or renewed"),
    seconds!("session-idle-seconds", session_idle, "End a session that was not used for this long"),
    Row {
        name: "database-pages-max",
        value_name: "PAGES",
        help: "Let the database file grow to this many pages of 4 KiB",
        shape: Shape::Number,
        set: |config, values| {
            let mut pages = 0;
            number(values, &mut pages)?;
            config.database_pages_max = Some(pages);
            Ok(())
        },
        get: |config| config.database_pages_max.iter().map(u32::to_string).collect(),
    },
    Row {
        name: "env",
        value_name: "ENVIRONMENT",
        help: "What the server is for: development, or production, where usage counters are set back by themselves",
        shape: Shape::Text,
        set: |config, values| one(values)?.parse().map(|env| config.env = env),
        get: |config| vec![config.env.as_str().to_owned()],
    },
    optional!(
        "usage-default-parties-created",
        "COUNT",
        usage_default_parties,
        "Let users without a subscription create this many parties in a calendar month"
    ),
    optional!("usage-default-encounters-created", "COUNT", usage_default_encounters, "The same for encounters"),
    optional!("usage-default-creatures-created", "COUNT", usage_default_creatures, "The same for creatures"),
    Row {
        name: "flags.games-persistence",
        value_name: "BOOLEAN",
        help: "Keep new games on disk; false: they live in memory only and are marked so (REJOIN_FF_GAMES_PERSISTENCE)",
        shape: Shape::Boolean,
        set: |config, values| boolean(values, &mut config.flags.games_persistence),
        get: |config| vec![config.flags.games_persistence.to_string()],
    },
    Row {
        name: "snapshot-ratio",
        value_name: "RATIO",
        help: "Store a document whole when changes since the last time add up to this many times its state",
        shape: Shape::Decimal,
        set: |config, values| thousandths(values, &mut config.snapshot_ratio_thousandths),
        get: |config| vec![(f64::from(config.snapshot_ratio_thousandths) / 1000.0).to_string()],
    },
    seconds!("snapshot-age-seconds", snapshot_age, "Store a changed document whole after this long; 0: never for that"),
    Row {
        name: "log",
        value_name: "FILTER",
        help: "Write these log lines: a level, or parts with levels, such as info,rejoin::http=debug",
        shape: Shape::Text,
        set: |config, values| one(values).map(|text| text.clone_into(&mut config.log)),
        get: |config| vec![config.log.clone()],
    },
    Row {
        name: "log-format",
        value_name: "FORMAT",
        help: "How log lines look: human, json, or auto (human on a terminal, json otherwise)",
        shape: Shape::Text,
        set: |config, values| one(values)?.parse().map(|format| config.log_format = format),
        get: |config| vec![config.log_format.as_str().to_owned()],
    },
];
