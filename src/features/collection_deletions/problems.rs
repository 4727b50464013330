//! The problem type of this feature.

use crate::base::error::{Kind, ProblemType};

pub(crate) static COLLECTION_MOVES: ProblemType = ProblemType {
    slug: "collection-moves",
    kind: Kind::AlreadyExists,
    title: "A document of this collection is on its way between servers",
    meaning: "A collection is deleted as a whole, and one of its documents is about to leave for another server, or on \
              its way here. It takes no changes until it has arrived.",
    remedy: "Try again when the move has ended, or cancel it.",
};
