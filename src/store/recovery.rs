//! Whether a file has all that a server stored in it, found when it is opened: by the WAL's frames, by the mark that
//! says whether a server has the file open, and by a note of the last commit that is kept beside the file.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;

use rusqlite::{Connection, OptionalExtension};

use crate::base::clock::Timestamp;
use crate::base::ids::Seq;
use crate::document::chain::Hash;
use crate::store::error::WriteError;
use crate::store::read::log;
use crate::store::rows::LogHead;
use crate::store::tables::{self, FORMAT};
use crate::store::wal;

/// The end of the log after the last commit: `<seq> <hash>` at the start of the lock file, which this holds locked. It
/// is not synced: it outlives the process, and after a power loss it is at most older than the log.
#[derive(Debug)]
pub(crate) struct CommitNote(File);

/// What files of the same format may lack, or have as an earlier release made it: added when they are opened. Nothing
/// is stored by way of a view, so its text is no part of the format.
const LATER_OBJECTS: [(&str, &str); 7] = [
    ("TABLE", "server_place"),
    ("TABLE", "open_mark"),
    ("VIEW", "current_documents"),
    ("VIEW", "readable_events"),
    ("TABLE", "conflicts"),
    ("INDEX", "conflicts_by_document"),
    ("INDEX", "conflicts_open"),
];
/// Digits of a seq in the note.
const SEQ_DIGITS: usize = 20;
pub(super) const NOTE_BYTES: usize = SEQ_DIGITS + 1 + 64 + 1;

impl CommitNote {
    pub(crate) fn new(lock: File) -> Self {
        Self(lock)
    }

    /// The lock file, locked.
    pub(crate) fn lock(&self) -> &File {
        &self.0
    }

    /// `None`: there is none, or it cannot be read.
    pub(crate) fn read(&self) -> Option<LogHead> {
        let mut note = [0; NOTE_BYTES];
        self.0.read_exact_at(&mut note, 0).ok()?;
        let (seq, hash) = std::str::from_utf8(&note).ok()?.trim_end().split_once(' ')?;
        Some(LogHead { seq: Seq(seq.parse().ok()?), hash: Hash::parse(hash)? })
    }

    /// A failure is ignored: the next start then cannot detect a loss.
    pub(crate) fn write(&self, head: LogHead) {
        let LogHead { seq: Seq(seq), hash } = head;
        let note = format!("{seq:0SEQ_DIGITS$} {hash}\n");
        if let Err(error) = self.0.write_all_at(note.as_bytes(), 0) {
            tracing::debug!(%error, "the last commit could not be noted");
        }
    }
}

/// What opening the file has found.
#[derive(Debug)]
pub(crate) struct Opened {
    pub note: CommitNote,
    /// What is missing of what a server has stored in it; `None`: nothing.
    pub loss: Option<String>,
    /// Why it cannot be told which rows somebody else had written before; `None`: it can.
    pub unproven: Option<String>,
    /// Whether the last server that had it open did not close it.
    pub unclean: bool,
    /// Why nothing can be written; `None`: it can.
    pub fault: Option<WriteError>,
}

/// Copies a WAL that has valid frames behind a damaged one: SQLite does not read those, and overwrites them later.
/// Returns a description; `None`: there is no damage. `strict`: the WAL is not copied.
pub(crate) fn keep_damaged_wal(database: &Path, strict: bool) -> io::Result<Option<String>> {
    let path = wal::path_of(database);
    let Some(damage) = wal::find_damage(&path)? else { return Ok(None) };
    let told = format!(
        "the WAL is damaged at byte {}: {} sound frames behind that cannot be read",
        damage.offset, damage.frames_lost
    );
    if strict {
        return Ok(Some(format!("{told}; it was left as it is")));
    }
    let name = copy_wal(&path)?;
    Ok(Some(format!("{told}; the WAL was copied to {name}")))
}

/// Copies the WAL beside itself. Returns the name of the copy.
pub(crate) fn copy_wal(path: &Path) -> io::Result<String> {
    let written = std::fs::metadata(path)?.modified()?.duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    let time = Timestamp::from_millis(i64::try_from(written.as_millis()).unwrap_or(0));
    let mut copy = path.as_os_str().to_owned();
    copy.push(format!(".damaged-{}", time.to_string().replace(':', "-")));
    let mut options = OpenOptions::new();
    let mut to = options.write(true).create(true).truncate(true).mode(0o600).open(&copy)?;
    io::copy(&mut File::open(path)?, &mut to)?;
    to.sync_all()?;
    Ok(Path::new(&copy).file_name().unwrap_or_default().to_string_lossy().into_owned())
}

/// Copies a WAL whose last transactions cannot be read, which shows only in that the log ends before, or otherwise
/// than, `noted`. To be called before anything is written, which would overwrite them. Returns the name of the copy.
pub(crate) fn keep_short_wal(conn: &Connection, database: &Path, noted: LogHead) -> io::Result<Option<String>> {
    let path = wal::path_of(database);
    // Whether the file is ours and can be read is looked at later.
    let Ok(head) = log::head(conn) else { return Ok(None) };
    match find_loss(head, Some(noted), false).is_some() && wal::has_content(&path) {
        true => copy_wal(&path).map(Some),
        false => Ok(None),
    }
}

/// Compares the end of the log with what was noted beside the file, and the file's mark with whether its WAL is there.
/// `copied_open`: the file is marked as open, was not copied by SQLite, and had no WAL. Returns a description of what
/// is missing.
pub(crate) fn find_loss(head: LogHead, noted: Option<LogHead>, copied_open: bool) -> Option<String> {
    match noted {
        Some(noted) if noted.seq > head.seq => {
            let (had, has) = (noted.seq, head.seq);
            return Some(format!("the newest event is {has}, and a server has stored events up to {had} here"));
        }
        Some(noted) if noted.seq == head.seq && noted.hash != head.hash => {
            return Some(format!("event {} is not the one that a server has stored here", head.seq));
        }
        Some(_) => return None,
        None => {}
    }
    copied_open.then(|| {
        "a server had the file open when it was copied, and its WAL was not copied with it: changes that were only in \
         the WAL are missing; `rejoin backup` and `sqlite3 rejoin.db '.backup copy.db'` copy everything"
            .to_owned()
    })
}

/// What a file says of the server that had it open last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OpenMark {
    /// It closed the file.
    Closed,
    /// It has not closed it.
    Open,
    /// The same, and SQLite has made this copy since (`.backup`, `VACUUM INTO`): it has everything that was committed.
    CopiedBySqlite,
}

impl OpenMark {
    /// The mark holds the version that the schema had. SQLite gives every copy that it makes another one: one more than
    /// that of the file which it replaces, so that whoever had that open notices. `cp` keeps it. Nothing else tells a
    /// copy of the database alone from one by SQLite: that file is as a commit has left it too, only an earlier one.
    pub(crate) fn read(conn: &Connection) -> rusqlite::Result<Self> {
        if !has_object(conn, "open_mark")? {
            return Ok(Self::Closed);
        }
        let sql = "SELECT open FROM open_mark WHERE only_row = 1";
        let marked: i64 = conn.query_row(sql, [], |row| row.get(0)).optional()?.unwrap_or(0);
        Ok(match marked {
            0 => Self::Closed,
            // By an earlier release, which said no more than that.
            1 => Self::Open,
            version if version == schema_version(conn)? => Self::Open,
            _ => Self::CopiedBySqlite,
        })
    }
}

fn schema_version(conn: &Connection) -> rusqlite::Result<i64> {
    conn.query_row("PRAGMA schema_version", [], |row| row.get(0))
}

/// Marks the file anew when its schema has changed.
pub(crate) fn refresh_open_mark(conn: &Connection) -> rusqlite::Result<()> {
    match OpenMark::read(conn)? {
        OpenMark::CopiedBySqlite => mark_open(conn, true),
        OpenMark::Open | OpenMark::Closed => Ok(()),
    }
}

/// Whether the schema has a table or view of this name.
pub(crate) fn has_object(conn: &Connection, name: &str) -> rusqlite::Result<bool> {
    let sql = "SELECT EXISTS (SELECT 1 FROM sqlite_schema WHERE name = ?1)";
    conn.query_row(sql, [name], |row| row.get(0))
}

/// Says in the file whether a server has it open.
pub(crate) fn mark_open(conn: &Connection, open: bool) -> rusqlite::Result<()> {
    let mark = if open { schema_version(conn)? } else { 0 };
    let sql = "INSERT INTO open_mark (only_row, open) VALUES (1, ?1) ON CONFLICT (only_row) DO UPDATE SET open = ?1";
    conn.execute(sql, [mark]).map(drop)
}

/// A real write, synced: setting the format's number writes the first page even if it stays the same. Marks the file as
/// open, adds what files of this format may lack, and makes views anew whose text has changed.
pub(crate) fn begin_use(conn: &Connection) -> rusqlite::Result<()> {
    conn.execute_batch(&format!("BEGIN IMMEDIATE; PRAGMA user_version = {FORMAT};"))?;
    for (kind, name) in LATER_OBJECTS {
        let statement = tables::create_statement(kind, name);
        let sql = "SELECT sql FROM sqlite_schema WHERE name = ?1";
        let stored: Option<String> = conn.query_row(sql, [name], |row| row.get(0)).optional()?;
        if kind == "VIEW" && stored.as_ref().is_some_and(|stored| stored != statement.trim_end_matches(';')) {
            conn.execute_batch(&format!("DROP VIEW {name}; {statement}"))?;
        } else if stored.is_none() {
            conn.execute_batch(statement)?;
        }
    }
    mark_open(conn, true)?;
    conn.execute_batch("COMMIT")
}
