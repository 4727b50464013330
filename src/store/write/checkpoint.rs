//! One checkpoint: moving the WAL into the database, or asking how far that is.

use rusqlite::Connection;

/// A way of moving the WAL into the database.
#[derive(Clone, Copy)]
pub(crate) enum Checkpoint {
    /// Moves nothing; only tells.
    Ask,
    /// What can be moved without waiting for anybody.
    Passive,
    /// Moves everything and waits until no reader uses the WAL, so that it starts over.
    Restart,
    /// The same, and empties the file.
    Truncate,
}

impl Checkpoint {
    /// Whether it may write to the database.
    pub(crate) fn moves(self) -> bool {
        !matches!(self, Self::Ask)
    }
}

/// How far a checkpoint got.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Progress {
    pub busy: bool,
    /// Frames in the WAL.
    pub frames: u64,
    /// Of those, already in the database.
    pub moved: u64,
}

impl Progress {
    /// Whether everything is in the database.
    pub(crate) fn complete(&self) -> bool {
        !self.busy && self.frames == self.moved
    }
}

pub(crate) fn checkpoint(conn: &Connection, how: Checkpoint) -> rusqlite::Result<Progress> {
    let sql = match how {
        Checkpoint::Ask => "PRAGMA wal_checkpoint(NOOP)",
        Checkpoint::Passive => "PRAGMA wal_checkpoint(PASSIVE)",
        Checkpoint::Restart => "PRAGMA wal_checkpoint(RESTART)",
        Checkpoint::Truncate => "PRAGMA wal_checkpoint(TRUNCATE)",
    };
    // SQLite says -1 where it does not know.
    let known = |number: i64| u64::try_from(number).unwrap_or(0);
    conn.prepare_cached(sql)?
        .query_row([], |row| Ok(Progress { busy: row.get(0)?, frames: known(row.get(1)?), moved: known(row.get(2)?) }))
}
