//! The service tokens in memory: which requests are let in is decided here, without waiting and without a lock.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;

use super::limits::SERVICE_TOKENS_MAX;
use super::problems::SERVICE_TOKENS_FULL;
use super::rules::{ServiceToken, ServiceTokenSecret, TokenAccess};
use crate::base::clock::{Clock, Timestamp};
use crate::base::error::{Error, Kind, Result};
use crate::base::ids::SessionId;
use crate::base::secret::SecretHash;
use crate::document::visibility::Viewer;
use crate::http::request::caller::{ActiveCredential, CredentialKind, ServiceTokens};

/// What stands in for "never" in milliseconds.
const NEVER: i64 = i64::MIN;

/// A service token in memory. Shared by the table and by whoever is about to end it.
pub(crate) struct LiveServiceToken {
    hash: SecretHash,
    /// As it was when it was made or restored. When it was last used is below.
    token: ServiceToken,
    /// As whom and how far it reads and writes.
    viewer: Viewer,
    held: Arc<str>,
    /// Cancelled when it has ended. It then stays here until it is removed from the disk too.
    life: CancellationToken,
    /// Milliseconds since the epoch, or [`NEVER`]. Written by every request that shows it; independent of all else.
    last_used_at: AtomicI64,
    /// `last_used_at` as it is on disk.
    stored_used_at: AtomicI64,
}

impl LiveServiceToken {
    fn new(hash: SecretHash, token: ServiceToken) -> Self {
        let used = token.last_used_at.map_or(NEVER, Timestamp::as_millis);
        Self {
            hash,
            viewer: Viewer::scoped(None, token.scope()),
            held: token.id.as_str().into(),
            life: CancellationToken::new(),
            last_used_at: used.into(),
            stored_used_at: used.into(),
            token,
        }
    }

    pub(crate) fn id(&self) -> &SessionId {
        &self.token.id
    }

    /// What it is known by.
    pub(super) fn hash(&self) -> &SecretHash {
        &self.hash
    }

    pub(crate) fn has_ended(&self) -> bool {
        self.life.is_cancelled()
    }

    /// The token as it is now.
    pub(crate) fn token(&self) -> ServiceToken {
        let used = self.last_used_at.load(Ordering::Relaxed);
        let last_used_at = (used != NEVER).then(|| Timestamp::from_millis(used));
        ServiceToken { last_used_at, ..self.token.clone() }
    }
}

/// All service tokens. Shared by the guard, which asks at each request that shows one, and by whoever makes and ends
/// them.
pub(crate) struct ServiceTokenTable {
    /// Those that may be shown.
    by_hash: papaya::HashMap<SecretHash, Arc<LiveServiceToken>>,
    /// Those and the ones that have ended and are still on disk. Held for a look or a change.
    all: Mutex<BTreeMap<SessionId, Arc<LiveServiceToken>>>,
    clock: Arc<dyn Clock>,
}

impl ServiceTokenTable {
    pub(crate) fn new(stored: Vec<(SecretHash, ServiceToken)>, clock: Arc<dyn Clock>) -> Self {
        let table = Self { by_hash: papaya::HashMap::new(), all: Mutex::default(), clock };
        for (hash, token) in stored {
            let live = Arc::new(LiveServiceToken::new(hash, token));
            table.all.lock().insert(live.id().clone(), Arc::clone(&live));
            table.by_hash.pin().insert(hash, live);
        }
        table
    }

    /// Takes a place for a new token, which cannot be shown before [`admit`](Self::admit). Error:
    /// `service-tokens-full`.
    pub(super) fn reserve(&self, hash: SecretHash, token: ServiceToken) -> Result<Arc<LiveServiceToken>> {
        let live = Arc::new(LiveServiceToken::new(hash, token));
        let mut all = self.all.lock();
        if all.len() >= SERVICE_TOKENS_MAX {
            let message = format!("there are {SERVICE_TOKENS_MAX} service tokens; end one that nothing uses");
            return Err(SERVICE_TOKENS_FULL.error(message));
        }
        all.insert(live.id().clone(), Arc::clone(&live));
        Ok(live)
    }

    /// Lets a token that is on disk be shown.
    pub(super) fn admit(&self, live: &Arc<LiveServiceToken>) {
        self.by_hash.pin().insert(live.hash, Arc::clone(live));
        // One that is listed can be ended.
        if live.has_ended() {
            self.by_hash.pin().remove(&live.hash);
        }
    }

    /// Ends a token at once: it is void, and what is open under it closes.
    pub(super) fn end(&self, live: &LiveServiceToken) {
        live.life.cancel();
        self.by_hash.pin().remove(&live.hash);
    }

    /// Forgets a token that has ended and is on disk no more.
    pub(super) fn forget(&self, live: &LiveServiceToken) {
        self.all.lock().remove(live.id());
    }

    /// A token by its id, also one that has ended and is still on disk.
    pub(crate) fn find(&self, id: &str) -> Option<Arc<LiveServiceToken>> {
        self.all.lock().get(&SessionId::new(id).ok()?).cloned()
    }

    /// Those that have not ended, oldest first.
    pub(crate) fn list(&self) -> Vec<ServiceToken> {
        let all = self.all.lock();
        all.values().filter(|live| self.by_hash.pin().contains_key(&live.hash)).map(|live| live.token()).collect()
    }

    /// Those that have ended and are still on disk.
    pub(super) fn ended(&self) -> Vec<Arc<LiveServiceToken>> {
        self.all.lock().values().filter(|live| live.has_ended()).cloned().collect()
    }

    /// Those whose last use is not on disk, and the use that is to be stored.
    pub(super) fn unstored(&self) -> Vec<(Arc<LiveServiceToken>, Timestamp)> {
        let all = self.all.lock();
        let used = all.values().filter(|live| !live.has_ended()).filter_map(|live| {
            let used = live.last_used_at.load(Ordering::Relaxed);
            let new = used > live.stored_used_at.load(Ordering::Relaxed);
            new.then(|| (Arc::clone(live), Timestamp::from_millis(used)))
        });
        used.collect()
    }

    /// Notes that the use of a token is on disk.
    pub(super) fn stored(&self, live: &LiveServiceToken, used: Timestamp) {
        live.stored_used_at.fetch_max(used.as_millis(), Ordering::Relaxed);
    }
}

impl fmt::Debug for ServiceTokenTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServiceTokenTable").field("service_tokens", &self.by_hash.len()).finish_non_exhaustive()
    }
}

impl ServiceTokens for ServiceTokenTable {
    fn authenticate(&self, token: &str) -> Option<Result<ActiveCredential>> {
        let hash = ServiceTokenSecret::parse(token)?.hash();
        let tokens = self.by_hash.pin();
        let Some(live) = tokens.get(&hash) else {
            let message = "the service token is unknown or has ended; an administrator can make another";
            return Some(Err(Error::new(Kind::Unauthenticated, message)));
        };
        live.last_used_at.fetch_max(self.clock.now().as_millis(), Ordering::Relaxed);
        Some(Ok(ActiveCredential {
            kind: CredentialKind::ServiceToken,
            id: Arc::clone(&live.held),
            viewer: live.viewer.clone(),
            administrator: live.token.access == TokenAccess::Administrator,
            life: live.life.clone(),
            keep_cookie: None,
        }))
    }
}
