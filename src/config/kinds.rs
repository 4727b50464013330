//! Kinds of option values that are more than a number or a text.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use tracing_subscriber::EnvFilter;

use crate::base::ids::UserId;
use crate::base::options::{Shape, ValueType, check_range, one};
use crate::engine::policy::{RATIO_MAX, RATIO_MIN, thousandths};
use crate::http::request::origins::parse_origin;
use crate::tailnet::listen_address::ListenAddresses;
use crate::tailnet::policy::tag_user;

/// Longest host name, bytes (RFC 1035).
const HOST_LENGTH_MAX: usize = 253;

/// Addresses and ports to listen on.
pub(super) fn listen_addresses() -> ValueType<ListenAddresses> {
    let parse = |values: &[String]| {
        // A text of the file, like a variable, may name several.
        let places = values.iter().flat_map(|text| text.split(',')).map(|text| text.trim().parse());
        ListenAddresses::new(places.collect::<Result<_, _>>()?)
    };
    ValueType::new(Shape::List, parse, |on: &ListenAddresses| on.addresses().iter().map(ToString::to_string).collect())
}

/// A path that is not empty.
pub(super) fn path() -> ValueType<PathBuf> {
    let parse = |values: &[String]| one(values).map(PathBuf::from);
    ValueType::new(Shape::Text, parse, |path: &PathBuf| vec![path.display().to_string()])
        .checked(|path| check_not_empty(path))
}

fn check_not_empty(path: &Path) -> Result<(), String> {
    if path.as_os_str().is_empty() { Err("must not be empty".to_owned()) } else { Ok(()) }
}

/// The path of the socket on which tailscaled answers.
pub(super) fn tailscaled_socket() -> ValueType<PathBuf> {
    path().checked(|path| {
        check_not_empty(path)?;
        if path.to_str().is_some_and(|text| text.parse::<SocketAddr>().is_ok() || text.contains("://")) {
            let rule = "is no path of a socket; tailscaled over TCP (macOS's graphical builds) is not supported yet";
            return Err(format!("'{}' {rule}", path.display()));
        }
        Ok(())
    })
}

/// Host names in lower case, without port.
pub(super) fn host_names() -> ValueType<Vec<String>> {
    let parse = |values: &[String]| Ok(values.iter().map(|name| name.to_ascii_lowercase()).collect());
    ValueType::new(Shape::List, parse, Vec::clone).checked(|names| {
        match names.iter().find(|name| !is_host_name(name)) {
            Some(name) => {
                let rule = "is not a host name (letters, digits, '-' and '.'; no port, no scheme, no '*')";
                Err(format!("'{}' {rule}", name.escape_debug()))
            }
            None => Ok(()),
        }
    })
}

/// Origins of web pages.
pub(super) fn origins() -> ValueType<Vec<String>> {
    let parse = |values: &[String]| {
        Ok(values.iter().map(|text| parse_origin(text).unwrap_or_else(|| text.clone())).collect::<Vec<_>>())
    };
    ValueType::new(Shape::List, parse, Vec::clone).checked(|origins| {
        let Some(wrong) = origins.iter().find(|origin| parse_origin(origin).as_ref() != Some(origin)) else {
            return Ok(());
        };
        let rule = "is not an origin such as http://localhost:5173 (scheme, host and port; no path, no '*')";
        Err(format!("'{}' {rule}", wrong.escape_debug()))
    })
}

/// The name of an app capability of the tailnet.
pub(super) fn capability() -> ValueType<String> {
    ValueType::new(Shape::Text, |values| one(values).map(str::to_owned), |name: &String| vec![name.clone()]).checked(
        |name| {
            if is_capability(name) {
                return Ok(());
            }
            let rule = "is not the name of an app capability such as example.org/cap/rejoin";
            Err(format!("'{}' {rule}", name.escape_debug()))
        },
    )
}

/// What a level may be called, besides `0` to `5`.
const LOG_LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];

/// Whether each part of a filter has a level that there is. To the library a word that is no level is the name of a
/// module, and turns everything else off.
fn check_log_levels(filter: &str) -> Result<(), String> {
    // What is between brackets may have commas.
    let mut parts = filter.split(',').map(str::trim).filter(|part| !part.is_empty() && !filter.contains('['));
    let is_known = |part: &str| match part.rsplit_once('=') {
        Some((_, level)) => is_log_level(level),
        None => is_log_level(part) || part == "rejoin" || part.contains("::"),
    };
    let levels = LOG_LEVELS.join(", ");
    match parts.find(|part| !is_known(part)) {
        Some(part) => Err(format!("'{}' has no level; levels are {levels}", part.escape_debug())),
        None if filter.trim().is_empty() => Err(format!("must not be empty; levels are {levels}")),
        None => Ok(()),
    }
}

/// The level of what a filter says nothing of.
const LOG_LEVEL_DEFAULT: &str = "info";
/// What levels are called elsewhere: no names of modules.
const FOREIGN_LOG_LEVELS: [&str; 9] =
    ["verbose", "warning", "warnings", "err", "notice", "critical", "fatal", "all", "none"];

/// A filter as other programs take it: a word that is no level is a module, all of whose lines are wanted.
pub(super) fn shared_log_filter(filter: &str) -> String {
    let part = |part: &str| {
        let word = part.trim();
        let module = !word.is_empty() && word.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b':'));
        let foreign = FOREIGN_LOG_LEVELS.iter().any(|level| word.eq_ignore_ascii_case(level));
        if module && !foreign && !is_log_level(word) { format!("{word}=trace") } else { part.to_owned() }
    };
    filter.split(',').map(part).collect::<Vec<_>>().join(",")
}

/// A filter with a level for all that it does not name: to the library it turns that off.
fn complete_log_filter(filter: &str) -> String {
    let mut parts = filter.split(',').map(str::trim);
    if filter.trim().is_empty() || filter.contains('[') || parts.any(is_log_level) {
        return filter.to_owned();
    }
    format!("{LOG_LEVEL_DEFAULT},{filter}")
}

fn is_log_level(word: &str) -> bool {
    LOG_LEVELS.iter().any(|level| word.eq_ignore_ascii_case(level)) || matches!(word.as_bytes(), [b'0'..=b'5'])
}

/// A filter of log lines.
pub(super) fn log_filter() -> ValueType<String> {
    ValueType::new(Shape::Text, |values| one(values).map(complete_log_filter), |filter: &String| vec![filter.clone()])
        .checked(|filter| {
            check_log_levels(filter)?;
            match EnvFilter::try_new(filter) {
                Ok(_) => Ok(()),
                Err(error) => Err(format!("'{}' is not a log filter: {error}", filter.escape_debug())),
            }
        })
}

/// A ratio that is kept in thousandths. What is out of bounds is refused here, where it is still what was written.
pub(super) fn ratio() -> ValueType<u32> {
    let parse = |values: &[String]| {
        let text = one(values)?;
        let ratio = text.parse().ok().and_then(thousandths);
        let (least, most) = (RATIO_MIN / 10, RATIO_MAX / 1000);
        ratio.ok_or_else(|| format!("'{text}' is not a number from 0.0{least} to {most}"))
    };
    let kind = ValueType::new(Shape::Decimal, parse, |ratio: &u32| vec![(f64::from(*ratio) / 1000.0).to_string()]);
    let (least, most) = (f64::from(RATIO_MIN) / 1000.0, RATIO_MAX / 1000);
    kind.ranged(least, most).checked(|ratio| check_range((*ratio).into(), RATIO_MIN.into(), RATIO_MAX.into()))
}

/// Tags of the tailnet, as the user ids that stand for them.
pub(super) fn tags() -> ValueType<Vec<UserId>> {
    ValueType::new(Shape::List, |values| identities(values, false), |tags: &Vec<UserId>| format_identities(tags))
}

/// User ids of the tailnet and tags.
pub(super) fn users_and_tags() -> ValueType<Vec<UserId>> {
    ValueType::new(Shape::List, |values| identities(values, true), |users: &Vec<UserId>| format_identities(users))
}

/// Tags and, where `people` are taken, user ids; each once.
fn identities(values: &[String], people: bool) -> Result<Vec<UserId>, String> {
    let mut users = Vec::with_capacity(values.len());
    for text in values {
        let user = match text.strip_prefix("tag:") {
            Some(name) => tag_user(name).ok_or_else(|| format!("'{}' is not a tag", text.escape_debug()))?,
            None => numeric_user(text).filter(|_| people).ok_or_else(|| name_error(text, people))?,
        };
        if !users.contains(&user) {
            users.push(user);
        }
    }
    Ok(users)
}

/// The user id that is a number, as tailscaled has it.
fn numeric_user(text: &str) -> Option<UserId> {
    let number: i64 = text.parse().ok()?;
    (number > 0 && number.to_string() == text).then(|| UserId::new(text).ok())?
}

fn name_error(text: &str, people: bool) -> String {
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

fn format_identities(users: &[UserId]) -> Vec<String> {
    let name = |user: &UserId| match user.as_str().strip_prefix("tag-") {
        Some(tag) => format!("tag:{tag}"),
        None => user.to_string(),
    };
    users.iter().map(name).collect()
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
