//! Deleting a project with everything of it. The call is that of deleting a document.

use std::fmt;

use axum::response::Response;
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use serde::Serialize;
use utoipa::{OpenApi, ToSchema};
use utoipa_axum::router::OpenApiRouter;

use crate::base::error::{Error, Kind, Result};
use crate::base::ids::Collection;
use crate::document::decide::{Expected, Request, WriteOperation};
use crate::document::scope::ScopeExtent;
use crate::engine::request::{Durability, Write, WriteKey, WriteOutcome, WriteReply};
use crate::features::projects::hook::members_change;
use crate::features::projects::limits::MEMBERS_MAX;
use crate::features::projects::members::{MemberKind, PROJECTS};
use crate::features::projects::sql;
use crate::features::projects::sql::members::MemberDocument;
use crate::http::api::Api;
use crate::http::idempotency::{StoredResponse, respond};
use crate::http::providers::{DeletionRequest, DocumentRemover};
use crate::http::response::success::Success;
use crate::store::{Connection, IdempotentAnswer};

/// How often it is tried while documents of the project come and go.
const TRIES: usize = 5;

#[derive(OpenApi)]
#[openapi(components(schemas(ProjectDeletion)))]
struct Schemas;

/// Has the schema of the answer.
pub(super) fn router() -> OpenApiRouter<Api> {
    OpenApiRouter::with_openapi(Schemas::openapi())
}

/// How much went with a project.
#[derive(Clone, Debug, Serialize, ToSchema)]
struct ProjectDeletion {
    documents: DeletedDocuments,
    /// Of its progress.
    snapshots: u64,
    /// Changes of its phase.
    phases: u64,
    warnings: u64,
}

/// How many documents of each kind were deleted.
#[derive(Clone, Copy, Debug, Default, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct DeletedDocuments {
    /// The project itself.
    projects: u64,
    chapters: u64,
    characters: u64,
    wiki_entries: u64,
    plot_loops: u64,
}

/// Deletes projects.
#[derive(Clone)]
pub(crate) struct ProjectRemover {
    pub api: Api,
}

impl fmt::Debug for ProjectRemover {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ProjectRemover").finish_non_exhaustive()
    }
}

impl DocumentRemover for ProjectRemover {
    fn has_parts(&self, collection: &Collection) -> bool {
        collection.as_str() == PROJECTS
    }

    fn delete(&self, request: DeletionRequest) -> BoxFuture<'static, Result<Response>> {
        let api = self.api.clone();
        async move { delete(&api, request).await }.boxed()
    }
}

async fn delete(api: &Api, request: DeletionRequest) -> Result<Response> {
    if let Some(key) = request.key.clone()
        && let Some(known) = api.read_rows(move |conn| key.find(conn)).await?
    {
        return respond(known);
    }
    let document = api.reads.live_document(&request.name, &request.viewer).await?;
    document.meta.check_writer(&request.viewer)?;
    if request.viewer.credential_scope().is_some_and(|scope| scope.extent != ScopeExtent::All) {
        let message = "a project is deleted with all its documents, and what this request shows reaches some only";
        return Err(Error::new(Kind::Forbidden, message));
    }
    let mut tries = 1;
    loop {
        match try_delete(api, &request).await {
            Err(error) if error.kind() == Kind::VersionConflict && tries < TRIES => tries += 1,
            outcome => return outcome,
        }
        // What was decided before is on disk then, where the next try reads it.
        api.engine.barrier().await?;
    }
}

/// Error, besides those of a write: [`members_change`].
async fn try_delete(api: &Api, request: &DeletionRequest) -> Result<Response> {
    let DeletionRequest { name, viewer, expected, key } = request;
    let project = name.id.to_string();
    let (members, deletion) = api.read_rows(move |conn| find_all(conn, &project)).await?;
    let delete =
        |name, expected| Request { name, operation: WriteOperation::DeleteWith(request.name.clone()), expected };
    let count = members.len();
    let parts = members.into_iter().map(|member| delete(member.name, Expected::default()));
    let requests = parts.chain([delete(name.clone(), expected.clone())]).collect();
    let key = key.clone().map(|key| {
        let deletion = deletion.clone();
        // An answer that cannot be rendered is not kept as one; reading it back says so.
        let render = move |outcomes: &[WriteOutcome], durability: Durability| {
            answer(&deletion, outcomes, durability).and_then(|stored| stored.to_bytes()).unwrap_or_default()
        };
        WriteKey { key, render: Box::new(render) }
    });
    let written = api.engine.write(Write { requests, viewer: viewer.clone(), key }).await;
    match written.map_err(|error| of_project(error, count, name.id.as_str()))? {
        WriteReply::Made(written) => answer(&deletion, &written.outcomes, written.durability)?.into_response(false),
        WriteReply::Replayed(answer) => respond(IdempotentAnswer { answer, replayed: true }),
    }
}

/// Everything of a project. Error: `TooLarge`.
fn find_all(conn: &Connection, project: &str) -> Result<(Vec<MemberDocument>, ProjectDeletion)> {
    let limit = usize::try_from(MEMBERS_MAX).unwrap_or(usize::MAX);
    let members = sql::members::list(conn, project, None, 2 * limit)?;
    let (snapshots, phases) = match sql::progress::find(conn, project)? {
        Some(row) => (sql::snapshots::count(conn, row.key)?, sql::phases::count(conn, row.key)?),
        None => (0, 0),
    };
    let of = |kind: MemberKind| members.iter().filter(|member| member.kind == kind).count() as u64;
    let documents = DeletedDocuments {
        projects: 1,
        chapters: of(MemberKind::Chapter),
        characters: of(MemberKind::Character),
        wiki_entries: of(MemberKind::WikiEntry),
        plot_loops: of(MemberKind::PlotLoop),
    };
    let warnings = sql::warnings::count_all(conn, project)?;
    Ok((members, ProjectDeletion { documents, snapshots, phases, warnings }))
}

/// An error of the write, as one about the project. One about a part that is gone by now says that another try helps.
fn of_project(error: Error, parts: usize, project: &str) -> Error {
    let of_part = error.details().get("index").and_then(serde_json::Value::as_u64).is_some_and(|at| at < parts as u64);
    match error.kind() {
        Kind::Gone | Kind::NotFound if of_part => members_change(project),
        _ if of_part => error,
        _ => error.without(&["index"]),
    }
}

fn answer(deletion: &ProjectDeletion, outcomes: &[WriteOutcome], durability: Durability) -> Result<StoredResponse> {
    let success = Success::accepted_unless(durability == Durability::Durable);
    let position = outcomes.last().map(|last| last.document.position().to_string());
    Ok(StoredResponse { position, ..StoredResponse::json(success, deletion)? })
}
