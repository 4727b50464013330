//! The calls about games. A game is a document of the collection `games`; here is what that collection has beside.

use axum::extract::FromRequestParts;
use http::request::Parts;
use utoipa_axum::router::OpenApiRouter;

use crate::base::error::ProblemType;
use crate::base::error::{Kind as K, Result};
use crate::base::ids::{DocumentName, UserId};
use crate::engine::problems::NOT_PERSISTENT;
use crate::features::games::departures::Departures;
use crate::features::games::options::TokenLifetime;
use crate::features::games::problems::{
    GAME_COMPLETED, GAME_RUNNING, NOT_A_PARTICIPANT, RECONNECT_TOKEN_EXPIRED, RECONNECT_TOKEN_MISMATCH,
    RECONNECT_TOKEN_RACED, RECONNECT_TOKEN_UNKNOWN, RECONNECT_TOKEN_USED, SEAT_TAKEN, TABLE_FULL,
};
use crate::http::api::Api;
use crate::http::error::HttpError;
use crate::http::request::path;
use crate::http::response::json::json;
use crate::http::response::openapi::{BODY, problems};
use crate::http::response::relocation::RelocationPaths;

mod migrate;
mod persist;
mod reconnect;
mod seats;

/// The calls about games.
pub(crate) fn router(lifetime: TokenLifetime, departures: Departures) -> OpenApiRouter<Api> {
    OpenApiRouter::new()
        .merge(seats::router())
        .merge(reconnect::router(lifetime))
        .merge(persist::router())
        .merge(migrate::router(departures))
}

/// The collection of games.
const GAMES: &str = "games";

/// The calls about games that may have moved.
pub(crate) const RELOCATION_PATHS: RelocationPaths = RelocationPaths {
    collection: GAMES,
    prefixes: &["/api/v1/games/", "/api/game/"],
    not_redirected: &["import", "migrate"],
};

/// The extractor of the game that a path names with `{gameId}` or `{id}`. Error: `Invalid`.
pub(super) struct GamePath(pub DocumentName);

/// The extractor of `{playerId}`. Error: `Invalid`.
pub(super) struct PlayerPath(pub UserId);

impl<S: Send + Sync> FromRequestParts<S> for GamePath {
    type Rejection = HttpError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, HttpError> {
        Ok(Self(path::parse(parts, state, &["gameId", "id"], |id| DocumentName::new(GAMES, id)).await?))
    }
}

impl<S: Send + Sync> FromRequestParts<S> for PlayerPath {
    type Rejection = HttpError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, HttpError> {
        Ok(Self(path::parse(parts, state, &["playerId"], UserId::new).await?))
    }
}

const ACCESS: &[K] = &[K::Unauthenticated, K::Damaged, K::StorageUnavailable];
const ABSENT: &[K] = &[K::NotFound, K::Gone];
const REPEATED: &[K] = &[K::IdempotencyMismatch];
const MOVING: &[K] = &[K::Frozen];
const OVER: &[&ProblemType] = &[&GAME_COMPLETED];
const MEMORY: &[&ProblemType] = &[&NOT_PERSISTENT];

problems! {
    /// Of taking a seat.
    JoinProblems: ACCESS, ABSENT, BODY, REPEATED, MOVING, OVER, &[&SEAT_TAKEN, &TABLE_FULL];
    /// Of storing a game.
    PersistProblems: ACCESS, ABSENT, BODY, REPEATED, MOVING, &[K::VersionConflict], MEMORY;
    /// Of reading one back.
    RestoreProblems: ACCESS, ABSENT, &[K::PreconditionFailed], MEMORY;
    /// Of what is stored of one.
    PersistenceProblems: ACCESS, ABSENT;
    /// Of removing one.
    RemoveProblems: ACCESS, ABSENT, MOVING, &[&GAME_RUNNING], MEMORY;
    /// Of looking at the seats.
    SeatsProblems: ACCESS, ABSENT;
    /// Of leaving a seat.
    LeaveProblems: ACCESS, ABSENT, MOVING, OVER;
    /// Of ending a game.
    CompleteProblems: ACCESS, ABSENT, BODY, REPEATED, MOVING;
    /// Of asking for a token.
    TokenProblems: ACCESS, ABSENT, MOVING, OVER, &[&NOT_A_PARTICIPANT];
    /// Of coming back.
    ReconnectProblems: ACCESS, ABSENT, BODY, REPEATED, MOVING, OVER, &[
        &NOT_A_PARTICIPANT,
        &RECONNECT_TOKEN_UNKNOWN,
        &RECONNECT_TOKEN_EXPIRED,
        &RECONNECT_TOKEN_USED,
        &RECONNECT_TOKEN_RACED,
        &RECONNECT_TOKEN_MISMATCH,
    ];
}
