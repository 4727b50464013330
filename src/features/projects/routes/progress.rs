//! The progress of a project: reading it, saying what is not counted, and its past.

use axum::extract::State;
use axum::response::Response;
use serde::{Deserialize, Deserializer, Serialize};
use utoipa::{OpenApi, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::ProjectPath;
use crate::base::clock::Timestamp;
use crate::base::error::{Error, Kind as K, Result};
use crate::base::ids::{DocumentName, UserId};
use crate::document::model::Document;
use crate::document::visibility::Viewer;
use crate::engine::problems::NOT_PERSISTENT;
use crate::features::projects::limits::{NOTES_BYTES_MAX, WORDS_MAX};
use crate::features::projects::problems::{PHASE_IS_CURRENT, PHASE_NEEDS_REASON, WORDS_ARE_COUNTED};
use crate::features::projects::progress::measure::{Counts, Measures, ProjectProgress, Settings, Stated};
use crate::features::projects::sql;
use crate::http::api::Api;
use crate::http::error::HandlerResult;
use crate::http::page::{Cursor, Page, PageLimit, PageRequest};
use crate::http::request::body::Json;
use crate::http::request::caller::Caller;
use crate::http::request::query::Query;
use crate::http::response::json::json;
use crate::http::response::openapi::{BODY, problems};
use crate::http::response::success::Success;
use crate::store::Connection;

#[derive(OpenApi)]
#[openapi(components(schemas(ProgressSchema, ProgressBody)))]
struct Schemas;

pub(super) fn router() -> OpenApiRouter<Api> {
    OpenApiRouter::with_openapi(Schemas::openapi())
        .routes(routes!(read_progress, put_progress))
        .routes(routes!(read_history))
}

problems! {
    /// Of reading.
    ReadProblems: &[K::Unauthenticated, K::NotFound, K::Gone, K::Damaged, K::StorageUnavailable];
    /// Of changing.
    PutProblems:
        &[K::Unauthenticated, K::Forbidden, K::NotFound, K::Gone, K::Damaged, K::StorageUnavailable],
        BODY, &[&WORDS_ARE_COUNTED, &PHASE_IS_CURRENT, &PHASE_NEEDS_REASON, &NOT_PERSISTENT];
}

/// How many plot loops are open, and how many closed.
#[derive(Serialize, ToSchema)]
#[schema(as = PlotLoopCounts)]
pub(super) struct PlotLoopsSchema {
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

/// What somebody says of the progress; what is left out stays, null takes it away.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schema(as = ProjectProgressChange)]
struct ProgressBody {
    /// A phase after the current one.
    phase: Option<String>,
    /// Instead of what is reckoned.
    #[serde(default, deserialize_with = "deserialize_given")]
    #[schema(value_type = Option<f64>, minimum = 0, maximum = 100)]
    completion_percent: Option<Option<f64>>,
    /// As long as there is no chapter.
    #[serde(default, deserialize_with = "deserialize_given")]
    #[schema(value_type = Option<u64>, maximum = 1_000_000_000)]
    word_count: Option<Option<u64>>,
    /// At most 4,000 bytes.
    #[serde(default, deserialize_with = "deserialize_given")]
    #[schema(value_type = Option<String>)]
    notes: Option<Option<String>>,
}

/// Tells a member that is null from one that is left out.
fn deserialize_given<'de, T: Deserialize<'de>, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Option<T>>, D::Error> {
    Option::deserialize(deserializer).map(Some)
}

impl ProgressBody {
    /// Error: `Invalid` for what is out of bounds.
    fn check(&self) -> Result<()> {
        if self.completion_percent.flatten().is_some_and(|percent| !(0.0..=100.0).contains(&percent)) {
            return Err(Error::invalid_field("completionPercent", "must be from 0 to 100"));
        }
        if self.word_count.flatten().is_some_and(|words| words > WORDS_MAX) {
            return Err(Error::invalid_field("wordCount", format!("must be at most {WORDS_MAX}")));
        }
        match &self.notes {
            Some(Some(notes)) if notes.len() > NOTES_BYTES_MAX => {
                Err(Error::invalid_field("notes", format!("must be at most {NOTES_BYTES_MAX} bytes")))
            }
            _ => Ok(()),
        }
    }

    /// Error, besides those of a change of phase: `words-are-counted`.
    fn apply(self, conn: &Connection, project: &str, (by, now): (&UserId, Timestamp)) -> Result<ProjectProgress> {
        let Self { phase, completion_percent, word_count, notes } = self;
        let mut change = sql::progress::begin_of(conn, project, now)?;
        let chapters = change.before().entities.chapters;
        if word_count.flatten().is_some() && chapters > 0 {
            let message = format!("the project has {chapters} chapters, whose words are counted");
            return Err(WORDS_ARE_COUNTED.error(message));
        }
        if let Some(phase) = phase {
            change.change_phase(conn, ("phase", &phase), None, by)?;
        }
        let stated = &mut change.row.stated;
        stated.completion_percent = completion_percent.unwrap_or(stated.completion_percent);
        stated.word_count = word_count.unwrap_or(stated.word_count);
        if let Some(notes) = notes {
            stated.notes = notes.filter(|notes| !notes.is_empty());
        }
        change.finish(conn)?;
        sql::progress::find(conn, project)?.ok_or_else(sql::progress::not_stored_yet)?.progress(conn)
    }
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
fn unstored(document: &Document) -> Result<ProjectProgress> {
    let state = document.state.as_deref().unwrap_or(b"{}");
    let settings = Settings::of_project(&serde_json::from_slice(state).map_err(Error::internal)?);
    let measures = Measures::new(&settings, &Stated::default(), Counts::default());
    Ok(ProjectProgress { measures, version: 0, at: document.updated_at })
}

/// Say what of the progress of a project is not counted
///
/// For whoever may write to the project. A phase is gone into as by `POST …/phases` without a reason, so only forward.
/// `wordCount` is refused as soon as there is a chapter.
#[utoipa::path(
    put, path = "/api/v1/projects/{id}/progress", operation_id = "putProgress", tag = "projects",
    params(("id" = String, Path, description = "The project's id."), Caller), request_body = ProgressBody,
    responses((status = 200, description = "The progress, on disk.", body = ProgressSchema), PutProblems),
)]
async fn put_progress(
    State(api): State<Api>,
    ProjectPath(name): ProjectPath,
    caller: Caller,
    Json(body): Json<ProgressBody>,
) -> HandlerResult<Response> {
    body.check()?;
    check_writer(&api, &name, &caller.viewer).await?;
    let by = caller.viewer.user_id()?;
    let progress = api.write_rows(move |conn, now| body.apply(conn, name.id.as_str(), (&by, now))).await?;
    Ok(json(Success::Done, &progress)?)
}

/// Refuses whoever may not write to the project, and a project without rows. Errors: `NotFound`, `Gone`, `Forbidden`.
pub(super) async fn check_writer(api: &Api, name: &DocumentName, viewer: &Viewer) -> Result<()> {
    let document = api.reads.live_document(name, viewer).await?;
    document.meta.check_writer(viewer)?;
    if document.meta.volatile { Err(NOT_PERSISTENT.error("the project lives in memory only")) } else { Ok(()) }
}

/// Saves the progress that waits for the end of its minute, if that has come.
pub(super) async fn save_due(api: &Api, project: &str) -> Result<()> {
    let wanted = project.to_owned();
    let row = api.read_rows(move |conn| sql::progress::find(conn, &wanted)).await?;
    if row.and_then(|row| row.due_at).is_some_and(|due_at| due_at <= api.now()) {
        let project = project.to_owned();
        let saved = api.write_rows(move |conn, now| sql::progress::save_due_of(conn, &project, now)).await;
        // While storage fails the past is told as it is stored.
        saved.or_else(|error| if error.kind() == K::StorageUnavailable { Ok(()) } else { Err(error) })?;
    }
    Ok(())
}

#[derive(Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Order {
    /// The oldest first.
    #[default]
    Asc,
    /// The newest first.
    Desc,
}

#[derive(Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
struct HistoryQuery {
    /// `asc`: the oldest first; `desc`: the newest first.
    #[serde(default)]
    #[param(value_type = Option<String>, default = "asc", pattern = "^(asc|desc)$")]
    order: Order,
    /// The `nextCursor` of the page before.
    #[param(value_type = Option<String>)]
    cursor: Option<Cursor>,
    /// Most entries in the page.
    #[param(value_type = Option<usize>, minimum = 1, maximum = 500, default = 50)]
    limit: Option<PageLimit>,
}

/// Read how the progress of a project was
///
/// Snapshots, which are saved by themselves when the progress changes: at once, or when the last is younger than a
/// minute, at the end of that minute, with the time of the last change. What is as it was before makes none.
#[utoipa::path(
    get, path = "/api/v1/projects/{id}/progress/history", operation_id = "readProgressHistory", tag = "projects",
    params(("id" = String, Path, description = "The project's id."), Caller, HistoryQuery),
    responses((status = 200, description = "A page of snapshots.", body = Page<ProgressSchema>), ReadProblems),
)]
async fn read_history(
    State(api): State<Api>,
    ProjectPath(name): ProjectPath,
    caller: Caller,
    Query(query): Query<HistoryQuery>,
) -> HandlerResult<Response> {
    let document = api.reads.live_document(&name, &caller.viewer).await?;
    save_due(&api, name.id.as_str()).await?;
    let page = PageRequest::new(query.limit, query.cursor);
    let (after, newest_first) = (page.parse_after(str::parse)?, query.order == Order::Desc);
    let (key, limit) = (document.meta.key, page.limit);
    let found = api.read_rows(move |conn| sql::snapshots::page(conn, key, (newest_first, after), limit + 1)).await?;
    Ok(json(Success::Done, &Page::new(found, limit, |(number, _)| number.to_string(), |(_, progress)| progress))?)
}
