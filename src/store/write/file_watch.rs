//! Notices when something that is not SQLite writes to the files that are open: their paths still name them, and what
//! was committed in them is not there any more.

use std::collections::HashMap;
use std::fs::File;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::Arc;

use rusqlite::Connection;
use tracing::{debug, warn};

use crate::store::error::{LostFile, WriteError, WriteResult};
use crate::store::open_files::OpenFiles;
use crate::store::recovery;
use crate::store::write::checkpoint::{Checkpoint, Progress, checkpoint};
use crate::store::write::wal_copy::{WalContents, WalCopy, WriteStamp};

/// How often the WAL is compared while somebody else writes to it.
const ATTEMPTS_MAX: u32 = 4;
/// Bytes of a database's header.
const HEADER_BYTES: usize = 100;
/// Of these, the magic string, the size of a page and what follows that never changes.
const FORMAT_BYTES: usize = 24;

type Header = [u8; HEADER_BYTES];

/// See the module. Owned by the writer.
#[derive(Debug)]
pub(crate) struct FileWatch {
    wal_bytes_max: usize,
    /// `None`: before the files are open, or the WAL cannot be opened.
    open: Option<OpenWatch>,
}

#[derive(Debug)]
struct OpenWatch {
    files: Arc<OpenFiles>,
    wal: WalCopy,
    database: DatabaseState,
    moved: Moved,
    /// Whether another process has moved the WAL into the database since that was last found whole.
    moved_by_others: bool,
    /// Whether all of the WAL was compared since the last commit. A write that somebody else makes during a commit does
    /// not show in its times.
    compared: bool,
    /// The copy that was made of a WAL that could not be restored yet.
    kept: Option<String>,
}

/// The database file as SQLite has left it.
#[derive(Debug)]
struct DatabaseState {
    stamp: WriteStamp,
    header: Header,
    /// The checksums of the pages that were written last, by number. A file of an earlier time differs in these, if in
    /// any that were written since the start.
    pages: HashMap<u32, u64>,
}

/// How far the WAL was moved into the database when it was last looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Moved {
    /// Of the WAL: see [`WalCopy::salt`].
    salt: Option<u32>,
    frames: u64,
    moved: u64,
}

impl FileWatch {
    /// `wal_bytes_max`: how much of the WAL is kept in memory.
    pub(crate) fn new(wal_bytes_max: u64) -> Self {
        Self { wal_bytes_max: usize::try_from(wal_bytes_max).unwrap_or(usize::MAX), open: None }
    }

    /// Begins with the files as they are now. To be called when the writer has opened them.
    pub(crate) fn begin(&mut self, files: &Arc<OpenFiles>, conn: &Connection) {
        self.open = OpenWatch::begin(files, conn, self.wal_bytes_max)
            .inspect_err(|error| debug!(%error, "whether somebody else writes to the files is not noticed"))
            .ok();
    }

    /// SQLite makes the WAL anew when all connections were closed.
    fn current(&mut self, conn: &Connection) -> Option<&mut OpenWatch> {
        let files = Arc::clone(&self.open.as_ref()?.files);
        if self.open.as_ref().is_some_and(|open| !open.wal.is_of(&files)) {
            self.begin(&files, conn);
        }
        self.open.as_mut()
    }

    /// Whether nobody but SQLite has written to the files since the last look. Costs two questions to the file system
    /// when nobody has.
    pub(crate) fn check(&mut self, conn: &Connection) -> Result<(), LostFile> {
        let Some(open) = self.current(conn) else { return Ok(()) };
        if !open.wal.is_untouched() {
            open.compare_wal(conn)?;
        }
        open.check_database(conn)
    }

    /// The same, and compares all of the WAL with what it has to hold, some milliseconds for the largest: to be called
    /// before it is moved into the database.
    pub(crate) fn check_all(&mut self, conn: &Connection) -> Result<(), LostFile> {
        let Some(open) = self.current(conn) else { return Ok(()) };
        open.compare_wal(conn)?;
        open.compared = true;
        open.check_database(conn)
    }

    /// Whether the WAL holds what it has to.
    pub(crate) fn has_whole_wal(&self) -> bool {
        self.open.as_ref().is_some_and(|open| open.wal.is_whole())
    }

    /// The same as [`check_all`](Self::check_all), unless nothing was committed since.
    pub(crate) fn check_commits(&mut self, conn: &Connection) -> Result<(), LostFile> {
        match self.open.as_ref().is_some_and(|open| open.compared) {
            true => self.check(conn),
            false => self.check_all(conn),
        }
    }

    /// This connection has committed. Error: the WAL does not hold what it has to.
    pub(crate) fn committed(&mut self, conn: &Connection) -> Result<(), LostFile> {
        let Some(open) = self.current(conn) else { return Ok(()) };
        open.compared = false;
        let Ok(progress) = checkpoint(conn, Checkpoint::Ask) else { return Ok(()) };
        match open.wal.follow(progress.frames) {
            Ok(WalContents::Overwritten) => return open.compare_wal(conn),
            Ok(WalContents::Whole) => {}
            Err(_) => return Ok(()),
        }
        // A commit starts the WAL over when all of it was moved.
        if open.moved.moved == open.moved.frames && progress.moved == 0 {
            open.moved = Moved::of(&open.wal, &progress);
        }
        open.note_moved(&progress);
        Ok(())
    }

    /// This connection has moved the WAL into the database.
    pub(crate) fn moved(&mut self, conn: &Connection) {
        let Some(open) = self.current(conn) else { return };
        let noted = checkpoint(conn, Checkpoint::Ask).map_err(io::Error::other).and_then(|progress| {
            open.wal.follow(progress.frames)?;
            Ok((DatabaseState::of(&open.files)?.with_pages(&open.files, &open.wal), Moved::of(&open.wal, &progress)))
        });
        match noted {
            Ok((database, moved)) => (open.database, open.moved, open.moved_by_others) = (database, moved, false),
            Err(error) => debug!(%error, "the database file cannot be looked at"),
        }
    }

    /// Writes what is committed into a WAL that was cut or overwritten. What is there now is copied beside it, if it is
    /// anything else than a part of that. Error: it is not whole.
    pub(crate) fn restore_wal(&mut self, conn: &Connection) -> WriteResult {
        let Some(open) = &mut self.open else { return Err(WriteError::other("the WAL is not open")) };
        let path = open.files.paths().wal();
        let lost = |why: &dyn std::fmt::Display| {
            WriteError::lost(LostFile::WalOverwritten(path.clone()), &format!("it cannot be written again: {why}"))
        };
        let Progress { frames, .. } = checkpoint(conn, Checkpoint::Ask).map_err(|error| lost(&error))?;
        if open.kept.is_none() && open.wal.has_other_bytes().map_err(|error| lost(&error))? {
            open.kept = Some(recovery::copy_wal(&path).map_err(|error| lost(&error))?);
        }
        let mut found = open.wal.restore(frames).map_err(|error| lost(&error))?;
        if found == WalContents::Overwritten && open.wal.is_complete() {
            // The transaction at the end was overwritten while it was committed, and nobody was told that it is stored.
            // SQLite finds where the WAL ends when it has no index of it.
            open.wal.cut_behind().and_then(|()| open.files.drop_wal_index()).map_err(|error| lost(&error))?;
            let Progress { frames, .. } = checkpoint(conn, Checkpoint::Ask).map_err(|error| lost(&error))?;
            found = open.wal.compare(frames).map_err(|error| lost(&error))?;
        }
        if found == WalContents::Overwritten {
            return Err(lost(&"not all of it is in memory"));
        }
        let kept = open.kept.take().map(|name| format!("; what was put there is copied to {name}"));
        let kept = kept.unwrap_or_default();
        warn!("{}: everything is written there again{kept}", LostFile::WalOverwritten(path));
        Ok(())
    }
}

impl OpenWatch {
    fn begin(files: &Arc<OpenFiles>, conn: &Connection, wal_bytes_max: usize) -> io::Result<Self> {
        let mut wal = WalCopy::open(&files.paths().wal(), wal_bytes_max)?;
        let progress = checkpoint(conn, Checkpoint::Ask).map_err(io::Error::other)?;
        wal.follow(progress.frames)?;
        let database = DatabaseState::of(files)?.with_pages(files, &wal);
        let moved = Moved::of(&wal, &progress);
        Ok(Self { files: Arc::clone(files), wal, database, moved, moved_by_others: false, compared: true, kept: None })
    }

    fn compare_wal(&mut self, conn: &Connection) -> Result<(), LostFile> {
        let mut overwritten = None;
        for _ in 0..ATTEMPTS_MAX {
            let Ok(Progress { frames, .. }) = checkpoint(conn, Checkpoint::Ask) else { return Ok(()) };
            match self.wal.compare(frames) {
                Ok(WalContents::Overwritten) if overwritten == Some(frames) => {
                    return Err(LostFile::WalOverwritten(self.files.paths().wal()));
                }
                // Another process may have written to it between the two.
                Ok(WalContents::Overwritten) => overwritten = Some(frames),
                Ok(WalContents::Whole) | Err(_) => return Ok(()),
            }
        }
        Ok(())
    }

    /// Page 1 is rewritten whenever the file grows or shrinks. What SQLite writes there was in the WAL before.
    fn check_database(&mut self, conn: &Connection) -> Result<(), LostFile> {
        for _ in 1..ATTEMPTS_MAX {
            match self.check_written_database(conn) {
                // Another process may have moved there what it has just committed.
                Err(_) => self.compare_wal(conn)?,
                whole => return whole,
            }
        }
        self.check_written_database(conn)
    }

    fn check_written_database(&mut self, conn: &Connection) -> Result<(), LostFile> {
        let file = self.files.database_file();
        if WriteStamp::of(file).is_ok_and(|stamp| stamp == self.database.stamp) {
            return Ok(());
        }
        let Ok(progress) = checkpoint(conn, Checkpoint::Ask) else { return Ok(()) };
        self.note_moved(&progress);
        let before = &self.database;
        let now = match DatabaseState::of(&self.files) {
            Ok(now) => now,
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Err(self.overwritten()),
            Err(_) => return Ok(()),
        };
        let same = now.header == before.header && now.stamp.length() >= before.stamp.length();
        // Another process may have moved the WAL there, and may be at it.
        let moved = self.moved_by_others || !self.wal.is_complete();
        let known = || self.wal.pages(1).any(|page| page.starts_with(&now.header));
        let expected = same || (moved && now.has_format_of(before)) || known();
        if expected && (moved || self.has_known_pages()) {
            let now = now.with_pages(&self.files, &self.wal);
            (self.database, self.moved_by_others) = (now, false);
            return Ok(());
        }
        Err(self.overwritten())
    }

    /// Whether the pages whose checksums are known are as they were, or as the WAL has them.
    fn has_known_pages(&self) -> bool {
        self.database.pages.iter().all(|(number, checksum)| {
            match DatabaseState::read_page(&self.files, &self.wal, *number) {
                Some(page) => checksum_of(&page) == *checksum || self.wal.pages(*number).any(|written| written == page),
                // The length tells what was cut.
                None => true,
            }
        })
    }

    fn note_moved(&mut self, progress: &Progress) {
        let (before, now) = (self.moved, Moved::of(&self.wal, progress));
        self.moved_by_others |= (now.salt, now.moved) != (before.salt, before.moved) || now.frames < before.frames;
        self.moved = now;
    }

    fn overwritten(&self) -> LostFile {
        LostFile::Overwritten(PathBuf::from(self.files.database()))
    }
}

impl Moved {
    fn of(wal: &WalCopy, progress: &Progress) -> Self {
        Self { salt: wal.salt(), frames: progress.frames, moved: progress.moved }
    }
}

impl DatabaseState {
    /// Error: `UnexpectedEof` when there is no header.
    fn of(files: &OpenFiles) -> io::Result<Self> {
        let file: &File = files.database_file();
        let mut header = [0; HEADER_BYTES];
        file.read_exact_at(&mut header, 0)?;
        Ok(Self { stamp: WriteStamp::of(file)?, header, pages: HashMap::new() })
    }

    /// With the checksums that the pages have now that were written last.
    fn with_pages(mut self, files: &OpenFiles, wal: &WalCopy) -> Self {
        let read = |number: &u32| Self::read_page(files, wal, *number).map(|page| (*number, checksum_of(&page)));
        self.pages = wal.recent_pages().iter().filter_map(read).collect();
        self
    }

    /// `None`: it is not there, or cannot be read.
    fn read_page(files: &OpenFiles, wal: &WalCopy, number: u32) -> Option<Vec<u8>> {
        let mut page = vec![0; wal.page_bytes()];
        let offset = u64::from(number).checked_sub(1)?.checked_mul(page.len() as u64)?;
        files.database_file().read_exact_at(&mut page, offset).ok().map(|()| page)
    }

    fn has_format_of(&self, other: &Self) -> bool {
        self.header.get(..FORMAT_BYTES) == other.header.get(..FORMAT_BYTES)
    }
}

fn checksum_of(page: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    page.hash(&mut hasher);
    hasher.finish()
}
