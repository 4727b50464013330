//! The folder that is served: finds and opens files in it, whatever links lead out of it. [`Folder`] is where
//! tower-http gets files from.

use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use futures_util::future::BoxFuture;
use rustix::fs::{Mode, OFlags, open, openat};
use tower_http::services::fs::Backend;

use super::file::{OpenFile, read_unchanged};
use super::metadata::FileMetadata;
use super::operations::FileOperations;

/// How folders on the way to a file are opened.
#[cfg(target_os = "linux")]
const TRAVERSE: OFlags = OFlags::PATH;
#[cfg(not(target_os = "linux"))]
const TRAVERSE: OFlags = OFlags::RDONLY;

/// A folder whose files are served. Cheap to clone. It need not stay the same folder: its path is looked up anew for
/// each file, so that a build may remove it and make another one.
#[derive(Clone, Debug)]
pub(super) struct Folder(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    path: PathBuf,
    /// Nothing in these is served, should they lie in the folder: the server's data and its backups.
    excluded: Vec<PathBuf>,
    operations: FileOperations,
    /// Whether the log was told of a link that leads outside.
    warned: AtomicBool,
}

impl Folder {
    /// The folder at `path`, without what is in `excluded`.
    pub(super) fn new(path: PathBuf, excluded: Vec<PathBuf>) -> Self {
        let operations = FileOperations::default();
        Self(Arc::new(Shared { path, excluded, operations, warned: AtomicBool::new(false) }))
    }

    /// The first bytes of a file, at most `length`.
    pub(super) async fn read_start(&self, path: PathBuf, length: usize) -> io::Result<Vec<u8>> {
        let folder = self.clone();
        let read = move || {
            let (file, metadata) = folder.open_file(&path)?;
            let length = usize::try_from(metadata.len).unwrap_or(length).min(length);
            read_unchanged(&file, 0, length, metadata)
        };
        self.0.operations.run(read).await
    }

    /// The folder and the place of `path` in it, without links. Error: it is not there, or outside.
    fn find(&self, path: &Path) -> io::Result<(PathBuf, PathBuf)> {
        let root = self.0.path.canonicalize()?;
        let found = root.join(path).canonicalize()?;
        let holds = |excluded: &PathBuf| excluded.canonicalize().is_ok_and(|excluded| found.starts_with(excluded));
        if self.0.excluded.iter().any(holds) {
            return Err(io::ErrorKind::NotFound.into());
        }
        match found.strip_prefix(&root) {
            Ok(inside) => Ok((root, inside.to_owned())),
            Err(_) => {
                if !self.0.warned.swap(true, Ordering::Relaxed) {
                    let (folder, path) = (root.display(), path.display());
                    tracing::warn!(%path, %folder, "a link leads out of the folder; it is not followed");
                }
                Err(io::ErrorKind::NotFound.into())
            }
        }
    }

    /// Opens a regular file. The way to it is walked without following links: nothing that is changed between looking
    /// and opening leads outside. Opening never waits, as it would for a pipe. Error: it is not there, or is no file.
    fn open_file(&self, path: &Path) -> io::Result<(std::fs::File, FileMetadata)> {
        let (root, inside) = self.find(path)?;
        let mut parent: OwnedFd = open(&root, TRAVERSE | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
        let mut names = inside.iter().peekable();
        while let Some(name) = names.next() {
            if names.peek().is_some() {
                let flags = TRAVERSE | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                parent = openat(&parent, name, flags, Mode::empty())?;
                continue;
            }
            let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
            let file = std::fs::File::from(openat(&parent, name, flags, Mode::empty())?);
            let metadata = file.metadata()?;
            if !metadata.is_file() {
                break;
            }
            return Ok((file, FileMetadata::new(&metadata)));
        }
        Err(io::ErrorKind::NotFound.into())
    }
}

/// tower-http puts `./` before the paths that it asks for.
fn requested(path: &Path) -> PathBuf {
    path.strip_prefix(".").unwrap_or(path).to_owned()
}

impl Backend for Folder {
    type File = OpenFile;
    type Metadata = FileMetadata;
    type OpenFuture = BoxFuture<'static, io::Result<OpenFile>>;
    type MetadataFuture = BoxFuture<'static, io::Result<FileMetadata>>;

    fn open(&self, path: PathBuf) -> Self::OpenFuture {
        let (folder, operations) = (self.clone(), self.0.operations.clone());
        let open = move || {
            let open = || {
                let (file, metadata) = folder.open_file(&requested(&path))?;
                OpenFile::new(file, metadata, folder.0.operations.clone())
            };
            // One that is changed just now is there again in a moment.
            open().or_else(|error| if error.kind() == io::ErrorKind::Other { open() } else { Err(error) })
        };
        Box::pin(async move { operations.run(open).await })
    }

    fn metadata(&self, path: PathBuf) -> Self::MetadataFuture {
        let (folder, operations) = (self.clone(), self.0.operations.clone());
        let look = move || {
            let (root, inside) = folder.find(&requested(&path))?;
            Ok(FileMetadata::new(&std::fs::symlink_metadata(root.join(inside))?))
        };
        Box::pin(async move { operations.run(look).await })
    }
}
