//! The problem types of this feature.

use crate::base::error::{Kind, ProblemType};

pub(crate) static GAME_ELSEWHERE: ProblemType = ProblemType {
    slug: "game-elsewhere",
    kind: Kind::VersionConflict,
    title: "One of the games is on another server now",
    meaning: "A batch happens on one server, whole or not at all, and one of its games is on another. Nothing was \
              changed.",
    remedy: "index names the operation, document its game, and to the server that it is at: send what is about it \
             there, and the rest here.",
};

/// All of them, in the order of the index page.
pub(crate) static PROBLEMS: &[&ProblemType] = &[&GAME_ELSEWHERE];
