//! The problem types of this feature.

use crate::base::error::{Kind, ProblemType};

pub(crate) static NOT_DIFFERENT: ProblemType = ProblemType {
    slug: "not-different",
    kind: Kind::AlreadyExists,
    title: "This document or row is as it should be",
    meaning: "Memory and disk were compared, and agree on this document, or the row of this table is as the server \
              wrote it: there is nothing to mend.",
    remedy: "Read the verdict on its collection or table. If another was meant, name that.",
};

/// All of them, in the order of the index page.
pub(crate) static PROBLEMS: &[&ProblemType] = &[&NOT_DIFFERENT];
