//! Reading tables that have MACs, for rows that do not match theirs, and having one taken as it is.

use rusqlite::types::{Value, ValueRef};
use rusqlite::{Connection, ErrorCode, OptionalExtension, Row, params_from_iter};

use super::changed_row::{RowName, row_in_use};
use super::tables::{self, MacTable};
use crate::base::error::Result;
use crate::store::error::{StoreError, sql_error};

const DOCUMENTS: &str = "documents";

/// A row of a table that has MACs.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct RowId {
    pub name: RowName,
    table: String,
    key: Vec<Value>,
}

/// Where a look at a table goes on.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct RowKey(Vec<Value>);

/// Some rows of a table, in the order of its key.
#[derive(Debug, Default)]
pub(crate) struct RowsPage {
    /// The key of each, its parts with `/` between.
    pub keys: Vec<String>,
    /// The MAC of each, if it has one.
    pub macs: Vec<String>,
    /// Those whose MAC does not match, with their key.
    pub changed: Vec<(String, RowId)>,
    /// The key of the last; `None`: there are no more.
    pub last: Option<RowKey>,
}

/// At most `limit` rows of a table, those after the row with the key `after`.
pub(crate) fn page(
    conn: &Connection,
    table: &MacTable,
    after: Option<&RowKey>,
    limit: usize,
) -> rusqlite::Result<RowsPage> {
    let order = table.key_columns().join(", ");
    let matches = table.matches("r");
    let from = match after {
        Some(RowKey(key)) => format!("WHERE ({order}) > ({})", vec!["?"; key.len()].join(", ")),
        None => String::new(),
    };
    let name = table.quoted_name();
    let sql = format!("SELECT mac, {matches}, {order} FROM main.{name} AS r {from} ORDER BY {order} LIMIT {limit}");
    let mut statement = conn.prepare_cached(&sql)?;
    let mut found = statement.query(params_from_iter(after.map(|key| &key.0[..]).unwrap_or_default()))?;
    let mut page = RowsPage::default();
    while let Some(row) = found.next()? {
        let key = (0..table.key.len()).map(|part| row.get(part + 2)).collect::<rusqlite::Result<Vec<Value>>>()?;
        let joined = key.iter().map(text).collect::<Vec<_>>().join("/");
        page.macs.push(text(&row.get(0)?));
        if !row.get(1)? {
            let name = name_of(conn, table, &key);
            page.changed.push((joined.clone(), RowId { name, table: table.name.clone(), key: key.clone() }));
        }
        page.keys.push(joined);
        page.last = Some(RowKey(key));
    }
    page.last = page.last.filter(|_| page.keys.len() >= limit);
    Ok(page)
}

/// The row of a table with this key, of one part; `None`: it is not there.
pub(crate) fn find(conn: &Connection, table: &str, key: &str) -> rusqlite::Result<Option<RowId>> {
    let Some(table) = tables::all(conn)?.into_iter().find(|known| known.name == table) else { return Ok(None) };
    let columns = table.key_columns();
    let [column] = columns.as_slice() else { return Ok(None) };
    let sql = format!("SELECT {column} FROM main.{} WHERE {column} = ?1", table.quoted_name());
    let read = |row: &Row<'_>| row.get(0);
    let found: Option<Value> = conn.prepare_cached(&sql)?.query_row([key], read).optional()?;
    let row = |value| {
        let key = vec![value];
        RowId { name: name_of(conn, &table, &key), table: table.name.clone(), key }
    };
    Ok(found.map(row))
}

fn name_of(conn: &Connection, table: &MacTable, key: &[Value]) -> RowName {
    let document = match (table.key.first().map(String::as_str), key.first()) {
        (Some("document"), Some(Value::Integer(document))) => Some(*document),
        _ => None,
    };
    let rest: Vec<String> = key.iter().skip(usize::from(document.is_some())).map(text).collect();
    let rest: Vec<&str> = rest.iter().map(String::as_str).collect();
    RowName::new(conn, &table.name, document, &rest)
}

fn text(value: &Value) -> String {
    match ValueRef::from(value) {
        ValueRef::Null => String::new(),
        ValueRef::Integer(number) => number.to_string(),
        ValueRef::Real(number) => number.to_string(),
        ValueRef::Text(bytes) | ValueRef::Blob(bytes) => String::from_utf8_lossy(bytes).into_owned(),
    }
}

/// Has a row be taken as it is, in the transaction that `conn` is in. Whether it is there.
pub(crate) fn accept_row(conn: &Connection, row: &RowId) -> Result<bool> {
    change_row(conn, row, MacTable::write_one)
}

/// Removes a row, in the transaction that `conn` is in. Whether it was there. Error: `row-in-use` when rows of other
/// tables refer to it.
pub(crate) fn remove_row(conn: &Connection, row: &RowId) -> Result<bool> {
    change_row(conn, row, MacTable::delete_one)
}

fn change_row(conn: &Connection, row: &RowId, sql: fn(&MacTable) -> String) -> Result<bool> {
    let change = || -> rusqlite::Result<bool> {
        let Some(table) = tables::all(conn)?.into_iter().find(|table| table.name == row.table) else {
            return Ok(false);
        };
        Ok(conn.execute(&sql(&table), params_from_iter(&row.key))? > 0)
    };
    change().map_err(|error| match error.sqlite_error_code() {
        Some(ErrorCode::ConstraintViolation) => row_in_use(&row.name),
        _ => sql_error(error),
    })
}

/// Whether the MAC of a document's own row matches; also true when there is no such row.
pub(crate) fn document_matches(conn: &Connection, key: i64) -> std::result::Result<bool, StoreError> {
    // By the columns as they stand in this file: one of an earlier format has them in another order.
    let table = tables::table(conn, DOCUMENTS.to_owned())?;
    let sql = format!("SELECT {} FROM main.{DOCUMENTS} AS r WHERE key = ?1", table.matches("r"));
    let found: Option<bool> = conn.prepare_cached(&sql)?.query_row([key], |row| row.get(0)).optional()?;
    Ok(found.unwrap_or(true))
}

/// Writes the MAC of a document's row, which is as it should be.
pub(crate) fn write_document_mac(conn: &Connection, key: i64) -> rusqlite::Result<()> {
    let sql = tables::table(conn, DOCUMENTS.to_owned())?.write_one();
    conn.prepare_cached(&sql)?.execute([key]).map(drop)
}

/// The tables whose rows are compared by their MAC alone: of a document and its snapshots that is part of reading it.
pub(crate) fn compared_tables(conn: &Connection) -> rusqlite::Result<Vec<MacTable>> {
    let of_documents = |table: &MacTable| [DOCUMENTS, tables::SNAPSHOTS].contains(&table.name.as_str());
    Ok(tables::all(conn)?.into_iter().filter(|table| !of_documents(table)).collect())
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a failed unwrap or index fails the test")]
    use super::*;
    use crate::store::integrity::key::{IntegrityKey, add_functions};

    fn database() -> Connection {
        let conn = Connection::open_in_memory().unwrap();
        add_functions(&conn, Some(&IntegrityKey::random())).unwrap();
        conn.execute_batch(
            "CREATE TABLE documents (key INTEGER PRIMARY KEY, collection TEXT, id TEXT) STRICT;
             INSERT INTO documents VALUES (3, 'games', 'g1');
             CREATE TABLE places (document INTEGER, name TEXT, what TEXT, mac TEXT, PRIMARY KEY (document, name))
             STRICT, WITHOUT ROWID;
             CREATE TABLE plain (a TEXT, mac TEXT) STRICT;",
        )
        .unwrap();
        tables::install_triggers(&conn).unwrap();
        conn
    }

    #[test]
    fn pages_have_each_row_once_and_name_those_that_do_not_match() {
        let conn = database();
        conn.execute_batch(
            "INSERT INTO places (document, name, what)
             VALUES (3, 'a', '1'), (3, 'b', '2'), (4, 'a', '3'), (4, 'c', '4');
             INSERT INTO plain (a) VALUES ('x');
             UPDATE places SET mac = 'none' WHERE name = 'b' OR document = 4 AND name = 'c'",
        )
        .unwrap();
        let all = compared_tables(&conn).unwrap();
        assert_eq!(all.iter().map(|table| table.name.as_str()).collect::<Vec<_>>(), ["places", "plain"]);
        for limit in 1..6 {
            let (mut after, mut keys, mut changed) = (None, Vec::new(), Vec::new());
            loop {
                let page = page(&conn, &all[0], after.as_ref(), limit).unwrap();
                keys.extend(page.keys);
                changed.extend(page.changed);
                after = page.last;
                if after.is_none() {
                    break;
                }
            }
            assert_eq!(keys, ["3/a", "3/b", "4/a", "4/c"], "{limit}");
            let names: Vec<String> = changed.iter().map(|(_, row)| row.name.to_string()).collect();
            assert_eq!(names, ["places/games/g1/b", "places/4/c"], "{limit}");
            for (_, row) in &changed {
                let transaction = conn.unchecked_transaction().unwrap();
                assert!(accept_row(&transaction, row).unwrap());
                assert_eq!(page(&transaction, &all[0], None, 9).unwrap().changed.len(), 1);
            }
        }
        let plain = page(&conn, &all[1], None, 9).unwrap();
        assert_eq!((plain.keys, plain.changed.len()), (vec!["1".to_owned()], 0));
    }
}
