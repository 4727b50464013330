//! How the work on a project goes: what is counted, and what somebody says of it. Pure.
//!
//! In reading order: [`words`], [`measure`] (the progress at one moment), [`phases`], [`snapshots`] (when progress is
//! saved).

pub(crate) mod measure;
pub(crate) mod phases;
pub(crate) mod snapshots;
pub(crate) mod words;
