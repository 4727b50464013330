//! Coming in by an invitation: it is used up, a session is opened or given more, a name and a place are taken, all in
//! one transaction.

use std::collections::BTreeSet;
use std::sync::Arc;

use data_encoding::{BASE32_NOPAD, HEXLOWER};
use http::HeaderValue;
use sha2::{Digest as _, Sha256};

use super::limits::NAMES_MAX;
use super::problems::{NAME_TAKEN, NAMES_FULL, USED};
use super::rules::Invitation;
use super::service::{Found, find, unknown};
use super::sql;
use super::volatile::{VolatileDocuments, is_volatile};
use crate::base::clock::Timestamp;
use crate::base::display_name::{DisplayName, fold};
use crate::base::entropy::{Entropy, new_id};
use crate::base::error::{Error, Result};
use crate::base::ids::{SessionId, UserId};
use crate::base::secret::SecretHash;
use crate::document::model::Document;
use crate::http::api::Api;
use crate::http::providers::{NewSession, PendingPlace, PendingSession, ReachedDocument, SessionOpener};
use crate::http::request::caller::Caller;
use crate::store::Connection;

/// What somebody brings who comes in.
pub(crate) struct Arrival<'a> {
    pub token: &'a str,
    pub name: Option<&'a str>,
    /// Makes a repetition safe: who has it and the token gets the session that they got before.
    pub key: Option<String>,
    pub caller: Option<&'a Caller>,
    pub address: String,
    pub user_agent: Option<HeaderValue>,
}

/// What came of it.
pub(crate) struct Joined {
    pub invitation: Invitation,
    pub session: String,
    pub user: UserId,
    /// The place that was taken now.
    pub seat: Option<u32>,
    /// `Set-Cookie`, where the session is one that the browser may not have.
    pub cookie: Option<HeaderValue>,
}

/// Who comes in.
struct Person {
    user: UserId,
    /// What they are called, if they were asked.
    name: Option<DisplayName>,
    is_new: bool,
    /// The session that they have, to be given more.
    session: Option<String>,
}

/// Lets somebody in. Errors: those of [`InvitationState::check`](super::rules::InvitationState::check);
/// `invitation-unknown`; `Invalid` for a name that is missing or is none; `name-taken`; those of taking a place;
/// `StorageUnavailable`, after which nothing is used up.
pub(crate) async fn exchange(api: &Api, volatile: &Arc<VolatileDocuments>, arrival: Arrival<'_>) -> Result<Joined> {
    let opener = api.providers.sessions().ok_or_else(|| Error::internal("nobody opens sessions"))?;
    let Found { secret, invitation, documents, joined } = find(api, volatile, arrival.token, arrival.caller).await?;
    if let Some(session) = joined
        && let Some(known) = opener.find(session.as_str())
        && (invitation.user.is_some() || is_own_name(api, &known.user, arrival.name))
    {
        return Ok(Joined { invitation, session: session.to_string(), user: known.user, seat: None, cookie: None });
    }
    let session_secret = match &arrival.key {
        Some(key) => secret.session_secret(key),
        None => random_bits(&*api.entropy),
    };
    let attempt = arrival.key.as_ref().map(|_| HEXLOWER.encode(&Sha256::digest(session_secret)));
    if let Some(joined) = repeated(api, &invitation, attempt.clone(), &session_secret).await? {
        return Ok(joined);
    }
    invitation.state(api.clock.now()).check()?;
    let person = person(api, &**opener, &invitation, &arrival)?;
    let documents = documents.unwrap_or_default();
    if let Some(name) = &person.name
        && names_there(api, &documents, &person.user).await.contains(&name.folded())
    {
        // It may be that of the same attempt, which was let in meanwhile.
        return repeated(api, &invitation, attempt, &session_secret).await?.ok_or_else(name_taken);
    }
    let place = place(api, &invitation, &documents, &person.user);
    let (user, name, is_new) = (person.user.clone(), person.name.clone(), person.is_new);
    let new_session = NewSession {
        id: SessionId::new(&new_id(&*api.entropy, api.clock.now()))?,
        user: user.clone(),
        documents: None,
        secret: session_secret,
        address: arrival.address,
        user_agent: arrival.user_agent,
        at: api.clock.now(),
    };
    let (hash, opener, attempt_key) = (secret.hash(), Arc::clone(opener), attempt.clone());
    let admission = ExchangeWrite {
        hash,
        attempt: attempt_key,
        person,
        new_session,
        opener,
        place: place.clone(),
        volatile: Arc::clone(volatile),
    };
    let write = move |conn: &Connection, now: Timestamp| admission.run(conn, now);
    let outcome = match documents.first().filter(|_| place.is_some()) {
        // Not while the document is on its way to another server: the place would not go with it.
        Some(document) => api.engine.rows_of(document.meta.name.clone(), write).await,
        None => api.engine.rows(write).await,
    };
    if outcome.is_err() && is_new {
        volatile.remove_user(&user);
    }
    let Outcome::Admitted { pending, seat } = outcome? else {
        let why = "opened a session that has ended; come in with another key";
        let ended = || Error::invalid_field("Idempotency-Key", why);
        return repeated(api, &invitation, attempt, &session_secret).await?.ok_or_else(ended);
    };
    if let Some(name) = &name {
        api.names.set(user.clone(), name);
    }
    let cookie = pending.complete()?;
    place.inspect(|place| place.complete());
    tracing::info!(invitation = %invitation.id, session = pending.id(), %user, "somebody came in by an invitation");
    Ok(Joined { session: pending.id().to_owned(), invitation, user, seat, cookie })
}

fn random_bits(entropy: &dyn Entropy) -> [u8; 32] {
    let mut bits = [0; 32];
    entropy.fill(&mut bits);
    bits
}

/// What the same attempt came to before, if its session is still good.
async fn repeated(
    api: &Api,
    invitation: &Invitation,
    attempt: Option<String>,
    session_secret: &[u8; 32],
) -> Result<Option<Joined>> {
    let (Some(attempt), Some(opener)) = (attempt, api.providers.sessions()) else { return Ok(None) };
    let Some(session) = api.read_rows(move |conn| sql::session_of_attempt(conn, &attempt)).await? else {
        return Ok(None);
    };
    let Some(known) = opener.find(&session) else { return Ok(None) };
    let cookie = opener.cookie(session_secret);
    Ok(Some(Joined { invitation: invitation.clone(), session, user: known.user, seat: None, cookie }))
}

/// Who comes in: the user that the invitation names; the user of the browser's session, if they were asked for their
/// name before and give no other now; else somebody new. Errors: `Invalid`, naming `name`; `names-full`.
fn person(api: &Api, opener: &dyn SessionOpener, invitation: &Invitation, arrival: &Arrival<'_>) -> Result<Person> {
    let shown = arrival.caller.and_then(Caller::session).map(|shown| shown.id.to_string());
    let known = shown.and_then(|id| opener.find(&id).map(|known| (id, known)));
    // A session that reaches some documents only cannot be made one that reaches all.
    let extended = |id: String, scoped: bool| (!(scoped && invitation.documents.is_none())).then_some(id);
    if let Some(user) = &invitation.user {
        let own = known.filter(|(_, known)| known.user == *user);
        let session = own.and_then(|(id, known)| extended(id, known.scoped));
        return Ok(Person { user: user.clone(), name: None, is_new: false, session });
    }
    if let Some((id, known)) = known
        && let Some(name) = api.names.of(&known.user)
        && is_own_name(api, &known.user, arrival.name)
    {
        let (name, session) = (DisplayName::new("name", &name)?, extended(id, known.scoped));
        return Ok(Person { user: known.user, name: Some(name), is_new: false, session });
    }
    let missing = || Error::invalid_field("name", "is missing: say what you want to be called");
    let name = DisplayName::new("name", arrival.name.ok_or_else(missing)?)?;
    if api.names.len() >= NAMES_MAX {
        return Err(NAMES_FULL.error("as many people have a name here as may be; ask whoever invited you"));
    }
    let mut bits = [0; 10];
    api.entropy.fill(&mut bits);
    let user = UserId::new(&format!("guest-{}", BASE32_NOPAD.encode(&bits).to_ascii_lowercase()))?;
    Ok(Person { user, name: Some(name), is_new: true, session: None })
}

/// Whether somebody who gives this name, or none, may be the user.
fn is_own_name(api: &Api, user: &UserId, given: Option<&str>) -> bool {
    let Some(given) = given else { return true };
    api.names.of(user).is_some_and(|name| fold(given) == fold(&name))
}

/// What those are called who take part in one of the documents or follow it, but for `except`; as names count as one.
async fn names_there(api: &Api, documents: &[Arc<Document>], except: &UserId) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for document in documents {
        for user in api.presence.people(&document.meta.name).await.into_iter().filter(|user| user != except) {
            names.insert(fold(user.as_str()));
            names.extend(api.names.of(&user).map(|name| fold(&name)));
        }
    }
    names
}

fn name_taken() -> Error {
    NAME_TAKEN.error("somebody there has this name already; take another")
}

fn place(
    api: &Api,
    invitation: &Invitation,
    documents: &[Arc<Document>],
    user: &UserId,
) -> Option<Arc<dyn PendingPlace>> {
    let (seat, document) = (invitation.seat?, documents.first()?);
    let places = api.providers.places(&document.meta.name.collection)?;
    Some(places.prepare(document, user.clone(), seat.number()))
}

/// Letting somebody in, on the engine's thread.
struct ExchangeWrite {
    hash: SecretHash,
    attempt: Option<String>,
    person: Person,
    /// If they have none; what it reaches is known when the tables are.
    new_session: NewSession,
    opener: Arc<dyn SessionOpener>,
    place: Option<Arc<dyn PendingPlace>>,
    volatile: Arc<VolatileDocuments>,
}

/// See [`ExchangeWrite::run`].
enum Outcome {
    Admitted {
        pending: Arc<dyn PendingSession>,
        seat: Option<u32>,
    },
    /// The same attempt was let in before.
    Repeated,
}

impl ExchangeWrite {
    /// Writes all of it. What is refused here was right when it was looked at before, or raced with others.
    fn run(self, conn: &Connection, now: Timestamp) -> Result<Outcome> {
        let Self { hash, attempt, person, new_session, opener, place, volatile } = self;
        if let Some(attempt) = &attempt
            && sql::session_of_attempt(conn, attempt)?.is_some()
        {
            return Ok(Outcome::Repeated);
        }
        let mut invitation = sql::find(conn, &hash)?.ok_or_else(unknown)?;
        invitation.retain_invited(&volatile);
        invitation.state(now).check()?;
        let reached: &[ReachedDocument] = invitation.documents.as_deref().unwrap_or_default();
        if let Some(name) = &person.name {
            let (in_memory, keys): (Vec<i64>, Vec<i64>) =
                reached.iter().map(|document| document.key).partition(|key| is_volatile(*key));
            if sql::people::is_taken(conn, &name.folded(), &keys, Some(&person.user))?
                || !in_memory.iter().all(|key| volatile.add_user(*key, &person.user, name))
            {
                return Err(name_taken());
            }
            if person.is_new {
                sql::people::add(conn, &person.user, name, now)?;
            }
            sql::people::invite(conn, &person.user, &keys)?;
        }
        if !sql::use_up(conn, &invitation.id, now)? {
            return Err(USED.error("this invitation is used up; ask for another"));
        }
        let extended = person.session.as_deref().and_then(|id| opener.extend(id, reached));
        let (pending, attempt) = match extended {
            Some(pending) => (pending, None),
            None => (opener.open(NewSession { documents: invitation.documents.clone(), ..new_session })?, attempt),
        };
        pending.write(conn)?;
        sql::add_session(conn, &invitation.id, pending.id(), attempt.as_deref(), now)?;
        let seat = place.map(|place| place.take(conn, now)).transpose()?;
        Ok(Outcome::Admitted { pending, seat })
    }
}
