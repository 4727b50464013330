//! Small files that were just read, so that many who ask for one at once do not each open it.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::HeaderMap;
use parking_lot::Mutex;

/// How long what was read is sent without looking again: a page that is saved and loaded again is the new one.
const KEPT: Duration = Duration::from_millis(50);
/// Most files. Past it all are forgotten, which costs reading them again.
const FILES_MAX: usize = 64;
/// Largest file, bytes. A larger one is read for each who asks.
pub(super) const FILE_BYTES_MAX: usize = 64 * 1024;

/// A file as it was sent.
#[derive(Clone, Debug)]
pub(super) struct RecentFile {
    pub headers: HeaderMap,
    pub body: Bytes,
}

/// What was read in the last moment, by what was asked for. At most 4 MiB.
#[derive(Debug, Default)]
pub(super) struct RecentFiles(Mutex<HashMap<String, (Instant, RecentFile)>>);

impl RecentFiles {
    pub(super) fn find(&self, key: &str) -> Option<RecentFile> {
        let files = self.0.lock();
        let (read, file) = files.get(key)?;
        (read.elapsed() < KEPT).then(|| file.clone())
    }

    /// Keeps what was read at `read` or later.
    pub(super) fn keep(&self, key: String, read: Instant, file: RecentFile) {
        let mut files = self.0.lock();
        if files.len() >= FILES_MAX {
            files.clear();
        }
        files.insert(key, (read, file));
    }
}
