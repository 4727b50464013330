//! Making, locking, refusing.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use super::*;
use crate::store::options::INTEGRITY_KEY_NAME;

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

fn open_error(options: StoreOptions) -> OpenError {
    match open(options) {
        Ok(_) => panic!("it was opened"),
        Err(error) => error,
    }
}

#[test]
fn nobody_else_can_read_the_files() {
    let mut world = TestStore::new();
    world.put("games/a", json!({}));
    let data = world.options.data_dir.clone();
    assert_eq!(mode(&data), 0o700);
    let names = [FILE_NAME, LOCK_NAME, INTEGRITY_KEY_NAME, "rejoin.db-wal", "rejoin.db-shm"];
    for name in names {
        assert_eq!(mode(&data.join(name)), 0o600, "{name}");
    }
    assert_eq!(fs::read_dir(&data).unwrap().count(), names.len());
    world.writer = None;
    fs::set_permissions(data.join(FILE_NAME), fs::Permissions::from_mode(0o644)).unwrap();
    world.restart();
    assert_eq!(mode(&data.join(FILE_NAME)), 0o600, "a file put there by hand is closed too");
}

#[test]
fn a_second_store_on_the_same_data_is_refused() {
    let mut world = TestStore::new();
    let error = open_error(world.options.clone());
    assert_eq!(error.exit_code(), 11, "{error}");
    world.restart();
    world.writer.take().unwrap().close();
    assert!(open(world.options.clone()).is_ok(), "closing lets go of it");
}

#[test]
fn what_is_not_ours_is_refused_and_left_as_it_is() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join(FILE_NAME);
    let contents: [&[u8]; 3] = [b"hello", &[b'x'; 5000], &[0; 4096]];
    for content in contents {
        fs::write(&path, content).unwrap();
        let error = open_error(StoreOptions::new(dir.path()));
        assert_eq!(error.exit_code(), 12, "{error}");
        assert_eq!(fs::read(&path).unwrap(), content);
    }
    fs::remove_file(&path).unwrap();
    Connection::open(&path).unwrap().execute_batch("CREATE TABLE theirs (a)").unwrap();
    let before = fs::read(&path).unwrap();
    assert_eq!(open_error(StoreOptions::new(dir.path())).exit_code(), 12);
    assert_eq!(fs::read(&path).unwrap(), before);
}

#[test]
fn other_formats_and_damage_are_refused() {
    let mut world = TestStore::new();
    for round in 0..200 {
        world.put("games/a", json!({ "round": round, "text": "x".repeat(300) }));
    }
    world.writer.take().unwrap().close();
    world.reader = {
        let dir = tempfile::tempdir().unwrap();
        open(StoreOptions::new(dir.path())).unwrap().1
    };
    let path = world.options.data_dir.join(FILE_NAME);
    for (found, code) in [(6, 13), (-1, 14)] {
        world.tamper(&format!("UPDATE documents SET key = key; PRAGMA user_version = {found}"));
        let error = open_error(world.options.clone());
        assert_eq!(error.exit_code(), code, "{error}");
        assert_eq!(error.to_string().lines().count(), 1);
    }
    world.tamper("UPDATE documents SET key = key; PRAGMA user_version = 5");
    drop(open(world.options.clone()).unwrap());
    let whole = fs::read(&path).unwrap();
    for length in [whole.len() - 4096, 4096, 5000, 100] {
        fs::write(&path, &whole[..length]).unwrap();
        let error = open_error(world.options.clone());
        assert!(matches!(error.exit_code(), 12 | 14), "{length}: {error}");
    }
    fs::write(&path, &whole).unwrap();
    world.tamper("DROP TABLE snapshots; UPDATE documents SET key = key");
    assert_eq!(open_error(world.options.clone()).exit_code(), 14);
}

#[test]
fn a_place_that_cannot_be_written_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    // Modes do not stop root, who may run this: a file where the directory should be stops everyone.
    let file = dir.path().join("file");
    fs::write(&file, "").unwrap();
    for place in [file.clone(), file.join("below")] {
        let error = open_error(StoreOptions::new(place));
        assert_eq!(error.exit_code(), 10, "{error}");
    }
    let taken = dir.path().join("taken");
    fs::create_dir_all(taken.join(FILE_NAME)).unwrap();
    assert_eq!(open_error(StoreOptions::new(taken)).exit_code(), 10);
}
