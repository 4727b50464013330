//! What handlers share.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::FromRef;
use tokio_util::sync::CancellationToken;

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

/// The state of every handler. Cheap to clone; nothing in it changes after the start.
#[derive(Clone)]
pub(crate) struct Api(pub Arc<Parts>);

/// See [`Api`].
pub(crate) struct Parts {
    /// The way to change something.
    pub engine: Engine,
    /// The way to read.
    pub reads: Reads,
    /// What belongs to documents that live in memory only.
    pub memory: Arc<Memory>,
    /// Who is connected to what.
    pub presence: Arc<Presence>,
    /// How the engine is.
    pub health: Arc<Health>,
    /// Where time comes from.
    pub clock: Arc<dyn Clock>,
    /// Whether the wall clock is believed.
    pub clock_trust: Arc<ClockTrust>,
    /// Where randomness comes from.
    pub entropy: Arc<dyn Entropy>,
    /// What a body may measure.
    pub body: BodyLimits,
    /// What a state may measure.
    pub state: Bounds,
    /// How long a reconnect token is good.
    pub reconnect_token: Duration,
    /// How many streams each viewer has open, by [`Viewer::scope`](crate::document::visibility::Viewer::scope).
    pub streams: Arc<ConcurrencyLimit<Box<str>>>,
    /// How long a stream may be silent.
    pub heartbeat: Duration,
    /// Cancelled when the server stops: streams say goodbye then.
    pub stop: CancellationToken,
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
