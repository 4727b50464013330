//! Backups: a copy of one moment of the database, made while writers go on, that counts once all of it was read back.
//!
//! A backup has one of three names, so that no list beside the files can disagree with them: `….partial` while it is
//! being made, and whatever a kill left; `….unverified.db` when it did not verify; `….db` when it did.

use std::cmp::Reverse;
use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use super::check::{FileDefect, FileUse, check_file};
use super::copy::{BackupError, Cancellation, check_room, copy};
use crate::base::clock::Timestamp;

const PREFIX: &str = "rejoin-";
const VERIFIED: &str = ".db";
const UNVERIFIED: &str = ".unverified.db";
const PARTIAL: &str = ".partial";

/// A file with a copy of the database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Backup {
    /// The moment that it is of, as its name has it.
    pub id: String,
    pub path: PathBuf,
    pub bytes: u64,
    pub at: Timestamp,
    /// Whether all of it was read back and adds up.
    pub verified: bool,
}

impl Backup {
    /// The name of its file.
    pub(crate) fn file_name(&self) -> String {
        self.path.file_name().unwrap_or_default().to_string_lossy().into_owned()
    }
}

/// Where a backup stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum BackupProgress {
    /// Copying into this file, which will have about so many bytes.
    Copying { to: PathBuf, bytes_total: u64 },
    /// Reading it back: so many documents of so many.
    Verifying { documents: u64, documents_total: u64 },
}

/// The backup of `at` in the directory `directory`, under its final name.
pub(crate) fn path_in(directory: &Path, at: Timestamp) -> PathBuf {
    directory.join(format!("{PREFIX}{}{VERIFIED}", id_of(at)))
}

/// What a backup of `at` is called.
pub(crate) fn id_of(at: Timestamp) -> String {
    at.to_string().replace([':', '.'], "-")
}

/// Copies the database `source` to `to`, whose directory is made when it is not there, and verifies the copy. Blocks.
/// On success the file and its name are on disk, mode 0600. One that does not verify is kept beside it as
/// `….unverified.db`.
pub(crate) fn make_backup(
    source: &Path,
    to: &Path,
    cancellation: &Cancellation,
    mut show: impl FnMut(BackupProgress),
) -> Result<u64, BackupError> {
    let directory = to.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let write = |source: io::Error| BackupError::Write { path: to.to_owned(), source };
    DirBuilder::new().recursive(true).mode(0o700).create(directory).map_err(write)?;
    if to.exists() {
        return Err(BackupError::Exists(to.to_owned()));
    }
    remove_partials(directory).map_err(write)?;
    let bytes_total = check_room(source, directory)?;
    let partial = Partial::create(to).map_err(write)?;
    show(BackupProgress::Copying { to: partial.path.clone(), bytes_total });
    copy(source, &partial.path, cancellation)?;
    partial.file.sync_all().map_err(write)?;
    let mut first = None;
    let tell = |finding: FileDefect| {
        let what = match finding {
            FileDefect::Document(damaged) => damaged.to_string(),
            FileDefect::File(what) => what,
            // The copy has it as the server has it, which does not use it or tells of it, wherever it is restored.
            FileDefect::Row(row) => {
                tracing::warn!(%row, "the row {row} in the backup is not as a server wrote it");
                return;
            }
        };
        first.get_or_insert(what);
    };
    let verifying = |progress: super::check::CheckProgress| {
        let (documents, documents_total) = (progress.documents, progress.documents_total);
        show(BackupProgress::Verifying { documents, documents_total });
    };
    check_file(&partial.path, &[source, to], FileUse::Unused, tell, verifying)?;
    if cancellation.is_cancelled() {
        return Err(BackupError::Cancelled);
    }
    let bytes = partial.file.metadata().map_err(write)?.len();
    match first {
        None => partial.keep_as(to).map(|()| bytes).map_err(write),
        Some(first) => {
            let path = unverified_path(to);
            partial.keep_as(&path).map_err(write)?;
            Err(BackupError::Unverified { path, first })
        }
    }
}

fn unverified_path(to: &Path) -> PathBuf {
    let name = to.file_name().unwrap_or_default().to_string_lossy();
    to.with_file_name(format!("{}{UNVERIFIED}", name.strip_suffix(VERIFIED).unwrap_or(&name)))
}

/// A file that is being made. Removed when dropped, unless it is kept; locked as long as this lives, so that what a
/// kill left can be told from it.
struct Partial {
    path: PathBuf,
    file: File,
    kept: bool,
}

impl Partial {
    fn create(to: &Path) -> io::Result<Self> {
        let mut path = to.as_os_str().to_owned();
        path.push(PARTIAL);
        let path = PathBuf::from(path);
        // What a kill left is not locked.
        if File::open(&path).is_ok_and(|left| left.try_lock().is_ok()) {
            fs::remove_file(&path)?;
        }
        // SQLite takes a file that is there if it is empty, and leaves its mode.
        let file = OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(&path)?;
        file.try_lock().map_err(|error| match error {
            TryLockError::WouldBlock => io::ErrorKind::WouldBlock.into(),
            TryLockError::Error(error) => error,
        })?;
        Ok(Self { path, file, kept: false })
    }

    fn keep_as(mut self, to: &Path) -> io::Result<()> {
        self.file.sync_all()?;
        fs::rename(&self.path, to)?;
        self.kept = true;
        sync_directory(to)
    }
}

impl Drop for Partial {
    fn drop(&mut self) {
        if !self.kept {
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Makes the name of a file durable.
pub(super) fn sync_directory(file: &Path) -> io::Result<()> {
    let parent = file.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(parent)?.sync_all()
}

/// Removes what backups left that were killed.
fn remove_partials(directory: &Path) -> io::Result<()> {
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if !(name.starts_with(PREFIX) && name.contains(PARTIAL)) {
            continue;
        }
        // One that is gone by now is what is wanted.
        let Ok(file) = File::open(&path) else { continue };
        if file.try_lock().is_ok() {
            let _ = fs::remove_file(&path);
        }
    }
    Ok(())
}

/// The backups in a directory, newest first, those that do not verify too. None when there is no such directory.
pub(crate) fn list_backups(directory: &Path) -> io::Result<Vec<Backup>> {
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut found = Vec::new();
    for entry in entries {
        let path = entry?.path();
        let Some((id, at, verified)) = path.file_name().and_then(|name| read_name(&name.to_string_lossy())) else {
            continue;
        };
        // It may have been removed since.
        let Ok(metadata) = fs::metadata(&path) else { continue };
        found.push(Backup { id, path, bytes: metadata.len(), at, verified });
    }
    found.sort_by_key(|backup| Reverse(backup.at));
    Ok(found)
}

fn read_name(name: &str) -> Option<(String, Timestamp, bool)> {
    let rest = name.strip_prefix(PREFIX)?;
    let (id, verified) = match rest.strip_suffix(UNVERIFIED) {
        Some(id) => (id, false),
        None => (rest.strip_suffix(VERIFIED)?, true),
    };
    // 2026-11-29T09-47-40-123Z
    let (date, time) = id.split_once('T')?;
    let mut parts = time.strip_suffix('Z')?.splitn(4, '-');
    let (hour, minute, second, milli) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    let at = Timestamp::parse(&format!("{date}T{hour}:{minute}:{second}.{milli}Z"))?;
    Some((id.to_owned(), at, verified))
}

/// Removes the oldest backups, so that `kept` verified ones are left and at most one that does not verify. Returns how
/// many went.
pub(crate) fn remove_old(directory: &Path, kept: usize) -> io::Result<usize> {
    let (good, bad): (Vec<Backup>, Vec<Backup>) =
        list_backups(directory)?.into_iter().partition(|backup| backup.verified);
    let mut removed = 0;
    for old in good.into_iter().skip(kept).chain(bad.into_iter().skip(1)) {
        fs::remove_file(&old.path)?;
        removed += 1;
    }
    Ok(removed)
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed unwrap fails the test")]

    use super::*;

    #[test]
    fn a_name_says_what_a_backup_is_of_and_whether_it_counts() {
        let at = Timestamp::parse("2026-11-29T09:47:40.123Z").unwrap();
        let path = path_in(Path::new("d"), at);
        assert_eq!(path, Path::new("d/rejoin-2026-11-29T09-47-40-123Z.db"));
        let name = |path: &Path| path.file_name().unwrap().to_string_lossy().into_owned();
        assert_eq!(read_name(&name(&path)), Some((id_of(at), at, true)));
        assert_eq!(read_name(&name(&unverified_path(&path))), Some((id_of(at), at, false)));
        for other in ["rejoin.db", "rejoin-x.db", "rejoin-2026-11-29T09-47-40-123Z.db.partial", "rejoin-2026-11-29.db"]
        {
            assert_eq!(read_name(other), None, "{other}");
        }
    }

    #[test]
    fn only_the_newest_are_kept() {
        let directory = tempfile::tempdir().unwrap();
        for day in 1..=5 {
            let at = Timestamp::parse(&format!("2026-11-0{day}T00:00:00.000Z")).unwrap();
            File::create(path_in(directory.path(), at)).unwrap();
            File::create(unverified_path(&path_in(directory.path(), at))).unwrap();
        }
        File::create(directory.path().join("other.db")).unwrap();
        assert_eq!(remove_old(directory.path(), 2).unwrap(), 3 + 4);
        let left: Vec<(String, bool)> =
            list_backups(directory.path()).unwrap().into_iter().map(|backup| (backup.id, backup.verified)).collect();
        let good = |day| (format!("2026-11-0{day}T00-00-00-000Z"), true);
        assert_eq!(left.len(), 3);
        assert!(left.contains(&good(5)) && left.contains(&good(4)), "{left:?}");
        assert!(directory.path().join("other.db").exists());
    }
}
