//! A file beside the database for revocations that the database does not take: a start after a stop, or a kill, on a
//! full disk must not give back what was taken from somebody. It is made with its room when the database is opened,
//! since it is written when the disk is full, and made anew when its path does not name it any more.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use tracing::warn;

use crate::store::open_files::FileId;

/// Bytes that the file has from its beginning: of nearly a thousand ended sessions. More fit when there is room.
const ROOM_BYTES: usize = 64 << 10;

/// See the module. Lines of text, and zeros behind them. A file that cannot be made or read is told in the log; it
/// keeps nothing until [`keep_at`](Self::keep_at) succeeds.
#[derive(Debug)]
pub(crate) struct RevocationJournal {
    file: Option<JournalFile>,
    /// Where the next line goes.
    end: u64,
    /// Whether it lacks lines that could not be added.
    lacks_lines: bool,
    /// Whether it was logged that it keeps nothing, since it last did.
    failure_logged: bool,
}

#[derive(Debug)]
struct JournalFile {
    file: File,
    path: PathBuf,
    id: FileId,
}

impl RevocationJournal {
    /// Opens the journal at `path`, which is made if there is none, and reads its lines.
    pub(crate) fn open(path: &Path) -> (Self, Vec<String>) {
        match open(path) {
            Ok((file, lines)) => {
                let end = lines.iter().map(|line| line.len() as u64 + 1).sum();
                (Self { file: Some(file), end, lacks_lines: false, failure_logged: false }, lines)
            }
            Err(error) => {
                warn!(%error, "{} cannot be used", path.display());
                (Self { file: None, end: 0, lacks_lines: false, failure_logged: true }, Vec::new())
            }
        }
    }

    /// Sees to it that `path` names the open file. Where it does not, the file is made anew, with its room and with the
    /// lines of everything that is not in the database. One that could not be opened is left alone.
    pub(crate) fn keep_at(&mut self, path: &Path, pending: impl FnOnce() -> Vec<String>) -> io::Result<()> {
        if self.file.as_ref().is_some_and(|file| file.path == path && file.id.is_at(path)) {
            return Ok(());
        }
        let made = match &self.file {
            None if path.exists() => Err(io::Error::other(format!("{} could not be opened", path.display()))),
            _ => make(path, &text_of(&pending())),
        };
        match made {
            Ok((file, end)) => {
                warn!("{} was not there and is made anew", path.display());
                *self = Self { file: Some(file), end, lacks_lines: false, failure_logged: false };
                Ok(())
            }
            Err(error) => {
                if !self.failure_logged {
                    warn!(%error, "{} is not there and cannot be made: revocations are kept in memory", path.display());
                }
                self.failure_logged = true;
                Err(error)
            }
        }
    }

    /// Whether all lines that were to be added are there.
    pub(crate) fn has_all(&self) -> bool {
        !self.lacks_lines
    }

    /// Adds lines, synced. They have no line feed and no NUL.
    pub(crate) fn add(&mut self, lines: &[String]) -> io::Result<()> {
        let added = self.append(lines);
        self.lacks_lines |= added.is_err();
        added
    }

    fn append(&mut self, lines: &[String]) -> io::Result<()> {
        let JournalFile { file, .. } = self.file.as_ref().ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))?;
        let text = text_of(lines);
        file.write_all_at(text.as_bytes(), self.end)?;
        file.sync_data()?;
        self.end += text.len() as u64;
        Ok(())
    }

    /// Everything in it is in the database. A line that comes back after a power loss revokes the same once more.
    pub(crate) fn clear(&mut self) {
        self.lacks_lines = false;
        let Some(JournalFile { file, path, .. }) = self.file.as_ref().filter(|_| self.end > 0) else { return };
        let zeros = vec![0; usize::try_from(self.end).unwrap_or(ROOM_BYTES)];
        match file.write_all_at(&zeros, 0) {
            Ok(()) => self.end = 0,
            Err(error) => warn!(%error, "{} cannot be emptied", path.display()),
        }
    }
}

fn text_of(lines: &[String]) -> String {
    debug_assert!(!lines.iter().any(|line| line.contains(['\n', '\0'])), "lines");
    lines.iter().flat_map(|line| [line, "\n"]).collect()
}

fn open(path: &Path) -> io::Result<(JournalFile, Vec<String>)> {
    let mut file = match OpenOptions::new().read(true).write(true).open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok((make(path, "")?.0, Vec::new())),
        Err(error) => return Err(error),
    };
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    if bytes.len() < ROOM_BYTES {
        // Without the rest of its room it still has its lines.
        let room = file.write_all_at(&vec![0; ROOM_BYTES - bytes.len()], bytes.len() as u64);
        room.and_then(|()| file.sync_all()).unwrap_or_else(|error| warn!(%error, "{} lacks room", path.display()));
    }
    let written = bytes.split(|byte| *byte == 0).next().unwrap_or_default();
    // The last line, if the write of it was cut short, has no end.
    let whole = written.iter().rposition(|byte| *byte == b'\n').map_or(0, |last| last + 1);
    let text = String::from_utf8_lossy(written.get(..whole).unwrap_or_default()).into_owned();
    let lines = text.lines().map(str::to_owned).collect();
    let id = FileId::from(&file.metadata()?);
    Ok((JournalFile { file, path: path.to_owned(), id }, lines))
}

/// Makes the file, synced, in place of what is there. It has its name once it is whole. Returns where `text` ends.
fn make(path: &Path, text: &str) -> io::Result<(JournalFile, u64)> {
    let part = path.with_added_extension("part");
    let write = || {
        let mut options = OpenOptions::new();
        let file = options.read(true).write(true).create(true).truncate(true).mode(0o600).open(&part)?;
        file.write_all_at(text.as_bytes(), 0)?;
        file.write_all_at(&vec![0; ROOM_BYTES.saturating_sub(text.len())], text.len() as u64)?;
        file.sync_all()?;
        fs::rename(&part, path)?;
        File::open(path.parent().unwrap_or(Path::new("/")))?.sync_all()?;
        let id = FileId::from(&file.metadata()?);
        Ok((JournalFile { file, path: path.to_owned(), id }, text.len() as u64))
    };
    write().inspect_err(|_| drop(fs::remove_file(&part)))
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed unwrap fails the test")]
    use super::*;
    use crate::store::options::JOURNAL_NAME;

    #[test]
    fn lines_are_kept_until_they_are_cleared_and_a_torn_one_is_none() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join(JOURNAL_NAME);
        let (mut journal, lines) = RevocationJournal::open(&path);
        assert!(lines.is_empty());
        assert_eq!(fs::metadata(&path).unwrap().len(), ROOM_BYTES as u64);
        journal.add(&["sessions s1".to_owned(), "games seat 1 ann".to_owned()]).unwrap();
        let (mut again, lines) = RevocationJournal::open(&path);
        assert_eq!(lines, ["sessions s1", "games seat 1 ann"]);
        again.file.as_ref().unwrap().file.write_all_at(b"sessions torn", again.end).unwrap();
        assert_eq!(RevocationJournal::open(&path).1, lines);
        again.clear();
        again.add(&["sessions s2".to_owned()]).unwrap();
        assert_eq!(RevocationJournal::open(&path).1, ["sessions s2"]);
    }
}
