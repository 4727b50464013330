//! The server that a game goes to. Until the other server confirms, the game is only in tables of its own: no read
//! sees it, and its name is taken. Every step can be repeated, and after a restart goes on from the tables.

use std::time::Duration;

use super::sql::migrate as sql;
use super::wire::{GAME_BYTES_MAX, Head, Piece, Step};
use crate::base::error::{Error, Kind, Result};
use crate::base::ids::{DocumentName, Version};
use crate::document::chain::Hash;
use crate::document::json::Bounds;
use crate::document::transfer::{Chain, SentEvent, VerifiedChain};
use crate::engine::command::{Answer, Durability};
use crate::engine::standing::Standing;
use crate::http::api::Api;

/// How long a game that was announced may take to come. The server that it leaves sends it again when it has to.
const ARRIVAL_MAX: Duration = Duration::from_secs(24 * 3600);

/// Where the history ends that arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct End {
    /// Its last version.
    pub version: Version,
    /// Its last hash.
    pub hash: Hash,
}

/// Takes one piece of a move. `None`: noted. Errors: `AlreadyExists`; `NotFound` for a move that is not under way;
/// `Rejected` for a history that does not add up; `TooLarge`; `Frozen`; `StorageUnavailable`.
pub async fn take(api: &Api, name: DocumentName, piece: Piece, bounds: Bounds) -> Result<Option<End>> {
    let Piece { step, r#move: id, head, events } = piece;
    match step {
        Step::Begin => {
            let head = head.ok_or_else(|| Error::invalid_field("head", "is missing"))?;
            begin(api, name, id, head).await.map(|()| None)
        }
        Step::Events => {
            let events: Vec<SentEvent> = events.iter().map(super::wire::PieceEvent::sent).collect::<Result<_>>()?;
            let keep = move |conn: &_, _| sql::keep(conn, &name, &id, &events, GAME_BYTES_MAX);
            api.engine.rows(keep).await.map(|()| None)
        }
        Step::Prepare => prepare(api, name, id, bounds).await.map(Some),
        Step::Confirm => confirm(api, name, id, bounds).await.map(Some),
        Step::Cancel => cancel(api, name, id).await.map(|()| None),
    }
}

async fn begin(api: &Api, name: DocumentName, id: String, head: Head) -> Result<()> {
    let text = serde_json::to_string(&head).map_err(Error::internal)?;
    api.engine.stand(name.clone(), Some(Standing::Arriving)).await?;
    let game = name.clone();
    let noted = api.engine.rows(move |conn, now| sql::begin(conn, &game, &id, &text, now)).await;
    if noted.is_err() && arrival(api, &name).await?.is_none() {
        api.engine.stand(name, None).await?;
    }
    noted
}

async fn arrival(api: &Api, name: &DocumentName) -> Result<Option<sql::ArrivalRow>> {
    let game = name.clone();
    api.reads.ask(move |reader| reader.rows(|conn| sql::arrival(conn, &game))).await
}

/// The move that is under way under this name.
async fn under_way(api: &Api, name: &DocumentName, id: &str) -> Result<sql::ArrivalRow> {
    let found = arrival(api, name).await?.filter(|arrival| arrival.id == id);
    found.ok_or_else(|| Error::not_found("no such move is under way"))
}

async fn prepare(api: &Api, name: DocumentName, id: String, bounds: Bounds) -> Result<End> {
    let arrival = under_way(api, &name, &id).await?;
    let (end, _) = verified(api, &name, arrival, bounds).await?;
    api.engine.rows(move |conn, _| sql::note_prepared(conn, &name, &id)).await?;
    Ok(end)
}

/// Reads what was kept and verifies it, where that may take its time.
async fn verified(
    api: &Api,
    name: &DocumentName,
    arrival: sql::ArrivalRow,
    bounds: Bounds,
) -> Result<(End, VerifiedChain)> {
    let name = name.clone();
    let read = move |reader: &crate::store::Reader| {
        let events = reader.rows(|conn| sql::kept(conn, &name))?;
        let head: Head = serde_json::from_str(&arrival.head).map_err(Error::internal)?;
        let chain: Chain = head.chain(name, events)?;
        let end = End { version: chain.version, hash: chain.hash };
        Ok((end, chain.verify(bounds)?))
    };
    api.reads.ask(read).await
}

async fn confirm(api: &Api, name: DocumentName, id: String, bounds: Bounds) -> Result<End> {
    let arrival = under_way(api, &name, &id).await?;
    let head: Head = serde_json::from_str(&arrival.head).map_err(Error::internal)?;
    let hash = Hash::parse(&head.hash).ok_or_else(|| Error::internal("a kept hash that is none"))?;
    let end = End { version: head.version, hash };
    if arrival.confirmed {
        return Ok(end);
    }
    if !arrival.prepared {
        return Err(Error::not_found("not all of this game has come yet"));
    }
    // It may have been made live before a crash, and only not have been marked so.
    if !is_here(api, &name, end).await? {
        let (_, chain) = verified(api, &name, arrival, bounds).await?;
        match api.engine.import(chain).await? {
            Answer::Made(written) if written.durability == Durability::Durable => {}
            _ => return Err(Error::new(Kind::StorageUnavailable, "the game is not on disk yet; confirm again")),
        }
    }
    api.engine.rows(move |conn, now| sql::note_arrived(conn, &name, &id, now)).await?;
    Ok(end)
}

/// Whether the game is here, on disk, with a history that goes through this end.
async fn is_here(api: &Api, name: &DocumentName, end: End) -> Result<bool> {
    let Some(document) = api.reads.document(name).await? else { return Ok(false) };
    if document.seq > api.reads.hub.gate().durable() {
        return Err(Error::new(Kind::StorageUnavailable, "the game is not on disk yet; confirm again"));
    }
    let before = Version(end.version.0.saturating_sub(1));
    let history = api.reads.history(name, before, 1).await?;
    if history.events.first().is_some_and(|event| event.version == end.version && event.hash == end.hash) {
        return Ok(true);
    }
    Err(Error::new(Kind::AlreadyExists, format!("another {name} is, or was, on this server")))
}

async fn cancel(api: &Api, name: DocumentName, id: String) -> Result<()> {
    let game = name.clone();
    if api.engine.rows(move |conn, _| sql::forget(conn, &game, &id)).await? {
        api.engine.stand(name, None).await?;
    }
    Ok(())
}

/// Forgets the games that did not come in time.
pub async fn forget_overdue(api: &Api) -> Result<()> {
    let before = api.clock.now().minus(ARRIVAL_MAX);
    let overdue = api.reads.ask(move |reader| reader.rows(|conn| sql::overdue(conn, before))).await?;
    for (name, id) in overdue {
        tracing::info!(game = %name, "{name} was to come from another server and did not");
        cancel(api, name, id).await?;
    }
    Ok(())
}
