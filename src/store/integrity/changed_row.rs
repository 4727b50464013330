//! Rows that are not as this server wrote them: what they are called, and the refusal to use one.

use std::fmt;

use rusqlite::{Connection, OptionalExtension};

use crate::base::error::{Error, Kind, ProblemType};

static CHANGED_ROW: ProblemType = ProblemType {
    slug: "changed-row",
    kind: Kind::Damaged,
    title: "Somebody else changed what is stored of this",
    meaning: "A row of the database, which row names, was written or changed by somebody else than the server. What it \
              says is not believed, so what depends on it is refused.",
    remedy: "Tell whoever runs the server: its log names the row, and an administrator decides what becomes of it. \
             What was sent with an Idempotency-Key may have been done: look before you send it with another key.",
};

pub(crate) static ROW_IN_USE: ProblemType = ProblemType {
    slug: "row-in-use",
    kind: Kind::AlreadyExists,
    title: "Other rows refer to this row",
    meaning: "The row cannot be removed, since rows of other tables refer to it.",
    remedy: "Remove those first, or have the row taken as it is.",
};

/// The problem types that storage raises.
pub(crate) static PROBLEMS: &[&ProblemType] = &[&CHANGED_ROW, &ROW_IN_USE];

/// What a row is called: its table and its key, with `/` between; a document by its name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct RowName(String);

impl RowName {
    /// Of the row of `table` with this key. `document`: the first part of the key, where that is a document's.
    pub(crate) fn new(conn: &Connection, table: &str, document: Option<i64>, key: &[&str]) -> Self {
        let mut name = table.to_owned();
        if let Some(document) = document {
            name.push('/');
            name.push_str(&document_name(conn, document).unwrap_or_else(|| document.to_string()));
        }
        key.iter().for_each(|part| name.extend(["/", part]));
        Self(name)
    }
}

impl fmt::Display for RowName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

fn document_name(conn: &Connection, key: i64) -> Option<String> {
    let sql = "SELECT collection || '/' || id FROM documents WHERE key = ?1";
    conn.query_row(sql, [key], |row| row.get(0)).optional().ok().flatten()
}

/// The refusal to remove a row that others refer to.
pub(super) fn row_in_use(row: &RowName) -> Error {
    ROW_IN_USE.error(format!("rows of other tables refer to {row}: remove those first"))
}

/// The refusal to use a row whose MAC does not match.
pub(crate) fn changed_row(row: &RowName) -> Error {
    let message = format!("the row {row} in the database was changed by somebody else than the server and is not used");
    CHANGED_ROW.error(message).with("row", row.to_string())
}
