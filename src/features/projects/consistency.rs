//! Finds what contradicts itself in a project. Pure.
//!
//! In reading order: [`model`] (a project in memory, of
//! [`entity`]s, with [`names`] in its texts, [`references`] and [`dates`]),
//! [`check`] (what a check is), [`checks`] (those that there are), [`warning`] (a finding that is kept), [`schedule`]
//! (when a project is checked).

pub(crate) mod check;
pub(crate) mod checks;
pub(crate) mod dates;
pub(crate) mod entity;
mod mentions;
pub(crate) mod model;
pub(crate) mod names;
pub(crate) mod references;
pub(crate) mod schedule;
#[cfg(test)]
mod tests;
pub(crate) mod warning;
