//! What handlers share.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::FromRef;
use tokio_util::sync::CancellationToken;
use utoipa_axum::router::OpenApiRouter;

use crate::base::clock::Clock;
use crate::base::clock_trust::ClockTrust;
use crate::base::entropy::Entropy;
use crate::document::json::Bounds;
use crate::engine::handle::Engine;
use crate::engine::health::Health;
use crate::engine::read::Reads;
use crate::http::concurrency::ConcurrencyLimit;
use crate::http::request::body::BodyLimits;
use crate::live::presence::Presence;
use crate::store::Memory;

/// Calls, each with its description.
pub type Routes = OpenApiRouter<Api>;

/// The state of every handler. Cheap to clone; nothing in it changes after the start.
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
