//! Bounded history: exactly what the bounds say is kept, and all of it can be visited and verified.

use std::time::Duration;

use super::*;
use crate::base::error::Kind;

fn bounded(events_max: u64, seconds: u64) -> TestStore {
    TestStore::with(|options| options.history = HistoryRetention { events_max, kept: Duration::from_secs(seconds) })
}

fn fill(world: &mut TestStore, versions: std::ops::RangeInclusive<u64>, snapshot_each: u64) {
    for round in versions {
        world.change("games/a", (round % 9 != 0).then(|| json!({ "round": round, "cards": [round, round + 1] })));
        if round % snapshot_each == 0 {
            world.snapshot("games/a", true);
        }
        world.commit();
    }
}

fn first(world: &TestStore) -> u64 {
    world.reader.first_version(1).unwrap().0
}

#[test]
fn the_newest_events_are_kept_and_every_kept_version_can_be_visited() {
    for snapshot_each in [1, 3, 10] {
        let mut world = bounded(7, 1_000_000);
        fill(&mut world, 1..=30, snapshot_each);
        world.check();
        assert_eq!(first(&world), 24, "exactly 7 are left after the snapshot at 30");
        assert_eq!(world.count("SELECT count(*) FROM events"), 7);
        assert_eq!(world.count("SELECT min(version) FROM snapshots"), 23, "the base is a snapshot");
        world.restart();
        world.check();
        let base = &world.documents["games/a"][22];
        assert_eq!(world.reader.base_seq(&EventFilter::documents(vec![1])).unwrap(), base.seq);
        let gone = world.reader.state_at(&named("games/a"), Version(22)).unwrap_err();
        assert_eq!((gone.kind(), &gone.details()["firstVersion"]), (Kind::Gone, &json!(23)));
    }
}

#[test]
fn the_kept_chain_verifies_from_the_base_hash() {
    let mut world = bounded(7, 1_000_000);
    fill(&mut world, 1..=30, 10);
    let base: String = Connection::open(world.options.data_dir.join(FILE_NAME))
        .unwrap()
        .query_row("SELECT base_hash FROM documents", [], |row| row.get(0))
        .unwrap();
    let mut hash = Hash::parse(&base).unwrap();
    for event in world.reader.history(&named("games/a"), Version::ZERO, 100, usize::MAX).unwrap() {
        hash = hash.after(&event.body);
        assert_eq!(hash, event.hash);
    }
    assert_eq!(hash, world.documents["games/a"].last().unwrap().hash);
    world.tamper("UPDATE documents SET base_hash = (SELECT hash FROM events LIMIT 1)");
    assert_eq!(world.reader.state_at(&named("games/a"), Version(24)).unwrap_err().kind(), Kind::Damaged);
    assert_eq!(world.reader.history(&named("games/a"), Version(23), 9, 9000).unwrap_err().kind(), Kind::Damaged);
}

#[test]
fn old_events_go_and_the_head_stays_however_old() {
    let mut world = bounded(1000, 5);
    fill(&mut world, 1..=20, 20);
    assert_eq!(first(&world), 15, "one event a second: those of the last 5 s and the newest are kept");
    world.check();
    world.now += 1_000_000;
    world.put("games/b", json!({}));
    world.snapshot("games/a", true);
    world.commit();
    assert_eq!((first(&world), world.count("SELECT count(*) FROM events WHERE document = 1")), (20, 1));
    world.check();
    // Again, with nothing left to trim.
    world.snapshot("games/a", true);
    world.commit();
    world.check();
}

#[test]
fn nothing_is_trimmed_past_the_snapshot_or_without_being_asked() {
    let mut world = bounded(3, 1_000_000);
    fill(&mut world, 1..=10, 100);
    assert_eq!(first(&world), 1);
    let old = world.documents["games/a"][3].clone();
    world.batch.snapshots.push(Snapshot { document: old, trim: true, replaces: None, replaceable: false });
    world.commit();
    assert_eq!(first(&world), 5, "the snapshot is at 4");
    world.snapshot("games/a", false);
    world.commit();
    assert_eq!(first(&world), 5);
    world.check();
}

#[test]
fn a_history_that_does_not_verify_is_left_alone_and_stops_nothing() {
    let mut world = bounded(3, 1_000_000);
    fill(&mut world, 1..=10, 100);
    world.tamper("UPDATE events SET body = replace(body, 'set', 'put') WHERE version = 4");
    world.snapshot("games/a", true);
    world.change("games/a", Some(json!({ "round": 11 })));
    world.commit();
    assert_eq!(first(&world), 1);
    assert_same(&world.reader.load(&named("games/a")).unwrap().unwrap(), world.documents["games/a"].last().unwrap());
    assert_eq!(world.writer().head().seq, Seq(11));
}

#[test]
fn whoever_reads_while_history_is_trimmed_sees_one_moment() {
    let mut world = bounded(5, 1_000_000);
    fill(&mut world, 1..=10, 1);
    let reader = world.reader.clone();
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| fill(&mut world, 11..=300, 1));
        let (name, mut last) = (named("games/a"), Version::ZERO);
        while !writer.is_finished() {
            let version = reader.load(&name).unwrap().unwrap().version;
            assert!(version >= last, "never back in time");
            last = version;
            let kept = reader.history(&name, Version::ZERO, 100, usize::MAX).unwrap();
            assert_eq!(kept.len(), 5, "five before and after each trimming, whatever happens between");
            match reader.state_at(&name, kept[0].version) {
                Ok(document) => assert_eq!(document.hash, kept[0].hash),
                Err(error) => assert_eq!(error.kind(), Kind::Gone, "{error}"),
            }
        }
        writer.join().unwrap();
    });
    world.check();
}
