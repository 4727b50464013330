//! Reconciliation: what should be is compared with what is, and each verdict is recorded and told.
//!
//! In reading order: [`verdict`] (what a comparison says).

pub mod verdict;
