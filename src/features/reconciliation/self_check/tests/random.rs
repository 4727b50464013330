//! Verified if and only if equal.

use crate::property_tests::cases;
use proptest::prelude::*;
use rusqlite::types::Value as Cell;

use super::*;

/// Everything that is stored of documents, in the form of text.
fn dump(world: &TestLog) -> Vec<String> {
    let conn = Connection::open(world.path()).unwrap();
    let mut rows = Vec::new();
    for table in ["documents", "events", "snapshots"] {
        let mut statement = conn.prepare(&format!("SELECT * FROM {table}")).unwrap();
        let columns = statement.column_count();
        let row =
            |row: &rusqlite::Row<'_>| (0..columns).map(|column| row.get(column)).collect::<Result<Vec<Cell>, _>>();
        let found: Vec<Vec<Cell>> = statement.query_map([], row).unwrap().map(Result::unwrap).collect();
        rows.extend(found.into_iter().map(|cells| format!("{table} {cells:?}")));
    }
    rows.sort();
    rows
}

/// A change to some row, picked by `pick`; some of them change nothing.
fn sql((kind, pick): (u8, u32)) -> String {
    let event = format!("(SELECT seq FROM events ORDER BY seq LIMIT 1 OFFSET {pick} % (SELECT count(*) FROM events))");
    let document =
        format!("(SELECT key FROM documents ORDER BY key LIMIT 1 OFFSET {pick} % (SELECT count(*) FROM documents))");
    let snapshot = format!(
        "(SELECT rowid FROM snapshots ORDER BY rowid LIMIT 1 OFFSET {pick} % max(1, (SELECT count(*) FROM snapshots)))"
    );
    match kind {
        0 => format!("UPDATE events SET body = replace(body, '\"round\"', '\"rounds\"') WHERE seq = {event}"),
        1 => format!("DELETE FROM events WHERE seq = {event}"),
        2 => format!("UPDATE events SET version = version + 20 WHERE seq = {event}"),
        3 => format!("UPDATE events SET at = '2011-11-11T11:11:11.111Z' WHERE seq = {event}"),
        4 => format!("UPDATE events SET hash = substr(hash, 2) || substr(hash, 1, 1) WHERE seq = {event}"),
        5 => format!("UPDATE events SET deletes = 1 - deletes WHERE seq = {event}"),
        6 => format!("DELETE FROM documents WHERE key = {document}"),
        7 => format!("UPDATE documents SET host = 'mallory' WHERE key = {document}"),
        8 => format!("UPDATE documents SET id = id || 'x' WHERE key = {document}"),
        9 => format!("UPDATE documents SET base_seq = base_seq + 1 WHERE key = {document}"),
        10 => format!("UPDATE documents SET base_version = base_version + 1 WHERE key = {document}"),
        11 => format!("UPDATE snapshots SET state = state || ' ' WHERE rowid = {snapshot}"),
        12 => format!("DELETE FROM snapshots WHERE rowid = {snapshot} AND version < 3"),
        13 => format!("UPDATE snapshots SET version = version + 1 WHERE rowid = {snapshot}"),
        14 => format!("UPDATE snapshots SET seq = seq + 1 WHERE rowid = {snapshot}"),
        15 => format!("UPDATE events SET seq = seq + 1000 WHERE seq = {event}"),
        16 => format!("UPDATE events SET document = document + 50 WHERE seq = {event}"),
        17 => "DELETE FROM idempotency_keys".to_owned(),
        18 => format!("UPDATE events SET body = body WHERE seq = {event}"),
        _ => format!(
            "INSERT INTO documents SELECT max(key) + 1 + {pick} % 5, 'games', 'x{pick}', NULL, NULL, created_at, 0, 0,
             0, base_hash, NULL FROM documents"
        ),
    }
}

proptest! {
    #![proptest_config(cases(60))]

    #[test]
    fn verified_if_and_only_if_equal(
        writes in proptest::collection::vec((0_usize..6, 0_u64..9), 1..30),
        edits in proptest::collection::vec((0_u8..20, any::<u32>()), 0..3),
        more in proptest::collection::vec((0_usize..6, 0_u64..9), 0..4),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let mut world = TestLog::with(Setting { history: Some(4), ..Setting::default() });
            let write = async |world: &TestLog, (document, round): (usize, u64)| {
                let name = format!("{}/d{document}", if document < 3 { "games" } else { "tables" });
                world.put(&name, state(round)).await;
            };
            for step in &writes {
                write(&world, *step).await;
            }
            world.assert_verified().await;
            let before = dump(&world);
            for edit in &edits {
                let conn = Connection::open(world.path()).unwrap();
                conn.pragma_update(None, "foreign_keys", false).unwrap();
                // One that SQLite refuses, as when no row is left, changes nothing; `equal` is what was changed.
                let _ = conn.execute_batch(&sql(*edit));
            }
            let equal = dump(&world) == before;
            let verdicts = world.comparer.compare(None).await.unwrap();
            let all = |status: VerdictStatus| verdicts.iter().all(|verdict| verdict.status == status);
            let different = verdicts.iter().any(|verdict| verdict.status == VerdictStatus::Discrepancy);
            let told = (all(VerdictStatus::Verified), different);
            let mut later = Vec::new();
            if equal {
                for step in &more {
                    write(&world, *step).await;
                }
                later = world.comparer.compare(None).await.unwrap();
            }
            world.stop().await;
            prop_assert_eq!(told, (equal, !equal), "{:?} {:?}", edits, verdicts);
            prop_assert!(later.iter().all(|verdict| verdict.status == VerdictStatus::Verified), "{:?}", later);
            Ok(())
        })?;
    }
}
