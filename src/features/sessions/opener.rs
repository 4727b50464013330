//! Opening sessions for other features: [`SessionOpener`] on the sessions of this one.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use futures_util::future::BoxFuture;
use http::HeaderValue;
use tracing::info;

use super::rules::{self, Device, Session, SessionHolder, Token};
use super::service::SessionStore;
use super::sql;
use super::table::{LiveSession, SessionTable};
use crate::base::error::{Error, Result};
use crate::engine::hooks::DocumentHook;
use crate::engine::request::Durability;
use crate::http::providers::{KnownSession, NewSession, PendingSession, ReachedDocument, SessionOpener};
use crate::store::Connection;

/// Opens sessions for other features.
#[derive(Debug)]
pub(crate) struct Opener(pub SessionStore);

/// A session that is about to be stored. Dropped before it is, it ends: whether it reached the disk all the same is not
/// known then.
struct Opening {
    sessions: SessionStore,
    token: Token,
    session: Session,
    documents: Option<Vec<ReachedDocument>>,
    live: Arc<LiveSession>,
    surplus: Vec<Arc<LiveSession>>,
    completed: AtomicBool,
}

/// A session that is about to reach more.
struct Extension {
    sessions: SessionStore,
    documents: Vec<ReachedDocument>,
    live: Arc<LiveSession>,
}

impl SessionOpener for Opener {
    fn open(&self, new: NewSession) -> Result<Arc<dyn PendingSession>> {
        let NewSession { id, user, documents, secret, address, user_agent, at } = new;
        let token = Token::of(&secret);
        let session = Session {
            id,
            holder: if documents.is_some() { SessionHolder::Scoped(user) } else { SessionHolder::Granted(user) },
            device: Device::default(),
            user_agent: user_agent.and_then(|said| rules::user_agent(said.as_bytes())),
            address,
            current_phase: None,
            created_at: at,
            renewed_at: at,
            last_seen_at: at,
            opened_by: None,
        };
        let (live, surplus) = self.0.table.reserve(token.hash(), session.clone())?;
        self.0.table.grant(&live, documents.as_deref().unwrap_or_default());
        let (sessions, completed) = (self.0.clone(), AtomicBool::new(false));
        Ok(Arc::new(Opening { sessions, token, session, documents, live, surplus, completed }))
    }

    fn extend(&self, id: &str, documents: &[ReachedDocument]) -> Option<Arc<dyn PendingSession>> {
        let live = self.0.table.find(id, None).filter(|live| !live.has_ended())?;
        let (sessions, documents) = (self.0.clone(), documents.to_vec());
        Some(Arc::new(Extension { sessions, documents, live }))
    }

    fn cookie(&self, secret: &[u8; 32]) -> Option<HeaderValue> {
        self.0.table.cookie_of(&Token::of(secret))
    }

    fn find(&self, id: &str) -> Option<KnownSession> {
        let live = self.0.table.find(id, None).filter(|live| !live.has_ended())?;
        let user = live.session().holder.user().cloned()?;
        Some(KnownSession { user, scoped: live.documents().is_some() })
    }

    fn end(&self, ids: Vec<String>) -> BoxFuture<'static, Durability> {
        let sessions = self.0.clone();
        let found = ids.iter().filter_map(|id| sessions.table.find(id, None)).collect();
        Box::pin(async move { sessions.end(found).await.1 })
    }
}

impl PendingSession for Opening {
    fn id(&self) -> &str {
        self.session.id.as_str()
    }

    fn write(&self, conn: &Connection) -> Result<()> {
        self.surplus.iter().try_for_each(|live| sql::remove(conn, live.id()))?;
        sql::save(conn, &self.token.hash(), &self.session)?;
        self.documents.as_ref().map_or(Ok(()), |documents| sql::scopes::add(conn, &self.session.id, documents))
    }

    fn complete(&self) -> Result<Option<HeaderValue>> {
        let table = &self.sessions.table;
        self.completed.store(true, Ordering::Relaxed);
        table.forget(&self.surplus);
        table.admit(&self.live);
        info!(session = %self.session.id, user = self.session.holder.viewer().scope(), "a session is opened");
        let cookie = table.cookie_of(&self.token);
        cookie.map(Some).ok_or_else(|| Error::internal("a token is no cookie"))
    }
}

impl Drop for Opening {
    fn drop(&mut self) {
        if !self.completed.load(Ordering::Relaxed) {
            self.sessions.table.end(&self.live);
        }
    }
}

impl PendingSession for Extension {
    fn id(&self) -> &str {
        self.live.id().as_str()
    }

    fn write(&self, conn: &Connection) -> Result<()> {
        match self.live.documents() {
            Some(_) => sql::scopes::add(conn, self.live.id(), &self.documents),
            // It reaches all that its user may.
            None => Ok(()),
        }
    }

    fn complete(&self) -> Result<Option<HeaderValue>> {
        self.sessions.table.grant(&self.live, &self.documents);
        Ok(None)
    }
}

/// What the engine does with what sessions reach: it goes with its documents.
pub(crate) struct ScopesHook {
    pub table: Arc<SessionTable>,
}

impl fmt::Debug for ScopesHook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ScopesHook").finish_non_exhaustive()
    }
}

impl DocumentHook for ScopesHook {
    fn name(&self) -> &'static str {
        "session-scopes"
    }

    fn document_removed(&self, conn: &Connection, key: i64) -> Result<()> {
        sql::scopes::remove_document(conn, key)
    }

    fn before_recreation_published(&self, key: i64) {
        self.table.document_replaced(key);
    }
}
