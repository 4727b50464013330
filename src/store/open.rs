//! Making, checking and locking the data directory. The cost does not grow with what is stored: the header, the schema
//! and the ends of the tables are looked at, and what a crash left in the WAL is moved into the database.

use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;
use std::sync::Arc;

use rusqlite::{Connection, ErrorCode, OpenFlags};

use super::error::{OpenError, StoreError, WriteError, is_damage, is_lack_of_room};
use super::options::StoreOptions;
use super::rows::{self, LogHead};
use crate::store::connection::{configure, connect, keep_wal};
use crate::store::file_size_limit;
use crate::store::integrity::adopt::{self, ObtainedKey};
use crate::store::integrity::key_file;
use crate::store::integrity::tables::install_triggers;
use crate::store::open_files::{OpenFiles, StorePaths};
use crate::store::read::reader::Reader;
use crate::store::read::{log, pool};
use crate::store::recovery::{self, CommitNote, OpenMark, Opened};
use crate::store::server_lock;
use crate::store::server_place;
use crate::store::tables::{FORMAT, SCHEMA};
use crate::store::wal;
use crate::store::write::checkpoint::{Checkpoint, checkpoint};
use crate::store::write::writer::Writer;

/// What makes a file of the format before one of this: the first makes 2 of 1.
const MIGRATIONS: [&str; 4] = [
    "
    CREATE TABLE server (id TEXT NOT NULL) STRICT;
    INSERT INTO server (id) VALUES (lower(hex(randomblob(6))));
    ALTER TABLE sessions ADD COLUMN opened_by TEXT;
    ALTER TABLE documents ADD COLUMN access_seq INTEGER NOT NULL DEFAULT 0;",
    include_str!("format_3.sql"),
    include_str!("format_4.sql"),
    include_str!("format_5.sql"),
];
/// Marks our files, as in `schema.sql`.
pub(super) const APPLICATION_ID: i64 = 0x5265_6A6E;
/// The tables of the format.
const TABLES: [&str; 4] = ["documents", "events", "snapshots", "idempotency_keys"];

/// Opens the data directory, and makes what is missing. The returned writer holds the lock for as long as it lives.
pub fn open(options: StoreOptions) -> Result<(Writer, Reader), OpenError> {
    let place = |source: io::Error| OpenError::DataDirectory { path: options.data_dir.clone(), source: source.into() };
    DirBuilder::new().recursive(true).mode(0o700).create(&options.data_dir).map_err(place)?;
    let paths = StorePaths::in_directory(&options.data_dir);
    let note = CommitNote::new(server_lock::lock(&options.data_dir)?);
    let path = paths.database.clone();
    let damage = inspect_wal(&options, &path)?;
    let wal_missing = !wal::path_of(&path).exists();
    prepare_file(&options.data_dir, &path).map_err(place)?;
    let files = Arc::new(OpenFiles::open(paths, note.lock()).map_err(place)?);
    let before = FilesBeforeOpen { damage, noted: note.read(), wal_missing, has_content: length_of(&path) > 0 };
    let opening = match open_writable(&options, &files, &before) {
        Err(OpenFailure::Sql(error)) if before.has_content && lacks_room(&error, &path) => {
            open_without_room(&options, &files, &before, error)
        }
        opening => opening,
    };
    let opening = opening.map_err(|failure| failure.unwrap_or_else(|error| classify(&options, &files, error)))?;
    let OpenedStore { conn, reader, found, fault } = opening;
    if let Some(reason) = &found.loss {
        tracing::error!("{} is not complete: {reason}", path.display());
    }
    if let Some(reason) = &found.unproven {
        tracing::warn!("{}: {reason}", path.display());
    }
    let StoreState { loss, unclean, unproven, .. } = found;
    let opened = Opened { note, loss, unproven, unclean, fault };
    let writer = Writer::new(conn, found.end, files, &options, reader.clone(), opened);
    Ok((writer, reader))
}

/// What is known of the files before SQLite opens them.
struct FilesBeforeOpen {
    /// Damage of the WAL.
    damage: Option<String>,
    /// The end of the log, as the last server has noted it.
    noted: Option<LogHead>,
    wal_missing: bool,
    has_content: bool,
}

/// What is read before anything is written.
struct StoreState {
    loss: Option<String>,
    /// Why it cannot be told which rows somebody else has written.
    unproven: Option<String>,
    unclean: bool,
    /// The end of the log, and the next document's key.
    end: (LogHead, i64),
}

struct OpenedStore {
    /// `None`: nothing can be written, which `fault` explains.
    conn: Option<Connection>,
    reader: Reader,
    found: StoreState,
    fault: Option<WriteError>,
}

fn open_writable(
    options: &StoreOptions,
    files: &Arc<OpenFiles>,
    before: &FilesBeforeOpen,
) -> Result<OpenedStore, OpenFailure> {
    let path = files.database();
    let conn = connect(path, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
    let prepare = || {
        let found = examine(&conn, options, path, before)?;
        let unproven = adopt_key(&conn, files)?;
        configure(&conn, options.synchronous, options.pages_max.unwrap_or(0))?;
        recovery::begin_use(&conn)?;
        server_place::settle(&conn, files)?;
        install_triggers(&conn)?;
        check_end(&conn, path)?;
        files.note_wal();
        let reader = Reader::open(Arc::clone(files), options.readers).map_err(|error| other_error(path, error))?;
        Ok((StoreState { unproven, ..found }, reader))
    };
    match prepare() {
        Ok((found, reader)) => Ok(OpenedStore { conn: Some(conn), reader, found, fault: None }),
        Err(failure) => {
            // A start that is refused changes nothing.
            keep_wal(&conn);
            Err(failure)
        }
    }
}

/// Has the database be used with the key beside it. Returns what is to be told of that.
fn adopt_key(conn: &Connection, files: &OpenFiles) -> Result<Option<String>, OpenFailure> {
    let obtained = obtain_key(files.database())?;
    let unproven = adopt::adopt(conn, &obtained)?;
    files.set_key(obtained.key);
    Ok(unproven)
}

fn obtain_key(database: &Path) -> Result<ObtainedKey, OpenFailure> {
    adopt::obtain(database).map_err(|source| {
        let path = key_file::path_beside(database);
        OpenFailure::Known(OpenError::DataDirectory { path, source: source.into() })
    })
}

/// There is no room to write anything, be it the file of the WAL's index: reads what is there all the same.
fn open_without_room(
    options: &StoreOptions,
    files: &Arc<OpenFiles>,
    before: &FilesBeforeOpen,
    error: rusqlite::Error,
) -> Result<OpenedStore, OpenFailure> {
    let path = files.database();
    let found = {
        let conn = pool::connect_exclusive(files)?;
        let found = examine(&conn, options, path, before)?;
        if let Some(key) = adopt::use_existing(&conn, &[path])? {
            files.set_key(key);
        }
        found
    };
    let reader =
        Reader::open_exclusive(Arc::clone(files), options.readers).map_err(|error| other_error(path, error))?;
    let fault = WriteError { full: true, ..file_size_limit::explain_failure(error.into(), path) };
    Ok(OpenedStore { conn: None, reader, found, fault: Some(fault) })
}

/// Whether the file is ours and whole, as far as that costs the same however much is stored.
fn examine(
    conn: &Connection,
    options: &StoreOptions,
    path: &Path,
    before: &FilesBeforeOpen,
) -> Result<StoreState, OpenFailure> {
    let copied = keep_short_wal(conn, options, path, before)?;
    identify(conn, path)?;
    check_whole(conn, path)?;
    check_tables(conn, path)?;
    let mark = OpenMark::read(conn)?;
    let damaged = |failure| match failure {
        StoreError::Sql(error) => OpenFailure::Sql(error),
        StoreError::Known(error) => {
            OpenFailure::Known(OpenError::Damaged { path: path.to_owned(), reason: error.to_string() })
        }
    };
    let head = log::head(conn).map_err(damaged)?;
    let end = (head, log::next_key(conn).map_err(damaged)?);
    let loss = recovery::find_loss(head, before.noted, mark == OpenMark::Open && before.wal_missing);
    let loss =
        [before.damage.clone(), loss, copied].into_iter().flatten().reduce(|one, other| format!("{one}; {other}"));
    match loss {
        Some(reason) if options.strict => {
            Err(OpenFailure::Known(OpenError::Incomplete { path: path.to_owned(), reason }))
        }
        loss => Ok(StoreState { loss, unproven: None, unclean: mark != OpenMark::Closed, end }),
    }
}

fn other_error(path: &Path, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> OpenFailure {
    OpenFailure::Known(OpenError::Other { path: path.to_owned(), source: source.into() })
}

fn lacks_room(error: &rusqlite::Error, path: &Path) -> bool {
    is_lack_of_room(error) || file_size_limit::is_reached(path)
}

fn length_of(path: &Path) -> u64 {
    fs::metadata(path).map_or(0, |metadata| metadata.len())
}

/// Looks at the WAL before SQLite does, which would discard it beside an empty database, and reads it up to the first
/// damaged frame. Returns a description of the damage.
fn inspect_wal(options: &StoreOptions, path: &Path) -> Result<Option<String>, OpenError> {
    let empty = fs::metadata(path).map_or(0, |metadata| metadata.len()) == 0;
    if empty && wal::has_content(&wal::path_of(path)) {
        let reason = "it is empty, and its WAL is not: put the database back, or move the WAL away".to_owned();
        return Err(OpenError::Damaged { path: path.to_owned(), reason });
    }
    let found = recovery::keep_damaged_wal(path, options.strict);
    let found = found.map_err(|source| OpenError::Other { path: path.to_owned(), source: source.into() })?;
    if let (Some(reason), true) = (&found, options.strict) {
        return Err(OpenError::Incomplete { path: path.to_owned(), reason: reason.clone() });
    }
    Ok(found)
}

/// The same where only the end of the log shows the damage. `strict`: the WAL is left as it is.
fn keep_short_wal(
    conn: &Connection,
    options: &StoreOptions,
    path: &Path,
    before: &FilesBeforeOpen,
) -> Result<Option<String>, OpenFailure> {
    let Some(noted) = before.noted.filter(|_| before.damage.is_none() && !options.strict) else { return Ok(None) };
    let copy = recovery::keep_short_wal(conn, path, noted).map_err(|error| other_error(path, error))?;
    Ok(copy.map(|name| format!("the WAL was copied to {name}")))
}

/// A finished error, or one of SQLite that still has to be classified.
enum OpenFailure {
    Known(OpenError),
    Sql(rusqlite::Error),
}

impl OpenFailure {
    fn unwrap_or_else(self, classify: impl FnOnce(rusqlite::Error) -> OpenError) -> OpenError {
        match self {
            Self::Known(error) => error,
            Self::Sql(error) => classify(error),
        }
    }
}

impl From<rusqlite::Error> for OpenFailure {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sql(error)
    }
}

/// Makes the database file with its mode before SQLite opens it: the WAL and its index inherit that. Only here, under
/// the lock and before any connection: closing a file drops the locks that SQLite holds on it in this process.
fn prepare_file(data_dir: &Path, path: &Path) -> io::Result<()> {
    match OpenOptions::new().write(true).create_new(true).mode(0o600).open(path) {
        Ok(file) => {
            file.sync_all()?;
            File::open(data_dir)?.sync_all()?;
        }
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        Err(error) => return Err(error),
    }
    if fs::metadata(path)?.permissions().mode() & 0o777 != 0o600 {
        fs::set_permissions(path, Permissions::from_mode(0o600))?;
    }
    Ok(())
}

/// Whether the file is ours, and of a format that we know. An empty one becomes ours.
fn identify(conn: &Connection, path: &Path) -> Result<(), OpenFailure> {
    let application: i64 = conn.query_row("PRAGMA application_id", [], |row| row.get(0))?;
    let found: i64 = conn.query_row("PRAGMA user_version", [], |row| row.get(0))?;
    let objects: i64 = conn.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
    if (application, found, objects) == (0, 0, 0) {
        // Before the schema: the mode cannot be changed inside its transaction, nor while somebody reads.
        conn.query_row("PRAGMA journal_mode = WAL", [], |_| Ok(()))?;
        return write_schema(conn, SCHEMA, path);
    }
    let owned = || path.to_owned();
    if application != APPLICATION_ID {
        return Err(OpenFailure::Known(OpenError::Foreign { path: owned() }));
    }
    if found > FORMAT {
        return Err(OpenFailure::Known(OpenError::Newer { path: owned(), found, known: FORMAT }));
    }
    if found < 1 {
        let reason = format!("it says that it has format {found}, which never was");
        return Err(OpenFailure::Known(OpenError::Damaged { path: owned(), reason }));
    }
    migrate(conn, found, path)
}

/// Brings a file of an older format to this one, in one transaction.
fn migrate(conn: &Connection, found: i64, path: &Path) -> Result<(), OpenFailure> {
    let done = usize::try_from(found - 1).unwrap_or(usize::MAX);
    let due: String = MIGRATIONS.iter().skip(done).copied().collect();
    match due.is_empty() {
        true => Ok(()),
        false => write_schema(conn, &format!("{due}\nPRAGMA user_version = {FORMAT};"), path),
    }
}

/// Brings the database at `path`, which nobody else has open, to this format. `key_of`: the database whose key it is
/// used with from then on.
pub(super) fn bring_up_to_date(path: &Path, key_of: &Path) -> Result<(), OpenError> {
    let upgrade = || {
        let conn = connect(path, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
        identify(&conn, key_of)
    };
    upgrade().map_err(|failure: OpenFailure| {
        failure.unwrap_or_else(|error| {
            let path = path.to_owned();
            match is_damage(&error) {
                true => OpenError::Damaged { path, reason: error.to_string() },
                false => OpenError::Other { path, source: error.into() },
            }
        })
    })
}

/// Runs `sql` and writes the MACs of all rows, in one transaction.
fn write_schema(conn: &Connection, sql: &str, path: &Path) -> Result<(), OpenFailure> {
    Ok(adopt::write_schema(conn, sql, &obtain_key(path)?.key)?)
}

/// Whether the file ends where a page does. One that is cut within its last page reads as if zeros followed, and the
/// first write would make them real. With a WAL beside it a part of a page is no damage: a crash may leave it when
/// pages are moved from there.
fn check_whole(conn: &Connection, path: &Path) -> Result<(), OpenFailure> {
    let mut wal = path.as_os_str().to_owned();
    wal.push("-wal");
    let size: u64 = conn.query_row("PRAGMA page_size", [], |row| rows::number(row, 0))?;
    let length = fs::metadata(path).map_or(0, |metadata| metadata.len());
    if fs::metadata(wal).map_or(0, |metadata| metadata.len()) == 0 && !length.is_multiple_of(size.max(1)) {
        let reason = "its end is missing".to_owned();
        return Err(OpenFailure::Known(OpenError::Damaged { path: path.to_owned(), reason }));
    }
    Ok(())
}

/// Looks for damage where it costs the same however much is stored.
fn check_tables(conn: &Connection, path: &Path) -> Result<(), OpenFailure> {
    let damaged = |reason: String| OpenFailure::Known(OpenError::Damaged { path: path.to_owned(), reason });
    for table in TABLES {
        let sql = "SELECT count(*) FROM sqlite_schema WHERE type = 'table' AND name = ?1";
        let count: i64 = conn.query_row(sql, [table], |row| row.get(0))?;
        if count != 1 {
            return Err(damaged(format!("it has no table {table}")));
        }
        for order in ["", "DESC"] {
            let sql = format!("SELECT rowid FROM {table} ORDER BY rowid {order} LIMIT 1");
            conn.prepare(&sql)?.query([])?.next()?;
        }
    }
    Ok(())
}

/// Whether the file is as long as it says. What a crash left in the WAL is moved into it first.
fn check_end(conn: &Connection, path: &Path) -> Result<(), OpenFailure> {
    if checkpoint(conn, Checkpoint::Truncate)?.complete() {
        let pages: u64 = conn.query_row("PRAGMA page_count", [], |row| rows::number(row, 0))?;
        let size: u64 = conn.query_row("PRAGMA page_size", [], |row| rows::number(row, 0))?;
        let length = fs::metadata(path).map_or(u64::MAX, |metadata| metadata.len());
        if length < pages.saturating_mul(size) {
            let reason = "its end is missing".to_owned();
            return Err(OpenFailure::Known(OpenError::Damaged { path: path.to_owned(), reason }));
        }
    }
    Ok(())
}

fn classify(options: &StoreOptions, files: &OpenFiles, error: rusqlite::Error) -> OpenError {
    let path = files.database().to_owned();
    match error.sqlite_error_code() {
        // SQLite tells a disk that cannot be read as damage.
        Some(ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt) if files.is_unreadable() => {
            OpenError::Other { path, source: "the disk cannot be read".into() }
        }
        Some(ErrorCode::NotADatabase) => OpenError::Foreign { path },
        Some(ErrorCode::ReadOnly | ErrorCode::PermissionDenied | ErrorCode::CannotOpen) => {
            OpenError::DataDirectory { path: options.data_dir.clone(), source: error.into() }
        }
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => {
            OpenError::Locked { path: options.data_dir.clone() }
        }
        _ if is_damage(&error) => OpenError::Damaged { path, reason: error.to_string() },
        _ => OpenError::Other { path, source: error.into() },
    }
}
