//! The options of rate limits: the limit of everybody who has none of their own.

use super::limits;
use super::rules::{TOKENS_MAX, WINDOW_SECONDS_MAX};
use crate::base::options::{boolean, option_set, whole};

option_set! {
    /// The default rate limit.
    pub(crate) struct RateLimitOptions {
        /// Let anybody send this many requests at once
        "rate-limit-capacity" "REQUESTS" capacity: u32 = limits::RATE_LIMIT_CAPACITY, whole(1, TOKENS_MAX.into());
        /// Let them send this many more in each window
        "rate-limit-refill" "REQUESTS" refill: u32 = limits::RATE_LIMIT_CAPACITY, whole(1, TOKENS_MAX.into());
        /// Length of that window
        "rate-limit-window-seconds" "SECONDS" window_seconds: u32 =
            limits::RATE_LIMIT_WINDOW_SECONDS, whole(1, WINDOW_SECONDS_MAX.into());
        /// Limit administrators too, the owner on this machine included
        "rate-limit-administrators" "BOOLEAN" administrators: bool = false, boolean();
    }
}
