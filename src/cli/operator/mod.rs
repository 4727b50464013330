//! The commands that look after a data directory, a file each.

use std::process::ExitCode;

use server::ServerChoice;

use crate::config::{OperatorCommand, OperatorOptions};
use crate::store::OpenError;
use crate::store::file::copy::BackupError;

mod access;
mod backup;
mod doctor;
mod lists;
mod restore;
mod server;
mod verify;

/// Something that a command met on its way, as the line that says why and the exit code.
#[derive(Debug)]
struct CommandFailure {
    why: String,
    code: u8,
}

impl From<OpenError> for CommandFailure {
    fn from(error: OpenError) -> Self {
        Self { why: error.to_string(), code: error.exit_code() }
    }
}

impl From<BackupError> for CommandFailure {
    fn from(error: BackupError) -> Self {
        Self { why: error.to_string(), code: error.exit_code() }
    }
}

/// Runs a command to its end.
pub(super) fn run(options: OperatorOptions) -> ExitCode {
    let OperatorOptions { config, server, session, command } = options;
    let done = match command {
        OperatorCommand::Backup { to } => backup::run(&config, ServerChoice { server, session }, to),
        OperatorCommand::Restore { file } => restore::run(&config, &file),
        OperatorCommand::Doctor => doctor::run(&config, ServerChoice { server, session }),
        OperatorCommand::Status { json } => lists::running(ServerChoice { server, session }, &config.data_dir)
            .and_then(|server| lists::status(&server, json)),
        OperatorCommand::List { what, json } => lists::running(ServerChoice { server, session }, &config.data_dir)
            .and_then(|server| lists::list(&server, &what, json)),
        OperatorCommand::Invite { options, json } => lists::running(ServerChoice { server, session }, &config.data_dir)
            .and_then(|server| access::invite(&server, options, json)),
        OperatorCommand::Token { command, json } => lists::running(ServerChoice { server, session }, &config.data_dir)
            .and_then(|server| access::token(&server, command, json)),
        OperatorCommand::Verify { file, repair } => verify::run(&config, file, repair),
    };
    match done {
        Ok(code) => ExitCode::from(code),
        Err(CommandFailure { why, code }) => super::print_failure(&why, code),
    }
}
