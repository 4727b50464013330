//! The problem types that the engine itself raises.

use crate::base::error::{Kind, ProblemType};

pub(crate) static NOT_PERSISTENT: ProblemType = ProblemType {
    slug: "not-persistent",
    kind: Kind::AlreadyExists,
    title: "This game lives in memory only",
    meaning: "The game lives in memory only, since persistence of new games was turned off when it was created. It is \
              played as any other, with seats, tokens and an end, for as long as the server runs; but it cannot be \
              stored whole, read back, removed for good or moved to another server.",
    remedy: "Play on, or ask who runs the server to turn persistence on and open a new game. To end this one, delete \
             it.",
};

pub(crate) static NOT_IN_MEMORY: ProblemType = ProblemType {
    slug: "not-in-memory",
    kind: Kind::AlreadyExists,
    title: "Memory does not have this document",
    meaning: "The document was found different, but it is not in memory, and of what memory remembers of it nothing is \
              left on disk. It cannot be written anew from memory.",
    remedy: "Repair it from the disk, or restore a backup.",
};

/// All of them, in the order of the index page.
pub(crate) static PROBLEMS: &[&ProblemType] = &[&NOT_PERSISTENT, &NOT_IN_MEMORY];
