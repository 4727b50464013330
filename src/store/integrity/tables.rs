//! Which tables have MACs, what writes them, and which rows do not match theirs.

use rusqlite::Connection;

use crate::store::rows;

/// The column that a table has MACs by.
const MAC: &str = "mac";
/// The table whose `checksum` covers a column, which its MAC leaves out: it may be large.
pub(super) const SNAPSHOTS: &str = "snapshots";
const SNAPSHOT_STATE: &str = "state";
/// How the names of the triggers begin.
const TRIGGER: &str = "write_mac_";

/// A table whose rows have MACs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct MacTable {
    pub name: String,
    /// The columns of its primary key.
    pub key: Vec<String>,
    /// The columns that its MAC is over, in order.
    columns: Vec<String>,
}

/// The tables that have a column `mac`, by name.
pub(crate) fn all(conn: &Connection) -> rusqlite::Result<Vec<MacTable>> {
    let sql = "SELECT name FROM main.sqlite_schema AS t WHERE type = 'table'
               AND EXISTS (SELECT 1 FROM pragma_table_info(t.name, 'main') WHERE name = ?1) ORDER BY name";
    let names: Vec<String> = conn.prepare(sql)?.query_map([MAC], |row| row.get(0))?.collect::<rusqlite::Result<_>>()?;
    names.into_iter().map(|name| table(conn, name)).collect()
}

/// The table of this name, which has a column `mac`.
pub(super) fn table(conn: &Connection, name: String) -> rusqlite::Result<MacTable> {
    let sql = "SELECT name, pk FROM pragma_table_info(?1, 'main') ORDER BY cid";
    let column = |row: &rusqlite::Row<'_>| Ok((row.get::<_, String>(0)?, rows::number(row, 1)?));
    let found: Vec<(String, u64)> =
        conn.prepare_cached(sql)?.query_map([&name], column)?.collect::<rusqlite::Result<_>>()?;
    let mut key: Vec<(u64, String)> =
        found.iter().filter(|(_, place)| *place > 0).map(|(column, place)| (*place, column.clone())).collect();
    key.sort();
    let mut key: Vec<String> = key.into_iter().map(|(_, column)| column).collect();
    if key.is_empty() {
        key.push("rowid".to_owned());
    }
    let covered = |column: &String| column != MAC && !(name == SNAPSHOTS && column == SNAPSHOT_STATE);
    let columns = found.into_iter().map(|(column, _)| column).filter(covered).collect();
    Ok(MacTable { name, key, columns })
}

impl MacTable {
    /// The columns of its primary key, as they are written in SQL.
    pub(super) fn key_columns(&self) -> Vec<String> {
        self.key.iter().map(|column| quoted(column)).collect()
    }

    pub(super) fn quoted_name(&self) -> String {
        quoted(&self.name)
    }

    /// Whether the MAC of the row that is called `row` matches.
    pub(super) fn matches(&self, row: &str) -> String {
        format!("mac_matches({row}.{MAC}, {})", self.arguments(row))
    }

    /// Writes the MAC of the row whose key the parameters are.
    pub(super) fn write_one(&self) -> String {
        format!("{} WHERE {}", self.write_all(), self.key_condition())
    }

    /// Deletes the row whose key the parameters are.
    pub(super) fn delete_one(&self) -> String {
        format!("DELETE FROM main.{} WHERE {}", self.quoted_name(), self.key_condition())
    }

    fn key_condition(&self) -> String {
        let key: Vec<String> = self.key_columns().iter().map(|column| format!("{column} = ?")).collect();
        key.join(" AND ")
    }

    /// The arguments of `row_mac`: the table, and its columns in the row that is called `row`.
    fn arguments(&self, row: &str) -> String {
        let name = self.name.replace('\'', "''");
        let columns = self.columns.iter().map(|column| format!(", {row}.{}", quoted(column)));
        format!("'{name}'{}", columns.collect::<String>())
    }

    fn write_all(&self) -> String {
        let name = quoted(&self.name);
        format!("UPDATE main.{name} AS r SET {MAC} = row_mac({})", self.arguments("r"))
    }

    /// The triggers that write the MAC of a row which comes without one, and of one that changes. A row that did not
    /// match before it changed does not match afterwards.
    fn triggers(&self) -> String {
        let (name, trigger) = (quoted(&self.name), |kind: &str| quoted(&format!("{TRIGGER}{kind}_{}", self.name)));
        let (old, new) = (self.arguments("OLD"), self.arguments("NEW"));
        let columns: Vec<String> = self.columns.iter().map(|column| quoted(column)).collect();
        let key: Vec<String> = self.key.iter().map(|column| format!("{0} = NEW.{0}", quoted(column))).collect();
        let write = format!("UPDATE {name} SET {MAC} = row_mac({new}) WHERE {};", key.join(" AND "));
        format!(
            "CREATE TEMP TRIGGER {insert} AFTER INSERT ON main.{name} WHEN NEW.{MAC} IS NULL BEGIN {write} END;
             CREATE TEMP TRIGGER {update} AFTER UPDATE OF {columns} ON main.{name}
             WHEN NEW.{MAC} IS OLD.{MAC} AND mac_matches(OLD.{MAC}, {old}) BEGIN {write} END;",
            insert = trigger("insert"),
            update = trigger("update"),
            columns = columns.join(", ")
        )
    }
}

fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// Writes the MACs of all rows, whatever they had.
pub(super) fn write_all(conn: &Connection) -> rusqlite::Result<()> {
    all(conn)?.iter().try_for_each(|table| conn.execute_batch(&table.write_all()))
}

/// Writes the MACs of all rows of those tables that have them otherwise than `before`: by other columns, or newly.
pub(crate) fn write_new(conn: &Connection, before: &[MacTable]) -> rusqlite::Result<()> {
    let now = all(conn)?;
    let new = now.iter().filter(|table| !before.contains(table));
    new.map(MacTable::write_all).try_for_each(|sql| conn.execute_batch(&sql))
}

/// Has every row that this connection writes get its MAC. The triggers are the connection's own: another process that
/// writes does without.
pub(crate) fn install_triggers(conn: &Connection) -> rusqlite::Result<()> {
    let sql = "SELECT name FROM temp.sqlite_schema WHERE type = 'trigger' AND substr(name, 1, length(?1)) = ?1";
    let old: Vec<String> =
        conn.prepare(sql)?.query_map([TRIGGER], |row| row.get(0))?.collect::<rusqlite::Result<_>>()?;
    old.iter().try_for_each(|name| conn.execute_batch(&format!("DROP TRIGGER temp.{}", quoted(name))))?;
    // What `snapshots` gets, the statement that adds it computes: its rows may be large, and are not written twice.
    let triggered = all(conn)?.into_iter().filter(|table| table.name != SNAPSHOTS);
    triggered.map(|table| table.triggers()).try_for_each(|sql| conn.execute_batch(&sql))
}
