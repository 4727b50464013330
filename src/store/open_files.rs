//! Which files a store has open, and whether their paths still name them: a file that is removed, moved or renamed over
//! stays open, takes writes and syncs, and is gone with the process.

use std::fs::{self, File, Metadata, OpenOptions, Permissions, TryLockError};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::Mutex;
use rusqlite::{Connection, OpenFlags};

use crate::base::error::{Error, Kind};
use crate::store::connection;
use crate::store::error::{LostFile, StoreError};
use crate::store::integrity::key::{IntegrityKey, add_functions};
use crate::store::integrity::key_file;
use crate::store::options::{FILE_NAME, JOURNAL_NAME, LOCK_NAME};
use crate::store::wal;

/// Most that is read to tell a disk that fails from a file that is damaged: some milliseconds.
const PROBE_BYTES_MAX: u64 = 64 << 20;
const PROBE_PIECE_BYTES: usize = 1 << 20;
/// Bytes of the two copies of its header at the beginning of the WAL's index.
const WAL_INDEX_HEADER_BYTES: usize = 96;

/// Device and inode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FileId {
    device: u64,
    inode: u64,
}

impl From<&Metadata> for FileId {
    fn from(metadata: &Metadata) -> Self {
        Self { device: metadata.dev(), inode: metadata.ino() }
    }
}

impl FileId {
    /// Whether `path` names this file, as far as it can be looked there.
    pub(crate) fn is_at(self, path: &Path) -> bool {
        matches!(check_path(path, self), PathCheck::Ours | PathCheck::Unknown)
    }
}

/// The files of one store. Shared by the writer and by each reading connection, which drop it after themselves: see
/// `database`.
#[derive(Debug)]
pub(crate) struct OpenFiles {
    paths: StorePaths,
    /// Says what the database file is, whatever its path names. Closing it drops the locks that SQLite holds on the
    /// file in this process, so it stays open for as long as a connection to the file does.
    database: File,
    database_id: FileId,
    lock_id: FileId,
    /// Whether the database file was found overwritten: what is in it is not to be read.
    overwritten: AtomicBool,
    /// Indexes of the WAL that were dropped: closing one drops the locks that SQLite holds on it in this process.
    indexes: Mutex<Vec<File>>,
    /// `None`: no connection has made one yet.
    wal_id: Mutex<Option<FileId>>,
    /// The key of the MACs in the database. Not set while none is known: no MAC is compared then.
    key: OnceLock<IntegrityKey>,
}

/// Where the files of a store are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct StorePaths {
    pub database: PathBuf,
    pub lock: PathBuf,
}

impl StorePaths {
    /// Those of a data directory.
    pub(crate) fn in_directory(data_dir: &Path) -> Self {
        Self { database: data_dir.join(FILE_NAME), lock: data_dir.join(LOCK_NAME) }
    }

    /// Those of a database at `path`: the lock of one in a data directory is where every server looks for it.
    pub(crate) fn of_database(path: &Path) -> Self {
        let directory = path.parent().unwrap_or(Path::new("/"));
        if path.file_name().is_some_and(|name| name == FILE_NAME) {
            return Self::in_directory(directory);
        }
        let mut lock = path.as_os_str().to_owned();
        lock.push(".lock");
        Self { database: path.to_owned(), lock: lock.into() }
    }

    pub(crate) fn wal(&self) -> PathBuf {
        wal::path_of(&self.database)
    }

    /// The index of the WAL.
    pub(crate) fn shm(&self) -> PathBuf {
        let mut shm = self.database.as_os_str().to_owned();
        shm.push("-shm");
        shm.into()
    }

    /// The journal of revocations.
    pub(crate) fn journal(&self) -> PathBuf {
        match self.database.file_name().is_some_and(|name| name == FILE_NAME) {
            true => self.directory().join(JOURNAL_NAME),
            false => self.database.with_added_extension("revocations"),
        }
    }

    /// The file with the key of MACs.
    pub(crate) fn integrity_key(&self) -> PathBuf {
        key_file::path_beside(&self.database)
    }

    /// The folder that the files are in.
    pub(crate) fn directory(&self) -> &Path {
        self.database.parent().unwrap_or(Path::new("/"))
    }
}

impl OpenFiles {
    /// Device and inode of the database file.
    pub(crate) fn database_number(&self) -> (u64, u64) {
        let FileId { device, inode } = self.database_id;
        (device, inode)
    }

    /// To be called under the lock and before any connection.
    pub(crate) fn open(paths: StorePaths, lock: &File) -> io::Result<Self> {
        let database = File::open(&paths.database)?;
        let database_id = FileId::from(&database.metadata()?);
        let lock_id = FileId::from(&lock.metadata()?);
        Ok(Self {
            paths,
            database,
            database_id,
            lock_id,
            overwritten: AtomicBool::new(false),
            indexes: Mutex::default(),
            wal_id: Mutex::new(None),
            key: OnceLock::new(),
        })
    }

    /// The key of the MACs in the database.
    pub(crate) fn key(&self) -> Option<&IntegrityKey> {
        self.key.get()
    }

    /// Has connections that are opened from now on use this key. The first one stays.
    pub(crate) fn set_key(&self, key: IntegrityKey) {
        // A key that is there is the same: a database is used with one key only.
        let _ = self.key.set(key);
    }

    /// Opens the database on a connection that compares MACs, if their key is known.
    pub(crate) fn connect(&self, flags: OpenFlags) -> rusqlite::Result<Connection> {
        let conn = connection::connect(self.database(), flags)?;
        if let Some(key) = self.key() {
            add_functions(&conn, Some(key))?;
        }
        Ok(conn)
    }

    pub(crate) fn paths(&self) -> &StorePaths {
        &self.paths
    }

    pub(crate) fn database(&self) -> &Path {
        &self.paths.database
    }

    /// Notes that the database file was overwritten: for good, whatever is written to it or put in its place.
    pub(crate) fn set_overwritten(&self) {
        self.overwritten.store(true, Ordering::Relaxed);
    }

    pub(crate) fn is_overwritten(&self) -> bool {
        self.overwritten.load(Ordering::Relaxed)
    }

    /// Error: the database file was overwritten.
    pub(crate) fn check_readable(&self) -> Result<(), Error> {
        match self.is_overwritten() {
            true => {
                let lost = LostFile::Overwritten(self.paths.database.clone());
                Err(Error::new(Kind::StorageUnavailable, "what is stored cannot be read now").caused_by(lost))
            }
            false => Ok(()),
        }
    }

    /// The database file, whatever its path names.
    pub(crate) fn database_file(&self) -> &File {
        &self.database
    }

    /// Voids the index of the WAL, so that SQLite makes it anew from the WAL, as it does after a crash, before it reads
    /// or writes anything else. Readers that have begun end with what they began with.
    pub(crate) fn drop_wal_index(&self) -> io::Result<()> {
        let mut indexes = self.indexes.lock();
        let id = FileId::from(&fs::metadata(self.paths.shm())?);
        let is_known = |file: &&File| file.metadata().is_ok_and(|metadata| FileId::from(&metadata) == id);
        let zeros = [0; WAL_INDEX_HEADER_BYTES];
        match indexes.iter().find(is_known) {
            Some(index) => index.write_all_at(&zeros, 0),
            None => {
                let index = OpenOptions::new().read(true).write(true).open(self.paths.shm())?;
                let written = index.write_all_at(&zeros, 0);
                indexes.push(index);
                written
            }
        }
    }

    /// Whether `wal` is the WAL that is open.
    pub(crate) fn is_wal(&self, wal: &File) -> bool {
        let id = wal.metadata().ok().map(|metadata| FileId::from(&metadata));
        id.is_some() && id == *self.wal_id.lock()
    }

    /// Takes the WAL for ours that is there now. To be called when the writer has opened the database.
    pub(crate) fn note_wal(&self) {
        *self.wal_id.lock() = fs::metadata(self.paths.wal()).ok().map(|metadata| FileId::from(&metadata));
    }

    /// Compares what the paths name with what is open.
    pub(crate) fn check(&self) -> Result<(), LostFile> {
        self.check_all(self.without_lock().chain([(self.paths.lock.clone(), self.lock_id)]))
    }

    /// The same when the lock is another file.
    pub(crate) fn check_with_lock(&self, lock: &File) -> Result<(), LostFile> {
        let lock = lock.metadata().ok().map(|metadata| (self.paths.lock.clone(), FileId::from(&metadata)));
        self.check_all(self.without_lock().chain(lock))
    }

    /// The same of the database and its WAL.
    pub(crate) fn check_without_lock(&self) -> Result<(), LostFile> {
        self.check_all(self.without_lock())
    }

    /// The same of the database file alone.
    pub(crate) fn check_database(&self) -> Result<(), LostFile> {
        self.check_all([(self.paths.database.clone(), self.database_id)].into_iter())
    }

    fn without_lock(&self) -> impl Iterator<Item = (PathBuf, FileId)> {
        let wal = self.wal_id.lock().map(|id| (self.paths.wal(), id));
        [(self.paths.database.clone(), self.database_id)].into_iter().chain(wal)
    }

    /// A file that is missing counts less than one that is another.
    fn check_all(&self, files: impl Iterator<Item = (PathBuf, FileId)>) -> Result<(), LostFile> {
        let mut outcome = Ok(());
        for (path, id) in files {
            match check_path(&path, id) {
                PathCheck::Ours | PathCheck::Unknown => {}
                PathCheck::Nothing => outcome = outcome.and(Err(LostFile::Missing(path))),
                PathCheck::Other => return Err(LostFile::Replaced(path)),
            }
        }
        outcome
    }

    /// Opens the lock file to write to it. Error: its path names no file, or that of another server.
    pub(crate) fn open_lock(&self) -> io::Result<File> {
        let file = OpenOptions::new().write(true).open(&self.paths.lock)?;
        match FileId::from(&file.metadata()?) == self.lock_id {
            true => Ok(file),
            false => Err(io::Error::other("the lock file is that of another server")),
        }
    }

    /// Whether the lock file is where it was.
    pub(crate) fn has_lock(&self) -> bool {
        check_path(&self.paths.lock, self.lock_id) == PathCheck::Ours
    }

    /// Whether the WAL is where it was.
    pub(crate) fn has_wal(&self) -> bool {
        self.wal_id.lock().is_some_and(|id| check_path(&self.paths.wal(), id) == PathCheck::Ours)
    }

    /// Whether the WAL is where it was, beside a database that is another.
    pub(crate) fn has_foreign_database(&self) -> bool {
        check_path(&self.paths.database, self.database_id) == PathCheck::Other && self.has_wal()
    }

    /// Whether the disk fails to read the database: SQLite tells some of its errors as damage of the file. Reads at
    /// most [`PROBE_BYTES_MAX`] of it.
    pub(crate) fn is_unreadable(&self) -> bool {
        let mut piece = vec![0; PROBE_PIECE_BYTES];
        let mut offset = 0;
        while offset < PROBE_BYTES_MAX {
            match self.database.read_at(&mut piece, offset) {
                Ok(0) => return false,
                Ok(read) => offset = offset.saturating_add(u64::try_from(read).unwrap_or(u64::MAX)),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return true,
            }
        }
        false
    }

    /// What a failed read is to be told as: damage is none while the disk cannot be read.
    pub(crate) fn to_public_error(&self, failure: StoreError) -> Error {
        match failure.is_damage() && self.is_unreadable() {
            true => Error::new(Kind::StorageUnavailable, "the disk cannot be read now").caused_by(failure.into_error()),
            false => failure.into_error(),
        }
    }

    /// Whether the database file has a name, at its path or elsewhere: otherwise it is gone with the process.
    pub(crate) fn has_name(&self) -> bool {
        self.database.metadata().is_ok_and(|metadata| metadata.nlink() > 0)
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum PathCheck {
    Ours,
    Other,
    Nothing,
    /// It cannot be looked there.
    Unknown,
}

fn check_path(path: &Path, id: FileId) -> PathCheck {
    match fs::metadata(path) {
        Ok(metadata) if FileId::from(&metadata) == id => PathCheck::Ours,
        Ok(_) => PathCheck::Other,
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            PathCheck::Nothing
        }
        Err(_) => PathCheck::Unknown,
    }
}

/// Opens, or makes, a lock file and locks it. Error: `WouldBlock` when another process, or another store of this one,
/// holds it.
pub(crate) fn lock(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    let file = options.read(true).write(true).create(true).truncate(false).mode(0o600).open(path)?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => return Err(io::ErrorKind::WouldBlock.into()),
        Err(TryLockError::Error(error)) => return Err(error),
    }
    file.set_permissions(Permissions::from_mode(0o600))?;
    Ok(file)
}
