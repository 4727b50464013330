//! `GET /docs/` and `GET /docs/{chapter}`.

use std::fmt::Write as _;

use axum::extract::RawPathParams;
use axum::response::Response;
use http::header::{CACHE_CONTROL, HeaderValue};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::markdown::{Rendered, render};
use crate::base::error::Error;
use crate::guide::{CHAPTERS, Chapter};
use crate::http::api::Api;
use crate::http::error::HandlerResult;
use crate::http::response::openapi::{CommonProblems, NotFoundProblems};
use crate::http::response::problem_pages;
use crate::http::response::success::permanent_redirect;

/// The pages of the guide.
pub(crate) fn router() -> OpenApiRouter<Api> {
    OpenApiRouter::new().routes(routes!(contents)).routes(routes!(chapter)).routes(routes!(moved))
}

/// The chapters of the guide
#[utoipa::path(
    get, path = "/docs/", operation_id = "listChapters", tag = "operations",
    responses(
        (status = 200, description = "A page for people.", body = String, content_type = "text/html"),
        CommonProblems,
    ),
)]
async fn contents() -> Response {
    let mut body = "<ul>".to_owned();
    for chapter in CHAPTERS {
        let _ = write!(body, "<li><a href=\"/docs/{}\">{}</a></li>", chapter.slug, chapter.title);
    }
    body.push_str(
        "</ul><p><a href=\"/problems\">What errors mean</a></p>\
                   <p><a href=\"/openapi.json\">All calls, for programs (OpenAPI)</a></p>",
    );
    page("Documentation", &body)
}

/// Where the guide is
#[utoipa::path(
    get, path = "/docs", operation_id = "findChapters", tag = "operations",
    responses((status = 308, description = "At `/docs/`."), CommonProblems),
)]
async fn moved() -> Response {
    permanent_redirect("/docs/")
}

/// A chapter of the guide
#[utoipa::path(
    get, path = "/docs/{chapter}", operation_id = "readChapter", tag = "operations",
    params(("chapter" = String, Path, description = "Its name, as `/docs/` links it.")),
    responses(
        (status = 200, description = "A page for people.", body = String, content_type = "text/html"),
        NotFoundProblems,
    ),
)]
async fn chapter(names: RawPathParams) -> HandlerResult<Response> {
    let found = names.iter().find_map(|(_, name)| CHAPTERS.iter().position(|chapter| chapter.slug == name));
    let Some((at, chapter)) = found.and_then(|at| Some((at, CHAPTERS.get(at)?))) else {
        return Err(Error::not_found("there is no chapter of this name; /docs/ lists them").into());
    };
    let Rendered { body, sections } = render(chapter.markdown);
    let mut out = "<nav><p><a href=\"/docs/\">Documentation</a></p>".to_owned();
    if sections.len() > 1 {
        out.push_str("<ul>");
        for (id, text) in &sections {
            let _ = write!(out, "<li><a href=\"#{id}\">{text}</a></li>");
        }
        out.push_str("</ul>");
    }
    let _ = write!(out, "</nav>{body}<nav>");
    for (word, other) in [("Previous", at.checked_sub(1)), ("Next", at.checked_add(1))] {
        if let Some(Chapter { slug, title, .. }) = other.and_then(|other| CHAPTERS.get(other)) {
            let _ = write!(out, "<p><a href=\"/docs/{slug}\">{word}: {title}</a></p>");
        }
    }
    out.push_str("</nav>");
    Ok(page(chapter.title, &out))
}

/// A page that is another at the same address in the next release.
fn page(title: &str, body: &str) -> Response {
    let mut page = problem_pages::page(title, body);
    page.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    page
}
