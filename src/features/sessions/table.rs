//! The sessions in memory: who is let in is decided here, without waiting and without a lock.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::ops::Bound;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use http::HeaderValue;
use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;

use super::problems::SESSIONS_FULL;
use super::rules::{Device, Session, SessionHolder, SessionTerms, Token};
use super::scopes::{GrantedDocuments, SessionScope};
use crate::base::clock::{Clock, Timestamp};
use crate::base::error::Result;
use crate::base::ids::{DocumentName, SessionId};
use crate::base::secret::SecretHash;
use crate::document::visibility::Viewer;
use crate::features::sessions::limits::{SESSIONS_MAX, SESSIONS_PER_USER_MAX};
use crate::http::providers::ReachedDocument;
use crate::http::request::caller::{ActiveCredential, CredentialKind, Peer, Sessions, unknown_session};
use crate::http::request::cookie::SessionCookie;

/// How long after its renewal the browser is told to keep the cookie of a session for longer: at each answer, since any
/// one of them may get lost.
const RENEWAL_TOLD_FOR: Duration = Duration::from_secs(3600);

/// A session in memory. Shared by the table, its indexes, and whoever is about to end or describe it.
pub struct LiveSession {
    hash: SecretHash,
    /// As it was when it was opened or restored. What changes is below.
    opened: Session,
    /// The id, as whatever goes on under the session holds it: nobody else has this very `Arc`, so that its count says
    /// whether anything goes on.
    held: Arc<str>,
    /// Cancelled when the session has ended. It then stays here until it is removed from the disk too.
    life: CancellationToken,
    /// Milliseconds since the epoch. Written by every request that shows the session: atomic, so that none waits. They
    /// are independent of each other, and of everything else.
    last_seen_at: AtomicI64,
    renewed_at: AtomicI64,
    /// `last_seen_at` as it is on disk.
    stored_seen_at: AtomicI64,
    /// What its user says of it. Held for a copy only.
    said: Mutex<ReportedUse>,
    /// Whether it is on disk, and so may be told. Set once.
    admitted: AtomicBool,
    /// Counts the writes of `said` in the order in which the disk has them.
    writes: AtomicU64,
    /// What it reaches, if that is not all that its user may.
    scope: Option<SessionScope>,
}

/// See [`LiveSession`].
#[derive(Clone, Debug, Default)]
struct ReportedUse {
    device_name: Option<String>,
    current_phase: Option<String>,
    /// The write that it is from.
    write: u64,
}

impl LiveSession {
    fn new(hash: SecretHash, session: Session) -> Self {
        let said = ReportedUse {
            device_name: session.device.name.clone(),
            current_phase: session.current_phase.clone(),
            write: 0,
        };
        let scope = match &session.holder {
            SessionHolder::Scoped(user) => Some(SessionScope::new(user.clone())),
            SessionHolder::Owner
            | SessionHolder::LinkedOwner
            | SessionHolder::Member(_)
            | SessionHolder::Granted(_) => None,
        };
        Self {
            hash,
            held: session.id.as_str().into(),
            life: CancellationToken::new(),
            last_seen_at: session.last_seen_at.as_millis().into(),
            renewed_at: session.renewed_at.as_millis().into(),
            stored_seen_at: session.last_seen_at.as_millis().into(),
            said: Mutex::new(said),
            admitted: AtomicBool::new(false),
            writes: AtomicU64::new(0),
            scope,
            opened: session,
        }
    }

    pub fn id(&self) -> &SessionId {
        &self.opened.id
    }

    /// What its token is known by.
    pub(super) fn hash(&self) -> &SecretHash {
        &self.hash
    }

    /// As whom and how far it reads and writes.
    pub(crate) fn viewer(&self) -> Viewer {
        self.scope.as_ref().map_or_else(|| self.opened.holder.viewer(), SessionScope::viewer)
    }

    /// The documents that it reaches, if these are not all that its user may.
    pub(crate) fn documents(&self) -> Option<Vec<DocumentName>> {
        self.scope.as_ref().map(SessionScope::documents)
    }

    /// Whether it has ended.
    pub fn has_ended(&self) -> bool {
        self.life.is_cancelled()
    }

    /// Whether it has been on disk and may be told.
    pub(super) fn is_admitted(&self) -> bool {
        self.admitted.load(Ordering::Relaxed)
    }

    /// When it was last used and last renewed.
    pub fn uses(&self) -> (Timestamp, Timestamp) {
        let time = |millis: &AtomicI64| Timestamp::from_millis(millis.load(Ordering::Relaxed));
        (time(&self.last_seen_at), time(&self.renewed_at))
    }

    /// The session as it is now.
    pub fn session(&self) -> Session {
        let said = self.said.lock().clone();
        let (last_seen_at, renewed_at) = self.uses();
        Session {
            device: Device { name: said.device_name, ..self.opened.device.clone() },
            current_phase: said.current_phase,
            last_seen_at,
            renewed_at,
            ..self.opened.clone()
        }
    }

    /// The number of a write of what its user says. To be asked on the engine's thread, as the write is made.
    pub(super) fn next_write(&self) -> u64 {
        self.writes.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// Takes in what its user says, unless something newer is known: answers may overtake each other on their way from
    /// the engine.
    pub(super) fn update_description(&self, write: u64, device_name: Option<String>, current_phase: Option<String>) {
        let mut said = self.said.lock();
        if write > said.write {
            *said = ReportedUse { device_name, current_phase, write };
        }
    }

    /// Notes a use. A clock that is put back takes nothing away.
    fn used(&self, now: Timestamp, terms: &SessionTerms) {
        self.last_seen_at.fetch_max(now.as_millis(), Ordering::Relaxed);
        if terms.renews(self.uses().1, now) {
            self.renewed_at.fetch_max(now.as_millis(), Ordering::Relaxed);
        }
    }
}

impl fmt::Debug for LiveSession {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "LiveSession({})", self.opened.id)
    }
}

/// All sessions. Shared by the guard, which asks at each request that shows one, and by whoever opens and ends them.
pub struct SessionTable {
    /// Those that may be shown, by the hash of their token.
    by_hash: papaya::HashMap<SecretHash, Arc<LiveSession>>,
    /// All of them, for whoever looks at lists; held for a look or a change, never while a request is let in.
    index: Mutex<SessionIndex>,
    terms: SessionTerms,
    clock: Arc<dyn Clock>,
    cookie: SessionCookie,
    /// What sessions reach that do not reach all that their users may.
    granted: GrantedDocuments,
}

#[derive(Default)]
struct SessionIndex {
    all: BTreeMap<SessionId, Arc<LiveSession>>,
    /// The same, by whose they are.
    of: HashMap<Viewer, BTreeMap<SessionId, Arc<LiveSession>>>,
}

impl SessionIndex {
    fn insert(&mut self, live: &Arc<LiveSession>) {
        let of = self.of.entry(live.opened.holder.viewer()).or_default();
        of.insert(live.id().clone(), Arc::clone(live));
        self.all.insert(live.id().clone(), Arc::clone(live));
    }

    fn remove(&mut self, live: &LiveSession) {
        self.all.remove(live.id());
        let viewer = live.opened.holder.viewer();
        if let Some(of) = self.of.get_mut(&viewer) {
            of.remove(live.id());
            if of.is_empty() {
                self.of.remove(&viewer);
            }
        }
    }
}

impl SessionTable {
    /// A table with the sessions that were stored.
    pub fn new(
        stored: Vec<(SecretHash, Session)>,
        terms: SessionTerms,
        clock: Arc<dyn Clock>,
        cookie: SessionCookie,
    ) -> Self {
        let (by_hash, mut index) = (papaya::HashMap::new(), SessionIndex::default());
        for (hash, session) in stored {
            let live = Arc::new(LiveSession::new(hash, session));
            live.admitted.store(true, Ordering::Relaxed);
            index.insert(&live);
            by_hash.pin().insert(hash, live);
        }
        let granted = GrantedDocuments::default();
        Self { by_hash, index: Mutex::new(index), terms, clock, cookie, granted }
    }

    /// The `Set-Cookie` of a new session. `None`: its token is no cookie.
    pub(super) fn cookie_of(&self, token: &Token) -> Option<HeaderValue> {
        self.cookie.set_token(token.expose(), self.terms.ttl)
    }

    /// Has a session reach these documents, too. One that reaches all that its user may stays as it is.
    pub(super) fn grant(&self, live: &LiveSession, documents: &[ReachedDocument]) {
        if let Some(scope) = &live.scope {
            scope.extend(&self.granted, documents);
        }
    }

    /// Another document takes the place of the one with this key.
    pub(super) fn document_replaced(&self, key: i64) {
        self.granted.replace(key);
    }

    /// How long sessions are good.
    pub fn terms(&self) -> &SessionTerms {
        &self.terms
    }

    /// From when on a session is good no more, unless it is used before.
    pub fn expires_at(&self, session: &Session) -> Timestamp {
        self.terms.expires_at(session.renewed_at, session.last_seen_at)
    }

    /// Takes a place for a new session, which cannot be shown before [`admit`](Self::admit). Where its user has as many
    /// as one may have, the one among them that was not used for longest ends now: of all, or of those that the same
    /// session opened, if one opened this. Returns the session, and those that are to be removed for it. Error:
    /// `sessions-full`.
    pub(super) fn reserve(
        &self,
        hash: SecretHash,
        session: Session,
    ) -> Result<(Arc<LiveSession>, Vec<Arc<LiveSession>>)> {
        let live = Arc::new(LiveSession::new(hash, session));
        let mut index = self.index.lock();
        let oldest = sessions_to_end(&index, &live.opened)?;
        if index.all.len() >= SESSIONS_MAX + oldest.len() {
            let message = "there are as many sessions as there may be; end some, or wait until some expire";
            return Err(SESSIONS_FULL.error(message));
        }
        for live in &oldest {
            self.end(live);
        }
        index.insert(&live);
        Ok((live, oldest))
    }

    /// Lets a session that is on disk be shown.
    pub(super) fn admit(&self, live: &Arc<LiveSession>) {
        live.admitted.store(true, Ordering::Relaxed);
        self.by_hash.pin().insert(live.hash, Arc::clone(live));
        // One that is listed can be ended.
        if live.has_ended() {
            self.by_hash.pin().remove(&live.hash);
        }
    }

    /// Ends a session at once: its token is void and what is open under it closes.
    pub(super) fn end(&self, live: &LiveSession) {
        live.life.cancel();
        self.by_hash.pin().remove(&live.hash);
    }

    /// Forgets sessions that have ended and are on disk no more.
    pub(super) fn forget(&self, ended: &[Arc<LiveSession>]) {
        let mut index = self.index.lock();
        ended.iter().for_each(|live| index.remove(live));
    }

    /// A session by its id, also one that has ended and is still on disk. `of`: only if it is theirs.
    pub fn find(&self, id: &str, of: Option<&Viewer>) -> Option<Arc<LiveSession>> {
        let id = SessionId::new(id).ok()?;
        let found = self.index.lock().all.get(&id).cloned();
        found.filter(|live| of.is_none_or(|viewer| live.opened.holder.viewer() == *viewer))
    }

    /// The ids of the sessions that are on disk and have not ended.
    pub(super) fn stored_ids(&self) -> Vec<String> {
        let index = self.index.lock();
        let good = index.all.values().filter(|live| live.is_admitted() && !live.has_ended());
        good.map(|live| live.id().to_string()).collect()
    }

    /// At most `limit` sessions, newest first, older than the one that `before` names; of one viewer or of all. The
    /// flag says whether there are more.
    pub fn list(&self, of: Option<&Viewer>, before: Option<&str>, limit: usize) -> (Vec<Session>, bool) {
        let before = before.and_then(|id| SessionId::new(id).ok());
        let range = (Bound::Unbounded, before.as_ref().map_or(Bound::Unbounded, Bound::Excluded));
        let now = self.clock.now();
        let index = self.index.lock();
        let none = BTreeMap::new();
        let sessions = match of {
            None => &index.all,
            Some(viewer) => index.of.get(viewer).unwrap_or(&none),
        };
        let good = sessions
            .range::<SessionId, _>(range)
            .rev()
            .filter(|(_, live)| live.is_admitted() && self.is_good(live, now));
        let mut found: Vec<Session> = good.take(limit + 1).map(|(_, live)| live.session()).collect();
        let more = found.len() > limit;
        found.truncate(limit);
        (found, more)
    }

    /// All sessions of a viewer but one, also those that have ended and are still on disk. One that is just being
    /// opened is opened after this: were it ended now, it could reach the disk after its removal.
    pub(super) fn others(&self, of: &Viewer, current: Option<&str>) -> Vec<Arc<LiveSession>> {
        let index = self.index.lock();
        let all = index.of.get(of).into_iter().flat_map(BTreeMap::values);
        all.filter(|live| live.is_admitted() && current != Some(live.id().as_str())).cloned().collect()
    }

    /// Whether a session may still be shown.
    fn is_good(&self, live: &LiveSession, now: Timestamp) -> bool {
        let (seen, renewed) = live.uses();
        !live.has_ended() && now < self.terms.expires_at(renewed, seen)
    }

    /// Notes that sessions are used by what is open under them, and ends those that have expired. Returns how many have
    /// ended now.
    pub fn expire_sessions(&self) -> usize {
        let now = self.clock.now();
        let index = self.index.lock();
        let mut ended = 0;
        for live in index.all.values().filter(|live| !live.has_ended()) {
            if Arc::strong_count(&live.held) > 1 {
                live.used(now, &self.terms);
            } else if !self.is_good(live, now) {
                self.end(live);
                ended += 1;
            }
        }
        ended
    }

    /// Those that have ended and are still on disk.
    pub(super) fn ended(&self) -> Vec<Arc<LiveSession>> {
        self.index.lock().all.values().filter(|live| live.has_ended()).cloned().collect()
    }

    /// How many have expired, whether that was noticed or not, or have ended and are still on disk.
    pub(super) fn over(&self) -> usize {
        let now = self.clock.now();
        self.index.lock().all.values().filter(|live| !self.is_good(live, now)).count()
    }

    /// Those whose last use is not on disk, and the use that is to be stored.
    pub(super) fn unstored(&self) -> Vec<(Arc<LiveSession>, Timestamp, Timestamp)> {
        let index = self.index.lock();
        let used = index.all.values().filter(|live| !live.has_ended()).filter_map(|live| {
            let (seen, renewed) = live.uses();
            let stored = live.stored_seen_at.load(Ordering::Relaxed);
            (seen.as_millis() > stored).then(|| (Arc::clone(live), seen, renewed))
        });
        used.collect()
    }

    /// Notes that the use of a session is on disk.
    pub(super) fn stored(&self, live: &LiveSession, seen: Timestamp) {
        live.stored_seen_at.fetch_max(seen.as_millis(), Ordering::Relaxed);
    }
}

/// The sessions that end for a new one of the same user. Error: `sessions-full`.
fn sessions_to_end(index: &SessionIndex, new: &Session) -> Result<Vec<Arc<LiveSession>>> {
    let Some(of) = index.of.get(&new.holder.viewer()) else { return Ok(Vec::new()) };
    let good = || of.values().filter(|live| !live.has_ended());
    let surplus = (good().count() + 1).saturating_sub(SESSIONS_PER_USER_MAX);
    if surplus == 0 {
        return Ok(Vec::new());
    }
    // Whoever has one token must not be able to end what others opened.
    let may_end = |live: &&Arc<LiveSession>| new.opened_by.is_none() || live.opened.opened_by == new.opened_by;
    let mut old: Vec<_> = good().filter(|live| live.is_admitted()).filter(may_end).cloned().collect();
    if new.opened_by.is_some() && old.len() < surplus {
        let message = "this user has as many sessions as one may have, and none that this session opened; end some: \
                       GET /api/v1/sessions lists them";
        return Err(SESSIONS_FULL.error(message));
    }
    old.sort_by_key(|live| live.uses().0);
    old.truncate(surplus);
    Ok(old)
}

impl fmt::Debug for SessionTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SessionTable").field("sessions", &self.by_hash.len()).finish_non_exhaustive()
    }
}

impl Sessions for SessionTable {
    fn cookie(&self) -> &SessionCookie {
        &self.cookie
    }

    fn authenticate(&self, token: &str, peer: &Peer) -> Result<ActiveCredential> {
        let hash = Token::parse(token).ok_or_else(unknown_session)?.hash();
        let sessions = self.by_hash.pin();
        let live = sessions.get(&hash).ok_or_else(unknown_session)?;
        let now = self.clock.now();
        if !self.is_good(live, now) {
            return Err(unknown_session());
        }
        let administrator = live.opened.holder.admits(&peer.principal).ok_or_else(unknown_session)?;
        live.used(now, &self.terms);
        let renewed = live.uses().1;
        let tell = renewed > live.opened.created_at && now < renewed.plus(RENEWAL_TOLD_FOR);
        Ok(ActiveCredential {
            kind: CredentialKind::Session,
            id: Arc::clone(&live.held),
            viewer: live.viewer(),
            administrator,
            life: live.life.clone(),
            keep_cookie: tell.then_some(self.terms.ttl),
        })
    }
}
