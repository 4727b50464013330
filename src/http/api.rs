//! What handlers share.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::FromRef;
use tokio_util::sync::CancellationToken;
use utoipa_axum::router::OpenApiRouter;

use crate::base::clock_trust::ClockTrust;
use crate::base::entropy::Entropy;
use crate::document::json::JsonBounds;
use crate::engine::data::DataAccess;
use crate::engine::health::Health;
use crate::http::concurrency::ConcurrencyLimit;
use crate::http::listening_addresses::ListeningAddresses;
use crate::http::providers::Providers;
use crate::http::request::body::BodyLimits;
use crate::live::display_names::DisplayNames;
use crate::live::presence::Presence;
use crate::store::MemoryStore;

/// What describes a type in `/openapi.json`.
pub(crate) use utoipa::ToSchema;

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
pub struct Api(pub(crate) Arc<ApiParts>);

/// See [`Api`].
pub struct ApiParts {
    /// The way to change something, and to read.
    pub(crate) data: DataAccess,
    /// What belongs to documents that live in memory only.
    pub(crate) memory: Arc<MemoryStore>,
    /// Who is connected to what.
    pub(crate) presence: Arc<Presence>,
    /// What people are called.
    pub(crate) names: Arc<DisplayNames>,
    /// What features do for each other.
    pub(crate) providers: Providers,
    /// Where the server listens.
    pub(crate) listening: ListeningAddresses,
    /// How the engine is.
    pub(crate) health: Arc<Health>,
    /// Whether the wall clock is believed.
    pub(crate) clock_trust: Arc<ClockTrust>,
    /// Where randomness comes from.
    pub(crate) entropy: Arc<dyn Entropy>,
    /// What a body may measure.
    pub(crate) body: BodyLimits,
    /// What a state may measure.
    pub(crate) state: JsonBounds,
    /// How many streams each viewer has open, by [`Viewer::scope`](crate::document::visibility::Viewer::scope).
    pub(crate) streams: Arc<ConcurrencyLimit<Box<str>>>,
    /// How long a stream may be silent.
    pub(crate) heartbeat: Duration,
    /// Cancelled when the server stops: streams say goodbye then.
    pub(crate) stop: CancellationToken,
}

impl std::ops::Deref for Api {
    type Target = ApiParts;

    fn deref(&self) -> &ApiParts {
        &self.0
    }
}

impl std::ops::Deref for ApiParts {
    type Target = DataAccess;

    fn deref(&self) -> &DataAccess {
        &self.data
    }
}

impl FromRef<Api> for BodyLimits {
    fn from_ref(api: &Api) -> Self {
        api.body
    }
}
