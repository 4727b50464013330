//! What a server's data is called, which is part of the name of its cookie: a copy of a data directory, on the same
//! host as the original, must not be called the same.

use rusqlite::{Connection, OptionalExtension};

use crate::store::open_files::OpenFiles;

/// Path of the directory, device and inode of the file.
type Place = (String, String, String);

/// Gives the data another name if its file is a copy of the one that was opened last: neither its directory nor the
/// file itself is the same. A file that was put back from a backup is in the same directory, one that was moved within
/// a file system is the same file. Notes where it is.
pub(crate) fn settle(conn: &Connection, files: &OpenFiles) -> rusqlite::Result<()> {
    let here = place(files);
    let before = "SELECT path, device, inode FROM server_place WHERE only_row = 1";
    let before: Option<Place> =
        conn.query_row(before, [], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?))).optional()?;
    if before.as_ref() == Some(&here) {
        return Ok(());
    }
    let transaction = conn.unchecked_transaction()?;
    let copied = |before: &Place| before.0 != here.0 && (&before.1, &before.2) != (&here.1, &here.2);
    if let Some((from, ..)) = before.filter(copied) {
        conn.execute("UPDATE server SET id = lower(hex(randomblob(6)))", [])?;
        let to = &here.0;
        tracing::info!("{to} is a copy of the data in {from}: the cookie of its sessions is called otherwise now");
    }
    note(conn, files)?;
    transaction.commit()
}

/// Notes where the file is: of one that goes on somewhere else.
pub(crate) fn note(conn: &Connection, files: &OpenFiles) -> rusqlite::Result<()> {
    let sql = "INSERT INTO server_place (only_row, path, device, inode) VALUES (1, ?1, ?2, ?3)
               ON CONFLICT (only_row) DO UPDATE SET path = ?1, device = ?2, inode = ?3";
    conn.execute(sql, place(files)).map(drop)
}

fn place(files: &OpenFiles) -> Place {
    let directory = files.paths().directory();
    let path = directory.canonicalize().unwrap_or_else(|_| directory.to_owned());
    let (device, inode) = files.database_number();
    (path.to_string_lossy().into_owned(), device.to_string(), inode.to_string())
}
