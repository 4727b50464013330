//! `GET /` and `GET /_/`, and their icon. The page is the dashboard; without scripts it says what this is and how to
//! try it.

use std::collections::HashMap;
use std::sync::Arc;

use axum::Extension;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::HeaderMap;
use http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HOST, HeaderValue, VARY};
use serde_json::{Value, json};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::base::limits::COLLECTION_DOCUMENTS_COUNTED_MAX;
use crate::document::rules::Rules;
use crate::document::visibility::Viewer;
use crate::http::api::Api;
use crate::http::error::HandlerResult;
use crate::http::request::caller::Caller;
use crate::http::response::openapi::CommonProblems;
use crate::http::response::success::permanent_redirect;
use crate::store::CollectionSummary;

/// Its own files and calls, QR codes of the server's as data, and nothing else: no inline script or style, no other
/// origin, no frame around it.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; \
                      img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; \
                      require-trusted-types-for 'script'";

/// What the page shows to begin with, in the order of preference; one that has rules may take no state but its own.
const COLLECTIONS: [&str; 5] = ["games", "notes", "lists", "rooms", "things"];

/// Most collections that the page names.
const COLLECTIONS_SHOWN_MAX: usize = 100;
/// Most of those who are connected that the page names.
const VIEWERS_SHOWN_MAX: usize = 100;

/// The collections that have rules, each with a state that a document of it can be created with.
#[derive(Clone, Debug)]
pub(crate) struct RuledCollections(Arc<Vec<(String, Option<Value>)>>);

impl RuledCollections {
    pub(crate) fn new(rules: &HashMap<String, Arc<dyn Rules>>) -> Self {
        let mut collections: Vec<_> = rules.iter().map(|(name, rules)| (name.clone(), rules.example())).collect();
        collections.sort_by(|one, other| one.0.cmp(&other.0));
        Self(Arc::new(collections))
    }

    /// A collection without rules.
    fn collections_without_rules(&self) -> String {
        let is_free = |name: &String| !self.0.iter().any(|(ruled, _)| ruled == name);
        let named = COLLECTIONS.iter().map(ToString::to_string);
        named.chain((1..).map(|number| format!("free-{number}"))).find(is_free).unwrap_or_default()
    }

    /// The commands that create documents in collections with rules, as HTML.
    fn commands(&self, host: &str) -> String {
        let mut html = String::new();
        for (collection, example) in self.0.iter() {
            let Some(state) = example else { continue };
            let body = json!({ "state": state }).to_string().replace('\'', "'\\''");
            let command = format!(
                "curl -X POST http://{host}/api/v1/{collection} \\\n  \
                 -H 'Content-Type: application/json' \\\n  -d '{body}'"
            );
            html.push_str(&format!(
                "<p>The collection {collection} has rules, which say what its documents are:</p>\n"
            ));
            html.push_str(&format!("<pre><code>{}</code></pre>\n", escape(&command)));
        }
        html
    }
}

/// The front page and its icon, at `/_/` and, unless files are served there (`is_public`), at `/`.
pub(crate) fn router(ruled: RuledCollections, is_public: bool) -> OpenApiRouter<Api> {
    let own = OpenApiRouter::new().routes(routes!(own_front)).routes(routes!(to_own_front)).routes(routes!(icon));
    let routes = match is_public {
        true => own,
        false => own.routes(routes!(front)).routes(routes!(root_icon)).routes(routes!(default_icon)),
    };
    routes.layer(Extension(ruled))
}

/// What this is
#[utoipa::path(
    get, path = "/", operation_id = "front", tag = "operations",
    responses(
        (status = 200, description = "A page for people.", body = String, content_type = "text/html"),
        CommonProblems,
    ),
)]
async fn front(
    api: State<Api>,
    ruled: Extension<RuledCollections>,
    caller: HandlerResult<Caller>,
    headers: HeaderMap,
) -> Response {
    own_front(api, ruled, caller, headers).await
}

/// Where the server's own page is
#[utoipa::path(
    get, path = "/_", operation_id = "findOwnFront", tag = "operations",
    responses((status = 308, description = "At `/_/`."), CommonProblems),
)]
async fn to_own_front() -> Response {
    permanent_redirect("/_/")
}

/// What this is, also when the host has a page of their own at `/`
#[utoipa::path(
    get, path = "/_/", operation_id = "ownFront", tag = "operations",
    responses(
        (status = 200, description = "A page for people.", body = String, content_type = "text/html"),
        CommonProblems,
    ),
)]
async fn own_front(
    State(api): State<Api>,
    Extension(ruled): Extension<RuledCollections>,
    caller: HandlerResult<Caller>,
    headers: HeaderMap,
) -> Response {
    // One of our names, or the request would not have come here.
    let host = headers.get(HOST).and_then(|host| host.to_str().ok()).map(escape).unwrap_or_default();
    let is_administrator = caller.is_ok_and(|caller| caller.administrator);
    let plain = include_str!("../plain.html")
        .replace("{overview}", &if is_administrator { overview(&api).await } else { String::new() })
        .replace("{rules}", &ruled.commands(&host))
        .replace("{collection}", &ruled.collections_without_rules())
        .replace("{host}", &host);
    let html = include_str!("../../../web/dashboard/index.html").replace("<!-- plain -->\n", &plain);
    // Another release has another front page at the same address, and another name another one.
    let kept = if is_administrator { "no-store" } else { "no-cache" };
    let headers = [
        (CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8")),
        (CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY)),
        (CACHE_CONTROL, HeaderValue::from_static(kept)),
        (VARY, HeaderValue::from_static("accept")),
    ];
    (headers, html).into_response()
}

/// What there is and who is connected, as HTML, for administrators.
async fn overview(api: &Api) -> String {
    let found = match api.reads.collections(&Viewer::Owner, None, COLLECTIONS_SHOWN_MAX).await {
        Ok(found) => found,
        Err(error) => {
            tracing::warn!(%error, "the front page cannot tell what is stored");
            return "<p>What is stored cannot be read now; <a href=\"/readyz\">how the server is</a>.</p>\n".to_owned();
        }
    };
    let row = |CollectionSummary { name, documents, .. }: &CollectionSummary| {
        let counted_max = u64::try_from(COLLECTION_DOCUMENTS_COUNTED_MAX).unwrap_or(u64::MAX);
        let more = if *documents > counted_max { "more than " } else { "" };
        let count = (*documents).min(counted_max);
        format!("<tr><td><a href=\"/api/v1/{name}\">{name}</a></td><td>{more}{count}</td></tr>\n")
    };
    let collections: String = found.iter().map(row).collect();
    let collections = match collections.is_empty() {
        true => "<p>There are no documents yet.</p>\n".to_owned(),
        false => format!(
            "<table><thead><tr><th>Collection</th><th>Documents</th></tr></thead>\n\
             <tbody>\n{collections}</tbody></table>\n"
        ),
    };
    format!("<h2>Collections</h2>\n{collections}<h2>Connected</h2>\n{}", connected(api.streams.held()))
}

/// Who has streams open, by [`Viewer::scope`](crate::document::visibility::Viewer::scope), as HTML.
fn connected(mut viewers: Vec<(Box<str>, usize)>) -> String {
    viewers.sort_unstable();
    let more = viewers.len().saturating_sub(VIEWERS_SHOWN_MAX);
    let shown = viewers.iter().take(VIEWERS_SHOWN_MAX).map(|(scope, count)| {
        let name = if &**scope == Viewer::Owner.scope() { "the owner of this server" } else { scope };
        let streams = if *count == 1 { "stream" } else { "streams" };
        format!("<li>{}: {count} {streams}</li>\n", escape(name))
    });
    let mut list: String = shown.collect();
    if more > 0 {
        list.push_str(&format!("<li>and {more} more</li>\n"));
    }
    if list.is_empty() { "<p>Nobody follows anything now.</p>\n".to_owned() } else { format!("<ul>\n{list}</ul>\n") }
}

/// The icon of the server's pages
#[utoipa::path(
    get, path = "/_/favicon.svg", operation_id = "icon", tag = "operations",
    responses(
        (status = 200, description = "A picture.", body = String, content_type = "image/svg+xml"),
        CommonProblems,
    ),
)]
async fn icon() -> Response {
    let headers = [
        (CONTENT_TYPE, const { HeaderValue::from_static("image/svg+xml") }),
        (CACHE_CONTROL, const { HeaderValue::from_static("max-age=86400") }),
    ];
    (headers, include_str!("../favicon.svg")).into_response()
}

/// The same, where it was
#[utoipa::path(
    get, path = "/favicon.svg", operation_id = "rootIcon", tag = "operations",
    responses(
        (status = 200, description = "A picture.", body = String, content_type = "image/svg+xml"),
        CommonProblems,
    ),
)]
async fn root_icon() -> Response {
    icon().await
}

/// The same, where browsers look for it by themselves
#[utoipa::path(
    get, path = "/favicon.ico", operation_id = "defaultIcon", tag = "operations",
    responses(
        (status = 200, description = "A picture.", body = String, content_type = "image/svg+xml"),
        CommonProblems,
    ),
)]
async fn default_icon() -> Response {
    icon().await
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
