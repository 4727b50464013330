//! The options of sessions.

use std::time::Duration;

use crate::base::options::{option_set, seconds};
use crate::features::sessions::limits;

/// Longest life of a session without renewal, seconds: a year and some. Browsers keep no cookie for longer.
const TTL_MAX: u64 = 400 * 24 * 3600;

option_set! {
    /// How long sessions are good.
    pub(crate) struct SessionOptions {
        /// Let a session be good for this long after it was opened or renewed; use in the second half renews it
        "session-ttl-seconds" "SECONDS" ttl: Duration = limits::SESSION_TTL, seconds(1, TTL_MAX);
        /// End a session that was not used for this long
        "session-idle-seconds" "SECONDS" idle: Duration = limits::SESSION_IDLE, seconds(1, TTL_MAX);
    }
}
