//! `rejoin verify`: whether all of a database is as it was stored; with `--repair`, puts back what can be.

use std::path::{Path, PathBuf};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::CommandFailure;
use crate::base::clock::{Clock as _, SystemClock};
use crate::cli::{EXIT_DATA, print};
use crate::config::Config;
use crate::store::file::check::{CheckProgress, CheckReport, FileDefect, FileUse, check_file};
use crate::store::file::document::DamagedDocument;
use crate::store::file::repair::{FileRepair, RepairOutcome};
use crate::store::server_lock::{LockState, lock_state};
use crate::store::{FILE_NAME, OpenError};

/// The exit code of a database that is damaged, as of a server that does not start for it.
const EXIT_DAMAGED: u8 = 14;
/// The same where something is missing that a server had stored.
const EXIT_INCOMPLETE: u8 = 16;
/// Damaged documents that are repaired before the file is read again. Bounds memory.
const REPAIRED_AT_ONCE: usize = 10_000;

pub(super) fn run(config: &Config, file: Option<PathBuf>, repair: bool) -> Result<u8, CommandFailure> {
    let path = file.unwrap_or_else(|| config.data_dir.join(FILE_NAME));
    if !path.is_file() {
        let why = format!("there is no database {}; --data-dir names the server's data", path.display());
        return Err(CommandFailure { why, code: EXIT_DATA });
    }
    match repair {
        false => verify(&path),
        true => verify_and_repair(&path),
    }
}

/// Whether a server has the file at `path` open.
fn file_use(path: &Path) -> Result<FileUse, CommandFailure> {
    if path.file_name().is_none_or(|name| name != FILE_NAME) {
        return Ok(FileUse::Unused);
    }
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    match lock_state(directory) {
        Ok(LockState::Free) => Ok(FileUse::Unused),
        Ok(LockState::Held { .. }) => Ok(FileUse::ByServer),
        Err(error) => {
            let why = format!("the lock of {} cannot be asked: {error}", directory.display());
            Err(CommandFailure { why, code: EXIT_DATA })
        }
    }
}

/// Says what does not add up, a line each, and then how much was read.
fn verify(path: &Path) -> Result<u8, CommandFailure> {
    let report = read(path, |_| {})?;
    Ok(print_summary(path, &report))
}

fn read(path: &Path, mut seen: impl FnMut(DamagedDocument)) -> Result<CheckReport, CommandFailure> {
    let bar = progress_bar();
    let tell = |finding: FileDefect| {
        let line = match finding {
            FileDefect::Document(damaged) => {
                let line = damaged.to_string();
                seen(damaged);
                line
            }
            FileDefect::File(what) => format!("file: {what}"),
            FileDefect::Row(row) => format!("file: the row {row} is not as a server wrote it"),
        };
        bar.suspend(|| print(&format!("{}\n", escape_control_characters(&line))));
    };
    let show = |progress: CheckProgress| {
        bar.set_length(progress.documents_total.max(progress.documents));
        bar.set_position(progress.documents);
    };
    let report = check_file(path, &[path], file_use(path)?, tell, show)?;
    bar.finish_and_clear();
    Ok(report)
}

/// The last lines, and the exit code.
fn print_summary(path: &Path, report: &CheckReport) -> u8 {
    let CheckProgress { documents, bytes, .. } = report.progress;
    if let Some(loss) = &report.loss {
        print(&format!("file: {loss}\n"));
    }
    if let Some(unproven) = &report.unproven {
        print(&format!("note: {unproven}\n"));
    }
    let (word, code) = match (report.findings, &report.loss) {
        (0, None) => ("verified", 0),
        (0, Some(_)) => ("not complete", EXIT_INCOMPLETE),
        _ => ("damaged", EXIT_DAMAGED),
    };
    print(&format!("{word}: {}, {documents} documents, {bytes} bytes\n", path.display()));
    code
}

fn verify_and_repair(path: &Path) -> Result<u8, CommandFailure> {
    let clock = SystemClock;
    let mut repair: Option<FileRepair> = None;
    if file_use(path)? == FileUse::ByServer {
        let path = path.parent().unwrap_or(path).to_owned();
        return Err(OpenError::Locked { path }.into());
    }
    loop {
        let mut damaged = Vec::new();
        let report = read(path, |document| {
            if damaged.len() < REPAIRED_AT_ONCE {
                damaged.push(document);
            }
        })?;
        if report.findings == 0 && report.loss.is_none() {
            repair.map(FileRepair::finish).transpose()?;
            return Ok(print_summary(path, &report));
        }
        let first = repair.is_none();
        let mut under_repair = match repair.take() {
            Some(repair) => repair,
            None => FileRepair::begin(path, clock.now())?,
        };
        if first {
            print(&format!("copied to {}\n", under_repair.copied_to.display()));
        }
        let mut repaired = first && under_repair.rebuild_indexes()? && damaged.is_empty();
        for document in damaged {
            let done = under_repair.repair(&document, clock.now())?;
            repaired |= done.is_some();
            print(&format!("{}: {}\n", escape_control_characters(&document.name), describe_repair(done)));
        }
        if !repaired {
            under_repair.finish()?;
            print(match report.rows == report.findings {
                true => {
                    "rows stay as they are: the running server takes or removes them (POST /reconciliation/repair)\n"
                }
                false => "the rest cannot be repaired: restore a backup\n",
            });
            return Ok(print_summary(path, &report));
        }
        // What is missing at the end of the log is what it is now: the note beside it says so from here on.
        if report.findings == 0 {
            under_repair.finish()?;
        } else {
            repair = Some(under_repair);
        }
    }
}

fn describe_repair(done: Option<RepairOutcome>) -> String {
    match done {
        Some(RepairOutcome::Cut { version, lost }) => {
            format!("repaired; it ends at version {version}, lost: versions {} to {lost}", version.next())
        }
        Some(RepairOutcome::HistoryCut { first }) => {
            format!("repaired; its newest version is kept, lost: its history before version {first}")
        }
        Some(RepairOutcome::Tombstone { last }) => {
            format!("repaired; it is deleted, lost: all of it, up to version {last}")
        }
        Some(RepairOutcome::Removed) => "repaired; lost: all of it, since it has no name".to_owned(),
        Some(RepairOutcome::Whole) => "repaired; nothing is lost".to_owned(),
        None => "cannot be repaired".to_owned(),
    }
}

/// A bar on stderr; none where that is no terminal.
fn progress_bar() -> ProgressBar {
    let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
    let style = ProgressStyle::with_template("{elapsed} {bar:40} {pos}/{len} documents");
    bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    bar
}

/// Text that cannot steer the terminal: what is damaged can say anything.
fn escape_control_characters(text: &str) -> String {
    text.replace(char::is_control, "\u{fffd}")
}
