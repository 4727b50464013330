//! Rank 4: everything between the socket and the handlers, and the only place that sets status codes.
//!
//! In the order in which a request meets them: [`listeners`] (where to listen) and [`entrance`] (the listeners),
//! [`server`] (accepts and drives connections), [`visit`] (who is let in, within [`counts`]), [`stall`] and [`inbound`]
//! (end a peer that stops taking or sending), [`guard`] (host, origin, panics, headers, logs) with [`hosts`] (which
//! names are ours), the extractors [`caller`] (with [`cookie`]), [`path`], [`query`] and [`body`], the pure parsers in
//! [`headers`], what handlers share in [`api`] and in [`once`] (calls that may be repeated), and on the way back [`sse`]
//! for streams, which [`pour`] writes, and [`problem`] with
//! [`pages`], which says to people what a problem means. [`openapi`] says to programs what can be asked. [`client`] and
//! [`sse_parser`] are the other end, for `rejoin watch`.

pub mod answer;
pub mod api;
pub mod body;
pub mod caller;
pub mod client;
pub mod cookie;
pub mod counts;
pub mod entrance;
pub mod guard;
pub mod headers;
pub mod hosts;
pub mod inbound;
pub mod listeners;
pub mod moved;
pub mod once;
pub mod openapi;
pub mod pages;
pub mod path;
pub mod pour;
pub mod problem;
pub mod query;
pub mod quota;
pub mod server;
pub mod sse;
pub mod sse_parser;
pub mod stall;
pub mod visit;
mod wording;

#[cfg(test)]
mod tests;
