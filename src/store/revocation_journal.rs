//! A file beside the database for revocations that the database does not take: a start after a stop, or a kill, on a
//! full disk must not give back what was taken from somebody. It is made with its room when the database is opened,
//! since it is written when the disk is full.

use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;

use tracing::warn;

/// The name of the file within the data directory.
const FILE_NAME: &str = "rejoin.revocations";
/// Bytes that the file has from its beginning: of nearly a thousand ended sessions. More fit when there is room.
const ROOM_BYTES: usize = 64 << 10;

/// See the module. Lines of text, and zeros behind them. A file that cannot be made or read is told in the log, and
/// the journal is empty then and keeps nothing.
#[derive(Debug)]
pub(crate) struct RevocationJournal {
    file: Option<File>,
    /// Where the next line goes.
    end: u64,
}

impl RevocationJournal {
    /// Opens the journal beside a database, and reads its lines.
    pub(crate) fn beside(database: &Path) -> (Self, Vec<String>) {
        let path = database.with_file_name(FILE_NAME);
        match open(&path) {
            Ok((file, lines)) => {
                let end = lines.iter().map(|line| line.len() as u64 + 1).sum();
                (Self { file: Some(file), end }, lines)
            }
            Err(error) => {
                warn!(%error, "{} cannot be used", path.display());
                (Self { file: None, end: 0 }, Vec::new())
            }
        }
    }

    /// Adds lines, synced. They have no line feed and no NUL.
    pub(crate) fn add(&mut self, lines: &[String]) -> io::Result<()> {
        debug_assert!(!lines.iter().any(|line| line.contains(['\n', '\0'])), "lines");
        let file = self.file.as_ref().ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))?;
        let text: String = lines.iter().flat_map(|line| [line, "\n"]).collect();
        file.write_all_at(text.as_bytes(), self.end)?;
        file.sync_data()?;
        self.end += text.len() as u64;
        Ok(())
    }

    /// Everything in it is in the database. A line that comes back after a power loss revokes the same once more.
    pub(crate) fn clear(&mut self) {
        let Some(file) = self.file.as_ref().filter(|_| self.end > 0) else { return };
        let zeros = vec![0; usize::try_from(self.end).unwrap_or(ROOM_BYTES)];
        match file.write_all_at(&zeros, 0) {
            Ok(()) => self.end = 0,
            Err(error) => warn!(%error, "{FILE_NAME} cannot be emptied"),
        }
    }
}

fn open(path: &Path) -> io::Result<(File, Vec<String>)> {
    let mut options = OpenOptions::new();
    let mut file = options.read(true).write(true).create(true).truncate(false).mode(0o600).open(path)?;
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    if bytes.len() < ROOM_BYTES {
        file.write_all_at(&vec![0; ROOM_BYTES - bytes.len()], bytes.len() as u64)?;
        file.sync_all()?;
    }
    let written = bytes.split(|byte| *byte == 0).next().unwrap_or_default();
    // The last line, if the write of it was cut short, has no end.
    let whole = written.iter().rposition(|byte| *byte == b'\n').map_or(0, |last| last + 1);
    let text = String::from_utf8_lossy(written.get(..whole).unwrap_or_default()).into_owned();
    Ok((file, text.lines().map(str::to_owned).collect()))
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed unwrap fails the test")]
    use super::*;

    #[test]
    fn lines_are_kept_until_they_are_cleared_and_a_torn_one_is_none() {
        let directory = tempfile::tempdir().unwrap();
        let database = directory.path().join("rejoin.db");
        let (mut journal, lines) = RevocationJournal::beside(&database);
        assert!(lines.is_empty());
        assert_eq!(std::fs::metadata(directory.path().join(FILE_NAME)).unwrap().len(), ROOM_BYTES as u64);
        journal.add(&["sessions s1".to_owned(), "games seat 1 ann".to_owned()]).unwrap();
        let (mut again, lines) = RevocationJournal::beside(&database);
        assert_eq!(lines, ["sessions s1", "games seat 1 ann"]);
        again.file.as_ref().unwrap().write_all_at(b"sessions torn", again.end).unwrap();
        assert_eq!(RevocationJournal::beside(&database).1, lines);
        again.clear();
        again.add(&["sessions s2".to_owned()]).unwrap();
        assert_eq!(RevocationJournal::beside(&database).1, ["sessions s2"]);
    }
}
