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
