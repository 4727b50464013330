//! Rank 4: everything between the socket and the handlers, and the only place that sets status codes.
//!
//! In the order in which a request meets them: [`server`] (accepts and drives connections), [`stall`] and [`inbound`]
//! (end a peer that stops taking or sending), [`guard`] (host, origin, panics, headers, logs) with [`hosts`] (which
//! names are ours), the extractors [`viewer`], [`path`], [`query`] and [`body`], the pure parsers in [`headers`], and
//! on the way back [`problem`] with [`pages`], which says to people what a problem means.

pub mod body;
pub mod guard;
pub mod headers;
pub mod hosts;
pub mod inbound;
pub mod pages;
pub mod path;
pub mod problem;
pub mod query;
pub mod server;
pub mod stall;
pub mod viewer;
mod wording;

#[cfg(test)]
mod tests;
