//! What one feature does for another, by traits, so that neither knows the other: opening sessions, giving people their
//! places in documents, which write within the transaction of whoever asks; and deleting documents with what belongs to
//! them.

use std::fmt;
use std::sync::{Arc, OnceLock};

use axum::response::Response;
use futures_util::future::BoxFuture;
use http::HeaderValue;

use crate::base::clock::Timestamp;
use crate::base::error::Result;
use crate::base::ids::{Collection, DocumentName, SessionId, UserId};
use crate::document::decide::Expected;
use crate::document::model::Document;
use crate::document::visibility::Viewer;
use crate::engine::request::Durability;
use crate::store::{Connection, IdempotencyKey};

/// A document that a session is to reach: its name, and the key of its rows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ReachedDocument {
    pub name: DocumentName,
    pub key: i64,
}

/// A session that is to be opened for somebody else.
#[derive(Clone, Debug)]
pub(crate) struct NewSession {
    pub id: SessionId,
    pub user: UserId,
    /// What it reaches; `None`: all that its user may.
    pub documents: Option<Vec<ReachedDocument>>,
    /// What its token is made of: 256 bits that nobody guesses.
    pub secret: [u8; 32],
    /// From where it is asked for.
    pub address: String,
    /// What the program that asks calls itself, as it says.
    pub user_agent: Option<HeaderValue>,
    pub at: Timestamp,
}

/// What is known of a session.
#[derive(Clone, Debug)]
pub(crate) struct KnownSession {
    pub user: UserId,
    /// Whether it reaches some documents only.
    pub scoped: bool,
}

/// Opens, extends and ends sessions.
pub(crate) trait SessionOpener: Send + Sync {
    /// Takes a place for a session. Nothing waits. Errors: `AlreadyExists` when there are as many as may be.
    fn open(&self, session: NewSession) -> Result<Arc<dyn PendingSession>>;

    /// Has a session reach these documents, too. `None`: there is none with this id any more.
    fn extend(&self, id: &str, documents: &[ReachedDocument]) -> Option<Arc<dyn PendingSession>>;

    /// The `Set-Cookie` of a session whose token is made of this.
    fn cookie(&self, secret: &[u8; 32]) -> Option<HeaderValue>;

    /// A user's session that has not ended.
    fn find(&self, id: &str) -> Option<KnownSession>;

    /// Ends sessions, at once in memory and then on disk; those that are not there have ended.
    fn end(&self, ids: Vec<String>) -> BoxFuture<'static, Durability>;
}

/// A session whose rows are not stored yet. Dropped before [`complete`](Self::complete), one that was to be opened is
/// given up.
pub(crate) trait PendingSession: Send + Sync {
    fn id(&self) -> &str;

    /// Writes its rows, in the transaction that `conn` is in.
    fn write(&self, conn: &Connection) -> Result<()>;

    /// The transaction is stored: it holds from now on. Returns the `Set-Cookie` of a session that was opened.
    fn complete(&self) -> Result<Option<HeaderValue>>;
}

/// Gives people their places in documents of some collections.
pub(crate) trait PlaceProvider: Send + Sync {
    /// Whether the documents of a collection have places.
    fn has_places(&self, collection: &Collection) -> bool;

    /// A place for `user`; `wanted`: that one, counted from 0.
    fn prepare(&self, document: &Document, user: UserId, wanted: Option<u32>) -> Arc<dyn PendingPlace>;
}

/// A place that is not taken yet.
pub(crate) trait PendingPlace: Send + Sync {
    /// Takes it, in the transaction that `conn` is in: as the last of what is written there, since the places of a
    /// document that lives in memory only are taken at once. Returns which it is. Errors: those of the feature.
    fn take(&self, conn: &Connection, now: Timestamp) -> Result<u32>;

    /// The transaction is stored: others may be told.
    fn complete(&self);
}

/// A request to delete a document.
pub(crate) struct DeletionRequest {
    pub name: DocumentName,
    pub viewer: Viewer,
    /// Under which conditions.
    pub expected: Expected,
    /// Makes a retry safe.
    pub key: Option<IdempotencyKey>,
}

/// Deletes documents of a collection with the documents that belong to them.
pub(crate) trait DocumentRemover: Send + Sync {
    /// Whether the documents of a collection have others that belong to them.
    fn has_parts(&self, collection: &Collection) -> bool;

    /// Answers the request. Errors: those of a write.
    fn delete(&self, request: DeletionRequest) -> BoxFuture<'static, Result<Response>>;
}

/// Who does that: set once at the start, before the first request.
#[derive(Default)]
pub(crate) struct Providers {
    sessions: OnceLock<Arc<dyn SessionOpener>>,
    places: OnceLock<Arc<dyn PlaceProvider>>,
    remover: OnceLock<Arc<dyn DocumentRemover>>,
}

impl Providers {
    /// A second call changes nothing.
    pub(crate) fn set(
        &self,
        sessions: Option<Arc<dyn SessionOpener>>,
        places: Option<Arc<dyn PlaceProvider>>,
        remover: Option<Arc<dyn DocumentRemover>>,
    ) {
        sessions.map(|sessions| self.sessions.set(sessions));
        places.map(|places| self.places.set(places));
        remover.map(|remover| self.remover.set(remover));
    }

    pub(crate) fn sessions(&self) -> Option<&Arc<dyn SessionOpener>> {
        self.sessions.get()
    }

    /// Whoever gives places in documents of this collection.
    pub(crate) fn places(&self, collection: &Collection) -> Option<&Arc<dyn PlaceProvider>> {
        self.places.get().filter(|places| places.has_places(collection))
    }

    /// Whoever deletes documents of this collection with what belongs to them.
    pub(crate) fn remover(&self, collection: &Collection) -> Option<&Arc<dyn DocumentRemover>> {
        self.remover.get().filter(|remover| remover.has_parts(collection))
    }
}

impl fmt::Debug for Providers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Providers").finish_non_exhaustive()
    }
}
