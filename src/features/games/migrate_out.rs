//! The server that a game leaves: freeze, send, record, confirm.
//!
//! The row in `moves` decides. Before it is on disk the game is this server's, and whatever fails only ends the
//! attempt; from then on it is the other server's, which is asked to make it live until it says that it has. What the
//! other server has forgotten meanwhile is sent again: the history stays here.

use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde_json::Value;
use serde_json::value::RawValue;
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep, timeout, timeout_at};

use super::departures::{Departure, Departures};
use super::problems::{MOVE_CANCELLED, MOVE_REFUSED, OTHER_SERVER_UNAVAILABLE};
use crate::base::clock::Timestamp;
use crate::base::entropy::new_id;
use crate::base::error::{Error, Kind, Result};
use crate::base::ids::{DocumentName, Version};
use crate::document::chain::Hash;
use crate::document::event::Event;
use crate::document::model::Document;
use crate::document::visibility::Viewer;
use crate::engine::health::StorageHealth;
use crate::engine::refusal::check_persistent;
use crate::engine::request::RelocationStep;
use crate::features::games::attached_rows::AttachedLines;
use crate::features::games::limits::MOVED_GAME_BYTES_MAX;
use crate::features::games::migrate_in;
use crate::features::games::protocol::{
    HistoryBase, HistoryHead, MigrationPiece, MigrationStep, PIECE_BYTES_MAX, PieceEvent, too_large,
};
use crate::features::games::sql::attached_rows::read as read_attached_rows;
use crate::features::games::sql::migrate::{self as sql, MoveRow};
use crate::http::api::Api;
use crate::http::idempotency::StoredResponse;
use crate::http::request::caller::Caller;
use crate::net::http_client::{Response, ServerUrl};
use crate::store::{IdempotencyKey, IdempotencyRow};
use crate::tailnet::ranges::is_machine_or_tailnet;

/// Events that are read at once.
const PAGE_EVENTS: usize = 500;
/// Most bytes of an answer of the other server.
const ANSWER_BYTES_MAX: usize = 16 << 10;
/// Between two attempts to record or to confirm, at first and at most.
const RETRY_MIN: Duration = Duration::from_millis(200);
const RETRY_MAX: Duration = Duration::from_secs(30);
/// How long the other server may take for one step, its answer included.
const STEP_MAX: Duration = Duration::from_secs(10);
/// How long a move may take for whoever asks for it, in all. What is not recorded by then goes on here; what is, is
/// confirmed without them.
const MOVE_MAX: Duration = Duration::from_secs(60);
/// How often arrivals are looked at that did not come.
const SWEEP: Duration = Duration::from_secs(3600);

/// A game that goes.
#[derive(Clone, Debug)]
pub(crate) struct MigratedGame {
    /// Its newest version, the last that it has here.
    pub document: Arc<Document>,
    pub to: String,
    /// Whether the other server has said that it is live there. If not, it is asked until it does.
    pub confirmed: bool,
}

/// What makes a retry safe: whoever repeats the request gets the first answer.
#[derive(Clone, Debug)]
pub(crate) struct MigrationKey {
    /// The key that the request carried. The answer is this server's, and stays here.
    pub key: IdempotencyKey,
    pub render: fn(&MigratedGame) -> Result<StoredResponse>,
}

impl MigrationKey {
    fn row(&self, departed: &MigratedGame, at: Timestamp) -> Result<IdempotencyRow> {
        Ok(self.key.row((self.render)(departed)?.to_bytes()?, at))
    }
}

/// Moves a game to the server at `to`. Errors: `Invalid` for an address that is not allowed; `NotFound`, `Gone`;
/// `Forbidden` for all but the host and administrators; `game-too-large`; `Frozen`; `Rejected` when the other server
/// does not take it, with its reason; `not-persistent`; `StorageUnavailable`. After an error the game goes on here. Not
/// to be taken as undone when cancelled.
pub(crate) async fn migrate(
    api: &Api,
    departures: &Departures,
    caller: &Caller,
    (name, to): (DocumentName, &str),
    retry: Option<MigrationKey>,
) -> Result<MigratedGame> {
    let deadline = Instant::now() + MOVE_MAX;
    let document = movable(api, caller, &name).await?;
    check_persistent(&document)?;
    let peer = TargetServer::find(to).await?;
    // Before anything is frozen: what is too large now only gets larger.
    let game = name.clone();
    let kept = api.reads.read(move |reader| reader.storage_statistics(&game)).await?;
    let history_bytes = kept.map_or(0, |kept| usize::try_from(kept.event_bytes).unwrap_or(usize::MAX));
    check_size(history_bytes.saturating_add(attached(api, &document).await?.bytes()))?;
    let id = new_id(&*api.entropy, api.clock.now());
    let (tell, told) = oneshot::channel();
    // In a task of its own: whoever asked may go away at any point.
    tokio::spawn(run_migration(
        (api.clone(), departures.clone()),
        name,
        peer,
        MigrationOrder { id, retry, deadline },
        tell,
    ));
    told.await.map_err(|_| Error::internal("a move ended without a word"))?
}

/// A game that the caller may move. Errors: `NotFound`, `Gone`; `Forbidden` for all but the host and administrators.
pub(super) async fn movable(api: &Api, caller: &Caller, name: &DocumentName) -> Result<Arc<Document>> {
    let viewer = if caller.administrator { &Viewer::Owner } else { &caller.viewer };
    let document = api.reads.live_document(name, viewer).await?;
    if !document.meta.is_host(viewer) {
        return Err(Error::new(Kind::Forbidden, "only the host of a game, or an administrator, may move it"));
    }
    Ok(document)
}

/// Error: `game-too-large`.
fn check_size(bytes: usize) -> Result<()> {
    if bytes > MOVED_GAME_BYTES_MAX {
        return Err(too_large(MOVED_GAME_BYTES_MAX).with("bytes", bytes));
    }
    Ok(())
}

/// What belongs to a game, at one moment.
async fn attached(api: &Api, document: &Document) -> Result<AttachedLines> {
    let (key, now) = (document.meta.key, api.clock.now());
    let read = move |reader: &crate::store::Reader| reader.rows(|conn| read_attached_rows(conn, key, now));
    AttachedLines::of(&api.reads.read(read).await?)
}

/// A move that somebody asked for.
struct MigrationOrder {
    id: String,
    retry: Option<MigrationKey>,
    /// When whoever asked is answered at the latest.
    deadline: Instant,
}

async fn run_migration(
    (api, departures): (Api, Departures),
    name: DocumentName,
    peer: TargetServer,
    order: MigrationOrder,
    tell: oneshot::Sender<Result<MigratedGame>>,
) {
    let document = match api.engine.relocate(name.clone(), RelocationStep::Freeze).await {
        Ok(Some(document)) => document,
        Ok(None) => return drop(tell.send(Err(Error::internal("a game was frozen that is not there")))),
        Err(error) => return drop(tell.send(Err(error))),
    };
    let departure = departures.begin(&name);
    let ends = (departures, name.clone(), departure.clone());
    let unconfirmed = transfer_game(&api, &departure, peer, (name, document, order), tell).await;
    if let Some(row) = unconfirmed {
        retry_confirmation(&api, &departure, &row).await;
    }
    let (departures, name, departure) = ends;
    departures.end(&name, &departure);
}

/// Sends a frozen game, records the move and has it confirmed, unless it is cancelled. Returns a move that is recorded
/// and not confirmed.
async fn transfer_game(
    api: &Api,
    departure: &Departure,
    peer: TargetServer,
    (name, document, order): (DocumentName, Arc<Document>, MigrationOrder),
    tell: oneshot::Sender<Result<MigratedGame>>,
) -> Option<MoveRow> {
    let MigrationOrder { id, retry, deadline } = order;
    let _turn = departure.turn.lock().await;
    let too_slow = || Err(unavailable("the other server took too long to take the game"));
    let sent = tokio::select! {
        biased;
        () = departure.cancelled.cancelled() => Err(cancelled()),
        sent = timeout_at(deadline, send(api, &peer, &document, &id)) => sent.unwrap_or_else(|_| too_slow()),
    };
    if let Err(error) = sent {
        tracing::warn!(game = %name, to = peer.url, %error, "{name} does not move");
        let error = match error.kind() {
            Kind::NotFound => unavailable("the other server let go of what had come").caused_by(error),
            _ => error,
        };
        // Nothing of it is live there before it is confirmed, so the game need not wait for the other server.
        let _ = api.engine.relocate(name.clone(), RelocationStep::Unfreeze).await;
        // Whoever asked does not wait for it: a server that did not answer will not answer this either.
        let answers = error.slug() != Some(OTHER_SERVER_UNAVAILABLE.slug) && !departure.cancelled.is_cancelled();
        let forget = async move { drop(peer.send(&name, &MigrationPiece::step(MigrationStep::Cancel, &id)).await) };
        // It is forgotten there by itself, too, but not so soon.
        let forgetting = tokio::spawn(forget);
        if answers {
            let _ = timeout_at(deadline, forgetting).await;
        }
        drop(tell.send(Err(error)));
        return None;
    }
    let row = MoveRow { name, target: peer.url.clone(), id, version: document.version };
    let mut departed = MigratedGame { document, to: row.target.clone(), confirmed: false };
    if !record(api, &row, retry.as_ref(), &departed).await {
        return None;
    }
    departed.confirmed = true;
    let first = retry.as_ref().and_then(|retry| retry.row(&departed, api.clock.now()).ok());
    let confirmed = tokio::select! {
        biased;
        () = departure.cancelled.cancelled() => {
            drop(tell.send(Err(cancelled())));
            return None;
        }
        confirmed = timeout_at(deadline, confirm(api, &row, first)) => {
            confirmed.unwrap_or_else(|_| Err(unavailable("the other server has not confirmed in time")))
        }
    };
    departed.confirmed = confirmed.is_ok();
    if let Err(error) = confirmed {
        tracing::warn!(game = %row.name, to = row.target, %error, "the other server is asked again");
    }
    let confirmed = departed.confirmed;
    let _ = tell.send(Ok(departed));
    (!confirmed).then_some(row)
}

/// Records the move, and the answer as it would be if the other server said nothing more. A write that failed may be on
/// disk all the same: it is repeated until it is known to be, and the game stays frozen for as long. False: the server
/// ends; the next start finds what was stored.
async fn record(api: &Api, row: &MoveRow, retry: Option<&MigrationKey>, departed: &MigratedGame) -> bool {
    let answer = retry.and_then(|retry| retry.row(departed, api.clock.now()).ok());
    while api.engine.is_running() && !api.stop.is_cancelled() {
        let (to_store, answer) = (row.clone(), answer.clone());
        match api.engine.rows(move |conn, now| sql::record(conn, &to_store, answer.as_ref(), now)).await {
            Ok(()) => return true,
            Err(error) => tracing::warn!(game = %row.name, %error, "a move could not be recorded yet"),
        }
        sleep(RETRY_MIN).await;
    }
    false
}

/// Asks the other server to make the game live, and when it has, shows everyone the way. `answer`: kept then for
/// whoever asked and has no answer yet.
pub(super) async fn confirm(api: &Api, row: &MoveRow, answer: Option<IdempotencyRow>) -> Result<()> {
    let peer = TargetServer::find(&row.target).await?;
    let confirm = MigrationPiece::step(MigrationStep::Confirm, &row.id);
    match peer.send(&row.name, &confirm).await {
        Err(error) if error.kind() == Kind::NotFound => {
            let document = api.reads.live_document(&row.name, &Viewer::Owner).await?;
            send(api, &peer, &document, &row.id).await?;
            peer.send(&row.name, &confirm).await?;
        }
        said => drop(said?),
    }
    let to_store = row.clone();
    let noted = api.engine.rows(move |conn, now| sql::note_confirmed(conn, &to_store, answer.as_ref(), now)).await;
    api.engine.relocate(row.name.clone(), RelocationStep::MoveTo(row.target.clone())).await?;
    if let Err(error) = noted {
        // After the next start it is asked once more, and says the same.
        tracing::warn!(game = %row.name, %error, "that a game has moved could not be noted");
    }
    tracing::info!(game = %row.name, to = row.target, "{} is at {} now", row.name, row.target);
    Ok(())
}

/// Asks again until the game is confirmed, the move is cancelled or the server stops.
pub(super) async fn retry_confirmation(api: &Api, departure: &Departure, row: &MoveRow) {
    let mut wait = RETRY_MIN;
    loop {
        tokio::select! {
            () = sleep(wait) => {}
            () = api.stop.cancelled() => return,
            () = departure.cancelled.cancelled() => return,
        }
        wait = (wait * 2).min(RETRY_MAX);
        let _turn = departure.turn.lock().await;
        let confirmed = tokio::select! {
            biased;
            () = departure.cancelled.cancelled() => return,
            confirmed = confirm(api, row, None) => confirmed,
        };
        match confirmed {
            Ok(()) => return,
            Err(error) => tracing::warn!(game = %row.name, to = row.target, %error, "the other server is asked again"),
        }
    }
}

/// [`retry_confirmation`] as a move that can be cancelled.
pub(super) async fn confirm_later(api: &Api, departures: &Departures, row: &MoveRow) {
    let departure = departures.begin(&row.name);
    retry_confirmation(api, &departure, row).await;
    departures.end(&row.name, &departure);
}

/// Goes on with the moves that a restart interrupted, and forgets arrivals that did not come. Does not end.
pub(crate) async fn resume_migrations(api: Api, departures: Departures) {
    match api.reads.read(|reader| reader.rows(sql::unconfirmed)).await {
        Ok(rows) => {
            for row in rows {
                let (api, departures) = (api.clone(), departures.clone());
                tokio::spawn(async move { confirm_later(&api, &departures, &row).await });
            }
        }
        Err(error) => {
            tracing::error!(%error, "moves that were under way are not gone on with");
            pending::<()>().await;
        }
    }
    loop {
        if let Err(error) = migrate_in::forget_overdue(&api).await {
            tracing::warn!(%error, "games that did not come are not forgotten yet");
        }
        sleep(SWEEP).await;
    }
}

/// Sends a frozen game, history and attached, and has it verified. Errors: `Rejected`, `StorageUnavailable`,
/// `game-too-large`.
async fn send(api: &Api, peer: &TargetServer, document: &Document, id: &str) -> Result<()> {
    // While storage fails it is not known which of the rows that were written last are on disk.
    if document.seq > api.reads.hub.gate().durable() || api.health.report().storage != StorageHealth::Well {
        return Err(Error::new(
            Kind::StorageUnavailable,
            "not all of the game is on disk; move it when storage is well",
        ));
    }
    let rows = attached(api, document).await?;
    let name = &document.meta.name;
    let mut page = api.reads.history(name, Version::ZERO, PAGE_EVENTS, &Viewer::Owner).await?;
    let base = base(api, name, page.first_version).await?;
    let mut next = page.first_version;
    if let Some(base) = base.as_ref().filter(|base| base.version >= page.first_version) {
        next = base.version.next();
        page = api.reads.history(name, base.version, PAGE_EVENTS, &Viewer::Owner).await?;
    }
    let head = head(document, base.as_deref(), rows.digest())?;
    peer.send(name, &MigrationPiece { head: Some(head), ..MigrationPiece::step(MigrationStep::Begin, id) }).await?;
    let mut sent_bytes = rows.bytes();
    loop {
        if page.events.first().is_some_and(|event| event.version != next) {
            let message = "its history was trimmed while it was sent; order the move again";
            return Err(Error::new(Kind::StorageUnavailable, message));
        }
        let mut piece = MigrationPiece::step(MigrationStep::Events, id);
        let mut bytes = 0;
        for event in &page.events {
            if bytes + event.body.len() > PIECE_BYTES_MAX && !piece.events.is_empty() {
                peer.send(name, &piece).await?;
                (piece.events, bytes) = (Vec::new(), 0);
            }
            bytes += event.body.len();
            sent_bytes += event.body.len();
            piece.events.push(piece_event(event)?);
        }
        check_size(sent_bytes)?;
        if !piece.events.is_empty() {
            peer.send(name, &piece).await?;
        }
        match page.events.last().map(|event| event.version).filter(|_| page.more) {
            Some(last) => {
                next = last.next();
                page = api.reads.history(name, last, PAGE_EVENTS, &Viewer::Owner).await?;
            }
            None => break,
        }
    }
    let digest = rows.digest();
    send_rows(peer, name, id, rows).await?;
    let prepared = peer.send(name, &MigrationPiece::step(MigrationStep::Prepare, id)).await?;
    let has = |member: &str, hash: Hash| prepared.get(member).and_then(Value::as_str) == Some(&*hash.to_string());
    if !has("hash", document.hash) || !has("rows", digest) {
        return Err(target_refusal("the other server has not the same game"));
    }
    Ok(())
}

async fn send_rows(peer: &TargetServer, name: &DocumentName, id: &str, rows: AttachedLines) -> Result<()> {
    let (mut piece, mut bytes) = (MigrationPiece::step(MigrationStep::Rows, id), 0);
    for line in rows.lines {
        if bytes + line.len() > PIECE_BYTES_MAX && !piece.rows.is_empty() {
            peer.send(name, &piece).await?;
            (piece.rows, bytes) = (Vec::new(), 0);
        }
        bytes += line.len();
        piece.rows.push(line);
    }
    if !piece.rows.is_empty() {
        peer.send(name, &piece).await?;
    }
    Ok(())
}

/// What the history that is sent goes on from, given the first version whose event is kept. `None`: it is whole.
async fn base(api: &Api, name: &DocumentName, first: Version) -> Result<Option<Arc<Document>>> {
    let before = Version(first.0.saturating_sub(1));
    if before == Version::ZERO {
        return Ok(None);
    }
    match api.reads.document_at(name, before, &Viewer::Owner).await {
        // It was removed and created again. Of the removal there is the event, and nothing from before it that it could
        // be verified with: the history goes on from what the removal left.
        Err(error) if error.kind() == Kind::Gone => api.reads.document_at(name, first, &Viewer::Owner).await.map(Some),
        before => before.map(Some),
    }
}

fn head(document: &Document, base: Option<&Document>, rows: Hash) -> Result<HistoryHead> {
    let base = base.map(|base| -> Result<HistoryBase> {
        let state = base.state.as_ref().map(|state| serde_json::from_slice(state)).transpose();
        let (version, hash, at) = (base.version, base.hash.to_string(), base.updated_at);
        Ok(HistoryBase { version, hash, at, state: state.map_err(Error::internal)? })
    });
    Ok(HistoryHead {
        host: document.meta.host.clone(),
        access: document.meta.access.clone(),
        created_at: document.meta.created_at,
        base: base.transpose()?,
        version: document.version,
        hash: document.hash.to_string(),
        rows: rows.to_string(),
    })
}

fn piece_event(event: &Event) -> Result<PieceEvent> {
    let body = String::from_utf8(event.body.to_vec()).map_err(Error::internal)?;
    let body = RawValue::from_string(body).map_err(Error::internal)?;
    Ok(PieceEvent { version: event.version, hash: event.hash.to_string(), deletes: event.deletes, body })
}

pub(super) struct TargetServer {
    /// `http://host:port`.
    url: String,
    target: ServerUrl,
    /// Looked up once and checked; nothing else is connected to.
    addresses: Vec<std::net::SocketAddr>,
}

impl TargetServer {
    /// Error: `Invalid` unless all addresses behind `to` may be sent to.
    pub(super) async fn find(to: &str) -> Result<Self> {
        let target = ServerUrl::parse(to).map_err(|error| Error::invalid_field("to", error))?;
        let addresses = target
            .resolve()
            .await
            .map_err(|error| Error::invalid_field("to", "is not an address that is known here").caused_by(error))?;
        if !addresses.iter().all(|address| is_machine_or_tailnet(address.ip())) {
            return Err(Error::invalid_field("to", "must be on this machine or on the tailnet"));
        }
        Ok(Self { url: format!("http://{target}"), target, addresses })
    }

    /// Sends a piece, within [`STEP_MAX`]. Errors: `NotFound` when it knows no such move; `Rejected` with its reason;
    /// `StorageUnavailable` when it cannot be reached or cannot do it now.
    pub(super) async fn send(&self, name: &DocumentName, piece: &MigrationPiece) -> Result<Value> {
        // Bytes that come now and then do not extend it.
        let said = timeout(STEP_MAX, self.exchange(name, piece)).await;
        said.unwrap_or_else(|_| Err(unavailable("the other server took too long to answer")))
    }

    async fn exchange(&self, name: &DocumentName, piece: &MigrationPiece) -> Result<Value> {
        let json = Bytes::from(serde_json::to_vec(piece).map_err(Error::internal)?);
        let path = format!("/api/v1/games/{}/import", name.id);
        let away = |error| unavailable("the other server does not answer").caused_by(error);
        let mut answer: Response = self.target.post(&self.addresses, &path, json).await.map_err(away)?;
        let text = answer.text(ANSWER_BYTES_MAX).await.map_err(away)?;
        let body: Value = serde_json::from_str(&text).unwrap_or_default();
        let said = body.get("detail").and_then(Value::as_str).unwrap_or("without a reason");
        let kind = body.get("type").and_then(Value::as_str).unwrap_or_default();
        match answer.status() {
            200 | 204 => Ok(body),
            404 if kind == "/problems/not-found" => Err(Error::not_found(format!("the other server: {said}"))),
            300..400 => Err(target_refusal("the other server points elsewhere, which is not followed")),
            status @ (429 | 500..) => {
                Err(unavailable(&format!("the other server cannot now: {said}")).with("otherStatus", status))
            }
            status => Err(target_refusal(&format!("the other server refuses: {said}")).with("otherStatus", status)),
        }
    }
}

fn cancelled() -> Error {
    MOVE_CANCELLED.error("the move was cancelled; the game goes on here")
}

/// The other server cannot take the game now.
pub(super) fn unavailable(message: &str) -> Error {
    OTHER_SERVER_UNAVAILABLE.error(message)
}

/// The other server does not take the game, and would not later.
fn target_refusal(message: &str) -> Error {
    MOVE_REFUSED.error(message)
}
