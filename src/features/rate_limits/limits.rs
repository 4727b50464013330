//! The bounds of requests, with where each number comes from and what happens at it.

/// Requests that anybody may send at once, and again in each window (default): a busy table's worth for one player,
/// hundreds of times what a person does. Past it: `rate-limited`.
pub(crate) const RATE_LIMIT_CAPACITY: u32 = 2000;
/// Length of that window, seconds (default).
pub(crate) const RATE_LIMIT_WINDOW_SECONDS: u32 = 10;
