//! The problem types of this feature.

use crate::base::error::{Kind, ProblemType};

pub(crate) static NOT_DIFFERENT: ProblemType = ProblemType {
    slug: "not-different",
    kind: Kind::AlreadyExists,
    title: "This document is the same in memory and on disk",
    meaning: "Memory and disk were compared, and agree on this document: there is nothing to mend.",
    remedy: "Read the verdict on its collection. If another document was meant, name that.",
};

/// All of them, in the order of the index page.
pub(crate) static PROBLEMS: &[&ProblemType] = &[&NOT_DIFFERENT];
