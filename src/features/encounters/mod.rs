//! Encounters: the built-in rules of the collection `encounters`. Pure.
//!
//! In reading order: [`combatant`], [`state`] (what an encounter is, and where its secrets stand), [`payloads`] (what
//! actions are sent with), [`initiative`] (dice and order), [`turns`], [`roster`] (who takes part), [`combat`] (hit
//! points, conditions, counters), [`rules`] (who may do what, then the encounter does it).

mod combat;
mod combatant;
mod initiative;
mod merging;
mod notices;
mod payloads;
mod roster;
pub(crate) mod rules;
mod state;
#[cfg(test)]
mod tests;
mod turns;
