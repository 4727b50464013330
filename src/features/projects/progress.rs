//! How the work on a project goes: what is counted, and what somebody says of it. Pure.
//!
//! In reading order: [`words`], [`measure`] (the progress at one moment), [`phases`], [`snapshots`] (when progress is
//! saved), [`calendar`] (local days as instants), [`series`] (the snapshots in a row), and what is made of them:
//! [`statistics`], [`trends`].

pub(crate) mod calendar;
pub(crate) mod measure;
pub(crate) mod phases;
pub(crate) mod series;
pub(crate) mod snapshots;
pub(crate) mod statistics;
pub(crate) mod trends;
pub(crate) mod words;
