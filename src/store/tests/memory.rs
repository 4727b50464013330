//! Rows in memory: all or none, bounded, and gone with their document.

use super::*;
use crate::base::error::{Error, Kind, Result};
use crate::base::limits::VOLATILE_ROWS_BYTES_MAX;

fn meta(key: i64) -> Arc<Meta> {
    let (name, at) = (DocumentName::new("games", &format!("g{}", -key)).unwrap(), Timestamp::from_millis(0));
    Arc::new(Meta {
        key,
        name,
        host: None,
        access: Access::default(),
        access_seq: Seq::ZERO,
        created_at: at,
        volatile: true,
    })
}

fn begin(conn: &Connection, key: i64) -> Result<()> {
    conn.execute("INSERT INTO games (document, status) VALUES (?1, 'running')", [key]).map(drop).map_err(sql_error)
}

fn games(memory: &MemoryStore) -> i64 {
    memory.read(|conn| conn.query_row("SELECT count(*) FROM games", [], |row| row.get(0)).map_err(sql_error)).unwrap()
}

#[test]
fn what_fails_is_taken_back_and_what_is_gone_leaves_nothing() {
    let (memory, now) = (MemoryStore::open().unwrap(), Timestamp::from_millis(5));
    memory.write(&meta(-1), now, |conn, _| begin(conn, -1)).unwrap();
    let failed: Result<()> = memory.write(&meta(-2), now, |conn, _| {
        begin(conn, -2)?;
        Err(Error::invalid("no"))
    });
    assert_eq!(failed.unwrap_err().kind(), Kind::Invalid);
    assert_eq!(games(&memory), 1);
    let remove = |conn: &Connection, key| {
        conn.execute("DELETE FROM games WHERE document = ?1", [key]).map(drop).map_err(sql_error)
    };
    memory.forget(-1, remove).unwrap();
    memory.forget(-1, remove).unwrap();
    assert_eq!(games(&memory), 0);
    let documents = |conn: &Connection| {
        conn.query_row("SELECT count(*) FROM documents", [], |row| row.get::<_, i64>(0)).map_err(sql_error)
    };
    assert_eq!(memory.read(documents).unwrap(), 0);
    // Another document of the same name, as one that is made again later.
    let again = Arc::new(Meta { key: -9, name: meta(-1).name.clone(), ..meta_of(-9) });
    memory.write(&again, now, |conn, _| begin(conn, -9)).unwrap();
}

fn meta_of(key: i64) -> Meta {
    Arc::into_inner(meta(key)).unwrap()
}

#[test]
fn there_is_only_so_much_and_room_comes_back() {
    let (memory, now) = (MemoryStore::open().unwrap(), Timestamp::from_millis(5));
    let keep = |key: usize| {
        let answer = Bytes::from("x".repeat(1 << 20));
        memory.write(&meta(-1), now, move |conn, now| {
            let (scope, key, fingerprint) = ("alice".to_owned(), key.to_string(), Hash::ZERO);
            run_once(Some(&IdempotencyKey { scope, key, fingerprint, document: None }), conn, now, |_, _| Ok(answer))
        })
    };
    let mut kept = 0;
    let refused = loop {
        match keep(kept) {
            Ok(_) => kept += 1,
            Err(error) => break error,
        }
        assert!(kept <= VOLATILE_ROWS_BYTES_MAX >> 20, "it is bounded");
    };
    assert!(kept > 20, "{kept}");
    assert_eq!((refused.kind(), &refused.details()["maxBytes"]), (Kind::TooLarge, &json!(VOLATILE_ROWS_BYTES_MAX)));
    assert!(keep(0).unwrap().replayed, "what is there can be read");
    let clear = |conn: &Connection, _| conn.execute("DELETE FROM idempotency_keys", []).map(drop).map_err(sql_error);
    memory.forget(-1, clear).unwrap();
    assert!(!keep(kept).unwrap().replayed);
}
