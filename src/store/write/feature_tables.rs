//! Tables of features that `schema.sql` does not have: those of a program that embeds the server.

use std::collections::BTreeMap;

use rusqlite::Connection;

use super::writer::Writer;
use crate::store::integrity::tables;

impl Writer {
    /// Runs the SQL that makes the tables of a feature, all of it or nothing. Error, in words: SQLite's, or that
    /// something was made or changed whose name does not begin with `prefix`.
    pub(crate) fn create_tables(&self, prefix: &str, sql: &'static str) -> Result<(), String> {
        self.feature_tables.lock().push(sql);
        // A file that cannot be written at the start is served as it is: what is missing is made at the next start.
        let Ok(conn) = self.reading() else { return Ok(()) };
        create(conn, prefix, sql)
    }
}

fn create(conn: &Connection, prefix: &str, sql: &str) -> Result<(), String> {
    let told = |error: rusqlite::Error| error.to_string();
    let transaction = conn.unchecked_transaction().map_err(told)?;
    let (before, with_macs) = (objects(&transaction).map_err(told)?, tables::all(&transaction).map_err(told)?);
    transaction.execute_batch(sql).map_err(told)?;
    let after = objects(&transaction).map_err(told)?;
    let changed = before.keys().chain(after.keys()).filter(|name| before.get(*name) != after.get(*name));
    if let Some(foreign) = changed.into_iter().find(|name| !name.starts_with(prefix)) {
        return Err(format!("it makes or changes '{foreign}'; what it makes must be called {prefix}…"));
    }
    tables::write_new(&transaction, &with_macs).map_err(told)?;
    transaction.commit().map_err(told)?;
    tables::install_triggers(conn).map_err(told)
}

/// The SQL of everything that there is, by name, but for what SQLite makes by itself.
fn objects(conn: &Connection) -> rusqlite::Result<BTreeMap<String, String>> {
    let sql = "SELECT name, coalesce(sql, '') FROM sqlite_schema WHERE name NOT LIKE 'sqlite!_%' ESCAPE '!'";
    conn.prepare(sql)?.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?.collect()
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed unwrap fails the test")]
    use super::*;

    #[test]
    fn only_what_has_the_prefix_is_made_or_changed() {
        let conn = Connection::open_in_memory().unwrap();
        conn.execute_batch("CREATE TABLE documents (key INTEGER PRIMARY KEY) STRICT").unwrap();
        let good = "CREATE TABLE IF NOT EXISTS best_scores (player TEXT UNIQUE, at TEXT) STRICT;
                    CREATE INDEX IF NOT EXISTS best_scores_at ON best_scores (at);";
        create(&conn, "best_", good).unwrap();
        create(&conn, "best_", good).unwrap();
        create(&conn, "best_", "ALTER TABLE best_scores ADD COLUMN more TEXT").unwrap();
        let before = objects(&conn).unwrap();
        assert_eq!(before.keys().collect::<Vec<_>>(), ["best_scores", "best_scores_at", "documents"]);
        for bad in [
            "CREATE TABLE scores (a)",
            "DROP TABLE documents",
            "ALTER TABLE documents ADD COLUMN a",
            "CREATE INDEX documents_key ON documents (key)",
            "CREATE TABLE best_more (a); CREATE TABL",
        ] {
            assert!(create(&conn, "best_", bad).is_err(), "{bad}");
            assert_eq!(objects(&conn).unwrap(), before, "{bad}");
        }
    }
}
