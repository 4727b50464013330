//! A game and the disk: storing it whole now, reading it back from there, removing it, and what there is of it.

use std::sync::Arc;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use bytes::BytesMut;
use http::HeaderMap;
use http::header::{CONTENT_TYPE, ETAG, HeaderValue};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::{GamePath, PersistProblems, PersistenceProblems, RemoveProblems, RestoreProblems, json};
use crate::base::clock::Timestamp;
use crate::base::error::{Error, Kind, Result};
use crate::base::ids::{DocumentId, Version};
use crate::document::decide::not_found_error;
use crate::document::model::Document;
use crate::document::visibility::Audience;
use crate::engine::health::StorageHealth;
use crate::engine::refusal::{check_persistent, check_persistent_meta};
use crate::features::games::problems::GAME_RUNNING;
use crate::features::games::revocations::PendingRevoked;
use crate::features::games::sql::completed_at;
use crate::http::api::Api;
use crate::http::error::HandlerResult;
use crate::http::idempotency::{IdempotentRequest, StoredResponse, respond};
use crate::http::request::caller::Caller;
use crate::http::request::headers::REJOIN_POSITION;
use crate::http::request::preconditions::is_unchanged;
use crate::http::response::openapi::IfNoneMatch;
use crate::http::response::revoked::{RevokedLater, revoked};
use crate::http::response::success::{Success, not_modified};
use crate::store::VerifiedDocument;

pub(super) fn router() -> OpenApiRouter<Api> {
    OpenApiRouter::new().routes(routes!(persist, remove)).routes(routes!(restore)).routes(routes!(persistence))
}

/// Which game is to be stored.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct PersistBody {
    /// The game's id, as in the path.
    #[schema(value_type = String, pattern = "^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$")]
    game_id: DocumentId,
    /// Store it even if somebody else has written a newer version to the disk, which is lost then. The host's alone.
    #[serde(default)]
    force_overwrite: bool,
}

/// What was stored.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct PersistedGame {
    /// `true`.
    success: bool,
    /// When.
    #[schema(value_type = String, format = DateTime)]
    persisted_at: Timestamp,
    /// The game's version then.
    #[schema(value_type = u64)]
    version: Version,
}

/// Store a running game whole
///
/// Every change is on disk before it is answered; this adds a snapshot, from which the game is read at once. While
/// storage fails it is refused, and the game goes on.
#[utoipa::path(
    post, path = "/api/game/{gameId}/persist", operation_id = "persistGame", tag = "games",
    params(
        ("gameId" = String, Path, description = "The game's id.", pattern = "^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$"),
        Caller,
        IdempotentRequest
    ),
    request_body = PersistBody,
    responses((status = 200, description = "It is on disk.", body = PersistedGame), PersistProblems),
)]
async fn persist(State(api): State<Api>, GamePath(game): GamePath, sent: IdempotentRequest) -> HandlerResult<Response> {
    let body: PersistBody = sent.object()?;
    if body.game_id != game.id {
        return Err(Error::invalid_field("gameId", "is not the game in the path").into());
    }
    let viewer = &sent.caller.viewer;
    api.reads.check_reader(&game, viewer).await?;
    if let Some(before) = sent.stored_response(&api).await? {
        return Ok(before);
    }
    let document = api.reads.live_document(&game, viewer).await?;
    document.meta.check_writer(viewer)?;
    if body.force_overwrite && !document.meta.is_host(viewer) {
        return Err(Error::new(Kind::Forbidden, "only the host may overwrite what somebody else has stored").into());
    }
    check_persistent(&document)?;
    let persisted = api.engine.snapshot(game, body.force_overwrite).await?;
    let game = PersistedGame { success: true, persisted_at: persisted.at, version: persisted.version };
    let once = sent.call(|game: &PersistedGame| StoredResponse::json(Success::Done, game));
    if !once.is_keyed() {
        return Ok(json(Success::Done, &game)?);
    }
    // Kept before it is given. Whoever repeats the call after a crash between the two has it stored once more, which is
    // the same as once.
    let (answered, _) = api.engine.rows(move |conn, now| once.run(conn, now, |_, _| Ok(game))).await?;
    Ok(respond(answered)?)
}

/// Read a game back from disk
///
/// All that is kept of it is read and verified: each event against the chain, each snapshot against the events. If
/// the game is not in memory it is taken there and runs. Of a damaged game the problem says what the host can do; after
/// a rollback the answer is the game again, and `damagedVersions` (`from` and `to` of each stretch) says which old
/// versions cannot be read.
#[utoipa::path(
    get, path = "/api/game/{gameId}/restore", operation_id = "restoreGame", tag = "games",
    params(
        ("gameId" = String, Path, description = "The game's id.", pattern = "^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$"),
        Caller,
        IfNoneMatch
    ),
    responses(
        (status = 200, description = "The game as it is on disk, as the caller may see it.", body = Object),
        (status = 304, description = "It is whole on disk, and as the caller has it."),
        RestoreProblems,
    ),
)]
async fn restore(
    State(api): State<Api>,
    GamePath(game): GamePath,
    Caller { viewer, .. }: Caller,
    headers: HeaderMap,
) -> HandlerResult<Response> {
    api.reads.check_reader(&game, &viewer).await?;
    let running = api.reads.hub.document(&game);
    if let Some(document) = running.as_ref().filter(|document| !document.is_deleted()) {
        check_persistent(document)?;
    }
    let runs = running.is_some();
    let name = game.clone();
    let found = api.reads.read(move |reader| reader.verify(&name)).await;
    let Some(VerifiedDocument { document, damaged }) = found.map_err(|error| with_advice(error, runs))? else {
        return Err(not_found_error(&game, None).into());
    };
    let document = Arc::new(document);
    if document.is_deleted() {
        return Err(not_found_error(&game, Some(&document)).into());
    }
    if !runs {
        api.engine.prefetch(game);
    }
    let unchanged = is_unchanged(&headers, &document, &viewer)? && damaged.is_empty();
    let mut response = if unchanged {
        not_modified()
    } else {
        document_response(&document, document.meta.audience(&viewer), &damaged)?
    };
    let header = |text: String| HeaderValue::try_from(text).map_err(Error::internal);
    response.headers_mut().insert(ETAG, header(format!("\"{}\"", document.tag()))?);
    response.headers_mut().insert(REJOIN_POSITION, header(document.position().to_string())?);
    Ok(response)
}

/// A damaged game's refusal, with what its host can do about it.
fn with_advice(error: Error, runs: bool) -> Error {
    const REPAIR: &str = "have an administrator write its rows anew (POST /reconciliation/repair with source memory)";
    if error.kind() != Kind::Damaged {
        return error;
    }
    let good = error.details().get("lastGoodVersion").and_then(Value::as_u64);
    let remedy = match (runs, good) {
        (true, Some(good)) => format!(
            "the game still runs: persist it, so that it is read from a whole snapshot from now on, and {REPAIR}, or \
             roll it back to version {good}, or restore a backup"
        ),
        (true, None) => format!(
            "the game still runs: persist it, so that it is read from a whole snapshot from now on, and {REPAIR}, or \
             restore a backup"
        ),
        (false, Some(good)) => format!(
            "its host can roll it back to version {good} (POST /api/v1/games/{{id}}/rollback), and it goes on from \
             there; or restore a backup"
        ),
        (false, None) => "no version of it can be read: restore a backup, or complete and remove it".to_owned(),
    };
    let message = format!("{}; {remedy}", error.message());
    let told = error
        .details()
        .iter()
        .fold(Error::new(Kind::Damaged, message), |told, (name, value)| told.with(name, value.clone()));
    told.caused_by(error)
}

/// The document; with `damagedVersions` when there are some in its history.
fn document_response(document: &Document, audience: Audience<'_>, damaged: &[(Version, Version)]) -> Result<Response> {
    let json = [(CONTENT_TYPE, HeaderValue::from_static("application/json"))];
    let mut body = BytesMut::new();
    document.render_into(&mut body, audience, true)?;
    if !damaged.is_empty() {
        let stretches: Vec<_> = damaged.iter().map(|(from, to)| json!({ "from": from, "to": to })).collect();
        // The document as everywhere else, with one member more.
        body.truncate(body.len().saturating_sub(1));
        body.extend_from_slice(format!(r#","damagedVersions":{}}}"#, Value::from(stretches)).as_bytes());
    }
    Ok((json, body.freeze()).into_response())
}

/// Remove a completed game
///
/// Its state, events and snapshots go. What remains is its id, last version and hash: reads give 410.
#[utoipa::path(
    delete, path = "/api/game/{gameId}/persist", operation_id = "removeGame", tag = "games",
    params(
        ("gameId" = String, Path, description = "The game's id.", pattern = "^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$"),
        Caller
    ),
    responses((status = 204, description = "It is removed, on disk."), RevokedLater, RemoveProblems),
)]
async fn remove(
    State(api): State<Api>,
    GamePath(game): GamePath,
    Caller { viewer, .. }: Caller,
) -> HandlerResult<Response> {
    // Also one that cannot be read any more.
    let tip = api.reads.document_head(&game).await?.ok_or_else(|| not_found_error(&game, None))?;
    tip.meta.check_reader(&viewer)?;
    if !tip.meta.is_host(&viewer) {
        return Err(Error::new(Kind::Forbidden, "only the host may remove a game").into());
    }
    check_persistent_meta(&tip.meta)?;
    let (key, created_at) = (tip.meta.key, tip.meta.created_at);
    let pending = PendingRevoked(api.engine.pending_revocations()).completed_at(key, created_at);
    let stored = api.reads.read(move |reader| reader.rows(|conn| completed_at(conn, key))).await?;
    let completed = stored.or(pending).is_some();
    // One that is deleted does not run: only its history is left.
    if !completed && !tip.deleted {
        let message = "the game is still running; complete it first";
        return Err(GAME_RUNNING.error(message).into());
    }
    Ok(revoked(api.engine.purge_or_wait(game, viewer).await?)?)
}

/// What is stored of a game, and how storing goes.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct Persistence {
    /// The game's version.
    #[schema(value_type = u64)]
    version: Version,
    /// What depends on all that the game says, for its host alone.
    #[serde(flatten)]
    whole: Option<WholePersistence>,
    /// Events that are kept.
    events: u64,
    /// The version of the oldest.
    #[schema(value_type = u64)]
    first_version: Version,
    /// When the newest change on disk was made; null: none is.
    #[schema(value_type = Option<String>, format = DateTime)]
    last_persisted: Option<Timestamp>,
    /// The version of that change; 0: none is on disk.
    #[schema(value_type = u64)]
    persisted_version: Version,
    /// How storing goes for all of this server.
    server: Storing,
}

/// What is stored of a game, as far as it depends on what players may not see: how much that is shows in it.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct WholePersistence {
    /// Snapshots that are kept. For the host alone, as the next two.
    snapshots: u64,
    /// The version of the newest; 0: there is none yet, the events begin with the whole state.
    #[schema(value_type = u64)]
    snapshot_version: Version,
    /// Bytes of the states in the snapshots and of the events.
    bytes: u64,
}

/// How storing goes since the start.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct Storing {
    /// Whether writes reach the disk now.
    healthy: bool,
    /// Transactions.
    commits: u64,
    /// Half of them took no longer than this, in milliseconds; null: there was none.
    commit_p50_ms: Option<f64>,
    /// 99 of 100 took no longer than this, in milliseconds; null: there was none.
    commit_p99_ms: Option<f64>,
    /// Transactions that failed.
    failures: u64,
    /// Attempts to store what waited after that.
    retries: u64,
}

/// What is stored of a game
#[utoipa::path(
    get, path = "/api/v1/games/{id}/persistence", operation_id = "gamePersistence", tag = "games",
    params(("id" = String, Path, description = "The game's id.", pattern = "^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$"), Caller),
    responses((status = 200, description = "What is stored.", body = Persistence), PersistenceProblems),
)]
async fn persistence(
    State(api): State<Api>,
    GamePath(game): GamePath,
    Caller { viewer, .. }: Caller,
) -> HandlerResult<Response> {
    let document = api.reads.live_document(&game, &viewer).await?;
    let kept = api.reads.read(move |reader| reader.storage_statistics(&game)).await?;
    let whole = document.meta.is_host(&viewer).then(|| WholePersistence {
        snapshots: kept.map_or(0, |kept| kept.snapshots),
        snapshot_version: kept.map_or(Version::ZERO, |kept| kept.snapshot_version),
        bytes: kept.map_or(0, |kept| kept.snapshot_bytes.saturating_add(kept.event_bytes)),
    });
    let report = api.health.report();
    let milliseconds = |percent| report.commit_times.percentile(percent).map(|took| took.as_secs_f64() * 1000.0);
    Ok(json(
        Success::Done,
        &Persistence {
            version: document.version,
            whole,
            events: kept.map_or(0, |kept| kept.events),
            first_version: kept.map_or(Version::ZERO, |kept| kept.first_version),
            last_persisted: kept.map(|kept| kept.last_at),
            persisted_version: kept.map_or(Version::ZERO, |kept| kept.last_version),
            server: Storing {
                healthy: report.storage == StorageHealth::Well,
                commits: report.commits,
                commit_p50_ms: milliseconds(50),
                commit_p99_ms: milliseconds(99),
                failures: report.failures,
                retries: report.retries,
            },
        },
    )?)
}
