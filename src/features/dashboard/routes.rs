//! The files of the page, and who follows what.

pub(crate) mod front_page;

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Extension;
use axum::extract::{RawPathParams, State};
use axum::response::Response;
use http::HeaderMap;
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::bundle::{Module, bundle, compact_styles, without_comments};
use crate::base::error::{Error, Kind};
use crate::document::visibility::Viewer;
use crate::http::api::Api;
use crate::http::error::HandlerResult;
use crate::http::request::caller::Caller;
use crate::http::response::json::json;
use crate::http::response::openapi::{FileProblems, IfNoneMatch, NotFoundProblems, problems};
use crate::http::response::static_file::StaticFile;
use crate::http::response::success::Success;

const JAVASCRIPT: &str = "text/javascript; charset=utf-8";
/// Most of those who are connected that are listed.
const SUBSCRIBERS_MAX: usize = 100;

/// Modules of a folder of `src/web`, by name.
macro_rules! modules {
    ($folder:literal: $($name:literal),* $(,)?) => {
        &[$(($name, include_str!(concat!("../../web/", $folder, "/", $name)))),*]
    };
}

/// The client's modules that pages need, each behind those that it imports.
const CLIENT: &[Module] = modules![
    "client": "environment.js", "retry.js", "patch.js", "sse.js", "verify.js", "store.js", "toasts.js", "requests.js",
    "polling.js", "streams.js", "tabs.js", "hub.js", "paths.js", "queue.js", "flags.js", "games.js", "notifications.js",
    "documents.js", "collections.js", "client.js", "rejoin.js",
];
/// What every screen needs, and Home.
const FRAME: &[Module] = modules!["dashboard": "ui.js", "home.js", "app.js"];
/// Screens that are fetched when somebody opens them.
const SCREENS: &[Module] = modules![
    "dashboard": "conflicts.js", "documents.js", "encounters.js", "games.js", "people.js", "reconciliation.js",
];

problems! {
    /// Of listing who follows something.
    SubscriberProblems: &[Kind::Unauthenticated, Kind::Forbidden];
}

const STYLES: &str = include_str!("../../web/dashboard/dashboard.css");

type DashboardFiles = Arc<BTreeMap<&'static str, StaticFile>>;

/// The files, and the call that the page alone needs.
pub(super) fn router() -> OpenApiRouter<Api> {
    let screens =
        SCREENS.iter().map(|(name, text)| (*name, StaticFile::compressed(JAVASCRIPT, without_comments(text))));
    let styles = StaticFile::compressed("text/css; charset=utf-8", compact_styles(STYLES));
    let app = StaticFile::compressed(JAVASCRIPT, bundle(&[CLIENT, FRAME].concat()));
    let files: DashboardFiles = Arc::new(screens.chain([("dashboard.css", styles), ("app.js", app)]).collect());
    OpenApiRouter::new().routes(routes!(file)).routes(routes!(subscribers)).layer(Extension(files))
}

/// A file of the dashboard
#[utoipa::path(
    get, path = "/_/{asset}", operation_id = "readDashboardFile", tag = "operations",
    params(("asset" = String, Path, description = "Its name.", example = "app.js"), IfNoneMatch),
    responses(
        (status = 200, description = "The file, compressed for those who take gzip.", body = String,
            content_type = "text/javascript", headers(("ETag" = String, description = "Its tag."))),
        (status = 304, description = "It is the one that the caller has."),
        NotFoundProblems,
        FileProblems,
    ),
)]
async fn file(
    Extension(files): Extension<DashboardFiles>,
    names: RawPathParams,
    headers: HeaderMap,
) -> HandlerResult<Response> {
    let found = names.iter().find_map(|(_, name)| files.get(name));
    let found = found.ok_or_else(|| Error::not_found("the dashboard has no file of this name"))?;
    Ok(found.respond(&headers)?)
}

/// Who has streams open.
#[derive(Serialize, ToSchema)]
struct Subscribers {
    /// By viewer; at most 100.
    items: Vec<Subscriber>,
    /// How many there are.
    viewers: usize,
    /// How many streams they have open.
    streams: usize,
}

/// One who has streams open.
#[derive(Serialize, ToSchema)]
struct Subscriber {
    /// A user, or `owner`.
    viewer: String,
    /// How many.
    streams: usize,
}

/// List who follows something
///
/// For administrators.
#[utoipa::path(
    get, path = "/api/v1/admin/subscribers", operation_id = "listSubscribers", tag = "operations",
    params(Caller),
    responses(
        (status = 200, description = "Those who have streams open.", body = Subscribers),
        SubscriberProblems,
    ),
)]
async fn subscribers(State(api): State<Api>, caller: Caller) -> HandlerResult<Response> {
    caller.require_administrator()?;
    let mut held = api.streams.held();
    held.sort_unstable();
    let (viewers, streams) = (held.len(), held.iter().map(|(_, streams)| streams).sum());
    let subscriber = |(scope, streams): (Box<str>, usize)| {
        let viewer = if &*scope == Viewer::Owner.scope() { "owner".to_owned() } else { scope.into() };
        Subscriber { viewer, streams }
    };
    let items = held.into_iter().take(SUBSCRIBERS_MAX).map(subscriber).collect();
    Ok(json(Success::Done, &Subscribers { items, viewers, streams })?)
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed unwrap fails the test")]
    use std::collections::BTreeSet;
    use std::fs;
    use std::path::Path;

    use super::*;

    #[test]
    fn every_module_is_served() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/web/dashboard");
        let names = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let there: BTreeSet<String> = names.filter(|name| name.ends_with(".js")).collect();
        let served: BTreeSet<String> = [FRAME, SCREENS].concat().iter().map(|(name, _)| (*name).to_owned()).collect();
        assert_eq!(served, there);
    }

    #[test]
    fn each_module_of_the_bundle_imports_only_those_before_it() {
        let all = [CLIENT, FRAME].concat();
        for (at, (name, text)) in all.iter().enumerate() {
            let text = without_comments(text);
            let addresses = text.split("from '").skip(1).chain(text.split("\nimport '").skip(1));
            for address in addresses.filter_map(|rest| rest.split('\'').next()).filter(|one| one.ends_with(".js")) {
                let file = address.rsplit('/').next().unwrap();
                let found = all.iter().position(|(name, _)| *name == file);
                assert!(found.is_some_and(|found| found < at), "{name} imports {address}");
            }
        }
    }
}
