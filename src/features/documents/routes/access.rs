//! Who hosts a document, and who may do what with it.

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::HeaderMap;
use http::header::{CONTENT_TYPE, ETAG, HeaderValue};
use serde::Deserialize;
use utoipa::ToSchema;

use super::description::{ActProblems, DocumentProblems, WriteResponses};
use super::schemas;
use super::write_request::WriteRequest;
use super::writes::{ResponseContent, access_json};
use crate::base::error::{Error, Kind};
use crate::base::ids::{UserId, Version};
use crate::document::access::{Access, Grant};
use crate::document::decide::{Expected, Request, WriteOperation};
use crate::document::visibility::Viewer;
use crate::http::api::Api;
use crate::http::error::HandlerResult;
use crate::http::request::body::JSON;
use crate::http::request::caller::Caller;
use crate::http::request::path::DocumentPath;
use crate::http::request::preconditions::is_unchanged;
use crate::http::response::openapi::{ChangeRefusals, IfNoneMatch, Preconditions, WriteHeaders};
use crate::http::response::success::not_modified;

/// Who may do what with a document besides its host, who always may. What is left out takes its default.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct AccessBody {
    /// Who may read it, and everything that tells of it; left out: `all`.
    #[schema(value_type = Option<schemas::GrantSchema>)]
    read: Option<Grant>,
    /// Who of those may write; left out: `all`.
    #[schema(value_type = Option<schemas::GrantSchema>)]
    write: Option<Grant>,
    /// Who of those may delete it; left out: `host`.
    #[schema(value_type = Option<schemas::GrantSchema>)]
    delete: Option<Grant>,
    /// Who is to be its host; left out: as it is. `owner`: the owner of the server.
    #[schema(value_type = Option<String>, pattern = "^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$")]
    #[serde(default, deserialize_with = "Viewer::deserialize_optional_id")]
    host: Option<UserId>,
    /// Only if the document is at this version.
    #[schema(value_type = Option<u64>)]
    expected_version: Option<Version>,
}

/// Say who may read, write and delete a document
///
/// For its host, and for administrators. A change like any other: it takes a version and is in the history, of which
/// players see that it happened and not what it says. Whoever loses the right to read gets 404 from here on, and their
/// open streams end with `bye` (`access-ended`); whose view changes otherwise gets a `snapshot` (`access`).
#[utoipa::path(
    put, path = "/api/v1/{collection}/{id}/access", operation_id = "setAccess", tag = "documents",
    params(DocumentPath, Caller, Preconditions, WriteHeaders), request_body = AccessBody,
    responses(WriteResponses<schemas::DocumentAccess>, ActProblems, ChangeRefusals),
)]
pub(super) async fn set_access(
    State(api): State<Api>,
    DocumentPath(name): DocumentPath,
    sent: WriteRequest,
) -> HandlerResult<Response> {
    let (AccessBody { read, write, delete, host, expected_version }, expected) = sent.object()?;
    let default = Access::default();
    let access = Access {
        read: read.unwrap_or(default.read),
        write: write.unwrap_or(default.write),
        delete: delete.unwrap_or(default.delete),
    };
    let operation = WriteOperation::SetAccess { host, access, by_administrator: sent.administrator };
    let request = Request { name, operation, expected: Expected { version: expected_version, ..expected } };
    sent.execute(&api, vec![request], ResponseContent::Access).await
}

/// Read who may read, write and delete a document
///
/// For its host, and for administrators.
#[utoipa::path(
    get, path = "/api/v1/{collection}/{id}/access", operation_id = "readAccess", tag = "documents",
    params(DocumentPath, Caller, IfNoneMatch),
    responses(
        (status = 200, description = "Host and access.", body = schemas::DocumentAccess,
            headers(("ETag" = String, description = "`\"<version>-<short hash>\"`."))),
        (status = 304, description = "The document is at the version that the caller has."),
        DocumentProblems,
    ),
)]
pub(super) async fn read_access(
    State(api): State<Api>,
    DocumentPath(name): DocumentPath,
    caller: Caller,
    headers: HeaderMap,
) -> HandlerResult<Response> {
    let viewer = if caller.administrator { &Viewer::Owner } else { &caller.viewer };
    let document = api.reads.live_document(&name, viewer).await?;
    if !document.meta.is_host(viewer) {
        return Err(Error::new(Kind::Forbidden, "only the host of the document sees its access").into());
    }
    let tag = HeaderValue::try_from(format!("\"{}\"", document.tag())).map_err(Error::internal)?;
    if is_unchanged(&headers, &document, viewer)? {
        return Ok(([(ETAG, tag)], not_modified()).into_response());
    }
    let body = access_json(&document, document.seq <= api.reads.hub.gate().durable())?;
    Ok(([(CONTENT_TYPE, HeaderValue::from_static(JSON)), (ETAG, tag)], body).into_response())
}
