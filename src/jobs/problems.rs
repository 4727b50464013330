//! The problem types of jobs.

use crate::base::error::{Kind, ProblemType};

pub(crate) static CLOCK_DOUBTED: ProblemType = ProblemType {
    slug: "clock-doubted",
    kind: Kind::AlreadyExists,
    title: "The server's clock is doubted",
    meaning: "The server's clock is more than a day from what it was a moment ago, or from the newest event at the \
              start. What removes, ends or moves on by the clock waits until it has run evenly for an hour.",
    remedy: "Set the clock right; or, when it is right, say so: POST /api/v1/admin/clock/confirm.",
};

/// All of them, in the order of the index page.
pub(crate) static PROBLEMS: &[&ProblemType] = &[&CLOCK_DOUBTED];
