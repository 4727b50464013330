//! The problem types of this feature.

use crate::base::error::{Kind, ProblemType};

pub(crate) static SERVICE_TOKENS_FULL: ProblemType = ProblemType {
    slug: "service-tokens-full",
    kind: Kind::AlreadyExists,
    title: "There are as many service tokens as there may be",
    meaning: "The server keeps a bounded number of service tokens, and there are that many. They do not expire.",
    remedy: "End those that nothing uses any more: GET /api/v1/service-tokens tells when each was last used.",
};

/// All of them, in the order of the index page.
pub(crate) static PROBLEMS: &[&ProblemType] = &[&SERVICE_TOKENS_FULL];
