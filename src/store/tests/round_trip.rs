//! What was stored comes back, also after a restart.

use super::*;
use crate::base::error::Kind;
use crate::base::ids::{Collection, DocumentId};
use crate::base::limits;
use crate::document::visibility::Viewer;
use crate::store::PageRoom;

fn filled() -> TestStore {
    let mut world = TestStore::new();
    for round in 0..12 {
        for id in ["a", "b", "c"] {
            world.change(&format!("games/{id}"), Some(json!({ "round": round, "pot": [1.5, "ä", null], "id": id })));
        }
        if round % 5 == 4 {
            world.snapshot("games/b", false);
        }
        if round == 6 {
            world.change("games/c", None);
            world.snapshot("games/c", false);
        }
        world.commit();
    }
    world.change("games/a", None);
    world.commit();
    world
}

#[test]
fn every_version_comes_back_also_after_a_restart() {
    let mut world = filled();
    world.check();
    let head = world.writer().head();
    assert_eq!((head.seq, head.hash), (world.seq, world.documents["games/a"].last().unwrap().hash));
    world.restart();
    assert_eq!(world.writer().head(), head);
    assert_eq!(world.reader.head().unwrap(), head);
    assert_eq!(world.writer().next_key(), 4);
    world.check();
    world.put("games/d", json!({}));
    assert_eq!(world.writer().next_key(), 5);
}

#[test]
fn loading_tells_what_the_next_snapshot_would_save() {
    let mut world = filled();
    let loaded = world.writer().load(&named("games/b")).unwrap().unwrap();
    assert_eq!((loaded.snapshot_version, loaded.events_since_snapshot), (Version(10), 2));
    let history = world.reader.history(&named("games/b"), Version(10), 10, usize::MAX).unwrap();
    assert_eq!(loaded.patch_bytes, history.iter().map(|event| event.body.len()).sum::<usize>());
    assert!(world.writer().load(&named("games/x")).unwrap().is_none());
}

#[test]
fn a_list_is_ordered_and_leaves_tombstones_out() {
    let mut world = filled();
    world.put("other/z", json!({}));
    let games = Collection::new("games").unwrap();
    let ids = |entries: Vec<ListedDocument>| entries.iter().map(|e| e.meta.name.id.to_string()).collect::<Vec<_>>();
    assert_eq!(ids(world.reader.list(&Viewer::Owner, &games, None, 10, None).unwrap().0), ["b", "c"]);
    assert_eq!(ids(world.reader.list(&Viewer::Owner, &games, None, 1, None).unwrap().0), ["b"]);
    let after = DocumentId::new("b").unwrap();
    let page =
        world.reader.list(&Viewer::Owner, &games, Some(&after), 10, Some(&mut PageRoom::new(usize::MAX))).unwrap().0;
    let newest = world.documents["games/c"].last().unwrap();
    assert_eq!((page[0].version, page[0].hash, page[0].updated_at), (newest.version, newest.hash, newest.updated_at));
    assert_same(page[0].document.as_ref().unwrap(), newest);
    assert_eq!(world.reader.metas(&games, None, 10).unwrap().len(), 3);
    assert_eq!(world.reader.meta(&named("games/a")).unwrap().unwrap().key, 1);
}

#[test]
fn versions_that_are_not_there_say_which_are() {
    let world = filled();
    let beyond = world.reader.state_at(&named("games/b"), Version(13)).unwrap_err();
    assert_eq!((beyond.kind(), &beyond.details()["currentVersion"]), (Kind::NotFound, &json!(12)));
    assert_eq!(world.reader.state_at(&named("games/b"), Version::ZERO).unwrap_err().kind(), Kind::NotFound);
    assert_eq!(world.reader.state_at(&named("games/b"), Version(u64::MAX)).unwrap_err().kind(), Kind::NotFound);
    assert_eq!(world.reader.state_at(&named("games/x"), Version(1)).unwrap_err().kind(), Kind::NotFound);
    assert_eq!(world.reader.first_version(99).unwrap_err().kind(), Kind::NotFound);
}

#[test]
fn answers_are_remembered_and_forgotten_in_time() {
    let mut world = TestStore::new();
    let row = |key: usize, at: Timestamp| IdempotencyRow {
        scope: "@owner".into(),
        key: format!("k{key}"),
        fingerprint: Hash::ZERO.after(b"request"),
        answer: Bytes::from_static("{\"ä\":1}".as_bytes()),
        at,
        document: None,
    };
    let start = world.now();
    world.batch.keys = (0..250).map(|key| row(key, start)).collect();
    world.commit();
    let found = world.writer().find_key("@owner", "k7").unwrap().unwrap();
    assert_eq!((found.fingerprint, found.answer, found.at), (row(7, start).fingerprint, row(7, start).answer, start));
    assert!(world.writer().find_key("alice", "k7").unwrap().is_none());
    world.now += i64::try_from(limits::IDEMPOTENCY_KEPT.as_millis()).unwrap() + 1;
    for left in [151, 52, 3] {
        world.batch.keys = vec![row(1000 + left, world.now())];
        world.commit();
        assert_eq!(world.count("SELECT count(*) FROM idempotency_keys"), i64::try_from(left).unwrap());
    }
}
