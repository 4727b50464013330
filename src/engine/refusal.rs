//! The errors that only the engine gives.

use crate::base::error::{Error, Kind, Result};
use crate::base::ids::{DocumentName, Version};
use crate::document::model::{Document, Meta};
use crate::engine::problems::{NOT_IN_MEMORY, NOT_PERSISTENT};
use crate::live::relocations::MovedDocument;

/// Why no document is created in a collection.
pub(crate) const RESERVED_COLLECTION: &str =
    "is a name that the server keeps for its own calls; call the collection something else";

/// What is asked needs the disk, which takes no writes.
pub(crate) fn not_stored() -> Error {
    Error::new(Kind::StorageUnavailable, "storage does not take this now; try again")
}

/// The engine has ended, or does not answer any more.
pub(crate) fn stopping() -> Error {
    Error::new(Kind::StorageUnavailable, "the server is stopping")
}

/// Too many changes wait for the disk already. `full`: it fails for lack of room.
pub(crate) fn past_bound(full: bool) -> Error {
    let (kind, message) = if full {
        (Kind::StorageFull, "storage is full, and as many changes wait in memory as may; free some space")
    } else {
        (Kind::StorageUnavailable, "storage does not take writes, and as many changes wait in memory as may")
    };
    Error::new(kind, message).with("retryAfterSeconds", 5)
}

/// The document is to be asked for at another server.
pub(crate) fn moved_elsewhere(moved: &MovedDocument) -> Error {
    moved.problems.moved_error(format!("{} is at {} now", moved.name, moved.to)).with("to", moved.to.as_str())
}

/// The document is not at the version that was expected.
pub(crate) fn changed_since(name: &DocumentName, current: Version) -> Error {
    let message = format!("{name} has changed since it was looked at");
    Error::new(Kind::VersionConflict, message).with("currentVersion", current.0)
}

/// A repair from memory of what memory does not have.
pub(crate) fn not_in_memory(name: &DocumentName) -> Error {
    let message = format!("{name} is not in memory, and nothing on disk is what memory remembers of it");
    NOT_IN_MEMORY.error(message)
}

/// Refuses what needs a document to be on disk, for one that is in memory alone. Error: `AlreadyExists`, named
/// `not-persistent`.
pub(crate) fn check_persistent(document: &Document) -> Result<()> {
    check_persistent_meta(&document.meta)
}

/// See [`check_persistent`].
pub(crate) fn check_persistent_meta(meta: &Meta) -> Result<()> {
    if !meta.volatile {
        return Ok(());
    }
    let name = &meta.name;
    let message = format!(
        "{name} lives in memory only, since it was created while persistence was turned off: nothing of it is kept on \
         disk; go on with it, or have persistence turned on and create a new one"
    );
    Err(NOT_PERSISTENT.error(message))
}
