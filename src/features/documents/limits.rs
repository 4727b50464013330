//! The bounds of calls about documents, with where each number comes from and what happens at it.

use std::time::Duration;

/// Most operations in one batch. Past it: `invalid-request`.
pub const BATCH_OPERATIONS_MAX: usize = 100;
/// Longest action type, bytes. Past it: `invalid-request`.
pub(crate) const ACTION_TYPE_LENGTH_MAX: usize = 64;
/// Longest long poll.
pub(crate) const WAIT_MAX: Duration = Duration::from_secs(60);
