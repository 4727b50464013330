//! Moving a game: the call of people, and the one by which servers move it.

use axum::extract::{FromRequest, Request, State};
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::{Game, MEMORY, json};
use crate::base::error::{Error, Kind, Kind as K};
use crate::base::ids::Version;
use crate::base::limits::{DEPTH_MAX, STATE_BYTES_MAX};
use crate::document::chain::Position;
use crate::document::json::Bounds;
use crate::document::visibility::Viewer;
use crate::features::games::wire::Piece;
use crate::features::games::{arrival, departure};
use crate::http::api::Api;
use crate::http::body::{BodyLimits, JSON, RawBody};
use crate::http::caller::Caller;
use crate::http::openapi::problems;
use crate::http::problem::Handled;

/// Both calls.
pub fn router() -> OpenApiRouter<Api> {
    OpenApiRouter::new().routes(routes!(migrate)).routes(routes!(import))
}

problems! {
    /// Of moving.
    MigrateProblems: &[
        K::Unauthenticated, K::NotFound, K::Gone, K::UnsupportedMediaType, K::TooLarge, K::RequestTimeout, K::Rejected,
        K::Frozen, K::StorageUnavailable, K::Damaged,
    ] => MEMORY;
    /// Of taking in.
    ImportProblems: &[
        K::Unauthenticated, K::NotFound, K::AlreadyExists, K::UnsupportedMediaType, K::TooLarge, K::RequestTimeout,
        K::Rejected, K::Frozen, K::StorageUnavailable, K::Damaged,
    ];
}

/// Where to.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct MigrateBody {
    /// The other server, `http://host:port`: on this machine or on the tailnet.
    #[schema(example = "http://100.101.102.103:7766")]
    to: String,
}

/// A game that moved.
#[derive(Serialize, ToSchema)]
struct Migrated {
    /// Always true.
    success: bool,
    /// Where it goes on: `http://host:port`.
    to: String,
    /// Its version.
    #[schema(value_type = u64)]
    version: Version,
    /// Its hash.
    hash: String,
    /// Its position here, from which a stream there goes on.
    #[schema(value_type = String)]
    position: Position,
    /// Whether the other server has made it live. If not, it is asked until it does; the game takes no changes until then.
    confirmed: bool,
}

/// Move a game to another server
///
/// By its host. The game takes no changes while it moves; then its streams tell `moved`, and every request about it is
/// answered with 308. Its state, history and positions go along; seats, reconnect tokens and idempotency keys do not.
#[utoipa::path(
    post, path = "/api/v1/games/{id}/migrate", operation_id = "migrateGame", tag = "games",
    params(("id" = String, Path, description = "The game's id."), Caller), request_body = MigrateBody,
    responses(
        (status = 200, description = "It is live at the other server.", body = Migrated),
        (status = 202, description = "It is the other server's, which has not answered yet.", body = Migrated),
        MigrateProblems,
    ),
)]
async fn migrate(
    State(api): State<Api>,
    Game(name): Game,
    Caller { viewer, .. }: Caller,
    body: RawBody,
) -> Handled<Response> {
    body.one_of(&[JSON])?;
    let MigrateBody { to } = body.parse_object()?;
    let departed = departure::migrate(&api, &viewer, name, &to).await?;
    let answer = Migrated {
        success: true,
        to: departed.to,
        version: departed.document.version,
        hash: departed.document.hash.to_string(),
        position: departed.document.position(),
        confirmed: departed.confirmed,
    };
    let status = if departed.confirmed { StatusCode::OK } else { StatusCode::ACCEPTED };
    Ok(json(status, &answer)?)
}

/// What is known of the game's history so far.
#[derive(Serialize, ToSchema)]
struct Imported {
    /// Its last version.
    #[schema(value_type = u64)]
    version: Version,
    /// Its last hash.
    hash: String,
}

/// Take in a game of another server, piece by piece
///
/// For servers, which do this one after the other: `begin` with a head, `events` as often as needed, `prepare`, and when
/// the other server has recorded the move, `confirm`, which makes the game live; or `cancel`. Owner only.
#[utoipa::path(
    post, path = "/api/v1/games/{id}/import", operation_id = "importGame", tag = "games",
    params(("id" = String, Path, description = "The game's id."), Caller),
    request_body(content((Object = "application/json"))),
    responses(
        (status = 200, description = "All of it is here and verified, or live.", body = Imported),
        (status = 204, description = "Noted."),
        ImportProblems,
    ),
)]
async fn import(
    State(api): State<Api>,
    Game(name): Game,
    Caller { viewer, .. }: Caller,
    request: Request,
) -> Handled<Response> {
    if viewer != Viewer::Owner {
        return Err(Error::new(Kind::Forbidden, "only the owner of the server may take in games").into());
    }
    // An event may hold a whole request and a whole state, and lies some levels deeper than either.
    let limits = BodyLimits { bytes_max: api.body.bytes_max * 2 + (1 << 20), depth_max: api.body.depth_max + 16 };
    let body = RawBody::from_request(request, &limits).await?;
    body.one_of(&[JSON])?;
    // Not by the path-tracking reader, which does not keep bodies as they are.
    let piece: Piece = serde_json::from_slice(&body.bytes)
        .map_err(|error| Error::invalid_field("body", "is not a piece of a game").caused_by(error))?;
    let bounds = Bounds { depth_max: DEPTH_MAX, state_bytes_max: STATE_BYTES_MAX };
    match arrival::take(&api, name, piece, bounds).await? {
        None => Ok(StatusCode::NO_CONTENT.into_response()),
        Some(end) => Ok(json(StatusCode::OK, &Imported { version: end.version, hash: end.hash.to_string() })?),
    }
}
