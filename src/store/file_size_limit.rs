//! The limit that the operating system sets on the size of a file (`ulimit -f`).

use std::fs;
use std::path::Path;

use rustix::process::{Resource, getrlimit};

use crate::store::error::WriteError;

/// Room that a write needs at least: a WAL frame, and a page.
const WRITE_BYTES_MAX: u64 = 2 * 4096;

/// Says of a write to the database at `path` that failed for this limit that it did, and that there is no room. Any
/// other failure stays as it is.
pub(crate) fn explain_failure(failure: WriteError, path: &Path) -> WriteError {
    let is_known = failure.full || failure.blocked.is_some() || failure.lost.is_some();
    if is_known || !is_reached(path) {
        return failure;
    }
    let reason = format!("the file size limit of the process (ulimit -f) is reached: {failure}");
    WriteError { full: true, ..WriteError::other(reason) }
}

/// Whether a write to the database at `path` or to its WAL failed because the file has reached the limit. SQLite tells
/// that as it tells any I/O error.
pub(crate) fn is_reached(path: &Path) -> bool {
    let Some(limit) = getrlimit(Resource::Fsize).current else { return false };
    let mut wal = path.as_os_str().to_owned();
    wal.push("-wal");
    let bytes = |path: &Path| fs::metadata(path).map_or(0, |metadata| metadata.len());
    [bytes(path), bytes(Path::new(&wal))].into_iter().any(|bytes| bytes.saturating_add(WRITE_BYTES_MAX) > limit)
}
