//! Seats, the end of a game, and the tokens that take a seat back.

use std::sync::Arc;

use super::options::TokenLifetime;
use super::problems::{GAME_COMPLETED, NOT_A_PARTICIPANT};
use super::revocations::{PendingRevoked, Revoked};
use super::seats::{self, Seat, SeatChoice};
use super::tokens::ReconnectToken;
use super::{sql, tables};
use crate::base::clock::Timestamp;
use crate::base::error::{Error, Kind, Result};
use crate::base::ids::{DocumentName, UserId};
use crate::document::decide::not_found_error;
use crate::document::model::Document;
use crate::document::visibility::Viewer;
use crate::engine::request::Durability;
use crate::features::games::limits::EXPIRED_TOKENS_KEPT;
use crate::http::api::Api;
use crate::http::idempotency::IdempotentCall;
use crate::store::{Connection, IdempotentAnswer};

/// The game, when it is there for `viewer` and not over. Errors: `NotFound`, `Gone`, `game-completed`.
pub(crate) async fn running(api: &Api, name: &DocumentName, viewer: &Viewer) -> Result<Arc<Document>> {
    let document = api.reads.readable_document(name, viewer).await?.ok_or_else(|| not_found_error(name, None))?;
    let (key, created_at) = (document.meta.key, document.meta.created_at);
    let revoked = PendingRevoked(api.engine.pending_revocations());
    tables::read(api, &document.meta, move |conn| check_running(conn, (key, created_at), &revoked)).await?;
    if document.is_deleted() { Err(not_found_error(name, Some(&document))) } else { Ok(document) }
}

/// `document`: the game's key, and when it was created. Error: `game-completed`.
pub(super) fn check_running(conn: &Connection, document: (i64, Timestamp), revoked: &PendingRevoked) -> Result<()> {
    let (key, created_at) = document;
    match sql::completed_at(conn, key)?.or(revoked.completed_at(key, created_at)) {
        None => Ok(()),
        Some(at) => Err(GAME_COMPLETED
            .error("this game is over; open a new game, or ask the host for one")
            .with("completedAt", at.to_string())),
    }
}

/// Whether `viewer` may act for `player`: the user who holds the seat, or the game's host.
fn may_act_for(document: &Document, viewer: &Viewer, identity: &UserId) -> bool {
    document.meta.is_host(viewer) || viewer.user() == Some(identity)
}

fn forbidden(message: &str) -> Error {
    Error::new(Kind::Forbidden, message)
}

/// The refusal of a player who has no seat.
pub(super) fn not_a_participant(player: &UserId) -> Error {
    let message = format!("{player} has no seat in this game; take one, or ask the host for one");
    NOT_A_PARTICIPANT.error(message)
}

/// Seats a player, on the seat that they want or the lowest free one. The flag says whether the seat is new: who has
/// one keeps it. Errors: those of [`running`]; `Forbidden` for all but the host and a player who may write to the
/// game; those of [`seats::choose`]; those of [`tables::write`].
pub(crate) async fn join(
    api: &Api,
    name: &DocumentName,
    viewer: &Viewer,
    (player, wanted): (UserId, Option<u32>),
    once: IdempotentCall<(Seat, bool)>,
) -> Result<IdempotentAnswer> {
    let document = running(api, name, viewer).await?;
    // A player's own user holds the seat, whoever found it for them.
    let identity = player.clone();
    if !may_act_for(&document, viewer, &identity) {
        return Err(forbidden("you may take a seat for yourself only; others are seated by the host"));
    }
    let max = seats::max_seats(document.state.as_deref().unwrap_or(b"{}"));
    // It takes a place from others: whoever may not change the game only looks on.
    let may_write = document.meta.check_writer(viewer).map_err(|_| {
        forbidden("who may not write to this game (access.write) takes no seat in it; ask the host for one")
    });
    let game = (document.meta.key, document.meta.created_at);
    let revoked = PendingRevoked(api.engine.pending_revocations());
    let wish = SeatWish { player, max, wanted, may_take: may_write, revoked };
    let take = move |conn: &Connection, now: Timestamp| take_seat(conn, game, wish, now);
    let once = once.of(&document.meta);
    let write = move |conn: &Connection, now: Timestamp| once.run(conn, now, take);
    let (answered, taken) = tables::write(api, &document.meta, write).await?;
    if let Some((seat, true)) = taken {
        api.presence.joined(name, &seat.player);
    }
    Ok(answered)
}

/// Which seat a player is to get.
pub(super) struct SeatWish {
    pub player: UserId,
    /// How many the game has.
    pub max: u32,
    /// Left out: the lowest free one.
    pub wanted: Option<u32>,
    /// The refusal of one who may take none; who has one keeps it.
    pub may_take: Result<()>,
    pub revoked: PendingRevoked,
}

/// Seats a player, who holds the seat themselves. `game`: its key, and when it was created. The flag says whether the
/// seat is new. Errors: `game-completed`; those of [`seats::choose`].
pub(super) fn take_seat(
    conn: &Connection,
    game: (i64, Timestamp),
    SeatWish { player, max, wanted, may_take, revoked }: SeatWish,
    now: Timestamp,
) -> Result<(Seat, bool)> {
    check_running(conn, game, &revoked)?;
    let (key, _) = game;
    let taken = sql::seats(conn, key)?;
    match seats::choose(&taken, max, &player, wanted)? {
        SeatChoice::Had(had) => {
            let seat = taken.into_iter().find(|seat| seat.seat == had);
            Ok((seat.ok_or_else(|| Error::internal("a chosen seat is not there"))?, false))
        }
        SeatChoice::Free(number) => {
            may_take?;
            let seat = Seat { identity: player.clone(), player, seat: number, joined_at: now };
            sql::begin(conn, key)?;
            sql::sit(conn, key, &seat)?;
            Ok((seat, true))
        }
    }
}

/// Who sits in a game that may be over. Errors: `NotFound`, `Gone`.
pub(crate) async fn list(api: &Api, name: &DocumentName, viewer: &Viewer) -> Result<Vec<Seat>> {
    let document = api.reads.live_document(name, viewer).await?;
    let (key, revoked) = (document.meta.key, PendingRevoked(api.engine.pending_revocations()));
    let mut seats = tables::read(api, &document.meta, move |conn| sql::seats(conn, key)).await?;
    seats.retain(|seat| !revoked.has_seat(key, seat));
    Ok(seats)
}

/// Frees a player's seat; their tokens end with it. Returns whether that is on disk. Errors: those of [`running`];
/// `NotFound` when they have none; `Forbidden` for anyone but the player and the host; those of
/// [`tables::revoke`].
pub(crate) async fn leave(api: &Api, name: &DocumentName, viewer: Viewer, player: UserId) -> Result<Durability> {
    let document = running(api, name, &viewer).await?;
    let (leaver, meta, key) = (player.clone(), Arc::clone(&document.meta), document.meta.key);
    let revoked = PendingRevoked(api.engine.pending_revocations());
    let find = move |conn: &Connection| {
        let seat = sql::seat_of(conn, key, &player)?.filter(|seat| !revoked.has_seat(key, seat));
        let seat = seat.ok_or_else(|| Error::not_found(format!("{player} has no seat in this game")))?;
        match may_act_for(&document, &viewer, &seat.identity) {
            true => Ok(seat),
            false => Err(forbidden("a seat is left by its player, or freed by the host")),
        }
    };
    let seat = tables::read(api, &meta, find).await?;
    let durability = tables::revoke(api, &meta, Revoked::seat(key, &seat)).await?;
    api.presence.left(name, &leaver);
    Ok(durability)
}

/// How a game was ended.
#[derive(Debug)]
pub(crate) enum GameCompletion {
    /// It is on disk that it is over.
    Stored(IdempotentAnswer),
    /// Storage fails. It is over since then; whether that is on disk.
    Kept(Timestamp, Durability),
}

/// Ends a game, once: when that was. While storage fails it is over at once, and that is stored when storage returns.
/// Errors: `NotFound`, `Gone`; `Forbidden` for anyone but the host; those of [`tables::write`] and [`tables::revoke`].
pub(crate) async fn complete(
    api: &Api,
    name: &DocumentName,
    viewer: &Viewer,
    once: IdempotentCall<Timestamp>,
) -> Result<GameCompletion> {
    // Also one that cannot be read any more: how else would it be removed?
    let meta = match api.reads.document_head(name).await? {
        Some(tip) if !tip.deleted => tip.meta,
        _ => return Err(not_found_error(name, api.reads.readable_document(name, viewer).await?.as_ref())),
    };
    meta.check_reader(viewer)?;
    if !meta.is_host(viewer) {
        return Err(forbidden("only the host ends a game"));
    }
    let key = meta.key;
    let end = move |conn: &Connection, now: Timestamp| {
        sql::complete(conn, key, now)?;
        Ok(sql::completed_at(conn, key)?.unwrap_or(now))
    };
    let once = once.of(&meta);
    let write = move |conn: &Connection, now: Timestamp| once.run(conn, now, end);
    match tables::write(api, &meta, write).await {
        Err(error) if error.kind() == Kind::StorageUnavailable && !meta.volatile => {}
        written => return written.map(|(answered, _)| GameCompletion::Stored(answered)),
    }
    let created_at = meta.created_at;
    let pending = PendingRevoked(api.engine.pending_revocations()).completed_at(key, created_at);
    if let Some(at) = tables::read(api, &meta, move |conn| sql::completed_at(conn, key)).await? {
        return Ok(GameCompletion::Kept(at, Durability::Durable));
    }
    let at = pending.unwrap_or_else(|| api.clock.now());
    let durability = tables::revoke(api, &meta, Revoked::Game { document: key, created_at, at }).await?;
    Ok(GameCompletion::Kept(at, durability))
}

/// Refuses whoever is given no token for a player's seat, and makes none. Errors: those of
/// [`connection_token`].
pub(crate) async fn check_token(api: &Api, name: &DocumentName, viewer: Viewer, player: UserId) -> Result<()> {
    let document = running(api, name, &viewer).await?;
    let (meta, revoked) = (Arc::clone(&document.meta), PendingRevoked(api.engine.pending_revocations()));
    let find = move |conn: &Connection| seat_for_token(conn, &document, &viewer, &player, &revoked).map(drop);
    tables::read(api, &meta, find).await
}

/// The seat that a player's token is for. Errors: `game-completed`; `not-a-participant`; `Forbidden`.
fn seat_for_token(
    conn: &Connection,
    document: &Document,
    viewer: &Viewer,
    player: &UserId,
    revoked: &PendingRevoked,
) -> Result<Seat> {
    let key = document.meta.key;
    check_running(conn, (key, document.meta.created_at), revoked)?;
    let seat = sql::seat_of(conn, key, player)?.filter(|seat| !revoked.has_seat(key, seat));
    let seat = seat.ok_or_else(|| not_a_participant(player))?;
    match may_act_for(document, viewer, &seat.identity) {
        true => Ok(seat),
        false => Err(forbidden("a token is given to the player who holds the seat, or to the host")),
    }
}

/// A new token for a player's seat, and until when it is good. It begins a line of its own: other devices of the player
/// keep theirs. Errors: those of [`running`]; `not-a-participant`; `Forbidden` for anyone but the seat's holder and the
/// host; those of [`tables::write`].
pub(crate) async fn connection_token(
    api: &Api,
    TokenLifetime(lifetime): TokenLifetime,
    name: &DocumentName,
    viewer: Viewer,
    player: UserId,
) -> Result<(ReconnectToken, Timestamp)> {
    let document = running(api, name, &viewer).await?;
    let token = ReconnectToken::new(&*api.entropy);
    let (hash, meta) = (token.hash(), Arc::clone(&document.meta));
    let forgets_expired = api.clock_trust.is_trusted();
    let revoked = PendingRevoked(api.engine.pending_revocations());
    let write = move |conn: &Connection, now: Timestamp| {
        let key = document.meta.key;
        let seat = seat_for_token(conn, &document, &viewer, &player, &revoked)?;
        let expires_at = now.plus(lifetime);
        let family = hash.to_string();
        let new = sql::tokens::NewToken {
            hash: &hash,
            document: key,
            player: &player,
            identity: &seat.identity,
            family: &family,
            expires_at,
        };
        if forgets_expired {
            forget_expired(conn, now)?;
        }
        sql::tokens::issue(conn, &new, now)?;
        Ok(expires_at)
    };
    let expires_at = tables::write(api, &meta, write).await?;
    Ok((token, expires_at))
}

/// Forgets tokens for which it is no longer worth telling that they expired.
pub(super) fn forget_expired(conn: &Connection, now: Timestamp) -> Result<()> {
    sql::tokens::forget_expired(conn, now.minus(EXPIRED_TOKENS_KEPT)).map(drop)
}
