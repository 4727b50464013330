//! The commands that look after a data directory, or ask the server that has it: what the command line says of each.

use std::path::PathBuf;

use clap::{Arg, ArgAction, ArgMatches};

use super::command_line::{config_arg, to_arg};
use super::{Config, ConfigError, Inputs, resolve};
use crate::base::options::OptionSpec;

/// What is asked for.
#[derive(Clone, Debug)]
pub(crate) enum OperatorCommand {
    /// Verify a database. `file`: this one, not that of the data directory.
    Verify { file: Option<PathBuf>, repair: bool },
}

/// A command and the server that it is about.
#[derive(Clone, Debug)]
pub(crate) struct OperatorOptions {
    /// Of the server: where its data is, and where it listens.
    pub config: Config,
    pub command: OperatorCommand,
}

/// The commands, for the command line.
pub(super) fn commands(specs: &[OptionSpec]) -> Vec<clap::Command> {
    let data_dir = specs.iter().filter(|spec| spec.name == "data-dir").map(to_arg);
    let shared: Vec<Arg> = data_dir.chain([config_arg()]).collect();
    let file = Arg::new("file").value_name("FILE").value_parser(clap::value_parser!(PathBuf));
    let repair = Arg::new("repair").long("repair").action(ArgAction::SetTrue);
    let verify = clap::Command::new("verify")
        .about("Verifies every document of a database, beside a running server too")
        .arg(file.help("The database [default: rejoin.db in the data directory]"))
        .arg(repair.help("Cut damaged documents back to their last good version; no server may run"))
        .after_help(
            "Exit codes: 0 whole, 14 damaged, 16 something that was stored is missing, 10 to 15 as of the server.\n\n\
             Examples:\n  rejoin verify --data-dir /var/lib/rejoin\n  rejoin verify backup.db\n  \
             rejoin verify --repair",
        );
    [verify].into_iter().map(|command| command.args(shared.clone())).collect()
}

/// Whether a command of this name is one of these.
pub(super) fn is_one(name: &str) -> bool {
    name == "verify"
}

pub(super) fn parse(
    name: &str,
    matches: &ArgMatches,
    inputs: &Inputs<'_>,
    specs: Vec<OptionSpec>,
    defaults: Config,
) -> Result<OperatorOptions, ConfigError> {
    let path = |name: &str| matches.get_one::<PathBuf>(name).cloned();
    let command = match name {
        "verify" => OperatorCommand::Verify { file: path("file"), repair: matches.get_flag("repair") },
        other => return Err(ConfigError(format!("there is no command '{other}'"))),
    };
    let config = resolve(matches, inputs, specs, defaults)?.config;
    Ok(OperatorOptions { config, command })
}
