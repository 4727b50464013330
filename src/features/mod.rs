//! Rank 5: what the server can do, one folder per capability, none of which knows another.

pub mod client_errors;
pub mod documents;
pub mod flags;
pub mod games;
pub mod operations;
pub mod rate_limits;
pub mod reconciliation;
pub mod sessions;
pub mod usage;
