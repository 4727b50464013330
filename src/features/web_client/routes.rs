//! `GET /client/{file}`.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Extension;
use axum::extract::RawPathParams;
use axum::response::Response;
use http::HeaderMap;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::base::error::Error;
use crate::http::api::Api;
use crate::http::error::HandlerResult;
use crate::http::response::openapi::{FileProblems, IfNoneMatch, NotFoundProblems};
use crate::http::response::static_file::StaticFile;

const JAVASCRIPT: &str = "text/javascript; charset=utf-8";

/// The modules of the client, by name.
macro_rules! modules {
    ($($name:literal),* $(,)?) => {
        &[$(($name, include_str!(concat!("../../web/client/", $name)))),*]
    };
}

const MODULES: &[(&str, &str)] = modules![
    "client.js",
    "collections.js",
    "documents.js",
    "environment.js",
    "flags.js",
    "games.js",
    "hub.js",
    "messages.js",
    "notifications.js",
    "patch.js",
    "paths.js",
    "polling.js",
    "queue.js",
    "react-connection.js",
    "react-documents.js",
    "react-errors.js",
    "react-interactions.js",
    "react-invalidation.js",
    "react-provider.js",
    "react-queries.js",
    "react.js",
    "rejoin.js",
    "requests.js",
    "retry.js",
    "sse.js",
    "store.js",
    "streams.js",
    "tabs.js",
    "tanstack-db.js",
    "toasts.js",
    "verdicts.js",
    "verify.js",
];

type ClientFiles = Arc<BTreeMap<&'static str, StaticFile>>;

/// The files of the client.
pub(crate) fn router() -> OpenApiRouter<Api> {
    let file = |(name, text): &(&'static str, &'static str)| (*name, StaticFile::new(JAVASCRIPT, *text));
    let files: ClientFiles = Arc::new(MODULES.iter().map(file).collect());
    OpenApiRouter::new().routes(routes!(file_of_client)).layer(Extension(files))
}

/// A module of the JavaScript client
///
/// `rejoin.js` is the one to import; it imports the others.
#[utoipa::path(
    get, path = "/client/{file}", operation_id = "readClientFile", tag = "operations",
    params(("file" = String, Path, description = "The module's name.", example = "rejoin.js"), IfNoneMatch),
    responses(
        (status = 200, description = "The module.", body = String, content_type = "text/javascript",
            headers(("ETag" = String, description = "Its tag."))),
        (status = 304, description = "It is the one that the caller has."),
        NotFoundProblems,
        FileProblems,
    ),
)]
async fn file_of_client(
    Extension(files): Extension<ClientFiles>,
    names: RawPathParams,
    headers: HeaderMap,
) -> HandlerResult<Response> {
    let found = names.iter().find_map(|(_, name)| files.get(name));
    let found =
        found.ok_or_else(|| Error::not_found("the client has no file of this name; it begins with rejoin.js"))?;
    Ok(found.respond(&headers)?)
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed unwrap fails the test")]
    use std::collections::BTreeSet;
    use std::fs;
    use std::path::Path;

    use super::*;

    #[test]
    fn every_module_of_the_client_is_served() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/web/client");
        let names = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let there: BTreeSet<String> = names.filter(|name| name.ends_with(".js")).collect();
        let served: BTreeSet<String> = MODULES.iter().map(|(name, _)| (*name).to_owned()).collect();
        assert!(there.len() > 10);
        assert_eq!(served, there);
    }
}
