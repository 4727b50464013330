//! A copy of a file of an earlier format, brought up to this one: what reads a file knows this format alone, and a file
//! that is only looked at stays as it is.

use std::ffi::OsString;
use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use super::copy::{BackupError, Cancellation, check_room, copy};
use crate::store::open::bring_up_to_date;
use crate::store::options::FILE_NAME;

/// A folder with the copy, beside the file that it is of. Removed when dropped.
pub(super) struct UpgradedCopy {
    folder: PathBuf,
}

impl UpgradedCopy {
    /// Errors: there is no room; the file is damaged, or cannot be read.
    pub(super) fn of(file: &Path) -> Result<Self, BackupError> {
        let write = |source: io::Error| BackupError::Write { path: file.to_owned(), source };
        let copied = Self { folder: create_folder(file).map_err(write)? };
        check_room(file, &copied.folder)?;
        copy(file, &copied.path(), &Cancellation::default())?;
        bring_up_to_date(&copied.path(), &copied.path())?;
        Ok(copied)
    }

    pub(super) fn path(&self) -> PathBuf {
        self.folder.join(FILE_NAME)
    }
}

impl Drop for UpgradedCopy {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// Several processes may look at the file at a time.
fn create_folder(file: &Path) -> io::Result<PathBuf> {
    let mut name = file.file_name().map(OsString::from).unwrap_or_default();
    name.push(format!(".upgraded-{}", std::process::id()));
    let folder = file.with_file_name(name);
    // Of a process that was killed and had the same number.
    match fs::remove_dir_all(&folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    DirBuilder::new().mode(0o700).create(&folder)?;
    Ok(folder)
}
