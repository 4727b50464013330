//! Comparing while much is written: every moment is one at which both sides agree.

use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;

/// Compares and scrubs while writers write as fast as they can; whatever it sees must be right.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn comparing_under_load_never_raises_a_false_alarm() {
    let mut world = TestLog::with(Setting { history: Some(20), ring_events: Some(50), ..Setting::default() });
    let compared = Arc::new(AtomicUsize::new(0));
    let writers: Vec<_> = (0..8)
        .map(|writer| {
            let (engine, compared) = (world.engine.clone(), Arc::clone(&compared));
            tokio::spawn(async move {
                for round in 0..10_000_u64 {
                    // However slow the machine is, some comparisons have writes beside them.
                    if round >= 150 && compared.load(Ordering::Relaxed) > 4 {
                        break;
                    }
                    let name = named(&format!("games/w{writer}-{}", round % 5));
                    let operation = match round % 17 {
                        16 => WriteOperation::Delete,
                        _ => WriteOperation::Put { state: state(round) },
                    };
                    let request = Request { name: name.clone(), operation, expected: Expected::default() };
                    // Deleting what is deleted is refused.
                    let _ = engine.write(Write { requests: vec![request], viewer: Viewer::Owner, key: None }).await;
                    if round % 40 == 39 {
                        engine.purge(name, Viewer::Owner, None).await.unwrap();
                    }
                }
            })
        })
        .collect();
    let all = ["documents/games".to_owned(), LOG.to_owned()];
    while writers.iter().any(|writer| !writer.is_finished()) {
        world.assert_verified().await;
        let verdicts = world.comparer.compare(Some(&all)).await.unwrap();
        assert!(verdicts.iter().all(|verdict| verdict.status == VerdictStatus::Verified), "{verdicts:?}");
        assert!(world.comparer.scrub_step(1 << 18).await.unwrap().is_empty());
        compared.fetch_add(1, Ordering::Relaxed);
    }
    for writer in writers {
        writer.await.unwrap();
    }
    assert!(compared.load(Ordering::Relaxed) > 4, "the writers gave up before");
    world.assert_verified().await;
    assert!(world.scrub().await.is_empty());
    world.stop().await;
}

/// More documents than are recorded between two comparisons: it starts anew from what the disk has.
#[tokio::test]
async fn more_changes_than_are_recorded_are_no_difference() {
    let mut world = TestLog::with(Setting { changes_max: Some(20), ..Setting::default() });
    world.put("games/before", state(1)).await;
    world.assert_verified().await;
    let before = world.verdict("documents/games").await.checksum;
    for number in 0..30 {
        world.put(&format!("games/g{number}"), state(1)).await;
    }
    world.assert_verified().await;
    let verdict = world.verdict("documents/games").await;
    assert_eq!(verdict.counts["documents"].whole(), Some(31));
    assert_ne!(verdict.checksum, before);
    world.put("games/g0", state(2)).await;
    world.assert_verified().await;
    world.tamper("UPDATE events SET body = body || ' ' WHERE seq = 5");
    assert_eq!(world.verdict("documents/games").await.status, VerdictStatus::Discrepancy);
    world.stop().await;
}
