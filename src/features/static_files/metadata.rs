//! What is known of a file or folder without reading it.

use std::fs::Metadata;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::time::{Duration, SystemTime};

use tower_http::services::fs::Metadata as BackendMetadata;

/// What is known of a file or folder.
#[derive(Clone, Copy, Debug)]
pub(super) struct FileMetadata {
    is_dir: bool,
    /// Bytes.
    pub len: u64,
    /// When its content or its place was changed last. Unlike the time of modification it cannot be set, and a file
    /// that replaces another one has a later one even where a build gives all files the same time.
    changed: SystemTime,
    /// When its content was changed last: seconds and nanoseconds. Removing the file does not change it.
    written: (i64, i64),
}

impl FileMetadata {
    pub(super) fn new(metadata: &Metadata) -> Self {
        let seconds = Duration::from_secs(u64::try_from(metadata.ctime()).unwrap_or(0));
        let nanos = Duration::from_nanos(u64::try_from(metadata.ctime_nsec()).unwrap_or(0));
        Self {
            is_dir: metadata.is_dir(),
            len: metadata.len(),
            changed: SystemTime::UNIX_EPOCH + seconds + nanos,
            written: (metadata.mtime(), metadata.mtime_nsec()),
        }
    }

    /// Whether the content of a file is the same as when it had `earlier`.
    pub(super) fn is_unwritten_since(&self, earlier: &Self) -> bool {
        (self.len, self.written) == (earlier.len, earlier.written)
    }
}

impl BackendMetadata for FileMetadata {
    fn is_dir(&self) -> bool {
        self.is_dir
    }

    fn modified(&self) -> io::Result<SystemTime> {
        Ok(self.changed)
    }

    fn len(&self) -> u64 {
        self.len
    }
}
