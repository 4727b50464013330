//! Reconciliation: what should be is compared with what is, and each verdict is recorded and told.
//!
//! In reading order: [`verdict`] (what a comparison says), [`self_check`] (memory against disk), [`repair`], [`scrub`]
//! (doing that all the time and when asked), [`audit`] (what is recorded of it and how it is told), [`external`]
//! (services that report, pure), [`stream`] (what dashboards read), [`sql`] (the tables), [`service`] (recording,
//! reports, staleness), [`trim`] (the job that bounds the audit), [`routes`].

pub(crate) mod audit;
pub(crate) mod external;
pub(crate) mod options;
pub(crate) mod problems;
pub(crate) mod repair;
pub(crate) mod routes;
pub(crate) mod scrub;
pub(crate) mod self_check;
pub(crate) mod service;
#[cfg(test)]
mod service_tests;
pub(crate) mod sql;
pub(crate) mod stream;
pub(crate) mod trim;
pub(crate) mod verdict;
