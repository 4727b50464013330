//! Damage at rest is found and named; nothing wrong is handed out.

use super::*;
use crate::base::error::{Error, Kind};
use crate::document::visibility::Viewer;

/// Twenty versions of one document with snapshots at 5 and 15, one other document beside it.
fn world() -> TestStore {
    let mut world = TestStore::new();
    for round in 1..=20 {
        world.change("games/a", Some(json!({ "round": round, "text": "x".repeat(50) })));
        world.change("games/b", Some(json!({ "round": round })));
        if round % 10 == 5 {
            world.snapshot("games/a", false);
        }
        world.commit();
    }
    world
}

fn assert_names(error: &Error, version: u64, last_good: Option<u64>) {
    assert_eq!(error.kind(), Kind::Damaged, "{error}");
    assert_eq!(error.details().get("document"), Some(&json!("games/a")), "{error}");
    assert_eq!(error.details().get("version"), Some(&json!(version)), "{error}");
    if let Some(good) = last_good {
        assert_eq!(error.details().get("lastGoodVersion"), Some(&json!(good)), "{error}");
    }
}

/// Does `sql` and expects that loading and looking back name `version`, and that the other document is unharmed.
fn check(sql: &str, version: u64, last_good: Option<u64>) {
    let world = world();
    world.tamper(sql);
    assert_names(&world.reader.load(&named("games/a")).unwrap_err(), version, last_good);
    assert_names(&world.reader.state_at(&named("games/a"), Version(20)).unwrap_err(), version, last_good);
    assert_same(&world.reader.load(&named("games/b")).unwrap().unwrap(), world.documents["games/b"].last().unwrap());
}

#[test]
fn each_change_to_an_event_is_found() {
    let at = "WHERE document = 1 AND version = 17";
    check(&format!("UPDATE events SET body = replace(body, '17', '71') {at}"), 17, Some(16));
    check(&format!("UPDATE events SET body = 'no json' {at}"), 17, Some(16));
    check(&format!("UPDATE events SET body = CAST(x'ff' AS TEXT) {at}"), 17, Some(16));
    check(&format!("UPDATE events SET hash = replace(hash, substr(hash, 1, 1), 'x') {at}"), 17, Some(16));
    check(&format!("UPDATE events SET hash = (SELECT hash FROM events WHERE seq = 1) {at}"), 17, Some(16));
    check(&format!("UPDATE events SET deletes = 1 {at}"), 17, Some(16));
    check(&format!("UPDATE events SET seq = 1000 {at}"), 18, Some(17));
    check(&format!("DELETE FROM events {at}"), 17, Some(16));
}

#[test]
fn a_changed_snapshot_is_found_and_passed_over_where_the_events_are_there() {
    let check = |sql: &str| {
        let world = world();
        world.tamper(sql);
        let (name, newest) = (named("games/a"), world.documents["games/a"].last().unwrap());
        assert_same(&world.reader.load(&name).unwrap().unwrap(), newest);
        assert_same(&world.reader.state_at(&name, Version(20)).unwrap(), newest);
        assert_eq!(world.reader.verify(&name).unwrap_err().kind(), Kind::Damaged, "{sql}");
        // Without an event since the snapshot before it the changed one is needed.
        world.tamper("DELETE FROM events WHERE document = 1 AND version = 9");
        assert_eq!(world.reader.load(&name).unwrap_err().kind(), Kind::Damaged, "{sql}");
    };
    let at = "WHERE document = 1 AND version = 15";
    check(&format!("UPDATE snapshots SET state = replace(state, '15', '51') {at}"));
    check(&format!("UPDATE snapshots SET state = NULL {at}"));
    check(&format!("UPDATE snapshots SET hash = (SELECT hash FROM events WHERE seq = 1) {at}"));
    check(&format!("UPDATE snapshots SET at = '2000-01-01T00:00:00.000Z' {at}"));
    check(&format!("UPDATE snapshots SET seq = 3 {at}"));
    check(&format!("UPDATE snapshots SET version = 16 {at}"));
    check(&format!("UPDATE snapshots SET checksum = 'x' {at}"));
}

#[test]
fn a_snapshot_that_outlives_its_event_is_not_trusted() {
    let world = world();
    world.tamper("DELETE FROM events WHERE document = 1 AND version >= 15");
    assert_names(&world.reader.load(&named("games/a")).unwrap_err(), 15, None);
}

#[test]
fn a_lost_snapshot_costs_time_and_nothing_else() {
    let mut world = world();
    world.tamper("DELETE FROM snapshots");
    world.check();
}

#[test]
fn damaged_history_is_found_in_pages_and_streams_too() {
    let world = world();
    world.tamper("UPDATE events SET body = replace(body, '\"round\"', '\"wrong\"') WHERE document = 1 AND version = 7");
    world.tamper("UPDATE events SET body = replace(body, 'set', 'put') WHERE document = 1 AND version = 7");
    let reader = &world.reader;
    assert_names(&reader.history(&named("games/a"), Version(3), 10, usize::MAX).unwrap_err(), 7, None);
    let one = EventFilter::documents(vec![1]);
    let all = EventFilter::collections(vec![crate::base::ids::Collection::new("games").unwrap()]);
    for filter in [one, all] {
        assert_names(&reader.events_between(&filter, Seq(2), Seq(40), 100, usize::MAX).unwrap_err(), 7, None);
    }
    assert_names(&reader.newest_events(100, usize::MAX).unwrap_err(), 7, None);
    // What is behind the snapshot does not need it.
    assert_same(&reader.load(&named("games/a")).unwrap().unwrap(), world.documents["games/a"].last().unwrap());
}

#[test]
fn rows_that_cannot_be_read_name_their_document() {
    let world = world();
    world.tamper("UPDATE events SET hash = 'x' WHERE document = 1 AND version = 17");
    let error = world.reader.history(&named("games/a"), Version(16), 1, usize::MAX).unwrap_err();
    assert_names(&error, 17, None);
    world.tamper("UPDATE documents SET host = 'no id!' WHERE key = 1");
    let errors = [
        world.reader.load(&named("games/a")).unwrap_err(),
        world.reader.state_at(&named("games/a"), Version(3)).unwrap_err(),
        world.reader.history(&named("games/a"), Version(3), 9, usize::MAX).unwrap_err(),
    ];
    for error in errors {
        assert_eq!((error.kind(), &error.details()["document"]), (Kind::Damaged, &json!("games/a")));
    }
    assert!(world.reader.load(&named("games/b")).unwrap().is_some());
}

#[test]
fn events_that_are_missing_are_not_passed_over() {
    let world = world();
    world.tamper("DELETE FROM events WHERE document = 1 AND version = 7");
    let reader = &world.reader;
    for after in [3, 6, 7] {
        assert_names(&reader.history(&named("games/a"), Version(after), 10, usize::MAX).unwrap_err(), 7, None);
    }
    let one = EventFilter::documents(vec![1]);
    assert_names(&reader.events_between(&one, Seq(2), Seq(40), 100, usize::MAX).unwrap_err(), 7, None);
    let all = EventFilter::collections(vec![crate::base::ids::Collection::new("games").unwrap()]);
    assert_names(&reader.events_between(&all, Seq(2), Seq(40), 100, usize::MAX).unwrap_err(), 7, None);
    let games = crate::base::ids::Collection::new("games").unwrap();
    world.tamper("DELETE FROM events WHERE document = 1");
    assert_names(&reader.list(&Viewer::Owner, &games, None, 10, None).unwrap_err(), 1, None);
}

#[test]
fn pages_of_garbage_are_an_error_and_not_data() {
    let mut world = world();
    world.writer.take().unwrap().close();
    let path = world.options.data_dir.join(FILE_NAME);
    let mut bytes = std::fs::read(&path).unwrap();
    let length = bytes.len();
    bytes[4096 * 2..length - 4096].fill(0x5a);
    std::fs::write(&path, &bytes).unwrap();
    match open(world.options.clone()) {
        Err(error) => assert_eq!(error.exit_code(), 14, "{error}"),
        Ok((_writer, reader)) => {
            let error = reader.load(&named("games/a")).unwrap_err();
            assert_eq!((error.kind(), &error.details()["document"]), (Kind::Damaged, &json!("games/a")));
        }
    }
}
