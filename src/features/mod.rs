//! Rank 5: what the server can do, one folder per capability, none of which knows another.

pub(crate) mod client_errors;
pub(crate) mod documents;
pub(crate) mod flags;
pub(crate) mod games;
pub(crate) mod guide;
pub(crate) mod operations;
pub(crate) mod rate_limits;
pub(crate) mod reconciliation;
pub(crate) mod sessions;
pub(crate) mod usage;
pub(crate) mod web_client;

use crate::base::options::AnyOptionSet;

/// The options of all features, at their defaults.
pub(crate) fn option_sets() -> Vec<Box<dyn AnyOptionSet>> {
    vec![
        Box::new(games::options::GameOptions::default()),
        Box::new(rate_limits::options::RateLimitOptions::default()),
        Box::new(reconciliation::options::ReconciliationOptions::default()),
        Box::new(sessions::options::SessionOptions::default()),
        Box::new(usage::options::UsageOptions::default()),
    ]
}
