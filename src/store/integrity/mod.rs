//! Message authentication codes (MACs) of rows: they tell a row that this server wrote from one that somebody else has
//! written or changed, also one whose other checksums are right.
//!
//! A table says that its rows have one by its column `mac`: HMAC-SHA-256 over the name of the table and all its other
//! columns, by a key in a file beside the database. In `snapshots` the state is left out, which `checksum` covers. A
//! row that somebody edits with `sqlite3` has a wrong MAC from then on. This is no protection against somebody who
//! means to deceive and may read the key.
//!
//! In reading order: [`key`] (the key, and the SQL functions `row_mac` and `mac_matches` that every connection has),
//! [`key_file`], [`tables`] (which tables have MACs; the triggers of the writer's connection that write them),
//! [`changed_row`] (the refusal to use a row that does not match), [`rows`] (finding all of them), [`adopt`] (a
//! database and the key that it is used with).

pub(crate) mod adopt;
pub(crate) mod changed_row;
pub(crate) mod key;
pub(crate) mod key_file;
pub(crate) mod rows;
pub(crate) mod tables;

use std::path::Path;

use rusqlite::Connection;

/// Has what the connection writes to the database at `path` look as if its server had written it. For tests that put a
/// database into a state which takes long to come to.
pub fn write_as_server(conn: &Connection, path: &Path) -> rusqlite::Result<()> {
    adopt::use_existing(conn, &[path])?;
    tables::install_triggers(conn)
}
