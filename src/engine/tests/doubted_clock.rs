//! A wall clock that jumps removes nothing; time that passes does.

use serde_json::json;

use super::volatile::{named, rolling_out};
use super::*;
use crate::base::ids::Version;
use crate::document::chain::Hash;
use crate::engine::request::{RenderReply, WriteKey};
use crate::store::IdempotencyKey;

const JUMP: Duration = Duration::from_secs(40 * 24 * 3600);

impl RunningEngine {
    /// A change under an idempotency key.
    async fn change_once(&self, name: &str, key: &str) {
        let request = Request {
            name: named(name),
            operation: WriteOperation::Patch(json!({ "key": key }).into()),
            expected: Expected::default(),
        };
        let render: RenderReply = Box::new(|_, _| "{}".into());
        let (scope, key, fingerprint) = ("owner".to_owned(), key.to_owned(), Hash::ZERO);
        let key = Some(WriteKey { key: IdempotencyKey { scope, key, fingerprint, document: None }, render });
        self.engine.write(Write { requests: vec![request], viewer: Viewer::Owner, key }).await.unwrap();
    }

    /// How many events of a document, and how many keys, are on disk.
    fn kept(&self, name: &str) -> (u64, i64) {
        let count = |conn: &store::Connection| {
            conn.query_row("SELECT count(*) FROM idempotency_keys", [], |row| row.get(0)).map_err(sql_error)
        };
        (self.reader.storage_statistics(&named(name)).unwrap().unwrap().events, self.reader.rows(count).unwrap())
    }

    fn is_there(&self, name: &str) -> bool {
        self.hub.peek(&named(name)).is_some_and(|document| !document.is_deleted())
    }
}

#[tokio::test]
async fn a_clock_that_is_doubted_trims_no_history_and_forgets_no_key_and_no_document_in_memory() {
    let trust: JudgeRules = |clock| Arc::new(ClockTrust::new(clock, &[]));
    let running = start_trusting(None, rolling_out(), Vec::new(), Some(trust));
    running.create("games/idle").await;
    running.create("encounters/kept").await;
    running.change("encounters/kept", 1).await;
    running.change_once("encounters/kept", "first").await;

    let before = running.clock.now();
    running.clock.set(before.plus(JUMP));
    assert_eq!(running.engine.snapshot(named("encounters/kept"), false).await.unwrap().version, Version(3));
    running.change_once("encounters/kept", "second").await;
    running.sweep().await;
    assert_eq!(running.kept("encounters/kept"), (4, 2));
    assert!(running.is_there("games/idle"));

    running.clock.set(before);
    running.clock.advance(JUMP);
    running.engine.snapshot(named("encounters/kept"), false).await.unwrap();
    running.change_once("encounters/kept", "third").await;
    running.sweep().await;
    assert!(running.kept("encounters/kept").0 < 4);
    assert_eq!(running.kept("encounters/kept").1, 2, "the second has a time that is still to come");
    assert!(!running.is_there("games/idle"));
    running.engine.stop().await;
    assert_eq!(running.thread.join().unwrap(), Ending::CLEAN);
}
