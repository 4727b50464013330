//! Flags that mean nothing to the server: it hands them to clients, which read them at `/api/v1/flags`.

use std::collections::BTreeMap;

use super::suggestions::{SLIP_MAX, distance};
use super::{ConfigError, Inputs, read_variable};
use crate::base::limits::CLIENT_FLAGS_MAX;
use crate::base::options::OptionSpec;

/// What the variables of all flags begin with.
pub(super) const PREFIX: &str = "REJOIN_FF_";
/// The section of the file that they are in.
pub(super) const SECTION: &str = "flags";
/// What the keys of all flags begin with.
pub(super) const TABLE: &str = "flags.";
const NAME_LENGTH_MAX: usize = 63;

/// The flags for clients, each with where it comes from.
pub(super) type ClientFlags = BTreeMap<String, (bool, String)>;

/// Reads a key of the file that is none of the server's own. Error: in words, without the place.
pub(super) fn of_file(key: &str, value: &toml::Value, specs: &[OptionSpec]) -> Result<(String, bool), String> {
    let unknown = || format!("there is no option '{}'", key.escape_debug());
    let name = key.strip_prefix(TABLE).ok_or_else(unknown)?;
    check(name, specs).map_err(|why| format!("{}{why}", unknown()))?;
    let value = value.as_bool().ok_or_else(|| format!("{key}: must be true or false"))?;
    Ok((name.to_owned(), value))
}

/// Those of the file, and those of the environment over them.
pub(super) fn gather(
    mut flags: ClientFlags,
    inputs: &Inputs<'_>,
    specs: &[OptionSpec],
) -> Result<ClientFlags, ConfigError> {
    let own: Vec<String> = specs.iter().map(OptionSpec::variable).collect();
    let names = (inputs.names)().into_iter().filter_map(|name| name.into_string().ok());
    for variable in names.filter(|name| name.starts_with(PREFIX) && !own.contains(name)) {
        let refuse = |why: String| ConfigError::new(format!("{}: {why}", variable.escape_debug()));
        let name = variable.strip_prefix(PREFIX).unwrap_or_default();
        if name.bytes().any(|b| b.is_ascii_lowercase() || b == b'-') {
            return Err(refuse("is written in capital letters, with '_' between".to_owned()));
        }
        let name = name.to_ascii_lowercase().replace('_', "-");
        check(&name, specs).map_err(|why| refuse(format!("there is no such flag{why}")))?;
        let Some(text) = read_variable(&variable, inputs)? else { continue };
        let value = text.parse().map_err(|_| refuse(format!("'{text}' is neither true nor false")))?;
        flags.insert(name, (value, variable));
    }
    if flags.len() > CLIENT_FLAGS_MAX {
        return Err(ConfigError::new(format!(
            "flags: there are {}, and at most {CLIENT_FLAGS_MAX} may be",
            flags.len()
        )));
    }
    Ok(flags)
}

/// Whether a flag may be called this: lower-case words with '-' between, and not nearly as one of the server's own is,
/// which would be meant then. Error: the end of a sentence that says so.
fn check(name: &str, specs: &[OptionSpec]) -> Result<(), String> {
    let word = |word: &str| {
        let letter = word.bytes().next().is_some_and(|b| b.is_ascii_lowercase());
        letter && word.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit())
    };
    if name.len() > NAME_LENGTH_MAX || !name.split('-').all(word) {
        return Err("; a flag is called by words of lower-case letters and digits, with '-' between".to_owned());
    }
    let own = specs.iter().filter_map(|spec| spec.name.strip_prefix(TABLE));
    match own.into_iter().find(|own| is_like(name, own)) {
        Some(own) => Err(format!("; it is close to '{TABLE}{own}', which is the server's own")),
        None => Ok(()),
    }
}

fn is_like(name: &str, own: &str) -> bool {
    name.starts_with(own) || own.starts_with(name) || distance(name, own) <= SLIP_MAX
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_of_the_pen_is_not_a_new_flag() {
        let specs = crate::config::Config::default().specs();
        for good in ["new-lobby", "a", "lobby2", "persistence"] {
            assert_eq!(check(good, &specs), Ok(()), "{good}");
        }
        let slips = ["games-persistance", "game-persistence", "games", "games-persistence-2", "gamespersistence"];
        let odd = ["", "-a", "a-", "a--b", "A", "a_b", "1a", "a-1", "ä"];
        for bad in slips.into_iter().chain(odd) {
            assert!(check(bad, &specs).is_err(), "{bad}");
        }
    }
}
