//! `rejoin completions`: a script for a shell, made from the command line's own definition.

use clap::{Arg, ArgMatches};
use clap_complete::{Shell, generate};

use super::{ConfigError, ProgramName};

pub(super) const NAME: &str = "completions";
const SHELLS: [&str; 3] = ["bash", "zsh", "fish"];

pub(super) fn command() -> clap::Command {
    let shell = Arg::new("shell").value_name("SHELL").required(true).value_parser(SHELLS);
    clap::Command::new(NAME)
        .about("Prints a script that completes this program's command line in a shell")
        .arg(shell.help("The shell"))
        .after_help("Example: rejoin completions bash > ~/.local/share/bash-completion/completions/rejoin")
}

pub(super) fn print(
    matches: &ArgMatches,
    mut program: clap::Command,
    name: ProgramName,
) -> Result<String, ConfigError> {
    let shell = match matches.get_one::<String>("shell").map(String::as_str) {
        Some("bash") => Shell::Bash,
        Some("zsh") => Shell::Zsh,
        _ => Shell::Fish,
    };
    let mut script = Vec::new();
    generate(shell, &mut program, name.name, &mut script);
    String::from_utf8(script).map_err(|_| ConfigError::new("the script is not UTF-8".to_owned()))
}
