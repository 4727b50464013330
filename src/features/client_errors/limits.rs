//! What is kept of client errors and how many may be told: the bounds, and what happens at each.

use std::time::Duration;

/// Different client errors that are kept. Past it those that were longest not seen go.
pub(crate) const CLIENT_ERRORS_MAX: u32 = 1000;
/// Longest message of a client error, bytes. Past it: cut.
pub(crate) const CLIENT_ERROR_MESSAGE_LENGTH_MAX: usize = 2000;
/// Longest stack of a client error, bytes. Past it: cut.
pub(crate) const CLIENT_ERROR_STACK_LENGTH_MAX: usize = 16 << 10;
/// Longest other text of a client error, bytes. Past it: cut.
pub(crate) const CLIENT_ERROR_TEXT_LENGTH_MAX: usize = 1000;
/// How often a client may say at once that an error happened. Past it: `invalid-request`.
pub(crate) const CLIENT_ERROR_COUNT_MAX: u64 = 1000;
/// Client errors that one caller may tell at once, and one more each [`CLIENT_ERROR_SPACING`]. Past it: `rate-limited`.
pub(crate) const CLIENT_ERROR_BURST: u32 = 20;
/// See [`CLIENT_ERROR_BURST`].
pub(crate) const CLIENT_ERROR_SPACING: Duration = Duration::from_secs(6);
/// The same for all callers together.
pub(crate) const CLIENT_ERROR_BURST_ALL: u32 = 200;
/// See [`CLIENT_ERROR_BURST_ALL`].
pub(crate) const CLIENT_ERROR_SPACING_ALL: Duration = Duration::from_millis(200);
/// Callers whose client errors are counted apart. Past it: only all together.
pub(crate) const CLIENT_ERROR_CALLERS_MAX: usize = 1000;
