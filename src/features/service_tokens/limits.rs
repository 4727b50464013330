//! The bounds of service tokens.

use std::time::Duration;

/// Service tokens in all. Past it: `service-tokens-full`.
pub(crate) const SERVICE_TOKENS_MAX: usize = 200;
/// Documents that one names, and collections: each is looked at in turn. Past it: `invalid-request`.
pub(crate) const NAMED_MAX: usize = 50;
/// How often it is stored when tokens were last used: what a `kill -9` forgets of it at most.
pub(crate) const STORED_EVERY: Duration = Duration::from_secs(60);
