//! Shorter ways to set an option: `--port N` for `--listen 127.0.0.1:N`, `-v` and `RUST_LOG` for `--log`.

use clap::{Arg, ArgAction, ArgMatches};

use super::kinds::shared_log_filter;
use super::{ConfigError, Inputs, read_variable};

pub(super) const PORT_VARIABLE: &str = "REJOIN_PORT";
const LISTEN_VARIABLE: &str = "REJOIN_LISTEN";
const LOG_VARIABLE: &str = "RUST_LOG";

/// The flags.
pub(super) fn args() -> [Arg; 2] {
    let port = Arg::new("port").long("port").value_name("PORT").conflicts_with("listen").allow_hyphen_values(true);
    let verbose = Arg::new("verbose").short('v').long("verbose").action(ArgAction::Count).conflicts_with("log");
    [
        port.help("Listen on 127.0.0.1:PORT; the same as --listen 127.0.0.1:PORT"),
        verbose.help("Write more log lines; the same as --log debug, and twice --log trace"),
    ]
}

/// Where the value of an option comes from, and what it is.
type OptionOrigin = (String, String);

/// The value that one of these flags gives to `option`.
pub(super) fn flag(option: &str, matches: &ArgMatches) -> Result<Option<OptionOrigin>, ConfigError> {
    match option {
        "listen" => matches.try_get_one::<String>("port").ok().flatten().map(|port| listen("--port", port)).transpose(),
        "log" => Ok(match matches.try_get_one::<u8>("verbose").ok().flatten().copied().unwrap_or(0) {
            0 => None,
            1 => Some(("-v".to_owned(), "debug".to_owned())),
            _ => Some(("-vv".to_owned(), "trace".to_owned())),
        }),
        _ => Ok(None),
    }
}

/// The value that one of these variables gives to `option`. Error: a port beside an address.
pub(super) fn variable(option: &str, inputs: &Inputs<'_>) -> Result<Option<OptionOrigin>, ConfigError> {
    match option {
        "listen" => read_variable(PORT_VARIABLE, inputs)?.map(|port| listen(PORT_VARIABLE, &port)).transpose(),
        "log" => {
            let filter = read_variable(LOG_VARIABLE, inputs)?;
            Ok(filter.map(|filter| (LOG_VARIABLE.to_owned(), shared_log_filter(&filter))))
        }
        _ => Ok(None),
    }
}

/// Error: both variables that say where to listen are set.
pub(super) fn check_variables(inputs: &Inputs<'_>) -> Result<(), ConfigError> {
    let both = read_variable(PORT_VARIABLE, inputs)?.is_some() && read_variable(LISTEN_VARIABLE, inputs)?.is_some();
    let why = "says the same thing as";
    if both {
        Err(ConfigError::new(format!("{PORT_VARIABLE}: {why} {LISTEN_VARIABLE}; set one of them")))
    } else {
        Ok(())
    }
}

fn listen(origin: &str, port: &str) -> Result<OptionOrigin, ConfigError> {
    let number: u16 = port
        .parse()
        .map_err(|_| ConfigError::new(format!("{origin}: '{port}' is not a port; it must be 0 to 65535")))?;
    Ok((origin.to_owned(), format!("127.0.0.1:{number}")))
}
