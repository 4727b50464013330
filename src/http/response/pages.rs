//! What problems mean and what to do about them, for people: `GET /problems` and `GET /problems/{slug}`.

use axum::response::{IntoResponse, Response};
use data_encoding::BASE64;
use http::HeaderMap;
use http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderValue, VARY};
use serde::Serialize;
use sha2::{Digest, Sha256};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::base::error::{Error, Result};
use crate::http::request::headers::prefers;
use crate::http::response::openapi::{Common, Missing};
use crate::http::response::problem::Handled;

/// The only style of these pages. The policy names its hash, so that nothing else applies. The colour scheme is the
/// root's, which paints the window; on the body alone it would give a dark page's links and boxes to a white one. Long
/// commands wrap: scrolling sideways hides their ends.
const STYLE: &str = ":root{color-scheme:light dark}\
                     body{font:1rem/1.5 system-ui,sans-serif;max-width:42rem;margin:2rem auto;padding:0 1rem;\
                     overflow-wrap:break-word}h1,h2{line-height:1.2}a{display:inline-block;padding:.25rem 0}\
                     ul{padding-left:1.25rem}li{margin:.5rem 0}code{font:.875em/1.5 ui-monospace,monospace}\
                     pre{padding:.75rem;border-radius:.5rem;background:light-dark(#f2f3f5,#1d2025);\
                     white-space:pre-wrap;overflow-wrap:anywhere}";

/// Ends the title of every page but its own.
const PRODUCT: &str = "Rejoin";

/// What a problem type means.
#[derive(Clone, Copy, Debug, Serialize, ToSchema)]
pub(crate) struct Meaning {
    /// The last part of its `type`.
    pub slug: &'static str,
    /// The status codes that it comes with.
    pub status: &'static [u16],
    /// What happened.
    pub meaning: &'static str,
    /// What the caller can do.
    pub remedy: &'static str,
}

const fn meaning(slug: &'static str, status: &'static [u16], meaning: &'static str, remedy: &'static str) -> Meaning {
    Meaning { slug, status, meaning, remedy }
}

/// Every problem type, in the order of the index.
pub(crate) const MEANINGS: &[Meaning] = &[
    meaning(
        "invalid-request",
        &[400],
        "A part of the request is malformed, mistyped or unknown: the body, the query, an id or a header.",
        "Read errors: it names each field and what is wrong with it. Nothing was changed; mend the request and send it \
         again.",
    ),
    meaning(
        "unauthenticated",
        &[401],
        "The server cannot tell who is asking, or the request shows a session that is unknown, has ended, or is \
         somebody else's.",
        "Open a new session with POST /api/v1/sessions, or show none; and connect from a place that the server knows: \
         the machine that it runs on, or the private network that it serves.",
    ),
    meaning(
        "forbidden",
        &[403],
        "The caller is known and may not do this, or the request came from a web page of another origin.",
        "Ask the host of the document, or use a page that this server itself serves.",
    ),
    meaning(
        "not-found",
        &[404],
        "There is nothing at this path, or no document of this name.",
        "Check the path and the id.",
    ),
    meaning(
        "method-not-allowed",
        &[405],
        "The path exists and does not take this method.",
        "The header Allow names the methods that it takes.",
    ),
    meaning(
        "request-timeout",
        &[408],
        "The body of the request paused for too long or took too long in all.",
        "Nothing was changed; send it again, over a better connection or in smaller parts.",
    ),
    meaning(
        "already-exists",
        &[409],
        "A document of this name is there already.",
        "Choose another id, leave it out to be given one, or change the document that is there.",
    ),
    meaning(
        "version-conflict",
        &[409, 412],
        "Someone else changed the document since the version that this write was made for. With expectedVersion the \
         status is 409, with If-Match or If-None-Match it is 412.",
        "currentVersion, currentHash and current say what the document is now: make the change anew from there.",
    ),
    meaning(
        "gone",
        &[410],
        "The document was deleted.",
        "Its history can still be read up to lastVersion; creating it again goes on from there.",
    ),
    meaning(
        "too-large",
        &[413],
        "The body, the state that it would make, or its nesting is beyond a bound of this server.",
        "Split the change, or keep large things elsewhere and put a reference into the document.",
    ),
    meaning(
        "unsupported-media-type",
        &[415],
        "The body is not of a type that is taken here.",
        "Set Content-Type to one of those in accepted, with UTF-8 text.",
    ),
    meaning(
        "misdirected-host",
        &[421],
        "The request was addressed to a host name that this server does not go by. This protects against web pages \
         that turn their own name to the address of this server.",
        "Use the address that the server printed at its start, or add the name to its configuration.",
    ),
    meaning(
        "action-rejected",
        &[422],
        "The rules of this collection do not allow the action in the present state.",
        "The detail is the rules' own reason. Nothing was changed.",
    ),
    meaning(
        "patch-failed",
        &[422],
        "An operation of the patch does not apply to the state, or one of its tests does not hold.",
        "operation counts from 0 and says which. Nothing was changed; read the document and make the patch anew.",
    ),
    meaning(
        "idempotency-mismatch",
        &[422],
        "The Idempotency-Key was used before, for a different request.",
        "Use a new key for each new request, and the same one only to repeat a request unchanged.",
    ),
    meaning(
        "rate-limited",
        &[429],
        "The caller sent more requests than their limit allows.",
        "Wait the seconds in Retry-After, and send fewer. rule says which limit it was; RateLimit on every answer says \
         how many requests are left.",
    ),
    meaning(
        "internal",
        &[500],
        "A fault of the server. What happened is in its log and not in the answer.",
        "Tell whoever runs the server the requestId: its log has the same.",
    ),
    meaning(
        "damaged-document",
        &[500],
        "What is stored of this document contradicts itself, so it is not served: a wrong answer would be worse.",
        "Versions up to lastGoodVersion can still be read: the host can roll the document back to one of them, and it \
         goes on from there; or restore the database from a backup. A game that is over can be removed all the same. \
         Other documents are not affected.",
    ),
    meaning(
        "game-moved",
        &[308],
        "The game was moved to another server and goes on there.",
        "Location names the new address of what was asked for, and to the server. A stream goes on there from the same \
         position.",
    ),
    meaning(
        "game-frozen",
        &[503],
        "The game is on its way from one server to another. Nothing was changed.",
        "Try again after the seconds in Retry-After, with the same Idempotency-Key: the game is then either here as \
         before, or the answer says where it is.",
    ),
    meaning(
        "storage-unavailable",
        &[503],
        "The disk does not take writes at present, and as much as may wait for it is waiting already.",
        "Try again after the seconds in Retry-After, with the same Idempotency-Key.",
    ),
    meaning(
        "too-many-streams",
        &[429],
        "As many streams are open as one user may have (streams-per-user-max).",
        "Close streams that nobody needs, or follow many documents on one: GET /api/v1/stream. Then try again.",
    ),
    meaning(
        "identity-unavailable",
        &[503],
        "The server asks tailscaled who is at the other end of each connection, and gets no answer that it can use. \
         Until it does, nobody is let in.",
        "Try again after the seconds in Retry-After. If it lasts, look at the server's log: it says what is wrong with \
         tailscaled.",
    ),
    meaning(
        "storage-full",
        &[507],
        "The disk is full, and as much as may wait for it is waiting already.",
        "Make room on the disk of the server; it goes on by itself. Then try again.",
    ),
    meaning(
        "reconnect-token-unknown",
        &[401],
        "The server knows no reconnect token like this one: it is cut off or mistyped, or it was forgotten long after \
         it expired.",
        "Ask for a new one at connection-token, as the player or by the host of the game.",
    ),
    meaning(
        "reconnect-token-expired",
        &[401],
        "The reconnect token was good for a limited time, and that is over.",
        "Ask for a new one at connection-token, as the player or by the host of the game; the seat is still there.",
    ),
    meaning(
        "reconnect-token-used",
        &[401],
        "A reconnect token works once. This one was used some time ago, or belongs to a line of tokens of which an old \
         one was shown again: someone may have copied it, so the whole line has ended.",
        "Ask for a new one at connection-token, as the player or by the host of the game. If you did not use the old \
         one twice, tell the host.",
    ),
    meaning(
        "reconnect-token-raced",
        &[409],
        "The same reconnect token came twice within a few seconds, and the other request was faster. Nothing was \
         revoked.",
        "Go on with the token that the other request was given. If that answer was lost: repeat it with its \
         Idempotency-Key, or ask for a new token at connection-token.",
    ),
    meaning(
        "reconnect-token-mismatch",
        &[403],
        "The reconnect token is good, but for another game, another player or another user than the request names.",
        "Send it to the game that it was made for, as the player that it was made for.",
    ),
    meaning(
        "not-a-participant",
        &[403],
        "This player holds no seat in the game.",
        "Take a seat at seats, or ask the host of the game for one.",
    ),
    meaning(
        "seat-taken",
        &[409],
        "Another player sits there already; the first who asks gets the seat.",
        "Take another seat, or leave seat out to get the lowest free one.",
    ),
    meaning(
        "table-full",
        &[409],
        "Every seat of the game is taken.",
        "Wait until someone leaves, ask the host to make room, or open a new game.",
    ),
    meaning(
        "game-completed",
        &[410],
        "The game is over: nobody takes a seat in it or comes back to it.",
        "Open a new game. The last state can still be read at the document, as long as it is kept.",
    ),
    meaning(
        "not-different",
        &[409],
        "Memory and disk were compared, and agree on this document: there is nothing to mend.",
        "Read the verdict on its collection. If another document was meant, name that.",
    ),
    meaning(
        "not-in-memory",
        &[409],
        "The document was found different, but it is not in memory, and of what memory remembers of it nothing is left \
         on disk. It cannot be written anew from memory.",
        "Repair it from the disk, or restore a backup.",
    ),
    meaning(
        "not-persistent",
        &[409],
        "The game lives in memory only, since persistence of new games was turned off when it was created. It is \
         played as any other, with seats, tokens and an end, for as long as the server runs; but it cannot be stored \
         whole, read back, removed for good or moved to another server.",
        "Play on, or ask who runs the server to turn persistence on and open a new game. To end this one, delete it.",
    ),
    meaning(
        "game-running",
        &[409],
        "Only a completed game can be removed, and nobody has completed this one.",
        "Complete the game first; then remove it.",
    ),
    meaning(
        "quota-exceeded",
        &[403],
        "The plan of the user allows so many new parties, encounters or creatures in a period, and so many were \
         created. Nothing was created; of a batch nothing was done.",
        "Wait until resetAt, when counting begins anew, or ask who runs the server for another plan. /api/v1/usage \
         tells what is left.",
    ),
    meaning(
        "game-too-large",
        &[413],
        "The history of the game, with what belongs to it, is larger than what moves between servers. Nothing was \
         changed, and the game goes on where it is.",
        "maxBytes says how large it may be. Keep less history (history-events, history-days) and have the game stored \
         whole (persist), so that the older part goes; or end the game where it is.",
    ),
    meaning(
        "other-server-unavailable",
        &[503],
        "The server that the game was to move to cannot be reached, or cannot take it now. The game goes on where it \
         is.",
        "See whether that server runs and is well, then order the move again.",
    ),
    meaning(
        "move-refused",
        &[422],
        "The server that the game was to move to does not take it, for the reason that detail gives: it has another \
         game of this name, say, or allows less. The game goes on where it is.",
        "Remove the reason, or choose another server; otherStatus is the status of its answer.",
    ),
    meaning(
        "game-elsewhere",
        &[409],
        "A batch happens on one server, whole or not at all, and one of its games is on another. Nothing was changed.",
        "index names the operation, document its game, and to the server that it is at: send what is about it there, \
         and the rest here.",
    ),
    meaning(
        "sessions-full",
        &[409],
        "The server keeps a bounded number of sessions, and there are that many.",
        "An administrator can end some at /api/v1/admin/sessions; those that nobody uses expire by themselves.",
    ),
];

/// Every problem type.
#[derive(Clone, Copy, Debug, Serialize, ToSchema)]
struct MeaningPage {
    items: &'static [Meaning],
}

/// The routes of these pages.
pub(crate) fn routes<S: Clone + Send + Sync + 'static>() -> OpenApiRouter<S> {
    OpenApiRouter::new().routes(routes!(index)).routes(routes!(one))
}

/// All problem types
///
/// For people, or as JSON.
#[utoipa::path(
    get, path = "/problems", operation_id = "listProblems", tag = "problems",
    responses(
        (status = 200, description = "All types.", content((MeaningPage = "application/json"), (String = "text/html"))),
        Common,
    ),
)]
async fn index(headers: HeaderMap) -> Handled<Response> {
    if wants_json(&headers) {
        return Ok(json(&MeaningPage { items: MEANINGS })?);
    }
    let items: String = MEANINGS
        .iter()
        .map(|m| format!("<li><a href=\"/problems/{0}\"><code>{0}</code></a>: {1}</li>", m.slug, m.meaning))
        .collect();
    Ok(page("Problems", &format!("<p>What this server says when something does not work:</p><ul>{items}</ul>")))
}

/// What a problem type means, and what to do about it
///
/// The address of this page is the `type` of the problem.
#[utoipa::path(
    get, path = "/problems/{slug}", operation_id = "explainProblem", tag = "problems",
    params(("slug" = String, Path, description = "The last part of the problem's `type`.")),
    responses(
        (status = 200, description = "Its page.", content((Meaning = "application/json"), (String = "text/html"))),
        Missing,
    ),
)]
async fn one(headers: HeaderMap, slug: axum::extract::RawPathParams) -> Handled<Response> {
    let found = slug.iter().find_map(|(_, slug)| MEANINGS.iter().find(|m| m.slug == slug));
    let found = found.ok_or_else(|| Error::not_found("there is no problem type of this name; /problems lists them"))?;
    if wants_json(&headers) {
        return Ok(json(found)?);
    }
    let status: Vec<String> = found.status.iter().map(u16::to_string).collect();
    let body = format!(
        "<p>Status {}.</p><h2>What it means</h2><p>{}</p><h2>What to do</h2><p>{}</p><p><a href=\"/problems\">All \
         problems</a></p>",
        status.join(" or "),
        found.meaning,
        found.remedy
    );
    Ok(page(found.slug, &body))
}

fn wants_json(headers: &HeaderMap) -> bool {
    prefers(headers, "application/json", "text/html")
}

fn json(value: &impl Serialize) -> Result<Response> {
    let body = serde_json::to_vec(value).map_err(Error::internal)?;
    let headers = [(CONTENT_TYPE, "application/json"), (VARY, "accept"), (CACHE_CONTROL, "max-age=3600")];
    Ok((headers, body).into_response())
}

/// A page of this server's own words: `title` and `body` are put in as they are, so neither may hold anything that came
/// from outside. It runs no script, loads nothing, and cannot be framed.
pub(crate) fn page(title: &str, body: &str) -> Response {
    let suffix = if title == PRODUCT { String::new() } else { format!(" · {PRODUCT}") };
    let html = format!(
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" \
         content=\"width=device-width\"><title>{title}{suffix}</title><style>{STYLE}</style></head><body><main>\
         <h1>{title}</h1>{body}</main></body></html>"
    );
    let headers = [(CONTENT_TYPE, "text/html; charset=utf-8"), (VARY, "accept"), (CACHE_CONTROL, "max-age=3600")];
    let mut response = (headers, html).into_response();
    response.headers_mut().insert(CONTENT_SECURITY_POLICY, policy());
    response
}

fn policy() -> HeaderValue {
    let hash = BASE64.encode(&Sha256::digest(STYLE));
    let policy = format!(
        "default-src 'none'; style-src 'sha256-{hash}'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    );
    HeaderValue::from_str(&policy).unwrap_or(HeaderValue::from_static("default-src 'none'; frame-ancestors 'none'"))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::base::error::Kind;
    use crate::http::response::problem::{NAMED, row};

    #[test]
    fn every_kind_has_a_page_with_its_status_and_every_page_a_kind() {
        let kinds = [
            Kind::Invalid,
            Kind::Unauthenticated,
            Kind::Forbidden,
            Kind::NotFound,
            Kind::MethodNotAllowed,
            Kind::AlreadyExists,
            Kind::PreconditionFailed,
            Kind::VersionConflict,
            Kind::Gone,
            Kind::TooLarge,
            Kind::UnsupportedMediaType,
            Kind::RequestTimeout,
            Kind::MisdirectedHost,
            Kind::Rejected,
            Kind::PatchFailed,
            Kind::IdempotencyMismatch,
            Kind::RateLimited,
            Kind::Internal,
            Kind::Damaged,
            Kind::Moved,
            Kind::Frozen,
            Kind::TooManyStreams,
            Kind::IdentityUnavailable,
            Kind::StorageUnavailable,
            Kind::StorageFull,
        ];
        let rows = kinds.iter().map(|kind| row(*kind)).chain(NAMED.iter().copied());
        let raised: BTreeSet<_> = rows.map(|row| (row.slug, row.status.as_u16())).collect();
        let told: BTreeSet<_> = MEANINGS.iter().flat_map(|m| m.status.iter().map(|status| (m.slug, *status))).collect();
        assert_eq!(raised, told);
        // The last of the enum: a kind that is added after it must be added above too.
        assert_eq!(kinds.len(), Kind::StorageFull as usize + 1);
    }

    #[test]
    fn the_words_need_no_escaping() {
        for m in MEANINGS {
            assert!(![m.slug, m.meaning, m.remedy].concat().contains(['<', '>', '&', '"']), "{}", m.slug);
        }
    }
}
