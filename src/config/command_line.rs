//! The command line: flags from the options' definitions, and the subcommands.

use std::fmt;
use std::str::FromStr;

use clap::{Arg, ArgAction, ArgMatches};

use super::{ConfigError, Inputs, ProgramName, read_variable, shorthands};
use crate::base::error::Error;
use crate::base::ids::{Collection, DocumentName};
use crate::base::options::{OptionSpec, Shape};
use crate::net::http_client::ServerUrl;

/// Where `rejoin watch` finds the token of its session, other than on the command line, which others on the machine
/// see.
pub(super) const SESSION_VARIABLE: &str = "REJOIN_SESSION";
pub(super) const SESSION_HELP: &str = "Show this session's token; better kept in REJOIN_SESSION";

/// What `rejoin watch` follows, and how it tells it.
#[derive(Clone, Debug)]
pub(crate) struct WatchOptions {
    pub server: ServerUrl,
    pub watched: Watched,
    /// The token of the session to show; without one, the watcher is who the server takes this machine's user for.
    pub session: Option<SessionToken>,
    /// Whether the events' data is printed as it comes instead of a line for people.
    pub json: bool,
}

/// What is followed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Watched {
    Document(DocumentName),
    Collection(Collection),
}

impl FromStr for Watched {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        match text.contains('/') {
            true => DocumentName::parse(text).map(Self::Document),
            false => Collection::new(text).map(Self::Collection),
        }
    }
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
            return Err(ConfigError::new("--session: this is not the token of a session".to_owned()));
        }
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Debug for SessionToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SessionToken(kept back)")
    }
}

/// The command line.
pub(super) fn program(specs: &[OptionSpec], name: ProgramName) -> clap::Command {
    let about = "Live state that you can pull the plug on";
    let program = clap::Command::new(name.name).version(name.version).about(about);
    let watch =
        clap::Command::new("watch").about("Follows a document or a collection in the terminal, reconnecting by itself");
    let document = Arg::new("document").value_name("COLLECTION[/ID]").required(true).help("What to follow");
    let server = Arg::new("server").long("server").value_name("URL").default_value("http://127.0.0.1:7766");
    let session = Arg::new("session").long("session").value_name("TOKEN").help(SESSION_HELP);
    let json = Arg::new("json").long("json").action(ArgAction::SetTrue).help("Print the events' data as it comes");
    let link = "Makes a link, good once, that makes an administrator of whoever opens it; the server may run";
    with_options(program, specs)
        .args_conflicts_with_subcommands(true)
        .subcommand(with_options(
            clap::Command::new("serve").about("Runs the server (what no command means, too)"),
            specs,
        ))
        .subcommand(with_options(clap::Command::new("session").about(link), specs))
        .subcommand(watch.args([document, server.help("The server"), session, json]))
}

/// Names the file with the options.
pub(super) fn config_arg() -> Arg {
    let config = Arg::new("config").long("config").value_name("FILE");
    config.help("Read this file [default: ./rejoin.toml, if it is there]")
}

fn with_options(command: clap::Command, specs: &[OptionSpec]) -> clap::Command {
    let check = Arg::new("check-config").long("check-config").action(ArgAction::SetTrue);
    command
        .args(specs.iter().map(to_arg))
        .args(shorthands::args())
        .arg(config_arg())
        .arg(check.help("Print the effective configuration, with where each value comes from, and exit"))
        .after_help(
            "Each option is also a variable (REJOIN_HISTORY_EVENTS for --history-events) and a key of the file \
             (history-events = 500). A flag wins over a variable, that over the file.",
        )
}

pub(super) fn to_arg(spec: &OptionSpec) -> Arg {
    let default = spec.default.join(",");
    let default = if default.is_empty() { "none" } else { &default };
    let range = spec.range.as_ref().map_or_else(String::new, |range| format!("{range}; "));
    let action = if spec.shape == Shape::List { ArgAction::Append } else { ArgAction::Set };
    let arg = Arg::new(spec.name).long(spec.name).value_name(spec.value_name).action(action);
    let arg = match spec.shape {
        // A flag alone says yes.
        Shape::Boolean => arg.num_args(0..=1).default_missing_value("true"),
        _ => arg,
    };
    arg.allow_hyphen_values(matches!(spec.shape, Shape::Number | Shape::Decimal))
        .help(format!("{} [{range}default: {default}]", spec.help))
}

/// One line of what clap tells in several.
pub(super) fn usage_error(error: &clap::Error) -> ConfigError {
    let text = error.render().to_string();
    let told = text.lines().map(str::trim).take_while(|line| !line.starts_with("Usage:"));
    let told: Vec<&str> = told.filter(|line| !line.is_empty()).collect();
    let told = told.join(" ");
    ConfigError::new(format!("{}; --help tells more", told.strip_prefix("error: ").unwrap_or(&told)))
}

pub(super) fn watch_options(matches: &ArgMatches, inputs: &Inputs<'_>) -> Result<WatchOptions, ConfigError> {
    let text = |name: &str| matches.get_one::<String>(name).map_or("", String::as_str);
    Ok(WatchOptions {
        server: ServerUrl::parse(text("server")).map_err(|why| ConfigError::new(format!("--server: {why}")))?,
        watched: text("document").parse().map_err(|e: Error| ConfigError::new(e.message().to_owned()))?,
        session: session_token(matches, inputs)?,
        json: matches.get_flag("json"),
    })
}

/// The token of the session to show, from the flag or the variable.
pub(super) fn session_token(matches: &ArgMatches, inputs: &Inputs<'_>) -> Result<Option<SessionToken>, ConfigError> {
    let token = match matches.get_one::<String>("session") {
        Some(token) => Some(token.clone()),
        None => read_variable(SESSION_VARIABLE, inputs)?,
    };
    token.as_deref().map(str::parse).transpose()
}
