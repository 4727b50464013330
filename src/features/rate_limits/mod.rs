//! How much each may ask: limits, who is over theirs, and what administrators can say about it.
//!
//! In reading order: [`rules`] (limits, buckets, which rule applies; pure), [`identity`] (whom a request is counted of),
//! [`ledger`] (everybody's buckets in memory), [`limiter`] (limits and ledger together: one decision), `sql` (the tables),
//! [`service`] (changes, and keeping buckets across restarts), [`quota`] (what the guard asks), [`routes`] (HTTP, for
//! administrators).

pub mod identity;
pub mod ledger;
pub mod limiter;
pub mod quota;
pub mod routes;
pub mod rules;
pub mod service;
pub mod sql;
