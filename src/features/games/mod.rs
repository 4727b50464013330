//! Games: documents of the collection `games` with seats, reconnect tokens and an end.
//!
//! [`seats`] (who may sit where) and [`tokens`] (what a token is, whether one is good, sealed answers) are pure; `sql`
//! has the tables, and what of them goes with a game that is removed; [`tables`] says where they are; [`service`] joins them with documents;
//! [`reconnect`] brings a player back; [`routes`] is HTTP; [`cleanup`] is the job that removes games that are over.
//!
//! Moving a game to another server: [`addresses`] (where to; pure), [`wire`] (what the servers tell each other),
//! [`belongings`] (what goes with a game; pure), [`departure`] (the server that it leaves), [`arrival`] (the server that
//! it goes to).

pub mod addresses;
pub mod arrival;
pub mod belongings;
pub mod cleanup;
#[cfg(test)]
mod cleanup_tests;
pub mod departure;
pub mod reconnect;
pub mod routes;
pub mod seats;
pub mod service;
pub mod sql;
pub mod tables;
pub mod tokens;
pub mod wire;
