//! Bringing a player back: the token is used up, the seat is theirs again, and they get the state and what they missed.
//!
//! The answer is made before the token is touched, and the token is used up, its successor stored and the answer sealed
//! in one transaction on the engine's thread: of any number of requests with one token exactly one wins, and whatever
//! was answered can be answered again.

use std::sync::Arc;

use serde::Serialize;
use serde_json::value::RawValue;

use super::options::TokenLifetime;
use super::revocations::{PendingRevoked, Revoked};
use super::service::{check_running, forget_expired, not_a_participant};
use super::tokens::{self, ReconnectToken, SealedAnswer, TokenAttempt, TokenVerdict, check_token};
use super::{sql, tables};
use crate::base::clock::Timestamp;
use crate::base::error::{Error, Result};
use crate::base::ids::{DocumentName, UserId};
use crate::base::secret::SecretHash;
use crate::document::decide::not_found_error;
use crate::document::model::Document;
use crate::document::visibility::{Viewer, redact_state};
use crate::engine::read::follow::{Follow, Follower, Item};
use crate::features::games::limits::{MISSED_BYTES_MAX, MISSED_EVENTS_MAX};
use crate::http::api::Api;
use crate::live::topics::Interest;
use crate::store::{Connection, IdempotencyKey, IdempotentAnswer};

/// A request to come back.
pub(crate) struct ReconnectRequest {
    pub game: DocumentName,
    pub player: UserId,
    pub viewer: Viewer,
    /// The token that is shown.
    pub token: ReconnectToken,
    /// The last position that the client saw.
    pub last_event_id: Option<String>,
    pub key: Option<IdempotencyKey>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ReconnectResponse<'a> {
    success: bool,
    game_state: &'a RawValue,
    version: u64,
    position: String,
    reconnected_at: Timestamp,
    missed_events: &'a [Box<RawValue>],
    #[serde(skip_serializing_if = "Option::is_none")]
    missed_reason: Option<&'static str>,
    #[serde(skip_serializing_if = "is_false")]
    more_events: bool,
    reconnect_token: &'a str,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_false(flag: &bool) -> bool {
    !flag
}

/// What a player missed.
#[derive(Debug, Default)]
struct MissedEvents {
    events: Vec<Box<RawValue>>,
    /// Why they cannot be told.
    reason: Option<&'static str>,
    /// Whether these are only the first.
    more: bool,
}

/// What is looked at in the tables, before anything is done and again in the transaction.
struct ReconnectAttempt {
    game: DocumentName,
    showing: TokenAttempt,
    token: ReconnectToken,
    key: Option<IdempotencyKey>,
    deleted: Option<Arc<Document>>,
    created_at: Timestamp,
    revoked: PendingRevoked,
    /// Whether the clock may decide that tokens are forgotten.
    forgets_expired: bool,
}

enum ReconnectStep {
    /// The same request was answered before: that answer.
    Replay(Vec<u8>),
    /// The token was used before: its line ends.
    Revoke { family: String },
    /// The token is good, and for this identity.
    Use { identity: UserId },
}

enum ReconnectOutcome {
    Replayed(Vec<u8>),
    Refused(Error),
    Won,
}

/// Brings a player back. Errors: `NotFound`, `Gone`, `game-completed`; each of the token's; `not-a-participant`;
/// `IdempotencyMismatch`; `Frozen`, `Moved`; `StorageUnavailable`, after which the request is to be repeated with the
/// same key.
pub(crate) async fn reconnect(
    api: &Api,
    TokenLifetime(lifetime): TokenLifetime,
    request: ReconnectRequest,
) -> Result<IdempotentAnswer> {
    let ReconnectRequest { game, player, viewer, token, last_event_id, key } = request;
    let document = api.reads.readable_document(&game, &viewer).await?.ok_or_else(|| not_found_error(&game, None))?;
    let showing = TokenAttempt {
        document: document.meta.key,
        player: player.clone(),
        host: document.meta.is_host(&viewer),
        viewer: viewer.clone(),
    };
    let created_at = document.meta.created_at;
    let deleted = document.is_deleted().then(|| Arc::clone(&document));
    let (revoked, forgets_expired) = (PendingRevoked(api.engine.pending_revocations()), api.clock_trust.is_trusted());
    let attempt = Arc::new(ReconnectAttempt {
        game: game.clone(),
        showing,
        token,
        key,
        deleted,
        created_at,
        revoked,
        forgets_expired,
    });
    // First beside the engine: whoever guesses is refused without work for it.
    let (looking, now) = (Arc::clone(&attempt), api.clock.now());
    let step = tables::read(api, &document.meta, move |conn| looking.plan_reconnect(conn, now)).await?;
    match step {
        ReconnectStep::Replay(body) => return Ok(IdempotentAnswer { answer: body.into(), replayed: true }),
        ReconnectStep::Revoke { family } => {
            tables::revoke(api, &document.meta, Revoked::Tokens { family }).await?;
            return Err(TokenVerdict::Reused.check().err().unwrap_or_else(tokens::unknown));
        }
        ReconnectStep::Use { .. } => {}
    }
    let next = ReconnectToken::new(&*api.entropy);
    let body = answer(api, &document, &player, last_event_id.as_deref(), &next).await?;
    let seal = |_| tokens::seal(&attempt.token, &*api.entropy, &attempt.context(), &body);
    let sealed = attempt.key.as_ref().map(seal).transpose()?;
    let hash = next.hash();
    let write = move |conn: &Connection, now: Timestamp| match attempt.plan_reconnect(conn, now)? {
        ReconnectStep::Replay(body) => Ok(ReconnectOutcome::Replayed(body)),
        ReconnectStep::Revoke { family } => {
            sql::tokens::revoke_family(conn, &family, now)?;
            Ok(ReconnectOutcome::Refused(TokenVerdict::Reused.check().err().unwrap_or_else(tokens::unknown)))
        }
        ReconnectStep::Use { identity } => {
            attempt.rotate(conn, now, &hash, &identity, now.plus(lifetime), sealed.as_ref())?;
            Ok(ReconnectOutcome::Won)
        }
    };
    match tables::write(api, &document.meta, write).await? {
        ReconnectOutcome::Won => Ok(IdempotentAnswer { answer: body.into(), replayed: false }),
        ReconnectOutcome::Replayed(body) => Ok(IdempotentAnswer { answer: body.into(), replayed: true }),
        ReconnectOutcome::Refused(error) => Err(error),
    }
}

impl ReconnectAttempt {
    /// What an answer is sealed for. The same on every server that the game moves to.
    fn context(&self) -> String {
        let key = self.key.as_ref().map_or("", |key| &key.key);
        format!("{}\n{}\n{}\n{key}", self.game, self.showing.player, self.showing.viewer.scope())
    }

    /// What is to be done. Error: a refusal that changes nothing.
    fn plan_reconnect(&self, conn: &Connection, now: Timestamp) -> Result<ReconnectStep> {
        if let Some(key) = &self.key
            && let Some(sealed) = sql::tokens::find_answer(conn, key)?
        {
            return tokens::open(&self.token, &self.context(), &sealed).map(ReconnectStep::Replay);
        }
        check_running(conn, (self.showing.document, self.created_at), &self.revoked)?;
        if let Some(tombstone) = &self.deleted {
            return Err(not_found_error(&tombstone.meta.name, Some(tombstone)));
        }
        let mut known = sql::tokens::find(conn, &self.token.hash())?.ok_or_else(tokens::unknown)?;
        if self.revoked.has_tokens(&known.family) {
            known.revoked_at = known.revoked_at.or(Some(now));
        }
        let verdict = check_token(&known, &self.showing, now);
        if verdict != TokenVerdict::Mismatch {
            let seat = sql::seat_of(conn, known.document, &known.player)?;
            if seat.is_none_or(|seat| self.revoked.has_seat(known.document, &seat)) {
                return Err(not_a_participant(&known.player));
            }
        }
        if verdict == TokenVerdict::Reused {
            return Ok(ReconnectStep::Revoke { family: known.family });
        }
        verdict.check().map(|()| ReconnectStep::Use { identity: known.identity })
    }

    /// Uses the token up, puts the next in its place and keeps the answer.
    fn rotate(
        &self,
        conn: &Connection,
        now: Timestamp,
        next: &SecretHash,
        identity: &UserId,
        expires_at: Timestamp,
        sealed: Option<&SealedAnswer>,
    ) -> Result<()> {
        let hash = self.token.hash();
        let lost = || TokenVerdict::Raced.check().err().unwrap_or_else(tokens::unknown);
        let family = sql::tokens::rotate(conn, &hash, next, now)?.ok_or_else(lost)?;
        let (document, player) = (self.showing.document, &self.showing.player);
        let new = sql::tokens::NewToken { hash: next, document, player, identity, family: &family, expires_at };
        match (&self.key, sealed) {
            (None, _) | (_, None) => sql::tokens::forget_answers(conn, &family)?,
            (Some(key), Some(sealed)) => sql::tokens::keep_answer(conn, &family, &hash, key, sealed)?,
        }
        if self.forgets_expired {
            forget_expired(conn, now)?;
        }
        sql::tokens::issue(conn, &new, now)
    }
}

/// The body of the answer: all of it as `player` may see it, whoever asks for them.
async fn answer(
    api: &Api,
    document: &Document,
    player: &UserId,
    last_event_id: Option<&str>,
    next: &ReconnectToken,
) -> Result<Vec<u8>> {
    let viewer = Viewer::User(player.clone());
    let audience = document.meta.audience(&viewer);
    let missed = missed_events(api, document, &viewer, last_event_id.filter(|text| !text.is_empty())).await?;
    let state = redact_state(document.state.as_deref().unwrap_or(b"null"), audience)?;
    let body = ReconnectResponse {
        success: true,
        game_state: serde_json::from_slice(&state).map_err(Error::internal)?,
        version: document.version.0,
        position: document.position().to_string(),
        reconnected_at: api.clock.now(),
        missed_events: &missed.events,
        missed_reason: missed.reason,
        more_events: missed.more,
        reconnect_token: next.expose(),
    };
    serde_json::to_vec(&body).map_err(Error::internal)
}

/// The changes of `document` after the position that the client last saw, up to this version: found as a stream that
/// resumes there finds them.
async fn missed_events(api: &Api, document: &Document, viewer: &Viewer, from: Option<&str>) -> Result<MissedEvents> {
    let (mut missed, mut bytes) = (MissedEvents::default(), 0);
    let Some(from) = from else { return Ok(missed) };
    let interest = Interest::document(document.meta.name.clone());
    // Looked at for the player and not by them: nobody is present for it.
    let follower = Follower { viewer: viewer.clone(), counts: false, device: None, filter: None };
    let opened = Follow::open(api.reads.clone(), &api.presence, follower, interest, Some(from)).await?;
    let (mut follow, first) = opened;
    let mut left = match first {
        Item::Resumed { count, .. } => count,
        Item::Snapshot { reason, .. } => return Ok(MissedEvents { reason: Some(reason.as_str()), ..missed }),
        Item::Changes(_)
        | Item::Entered(_)
        | Item::Left(_)
        | Item::Messages(_)
        | Item::Durable(_)
        | Item::Presence(_)
        | Item::Transient(_)
        | Item::Moved(_)
        | Item::AccessEnded => {
            return Err(Error::internal("a stream began with neither of its beginnings"));
        }
    };
    while left > 0 {
        let events = match follow.next().await? {
            Item::Changes(events) => events,
            Item::Snapshot { reason, .. } => {
                return Ok(MissedEvents { reason: Some(reason.as_str()), ..MissedEvents::default() });
            }
            Item::AccessEnded => return Err(not_found_error(&document.meta.name, None)),
            Item::Resumed { .. }
            | Item::Entered(_)
            | Item::Left(_)
            | Item::Messages(_)
            | Item::Durable(_)
            | Item::Presence(_)
            | Item::Transient(_)
            | Item::Moved(_) => continue,
        };
        left = left.saturating_sub(u64::try_from(events.len()).unwrap_or(u64::MAX));
        for event in events {
            if event.seq > document.seq {
                return Ok(missed);
            }
            let text = String::from_utf8(event.render(event.meta.audience(viewer))?.into()).map_err(Error::internal)?;
            bytes += text.len();
            if missed.events.len() >= MISSED_EVENTS_MAX || bytes > MISSED_BYTES_MAX {
                missed.more = true;
                return Ok(missed);
            }
            missed.events.push(RawValue::from_string(text).map_err(Error::internal)?);
        }
    }
    Ok(missed)
}
