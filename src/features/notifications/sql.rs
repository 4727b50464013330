//! The tables `notifications`, `notification_preferences` and `notification_replays`.

use std::ops::RangeInclusive;

use rusqlite::{CachedStatement, OptionalExtension, Row};

use super::limits::{DEVICES_MAX, PER_USER_MAX, REPLAYS_MAX, ROWS_MAX};
use super::rules::{Notification, Preferences};
use crate::base::clock::Timestamp;
use crate::base::error::{Error, Kind, Result};
use crate::base::ids::{DocumentName, Seq};
use crate::document::chain::Position;
use crate::document::notices::NoticeKind;
use crate::store::rows::{self, int};
use crate::store::{Connection, sql_error};

/// A notification with what only the server needs.
#[derive(Clone, Debug)]
pub(crate) struct Stored {
    /// Rises with time.
    pub number: i64,
    pub notification: Notification,
    /// Of the change.
    pub seq: Seq,
    /// The position of the change, while its event is kept.
    pub position: Option<Position>,
}

const COLUMNS: &str = "n.number, n.id, n.kind, n.title, n.body, d.collection, d.id, n.version, n.at, n.read_at IS NOT \
                       NULL, n.seq, e.hash";
const TABLES: &str = "notifications n JOIN documents d ON d.key = n.document LEFT JOIN events e ON e.seq = n.seq";

/// Adds a notification of `recipient` about a change of the document `key`, and drops what they have too many.
pub(crate) fn insert(
    conn: &Connection,
    (recipient, key, seq): (&str, i64, Seq),
    notification: &Notification,
) -> Result<()> {
    let Notification { id, kind, title, body, version, at, .. } = notification;
    let sql = "INSERT INTO notifications (id, recipient, kind, title, body, document, version, seq, at)
               VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)";
    let row = (id, recipient, kind.as_str(), title, body, key, int(version.0), int(seq.0), at.to_string());
    cached(conn, sql)?.execute(row).map_err(sql_error)?;
    let surplus = "DELETE FROM notifications WHERE number IN (SELECT number FROM notifications WHERE recipient = ?1
                     ORDER BY read_at IS NULL DESC, number DESC LIMIT -1 OFFSET ?2)";
    cached(conn, surplus)?.execute((recipient, PER_USER_MAX)).map(drop).map_err(sql_error)
}

/// Drops what is too much in all.
pub(crate) fn trim(conn: &Connection) -> Result<()> {
    let sql = "DELETE FROM notifications WHERE number <= (SELECT max(number) FROM notifications) - ?1";
    cached(conn, sql)?.execute([ROWS_MAX]).map(drop).map_err(sql_error)
}

/// Those about the document `key` go.
pub(crate) fn remove(conn: &Connection, key: i64) -> Result<()> {
    conn.execute("DELETE FROM notifications WHERE document = ?1", [key]).map(drop).map_err(sql_error)
}

/// All of `recipient`, unread ones first, then the newest.
pub(crate) fn list(conn: &Connection, recipient: &str) -> Result<Vec<Stored>> {
    let sql =
        format!("SELECT {COLUMNS} FROM {TABLES} WHERE n.recipient = ?1 ORDER BY n.read_at IS NULL DESC, n.number DESC");
    let mut statement = cached(conn, &sql)?;
    let found = statement.query_map([recipient], read).map_err(sql_error)?;
    found.collect::<rusqlite::Result<_>>().map_err(sql_error)
}

/// The unread ones of `recipient` about the changes of these seqs, oldest first.
pub(crate) fn unread(conn: &Connection, recipient: &str, seqs: &RangeInclusive<Seq>) -> Result<Vec<Stored>> {
    let sql = format!(
        "SELECT {COLUMNS} FROM {TABLES} WHERE n.recipient = ?1 AND n.read_at IS NULL AND n.seq BETWEEN ?2 AND ?3
         ORDER BY n.seq, n.number"
    );
    let mut statement = cached(conn, &sql)?;
    let (first, last) = (int(seqs.start().0), int(seqs.end().0));
    let found = statement.query_map((recipient, first, last), read).map_err(sql_error)?;
    found.collect::<rusqlite::Result<_>>().map_err(sql_error)
}

/// One of `recipient`.
pub(crate) fn find(conn: &Connection, recipient: &str, id: &str) -> Result<Option<Stored>> {
    let sql = format!("SELECT {COLUMNS} FROM {TABLES} WHERE n.recipient = ?1 AND n.id = ?2");
    cached(conn, &sql)?.query_row((recipient, id), read).optional().map_err(sql_error)
}

/// Notes that one of `recipient` is read. How many were not: one or none.
pub(crate) fn mark_read(conn: &Connection, recipient: &str, id: &str, now: Timestamp) -> Result<usize> {
    let sql = "UPDATE notifications SET read_at = ?3 WHERE recipient = ?1 AND id = ?2 AND read_at IS NULL";
    cached(conn, sql)?.execute((recipient, id, now.to_string())).map_err(sql_error)
}

/// What `recipient` wants; `None`: they never said. Error: `Damaged`.
pub(crate) fn preferences(conn: &Connection, recipient: &str) -> Result<Option<Preferences>> {
    let sql = "SELECT preferences FROM notification_preferences WHERE recipient = ?1";
    let found: Option<String> =
        cached(conn, sql)?.query_row([recipient], |row| row.get(0)).optional().map_err(sql_error)?;
    let damaged = |error| {
        Error::new(Kind::Damaged, format!("the stored preferences of {recipient} are not readable")).caused_by(error)
    };
    found.map(|text| serde_json::from_str(&text).map_err(damaged)).transpose()
}

/// Keeps what `recipient` wants.
pub(crate) fn put_preferences(conn: &Connection, recipient: &str, preferences: &Preferences) -> Result<()> {
    let sql = "INSERT INTO notification_preferences (recipient, preferences) VALUES (?1, ?2)
               ON CONFLICT (recipient) DO UPDATE SET preferences = excluded.preferences";
    let text = serde_json::to_string(preferences).map_err(Error::internal)?;
    cached(conn, sql)?.execute((recipient, text)).map(drop).map_err(sql_error)
}

/// A replay to a device that may have been broken off: whoever comes back from within it was not told what was missed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct StoredReplay {
    /// Where what is to be told begins.
    pub from: Seq,
    /// Whoever comes back from there, or from later, was told.
    pub to: Seq,
}

pub(crate) fn replay(conn: &Connection, recipient: &str, device: &str) -> Result<Option<StoredReplay>> {
    let sql = "SELECT from_seq, to_seq FROM notification_replays WHERE recipient = ?1 AND device = ?2";
    let read = |row: &Row<'_>| Ok(StoredReplay { from: rows::seq(row, 0)?, to: rows::seq(row, 1)? });
    cached(conn, sql)?.query_row((recipient, device), read).optional().map_err(sql_error)
}

/// Remembers the replay to a device.
pub(crate) fn put_replay(conn: &Connection, recipient: &str, device: &str, replay: StoredReplay) -> Result<()> {
    let StoredReplay { from, to } = replay;
    let sql = "INSERT OR REPLACE INTO notification_replays (recipient, device, from_seq, to_seq)
               VALUES (?1, ?2, ?3, ?4)";
    cached(conn, sql)?.execute((recipient, device, int(from.0), int(to.0))).map_err(sql_error)?;
    let surplus = "DELETE FROM notification_replays WHERE number IN (
                     SELECT number FROM notification_replays WHERE recipient = ?1
                     ORDER BY number DESC LIMIT -1 OFFSET ?2)";
    cached(conn, surplus)?.execute((recipient, DEVICES_MAX)).map_err(sql_error)?;
    let oldest = "DELETE FROM notification_replays
                  WHERE number <= (SELECT max(number) FROM notification_replays) - ?1";
    cached(conn, oldest)?.execute([REPLAYS_MAX]).map(drop).map_err(sql_error)
}

fn cached<'a>(conn: &'a Connection, sql: &str) -> Result<CachedStatement<'a>> {
    conn.prepare_cached(sql).map_err(sql_error)
}

/// A row of [`COLUMNS`].
fn read(row: &Row<'_>) -> rusqlite::Result<Stored> {
    let document = DocumentName::new(&row.get::<_, String>(5)?, &row.get::<_, String>(6)?);
    let seq = rows::seq(row, 10)?;
    Ok(Stored {
        number: row.get(0)?,
        notification: Notification {
            id: row.get(1)?,
            kind: rows::parsed(row, 2, |text| NoticeKind::ALL.into_iter().find(|kind| kind.as_str() == text))?,
            title: row.get(3)?,
            body: row.get(4)?,
            document: document.map_err(|error| rows::invalid_column(5, error))?,
            version: rows::version(row, 7)?,
            at: rows::time(row, 8)?,
            read: row.get(9)?,
        },
        seq,
        position: rows::optional(row, 11, rows::hash)?.map(|hash| Position::after(seq, hash)),
    })
}
