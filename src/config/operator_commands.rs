//! The commands that look after a data directory, or ask the server that has it: what the command line says of each.

use std::path::PathBuf;

use clap::{Arg, ArgAction, ArgMatches};

use super::command_line::{SESSION_HELP, SessionToken, config_arg, session_token, to_arg};
use super::{Config, ConfigError, Inputs, resolve};
use crate::base::ids::{Collection, DocumentId};
use crate::base::options::OptionSpec;
use crate::net::http_client::ServerUrl;

/// The command about service tokens, which has commands of its own.
const TOKEN: &str = "token";

/// What is asked for.
#[derive(Clone, Debug)]
pub(crate) enum OperatorCommand {
    /// Verify a database. `file`: this one, not that of the data directory.
    Verify { file: Option<PathBuf>, repair: bool },
    /// Make a backup. `to`: into this file, not the folder of backups.
    Backup { to: Option<PathBuf> },
    /// Put this backup in the place of the database.
    Restore { file: PathBuf },
    /// Look at what a server needs.
    Doctor,
    /// Say how the running server is. `json`: for a program.
    Status { json: bool },
    /// Make an invitation by the running server. `json`: for a program.
    Invite { options: InviteOptions, json: bool },
    /// Make, list or end service tokens of the running server. `json`: for a program.
    Token { command: TokenCommand, json: bool },
    /// Show a list of the running server. `json`: for a program.
    List { what: Listed, json: bool },
}

/// A list that a server has.
#[derive(Clone, Debug)]
pub(crate) enum Listed {
    Sessions,
    Jobs,
    Documents(Collection),
}

/// An invitation that is to be made; what is left out is as the server has it.
#[derive(Clone, Debug)]
pub(crate) struct InviteOptions {
    /// Each `collection/id`; none: to all.
    pub documents: Vec<String>,
    pub user: Option<String>,
    pub seat: Option<String>,
    pub uses: Option<u64>,
    pub expires_in_seconds: Option<u64>,
    /// The path of the page that people go on to.
    pub to: Option<String>,
}

/// What is to be done with service tokens.
#[derive(Clone, Debug)]
pub(crate) enum TokenCommand {
    /// Make one. Without documents and collections it reaches everything.
    Create {
        name: String,
        access: String,
        documents: Vec<String>,
        collections: Vec<String>,
    },
    List,
    /// End the one with this id.
    End {
        id: DocumentId,
    },
}

/// A command and the server that it is about.
#[derive(Clone, Debug)]
pub(crate) struct OperatorOptions {
    /// Of the server: where its data is, and where it listens.
    pub config: Config,
    /// The server to ask; `None`: the one that has the data directory.
    pub server: Option<ServerUrl>,
    /// The token of the session to show to it.
    pub session: Option<SessionToken>,
    pub command: OperatorCommand,
}

/// The commands, for the command line.
pub(super) fn commands(specs: &[OptionSpec]) -> Vec<clap::Command> {
    let data_dir = specs.iter().filter(|spec| spec.name == "data-dir").map(to_arg);
    let server = Arg::new("server").long("server").value_name("URL");
    let session = Arg::new("session").long("session").value_name("TOKEN").help(SESSION_HELP);
    let server = server.help("Ask this server [default: the one that has the data directory]");
    let shared: Vec<Arg> = data_dir.chain([config_arg(), server, session]).collect();
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
    let to = Arg::new("to").long("to").value_name("FILE").value_parser(clap::value_parser!(PathBuf));
    let backup = clap::Command::new("backup")
        .about("Makes a verified copy of the database, while its server goes on")
        .arg(to.help("Write this file [default: one in the server's folder of backups]"))
        .after_help(
            "A running server makes it; without one the database is read directly.\n\n\
             Examples:\n  rejoin backup --data-dir /var/lib/rejoin\n  rejoin backup --to /mnt/usb/rejoin.db",
        );
    let file = Arg::new("file").value_name("FILE").required(true).value_parser(clap::value_parser!(PathBuf));
    let restore = clap::Command::new("restore")
        .about("Puts a backup in the place of the database; no server may run")
        .arg(file.help("The backup"))
        .after_help(
            "The backup is verified first. The database that was there is kept in replaced-<time>.\n\n\
             Example:\n  rejoin restore rejoin-data/backups/rejoin-2026-11-29T03-30-00-004Z.db",
        );
    let all = [verify, backup, restore].into_iter().chain(query_commands()).chain([invite_command()]);
    let mut all: Vec<clap::Command> = all.map(|command| command.args(shared.clone())).collect();
    all.push(token_command(&shared));
    all
}

/// The commands that ask how things are.
fn query_commands() -> [clap::Command; 6] {
    let command = |name: &'static str, about: &'static str| clap::Command::new(name).about(about);
    let json = Arg::new("json").long("json").action(ArgAction::SetTrue).help("Print one JSON value");
    let collection = Arg::new("collection").value_name("COLLECTION").required(true).help("Of which");
    let doctor = command("doctor", "Looks at what a server needs, and says how to mend what is not well");
    [
        doctor.after_help("Exit codes: 0 all is well, 1 something is to be mended."),
        command("status", "Says how the running server is; exits with 1 when it takes no changes").arg(json.clone()),
        command("sessions", "Lists the sessions of the running server").arg(json.clone()),
        command("jobs", "Lists the jobs of the running server and their last runs").arg(json.clone()),
        command("games", "Lists the games of the running server").arg(json.clone()),
        command("documents", "Lists the documents of a collection").args([collection, json]),
    ]
}

fn json_arg() -> Arg {
    Arg::new("json").long("json").action(ArgAction::SetTrue).help("Print one JSON value")
}

fn invite_command() -> clap::Command {
    let text = |name: &'static str, value: &'static str, help: &'static str| {
        Arg::new(name).long(name).value_name(value).help(help)
    };
    let number = |arg: Arg| arg.value_parser(clap::value_parser!(u64));
    let documents = Arg::new("documents").value_name("COLLECTION/ID").num_args(0..);
    clap::Command::new("invite")
        .about("Makes an invitation, and shows its link and QR code")
        .arg(documents.help("To these documents [default: all]"))
        .arg(text("seat", "SEAT", "With a place in the one game: any, or its number from 0 on"))
        .arg(text("user", "USER", "For this user [default: who comes is asked for a name]"))
        .arg(number(text("uses", "COUNT", "Let so many come in by it [default: 1]")))
        .arg(number(text("expires-in-seconds", "SECONDS", "Let it be good for so long [default: a day]")))
        .arg(text("to", "PATH", "Go on to this page [default: /]"))
        .arg(json_arg())
        .after_help(
            "The running server makes it; the link is shown here and nowhere else.\n\n\
             Examples:\n  rejoin invite games/g1 --seat any --uses 4 --to /table.html\n  \
             rejoin invite --user ann",
        )
}

fn token_command(shared: &[Arg]) -> clap::Command {
    let name = Arg::new("name").value_name("NAME").required(true).help("What it is for, in words for people");
    let access = Arg::new("access").long("access").value_name("ACCESS").default_value("read");
    let access = access.value_parser(["read", "write", "administrator"]).help("What it may do");
    let several = |name: &'static str, value: &'static str, help: &'static str| {
        Arg::new(name).long(name).value_name(value).action(ArgAction::Append).help(help)
    };
    let create = clap::Command::new("create")
        .about("Makes one, and prints it: it is shown here and nowhere else")
        .args([name, access])
        .arg(several(
            "document",
            "COLLECTION/ID",
            "Reach this document, and others that are named; any number of times",
        ))
        .arg(several("collection", "COLLECTION", "Reach this collection; any number of times"));
    let list = clap::Command::new("list").about("Lists them, each with its last use");
    let id = Arg::new("id").value_name("ID").required(true).help("Its id, as the list has it");
    let end = clap::Command::new("end").about("Ends one: it is void, and its streams close, at once").arg(id);
    let commands = [create, list, end].map(|command| command.arg(json_arg()).args(shared));
    clap::Command::new(TOKEN)
        .about("Makes, lists and ends tokens of the running server for scripts and bots")
        .subcommand_required(true)
        .subcommands(commands)
        .after_help(
            "Examples:\n  export REJOIN_TOKEN=$(rejoin token create scoreboard --collection games)\n  \
             rejoin token list\n  rejoin token end 0198f3a2-0000-7000-8000-000000000000",
        )
}

/// Whether a command of this name is one of these.
pub(super) fn is_operator_command(name: &str) -> bool {
    ["verify", "backup", "restore", "doctor", "status", "sessions", "jobs", "games", "documents", "invite", TOKEN]
        .contains(&name)
}

fn texts(matches: &ArgMatches, name: &str) -> Vec<String> {
    matches.get_many::<String>(name).into_iter().flatten().cloned().collect()
}

fn invite_options(matches: &ArgMatches) -> InviteOptions {
    let text = |name: &str| matches.get_one::<String>(name).cloned();
    let number = |name: &str| matches.get_one::<u64>(name).copied();
    InviteOptions {
        documents: texts(matches, "documents"),
        user: text("user"),
        seat: text("seat"),
        uses: number("uses"),
        expires_in_seconds: number("expires-in-seconds"),
        to: text("to"),
    }
}

fn token_command_of(action: &str, matches: &ArgMatches) -> Result<TokenCommand, ConfigError> {
    let text = |name: &str| matches.get_one::<String>(name).cloned().unwrap_or_default();
    Ok(match action {
        "create" => TokenCommand::Create {
            name: text("name"),
            access: text("access"),
            documents: texts(matches, "document"),
            collections: texts(matches, "collection"),
        },
        "end" => {
            let id = DocumentId::new(&text("id")).map_err(|error| ConfigError::new(error.message().to_owned()))?;
            TokenCommand::End { id }
        }
        _ => TokenCommand::List,
    })
}

pub(super) fn parse(
    name: &str,
    matches: &ArgMatches,
    inputs: &Inputs<'_>,
    specs: Vec<OptionSpec>,
    defaults: Config,
) -> Result<OperatorOptions, ConfigError> {
    let (action, matches) = matches.subcommand().filter(|_| name == TOKEN).unwrap_or(("", matches));
    let path = |name: &str| matches.get_one::<PathBuf>(name).cloned();
    let command = match name {
        "verify" => OperatorCommand::Verify { file: path("file"), repair: matches.get_flag("repair") },
        "backup" => OperatorCommand::Backup { to: path("to") },
        "restore" => OperatorCommand::Restore { file: path("file").unwrap_or_default() },
        "doctor" => OperatorCommand::Doctor,
        "status" => OperatorCommand::Status { json: matches.get_flag("json") },
        "sessions" => OperatorCommand::List { what: Listed::Sessions, json: matches.get_flag("json") },
        "jobs" => OperatorCommand::List { what: Listed::Jobs, json: matches.get_flag("json") },
        "games" | "documents" => {
            let collection = match name {
                "games" => name,
                _ => matches.get_one::<String>("collection").map_or("", String::as_str),
            };
            let collection =
                Collection::new(collection).map_err(|error| ConfigError::new(error.message().to_owned()))?;
            OperatorCommand::List { what: Listed::Documents(collection), json: matches.get_flag("json") }
        }
        "invite" => OperatorCommand::Invite { options: invite_options(matches), json: matches.get_flag("json") },
        TOKEN => OperatorCommand::Token { command: token_command_of(action, matches)?, json: matches.get_flag("json") },
        other => return Err(ConfigError::new(format!("there is no command '{other}'"))),
    };
    let server = matches.get_one::<String>("server").map(|url| ServerUrl::parse(url)).transpose();
    let server = server.map_err(|why| ConfigError::new(format!("--server: {why}")))?;
    let session = session_token(matches, inputs)?;
    let config = resolve(matches, inputs, specs, defaults)?.config;
    Ok(OperatorOptions { config, server, session, command })
}
