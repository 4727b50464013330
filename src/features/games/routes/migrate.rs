//! Moving a game: the call of people, and the one by which servers move it.

use axum::Extension;
use axum::extract::{FromRequest, OriginalUri, Request, State};
use axum::response::Response;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::{GamePath, MEMORY, json};
use crate::base::error::ProblemType;
use crate::base::error::{Error, Kind as K, Result};
use crate::base::ids::Version;
use crate::document::chain::Position;
use crate::features::games::departures::Departures;
use crate::features::games::migrate_cancel;
use crate::features::games::migrate_in::{self, ImportedHead};
use crate::features::games::migrate_out::{self, MigratedGame, MigrationKey};
use crate::features::games::problems::{
    GAME_TOO_LARGE, MOVE_CANCELLED, MOVE_CONFIRMED, MOVE_REFUSED, NO_MOVE, OTHER_SERVER_UNAVAILABLE,
};
use crate::features::games::protocol::MigrationPiece;
use crate::http::api::Api;
use crate::http::error::HandlerResult;
use crate::http::idempotency::{IdempotentRequest, StoredResponse};
use crate::http::request::body::{BodyLimits, JSON, RawBody};
use crate::http::request::caller::Caller;
use crate::http::request::query::Query;
use crate::http::response::openapi::{BODY, problems};
use crate::http::response::relocation;
use crate::http::response::success::{Success, no_content};

pub(super) fn router(departures: Departures) -> OpenApiRouter<Api> {
    OpenApiRouter::new().routes(routes!(migrate, cancel)).routes(routes!(import)).layer(Extension(departures))
}

const TOO_LARGE: &[&ProblemType] = &[&GAME_TOO_LARGE];

problems! {
    /// Of moving.
    MigrateProblems:
        &[
            K::Unauthenticated, K::NotFound, K::Gone, K::Rejected, K::IdempotencyMismatch, K::Frozen,
            K::StorageUnavailable, K::Damaged
        ],
        BODY, MEMORY, TOO_LARGE, &[&OTHER_SERVER_UNAVAILABLE, &MOVE_REFUSED, &MOVE_CANCELLED];
    /// Of cancelling a move.
    CancelProblems:
        &[K::Unauthenticated, K::NotFound, K::Gone, K::StorageUnavailable, K::Damaged],
        &[&MOVE_CONFIRMED, &NO_MOVE, &OTHER_SERVER_UNAVAILABLE];
    /// Of taking in.
    ImportProblems:
        &[
            K::Unauthenticated, K::NotFound, K::AlreadyExists, K::Rejected, K::Frozen, K::StorageUnavailable,
            K::Damaged
        ],
        BODY, TOO_LARGE;
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
    /// Whether the other server has made it live. If not, it is asked until it does; the game takes no changes until
    /// then.
    confirmed: bool,
}

/// Move a game to another server
///
/// By its host or an administrator. Its state, history and positions go along, and seats, its end, reconnect tokens (as
/// hashes: who has one shows it there) and the answers kept for retries. The game takes no changes while it moves, nor
/// do its seats and tokens; then its streams tell `moved`, and every request about it is answered with 308. It can come
/// back in the same way.
#[utoipa::path(
    post, path = "/api/v1/games/{id}/migrate", operation_id = "migrateGame", tag = "games",
    params(
        ("id" = String, Path, description = "The game's id."),
        Caller,
        IdempotentRequest,
    ),
    request_body = MigrateBody,
    responses(
        (status = 200, description = "It is live at the other server.", body = Migrated,
            headers(("Idempotency-Replayed" = String, description = "`true` when this is the first answer again."))),
        (status = 202, description = "It is the other server's, which has not answered yet.", body = Migrated,
            headers(("Idempotency-Replayed" = String, description = "`true` when this is the first answer again."))),
        MigrateProblems,
    ),
)]
async fn migrate(
    State(api): State<Api>,
    Extension(departures): Extension<Departures>,
    GamePath(name): GamePath,
    OriginalUri(uri): OriginalUri,
    sent: IdempotentRequest,
) -> HandlerResult<Response> {
    if !sent.caller.administrator {
        api.reads.check_reader(&name, &sent.caller.viewer).await?;
    }
    if let Some(before) = sent.stored_response(&api).await? {
        return Ok(before);
    }
    relocation::check_moved(&api.reads.hub, &name, &uri)?;
    let MigrateBody { to } = sent.object()?;
    let retry = sent.key().map(|key| MigrationKey { key: key.clone(), render });
    let departed = migrate_out::migrate(&api, &departures, &sent.caller, (name, &to), retry).await?;
    Ok(render(&departed)?.into_response(false)?)
}

#[derive(Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
struct CancelQuery {
    /// `true`: also if the other server does not say that it lets go. If it has made the game live all the same, there
    /// are two from then on. For administrators.
    force: Option<bool>,
}

/// Cancel the move of a game
///
/// By its host or an administrator, until the other server has made the game live. The game takes changes here again,
/// and the other server drops what had come. Whoever ordered the move is told that it was cancelled. Once the move is
/// recorded, the other server is asked first whether it has the game.
#[utoipa::path(
    delete, path = "/api/v1/games/{id}/migrate", operation_id = "cancelMigration", tag = "games",
    params(("id" = String, Path, description = "The game's id."), Caller, CancelQuery),
    responses((status = 204, description = "The game stays, and takes changes."), CancelProblems),
)]
async fn cancel(
    State(api): State<Api>,
    Extension(departures): Extension<Departures>,
    GamePath(name): GamePath,
    caller: Caller,
    Query(CancelQuery { force }): Query<CancelQuery>,
) -> HandlerResult<Response> {
    let force = force.unwrap_or(false);
    if force {
        caller.require_administrator()?;
    }
    // In a task of its own: what was begun is ended, whether the caller waits for it or not.
    let cancelled = tokio::spawn(async move { migrate_cancel::cancel(&api, &departures, &caller, name, force).await });
    cancelled.await.map_err(Error::internal)??;
    Ok(no_content())
}

/// The answer as it is given and kept.
fn render(departed: &MigratedGame) -> Result<StoredResponse> {
    let MigratedGame { document, to, confirmed } = departed;
    let (position, confirmed) = (document.position(), *confirmed);
    let (version, hash) = (document.version, document.hash.to_string());
    let body = Migrated { success: true, to: to.clone(), version, hash, position, confirmed };
    StoredResponse::json(Success::accepted_unless(confirmed), &body)
}

/// What is known of the game's history so far.
#[derive(Serialize, ToSchema)]
struct Imported {
    /// Its last version.
    #[schema(value_type = u64)]
    version: Version,
    /// Its last hash.
    hash: String,
    /// The digest of what belongs to it, as long as that is not live.
    #[serde(skip_serializing_if = "Option::is_none")]
    rows: Option<String>,
}

/// Take in a game of another server, piece by piece
///
/// For servers, which do this one after the other: `begin` with a head, `events` and `rows` as often as needed,
/// `prepare`, and when the other server has recorded the move, `confirm`, which makes the game live; or `cancel`. For
/// administrators only.
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
    GamePath(name): GamePath,
    caller: Caller,
    request: Request,
) -> HandlerResult<Response> {
    caller.require_administrator()?;
    // An event may hold a whole request and a whole state, and lies some levels deeper than either.
    let limits = BodyLimits { bytes_max: api.body.bytes_max * 2 + (1 << 20), depth_max: api.body.depth_max + 16 };
    let body = RawBody::from_request(request, &limits).await?;
    body.one_of(&[JSON])?;
    // Not by the path-tracking reader, which does not keep bodies as they are.
    let piece: MigrationPiece = serde_json::from_slice(&body.bytes)
        .map_err(|error| Error::invalid_field("body", "is not a piece of a game").caused_by(error))?;
    // In a task of its own: what was begun is ended, whether the other server waits for it or not.
    let taken = tokio::spawn(async move { migrate_in::take(&api, name, piece).await });
    match taken.await.map_err(Error::internal)?? {
        None => Ok(no_content()),
        Some(ImportedHead { version, hash, rows }) => {
            let (hash, rows) = (hash.to_string(), rows.map(|rows| rows.to_string()));
            Ok(json(Success::Done, &Imported { version, hash, rows })?)
        }
    }
}
