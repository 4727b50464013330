//! The problem types of this feature.

use crate::base::error::{Kind, ProblemType};

pub(crate) static SESSIONS_FULL: ProblemType = ProblemType {
    slug: "sessions-full",
    kind: Kind::AlreadyExists,
    title: "There are as many sessions as there may be",
    meaning: "The server keeps a bounded number of sessions, in all and of one user, and there are that many. One that \
              is opened by another ends only such as that one opened.",
    remedy: "End some of your own at /api/v1/sessions; an administrator can end any at /api/v1/admin/sessions; those \
             that nobody uses expire by themselves.",
};

/// All of them, in the order of the index page.
pub(crate) static PROBLEMS: &[&ProblemType] = &[&SESSIONS_FULL];
