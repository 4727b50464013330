//! The problem types of this feature.

use crate::base::error::{Kind, ProblemType};

pub(crate) static WORDS_ARE_COUNTED: ProblemType = ProblemType {
    slug: "words-are-counted",
    kind: Kind::AlreadyExists,
    title: "The words of this project are counted",
    meaning: "The project has chapters, whose texts are counted: nobody says how many words it has.",
    remedy: "Leave wordCount out. What counts is what is in the chapters.",
};

pub(crate) static PHASE_IS_CURRENT: ProblemType = ProblemType {
    slug: "phase-is-current",
    kind: Kind::AlreadyExists,
    title: "The project is in this phase already",
    meaning: "The phase that is asked for is the one that the project is in.",
    remedy: "Nothing is to be done; the progress of the project tells its phase.",
};

pub(crate) static PHASE_NEEDS_REASON: ProblemType = ProblemType {
    slug: "phase-needs-reason",
    kind: Kind::AlreadyExists,
    title: "Going back takes a reason",
    meaning: "The phase that is asked for comes before the one that the project is in, and no reason is given.",
    remedy: "POST to the phases of the project, with to and reason.",
};

pub(crate) static CHECKED_LATELY: ProblemType = ProblemType {
    slug: "checked-lately",
    kind: Kind::RateLimited,
    title: "The project was checked a moment ago",
    meaning: "A project is checked at most once in a while, by itself and by request.",
    remedy: "Wait as long as retryAfterSeconds says. A change is checked by itself by then.",
};

pub(crate) static WARNING_NOT_OPEN: ProblemType = ProblemType {
    slug: "warning-not-open",
    kind: Kind::AlreadyExists,
    title: "The warning is not open",
    meaning: "Only an open warning is resolved or dismissed, and one that is named here is so already.",
    remedy: "Read the warning to see who did that, and leave it out.",
};

pub(crate) const PROBLEMS: &[&ProblemType] =
    &[&WORDS_ARE_COUNTED, &PHASE_IS_CURRENT, &PHASE_NEEDS_REASON, &CHECKED_LATELY, &WARNING_NOT_OPEN];
