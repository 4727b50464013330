//! Tokens, and coming back with one.

use axum::Extension;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use http::{HeaderMap, Method};
use serde::{Deserialize, Serialize};
use utoipa::{OpenApi, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::{GamePath, ReconnectProblems, TokenProblems, json};
use crate::base::clock::Timestamp;
use crate::base::error::{Error, Kind};
use crate::base::ids::UserId;
use crate::document::visibility::Viewer;
use crate::features::games::options::TokenLifetime;
use crate::features::games::reconnect::{self, ReconnectRequest};
use crate::features::games::service;
use crate::features::games::tokens::ReconnectToken;
use crate::http::api::Api;
use crate::http::error::HandlerResult;
use crate::http::idempotency::{IdempotentRequest, StoredResponse};
use crate::http::request::body::JSON;
use crate::http::request::caller::Caller;
use crate::http::request::csrf::{RequestIntent, check_csrf};
use crate::http::request::query::Query;
use crate::http::response::success::Success;
use crate::store::IdempotentAnswer;

const NO_STORE: HeaderValue = HeaderValue::from_static("no-store");

#[derive(OpenApi)]
#[openapi(
    components(schemas(ReconnectBody, Reconnected)),
    tags((name = "games", description = "Seats in games, and coming back to them."))
)]
struct Schemas;

pub(super) fn router(lifetime: TokenLifetime) -> OpenApiRouter<Api> {
    let routes = OpenApiRouter::with_openapi(Schemas::openapi());
    routes.routes(routes!(connection_token)).routes(routes!(reconnect)).layer(Extension(lifetime))
}

#[derive(Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct TokenQuery {
    /// The player whose seat it takes back.
    #[param(value_type = String)]
    player_id: UserId,
}

/// A reconnect token. A secret: it stands in this answer and nowhere else.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct ConnectionToken {
    /// What to show at reconnect, once.
    #[schema(pattern = "^rjt_[A-Za-z0-9_-]{43}$")]
    token: String,
    /// From when on it is good no more.
    #[schema(value_type = String, format = DateTime)]
    expires_at: Timestamp,
    /// The player whose seat it takes back.
    #[schema(value_type = String)]
    player_id: UserId,
}

/// Get a token that takes a seat back
///
/// For the player who holds the seat, or the host. A GET that writes: it is refused to pages of other sites, to frames
/// and images. Where the browser does not say where a request comes from (over plain HTTP beyond this machine), a
/// cookie alone is not enough: send `Rejoin-Request: 1` with it, or the session as a bearer token. `HEAD` makes no
/// token.
#[utoipa::path(
    get, path = "/api/game/{gameId}/connection-token", operation_id = "getConnectionToken", tag = "games",
    params(
        ("gameId" = String, Path, description = "The game."),
        Caller,
        TokenQuery,
        ("Rejoin-Request" = Option<String>, Header,
            description = "`1`: the request is meant, which no other site's page can say."),
    ),
    responses((status = 200, description = "The token, on disk as a hash.", body = ConnectionToken), TokenProblems),
)]
async fn connection_token(
    State(api): State<Api>,
    Extension(lifetime): Extension<TokenLifetime>,
    GamePath(game): GamePath,
    caller: Caller,
    Query(TokenQuery { player_id }): Query<TokenQuery>,
    method: Method,
    headers: HeaderMap,
) -> HandlerResult<Response> {
    check_meant(&caller, &headers)?;
    if method == Method::HEAD {
        service::check_token(&api, &game, caller.viewer, player_id).await?;
        return Ok([(CONTENT_TYPE, HeaderValue::from_static(JSON)), (CACHE_CONTROL, NO_STORE)].into_response());
    }
    let (token, expires_at) =
        service::connection_token(&api, lifetime, &game, caller.viewer, player_id.clone()).await?;
    let answer = ConnectionToken { token: token.expose().to_owned(), expires_at, player_id };
    let mut response = json(Success::Done, &answer)?;
    response.headers_mut().insert(CACHE_CONTROL, NO_STORE);
    Ok(response)
}

/// Refuses a request that a page of another site may have caused. The owner of the server, on its own machine and
/// without a session, needs nothing to show: their browser says where a request comes from. Error: `Forbidden`.
fn check_meant(caller: &Caller, headers: &HeaderMap) -> Result<(), Error> {
    let owner = caller.credential.is_none() && caller.viewer == Viewer::Owner;
    if check_csrf(headers)? == RequestIntent::Proven || owner {
        return Ok(());
    }
    let message = "nothing shows that this request was meant: add the header Rejoin-Request: 1, or show the session as \
                   Authorization: Bearer";
    Err(Error::new(Kind::Forbidden, message))
}

/// Who comes back, and from where. Never logged: it holds a secret.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct ReconnectBody {
    /// The game, as in the path.
    game_id: String,
    /// The player.
    #[schema(value_type = String, pattern = "^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$")]
    player_id: UserId,
    /// The newest token that the player has.
    reconnect_token: String,
    /// The last position that the client saw: `id` of a stream's event, `position` or `Rejoin-Position` of an answer.
    last_event_id: Option<String>,
}

/// A player who is back.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct Reconnected {
    /// True.
    success: bool,
    /// What the game says, as far as the player may see it.
    game_state: serde_json::Map<String, serde_json::Value>,
    /// Its version.
    version: u64,
    /// Its position: a stream from here goes on from exactly this state.
    position: String,
    /// When.
    #[schema(format = DateTime)]
    reconnected_at: String,
    /// The game's events after `lastEventId` up to this version, oldest first, as far as the player may see them.
    #[schema(value_type = Vec<Object>)]
    missed_events: Vec<serde_json::Value>,
    /// There when they cannot be told: `trimmed`, they are no longer kept; `diverged`, this log does not know the
    /// position.
    #[schema(required = false)]
    missed_reason: String,
    /// There, and true, when there are more of them: read the game's events after the last one.
    #[schema(required = false)]
    more_events: bool,
    /// The token for the next time, for this one is used up.
    #[schema(pattern = "^rjt_[A-Za-z0-9_-]{43}$")]
    reconnect_token: String,
}

/// Take a seat back
///
/// A token is good once: the answer brings the next. Send an `Idempotency-Key`, so that a lost answer can be had again.
#[utoipa::path(
    post, path = "/api/game/{gameId}/reconnect", operation_id = "reconnect", tag = "games",
    params(
        ("gameId" = String, Path, description = "The game."),
        Caller,
        IdempotentRequest,
    ),
    request_body = ReconnectBody,
    responses(
        (status = 200, description = "The player is back.", body = Reconnected,
            headers(("Idempotency-Replayed" = String, description = "`true` when this is the first answer again."))),
        ReconnectProblems,
    ),
)]
async fn reconnect(
    State(api): State<Api>,
    Extension(lifetime): Extension<TokenLifetime>,
    GamePath(game): GamePath,
    sent: IdempotentRequest,
) -> HandlerResult<Response> {
    let ReconnectBody { game_id, player_id, reconnect_token, last_event_id } = sent.object()?;
    if game_id != game.id.as_str() {
        return Err(Error::invalid_field("gameId", "must be the game that the path names").into());
    }
    // The fingerprint tells nothing of the token: what it covers holds 256 secret bits.
    let (key, viewer) = (sent.key().cloned(), sent.caller.viewer);
    let token = ReconnectToken::parse(&reconnect_token)?;
    let request = ReconnectRequest { game, player: player_id, viewer, token, last_event_id, key };
    let IdempotentAnswer { answer, replayed } = reconnect::reconnect(&api, lifetime, request).await?;
    let mut response = StoredResponse::from_json(Success::Done, answer)?.into_response(replayed)?;
    response.headers_mut().insert(CACHE_CONTROL, NO_STORE);
    Ok(response)
}
