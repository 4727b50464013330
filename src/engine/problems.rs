//! The problem types that the engine itself raises.

use crate::base::error::{Kind, ProblemType};

pub(crate) static NOT_PERSISTENT: ProblemType = ProblemType {
    slug: "not-persistent",
    kind: Kind::AlreadyExists,
    title: "This document lives in memory only",
    meaning: "The document lives in memory only, since persistence of its collection was turned off when it was \
              created. It is used as any other for as long as the server runs; but it cannot be stored whole, read \
              back, merged with edits that were made offline, removed for good or moved to another server.",
    remedy: "Go on with it, or ask who runs the server to turn persistence on and create a new one. To end this one, \
             delete it.",
};

pub(crate) static NOT_IN_MEMORY: ProblemType = ProblemType {
    slug: "not-in-memory",
    kind: Kind::AlreadyExists,
    title: "Memory does not have this",
    meaning: "The document, or row of a table, was found different, but it is not in memory, and of what memory \
              remembers of it nothing is left on disk. It cannot be written anew from memory.",
    remedy: "Repair it from the disk, or restore a backup.",
};

pub(crate) static RESCUE_REFUSED: ProblemType = ProblemType {
    slug: "rescue-refused",
    kind: Kind::AlreadyExists,
    title: "Nothing is rescued to this file",
    meaning: "A rescue writes everything to a new file while storage fails, and the server goes on with that. Either \
              storage works, or the path is not one that a rescue writes to.",
    remedy: "Read storage in /readyz. Name the absolute path of a file that does not exist, in a folder that does, \
             which no other server uses.",
};

/// All of them, in the order of the index page.
pub(crate) static PROBLEMS: &[&ProblemType] = &[&NOT_PERSISTENT, &NOT_IN_MEMORY, &RESCUE_REFUSED];
