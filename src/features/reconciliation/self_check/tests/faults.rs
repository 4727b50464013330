//! Storage that fails, documents that are not for the disk, history that is trimmed.

use std::sync::atomic::Ordering;

use super::*;
use crate::base::ids::Collection;

#[tokio::test]
async fn while_storage_fails_it_is_stale_with_what_is_not_on_disk_and_verified_by_itself_after() {
    let mut world = TestLog::with(Setting { pages_max: Some(256), ..Setting::default() });
    world.rounds(&["games/a", "games/b"], 2).await;
    world.assert_verified().await;
    let mut round = 3;
    loop {
        world.put("games/a", json!({ "text": round.to_string().repeat(20_000) })).await;
        let verdicts = world.compare().await;
        if status_of(&verdicts, "documents/games") == VerdictStatus::Stale {
            break;
        }
        round += 1;
        assert!(round < 200);
    }
    world.put("games/b", json!({ "round": 3 })).await;
    for service in ["documents/games", LOG] {
        let verdict = world.verdict(service).await;
        assert_eq!(verdict.status, VerdictStatus::Stale, "{verdict:?}");
        let missing = &verdict.details.as_ref().unwrap().missing_job_ids;
        assert_eq!(*missing, [format!("games/a@{round}"), "games/b@3".to_owned()], "{verdict:?}");
        assert_eq!(verdict.counts["pending"].whole(), Some(2), "{verdict:?}");
        assert_eq!(whole(&verdict, "expected", "changes") - whole(&verdict, "actual", "changes"), 2, "{verdict:?}");
    }
    world.pages_max.store(0, Ordering::Relaxed);
    loop {
        world.engine.tick();
        let verdicts = world.compare().await;
        assert_ne!(status_of(&verdicts, "documents/games"), VerdictStatus::Discrepancy, "{verdicts:?}");
        if status_of(&verdicts, LOG) == VerdictStatus::Verified {
            break;
        }
        tokio::task::yield_now().await;
    }
    world.assert_verified().await;
    world.stop().await;
}

#[tokio::test]
async fn documents_that_are_not_for_the_disk_are_counted_apart() {
    let collections = [Collection::new("rooms").unwrap()].into();
    let mut world =
        TestLog::with(Setting { volatile: Volatile { collections, ..Volatile::default() }, ..Setting::default() });
    world.rounds(&["games/a", "rooms/x", "rooms/y"], 3).await;
    world.assert_verified().await;
    let verdict = world.verdict("documents/rooms").await;
    assert_eq!((verdict.counts["documents"].whole(), verdict.counts["volatile"].whole()), (Some(0), Some(2)));
    let verdict = world.verdict("documents/games").await;
    assert_eq!((verdict.counts["documents"].whole(), verdict.counts["changes"].whole()), (Some(1), Some(3)));
    assert!(!verdict.counts.contains_key("volatile"));
    world.stop().await;
}

#[tokio::test]
async fn what_is_trimmed_purged_and_created_again_is_no_difference() {
    let mut world = TestLog::with(Setting { history: Some(3), ring_events: Some(10), ..Setting::default() });
    for round in 1..40 {
        world.rounds(&["games/a", "games/b", "games/c"], round % 5).await;
        if round % 7 == 0 {
            world.engine.purge(named("games/b"), Viewer::Owner, None).await.unwrap();
        }
        if round % 9 == 0 {
            world.write("games/c", WriteOperation::Delete).await;
        }
        if round % 2 == 0 {
            world.assert_verified().await;
        }
        if round % 13 == 0 {
            world.comparer.compare(Some(&["documents/games".to_owned()])).await.unwrap();
            assert!(world.scrub().await.is_empty());
        }
    }
    let mut world = world.restart().await;
    world.assert_verified().await;
    world.stop().await;
}

#[tokio::test]
async fn only_the_named_services_are_told_of() {
    let mut world = TestLog::new();
    world.rounds(&["games/a", "tables/a"], 2).await;
    let verdicts = world.comparer.compare(Some(&["documents/games".to_owned()])).await.unwrap();
    let services: Vec<&str> = verdicts.iter().map(|verdict| verdict.service.as_str()).collect();
    assert_eq!(services, ["documents/games"]);
    assert!(world.comparer.compare(Some(&["documents/none".to_owned()])).await.unwrap().is_empty());
    world.stop().await;
}
