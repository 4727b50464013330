//! Rank 1: what a document *is*. Pure: values in, values out; no I/O, no clock, no lock, no async.
//!
//! In reading order: [`model`] (a document and its fixed facts), [`event`] (the record of one change and its bytes),
//! [`chain`] (hashes and positions), [`patch`] (from one state to the next), [`visibility`] (who may see and touch
//! what), [`access`] (who may do what), [`scope`] (what a credential reaches), [`merge`] (what two sides made of one
//! state), [`notices`] (what people are told of a change), [`rules`] (what embedders bring), [`decide`] (from a
//! requested change to an event), [`query`] (what a list is asked).

pub(crate) mod access;
pub(crate) mod chain;
pub(crate) mod decide;
pub(crate) mod event;
pub(crate) mod input;
pub(crate) mod json;
pub(crate) mod merge;
pub(crate) mod model;
pub(crate) mod notices;
pub(crate) mod patch;
pub(crate) mod query;
pub(crate) mod rules;
pub(crate) mod scope;
pub(crate) mod transfer;
pub(crate) mod visibility;

#[cfg(test)]
pub(crate) mod tests;
