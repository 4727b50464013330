//! `GET /` and its icon.

use std::collections::HashMap;
use std::sync::Arc;

use axum::Extension;
use axum::response::{IntoResponse, Response};
use http::HeaderMap;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, HOST, HeaderValue};
use serde_json::{Value, json};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::document::rules::Rules;
use crate::http::api::Api;
use crate::http::response::openapi::CommonProblems;
use crate::http::response::problem_pages;

/// What the page shows to begin with, in the order of preference; one that has rules may take no state but its own.
const COLLECTIONS: [&str; 5] = ["games", "notes", "lists", "rooms", "things"];

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
    fn free(&self) -> String {
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

/// The front page and its icon.
pub(crate) fn router(ruled: RuledCollections) -> OpenApiRouter<Api> {
    OpenApiRouter::new().routes(routes!(front)).routes(routes!(icon)).routes(routes!(old_icon)).layer(Extension(ruled))
}

/// What this is
#[utoipa::path(
    get, path = "/", operation_id = "front", tag = "operations",
    responses(
        (status = 200, description = "A page for people.", body = String, content_type = "text/html"),
        CommonProblems,
    ),
)]
async fn front(Extension(ruled): Extension<RuledCollections>, headers: HeaderMap) -> Response {
    // One of our names, or the request would not have come here.
    let host = headers.get(HOST).and_then(|host| host.to_str().ok()).map(escape).unwrap_or_default();
    let body = include_str!("../front.html")
        .replace("{rules}", &ruled.commands(&host))
        .replace("{collection}", &ruled.free())
        .replace("{host}", &host);
    let mut page = problem_pages::page("Rejoin", &body);
    // Another release has another front page at the same address, and another name another one.
    page.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    page
}

/// The icon of the server's pages
#[utoipa::path(
    get, path = "/favicon.svg", operation_id = "icon", tag = "operations",
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

/// The same, where browsers look for it by themselves
#[utoipa::path(
    get, path = "/favicon.ico", operation_id = "defaultIcon", tag = "operations",
    responses(
        (status = 200, description = "A picture.", body = String, content_type = "image/svg+xml"),
        CommonProblems,
    ),
)]
async fn old_icon() -> Response {
    icon().await
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
