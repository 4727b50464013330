//! Which games are over, and the record of those that were removed.

use crate::base::clock::Timestamp;
use crate::base::error::{Kind, Result};
use crate::base::ids::{DocumentName, Version};
use crate::base::limits::COMPACT_EVENT_BYTES_MAX;
use crate::store::{Connection, sql_error};

/// A game as it stands at the end of its log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct CleanupCandidate {
    pub name: DocumentName,
    pub version: Version,
    /// The hash of that.
    pub hash: String,
    /// When that was made.
    pub last_event: Timestamp,
    /// Whether it is the one that a dropped history is closed with, which nobody made.
    pub closing: bool,
    /// When it was completed, if it was.
    pub completed_at: Option<Timestamp>,
    /// Whether more is kept of it than its newest event, a small one, and what that is applied to.
    pub has_history: bool,
}

impl CleanupCandidate {
    /// Since when nothing has happened in a game that was completed at this time: it may still be written to, and what
    /// was written is kept as long as any game.
    pub(crate) fn over_since(&self, completed_at: Timestamp) -> Timestamp {
        if self.closing { completed_at } else { completed_at.max(self.last_event) }
    }
}

/// Key, id, version, hash, time, whether there is history, whether the newest event is a closing one.
type CandidateRow = (i64, String, i64, String, String, bool, bool);

/// At most `limit` games by id, those after `after`; deleted ones are left out, and those that went to another server.
pub(crate) fn candidates(conn: &Connection, after: &str, limit: u32) -> Result<Vec<CleanupCandidate>> {
    let small = i64::try_from(COMPACT_EVENT_BYTES_MAX).unwrap_or(i64::MAX);
    let read = || -> rusqlite::Result<Vec<CandidateRow>> {
        let sql = "SELECT d.key, d.id, e.version, e.hash, e.at, e.version > d.base_version + 1
                          OR octet_length(e.body) > ?3
                          OR EXISTS (SELECT 1 FROM snapshots WHERE document = d.key AND version = e.version),
                          CASE WHEN json_valid(e.body) THEN json_extract(e.body, '$.type') IS 'compact' ELSE 0 END
                   FROM documents d
                   JOIN events e ON e.document = d.key
                        AND e.version = (SELECT max(version) FROM events WHERE document = d.key)
                   WHERE d.collection = 'games' AND d.id > ?1 AND e.deletes = 0
                     AND NOT EXISTS (SELECT 1 FROM moves WHERE game = d.id) ORDER BY d.id LIMIT ?2";
        let mut statement = conn.prepare_cached(sql)?;
        let found = statement.query_map((after, limit, small), |row| {
            Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?, row.get(4)?, row.get(5)?, row.get(6)?))
        })?;
        found.collect()
    };
    let mut standings = Vec::new();
    for (key, id, version, hash, at, has_history, closing) in read().map_err(sql_error)? {
        let name = DocumentName::new("games", &id)?;
        let version = Version(u64::try_from(version).unwrap_or(0));
        // What cannot be told is as late as can be: nothing is removed for it.
        let late = Timestamp::from_millis(i64::MAX);
        let (completed_at, last_event) = match super::completed_at(conn, key) {
            Err(error) if error.kind() == Kind::Damaged => (None, late),
            known => (known?, Timestamp::parse(&at).unwrap_or(late)),
        };
        standings.push(CleanupCandidate { name, version, hash, last_event, closing, completed_at, has_history });
    }
    Ok(standings)
}

/// How many reconnect tokens expired before `before`.
pub(crate) fn count_expired_tokens(conn: &Connection, before: Timestamp) -> Result<usize> {
    let sql = "SELECT count(*) FROM reconnect_tokens WHERE expires_at < ?1";
    let count: i64 = conn.query_row(sql, [before.to_string()], |row| row.get(0)).map_err(sql_error)?;
    Ok(usize::try_from(count).unwrap_or(0))
}

/// Forgets at most `limit` reconnect tokens that expired before `before`; returns how many.
pub(crate) fn remove_expired_tokens(conn: &Connection, before: Timestamp, limit: u32) -> Result<usize> {
    let sql = "DELETE FROM reconnect_tokens WHERE rowid IN
                 (SELECT rowid FROM reconnect_tokens WHERE expires_at < ?1 ORDER BY expires_at LIMIT ?2)";
    conn.execute(sql, (before.to_string(), limit)).map_err(sql_error)
}

/// Notes that a game is removed.
pub(crate) fn note_removal(conn: &Connection, game: &CleanupCandidate, why: &str, now: Timestamp) -> Result<()> {
    let sql = "INSERT OR REPLACE INTO game_removals (document, version, hash, why, at) VALUES (?1, ?2, ?3, ?4, ?5)";
    let version = i64::try_from(game.version.0).unwrap_or(i64::MAX);
    let row = (game.name.to_string(), version, &game.hash, why, now.to_string());
    conn.execute(sql, row).map(drop).map_err(sql_error)
}

/// Takes such a note back.
pub(crate) fn take_back_removal(conn: &Connection, name: &DocumentName, version: Version) -> Result<()> {
    let version = i64::try_from(version.0).unwrap_or(i64::MAX);
    let sql = "DELETE FROM game_removals WHERE document = ?1 AND version = ?2";
    conn.execute(sql, (name.to_string(), version)).map(drop).map_err(sql_error)
}

/// Forgets the notes from before `before`.
pub(crate) fn trim_removals(conn: &Connection, before: Timestamp) -> Result<usize> {
    conn.execute("DELETE FROM game_removals WHERE at < ?1", [before.to_string()]).map_err(sql_error)
}
