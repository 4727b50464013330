//! What handlers share.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::FromRef;
use tokio_util::sync::CancellationToken;
use utoipa_axum::router::OpenApiRouter;

use crate::base::clock::{Clock, Timestamp};
use crate::base::clock_trust::ClockTrust;
use crate::base::entropy::Entropy;
use crate::base::error::Result;
use crate::base::ids::{DocumentId, DocumentName};
use crate::document::json::Bounds;
use crate::engine::handle::Engine;
use crate::engine::health::Health;
use crate::engine::read::Reads;
use crate::http::concurrency::ConcurrencyLimit;
use crate::http::request::body::BodyLimits;
use crate::live::presence::Presence;
use crate::store::{Connection, Memory};

/// Calls, each with its description.
pub type Routes = OpenApiRouter<Api>;

/// The state of every handler, and what tasks are given. Cheap to clone; nothing in it changes after the start.
///
/// ```
/// use rejoin::axum::extract::State;
/// use rejoin::{Api, Caller, HandlerResult, Json, sql_error};
///
/// async fn changes(State(api): State<Api>, _: Caller) -> HandlerResult<Json<i64>> {
///     let sql = "SELECT count(*) FROM list_log_changes";
///     Ok(Json(api.read_rows(|conn| conn.query_row(sql, (), |row| row.get(0)).map_err(sql_error)).await?))
/// }
/// # let _ = changes;
/// ```
#[derive(Clone)]
pub struct Api(pub(crate) Arc<Parts>);

/// See [`Api`].
pub struct Parts {
    /// The way to change something.
    pub(crate) engine: Engine,
    /// The way to read.
    pub(crate) reads: Reads,
    /// What belongs to documents that live in memory only.
    pub(crate) memory: Arc<Memory>,
    /// Who is connected to what.
    pub(crate) presence: Arc<Presence>,
    /// How the engine is.
    pub(crate) health: Arc<Health>,
    /// Where time comes from.
    pub(crate) clock: Arc<dyn Clock>,
    /// Whether the wall clock is believed.
    pub(crate) clock_trust: Arc<ClockTrust>,
    /// Where randomness comes from.
    pub(crate) entropy: Arc<dyn Entropy>,
    /// What a body may measure.
    pub(crate) body: BodyLimits,
    /// What a state may measure.
    pub(crate) state: Bounds,
    /// How many streams each viewer has open, by [`Viewer::scope`](crate::document::visibility::Viewer::scope).
    pub(crate) streams: Arc<ConcurrencyLimit<Box<str>>>,
    /// How long a stream may be silent.
    pub(crate) heartbeat: Duration,
    /// Cancelled when the server stops: streams say goodbye then.
    pub(crate) stop: CancellationToken,
}

impl Api {
    /// The server's time.
    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// Asks tables, on a connection that only reads, in one transaction, and beside the engine. Errors: that of the
    /// question; `StorageUnavailable`.
    pub async fn read_rows<T: Send + 'static>(
        &self,
        question: impl FnOnce(&Connection) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        self.reads.rows(question).await
    }

    /// Writes rows in the next transaction of the engine, on its thread, in a savepoint. When it returns `Ok`, they are
    /// on disk. Errors: that of `write`, which wrote nothing then; `StorageUnavailable` while storage fails, after
    /// which it is unknown whether they were stored.
    pub async fn write_rows<T: Send + 'static>(
        &self,
        write: impl FnOnce(&Connection, Timestamp) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        self.engine.rows(write).await
    }

    /// The names of at most `limit` documents of a collection that are there, whoever may read them, by id, after the
    /// given one. Errors: `Invalid`, `StorageUnavailable`.
    pub async fn document_names(
        &self,
        collection: &str,
        after: Option<&DocumentId>,
        limit: usize,
    ) -> Result<Vec<DocumentName>> {
        self.reads.names(collection, after, limit).await
    }
}

impl std::ops::Deref for Api {
    type Target = Parts;

    fn deref(&self) -> &Parts {
        &self.0
    }
}

impl FromRef<Api> for BodyLimits {
    fn from_ref(api: &Api) -> Self {
        api.body
    }
}
