//! The log as streams read it, against naive scans.

use crate::property_tests::cases;
use proptest::prelude::*;

use super::*;
use crate::base::ids::Collection;

const NAMES: [&str; 4] = ["games/a", "games/b", "chat/a", "notes/a"];

/// One change per entry, in commits of three; a snapshot that trims where the entry says so.
fn world(changes: &[(usize, bool)]) -> TestStore {
    let mut world = TestStore::with(|options| options.history.events_max = 3);
    for (index, (which, trim)) in changes.iter().enumerate() {
        let name = NAMES[which % NAMES.len()];
        world.change(name, Some(json!({ "n": index })));
        if *trim {
            world.snapshot(name, true);
        }
        if index % 3 == 2 {
            world.commit();
        }
    }
    world.commit();
    world
}

/// What is kept, by a plain scan: (seq, document, version).
fn rows(world: &TestStore) -> Vec<(u64, i64, u64)> {
    let conn = Connection::open(world.options.data_dir.join(FILE_NAME)).unwrap();
    let mut statement = conn.prepare("SELECT seq, document, version FROM events ORDER BY seq").unwrap();
    let number = |row: &rusqlite::Row<'_>, i| row.get::<_, i64>(i).map(|n| u64::try_from(n).unwrap());
    let found = statement.query_map([], |row| Ok((number(row, 0)?, row.get(1)?, number(row, 2)?))).unwrap();
    found.map(Result::unwrap).collect()
}

fn check_against_scans(changes: &[(usize, bool)], after: u64, to: u64, limit: usize) {
    let world = world(changes);
    let (reader, rows) = (&world.reader, rows(&world));
    let metas: Vec<_> = world.documents.values().map(|versions| versions[0].meta.clone()).collect();
    for meta in &metas {
        let base = reader.first_version(meta.key).unwrap().0 - 1;
        let naive = rows.iter().filter(|r| r.1 == meta.key && r.0 <= after).map(|r| r.2).max().unwrap_or(base);
        assert_eq!(reader.version_at(meta.key, Seq(after)).unwrap(), Version(naive));
    }
    let games = Collection::new("games").unwrap();
    let chat = Collection::new("chat").unwrap();
    let mut filters =
        vec![EventFilter::documents(vec![1, 3, 3, 99]), EventFilter::collections(vec![games.clone(), chat])];
    filters.push(EventFilter { documents: vec![1, 2, 3, 4], collections: vec![games], ..EventFilter::default() });
    filters.push(EventFilter::default());
    for filter in filters {
        let wanted = |key: i64| {
            let of = |meta: &Arc<Meta>| meta.key == key && filter.collections.contains(&meta.name.collection);
            filter.documents.contains(&key) || metas.iter().any(of)
        };
        let naive: Vec<u64> = rows.iter().filter(|r| wanted(r.1) && r.0 > after && r.0 <= to).map(|r| r.0).collect();
        let count = reader.count_between(&filter, Seq(after), Seq(to)).unwrap();
        assert_eq!(count, naive.len() as u64, "{filter:?}");
        let events = reader.events_between(&filter, Seq(after), Seq(to), limit, usize::MAX).unwrap();
        let expected: Vec<u64> = naive.iter().copied().take(limit).collect();
        assert_eq!(events.iter().map(|e| e.seq.0).collect::<Vec<_>>(), expected, "{filter:?}");
        let base =
            world.documents.values().filter(|versions| wanted(versions[0].meta.key)).map(|versions| {
                match reader.first_version(versions[0].meta.key).unwrap().0 {
                    1 => Seq::ZERO,
                    first => versions[usize::try_from(first).unwrap() - 2].seq,
                }
            });
        assert_eq!(reader.base_seq(&filter).unwrap(), base.max().unwrap_or(Seq::ZERO), "{filter:?}");
    }
}

proptest! {
    #![proptest_config(cases(24))]

    #[test]
    fn the_log_reads_like_a_scan(
        changes in prop::collection::vec((0_usize..4, prop::bool::weighted(0.1)), 1..40),
        after in 0_u64..45,
        length in 0_u64..45,
        limit in 0_usize..45,
    ) {
        check_against_scans(&changes, after, after + length, limit);
    }
}

#[test]
fn pages_are_bounded_by_bytes_and_hold_at_least_one_event() {
    let changes: Vec<_> = (0..20).map(|index| (index, false)).collect();
    let world = world(&changes);
    let all = world.reader.newest_events(100, usize::MAX).unwrap();
    assert_eq!(all.iter().map(|e| e.seq.0).collect::<Vec<_>>(), (1..=20).collect::<Vec<_>>());
    let bytes: usize = all[17..].iter().map(|event| event.body.len()).sum();
    assert_eq!(world.reader.newest_events(100, bytes).unwrap().len(), 3);
    assert_eq!(world.reader.newest_events(2, bytes).unwrap().len(), 2);
    assert_eq!(world.reader.newest_events(100, 1).unwrap().len(), 1);
    let everything = EventFilter { documents: vec![1, 2], collections: vec![], ..EventFilter::default() };
    assert_eq!(world.reader.events_between(&everything, Seq(0), Seq(20), 100, 1).unwrap().len(), 1);
    assert_eq!(world.reader.history(&named("games/a"), Version(1), 100, 1).unwrap().len(), 1);
    assert!(world.reader.history(&named("games/a"), Version(99), 100, 1).unwrap().is_empty());
    let one = world.reader.history(&named("games/a"), Version::ZERO, 100, usize::MAX).unwrap();
    assert!(Arc::ptr_eq(&one[0].meta, &one[1].meta), "a page of one document shares its facts");
    assert_eq!(world.reader.event_at(Seq(5)).unwrap(), Some((all[4].hash, 1)));
    assert_eq!(world.reader.event_at(Seq(21)).unwrap(), None);
}
