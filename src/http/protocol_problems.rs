//! Problems of the protocol: what is wrong with a request before anybody knows what it asks. They have statuses that no
//! [`Kind`] of error has.

use http::StatusCode;

use crate::base::error::{Kind, ProblemType};

pub(crate) static METHOD_NOT_ALLOWED: ProblemType = ProblemType {
    slug: "method-not-allowed",
    kind: Kind::Invalid,
    title: "This cannot be asked here",
    meaning: "The path exists and does not take this method.",
    remedy: "The header Allow names the methods that it takes.",
};

pub(crate) static REQUEST_TIMEOUT: ProblemType = ProblemType {
    slug: "request-timeout",
    kind: Kind::Invalid,
    title: "The request did not come in time",
    meaning: "The body of the request paused for too long or took too long in all.",
    remedy: "Nothing was changed; send it again, over a better connection or in smaller parts.",
};

pub(crate) static UNSUPPORTED_MEDIA_TYPE: ProblemType = ProblemType {
    slug: "unsupported-media-type",
    kind: Kind::Invalid,
    title: "Bodies of this type are not taken here",
    meaning: "The body is not of a type that is taken here.",
    remedy: "Set Content-Type to one of those in accepted, with UTF-8 text.",
};

pub(crate) static MISDIRECTED_HOST: ProblemType = ProblemType {
    slug: "misdirected-host",
    kind: Kind::Invalid,
    title: "This host name is not ours",
    meaning: "The request was addressed to a host name that this server does not go by. This protects against web \
              pages that turn their own name to the address of this server.",
    remedy: "Use the address that the server printed at its start, or add the name to its configuration.",
};

/// All of them, in the order of the index page, with their statuses.
pub(crate) static PROTOCOL: &[(&ProblemType, StatusCode)] = &[
    (&METHOD_NOT_ALLOWED, StatusCode::METHOD_NOT_ALLOWED),
    (&REQUEST_TIMEOUT, StatusCode::REQUEST_TIMEOUT),
    (&UNSUPPORTED_MEDIA_TYPE, StatusCode::UNSUPPORTED_MEDIA_TYPE),
    (&MISDIRECTED_HOST, StatusCode::MISDIRECTED_REQUEST),
];
