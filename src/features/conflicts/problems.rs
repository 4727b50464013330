//! The problem types of this feature.

use crate::base::error::{Kind, ProblemType};

pub(crate) static UNKNOWN_BASE: ProblemType = ProblemType {
    slug: "unknown-base",
    kind: Kind::VersionConflict,
    title: "Nobody knows what the edits were made of",
    meaning: "The edits were made of a version of the document that is no longer kept, never was, or has another hash: \
              without it they cannot be told from what others changed.",
    remedy: "Take the document as it is now, which current shows, make the edits again and send them as they are.",
};

pub(crate) static CONFLICT_MOVED: ProblemType = ProblemType {
    slug: "conflict-moved",
    kind: Kind::VersionConflict,
    title: "What the conflict is about has changed since",
    meaning: "Somebody changed the place in the document after the conflict was found. The member value shows what \
              stands there now; without it nothing does.",
    remedy: "Look at the new value, decide again, and send currentVersion as expectedVersion.",
};

pub(crate) static CONFLICT_RESOLVED: ProblemType = ProblemType {
    slug: "conflict-resolved",
    kind: Kind::AlreadyExists,
    title: "This conflict is resolved",
    meaning: "Somebody has resolved the conflict already.",
    remedy: "Read the conflict to see how. To change the document again, change it directly.",
};

/// All of them, in the order of the index page.
pub(crate) static PROBLEMS: &[&ProblemType] = &[&UNKNOWN_BASE, &CONFLICT_MOVED, &CONFLICT_RESOLVED];
