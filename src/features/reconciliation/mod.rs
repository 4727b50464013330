//! Reconciliation: what should be is compared with what is, and each verdict is recorded and told.
//!
//! In reading order: [`verdict`] (what a comparison says), [`own`] (memory against disk), [`repair`], [`scrub`] (doing that
//! all the time and when asked), [`audit`] (what is recorded of it and how it is told),
//! [`outside`] (services that report, pure), [`stream`] (what dashboards read), [`sql`] (the tables), [`service`]
//! (recording, reports, staleness), [`trim`] (the job that bounds the audit), [`routes`].

pub mod audit;
pub mod outside;
pub mod own;
pub mod repair;
pub mod routes;
pub mod scrub;
pub mod service;
pub mod sql;
pub mod stream;
pub mod trim;
pub mod verdict;

#[cfg(test)]
mod service_tests;
