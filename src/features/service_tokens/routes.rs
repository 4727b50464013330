//! The calls about service tokens, for administrators.

use axum::Extension;
use axum::extract::State;
use axum::response::Response;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::problems::SERVICE_TOKENS_FULL;
use super::rules::{NamedExtent, ServiceToken, ServiceTokenSecret, TokenAccess, named_extent};
use super::service::ServiceTokenStore;
use crate::base::clock::Timestamp;
use crate::base::display_name::DisplayName;
use crate::base::entropy::new_id;
use crate::base::error::{Error, Kind as K, Result, both};
use crate::base::ids::SessionId;
use crate::http::api::Api;
use crate::http::error::HandlerResult;
use crate::http::request::body::Json;
use crate::http::request::caller::Caller;
use crate::http::request::path::PathParameter;
use crate::http::response::json::json;
use crate::http::response::openapi::{BODY, problems};
use crate::http::response::revoked::{RevokedLater, revoked};
use crate::http::response::success::Success;

pub(crate) fn router(tokens: ServiceTokenStore) -> OpenApiRouter<Api> {
    OpenApiRouter::new().routes(routes!(list, make)).routes(routes!(end)).layer(Extension(tokens))
}

const ACCESS: &[K] = &[K::Unauthenticated, K::StorageUnavailable];

problems! {
    /// Of making one.
    MakeProblems: ACCESS, BODY, &[&SERVICE_TOKENS_FULL];
    /// Of listing them.
    ListProblems: ACCESS;
    /// Of ending one.
    EndProblems: ACCESS, &[K::NotFound];
}

/// A service token to make.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct ServiceTokenBody {
    /// What it is for, in words for people: 1 to 40 characters.
    #[schema(example = "scoreboard")]
    name: String,
    /// `read`, `write`, or `administrator`: everything, as an administrator.
    #[schema(example = "read")]
    access: String,
    /// The documents that it reaches, each `collection/id`, also one that is to be created; at most 50.
    documents: Option<Vec<String>>,
    /// The collections that it reaches as a whole; at most 50. Without documents and collections it reaches all
    /// documents.
    collections: Option<Vec<String>>,
}

/// A service token.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = ServiceToken)]
struct ServiceTokenItem {
    /// Names it; no secret.
    #[schema(value_type = String)]
    id: SessionId,
    name: String,
    /// `read`, `write` or `administrator`.
    access: &'static str,
    /// The documents that it reaches; null, as `collections`: all.
    #[schema(required = true)]
    documents: Option<Vec<String>>,
    /// The collections that it reaches.
    #[schema(required = true)]
    collections: Option<Vec<String>>,
    /// Who made it; `@owner`: the server's owner.
    created_by: String,
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
    /// When it was last shown; null: never.
    #[schema(value_type = Option<String>, format = DateTime, required = true)]
    last_used_at: Option<Timestamp>,
}

impl ServiceTokenItem {
    fn new(token: ServiceToken) -> Self {
        let (documents, collections) = token.extent.map_or((None, None), |NamedExtent { documents, collections }| {
            (Some(documents), Some(collections.iter().map(ToString::to_string).collect()))
        });
        Self {
            id: token.id,
            name: token.name.as_str().to_owned(),
            access: token.access.as_str(),
            documents,
            collections,
            created_by: token.created_by,
            created_at: token.created_at,
            last_used_at: token.last_used_at,
        }
    }
}

/// A service token that was made.
#[derive(Serialize, ToSchema)]
struct MadeServiceToken {
    /// What is to be shown from now on, as `Authorization: Bearer`. A secret: it stands in this answer and nowhere
    /// else.
    #[schema(pattern = "^rejoin_service_[A-Za-z0-9_-]{43}$")]
    token: String,
    #[serde(flatten)]
    service_token: ServiceTokenItem,
}

/// Error: `Forbidden` for whoever is no administrator in person: what a token makes would outlive it.
fn require_person(caller: &Caller) -> Result<()> {
    caller.require_administrator()?;
    match caller.service_token() {
        None => Ok(()),
        Some(_) => Err(Error::new(K::Forbidden, "a service token makes and ends no service tokens")),
    }
}

/// Make a service token
///
/// For administrators. Scripts and bots show it, instead of a person's session: it acts for the server's owner, within
/// what it names, and does not expire. What it creates is the owner's, and others do not see it as connected. No
/// `Idempotency-Key`: the token is kept nowhere, so that it could not be given again; end one that was made once too
/// often.
#[utoipa::path(
    post, path = "/api/v1/service-tokens", operation_id = "makeServiceToken", tag = "sessions",
    params(Caller), request_body = ServiceTokenBody,
    responses((status = 201, description = "It is made, on disk.", body = MadeServiceToken), MakeProblems),
)]
async fn make(
    State(api): State<Api>,
    Extension(tokens): Extension<ServiceTokenStore>,
    caller: Caller,
    Json(body): Json<ServiceTokenBody>,
) -> HandlerResult<Response> {
    require_person(&caller)?;
    let unknown = || Error::invalid_field("access", "must be read, write or administrator");
    let access = TokenAccess::parse(&body.access).ok_or_else(unknown);
    let (name, access) = both(DisplayName::new("name", &body.name), access)?;
    let extent = named_extent(access, body.documents, body.collections)?;
    let now = api.clock.now();
    let secret = ServiceTokenSecret::new(&*api.entropy);
    let token = ServiceToken {
        id: SessionId::new(&new_id(&*api.entropy, now))?,
        name,
        access,
        extent,
        created_by: caller.viewer.scope().to_owned(),
        created_at: now,
        last_used_at: None,
    };
    tokens.add(&secret, token.clone()).await?;
    let made = MadeServiceToken { token: secret.expose().to_owned(), service_token: ServiceTokenItem::new(token) };
    Ok(json(Success::Created, &made)?)
}

/// All service tokens.
#[derive(Serialize, ToSchema)]
struct ServiceTokenList {
    /// Oldest first.
    items: Vec<ServiceTokenItem>,
}

/// List service tokens
///
/// For administrators.
#[utoipa::path(
    get, path = "/api/v1/service-tokens", operation_id = "listServiceTokens", tag = "sessions",
    params(Caller),
    responses((status = 200, description = "Those that have not ended.", body = ServiceTokenList), ListProblems),
)]
async fn list(Extension(tokens): Extension<ServiceTokenStore>, caller: Caller) -> HandlerResult<Response> {
    caller.require_administrator()?;
    let items = tokens.table.list().into_iter().map(ServiceTokenItem::new).collect();
    Ok(json(Success::Done, &ServiceTokenList { items })?)
}

/// End a service token
///
/// For administrators. It is void and its streams close at once.
#[utoipa::path(
    delete, path = "/api/v1/service-tokens/{id}", operation_id = "endServiceToken", tag = "sessions",
    params(("id" = String, Path, description = "The token's id."), Caller),
    responses((status = 204, description = "It has ended, on disk."), RevokedLater, EndProblems),
)]
async fn end(
    Extension(tokens): Extension<ServiceTokenStore>,
    caller: Caller,
    PathParameter(id): PathParameter,
) -> HandlerResult<Response> {
    require_person(&caller)?;
    let none = || Error::not_found("there is no such service token; GET /api/v1/service-tokens lists all");
    let live = tokens.table.find(&id).ok_or_else(none)?;
    Ok(revoked(tokens.end(&live).await)?)
}
