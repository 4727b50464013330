//! `GET` and `POST /api/v1/admin/backups`.

use std::sync::Arc;

use axum::Extension;
use axum::response::Response;
use serde::Serialize;
use tokio::task::spawn_blocking;
use tokio::time::{Duration, timeout};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::base::clock::Timestamp;
use crate::base::error::{Error, Kind};
use crate::features::operations::backups::{Backups, JOB};
use crate::http::api::Api;
use crate::http::error::HandlerResult;
use crate::http::request::body::{JSON, RawBody};
use crate::http::request::caller::Caller;
use crate::http::response::json::json;
use crate::http::response::openapi::{BODY, problems};
use crate::http::response::success::Success;
use crate::jobs::runner::RunnerHandle;
use crate::store::file::backup::Backup;

/// How long a call waits for the beginning of the backup that it asked for.
const WAIT: Duration = Duration::from_secs(10);

/// The calls about backups.
pub(crate) fn router(backups: Arc<Backups>, jobs: RunnerHandle) -> OpenApiRouter<Api> {
    OpenApiRouter::new().routes(routes!(list, begin)).layer(Extension(backups)).layer(Extension(jobs))
}

problems! {
    /// Of listing backups.
    ListProblems: &[Kind::Unauthenticated, Kind::Forbidden, Kind::StorageUnavailable];
    /// Of making one.
    BeginProblems: &[Kind::Unauthenticated, Kind::Forbidden, Kind::StorageUnavailable, Kind::StorageFull], BODY;
}

/// All backups.
#[derive(Serialize, ToSchema)]
#[schema(as = Backups)]
struct BackupList {
    /// Newest first.
    items: Vec<BackupItem>,
}

/// A copy of the database.
#[derive(Serialize, ToSchema)]
#[schema(as = Backup)]
struct BackupItem {
    /// The moment that it is of, as its file is named.
    #[schema(example = "2026-11-29T03-30-00-004Z")]
    id: String,
    /// The name of its file, in the folder of backups.
    file: String,
    /// Its size; so far, while it is being made.
    bytes: u64,
    /// The moment that it is of.
    #[schema(value_type = String, format = DateTime)]
    at: Timestamp,
    /// Whether all of it was read back and adds up. `false` while it is being made, too.
    verified: bool,
}

impl From<Backup> for BackupItem {
    fn from(backup: Backup) -> Self {
        let file = backup.file_name();
        let Backup { id, bytes, at, verified, .. } = backup;
        Self { id, file, bytes, at, verified }
    }
}

/// List the backups
///
/// Those in the folder of backups, with the one that is being made. For administrators.
#[utoipa::path(
    get, path = "/api/v1/admin/backups", operation_id = "listBackups", tag = "operations",
    params(Caller),
    responses((status = 200, description = "All of them.", body = BackupList), ListProblems),
)]
async fn list(Extension(backups): Extension<Arc<Backups>>, caller: Caller) -> HandlerResult<Response> {
    caller.require_administrator()?;
    let found = spawn_blocking(move || backups.list()).await.map_err(Error::internal)??;
    let items = found.into_iter().map(BackupItem::from).collect();
    Ok(json(Success::Done, &BackupList { items })?)
}

/// Make a backup now
///
/// Of the moment at which it begins, while changes go on. It counts once all of it was read back: the list then says
/// `verified`. While one is being made, that is the answer. For administrators.
#[utoipa::path(
    post, path = "/api/v1/admin/backups", operation_id = "makeBackup", tag = "operations",
    params(Caller),
    responses((status = 202, description = "It has begun.", body = BackupItem), BeginProblems),
)]
async fn begin(
    Extension(backups): Extension<Arc<Backups>>,
    Extension(jobs): Extension<RunnerHandle>,
    caller: Caller,
    sent: RawBody,
) -> HandlerResult<Response> {
    caller.require_administrator()?;
    if !sent.media_type.is_empty() {
        sent.one_of(&[JSON])?;
    }
    if !matches!(sent.bytes.trim_ascii(), b"" | b"{}") {
        return Err(Error::invalid_field("body", "has no meaning here; send none").into());
    }
    let asked = Arc::clone(&backups);
    spawn_blocking(move || asked.check_room()).await.map_err(Error::internal)??;
    let mut begun = backups.subscribe_begun();
    begun.mark_unchanged();
    match jobs.run_now(JOB, false).await {
        Ok(_) => drop(timeout(WAIT, begun.changed()).await),
        // The run may have been recorded, and not have begun to copy.
        Err(error) if error.kind() == Kind::AlreadyExists => {
            if backups.running().is_none() {
                let _ = timeout(WAIT, begun.changed()).await;
            }
        }
        Err(error) => return Err(error.into()),
    }
    let newest = match backups.running() {
        Some(running) => Some(running),
        // It may have ended already.
        None => spawn_blocking(move || backups.list()).await.map_err(Error::internal)??.into_iter().next(),
    };
    let failed = || Error::new(Kind::StorageUnavailable, "the backup has failed; GET /api/v1/admin/jobs says why");
    Ok(json(Success::Accepted, &BackupItem::from(newest.ok_or_else(failed)?))?)
}
