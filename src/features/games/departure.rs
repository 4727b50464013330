//! The server that a game leaves: freeze, send, record, confirm.
//!
//! The row in `moves` decides. Before it is on disk the game is this server's, and whatever fails only ends the attempt;
//! from then on it is the other server's, which is asked to make it live until it says that it has. What the other
//! server has forgotten meanwhile is sent again: the history stays here.

use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde_json::Value;
use serde_json::value::RawValue;
use tokio::sync::oneshot;
use tokio::time::sleep;

use super::addresses;
use super::arrival;
use super::sql::migrate::{self as sql, MoveRow};
use super::wire::{GAME_BYTES_MAX, Head, HeadBase, PIECE_BYTES_MAX, Piece, PieceEvent, Step};
use crate::base::entropy::new_id;
use crate::base::error::{Error, Kind, Result};
use crate::base::ids::{DocumentName, Version};
use crate::document::event::Event;
use crate::document::model::Document;
use crate::document::visibility::Viewer;
use crate::engine::standing::Standing;
use crate::engine::volatile::check_stored;
use crate::http::api::Api;
use crate::http::client::{Answer, Target};

/// Events that are read at once.
const PAGE_EVENTS: usize = 500;
/// Most bytes of an answer of the other server.
const ANSWER_BYTES_MAX: usize = 16 << 10;
/// Between two attempts to record or to confirm, at first and at most.
const RETRY_MIN: Duration = Duration::from_millis(200);
const RETRY_MAX: Duration = Duration::from_secs(30);
/// How often arrivals are looked at that did not come.
const SWEEP: Duration = Duration::from_secs(3600);

/// A game that goes.
#[derive(Clone, Debug)]
pub struct Departed {
    /// Its newest version, the last that it has here.
    pub document: Arc<Document>,
    /// Where to.
    pub to: String,
    /// Whether the other server has said that it is live there. If not, it is asked until it does.
    pub confirmed: bool,
}

/// Moves a game to the server at `to`. Errors: `Invalid` for an address that is not allowed; `NotFound`, `Gone`;
/// `Forbidden` for all but the host; `Frozen`; `Rejected` when the other server does not take it, with its reason;
/// `not-persistent`; `StorageUnavailable`. After an error the game goes on here. Not to be taken as undone when cancelled.
pub async fn migrate(api: &Api, viewer: &Viewer, name: DocumentName, to: &str) -> Result<Departed> {
    let document = api.reads.live_document(&name).await?;
    if !document.meta.is_host(viewer) {
        return Err(Error::new(Kind::Forbidden, "only the host of a game may move it"));
    }
    check_stored(&document)?;
    let peer = Peer::find(to).await?;
    let id = new_id(&*api.entropy, api.clock.now());
    let (tell, told) = oneshot::channel();
    // In a task of its own: whoever asked may go away at any point.
    tokio::spawn(depart(api.clone(), name, peer, id, tell));
    told.await.map_err(|_| Error::internal("a move ended without a word"))?
}

async fn depart(api: Api, name: DocumentName, peer: Peer, id: String, tell: oneshot::Sender<Result<Departed>>) {
    let document = match api.engine.stand(name.clone(), Some(Standing::Frozen)).await {
        Ok(Some(document)) => document,
        Ok(None) => return drop(tell.send(Err(Error::internal("a game was frozen that is not there")))),
        Err(error) => return drop(tell.send(Err(error))),
    };
    if let Err(error) = send(&api, &peer, &document, &id).await {
        tracing::warn!(game = %name, to = peer.url, %error, "{name} does not move");
        // It is forgotten there by itself, too, but not so soon.
        let _ = peer.say(&name, &Piece::step(Step::Cancel, &id)).await;
        let _ = api.engine.stand(name, None).await;
        return drop(tell.send(Err(error)));
    }
    let row = MoveRow { name, target: peer.url.clone(), id, version: document.version };
    if !record(&api, &row).await {
        return;
    }
    let first = confirm(&api, &row).await;
    let confirmed = first.is_ok();
    let _ = tell.send(Ok(Departed { document, to: row.target.clone(), confirmed }));
    if !confirmed {
        keep_confirming(&api, &row).await;
    }
}

/// Records the move. A write that failed may be on disk all the same: it is repeated until it is known to be, and the
/// game stays frozen for as long. False: the server ends; the next start finds what was stored.
async fn record(api: &Api, row: &MoveRow) -> bool {
    while api.engine.is_running() && !api.stop.is_cancelled() {
        let to_store = row.clone();
        match api.engine.rows(move |conn, now| sql::record(conn, &to_store, now)).await {
            Ok(()) => return true,
            Err(error) => tracing::warn!(game = %row.name, %error, "a move could not be recorded yet"),
        }
        sleep(RETRY_MIN).await;
    }
    false
}

/// Asks the other server to make the game live, and when it has, shows everyone the way.
async fn confirm(api: &Api, row: &MoveRow) -> Result<()> {
    let peer = Peer::find(&row.target).await?;
    let confirm = Piece::step(Step::Confirm, &row.id);
    match peer.say(&row.name, &confirm).await {
        Err(error) if error.kind() == Kind::NotFound => {
            let document = api.reads.live_document(&row.name).await?;
            send(api, &peer, &document, &row.id).await?;
            peer.say(&row.name, &confirm).await?;
        }
        said => drop(said?),
    }
    api.engine.stand(row.name.clone(), Some(Standing::Moved(row.target.clone()))).await?;
    let to_store = row.clone();
    let noted = api.engine.rows(move |conn, now| sql::note_confirmed(conn, &to_store, now)).await;
    if let Err(error) = noted {
        // After the next start it is asked once more, and says the same.
        tracing::warn!(game = %row.name, %error, "that a game has moved could not be noted");
    }
    tracing::info!(game = %row.name, to = row.target, "{} is at {} now", row.name, row.target);
    Ok(())
}

async fn keep_confirming(api: &Api, row: &MoveRow) {
    let mut wait = RETRY_MIN;
    loop {
        tokio::select! {
            () = sleep(wait) => {}
            () = api.stop.cancelled() => return,
        }
        wait = (wait * 2).min(RETRY_MAX);
        match confirm(api, row).await {
            Ok(()) => return,
            Err(error) => tracing::warn!(game = %row.name, to = row.target, %error, "the other server is asked again"),
        }
    }
}

/// Goes on with the moves that a restart interrupted, and forgets arrivals that did not come. Does not end.
pub async fn keep_moving(api: Api) {
    match api.reads.ask(|reader| reader.rows(sql::unconfirmed)).await {
        Ok(rows) => {
            for row in rows {
                let api = api.clone();
                tokio::spawn(async move { keep_confirming(&api, &row).await });
            }
        }
        Err(error) => {
            tracing::error!(%error, "moves that were under way are not gone on with");
            pending::<()>().await;
        }
    }
    loop {
        if let Err(error) = arrival::forget_overdue(&api).await {
            tracing::warn!(%error, "games that did not come are not forgotten yet");
        }
        sleep(SWEEP).await;
    }
}

/// Sends the history of a frozen game, and has it verified. Errors: `Rejected`, `StorageUnavailable`, `TooLarge`.
async fn send(api: &Api, peer: &Peer, document: &Document, id: &str) -> Result<()> {
    if document.seq > api.reads.hub.gate().durable() {
        return Err(Error::new(
            Kind::StorageUnavailable,
            "not all of the game is on disk; move it when storage is well",
        ));
    }
    let name = &document.meta.name;
    let mut page = api.reads.history(name, Version::ZERO, PAGE_EVENTS).await?;
    let head = head(api, document, page.first_version).await?;
    peer.say(name, &Piece { head: Some(head), ..Piece::step(Step::Begin, id) }).await?;
    let mut sent_bytes = 0;
    loop {
        let mut piece = Piece::step(Step::Events, id);
        let mut bytes = 0;
        for event in &page.events {
            if bytes + event.body.len() > PIECE_BYTES_MAX && !piece.events.is_empty() {
                peer.say(name, &piece).await?;
                (piece.events, bytes) = (Vec::new(), 0);
            }
            bytes += event.body.len();
            sent_bytes += event.body.len();
            piece.events.push(told(event)?);
        }
        if sent_bytes > GAME_BYTES_MAX {
            let message = format!("a game that moves has at most {GAME_BYTES_MAX} bytes of history");
            return Err(Error::new(Kind::TooLarge, message).with("maxBytes", GAME_BYTES_MAX));
        }
        if !piece.events.is_empty() {
            peer.say(name, &piece).await?;
        }
        match page.events.last().map(|event| event.version).filter(|_| page.more) {
            Some(last) => page = api.reads.history(name, last, PAGE_EVENTS).await?,
            None => break,
        }
    }
    let prepared = peer.say(name, &Piece::step(Step::Prepare, id)).await?;
    if prepared.get("hash").and_then(Value::as_str) != Some(document.hash.to_string().as_str()) {
        return Err(Error::new(Kind::Rejected, "the other server has not the same history"));
    }
    Ok(())
}

async fn head(api: &Api, document: &Document, first: Version) -> Result<Head> {
    let base = Version(first.0.saturating_sub(1));
    let base = if base == Version::ZERO {
        None
    } else {
        let base = api.reads.document_at(&document.meta.name, base).await?;
        let state = base.state.as_ref().map(|state| serde_json::from_slice(state)).transpose();
        let (version, hash, at) = (base.version, base.hash.to_string(), base.updated_at);
        Some(HeadBase { version, hash, at, state: state.map_err(Error::internal)? })
    };
    Ok(Head {
        host: document.meta.host.clone(),
        access: document.meta.access.clone(),
        created_at: document.meta.created_at,
        base,
        version: document.version,
        hash: document.hash.to_string(),
    })
}

fn told(event: &Event) -> Result<PieceEvent> {
    let body = String::from_utf8(event.body.to_vec()).map_err(Error::internal)?;
    let body = RawValue::from_string(body).map_err(Error::internal)?;
    Ok(PieceEvent { version: event.version, hash: event.hash.to_string(), deletes: event.deletes, body })
}

/// The other server.
struct Peer {
    /// `http://host:port`.
    url: String,
    target: Target,
    /// Looked up once and checked; nothing else is connected to.
    addresses: Vec<std::net::SocketAddr>,
}

impl Peer {
    /// Error: `Invalid` unless all addresses behind `to` may be sent to.
    async fn find(to: &str) -> Result<Self> {
        let target = Target::parse(to).map_err(|error| Error::invalid_field("to", error))?;
        let addresses = target
            .resolve()
            .await
            .map_err(|error| Error::invalid_field("to", "is not an address that is known here").caused_by(error))?;
        if !addresses.iter().all(|address| addresses::is_allowed(address.ip())) {
            return Err(Error::invalid_field("to", "must be on this machine or on the tailnet"));
        }
        Ok(Self { url: format!("http://{target}"), target, addresses })
    }

    /// Sends a piece. Errors: `NotFound` when it knows no such move; `Rejected` with its reason; `StorageUnavailable` when
    /// it cannot be reached or cannot do it now.
    async fn say(&self, name: &DocumentName, piece: &Piece) -> Result<Value> {
        let json = Bytes::from(serde_json::to_vec(piece).map_err(Error::internal)?);
        let path = format!("/api/v1/games/{}/import", name.id);
        let away = |error| Error::new(Kind::StorageUnavailable, "the other server does not answer").caused_by(error);
        let mut answer: Answer = self.target.post(&self.addresses, &path, json).await.map_err(away)?;
        let text = answer.text(ANSWER_BYTES_MAX).await.map_err(away)?;
        let body: Value = serde_json::from_str(&text).unwrap_or_default();
        let said = body.get("detail").and_then(Value::as_str).unwrap_or("without a reason");
        let kind = body.get("type").and_then(Value::as_str).unwrap_or_default();
        match answer.status() {
            200 | 204 => Ok(body),
            404 if kind == "/problems/not-found" => Err(Error::not_found(format!("the other server: {said}"))),
            300..400 => Err(Error::new(Kind::Rejected, "the other server points elsewhere, which is not followed")),
            status @ 500.. => Err(Error::new(Kind::StorageUnavailable, format!("the other server cannot now: {said}"))
                .with("otherStatus", status)),
            status => {
                Err(Error::new(Kind::Rejected, format!("the other server refuses: {said}")).with("otherStatus", status))
            }
        }
    }
}
