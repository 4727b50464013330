//! Rank 1: what a document *is*. Pure: values in, values out; no I/O, no clock, no lock, no async.
//!
//! In reading order: [`model`] (a document and its fixed facts), [`event`] (the record of one change and its bytes),
//! [`chain`] (hashes and positions), [`patch`] (from one state to the next), [`visibility`] (who may see and touch
//! what), [`rules`] (what embedders bring), [`decide`] (from a requested change to an event).

pub mod chain;
pub mod decide;
pub mod event;
pub mod json;
pub mod model;
pub mod patch;
pub mod rules;
pub mod transfer;
pub mod visibility;

#[cfg(test)]
mod tests;
