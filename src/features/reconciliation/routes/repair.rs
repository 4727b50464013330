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
use crate::features::reconciliation::repair::RowSource;
use crate::features::reconciliation::scrub::{RequestedRepair, SharedComparer};
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

/// What to mend: a document or a row.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schema(as = RepairDocument)]
struct RepairBody {
    /// The document, `collection/id`.
    #[schema(example = "games/g1")]
    document: Option<String>,
    /// The row of a table, as a verdict names it.
    #[schema(example = "seats/games/g1/bob")]
    row: Option<String>,
    /// `memory`: what is in memory is written anew; `disk`: what the rows of a document say becomes its state by a new
    /// event, and a row is taken as it is; `neither`: the row is removed.
    #[schema(pattern = "^(memory|disk|neither)$")]
    source: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct RepairResponse<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    document: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    row: Option<String>,
    source: &'static str,
    done: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<Version>,
    #[serde(skip_serializing_if = "Option::is_none")]
    hash: Option<Hash>,
    service: &'a str,
    status: VerdictStatus,
}

/// Mend a document or row that was found different
///
/// Memory and disk are compared before and after; what is the same is left alone. The new verdict is
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
    let (request, source) = repair_request(&body)?;
    let repaired = shared.repair(&reconciliation, request).await?;
    let answer = RepairResponse {
        document: body.document,
        row: body.row,
        source,
        done: repaired.what,
        version: repaired.document.map(|(version, _)| version),
        hash: repaired.document.map(|(_, hash)| hash),
        service: &repaired.verdict.service,
        status: repaired.verdict.status,
    };
    Ok(json(Success::Done, &answer)?)
}

/// What the body asks for, and the name of its source. Error: it names neither a document nor a row, or both; or no
/// source.
fn repair_request(body: &RepairBody) -> Result<(RequestedRepair, &'static str)> {
    let RepairBody { document, row, source } = body;
    match (document, row) {
        (Some(document), None) => {
            let name = DocumentName::parse(document);
            let name = name.map_err(|error| Error::invalid_field("document", error.message()))?;
            let sources = [RepairSource::Memory, RepairSource::Disk];
            let source = sources.into_iter().find(|known| known.as_str() == source);
            let source = source.ok_or_else(|| Error::invalid_field("source", "must be memory or disk"))?;
            Ok((RequestedRepair::Document(name, source), source.as_str()))
        }
        (None, Some(row)) => {
            let source = RowSource::ALL.into_iter().find(|known| known.as_str() == source);
            let source = source.ok_or_else(|| Error::invalid_field("source", "must be memory, disk or neither"))?;
            Ok((RequestedRepair::Row(row.clone(), source), source.as_str()))
        }
        _ => Err(Error::invalid_field("document", "name a document or a row, and not both")),
    }
}
