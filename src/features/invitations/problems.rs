//! The problem types of this feature.

use crate::base::error::{Kind, ProblemType};

const ASK_AGAIN: &str = "Ask whoever sent the link for another.";

pub(crate) static UNKNOWN: ProblemType = ProblemType {
    slug: "invitation-unknown",
    kind: Kind::NotFound,
    title: "There is no such invitation",
    meaning: "The token is none of an invitation that is kept here: the link is not whole, or is of another server, or \
              its invitation was over long ago.",
    remedy: "Open the link as it was sent, with all that follows the #; else ask whoever sent it for another.",
};

pub(crate) static USED: ProblemType = ProblemType {
    slug: "invitation-used",
    kind: Kind::Gone,
    title: "The invitation is used up",
    meaning: "An invitation lets in as many people as its maker said, and that many have come in by it.",
    remedy: ASK_AGAIN,
};

pub(crate) static EXPIRED: ProblemType = ProblemType {
    slug: "invitation-expired",
    kind: Kind::Gone,
    title: "The invitation has expired",
    meaning: "An invitation is good for a time that its maker set, and that is over.",
    remedy: ASK_AGAIN,
};

pub(crate) static ENDED: ProblemType = ProblemType {
    slug: "invitation-ended",
    kind: Kind::Gone,
    title: "The invitation was ended",
    meaning: "Whoever made the invitation, or an administrator, has ended it.",
    remedy: ASK_AGAIN,
};

pub(crate) static DOCUMENTS_GONE: ProblemType = ProblemType {
    slug: "invitation-documents-gone",
    kind: Kind::Gone,
    title: "What the invitation was for is gone",
    meaning: "The documents that the invitation was for were deleted. It is not for others that have their names.",
    remedy: ASK_AGAIN,
};

pub(crate) static NAME_TAKEN: ProblemType = ProblemType {
    slug: "name-taken",
    kind: Kind::AlreadyExists,
    title: "Somebody there has this name",
    meaning: "Whoever takes part in a document, follows it or was invited to it has a name of their own there; names \
              that differ by case alone are one.",
    remedy: "Take another name.",
};

pub(crate) static INVITATIONS_FULL: ProblemType = ProblemType {
    slug: "invitations-full",
    kind: Kind::AlreadyExists,
    title: "There are as many invitations as there may be",
    meaning: "The server keeps a bounded number of invitations, also for some time after they are over.",
    remedy: "Wait until some are forgotten, 30 days after they are over; one invitation may be used by many (uses).",
};

pub(crate) static NAMES_FULL: ProblemType = ProblemType {
    slug: "names-full",
    kind: Kind::AlreadyExists,
    title: "As many people have a name as may",
    meaning: "The server keeps the names of those who came in by an invitation, and a bounded number of them.",
    remedy: "Invite people by their user, which needs no name, or wait: names are forgotten about a year after what \
             their people were invited to was deleted.",
};

/// All of them, in the order of the index page.
pub(crate) static PROBLEMS: &[&ProblemType] =
    &[&UNKNOWN, &USED, &EXPIRED, &ENDED, &DOCUMENTS_GONE, &NAME_TAKEN, &NAMES_FULL, &INVITATIONS_FULL];
