//! `rejoin backup`: asks the server that has the data directory for a backup, or makes one where none runs.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde_json::Value;

use super::CommandFailure;
use super::server::{EXIT_REFUSED, OperatorClient, ServerChoice, find};
use crate::base::clock::{Clock as _, SystemClock};
use crate::cli::{EXIT_DATA, print};
use crate::config::Config;
use crate::features::commands;
use crate::store::FILE_NAME;
use crate::store::file::backup::{BackupProgress, make_backup, path_in};
use crate::store::file::copy::Cancellation;

/// What the server calls the job that makes backups.
const JOB: &str = "backup";
const ASK_EVERY: Duration = Duration::from_millis(200);

pub(super) fn run(config: &Config, asked: ServerChoice, to: Option<PathBuf>) -> Result<u8, CommandFailure> {
    if let Some(to) = to.as_ref().filter(|to| to.exists()) {
        return Err(CommandFailure { why: format!("{} is there already", to.display()), code: EXIT_DATA });
    }
    let directory = backup_folder(config);
    match find(asked, &config.data_dir)? {
        Some(server) => by_server(&server, &directory, to),
        None => directly(config, &directory, to),
    }
}

/// Where backups are when nobody says otherwise.
pub(super) fn backup_folder(config: &Config) -> PathBuf {
    let folder = commands().find_map(|parts| parts.backup_folder);
    folder.map_or_else(|| config.data_dir.clone(), |folder| folder(&config.features, &config.data_dir))
}

fn directly(config: &Config, directory: &Path, to: Option<PathBuf>) -> Result<u8, CommandFailure> {
    let source = config.data_dir.join(FILE_NAME);
    if !source.is_file() {
        let why = format!("there is no database {}; --data-dir names the server's data", source.display());
        return Err(CommandFailure { why, code: EXIT_DATA });
    }
    let to = to.unwrap_or_else(|| path_in(directory, SystemClock.now()));
    let bar = progress_bar();
    let bytes = make_backup(&source, &to, &Cancellation::default(), |progress| update_progress(&bar, &progress))?;
    bar.finish_and_clear();
    print(&format!("{}\nverified, {bytes} bytes\n", to.display()));
    Ok(0)
}

/// Has the server make one, waits for its end, and copies the file when it is to be elsewhere.
fn by_server(server: &OperatorClient, directory: &Path, to: Option<PathBuf>) -> Result<u8, CommandFailure> {
    let begun = server.post("/api/v1/admin/backups")?;
    let text = |value: &Value, member: &str| value.get(member).and_then(Value::as_str).unwrap_or_default().to_owned();
    let id = text(&begun, "id");
    let bar = progress_bar();
    let made = loop {
        let jobs = server.get("/api/v1/admin/jobs")?;
        let list = server.get("/api/v1/admin/backups")?;
        let item = items(&list).find(|item| text(item, "id") == id).cloned();
        if let Some(item) = item.as_ref().filter(|item| item.get("verified") == Some(&Value::Bool(true))) {
            break item.clone();
        }
        let bytes = item.as_ref().and_then(|item| item.get("bytes")).and_then(Value::as_u64);
        bar.set_message(format!("{} bytes copied", bytes.unwrap_or(0)));
        bar.tick();
        let run = items(&jobs).find(|job| text(job, "name") == JOB).and_then(|job| job.pointer("/runs/0"));
        if let Some(run) = run.filter(|run| text(run, "outcome") != "running") {
            // It may have ended between the two questions.
            let list = server.get("/api/v1/admin/backups")?;
            match items(&list).find(|item| text(item, "id") == id && item.get("verified") == Some(&Value::Bool(true))) {
                Some(item) => break item.clone(),
                None => {
                    let why = format!("the server's backup has failed: {}", text(run, "error"));
                    return Err(CommandFailure { why, code: EXIT_REFUSED });
                }
            }
        }
        sleep(ASK_EVERY);
    };
    bar.finish_and_clear();
    let file = directory.join(text(&made, "file"));
    let bytes = made.get("bytes").and_then(Value::as_u64).unwrap_or(0);
    let path = match to {
        None => file,
        Some(to) => {
            copy(&file, &to).map_err(|error| CommandFailure {
                why: format!("{} is made, and cannot be copied to {}: {error}", file.display(), to.display()),
                code: EXIT_DATA,
            })?;
            to
        }
    };
    print(&format!("{}\nverified, {bytes} bytes\n", path.display()));
    Ok(0)
}

fn items(list: &Value) -> impl Iterator<Item = &Value> {
    list.get("items").and_then(Value::as_array).into_iter().flatten()
}

/// Copies a file so that a kill leaves none of that name that is not whole.
fn copy(from: &Path, to: &Path) -> io::Result<()> {
    let mut partial = to.as_os_str().to_owned();
    partial.push(".partial");
    let partial = PathBuf::from(partial);
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&partial)?;
    io::copy(&mut File::open(from)?, &mut file)?;
    file.sync_all()?;
    fs::rename(&partial, to)?;
    let parent = to.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(parent)?.sync_all()
}

/// Lines on stderr about what goes on; none where that is no terminal.
pub(super) fn progress_bar() -> ProgressBar {
    let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
    let style = ProgressStyle::with_template("{elapsed} {spinner} {msg}");
    bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    bar.enable_steady_tick(ASK_EVERY);
    bar
}

pub(super) fn update_progress(bar: &ProgressBar, progress: &BackupProgress) {
    match progress {
        BackupProgress::Copying { bytes_total, .. } => bar.set_message(format!("copying about {bytes_total} bytes")),
        BackupProgress::Verifying { documents, documents_total } => {
            bar.set_message(format!("verifying: {documents} of {documents_total} documents"));
        }
    }
}
