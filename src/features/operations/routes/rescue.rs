//! Writing everything to another file while storage fails.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use axum::Extension;
use axum::extract::State;
use axum::response::Response;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::base::error::Kind;
use crate::engine::problems::RESCUE_REFUSED;
use crate::http::api::Api;
use crate::http::error::HandlerResult;
use crate::http::request::body::{JSON, RawBody};
use crate::http::request::caller::Caller;
use crate::http::response::json::json;
use crate::http::response::openapi::{BODY, problems};
use crate::http::response::success::Success;

/// The folder whose files are served at `/`.
#[derive(Clone)]
struct PublicFolder(Option<Arc<Path>>);

impl PublicFolder {
    /// Whether a file at `path` would be served.
    fn holds(&self, path: &Path) -> bool {
        let folder = path.parent().and_then(|folder| folder.canonicalize().ok());
        let public = self.0.as_ref().and_then(|public| public.canonicalize().ok());
        public.zip(folder).is_some_and(|(public, folder)| folder.starts_with(public))
    }
}

pub(crate) fn router(public: Option<&Path>) -> OpenApiRouter<Api> {
    OpenApiRouter::new().routes(routes!(rescue)).layer(Extension(PublicFolder(public.map(Arc::from))))
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = RescueRequest)]
struct RescueBody {
    /// The absolute path of a file that does not exist, in a folder that does.
    #[schema(example = "/srv/rescued/rejoin.db")]
    to: String,
}

/// Where everything is stored now.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct RescueReply {
    /// The database file from now on.
    to: String,
    /// Whether everything is on disk there.
    durable: bool,
    /// The place of the newest event that is on disk there.
    durable_seq: u64,
    /// Changes that still wait.
    waiting: usize,
    /// `database`: all that was stored is there. `memory`: the database was overwritten, and only the documents that
    /// were in memory are there.
    from: &'static str,
    /// How many documents were rescued from memory.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(required = false, value_type = usize)]
    documents: Option<usize>,
    /// What is not there, of a rescue from memory.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(required = false, value_type = String)]
    lost: Option<&'static str>,
}

/// What only a database has.
const LOST: &str = "documents that were not in memory, all history before the rescue, and what is kept beside \
                    documents: seats, ended games, sessions, tokens, invitations, notifications, answers to \
                    Idempotency-Keys, records of jobs and reconciliation; a backup may have them";

/// Write everything to another file
///
/// While storage fails: the database was replaced by another file, its folder cannot be written, its disk is full or
/// broken. Everything that is in memory and in the open file is written to a new file, with which the server goes on;
/// nothing else is touched. Of a database that was overwritten in place nothing is left: then the documents that are in
/// memory are written, each at its newest version with one more that changes nothing, and the answer says what is lost.
/// The next start reads the data directory: put the file there first, as `rejoin.db`. For administrators.
#[utoipa::path(
    post, path = "/api/v1/admin/storage/rescue", operation_id = "rescueStorage", tag = "operations",
    params(Caller), request_body = RescueBody,
    responses(
        (status = 200, description = "Everything is on disk there.", body = RescueReply),
        (status = 202, description = "What was stored is there; the changes that waited still do.", body = RescueReply),
        RescueProblems,
    ),
)]
async fn rescue(
    State(api): State<Api>,
    Extension(public): Extension<PublicFolder>,
    caller: Caller,
    sent: RawBody,
) -> HandlerResult<Response> {
    caller.require_administrator()?;
    sent.one_of(&[JSON])?;
    let RescueBody { to } = sent.parse()?;
    if public.holds(Path::new(&to)) {
        return Err(RESCUE_REFUSED.error(format!("'{to}' would be served: its folder is public; name another")).into());
    }
    let outcome = api.engine.rescue(PathBuf::from(&to)).await?;
    let durable = outcome.waiting == 0;
    let success = Success::accepted_unless(durable);
    let documents = outcome.from_memory;
    let from = if documents.is_some() { "memory" } else { "database" };
    let (durable_seq, waiting, lost) = (outcome.durable.0, outcome.waiting, documents.map(|_| LOST));
    let answer = RescueReply { to, durable, durable_seq, waiting, from, documents, lost };
    Ok(json(success, &answer)?)
}

problems! {
    /// Of a rescue.
    RescueProblems: &[Kind::Unauthenticated, Kind::StorageUnavailable, Kind::StorageFull], BODY, &[&RESCUE_REFUSED];
}
