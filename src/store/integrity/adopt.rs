//! A database and the key that it is used with: the file has the id of the key that its MACs are made by.

use std::io;
use std::path::{Path, PathBuf};

use rusqlite::{Connection, OptionalExtension, Transaction, TransactionBehavior};

use super::key::{IntegrityKey, add_functions};
use super::key_file::{self, Origin};
use super::tables;
use crate::store::options::INTEGRITY_KEY_NAME;

/// A key that there is beside a database.
pub(crate) struct ObtainedKey {
    pub key: IntegrityKey,
    origin: Origin,
}

/// The key beside the database at this path; one is made where there is none.
pub(crate) fn obtain(database: &Path) -> io::Result<ObtainedKey> {
    let (key, origin) = key_file::obtain(&key_file::path_beside(database))?;
    Ok(ObtainedKey { key, origin })
}

/// Runs `sql`, which makes the tables or brings them to this format, and writes the MACs of all rows, in one
/// transaction.
pub(crate) fn write_schema(conn: &Connection, sql: &str, key: &IntegrityKey) -> rusqlite::Result<()> {
    add_functions(conn, Some(key))?;
    let transaction = Transaction::new_unchecked(conn, TransactionBehavior::Immediate)?;
    transaction.execute_batch(sql)?;
    write_macs(&transaction, key)?;
    transaction.commit()
}

/// Has the connection use the key. Where the MACs in the database are made by another, nobody can say which rows match:
/// they are taken as they are, and get new ones. Returns what is to be told of that.
pub(crate) fn adopt(conn: &Connection, obtained: &ObtainedKey) -> rusqlite::Result<Option<String>> {
    let ObtainedKey { key, origin } = obtained;
    add_functions(conn, Some(key))?;
    let known = key_id(conn)?;
    if known.as_deref() == Some(&key.id()) {
        return Ok(None);
    }
    let transaction = Transaction::new_unchecked(conn, TransactionBehavior::Immediate)?;
    write_macs(&transaction, key)?;
    transaction.commit()?;
    let why = match (known, origin) {
        (None, _) => "the database was last written without its integrity key".to_owned(),
        (Some(_), Origin::Made) => format!("the integrity key of the database, {INTEGRITY_KEY_NAME}, was not there"),
        (Some(_), Origin::Read) => {
            format!("the integrity key in {INTEGRITY_KEY_NAME} is not the one that the database was written with")
        }
    };
    Ok(Some(format!("{why}: rows that somebody else changed before this start are not told from others")))
}

fn write_macs(conn: &Connection, key: &IntegrityKey) -> rusqlite::Result<()> {
    tables::write_all(conn)?;
    conn.execute("UPDATE server SET integrity_key = ?1", [key.id()]).map(drop)
}

/// The id of the key that the MACs in the database are made by. `None`: none says so, or it is of an earlier format.
fn key_id(conn: &Connection) -> rusqlite::Result<Option<String>> {
    let sql = "SELECT EXISTS (SELECT 1 FROM pragma_table_info('server') WHERE name = 'integrity_key')";
    match conn.query_row(sql, [], |row| row.get(0))? {
        true => Ok(conn.query_row("SELECT integrity_key FROM server", [], |row| row.get(0)).optional()?.flatten()),
        false => Ok(None),
    }
}

/// Has the connection use the key that the MACs in the database are made by, if one of the databases `beside` which it
/// may be has it. Nothing is written. `None`: it is not there, and no MAC is compared.
pub(crate) fn use_existing(conn: &Connection, beside: &[&Path]) -> rusqlite::Result<Option<IntegrityKey>> {
    let id = key_id(conn)?;
    let places = beside.iter().flat_map(|database| places(database));
    let fits = |key: &IntegrityKey| id.as_deref() == Some(&key.id());
    let key = places.filter_map(|path| key_file::read(&path).ok().flatten()).find(fits);
    add_functions(conn, key.as_ref())?;
    Ok(key)
}

/// Where the key of a database, or of a copy of it, may be: beside it, or in the data directory that the folder of
/// backups is in.
fn places(database: &Path) -> impl Iterator<Item = PathBuf> {
    let folder = database.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    [key_file::path_beside(database), folder.join(INTEGRITY_KEY_NAME), folder.join("..").join(INTEGRITY_KEY_NAME)]
        .into_iter()
}

/// Notes that the database is written without its key.
pub(crate) fn forget_key(conn: &Connection) -> rusqlite::Result<()> {
    conn.execute("UPDATE server SET integrity_key = NULL", []).map(drop)
}
