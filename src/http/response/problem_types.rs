//! The problem types that are no feature's: what each is called, what it means and what to do about it. The one place
//! for their words; the renderer, the pages and the OpenAPI document are made from it.

use http::StatusCode;

use crate::base::error::{Error, Kind, ProblemType};
use crate::http::protocol_problems::PROTOCOL;

pub(crate) static TOO_LARGE: ProblemType = ProblemType {
    slug: "too-large",
    kind: Kind::TooLarge,
    title: "This is too large",
    meaning: "The body, the state that it would make, or its nesting is beyond a bound of this server.",
    remedy: "Split the change, or keep large things elsewhere and put a reference into the document.",
};

/// One for each [`Kind`], in the order of the index page. Two kinds share `version-conflict`.
pub(crate) static GENERAL: &[&ProblemType] = &[
    &ProblemType {
        slug: "invalid-request",
        kind: Kind::Invalid,
        title: "The request is not valid",
        meaning: "A part of the request is malformed, mistyped or unknown: the body, the query, an id or a header.",
        remedy: "Read errors: it names each field and what is wrong with it. Nothing was changed; mend the request and \
                 send it again.",
    },
    &ProblemType {
        slug: "unauthenticated",
        kind: Kind::Unauthenticated,
        title: "Nobody knows who is asking",
        meaning: "The server cannot tell who is asking, or the request shows a session that is unknown, has ended, or \
                  is somebody else's.",
        remedy: "Open a new session with POST /api/v1/sessions, or show none; and connect from a place that the server \
                 knows: the machine that it runs on, or the private network that it serves.",
    },
    &ProblemType {
        slug: "forbidden",
        kind: Kind::Forbidden,
        title: "This is not allowed",
        meaning: "The caller is known and may not do this, or the request came from a web page of another origin.",
        remedy: "Ask the host of the document. A page is let in when the server serves it itself (--public FOLDER), \
                 or is started with the page's origin: --allowed-origin http://localhost:5173.",
    },
    &ProblemType {
        slug: "not-found",
        kind: Kind::NotFound,
        title: "There is no such thing",
        meaning: "There is nothing at this path, or no document of this name.",
        remedy: "Check the path and the id.",
    },
    &ProblemType {
        slug: "already-exists",
        kind: Kind::AlreadyExists,
        title: "It exists already",
        meaning: "A document of this name is there already.",
        remedy: "Choose another id, leave it out to be given one, or change the document that is there.",
    },
    &version_conflict(Kind::VersionConflict),
    &version_conflict(Kind::PreconditionFailed),
    &ProblemType {
        slug: "gone",
        kind: Kind::Gone,
        title: "It was deleted",
        meaning: "The document was deleted.",
        remedy: "Its history can still be read up to lastVersion; creating it again goes on from there.",
    },
    &TOO_LARGE,
    &ProblemType {
        slug: "action-rejected",
        kind: Kind::Rejected,
        title: "The rules say no",
        meaning: "The rules of this collection do not allow the action in the present state.",
        remedy: "The detail is the rules' own reason. Nothing was changed.",
    },
    &ProblemType {
        slug: "patch-failed",
        kind: Kind::PatchFailed,
        title: "The patch does not apply",
        meaning: "An operation of the patch does not apply to the state, or one of its tests does not hold.",
        remedy: "operation counts from 0 and says which. Nothing was changed; read the document and make the patch \
                 anew.",
    },
    &ProblemType {
        slug: "idempotency-mismatch",
        kind: Kind::IdempotencyMismatch,
        title: "This key was used for another request",
        meaning: "The Idempotency-Key was used before, for a different request.",
        remedy: "Use a new key for each new request, and the same one only to repeat a request unchanged.",
    },
    &ProblemType {
        slug: "rate-limited",
        kind: Kind::RateLimited,
        title: "These are too many requests",
        meaning: "The caller sent more requests than their limit allows.",
        remedy: "Wait the seconds in Retry-After, and send fewer. rule says which limit it was; RateLimit on every \
                 answer says how many requests are left.",
    },
    &ProblemType {
        slug: "internal",
        kind: Kind::Internal,
        title: "Something went wrong on our side",
        meaning: "A fault of the server. What happened is in its log and not in the answer.",
        remedy: "Tell whoever runs the server the requestId: its log has the same.",
    },
    &ProblemType {
        slug: "damaged-document",
        kind: Kind::Damaged,
        title: "What is stored does not add up",
        meaning: "What is stored of this document contradicts itself, so it is not served: a wrong answer would be \
                  worse.",
        remedy: "Versions up to lastGoodVersion can still be read: the host can roll the document back to one of them, \
                 and it goes on from there; or restore the database from a backup. Other documents are not affected.",
    },
    &ProblemType {
        slug: "moved",
        kind: Kind::Moved,
        title: "The document is on another server now",
        meaning: "The document was moved to another server and goes on there.",
        remedy: "Location names the new address of what was asked for, and to the server.",
    },
    &ProblemType {
        slug: "frozen",
        kind: Kind::Frozen,
        title: "The document is moving between servers",
        meaning: "The document is on its way from one server to another. Nothing was changed.",
        remedy: "Try again after the seconds in Retry-After, with the same Idempotency-Key.",
    },
    &ProblemType {
        slug: "storage-unavailable",
        kind: Kind::StorageUnavailable,
        title: "Storage takes no writes now",
        meaning: "The disk does not take writes at present, and as much as may wait for it is waiting already.",
        remedy: "Try again after the seconds in Retry-After, with the same Idempotency-Key.",
    },
    &ProblemType {
        slug: "too-many-streams",
        kind: Kind::TooManyStreams,
        title: "You have too many streams open",
        meaning: "As many streams are open as one user may have (streams-per-user-max).",
        remedy: "Close streams that nobody needs, or follow many documents on one: GET /api/v1/stream. Then try again.",
    },
    &ProblemType {
        slug: "identity-unavailable",
        kind: Kind::IdentityUnavailable,
        title: "It cannot be found out who you are",
        meaning: "The server asks tailscaled who is at the other end of each connection, and gets no answer that it \
                  can use. Until it does, nobody is let in.",
        remedy: "Try again after the seconds in Retry-After. If it lasts, look at the server's log: it says what is \
                 wrong with tailscaled.",
    },
    &ProblemType {
        slug: "storage-full",
        kind: Kind::StorageFull,
        title: "Storage is full",
        meaning: "The disk is full, and as much as may wait for it is waiting already.",
        remedy: "Make room on the disk of the server; it goes on by itself. Then try again.",
    },
];

/// Stands in for a kind that [`GENERAL`] lacks; a test holds that it lacks none.
static UNNAMED: ProblemType = ProblemType {
    slug: "internal",
    kind: Kind::Internal,
    title: "Something went wrong on our side",
    meaning: "",
    remedy: "",
};

/// What problems of a type name it by, and the path of its page.
pub(crate) fn path(problem: &ProblemType) -> String {
    format!("/problems/{}", problem.slug)
}

/// The type of an error that names none of its own.
pub(crate) fn of_kind(kind: Kind) -> &'static ProblemType {
    GENERAL.iter().copied().find(|problem| problem.kind == kind).unwrap_or(&UNNAMED)
}

/// The type of `error`: its own, or its kind's.
pub(crate) fn of(error: &Error) -> &'static ProblemType {
    error.problem_type().unwrap_or_else(|| of_kind(error.kind()))
}

/// All that are no feature's, in the order of the index page.
pub(crate) fn all() -> impl Iterator<Item = &'static ProblemType> {
    GENERAL.iter().copied().chain(PROTOCOL.iter().map(|(problem, _)| *problem))
}

/// The status of a problem: its own, or that of its kind.
pub(crate) fn status(problem: &ProblemType) -> StatusCode {
    let own = PROTOCOL.iter().find(|(known, _)| *known == problem);
    own.map_or_else(|| status_of_kind(problem.kind), |(_, status)| *status)
}

/// The status of each kind. No wildcard: a new kind must be given one here.
const fn status_of_kind(kind: Kind) -> StatusCode {
    use StatusCode as S;
    match kind {
        Kind::Invalid => S::BAD_REQUEST,
        Kind::Unauthenticated => S::UNAUTHORIZED,
        Kind::Forbidden => S::FORBIDDEN,
        Kind::NotFound => S::NOT_FOUND,
        Kind::AlreadyExists | Kind::VersionConflict => S::CONFLICT,
        Kind::PreconditionFailed => S::PRECONDITION_FAILED,
        Kind::Gone => S::GONE,
        Kind::TooLarge => S::PAYLOAD_TOO_LARGE,
        Kind::Rejected | Kind::PatchFailed | Kind::IdempotencyMismatch => S::UNPROCESSABLE_ENTITY,
        Kind::RateLimited | Kind::TooManyStreams => S::TOO_MANY_REQUESTS,
        Kind::Internal | Kind::Damaged => S::INTERNAL_SERVER_ERROR,
        Kind::Moved => S::PERMANENT_REDIRECT,
        Kind::Frozen | Kind::IdentityUnavailable | Kind::StorageUnavailable => S::SERVICE_UNAVAILABLE,
        Kind::StorageFull => S::INSUFFICIENT_STORAGE,
    }
}

/// One type with two statuses: 409 for `expectedVersion`, 412 for a header.
const fn version_conflict(kind: Kind) -> ProblemType {
    ProblemType {
        slug: "version-conflict",
        kind,
        title: "Someone else was faster",
        meaning: "Someone else changed the document since the version that this write was made for. With \
                  expectedVersion the status is 409, with If-Match or If-None-Match it is 412.",
        remedy: "currentVersion, currentHash and current say what the document is now: make the change anew from \
                 there.",
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_kind_has_a_type() {
        let kinds: BTreeSet<usize> = GENERAL.iter().map(|problem| problem.kind as usize).collect();
        // The last of the enum.
        assert_eq!(kinds, (0..=Kind::StorageFull as usize).collect());
        assert_eq!(GENERAL.len(), kinds.len(), "each kind once");
    }

    #[test]
    fn types_of_one_slug_have_one_text() {
        for (a, b) in GENERAL.iter().flat_map(|a| GENERAL.iter().map(move |b| (a, b))).filter(|(a, b)| a.slug == b.slug)
        {
            assert_eq!((a.title, a.meaning, a.remedy), (b.title, b.meaning, b.remedy));
        }
    }
}
