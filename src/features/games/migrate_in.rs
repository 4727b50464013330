//! The server that a game goes to. Until the other server confirms, the game is only in tables of its own: no read
//! sees it, and its name is taken. Every step can be repeated, and after a restart goes on from the tables.
//!
//! A game that was here before comes back in the same way: what is here of it stays, is not shown, and gets what
//! happened since.

use std::time::Duration;

use crate::base::clock::Timestamp;
use crate::base::error::{Error, Kind, Result};
use crate::base::ids::{DocumentName, UserId, Version};
use crate::document::chain::Hash;
use crate::document::transfer::{SentEvent, VerifiedChain};
use crate::engine::request::{Durability, WriteReply};
use crate::engine::request::{IncomingDocument, RelocationStep};
use crate::features::games::attached_rows::{AttachedLines, AttachedRow, check_seats};
use crate::features::games::limits::{MOVED_AHEAD_MAX, MOVED_GAME_BYTES_MAX};
use crate::features::games::protocol::{HistoryHead, MigrationPiece, MigrationStep, PieceEvent, hash};
use crate::features::games::seats::max_seats_of;
use crate::features::games::sql::attached_rows::companion_rows;
use crate::features::games::sql::migrate as sql;
use crate::features::games::sql::seats;
use crate::http::api::Api;

/// How long a game that was announced may take to come. The server that it leaves sends it again when it has to.
const ARRIVAL_MAX: Duration = Duration::from_secs(24 * 3600);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ImportedHead {
    /// The game's last version.
    pub version: Version,
    pub hash: Hash,
    /// The digest of what belongs to it, as long as that is not live.
    pub rows: Option<Hash>,
}

/// A game that has come, verified.
struct ArrivedPieces {
    end: ImportedHead,
    chain: VerifiedChain,
    attached: Vec<AttachedRow>,
}

/// Takes one piece of a move. `None`: noted. Errors: `AlreadyExists`; `NotFound` for a move that is not under way;
/// `Rejected` for what does not add up; `TooLarge`; `Frozen`; `StorageUnavailable`. To be awaited to its end.
pub(crate) async fn take(api: &Api, name: DocumentName, piece: MigrationPiece) -> Result<Option<ImportedHead>> {
    let MigrationPiece { step, r#move: id, head, events, rows } = piece;
    match step {
        MigrationStep::Begin => {
            let head = head.ok_or_else(|| Error::invalid_field("head", "is missing"))?;
            begin(api, name, id, head).await.map(|()| None)
        }
        MigrationStep::Events => {
            let events: Vec<SentEvent> = events.iter().map(PieceEvent::sent).collect::<Result<_>>()?;
            let keep = move |conn: &_, _| sql::store_events(conn, &name, &id, &events, MOVED_GAME_BYTES_MAX);
            api.engine.rows(keep).await.map(|()| None)
        }
        MigrationStep::Rows => {
            let keep = move |conn: &_, _| sql::keep_rows(conn, &name, &id, &rows, MOVED_GAME_BYTES_MAX);
            api.engine.rows(keep).await.map(|()| None)
        }
        MigrationStep::Prepare => prepare(api, name, id).await.map(Some),
        MigrationStep::Confirm => confirm(api, name, id).await.map(Some),
        MigrationStep::Cancel => cancel(api, name, id).await.map(|()| None),
    }
}

async fn begin(api: &Api, name: DocumentName, id: String, head: HistoryHead) -> Result<()> {
    let text = serde_json::to_string(&head).map_err(Error::internal)?;
    let end = (head.version, hash(&head.hash)?);
    if arrival(api, &name, &id).await?.is_some_and(|arrival| arrival.head.is_none()) {
        return Err(Error::new(Kind::AlreadyExists, "this move has brought the game already"));
    }
    if let Err(error) = api.engine.relocate(name.clone(), RelocationStep::Expect(id.clone())).await {
        // About to leave, and not gone yet: it is here. Perhaps somebody sends it to the server that it is on.
        let game = name.clone();
        let gone = api.reads.read(move |reader| reader.rows(|conn| sql::is_recorded(conn, &game))).await?;
        return Err(if error.kind() == Kind::Frozen && !gone { already_here(&name) } else { error });
    }
    let (game, announced) = (name.clone(), id.clone());
    let noted = api.engine.rows(move |conn, now| sql::begin(conn, &game, &announced, &text, end, now)).await;
    if noted.is_err() && arrival(api, &name, &id).await?.is_none() {
        cancel_arrival(api, name, id).await?;
    }
    noted
}

fn already_here(name: &DocumentName) -> Error {
    Error::new(Kind::AlreadyExists, format!("{name} is, or was, on this server"))
}

/// Lets go of a name. Another move that was to bring the game keeps it.
async fn cancel_arrival(api: &Api, name: DocumentName, id: String) -> Result<()> {
    let game = name.clone();
    let other = api.reads.read(move |reader| reader.rows(|conn| sql::announced(conn, &game))).await?;
    match other {
        Some(other) if other != id => api.engine.relocate(name, RelocationStep::Expect(other)).await.map(drop),
        _ => api.engine.relocate(name, RelocationStep::CancelExpected(id)).await.map(drop),
    }
}

async fn arrival(api: &Api, name: &DocumentName, id: &str) -> Result<Option<sql::ArrivalRow>> {
    let (game, id) = (name.clone(), id.to_owned());
    api.reads.read(move |reader| reader.rows(|conn| sql::arrival(conn, &game, &id))).await
}

/// The move of this name, which may have brought the game already.
async fn find_arrival(api: &Api, name: &DocumentName, id: &str) -> Result<sql::ArrivalRow> {
    arrival(api, name, id).await?.ok_or_else(|| Error::not_found("no such move is under way"))
}

async fn prepare(api: &Api, name: DocumentName, id: String) -> Result<ImportedHead> {
    let arrival = find_arrival(api, &name, &id).await?;
    let end = verified(api, &name, arrival, api.clock.now().plus(MOVED_AHEAD_MAX)).await?.end;
    api.engine.rows(move |conn, _| sql::note_prepared(conn, &name, &id)).await?;
    Ok(end)
}

/// Reads what was kept and verifies it, where that may take its time; also that it goes on from what is here, if the
/// game was here before, and that nothing in it is later than `latest`.
async fn verified(
    api: &Api,
    name: &DocumentName,
    arrival: sql::ArrivalRow,
    latest: Timestamp,
) -> Result<ArrivedPieces> {
    let bounds = api.state;
    let game = name.clone();
    let read = move |reader: &crate::store::Reader| {
        let (events, lines) = reader.rows(|conn| {
            Ok((sql::stored_events(conn, &game, &arrival.id)?, sql::kept_rows(conn, &game, &arrival.id)?))
        })?;
        let head = arrival.head.ok_or_else(|| Error::not_found("the move has brought the game already"))?;
        let head: HistoryHead = serde_json::from_str(&head).map_err(Error::internal)?;
        let rows = hash(&head.rows)?;
        let attached = AttachedLines { lines }.verify(rows, latest)?;
        // Who sat down before there were fewer seats still sits there.
        let mut seats = 0;
        let chain = head.chain(game, events)?.verify(bounds, latest, |state| seats = seats.max(max_seats_of(state)))?;
        check_seats(&attached, seats)?;
        let (version, hash) = chain.last_version();
        Ok(ArrivedPieces { end: ImportedHead { version, hash, rows: Some(rows) }, chain, attached })
    };
    let arrived = api.reads.read(read).await?;
    if let Some(here) = api.reads.document(name).await? {
        arrived.chain.check_continues(&here)?;
    }
    Ok(arrived)
}

async fn confirm(api: &Api, name: DocumentName, id: String) -> Result<ImportedHead> {
    let arrival = find_arrival(api, &name, &id).await?;
    let end = ImportedHead { version: arrival.version, hash: arrival.hash, rows: None };
    let (mut seated, mut coming) = (Vec::new(), Vec::new());
    if arrival.head.is_some() {
        if !arrival.prepared {
            return Err(Error::not_found("not all of this game has come yet"));
        }
        // It is verified, and the other server has let go of it: what the clock shows by now is no reason any more.
        let ArrivedPieces { chain, attached, .. } = verified(api, &name, arrival, Timestamp::MAX).await?;
        seated = seats_of(api, &name).await?;
        coming.extend(attached.iter().filter_map(AttachedRow::player).cloned());
        store_arrival(api, &name, &id, chain, attached).await?;
    }
    // Only now, when it is on disk with all that belongs to it. After a restart it is so at once.
    api.engine.relocate(name.clone(), RelocationStep::Activate(id)).await?;
    seated.iter().filter(|player| !coming.contains(player)).for_each(|player| api.presence.left(&name, player));
    if !seated.is_empty() || api.reads.hub.is_followed(&name) {
        // Otherwise it is looked up who sits there when the first asks.
        coming.iter().filter(|player| !seated.contains(player)).for_each(|player| api.presence.joined(&name, player));
    }
    Ok(end)
}

/// Who sat in a game before it left.
async fn seats_of(api: &Api, name: &DocumentName) -> Result<Vec<UserId>> {
    let Some(here) = api.reads.document(name).await? else { return Ok(Vec::new()) };
    let key = here.meta.key;
    let seats = api.reads.read(move |reader| reader.rows(|conn| seats(conn, key))).await?;
    Ok(seats.into_iter().map(|seat| seat.player).collect())
}

/// Brings a game and what belongs to it to disk, in one transaction, which also notes that it has come.
async fn store_arrival(
    api: &Api,
    name: &DocumentName,
    id: &str,
    chain: VerifiedChain,
    attached: Vec<AttachedRow>,
) -> Result<()> {
    let waits = || Error::new(Kind::StorageUnavailable, "the game is not on disk yet; confirm again");
    let companion_rows = companion_rows(name, id, attached);
    if let Some(here) = api.reads.document(name).await?
        && (here.version, here.hash) == chain.last_version()
    {
        // Nothing happened to it while it was away; or it is in memory since storage failed just now.
        if here.seq > api.reads.hub.gate().durable() {
            return Err(waits());
        }
        let (key, game, id) = (here.meta.key, name.clone(), id.to_owned());
        let write = move |conn: &_, now| match sql::arrival(conn, &game, &id)? {
            Some(arrival) if arrival.head.is_some() => companion_rows(conn, key, now),
            // Somebody else has confirmed it meanwhile, and it may have changed since.
            _ => Ok(()),
        };
        return api.engine.rows(write).await;
    }
    match api.engine.import(IncomingDocument { id: id.to_owned(), chain, companion_rows }).await? {
        WriteReply::Made(written) if written.durability == Durability::Durable => Ok(()),
        _ => Err(waits()),
    }
}

async fn cancel(api: &Api, name: DocumentName, id: String) -> Result<()> {
    let (game, move_id) = (name.clone(), id.clone());
    if api.engine.rows(move |conn, _| sql::delete_arrival(conn, &game, &move_id)).await? {
        api.engine.relocate(name, RelocationStep::CancelExpected(id)).await?;
        return Ok(());
    }
    match arrival(api, &name, &id).await? {
        Some(_) => Err(Error::new(Kind::AlreadyExists, "this move has brought the game already")),
        None => Ok(()),
    }
}

/// Forgets the games that did not come in time.
pub(crate) async fn forget_overdue(api: &Api) -> Result<()> {
    let before = api.clock.now().minus(ARRIVAL_MAX);
    let overdue = api.reads.read(move |reader| reader.rows(|conn| sql::overdue(conn, before))).await?;
    for (name, id) in overdue {
        tracing::info!(game = %name, "{name} was to come from another server and did not");
        cancel(api, name, id).await?;
    }
    Ok(())
}
