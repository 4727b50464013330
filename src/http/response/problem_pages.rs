//! What problems mean and what to do about them, for people: `GET /problems` and `GET /problems/{slug}`.

use std::sync::Arc;

use axum::Extension;
use axum::extract::RawPathParams;
use axum::response::{IntoResponse, Response};
use data_encoding::BASE64;
use http::HeaderMap;
use http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderValue, VARY};
use serde::Serialize;
use sha2::{Digest, Sha256};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::base::error::{Error, ProblemType, Result};
use crate::http::error::HandlerResult;
use crate::http::request::headers::prefers;
use crate::http::response::openapi::{CommonProblems, NotFoundProblems};
use crate::http::response::problem_types;

/// The only style of these pages. The policy names its hash, so that nothing else applies. The colour scheme is the
/// root's, which paints the window; on the body alone it would give a dark page's links and boxes to a white one. Long
/// commands wrap: scrolling sideways hides their ends.
const STYLE: &str = ":root{color-scheme:light dark}\
                     body{font:1rem/1.5 system-ui,sans-serif;max-width:48rem;margin:2rem auto;padding:0 1rem;\
                     overflow-wrap:break-word}h1,h2{line-height:1.2}a{display:inline-block;padding:.25rem 0}\
                     ul{padding-left:1.25rem}li{margin:.5rem 0}nav li{margin:0}\
                     code{font:.875em/1.5 ui-monospace,monospace}\
                     pre{padding:.75rem;border-radius:.5rem;background:light-dark(#f2f3f5,#1d2025);\
                     white-space:pre-wrap;overflow-wrap:anywhere}table{border-collapse:collapse}\
                     th,td{padding:.4rem .75rem .4rem 0;text-align:left;vertical-align:top;\
                     border-bottom:1px solid light-dark(#d5d8dd,#3a3f47)}td code{overflow-wrap:anywhere}\
                     @media(max-width:40rem){thead{display:none}tr,td{display:block}\
                     tr{padding:.5rem 0;border-bottom:1px solid light-dark(#d5d8dd,#3a3f47)}\
                     td{padding:0;border:0}}";

/// Where the icon of the server's pages is.
pub(crate) const ICON_PATH: &str = "/_/favicon.svg";
/// Ends the title of every page but its own.
const PRODUCT: &str = "Rejoin";

/// A problem type as the pages show it.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[schema(as = Meaning)]
pub(crate) struct ProblemPage {
    /// The last part of its `type`.
    pub slug: &'static str,
    /// The status codes that it comes with.
    pub status: Vec<u16>,
    /// What happened.
    pub meaning: &'static str,
    /// What the caller can do.
    pub remedy: &'static str,
}

/// One page per slug, in the order of `problems`.
fn pages_of(problems: impl IntoIterator<Item = &'static ProblemType>) -> Vec<ProblemPage> {
    let mut pages = Vec::<ProblemPage>::new();
    for problem in problems {
        let status = problem_types::status(problem).as_u16();
        let ProblemType { slug, meaning, remedy, .. } = *problem;
        match pages.iter_mut().find(|page| page.slug == slug) {
            Some(page) => page.status.push(status),
            None => pages.push(ProblemPage { slug, status: vec![status], meaning, remedy }),
        }
    }
    pages
}

/// Every problem type.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[schema(as = MeaningPage)]
struct ProblemIndex {
    items: Vec<ProblemPage>,
}

/// The routes of the pages: one for each type that is no feature's, and for each of `problems`.
pub(crate) fn routes<S: Clone + Send + Sync + 'static>(
    problems: impl IntoIterator<Item = &'static ProblemType>,
) -> OpenApiRouter<S> {
    let index = Arc::new(ProblemIndex { items: pages_of(problem_types::all().chain(problems)) });
    OpenApiRouter::new().routes(routes!(index_page)).routes(routes!(problem_page)).layer(Extension(index))
}

/// All problem types
///
/// For people, or as JSON.
#[utoipa::path(
    get, path = "/problems", operation_id = "listProblems", tag = "problems",
    responses(
        (
            status = 200, description = "All types.",
            content((ProblemIndex = "application/json"), (String = "text/html")),
        ),
        CommonProblems,
    ),
)]
async fn index_page(Extension(index): Extension<Arc<ProblemIndex>>, headers: HeaderMap) -> HandlerResult<Response> {
    if wants_json(&headers) {
        return Ok(json(&*index)?);
    }
    let items: String = index
        .items
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
        (status = 200, description = "Its page.", content((ProblemPage = "application/json"), (String = "text/html"))),
        NotFoundProblems,
    ),
)]
async fn problem_page(
    Extension(index): Extension<Arc<ProblemIndex>>,
    headers: HeaderMap,
    slug: RawPathParams,
) -> HandlerResult<Response> {
    let found = slug.iter().find_map(|(_, slug)| index.items.iter().find(|page| page.slug == slug));
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
         content=\"width=device-width\"><link rel=\"icon\" href=\"{ICON_PATH}\"><title>{title}{suffix}</title>\
         <style>{STYLE}</style></head><body><main><h1>{title}</h1>{body}</main></body></html>\n"
    );
    let headers = [(CONTENT_TYPE, "text/html; charset=utf-8"), (VARY, "accept"), (CACHE_CONTROL, "max-age=3600")];
    let mut response = (headers, html).into_response();
    response.headers_mut().insert(CONTENT_SECURITY_POLICY, policy());
    response
}

fn policy() -> HeaderValue {
    let hash = BASE64.encode(&Sha256::digest(STYLE));
    let policy = format!(
        "default-src 'none'; style-src 'sha256-{hash}'; img-src 'self'; base-uri 'none'; \
         form-action 'none'; frame-ancestors 'none'"
    );
    HeaderValue::from_str(&policy).unwrap_or(HeaderValue::from_static("default-src 'none'; frame-ancestors 'none'"))
}

#[cfg(test)]
mod tests {
    #![expect(clippy::indexing_slicing, reason = "a panic fails the test")]
    use super::*;

    #[test]
    fn types_of_one_slug_share_a_page_with_all_their_statuses() {
        let pages = pages_of(problem_types::all());
        let conflict: Vec<_> = pages.iter().filter(|page| page.slug == "version-conflict").collect();
        assert_eq!(conflict.len(), 1);
        assert_eq!(conflict[0].status, [409, 412]);
    }

    #[test]
    fn the_words_need_no_escaping() {
        for m in problem_types::all() {
            assert!(![m.slug, m.meaning, m.remedy].concat().contains(['<', '>', '&', '"']), "{}", m.slug);
        }
    }
}
