//! Rank 7: flags, environment and `rejoin.toml` become one checked [`Config`]. The only place that reads the process's
//! arguments and environment.
//!
//! A value given as a flag wins over the environment, that over the file, that over the default. Each option is defined
//! once, in an [`option_set!`](crate::base::options::option_set): those of the server in `config/server.rs`, those of a
//! feature in its folder. The command line is built from the same definitions (clap's derive macro would need the
//! features' structs by name, and its environment source reads the process only).

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::Path;
use std::time::Duration;

use clap::ArgMatches;
use clap::error::ErrorKind;

use crate::base::options::{AnyOptionSet, OptionError, OptionSpec, Shape};
use crate::tailnet::listen_address;

mod command_line;
mod completions;
mod file;
mod flags;
#[cfg(all(test, target_os = "linux"))]
mod guide_tests;
mod kinds;
mod operator_commands;
mod server;
mod shorthands;
mod suggestions;
#[cfg(test)]
mod tests;

pub(crate) use command_line::{SessionToken, WatchOptions, Watched};
pub(crate) use operator_commands::{InviteOptions, Listed, OperatorCommand, OperatorOptions, TokenCommand};
pub use server::Config;
pub(crate) use server::LogFormat;

use command_line::{program, usage_error, watch_options};
use file::find_file;

/// Where a server listens and `rejoin watch` looks for one, when nobody says otherwise.
pub(crate) const PORT: u16 = listen_address::PORT;
/// The file that is read when it is there and `--config` names no other.
const FILE: &str = "rejoin.toml";
/// What the variables of this program begin with.
const VARIABLE_PREFIX: &str = "REJOIN_";
/// Names another file.
const CONFIG_VARIABLE: &str = "REJOIN_CONFIG";
/// The exit code of a configuration that is not accepted.
pub(crate) const EXIT_CODE: u8 = 2;
/// Longest time between two heartbeats. Whoever hears nothing for longer than this and some may give a stream up.
pub(crate) const HEARTBEAT_MAX: Duration = Duration::from_secs(60);

impl Config {
    /// Sets an option, a feature's too, by its name and as text, as the file would. Error: no such option, or a text
    /// that it does not understand; bounds are checked at the start.
    pub fn set(&mut self, name: &str, value: &str) -> Result<(), ConfigError> {
        let specs = self.specs();
        let spec = specs.iter().find(|spec| spec.name == name).ok_or_else(|| file::unknown_option(name, &specs))?;
        self.set_texts(name, &split(spec.shape, value)).map_err(|why| ConfigError::new(format!("{name}: {why}")))
    }

    /// Checks each value by itself and against the others. Error: names an option that is wrong and the rule, of the
    /// server and of each feature at most one.
    pub fn validate(&self) -> Result<(), ConfigError> {
        let sets = std::iter::once(self as &dyn AnyOptionSet).chain(self.features.iter());
        let refuse = |OptionError { name, why }| ConfigError::new(format!("{name}: {why}"));
        ConfigError::refuse_if_any(sets.filter_map(|set| set.check().err()).map(refuse))
    }

    /// Checks what a server needs to start, besides what [`validate`](Self::validate) checks and a command that looks
    /// after its data needs too. Error: as `validate`; the folder of `public` is not there.
    pub(crate) fn check_start(&self) -> Result<(), ConfigError> {
        self.validate()?;
        let Some(folder) = &self.public else { return Ok(()) };
        let why = match std::fs::metadata(folder) {
            Ok(found) if found.is_dir() => return Ok(()),
            Ok(_) => "it is no folder".to_owned(),
            Err(error) => error.to_string(),
        };
        Err(ConfigError::new(format!("public: '{}' cannot be served: {why}", folder.display())))
    }

    /// All options with help and defaults: the server's, then those of each feature.
    pub(crate) fn specs(&self) -> Vec<OptionSpec> {
        let of_features = self.features.iter().flat_map(AnyOptionSet::specs);
        AnyOptionSet::specs(self).into_iter().chain(of_features).collect()
    }

    /// The values of [`specs`](Self::specs), in the same order.
    fn texts(&self) -> Vec<Vec<String>> {
        let of_features = self.features.iter().flat_map(AnyOptionSet::texts);
        AnyOptionSet::texts(self).into_iter().chain(of_features).collect()
    }

    fn set_texts(&mut self, name: &str, values: &[String]) -> Result<(), String> {
        if let Some(set) = AnyOptionSet::set(self, name, values) {
            return set;
        }
        let mut of_features = self.features.iter_mut().filter_map(|set| set.set(name, values));
        of_features.next().unwrap_or_else(|| Err("there is no such option".to_owned()))
    }

    /// Error: the value of an option is out of bounds.
    fn check_option(&self, name: &str) -> Result<(), String> {
        let mut sets = std::iter::once(self as &dyn AnyOptionSet).chain(self.features.iter());
        sets.find_map(|set| set.check_option(name)).unwrap_or(Ok(()))
    }

    /// The feature flags in force, those for clients too, by their names without `flags.` before.
    pub(crate) fn flags(&self) -> BTreeMap<String, bool> {
        let values = self.specs().into_iter().zip(self.texts());
        let own = values.filter_map(|(spec, values)| {
            let name = spec.name.strip_prefix(flags::TABLE)?;
            Some((name.to_owned(), values.first()?.parse().ok()?))
        });
        own.chain(self.client_flags.clone()).collect()
    }
}

/// What a program calls itself: this one, or one that embeds the server.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ProgramName {
    pub name: &'static str,
    pub version: &'static str,
}

impl Default for ProgramName {
    fn default() -> Self {
        Self { name: "rejoin", version: env!("CARGO_PKG_VERSION") }
    }
}

/// What the command line asks for.
#[derive(Clone, Debug)]
pub(crate) enum ProgramCommand {
    Serve(Box<Config>),
    /// Print this: the effective configuration, as a file that can be fed back.
    CheckConfig(String),
    /// Follow a document in the terminal.
    Watch(WatchOptions),
    /// Make a link for an administrator of the server of this configuration.
    Session(Box<Config>),
    /// Look after a data directory, or ask its server.
    Operate(Box<OperatorOptions>),
    /// Print this: help or the version.
    Help(String),
}

/// Why a configuration is not accepted: a line for each fault, which names the option and where its value comes from.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ConfigError(String);

impl ConfigError {
    /// One fault. What is given may hold anything: only [`refuse_if_any`](Self::refuse_if_any) begins a line.
    fn new(why: String) -> Self {
        Self(why.replace(char::is_control, " "))
    }

    /// Error: all of `faults`, when there is one.
    fn refuse_if_any(faults: impl IntoIterator<Item = Self>) -> Result<(), Self> {
        match faults.into_iter().map(|fault| fault.0).reduce(|one, other| format!("{one}\n{other}")) {
            Some(all) => Err(Self(all)),
            None => Ok(()),
        }
    }
}

/// What this process was asked for. `defaults` has the options of all features.
pub(crate) fn from_process(defaults: Config, name: ProgramName) -> Result<ProgramCommand, ConfigError> {
    let names = || std::env::vars_os().map(|(name, _)| name).collect();
    let inputs = Inputs { variable: &|name| std::env::var_os(name), names: &names, file: Path::new(FILE) };
    parse_in(std::env::args_os(), &inputs, defaults, name)
}

/// What a configuration is read from besides the arguments. A value, so that tests need not change the process.
struct Inputs<'a> {
    /// Reads an environment variable.
    variable: &'a dyn Fn(&str) -> Option<OsString>,
    /// The file that is read if it is there and no other is named.
    file: &'a Path,
    /// The names of all environment variables.
    names: &'a dyn Fn() -> Vec<OsString>,
}

/// `args` begins with the program's name.
fn parse_in(
    args: impl IntoIterator<Item = OsString>,
    inputs: &Inputs<'_>,
    defaults: Config,
    name: ProgramName,
) -> Result<ProgramCommand, ConfigError> {
    let specs = defaults.specs();
    let program =
        program(&specs, name).subcommands(operator_commands::commands(&specs)).subcommand(completions::command());
    let matches = match program.clone().try_get_matches_from(args) {
        Err(e) if e.kind() == ErrorKind::DisplayVersion => return Ok(ProgramCommand::Help(version(name))),
        Ok(matches) => matches,
        Err(e) if matches!(e.kind(), ErrorKind::DisplayHelp) => {
            return Ok(ProgramCommand::Help(e.render().to_string()));
        }
        Err(e) => return Err(usage_error(&e)),
    };
    let (matches, session) = match matches.subcommand() {
        Some(("watch", matches)) => return watch_options(matches, inputs).map(ProgramCommand::Watch),
        Some((completions::NAME, matches)) => {
            return completions::print(matches, program, name).map(ProgramCommand::Help);
        }
        Some((name, matches)) if operator_commands::is_operator_command(name) => {
            let options = operator_commands::parse(name, matches, inputs, specs, defaults)?;
            return Ok(ProgramCommand::Operate(Box::new(options)));
        }
        Some((name, options)) => (options, name == "session"),
        None => (&matches, false),
    };
    let resolved = resolve(matches, inputs, specs, defaults)?;
    if matches.get_flag("check-config") {
        return Ok(ProgramCommand::CheckConfig(resolved.to_toml()));
    }
    let config = Box::new(resolved.config);
    Ok(if session { ProgramCommand::Session(config) } else { ProgramCommand::Serve(config) })
}

/// What the program is: its version, that of SQLite, and what it was built for.
fn version(name: ProgramName) -> String {
    let (arch, system) = (std::env::consts::ARCH, std::env::consts::OS);
    let environment = match (cfg!(target_env = "musl"), cfg!(target_env = "gnu")) {
        (true, _) => "-musl",
        (_, true) => "-gnu",
        _ => "",
    };
    let sqlite = crate::store::sqlite_version();
    format!("{} {} (SQLite {sqlite}, {arch}-{system}{environment})\n", name.name, name.version)
}

/// A configuration and where its values come from.
struct ResolvedConfig {
    config: Config,
    /// Each option and where its value comes from.
    origins: Vec<(OptionSpec, String)>,
    client_flags: flags::ClientFlags,
}

impl ResolvedConfig {
    /// The configuration as a file. Reading that file gives the same configuration.
    fn to_toml(&self) -> String {
        let mut out = String::from("# The effective configuration; behind each value stands where it comes from.\n");
        for ((spec, origin), values) in self.origins.iter().zip(self.config.texts()) {
            match toml_value(spec.shape, &values) {
                Some(value) => out.push_str(&format!("{} = {value}  # {origin}\n", spec.name)),
                None => out.push_str(&format!("# {} is not set\n", spec.name)),
            }
        }
        for (name, (value, origin)) in &self.client_flags {
            out.push_str(&format!("flags.{name} = {value}  # {}\n", origin.replace(char::is_control, "?")));
        }
        out
    }
}

/// Values of an option as a value of the file; `None` when it is not set.
fn toml_value(shape: Shape, values: &[String]) -> Option<String> {
    match shape {
        Shape::Number | Shape::Decimal | Shape::Boolean => values.first().cloned(),
        Shape::Text => values.first().map(|text| toml_string(text)),
        Shape::List => {
            let items: Vec<String> = values.iter().map(|text| toml_string(text)).collect();
            Some(format!("[{}]", items.join(", ")))
        }
    }
}

/// A basic string of TOML. What JSON escapes and how, TOML understands; it forbids one character more.
fn toml_string(text: &str) -> String {
    serde_json::Value::from(text).to_string().replace('\u{7f}', "\\u007f")
}

/// Sets each option from the first of its sources that has it: flag, variable, file. Error: every option that is wrong.
fn resolve(
    matches: &ArgMatches,
    inputs: &Inputs<'_>,
    specs: Vec<OptionSpec>,
    mut config: Config,
) -> Result<ResolvedConfig, ConfigError> {
    check_variables(inputs, &specs)?;
    shorthands::check_variables(inputs)?;
    let mut file = find_file(matches, inputs, &specs)?;
    let (mut origins, mut faults) = (Vec::with_capacity(specs.len()), std::mem::take(&mut file.faults));
    for spec in &specs {
        let origin = given(spec, matches, inputs, &file).and_then(|given| {
            let Some((origin, values)) = given else { return Ok("default".to_owned()) };
            let set = config.set_texts(spec.name, &values).and_then(|()| config.check_option(spec.name));
            set.map(|()| origin.clone()).map_err(|why| ConfigError::new(format!("{origin}: {why}")))
        });
        match origin {
            // A comment ends with its line, and a file's name is anybody's.
            Ok(origin) => origins.push((spec.clone(), origin.replace(char::is_control, "?"))),
            Err(fault) => faults.push(fault),
        }
    }
    ConfigError::refuse_if_any(faults)?;
    let client_flags = flags::gather(file.client_flags, inputs, &specs)?;
    config.client_flags = client_flags.iter().map(|(name, (value, _))| (name.clone(), *value)).collect();
    config.validate()?;
    Ok(ResolvedConfig { config, origins, client_flags })
}

/// The values that the first of an option's sources has, and which that is; `None`: it has its default.
fn given(
    spec: &OptionSpec,
    matches: &ArgMatches,
    inputs: &Inputs<'_>,
    file: &file::File,
) -> Result<Option<(String, Vec<String>)>, ConfigError> {
    let variable = spec.variable();
    Ok(if let Some(values) = matches.try_get_many::<String>(spec.name).ok().flatten() {
        Some((format!("--{}", spec.name), values.cloned().collect()))
    } else if let Some((origin, value)) = shorthands::flag(spec.name, matches)? {
        Some((origin, vec![value]))
    } else if let Some(value) = read_variable(&variable, inputs)? {
        Some((variable, split(spec.shape, &value)))
    } else if let Some((origin, value)) = shorthands::variable(spec.name, inputs)? {
        Some((origin, vec![value]))
    } else {
        file.values.get(spec.name).map(|values| (format!("{}: {}", file.name, spec.name), values.clone()))
    })
}

/// Error: a variable that looks like one of ours and is none.
fn check_variables(inputs: &Inputs<'_>, specs: &[OptionSpec]) -> Result<(), ConfigError> {
    let options = specs.iter().map(OptionSpec::variable);
    let others = [CONFIG_VARIABLE, command_line::SESSION_VARIABLE, shorthands::PORT_VARIABLE].map(str::to_owned);
    let known: Vec<String> = options.chain(others).collect();
    let given = (inputs.names)().into_iter().filter_map(|name| name.into_string().ok());
    let ours = |name: &String| name.starts_with(VARIABLE_PREFIX) && !name.starts_with(flags::PREFIX);
    match given.filter(ours).find(|name| !known.contains(name)) {
        Some(name) => {
            let bare = |name| str::strip_prefix(name, VARIABLE_PREFIX).unwrap_or(name);
            let hint = suggestions::hint(VARIABLE_PREFIX, bare(&name), known.iter().map(|name| bare(name)));
            Err(ConfigError::new(format!("{}: there is no such variable{hint}", name.escape_debug())))
        }
        None => Ok(()),
    }
}

/// The values in an environment variable.
fn split(shape: Shape, value: &str) -> Vec<String> {
    if shape != Shape::List {
        return vec![value.to_owned()];
    }
    value.split(',').map(str::trim).filter(|item| !item.is_empty()).map(str::to_owned).collect()
}

/// One that is empty counts as not set.
fn read_variable(name: &str, inputs: &Inputs<'_>) -> Result<Option<String>, ConfigError> {
    let value = (inputs.variable)(name).filter(|value| !value.is_empty()).map(OsString::into_string).transpose();
    value.map_err(|_| ConfigError::new(format!("{name}: is not UTF-8")))
}
