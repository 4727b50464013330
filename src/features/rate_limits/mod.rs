//! How much each may ask: limits, who is over theirs, and what administrators can say about it.
//!
//! In reading order: [`rules`] (limits, buckets, which rule applies; pure), [`identity`] (whom a request is counted
//! of), [`ledger`] (everybody's buckets in memory), [`limiter`] (limits and ledger together: one decision), `sql` (the
//! tables), [`service`] (changes, and keeping buckets across restarts), [`rate_limiter`] (the check of each request),
//! [`routes`] (HTTP, for administrators).

pub(crate) mod identity;
pub(crate) mod ledger;
pub(crate) mod limiter;
pub(crate) mod options;
pub(crate) mod rate_limiter;
pub(crate) mod routes;
pub(crate) mod rules;
pub(crate) mod service;
pub(crate) mod sql;
