//! The lock of a data directory, and what a running server writes beside it: where it listens. Whoever wants to know
//! whether a server runs asks the lock; the addresses alone may be left by one that was killed.

use std::fs::{File, TryLockError};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

use super::error::OpenError;
use super::open_files::{self, OpenFiles};
use super::options::{FILE_NAME, LOCK_NAME};
use super::recovery::{CommitNote, NOTE_BYTES};
use super::rows::LogHead;

/// Bytes of addresses that are read.
const ADDRESSES_BYTES_MAX: usize = 4096;

/// Whether a server has a data directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum LockState {
    /// No process has the lock.
    Free,
    /// A process has it. Where it listens, `ADDRESS:PORT`, as it wrote.
    Held { addresses: Vec<String> },
}

/// Asks whether a server has the data directory `data_dir`. One that is not there is free. Error: the lock file cannot
/// be opened.
pub(crate) fn lock_state(data_dir: &Path) -> io::Result<LockState> {
    let file = match File::open(data_dir.join(LOCK_NAME)) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(LockState::Free),
        Err(error) => return Err(error),
    };
    match file.try_lock_shared() {
        Ok(()) => Ok(LockState::Free),
        Err(TryLockError::WouldBlock) => Ok(LockState::Held { addresses: read_addresses(&file) }),
        Err(TryLockError::Error(error)) => Err(error),
    }
}

fn read_addresses(file: &File) -> Vec<String> {
    let mut bytes = vec![0; ADDRESSES_BYTES_MAX];
    let read = file.read_at(&mut bytes, offset()).unwrap_or(0);
    bytes.truncate(read);
    String::from_utf8_lossy(&bytes).lines().filter(|line| !line.is_empty()).map(str::to_owned).collect()
}

fn offset() -> u64 {
    u64::try_from(NOTE_BYTES).unwrap_or(u64::MAX)
}

/// Writes where the server that has `files` open listens now. Error: the lock file is not where it was.
pub(crate) fn write_addresses(files: &OpenFiles, addresses: &[String]) -> io::Result<()> {
    let file = files.open_lock()?;
    let text: String = addresses.iter().map(|address| format!("{address}\n")).collect();
    file.write_all_at(text.as_bytes(), offset())?;
    file.set_len(offset().saturating_add(u64::try_from(text.len()).unwrap_or(0)))
}

/// Copies everything that a lock file says to another one of the same server.
pub(crate) fn copy(from: &File, to: &File) -> io::Result<()> {
    let mut bytes = vec![0; NOTE_BYTES + ADDRESSES_BYTES_MAX];
    let read = from.read_at(&mut bytes, 0)?;
    bytes.truncate(read);
    to.write_all_at(&bytes, 0)?;
    to.set_len(u64::try_from(read).unwrap_or(0))
}

/// Takes the lock of a data directory, which must be there.
pub(crate) fn lock(data_dir: &Path) -> Result<File, OpenError> {
    open_files::lock(&data_dir.join(LOCK_NAME)).map_err(|error| match error.kind() {
        io::ErrorKind::WouldBlock => OpenError::Locked { path: data_dir.to_owned() },
        _ => OpenError::DataDirectory { path: data_dir.to_owned(), source: error.into() },
    })
}

/// A data directory that no server can open while this lives.
#[derive(Debug)]
pub(crate) struct DirectoryLock(File);

impl DirectoryLock {
    /// Error: `Locked` while a server has it; the directory cannot be written.
    pub(crate) fn take(data_dir: &Path) -> Result<Self, OpenError> {
        lock(data_dir).map(Self)
    }

    /// The same for the directory of the database at `path`. `None`: the file is not the database of a data directory.
    pub(crate) fn take_for(path: &Path) -> Result<Option<Self>, OpenError> {
        match path.parent() {
            Some(parent) if path.file_name().is_some_and(|name| name == FILE_NAME) => {
                let parent = if parent.as_os_str().is_empty() { Path::new(".") } else { parent };
                Self::take(parent).map(Some)
            }
            _ => Ok(None),
        }
    }

    /// Notes the end of the log, so that the next start does not miss what was taken away on purpose.
    pub(crate) fn note(&self, head: LogHead) -> io::Result<()> {
        CommitNote::new(self.0.try_clone()?).write(head);
        self.0.sync_all()
    }
}
