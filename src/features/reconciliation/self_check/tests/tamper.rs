//! Each way of changing the file behind our back: found by the next comparison, named, and mended from either side.

use super::*;
use crate::base::error::Kind;
use crate::engine::request::RepairSource;

/// What is done, to which document the finding is attributed, at which version.
struct TamperCase {
    what: &'static str,
    sql: &'static str,
    document: &'static str,
    version: u64,
    /// Whether the version is told as missing.
    missing: bool,
}

const fn case(
    what: &'static str,
    sql: &'static str,
    document: &'static str,
    version: u64,
    missing: bool,
) -> TamperCase {
    TamperCase { what, sql, document, version, missing }
}

/// `games/a` is key 1 with 6 versions and a snapshot of the sixth (taken when it was stopped), `games/b` key 2 alike.
const CASES: &[TamperCase] = &[
    case(
        "a state",
        "UPDATE snapshots SET state = replace(state, '646', '999') WHERE document = 1 AND version = 6",
        "games/a",
        6,
        false,
    ),
    case(
        "a body",
        "UPDATE events SET body = replace(body, '643', '999') WHERE document = 1 AND version = 3",
        "games/a",
        3,
        false,
    ),
    case(
        "a hash",
        "UPDATE events SET hash = replace(hash, substr(hash, 1, 1), 'x') WHERE document = 1 AND version = 3",
        "games/a",
        3,
        false,
    ),
    case(
        "a time",
        "UPDATE events SET at = '2001-01-01T00:00:00.000Z' WHERE document = 1 AND version = 4",
        "games/a",
        4,
        false,
    ),
    case("a mark", "UPDATE events SET deletes = 1 WHERE document = 1 AND version = 4", "games/a", 4, false),
    case("the newest event", "DELETE FROM events WHERE document = 1 AND version = 6", "games/a", 6, true),
    case("an event", "DELETE FROM events WHERE document = 1 AND version = 2", "games/a", 2, true),
    case("the first event", "DELETE FROM events WHERE document = 1 AND version = 1", "games/a", 1, true),
    case("all events", "DELETE FROM events WHERE document = 1", "games/a", 6, true),
    case("a document", "DELETE FROM documents WHERE key = 1", "games/a", 6, true),
    case(
        "everything of a document but its snapshots",
        "DELETE FROM documents WHERE key = 1; DELETE FROM events WHERE document = 1",
        "games/a",
        6,
        true,
    ),
    case("a name", "UPDATE documents SET id = 'z' WHERE key = 1", "games/a", 6, false),
    case("a collection", "UPDATE documents SET collection = 'other' WHERE key = 1", "games/a", 6, true),
    case("a host", "UPDATE documents SET host = 'eve' WHERE key = 1", "games/a", 6, false),
    case("an access", "UPDATE documents SET access = '{\"write\":\"host\"}' WHERE key = 1", "games/a", 6, false),
    case(
        "a beginning",
        "UPDATE documents SET created_at = '2001-01-01T00:00:00.000Z' WHERE key = 1",
        "games/a",
        6,
        false,
    ),
    case("a base", "UPDATE documents SET base_version = 2 WHERE key = 1", "games/a", 1, false),
    case(
        "an event more",
        "INSERT INTO events SELECT 1000, document, 7, at, hash, 0, body FROM events WHERE document = 1 AND version = 6",
        "games/a",
        7,
        false,
    ),
    case(
        "a snapshot more",
        "INSERT INTO snapshots SELECT document, 3, seq, hash, at, checksum, state, mac FROM snapshots \
         WHERE document = 1 AND version = 6",
        "games/a",
        3,
        false,
    ),
    case(
        "a document more",
        "INSERT INTO documents (key, collection, id, created_at, base_version, base_seq, base_hash)
         SELECT 77, 'games', 'new', created_at, 0, 0, base_hash FROM documents WHERE key = 1",
        "games/new",
        0,
        false,
    ),
    case(
        "a document more in a collection of its own",
        "INSERT INTO documents (key, collection, id, created_at, base_version, base_seq, base_hash)
         SELECT 77, 'mine', 'new', created_at, 0, 0, base_hash FROM documents WHERE key = 1",
        "mine/new",
        0,
        false,
    ),
];

async fn world(hot: bool) -> TestLog {
    let world = TestLog::new();
    world.rounds(&["games/a", "games/b"], 6).await;
    let world = world.restart().await;
    if hot {
        for name in ["games/a", "games/b"] {
            world.reads.document(&named(name)).await.unwrap();
        }
        // Answered when the documents were taken into memory.
        world.engine.barrier().await.unwrap();
        assert_eq!(world.reads.hub.documents_count(), 2);
    }
    world
}

fn service_of(case: &TamperCase) -> String {
    format!("{DOCUMENTS}{}", case.document.split_once('/').unwrap().0)
}

/// The verdict names the document, and only that, with the version first.
fn assert_named(case: &TamperCase, verdict: &Verdict) {
    let what = case.what;
    assert_eq!(verdict.status, VerdictStatus::Discrepancy, "{what}: {verdict:?}");
    let first = &verdict.documents[0];
    assert_eq!((first.document.as_str(), first.version), (case.document, case.version), "{what}: {verdict:?}");
    assert!(verdict.documents.iter().all(|other| other.document == case.document), "{what}: {verdict:?}");
    let id = format!("{}@{}", case.document, case.version);
    let missing = &verdict.details.as_ref().unwrap().missing_job_ids;
    assert_eq!(missing.contains(&id), case.missing, "{what}: {missing:?}");
    assert_ne!(
        verdict.details.as_ref().unwrap().expected,
        verdict.details.as_ref().unwrap().actual,
        "{what}: the numbers differ"
    );
}

#[tokio::test]
async fn whatever_is_changed_behind_our_back_is_found_by_the_next_comparison_and_named() {
    for case in CASES {
        for hot in [true, false] {
            let gone = case.what.starts_with("everything");
            if gone && !hot {
                continue;
            }
            let mut world = world(hot).await;
            world.assert_verified().await;
            let before = world.verdict("documents/games").await;
            assert!(world.tamper(case.sql) > 0, "{}", case.what);
            let verdicts = world.compare().await;
            let service = service_of(case);
            let verdict = verdicts.iter().find(|verdict| verdict.service == service).unwrap();
            assert_named(case, verdict);
            assert_eq!(status_of(&verdicts, LOG), VerdictStatus::Discrepancy, "{}", case.what);
            // It stays found, and what was written since is compared beside it.
            world.put("others/c", state(1)).await;
            if case.what != "an event more" {
                let verdicts = world.compare().await;
                assert_named(case, verdicts.iter().find(|verdict| verdict.service == service).unwrap());
                assert_eq!(status_of(&verdicts, "documents/others"), VerdictStatus::Verified, "{}", case.what);
            }
            assert_eq!(before.checksum.len(), 64);
            world.stop().await;
        }
    }
}

#[tokio::test]
async fn what_is_found_is_mended_from_memory() {
    for case in CASES {
        let mut world = world(true).await;
        world.assert_verified().await;
        let before = world.reads.document(&named("games/a")).await.unwrap().unwrap();
        world.tamper(case.sql);
        let repaired = world.comparer.repair(&named(case.document), RepairSource::Memory).await;
        let repaired = repaired.unwrap_or_else(|error| panic!("{}: {error:?}", case.what));
        assert_eq!(repaired.verdict.status, VerdictStatus::Verified, "{}: {repaired:?}", case.what);
        world.assert_verified().await;
        assert!(world.scrub().await.is_empty(), "{}", case.what);
        let after = world.reads.document(&named("games/a")).await.unwrap().unwrap();
        assert_eq!(before.state, after.state, "{}", case.what);
        let again = world.comparer.repair(&named(case.document), RepairSource::Memory).await.unwrap_err();
        assert_eq!(again.slug(), Some("not-different"), "{}", case.what);
        // And it is on disk, in whole: after a start nothing is known but what is there.
        world.put("games/a", json!({ "round": 7 })).await;
        let mut world = world.restart().await;
        world.assert_verified().await;
        assert!(world.scrub().await.is_empty(), "{}", case.what);
        let stored = world.reads.document(&named("games/a")).await.unwrap().unwrap();
        assert_eq!(stored.state.as_deref(), Some(&br#"{"round":7}"#[..]), "{}", case.what);
        assert_eq!(world.verdict("documents/games").await.counts["documents"].whole(), Some(2), "{}", case.what);
        world.stop().await;
    }
}

#[tokio::test]
async fn what_is_found_is_mended_from_the_disk_by_a_new_event() {
    for hot in [true, false] {
        for case in CASES {
            if case.what.starts_with("everything") && !hot {
                // Nothing has its name any more.
                continue;
            }
            let mut world = world(hot).await;
            world.assert_verified().await;
            world.tamper(case.sql);
            let name = named(case.document);
            let repaired = match world.comparer.repair(&name, RepairSource::Disk).await {
                Ok(repaired) => repaired,
                Err(error) => {
                    // Nothing that makes a state.
                    assert_eq!(error.kind(), Kind::NotFound, "{}: {error:?}", case.what);
                    assert!(case.what.contains("document"), "{}: {error:?}", case.what);
                    continue;
                }
            };
            assert_eq!(repaired.verdict.status, VerdictStatus::Verified, "{} hot {hot}: {repaired:?}", case.what);
            world.assert_verified().await;
            assert!(world.scrub().await.is_empty(), "{}", case.what);
            let after = world.reads.document(&name).await.unwrap().unwrap();
            assert_eq!(repaired.document, Some((after.version, after.hash)), "{}", case.what);
            if case.what == "a state" {
                let state: Value = serde_json::from_slice(after.state.as_ref().unwrap()).unwrap();
                assert_eq!(state["pot"], 999, "{}", case.what);
                assert_eq!(after.version, Version(7), "{}", case.what);
            }
            let mut world = world.restart().await;
            world.assert_verified().await;
            assert!(world.scrub().await.is_empty(), "{} hot {hot}", case.what);
            world.stop().await;
        }
    }
}

#[tokio::test]
async fn what_memory_remembers_of_a_cold_document_is_enough_where_the_disk_still_has_it() {
    for case in CASES {
        let mut world = world(false).await;
        world.assert_verified().await;
        world.tamper(case.sql);
        match world.comparer.repair(&named(case.document), RepairSource::Memory).await {
            Ok(repaired) => assert_eq!(repaired.verdict.status, VerdictStatus::Verified, "{}: {repaired:?}", case.what),
            Err(error) => {
                assert!(matches!(error.slug(), Some("not-in-memory" | "not-different")), "{}: {error:?}", case.what)
            }
        }
        world.stop().await;
    }
}

#[tokio::test]
async fn an_edit_that_is_taken_back_leaves_nothing_behind() {
    let mut world = world(false).await;
    world.assert_verified().await;
    let before = world.verdict("documents/games").await;
    world.tamper("UPDATE events SET body = body || ' ' WHERE document = 2 AND version = 5");
    assert_eq!(world.verdict("documents/games").await.status, VerdictStatus::Discrepancy);
    world.tamper("UPDATE events SET body = rtrim(body) WHERE document = 2 AND version = 5");
    let after = world.verdict("documents/games").await;
    assert_eq!((after.status, after.checksum), (VerdictStatus::Verified, before.checksum));
}

#[tokio::test]
async fn rows_that_belong_to_no_document_are_found_in_the_log() {
    let mut world = world(false).await;
    world.assert_verified().await;
    world.tamper(
        "INSERT INTO events SELECT 500, 99, 1, at, hash, 0, body FROM events WHERE document = 1 AND version = 1;
         INSERT INTO snapshots SELECT 99, 1, 1, hash, at, checksum, state, mac FROM snapshots WHERE document = 1",
    );
    let verdict = world.verdict(LOG).await;
    assert_eq!(verdict.status, VerdictStatus::Discrepancy, "{verdict:?}");
    assert!(verdict.documents[0].what.contains("500"), "{verdict:?}");
    world.tamper("DELETE FROM events WHERE document = 99; DELETE FROM snapshots WHERE document = 99");
    world.assert_verified().await;
}

#[tokio::test]
async fn rows_that_somebody_else_appended_to_the_log_keep_nothing_from_being_mended() {
    let mut world = world(true).await;
    world.assert_verified().await;
    // Just where the next change is to be stored: from then on storage fails.
    world.tamper(
        "INSERT INTO events SELECT 13, document, 7, at, hash, 0, body FROM events WHERE document = 1 AND version = 6",
    );
    world.put("games/b", json!({ "round": 7 })).await;
    let verdict = world.verdict("documents/games").await;
    assert_eq!(verdict.status, VerdictStatus::Discrepancy, "{verdict:?}");
    assert_eq!(verdict.documents[0].document, "games/a", "{verdict:?}");
    assert_eq!(verdict.details.as_ref().unwrap().missing_job_ids, ["games/b@7"], "{verdict:?}");
    let repaired = world.comparer.repair(&named("games/a"), RepairSource::Memory).await.unwrap();
    assert_eq!(repaired.verdict.status, VerdictStatus::Verified, "{repaired:?}");
    world.assert_verified().await;
    assert_eq!(world.verdict("documents/games").await.counts["changes"].whole(), Some(13));
}

#[tokio::test]
async fn a_document_that_only_memory_has_is_found_by_the_scrub() {
    let names = ["games/a", "games/b", "games/c"];
    for gone in [&[1][..], &[2], &[3], &[1, 2, 3]] {
        for hot in [true, false] {
            let world = TestLog::new();
            world.rounds(&names, 2).await;
            let mut world = if hot { world } else { world.restart().await };
            world.assert_verified().await;
            let keys = gone.iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
            world.tamper(&format!(
                "DELETE FROM snapshots WHERE document IN ({keys}); DELETE FROM events WHERE document IN ({keys});
                 DELETE FROM documents WHERE key IN ({keys})"
            ));
            let told = world.scrub().await;
            let verdict = told.iter().rfind(|verdict| verdict.service == "documents/games");
            let verdict = verdict.unwrap_or_else(|| panic!("{gone:?} hot {hot}: {told:?}"));
            assert_eq!(verdict.status, VerdictStatus::Discrepancy, "{verdict:?}");
            assert_eq!(verdict.documents.len(), gone.len(), "{verdict:?}");
            assert!(verdict.documents.iter().all(|found| found.what == "it is not on disk, and memory has it"));
            world.stop().await;
        }
    }
}

#[tokio::test]
async fn a_bit_that_flips_in_the_file_is_found_by_the_scrub() {
    let world = world(false).await;
    let (path, directory, setting) = (world.path(), Arc::clone(&world.directory), world.setting.clone());
    world.stop().await;
    let whole = std::fs::read(&path).unwrap();
    // In the bodies of events; in the states of snapshots.
    for (mark, version) in [(&br#""path":"/pot","value":644"#[..], 4), (br#"{"pot":646,"#, 6)] {
        std::fs::write(&path, &whole).unwrap();
        let mut world = TestLog::on(Arc::clone(&directory), setting.clone());
        world.assert_verified().await;
        assert!(world.scrub().await.is_empty());
        let mut file = std::fs::OpenOptions::new().write(true).open(&path).unwrap();
        // Some may be in pages that are not in use.
        for (at, _) in whole.windows(mark.len()).enumerate().filter(|(_, window)| *window == mark) {
            let at = at + mark.len() - 2;
            std::io::Seek::seek(&mut file, std::io::SeekFrom::Start(u64::try_from(at).unwrap())).unwrap();
            std::io::Write::write_all(&mut file, &[whole[at] ^ 1]).unwrap();
        }
        drop(file);
        let told = world.scrub().await;
        assert_eq!(status_of(&told, "documents/games"), VerdictStatus::Discrepancy, "{told:?}");
        let document = &told.iter().find(|verdict| verdict.service == "documents/games").unwrap().documents[0];
        assert!(document.document.starts_with("games/"), "{document:?}");
        assert_eq!(document.version, version, "{document:?}");
        // Told once, and found by every comparison from then on.
        assert!(world.scrub().await.is_empty());
        let verdict = world.verdict("documents/games").await;
        assert_eq!(verdict.status, VerdictStatus::Discrepancy, "{verdict:?}");
        world.stop().await;
    }
}

#[tokio::test]
async fn a_bit_that_flipped_under_a_page_that_the_engine_still_has_is_mended() {
    for side in [RepairSource::Memory, RepairSource::Disk] {
        // Everything was written in this run, and so is in the engine's cache.
        let mut world = TestLog::new();
        world.rounds(&["games/a", "games/b"], 6).await;
        world.assert_verified().await;
        // Leaves the caches of other connections as they are.
        let conn = Connection::open(world.path()).unwrap();
        let moved = conn
            .query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |row| Ok((row.get::<_, i64>(1)?, row.get::<_, i64>(2)?)));
        assert!(moved.is_ok_and(|(all, moved)| all == moved));
        let (whole, mark) = (std::fs::read(world.path()).unwrap(), br#""path":"/pot","value":644"#);
        let file = std::fs::OpenOptions::new().write(true).open(world.path()).unwrap();
        for (at, _) in whole.windows(mark.len()).enumerate().filter(|(_, window)| window == mark) {
            let at = u64::try_from(at + mark.len() - 1).unwrap();
            std::os::unix::fs::FileExt::write_all_at(&file, b"5", at).unwrap();
        }
        assert!(!world.scrub().await.is_empty());
        let found = world.verdict("documents/games").await.documents;
        assert_eq!(found.len(), 2, "{found:?}");
        for one in found {
            assert_eq!(one.version, 4, "{one:?}");
            world.comparer.repair(&named(&one.document), side).await.unwrap();
        }
        world.assert_verified().await;
        assert!(world.scrub().await.is_empty(), "{side:?}");
        let mut world = world.restart().await;
        assert!(world.compare().await.iter().all(|verdict| verdict.status == VerdictStatus::Verified), "{side:?}");
        assert!(world.scrub().await.is_empty(), "{side:?}");
        world.stop().await;
    }
}

#[tokio::test]
async fn a_document_whose_host_was_changed_before_it_was_read_is_not_served_and_found() {
    let mut world = world(false).await;
    world.assert_verified().await;
    world.tamper("UPDATE documents SET host = 'eve' WHERE key = 1");
    let name = named("games/a");
    let refused = world.reads.document(&name).await.unwrap_err();
    assert_eq!(refused.kind(), Kind::Damaged, "{refused:?}");
    assert!(refused.message().ends_with("its row is not as this server wrote it"), "{refused:?}");
    world.engine.barrier().await.unwrap();
    let verdict = world.verdict("documents/games").await;
    assert_eq!(
        (verdict.status, verdict.documents[0].document.as_str()),
        (VerdictStatus::Discrepancy, "games/a"),
        "{verdict:?}"
    );
    // What it was stands nowhere any more.
    let refused = world.comparer.repair(&name, RepairSource::Memory).await.unwrap_err();
    assert_eq!(refused.slug(), Some("not-in-memory"));
    let repaired = world.comparer.repair(&name, RepairSource::Disk).await.unwrap();
    assert_eq!(repaired.verdict.status, VerdictStatus::Verified, "{repaired:?}");
    assert_eq!(world.reads.document(&name).await.unwrap().unwrap().meta.host.as_ref().unwrap().as_str(), "eve");
    let world = world.restart().await;
    assert_eq!(world.reads.document(&name).await.unwrap().unwrap().meta.host.as_ref().unwrap().as_str(), "eve");
    world.stop().await;
}
