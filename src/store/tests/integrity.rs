//! What somebody else wrote is told from what the store wrote, also where its checksums are right.

use std::fs;
use std::path::PathBuf;

use super::*;
use crate::base::error::Kind;
use crate::store::options::INTEGRITY_KEY_NAME;
use crate::store::tables::snapshot_checksum;

/// Changes the state of a snapshot of `games/a`, and its checksum along with it.
fn change_snapshot(world: &TestStore, version: u64, state: &str) {
    let document = &world.documents["games/a"][usize::try_from(version).unwrap() - 1];
    let Document { version, hash, seq, updated_at, .. } = &**document;
    let checksum = snapshot_checksum(*hash, *version, *seq, *updated_at, Some(state.as_bytes()));
    let which = format!("document = 1 AND version = {version}");
    world.tamper(&format!("UPDATE snapshots SET state = '{state}', checksum = '{checksum}' WHERE {which}"));
}

/// Ten versions of `games/a` of which the last two events are kept, and a snapshot of the newest.
fn trimmed() -> TestStore {
    let mut world = TestStore::with(|options| options.history.events_max = 2);
    for round in 1..=10 {
        world.change("games/a", Some(json!({ "round": round })));
        if round == 10 {
            world.snapshot("games/a", true);
        }
        world.commit();
    }
    world
}

fn key_file(world: &TestStore) -> PathBuf {
    world.options.data_dir.join(INTEGRITY_KEY_NAME)
}

fn unproven(world: &mut TestStore) -> Option<String> {
    world.writer().unproven().map(str::to_owned)
}

#[test]
fn a_state_that_was_changed_with_its_checksum_is_not_handed_out() {
    let (mut world, name) = (trimmed(), named("games/a"));
    change_snapshot(&world, 10, r#"{"round":99}"#);
    change_snapshot(&world, 8, r#"{"round":98}"#);
    for restarted in [false, true] {
        let error = world.reader.load(&name).unwrap_err();
        assert_eq!(error.kind(), Kind::Damaged, "restarted: {restarted}");
        assert_eq!(error.details()["document"], json!("games/a"));
        assert_eq!(world.reader.state_at(&name, Version(8)).unwrap_err().kind(), Kind::Damaged);
        assert_eq!(world.reader.verify(&name).unwrap_err().kind(), Kind::Damaged);
        let defects = world.reader.read_transaction(|moment| moment.check(1, None)).unwrap().unwrap().defects;
        let versions: Vec<u64> = defects.iter().map(|defect| defect.version.0).collect();
        assert_eq!(versions, [8, 10]);
        world.restart();
    }
}

#[test]
fn a_changed_state_is_passed_over_where_the_events_make_it() {
    let world = trimmed();
    change_snapshot(&world, 10, r#"{"round":99}"#);
    assert_same(&world.reader.load(&named("games/a")).unwrap().unwrap(), world.documents["games/a"].last().unwrap());
}

#[test]
fn a_snapshot_that_another_document_or_nobody_has_is_not_taken() {
    let world = trimmed();
    for sql in [
        "UPDATE snapshots SET mac = NULL",
        "UPDATE snapshots SET mac = replace(mac, substr(mac, 1, 1), 'x')",
        "UPDATE snapshots SET mac = (SELECT mac FROM documents)",
    ] {
        world.tamper(sql);
        assert_eq!(world.reader.load(&named("games/a")).unwrap_err().kind(), Kind::Damaged, "{sql}");
    }
}

#[test]
fn without_its_key_a_file_is_taken_as_it_is_which_is_told() {
    let mut world = trimmed();
    assert_eq!(unproven(&mut world), None);
    let key = fs::read(key_file(&world)).unwrap();
    fs::remove_file(key_file(&world)).unwrap();
    world.writer = None;
    change_snapshot(&world, 8, r#"{"round":98}"#);
    world.restart();
    assert!(unproven(&mut world).unwrap().contains("was not there"));
    // All of it was taken, and is told from what is changed from now on.
    assert_eq!(world.reader.state_at(&named("games/a"), Version(8)).unwrap().state.unwrap(), r#"{"round":98}"#);
    assert_ne!(fs::read(key_file(&world)).unwrap(), key);
    change_snapshot(&world, 8, r#"{"round":97}"#);
    assert_eq!(world.reader.state_at(&named("games/a"), Version(8)).unwrap_err().kind(), Kind::Damaged);
    world.restart();
    assert_eq!(unproven(&mut world), None, "it is told once");
}

#[test]
fn a_key_of_another_database_and_what_is_no_key_are_told() {
    for (key, told) in [(format!("{}\n", "7".repeat(64)), "is not the one"), ("no key".to_owned(), "was not there")] {
        let mut world = trimmed();
        world.writer = None;
        fs::write(key_file(&world), &key).unwrap();
        world.restart();
        assert!(unproven(&mut world).unwrap().contains(told), "{key}");
        world.check_newest();
        world.restart();
        assert_eq!(unproven(&mut world), None);
    }
    let mut world = trimmed();
    world.tamper("UPDATE server SET integrity_key = NULL");
    world.restart();
    assert!(unproven(&mut world).unwrap().contains("without its integrity key"));
}

#[test]
fn a_key_file_that_is_removed_is_written_anew_while_it_runs() {
    let mut world = trimmed();
    let key = fs::read(key_file(&world)).unwrap();
    fs::remove_file(key_file(&world)).unwrap();
    world.writer().keep_key().unwrap();
    assert_eq!(fs::read(key_file(&world)).unwrap(), key);
    let mode = std::os::unix::fs::PermissionsExt::mode(&fs::metadata(key_file(&world)).unwrap().permissions());
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn rows_of_features_get_their_mac_from_the_writer_whatever_statement_writes_them() {
    let mut world = trimmed();
    let mismatches = |world: &TestStore| -> i64 {
        let sql = "SELECT count(*) FROM seats WHERE NOT mac_matches(mac, 'seats', document, player, seat, identity,
                                                                    joined_at)";
        world.reader.rows(|conn| conn.query_row(sql, [], |row| row.get(0)).map_err(sql_error)).unwrap()
    };
    let write = |world: &mut TestStore, sql: &'static str| {
        let now = world.now();
        let mut rows = OneStatement(sql);
        let writer = world.writer.as_mut().unwrap();
        writer.commit_with(&Batch::default(), &mut std::iter::once(&mut rows as &mut dyn Rows), now).unwrap();
    };
    write(&mut world, "INSERT INTO games (document, status) VALUES (1, 'running')");
    write(&mut world, "INSERT INTO seats VALUES (1, 'ann', 0, 'ann', 'x', NULL), (1, 'bob', 1, 'bob', 'x', NULL)");
    write(&mut world, "UPDATE seats SET joined_at = 'y' WHERE player = 'ann'");
    write(
        &mut world,
        "INSERT OR REPLACE INTO seats (document, player, seat, identity, joined_at)
                       VALUES (1, 'bob', 2, 'bob', 'x')",
    );
    write(
        &mut world,
        "INSERT INTO seats (document, player, seat, identity, joined_at) VALUES (1, 'bob', 3, 'bob', 'x')
                       ON CONFLICT (document, player) DO UPDATE SET seat = excluded.seat",
    );
    assert_eq!((world.count("SELECT count(*) FROM seats"), mismatches(&world)), (2, 0));
    world.tamper("UPDATE seats SET identity = 'eve' WHERE player = 'ann'");
    world.tamper("INSERT INTO seats (document, player, seat, identity, joined_at) VALUES (1, 'eve', 5, 'eve', 'x')");
    assert_eq!(mismatches(&world), 2);
    // What was changed is not made good by changing it once more.
    write(&mut world, "UPDATE seats SET joined_at = 'z'");
    assert_eq!(mismatches(&world), 2);
    world.restart();
    write(&mut world, "UPDATE seats SET joined_at = 'w' WHERE player = 'bob'");
    assert_eq!(mismatches(&world), 2);
}

/// Rows of a feature.
struct OneStatement(&'static str);

impl Rows for OneStatement {
    fn write(&mut self, conn: &Connection, _: Timestamp) -> crate::base::error::Result<()> {
        conn.execute_batch(self.0).map_err(sql_error)
    }
}

#[test]
fn an_answer_that_somebody_changed_is_not_given_again() {
    let mut world = trimmed();
    let (fingerprint, at) = (Hash::ZERO, world.now());
    let answer = Bytes::from_static(b"{\"status\":200}");
    let (scope, key) = ("@owner".to_owned(), "k1".to_owned());
    world.batch.keys.push(IdempotencyRow { scope, key, fingerprint, answer: answer.clone(), at, document: Some(1) });
    world.commit();
    assert_eq!(world.writer().find_key("@owner", "k1").unwrap().unwrap().answer, answer);
    world.tamper("UPDATE idempotency_keys SET answer = '{\"status\":201}'");
    let error = world.writer().find_key("@owner", "k1").unwrap_err();
    assert_eq!((error.kind(), error.slug()), (Kind::Damaged, Some("changed-row")));
    assert_eq!(error.details()["row"], json!("idempotency_keys/@owner/k1"));
}
