//! Reading progress.

use axum::extract::State;
use axum::response::Response;
use serde::Serialize;
use utoipa::{OpenApi, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::ProjectPath;
use crate::base::error::{Error, Kind as K};
use crate::document::model::Document;
use crate::features::projects::progress::measure::{Measures, Progress, Settings, Stated};
use crate::features::projects::sql;
use crate::http::api::Api;
use crate::http::error::HandlerResult;
use crate::http::request::caller::Caller;
use crate::http::response::json::json;
use crate::http::response::openapi::problems;
use crate::http::response::success::Success;

#[derive(OpenApi)]
#[openapi(components(schemas(ProgressSchema)))]
struct Schemas;

pub(super) fn router() -> OpenApiRouter<Api> {
    OpenApiRouter::with_openapi(Schemas::openapi()).routes(routes!(read_progress))
}

problems! {
    /// Of reading.
    ReadProblems: &[K::Unauthenticated, K::NotFound, K::Gone, K::Damaged, K::StorageUnavailable];
}

/// How many plot loops are open, and how many closed.
#[derive(Serialize, ToSchema)]
#[schema(as = PlotLoopCounts)]
struct PlotLoopsSchema {
    open: u64,
    closed: u64,
}

/// The progress of a project.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = ProjectProgress)]
struct ProgressSchema {
    phase: String,
    /// What somebody said; else how far the words are to the goal; without a goal, how far the phase is.
    #[schema(minimum = 0, maximum = 100)]
    completion_percent: f64,
    /// Of the texts of all chapters; without chapters, what somebody said.
    word_count: u64,
    chapters: u64,
    characters: u64,
    wiki_entries: u64,
    plot_loops: PlotLoopsSchema,
    #[schema(required = false, value_type = String)]
    notes: Option<String>,
    /// Counts the changes of the progress; 0: none is stored yet.
    version: u64,
    /// When it changed last.
    #[schema(format = DateTime)]
    at: String,
}

/// Read the progress of a project
///
/// For whoever may read the project, of all its documents.
#[utoipa::path(
    get, path = "/api/v1/projects/{id}/progress", operation_id = "readProgress", tag = "projects",
    params(("id" = String, Path, description = "The project's id."), Caller),
    responses((status = 200, description = "Its progress.", body = ProgressSchema), ReadProblems),
)]
async fn read_progress(
    State(api): State<Api>,
    ProjectPath(name): ProjectPath,
    caller: Caller,
) -> HandlerResult<Response> {
    let document = api.reads.live_document(&name, &caller.viewer).await?;
    let progress = api
        .read_rows(move |conn| match sql::progress::find(conn, document.meta.name.id.as_str())? {
            Some(row) => row.progress(conn),
            None => unstored(&document),
        })
        .await?;
    Ok(json(Success::Done, &progress)?)
}

/// The progress of a project that has no rows yet: it was created while storage fails.
fn unstored(document: &Document) -> Result<Progress, Error> {
    let state = document.state.as_deref().unwrap_or(b"{}");
    let settings = Settings::of_project(&serde_json::from_slice(state).map_err(Error::internal)?);
    let measures = Measures::new(&settings, &Stated::default(), Default::default());
    Ok(Progress { measures, version: 0, at: document.updated_at })
}
