//! The key in its file beside the database, mode 0600.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use super::key::IntegrityKey;
use crate::store::options::{FILE_NAME, INTEGRITY_KEY_NAME};

/// Where a key comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Origin {
    Read,
    /// There was no file, or none with a key in it.
    Made,
}

/// Where the key of a database belongs.
pub(crate) fn path_beside(database: &Path) -> PathBuf {
    match database.file_name().is_some_and(|name| name == FILE_NAME) {
        true => database.with_file_name(INTEGRITY_KEY_NAME),
        false => database.with_added_extension("integrity-key"),
    }
}

/// Reads the key at `path`. `None`: there is no file, or what is in it is no key.
pub(super) fn read(path: &Path) -> io::Result<Option<IntegrityKey>> {
    match fs::read(path) {
        Ok(bytes) => Ok(std::str::from_utf8(&bytes).ok().and_then(IntegrityKey::parse)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// The same; where there is none, one is made and is on disk when this returns.
pub(super) fn obtain(path: &Path) -> io::Result<(IntegrityKey, Origin)> {
    if let Some(key) = read(path)? {
        return Ok((key, Origin::Read));
    }
    let key = IntegrityKey::random();
    write(path, &key)?;
    Ok((key, Origin::Made))
}

/// Writes the key to `path`, in place of what is there. It is on disk, whole, when this returns.
pub(crate) fn write(path: &Path, key: &IntegrityKey) -> io::Result<()> {
    let part = path.with_added_extension("part");
    let write = || {
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&part)?;
        file.write_all(key.to_text().as_bytes())?;
        file.sync_all()?;
        fs::rename(&part, path)?;
        File::open(path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new(".")))?.sync_all()
    };
    write().inspect_err(|_| drop(fs::remove_file(&part)))
}
