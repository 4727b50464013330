//! Seats, and the end of a game.

use axum::extract::State;
use axum::response::Response;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::{CompleteProblems, GamePath, JoinProblems, LeaveProblems, PlayerPath, SeatsProblems, json};
use crate::base::clock::Timestamp;
use crate::base::ids::{DocumentId, DocumentName, UserId};
use crate::document::visibility::Viewer;
use crate::engine::request::Durability;
use crate::features::games::seats::Seat;
use crate::features::games::service::{self, GameCompletion};
use crate::http::api::Api;
use crate::http::error::HandlerResult;
use crate::http::idempotency::{IdempotentRequest, StoredResponse, respond};
use crate::http::request::caller::Caller;
use crate::http::response::revoked::{RevokedLater, revoked};
use crate::http::response::success::Success;

pub(super) fn router() -> OpenApiRouter<Api> {
    OpenApiRouter::new().routes(routes!(list, join)).routes(routes!(leave)).routes(routes!(complete))
}

/// Who takes a seat.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct JoinBody {
    /// The player.
    #[schema(value_type = String, pattern = "^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$")]
    #[serde(deserialize_with = "Viewer::deserialize_id")]
    player_id: UserId,
    /// Which seat, counted from 0; left out: the lowest free one.
    seat: Option<u32>,
}

/// A seat that is taken.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct TakenSeat {
    /// Who sits there.
    #[schema(value_type = String)]
    player_id: UserId,
    /// What they are called; absent: they were not asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(required = false, value_type = String)]
    name: Option<String>,
    /// Which it is, counted from 0.
    seat: u32,
    /// Since when.
    #[schema(value_type = String, format = DateTime)]
    joined_at: Timestamp,
    /// Whether the player is connected.
    connected: bool,
    /// When they were last seen; null: not since the server started.
    #[schema(value_type = Option<String>, format = DateTime, required = true)]
    last_seen: Option<Timestamp>,
    /// Since when they are connected, or are not; null: since before the server started.
    #[schema(value_type = Option<String>, format = DateTime, required = true)]
    since: Option<Timestamp>,
}

/// The seats that are taken, in their order.
#[derive(Serialize, ToSchema)]
struct Seats {
    items: Vec<TakenSeat>,
}

fn taken_seat(api: &Api, game: &DocumentName, seat: Seat) -> TakenSeat {
    let standing = api.presence.player(game, &seat.player);
    TakenSeat {
        name: api.names.of(&seat.player).map(|name| name.to_string()),
        player_id: seat.player,
        seat: seat.seat,
        joined_at: seat.joined_at,
        connected: standing.is_some_and(|standing| standing.connected),
        last_seen: standing.and_then(|standing| standing.last_seen),
        since: standing.and_then(|standing| standing.since),
    }
}

/// Take a seat in a game
///
/// For oneself, with the right to write to the game, or as the host for anybody. The first who asks gets the seat; who
/// has one keeps it, so that a retry is safe. The game's state says how many there are: `maxSeats`, at its top level;
/// left out: 10.
#[utoipa::path(
    post, path = "/api/v1/games/{id}/seats", operation_id = "takeSeat", tag = "games",
    params(("id" = String, Path, description = "The game."), Caller, IdempotentRequest), request_body = JoinBody,
    responses(
        (status = 201, description = "The seat is the player's, on disk.", body = TakenSeat),
        (status = 200, description = "The player has a seat already: this one.", body = TakenSeat),
        JoinProblems,
    ),
)]
async fn join(State(api): State<Api>, GamePath(game): GamePath, sent: IdempotentRequest) -> HandlerResult<Response> {
    let JoinBody { player_id, seat } = sent.object()?;
    api.reads.check_reader(&game, &sent.caller.viewer).await?;
    if let Some(before) = sent.stored_response(&api).await? {
        return Ok(before);
    }
    let (showing, name) = (api.clone(), game.clone());
    let once = sent.call(move |(seat, new): &(Seat, bool)| {
        let success = Success::created_if(*new);
        let mut taken = taken_seat(&showing, &name, seat.clone());
        if *new {
            // The others are told of it in a moment.
            taken.since = taken.since.or(Some(seat.joined_at));
        }
        StoredResponse::json(success, &taken)
    });
    let answered = service::join(&api, &game, &sent.caller.viewer, (player_id, seat), once).await?;
    Ok(respond(answered)?)
}

/// Who sits in a game
#[utoipa::path(
    get, path = "/api/v1/games/{id}/seats", operation_id = "listSeats", tag = "games",
    params(("id" = String, Path, description = "The game."), Caller),
    responses((status = 200, description = "The taken seats, in their order.", body = Seats), SeatsProblems),
)]
async fn list(
    State(api): State<Api>,
    GamePath(game): GamePath,
    Caller { viewer, .. }: Caller,
) -> HandlerResult<Response> {
    let seats = service::list(&api, &game, &viewer).await?;
    let items = seats.into_iter().map(|seat| taken_seat(&api, &game, seat)).collect();
    Ok(json(Success::Done, &Seats { items })?)
}

/// Leave a seat
///
/// By the player who has it, or by the host. The player's reconnect tokens end with it.
#[utoipa::path(
    delete, path = "/api/v1/games/{id}/seats/{playerId}", operation_id = "leaveSeat", tag = "games",
    params(
        ("id" = String, Path, description = "The game."),
        ("playerId" = String, Path, description = "The player."),
        Caller,
    ),
    responses((status = 204, description = "The seat is free, on disk."), RevokedLater, LeaveProblems),
)]
async fn leave(
    State(api): State<Api>,
    GamePath(game): GamePath,
    PlayerPath(player): PlayerPath,
    Caller { viewer, .. }: Caller,
) -> HandlerResult<Response> {
    Ok(revoked(service::leave(&api, &game, viewer, player).await?)?)
}

/// Nothing needs to be said.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CompleteBody {}

/// A game that is over.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct CompletedGame {
    /// Which.
    #[schema(value_type = String)]
    game_id: DocumentId,
    /// `completed`.
    status: &'static str,
    /// Since when.
    #[schema(value_type = String, format = DateTime)]
    completed_at: Timestamp,
    /// `false` while storage fails; left out when it is on disk.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(required = false, value_type = bool)]
    durable: Option<bool>,
}

/// End a game
///
/// By its host. Nobody takes a seat in it or comes back to it any more; what it says stays readable. Doing it again
/// changes nothing.
#[utoipa::path(
    post, path = "/api/v1/games/{id}/complete", operation_id = "completeGame", tag = "games",
    params(("id" = String, Path, description = "The game."), Caller, IdempotentRequest),
    responses(
        (status = 200, description = "The game is over, on disk.", body = CompletedGame),
        (status = 202, description = "The game is over. Storage fails, and takes that before everything else when it \
            returns.", body = CompletedGame),
        CompleteProblems,
    ),
)]
async fn complete(
    State(api): State<Api>,
    GamePath(game): GamePath,
    sent: IdempotentRequest,
) -> HandlerResult<Response> {
    sent.optional_object::<CompleteBody>()?;
    api.reads.check_reader(&game, &sent.caller.viewer).await?;
    if let Some(before) = sent.stored_response(&api).await? {
        return Ok(before);
    }
    let game_id = game.id.clone();
    let once = sent.call(|completed_at: &Timestamp| {
        let completed = CompletedGame { game_id, status: "completed", completed_at: *completed_at, durable: None };
        StoredResponse::json(Success::Done, &completed)
    });
    match service::complete(&api, &game, &sent.caller.viewer, once).await? {
        GameCompletion::Stored(answered) => Ok(respond(answered)?),
        GameCompletion::Kept(completed_at, durability) => {
            let (status, durable) = match durability {
                Durability::Durable => (Success::Done, None),
                Durability::Pending => (Success::Accepted, Some(false)),
            };
            let completed = CompletedGame { game_id: game.id, status: "completed", completed_at, durable };
            Ok(json(status, &completed)?)
        }
    }
}
