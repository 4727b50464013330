//! `POST /reconciliation/repair`.

use std::sync::Arc;

use axum::Extension;
use axum::response::Response;
use serde::{Deserialize, Serialize};
use utoipa::{OpenApi, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::schemas::{RepairResult, Verdicts};
use super::{RepairProblems, json};
use crate::base::error::{Error, Result};
use crate::base::ids::{DocumentName, Version};
use crate::document::chain::Hash;
use crate::engine::request::RepairSource;
use crate::features::reconciliation::scrub::SharedComparer;
use crate::features::reconciliation::service::Reconciliation;
use crate::features::reconciliation::verdict::VerdictStatus;
use crate::http::api::Api;
use crate::http::error::HandlerResult;
use crate::http::request::body::{JSON, RawBody};
use crate::http::request::caller::Caller;
use crate::http::response::success::Success;

#[derive(OpenApi)]
#[openapi(components(schemas(RepairBody, RepairResult, Verdicts)))]
struct Schemas;

/// The call that mends.
pub(crate) fn router(shared: SharedComparer, reconciliation: Arc<Reconciliation>) -> OpenApiRouter<Api> {
    let routes = OpenApiRouter::with_openapi(Schemas::openapi()).routes(routes!(repair));
    routes.layer(Extension(shared)).layer(Extension(reconciliation))
}

/// What to mend.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schema(as = RepairDocument)]
struct RepairBody {
    /// The document, `collection/id`.
    #[schema(example = "games/g1")]
    document: String,
    /// `memory`: its rows are written anew; `disk`: what its rows say becomes the state by a new event.
    #[schema(pattern = "^(memory|disk)$")]
    source: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct RepairResponse<'a> {
    document: String,
    source: &'static str,
    done: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<Version>,
    #[serde(skip_serializing_if = "Option::is_none")]
    hash: Option<Hash>,
    service: &'a str,
    status: VerdictStatus,
}

/// Mend a document that was found different
///
/// Memory and disk are compared before and after; a document that is the same is left alone. The new verdict is
/// recorded as `repair`, with what was done. Refused while storage fails, but for `memory` where what somebody else has
/// appended to the log is the reason. For administrators.
#[utoipa::path(
    post, path = "/reconciliation/repair", operation_id = "repairDocument", tag = "reconciliation",
    params(Caller), request_body = RepairBody,
    responses((status = 200, description = "What was done.", body = RepairResult), RepairProblems),
)]
async fn repair(
    Extension(reconciliation): Extension<Arc<Reconciliation>>,
    Extension(shared): Extension<SharedComparer>,
    caller: Caller,
    sent: RawBody,
) -> HandlerResult<Response> {
    caller.require_administrator()?;
    sent.one_of(&[JSON])?;
    let body: RepairBody = sent.parse()?;
    let name = DocumentName::parse(&body.document);
    let name = name.map_err(|error| Error::invalid_field("document", error.message()))?;
    let side = side(&body.source)?;
    let repaired = shared.repair(&reconciliation, name, side).await?;
    let answer = RepairResponse {
        document: body.document,
        source: side.as_str(),
        done: repaired.what,
        version: repaired.document.map(|(version, _)| version),
        hash: repaired.document.map(|(_, hash)| hash),
        service: &repaired.verdict.service,
        status: repaired.verdict.status,
    };
    Ok(json(Success::Done, &answer)?)
}

fn side(text: &str) -> Result<RepairSource> {
    let sides = [RepairSource::Memory, RepairSource::Disk];
    let side = sides.into_iter().find(|side| side.as_str() == text);
    side.ok_or_else(|| Error::invalid_field("source", "must be memory or disk"))
}
