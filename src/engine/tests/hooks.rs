//! What hooks see, refuse and add.

use std::sync::Arc;

use serde_json::json;

use super::*;
use crate::engine::hooks::{Change, ChangeOrigin, ChangeRows, DocumentHook, StoredRows};

/// Writes the name of every change into `changes`, and refuses more than `changes_max`.
struct Recorder {
    name: &'static str,
    changes_max: u64,
}

impl DocumentHook for Recorder {
    fn name(&self) -> &'static str {
        self.name
    }

    fn before_store(
        &self,
        change: &Change<'_>,
        rows: &StoredRows<'_>,
    ) -> crate::base::error::Result<Option<ChangeRows>> {
        assert_eq!(change.origin(), ChangeOrigin::Request);
        let count = "SELECT count(*) FROM changes WHERE hook = ?1";
        let stored =
            rows.read(|conn| conn.query_row(count, [self.name], |row| row.get::<_, i64>(0)).map_err(sql_error))?;
        if u64::try_from(stored).unwrap() + rows.pending_rows("all") >= self.changes_max {
            return Err(Error::new(Kind::Rejected, format!("{} takes no more", self.name)));
        }
        let (hook, text) = (self.name, format!("{}@{} {}", change.document(), change.version(), change.creates()));
        let insert = "INSERT INTO changes (hook, text) VALUES (?1, ?2)";
        let write = move |conn: &store::Connection| conn.execute(insert, (hook, &text)).map(drop).map_err(sql_error);
        Ok(Some(ChangeRows::new("all", write)))
    }

    fn document_removed(&self, conn: &store::Connection, _: i64) -> crate::base::error::Result<()> {
        conn.execute("INSERT INTO changes (hook, text) VALUES (?1, 'removed')", [self.name])
            .map(drop)
            .map_err(sql_error)
    }
}

fn changes(running: &RunningEngine) -> Vec<String> {
    let all = |conn: &store::Connection| {
        let mut statement =
            conn.prepare("SELECT hook || ' ' || text FROM changes ORDER BY rowid").map_err(sql_error)?;
        let found = statement.query_map([], |row| row.get(0)).map_err(sql_error)?;
        found.collect::<Result<_, _>>().map_err(sql_error)
    };
    running.reader.rows(all).unwrap()
}

fn put(name: &str, n: u64) -> Request {
    let name = name.parse_name();
    Request { name, operation: WriteOperation::Put { state: json!({ "n": n }) }, expected: Expected::default() }
}

trait ParseName {
    fn parse_name(&self) -> DocumentName;
}

impl ParseName for str {
    fn parse_name(&self) -> DocumentName {
        let (collection, id) = self.split_once('/').unwrap();
        DocumentName::new(collection, id).unwrap()
    }
}

#[tokio::test]
async fn every_hook_adds_its_rows_to_the_change_or_refuses_the_whole_request() {
    let first = Recorder { name: "first", changes_max: 100 };
    let second = Recorder { name: "second", changes_max: 3 };
    let running = start_hooked(None, Volatile::default(), vec![Arc::new(first), Arc::new(second)]);
    let table = |conn: &store::Connection, _| {
        conn.execute_batch("CREATE TABLE changes (hook TEXT NOT NULL, text TEXT NOT NULL) STRICT").map_err(sql_error)
    };
    running.engine.rows(table).await.unwrap();
    let write = |requests| running.engine.write(Write { requests, viewer: Viewer::Owner, key: None });
    write(vec![put("notes/a", 1)]).await.unwrap();
    // The second of these would be the fourth change: nothing of either is kept, and what was counted is given back.
    let refused = write(vec![put("notes/b", 1), put("notes/a", 2), put("notes/c", 1)]).await.unwrap_err();
    assert_eq!(refused.message(), "second takes no more");
    write(vec![put("notes/b", 1), put("notes/a", 2)]).await.unwrap();
    assert_eq!(write(vec![put("notes/d", 1)]).await.unwrap_err().message(), "second takes no more");
    let expected = ["notes/a@1 true", "notes/b@1 true", "notes/a@2 false"];
    let expected: Vec<_> =
        expected.iter().flat_map(|text| [format!("first {text}"), format!("second {text}")]).collect();
    assert_eq!(changes(&running), expected);
    assert!(running.reader.load(&"notes/c".parse_name()).unwrap().is_none());
}

#[tokio::test]
async fn a_removed_document_takes_the_rows_of_every_hook_along() {
    let hook = |name| Arc::new(Recorder { name, changes_max: 100 });
    let running = start_hooked(None, Volatile::default(), vec![hook("first"), hook("second")]);
    let table =
        |conn: &store::Connection, _| conn.execute_batch("CREATE TABLE changes (hook, text)").map_err(sql_error);
    running.engine.rows(table).await.unwrap();
    let name = "notes/a".parse_name();
    let delete = Request { name: name.clone(), operation: WriteOperation::Delete, expected: Expected::default() };
    for request in [put("notes/a", 1), delete] {
        running.engine.write(Write { requests: vec![request], viewer: Viewer::Owner, key: None }).await.unwrap();
    }
    let expected = [
        "first notes/a@1 true",
        "second notes/a@1 true",
        "first removed",
        "second removed",
        "first notes/a@2 false",
        "second notes/a@2 false",
    ];
    assert_eq!(changes(&running), expected);
}
