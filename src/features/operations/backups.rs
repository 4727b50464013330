//! The server's backups: the job that makes them, which there are, and how old the last good one is.

use std::fs::{self, remove_file};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::task::spawn_blocking;

use super::options::BackupOptions;
use crate::base::clock::Timestamp;
use crate::base::error::{Error, Kind, Result};
use crate::jobs::{Job, JobContext, Schedule, Summary};
use crate::store::Reader;
use crate::store::file::backup::{Backup, BackupProgress, id_of, list_backups, make_backup, path_in, remove_old};
use crate::store::file::copy::{BackupError, Cancellation, check_room};

/// The name of the job.
pub(crate) const JOB: &str = "backup";
/// How long one may take. A hundred gigabytes take less.
const TIMEOUT: Duration = Duration::from_secs(6 * 3600);
/// Where backups are within the data directory.
const FOLDER: &str = "backups";

/// Where the backups of the server of `data_dir` are.
pub(crate) fn folder(options: &BackupOptions, data_dir: &Path) -> PathBuf {
    options.directory.clone().unwrap_or_else(|| data_dir.join(FOLDER))
}

/// See the module. Shared by the job and the calls.
pub(crate) struct Backups {
    /// Knows where the database is.
    reader: Reader,
    directory: PathBuf,
    schedule: Schedule,
    kept: usize,
    /// Locked for moments; never while a file is read.
    state: Mutex<BackupState>,
    /// Counts the backups that were begun.
    begun: watch::Sender<u64>,
}

#[derive(Default)]
struct BackupState {
    running: Option<RunningBackup>,
    last_good: Option<Timestamp>,
}

#[derive(Clone)]
struct RunningBackup {
    at: Timestamp,
    /// The file that grows, once there is one.
    partial: Option<PathBuf>,
}

impl Backups {
    /// Looks for the backups of earlier runs.
    pub(crate) fn open(options: &BackupOptions, data_dir: &Path, reader: Reader) -> Arc<Self> {
        let directory = folder(options, data_dir);
        let found = list_backups(&directory).unwrap_or_else(|error| {
            tracing::warn!(%error, directory = %directory.display(), "the backups cannot be listed");
            Vec::new()
        });
        let last_good = found.iter().find(|backup| backup.verified).map(|backup| backup.at);
        let state = Mutex::new(BackupState { running: None, last_good });
        let (schedule, kept) = (options.schedule(), options.kept);
        Arc::new(Self { reader, directory, schedule, kept, state, begun: watch::Sender::new(0) })
    }

    /// The moment of the newest backup that verified.
    pub(crate) fn last_good(&self) -> Option<Timestamp> {
        self.state.lock().last_good
    }

    /// The job that makes them.
    pub(crate) fn job(self: &Arc<Self>) -> Job {
        let backups = Arc::clone(self);
        Job::new(JOB, self.schedule, TIMEOUT, move |context| run(Arc::clone(&backups), context))
    }

    /// Counts the backups that were begun, to wait for the next.
    pub(crate) fn subscribe_begun(&self) -> watch::Receiver<u64> {
        self.begun.subscribe()
    }

    /// The one that is being made.
    pub(crate) fn running(&self) -> Option<Backup> {
        let RunningBackup { at, partial } = self.state.lock().running.clone()?;
        let bytes = partial.and_then(|path| fs::metadata(path).ok()).map_or(0, |metadata| metadata.len());
        Some(Backup { id: id_of(at), path: path_in(&self.directory, at), bytes, at, verified: false })
    }

    /// All that are there, newest first, with the one that is being made. Blocks. Error: `StorageUnavailable`.
    pub(crate) fn list(&self) -> Result<Vec<Backup>> {
        let found = list_backups(&self.directory).map_err(|error| {
            Error::new(Kind::StorageUnavailable, "the folder of backups cannot be read now").caused_by(error)
        })?;
        // One that has got its name a moment ago is there already.
        let running = self.running().filter(|running| found.iter().all(|backup| backup.id != running.id));
        Ok(running.into_iter().chain(found).collect())
    }

    /// Whether there is room for one more. Blocks. Errors: `StorageFull`; `StorageUnavailable`.
    pub(crate) fn check_room(&self) -> Result<()> {
        check_room(&self.reader.database(), &self.directory).map(drop).map_err(|error| match error {
            BackupError::NoRoom { needed, available, .. } => {
                let message = "the disk has no room for a backup: remove something, or set backup-dir to another disk";
                let error = Error::new(Kind::StorageFull, message);
                error.with("neededBytes", needed).with("availableBytes", available).with("retryAfterSeconds", 60)
            }
            error => {
                Error::new(Kind::StorageUnavailable, "the folder of backups cannot be written now").caused_by(error)
            }
        })
    }
}

/// Breaks the backup off when the run of the job ends before it.
struct CancelOnDrop(Arc<Cancellation>);

impl Drop for CancelOnDrop {
    fn drop(&mut self) {
        self.0.cancel();
    }
}

async fn run(backups: Arc<Backups>, context: JobContext) -> Result<Summary> {
    let cancellation = Arc::new(Cancellation::default());
    let _guard = CancelOnDrop(Arc::clone(&cancellation));
    let at = context.clock.now();
    backups.state.lock().running = Some(RunningBackup { at, partial: None });
    backups.begun.send_modify(|count| *count += 1);
    let making = Arc::clone(&backups);
    let made = spawn_blocking(move || {
        let made = make_one(&making, at, &cancellation);
        making.state.lock().running = None;
        made
    });
    made.await.map_err(Error::internal)?
}

fn make_one(backups: &Backups, at: Timestamp, cancellation: &Cancellation) -> Result<Summary> {
    let show = |progress: BackupProgress| {
        if let BackupProgress::Copying { to, .. } = progress
            && let Some(running) = &mut backups.state.lock().running
        {
            running.partial = Some(to);
        }
    };
    let to = path_in(&backups.directory, at);
    let files = backups.reader.files();
    let check = || {
        let message = "the path of the database does not name the file that is open";
        files.check_database().map_err(|lost| Error::new(Kind::StorageUnavailable, message).caused_by(lost))
    };
    check()?;
    let bytes = make_backup(files.database(), &to, cancellation, show).map_err(|error| {
        let kind = match error {
            BackupError::Unverified { .. } => Kind::Damaged,
            _ => Kind::Internal,
        };
        Error::new(kind, error.to_string())
    })?;
    if let Err(lost) = check() {
        // What was copied may be another file.
        remove_file(&to).map_err(Error::internal)?;
        return Err(lost);
    }
    {
        let mut state = backups.state.lock();
        state.last_good = state.last_good.max(Some(at));
    }
    let removed = remove_old(&backups.directory, backups.kept).unwrap_or_else(|error| {
        tracing::warn!(%error, "old backups are not removed");
        0
    });
    let mut summary = Summary::default();
    summary.count("bytes", usize::try_from(bytes).unwrap_or(usize::MAX));
    summary.count("removed", removed);
    summary.name(to.file_name().unwrap_or_default().to_string_lossy());
    Ok(summary)
}
