//! Live interactions: the built-in rules of the collection `interactions`. Players act in turn, and the DM, who is the
//! document's host, reviews what they do. Pure.
//!
//! In reading order: [`state`], [`turns`] (who takes part, and whose turn it is), [`rules`] (who may do what).

mod merging;
mod notices;
pub(crate) mod rules;
mod state;
#[cfg(test)]
mod tests;
mod turns;
