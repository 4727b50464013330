//! Rank 4: everything between the socket and the handlers. In the order in which the parts build on each other:
//! [`mod@error`], [`protocol_problems`], [`concurrency`] and [`listening_addresses`], [`request`], [`api`] (what
//! handlers share), [`response`], [`page`] of a list, [`idempotency`] of handlers that write rows, [`server`].

pub(crate) mod api;
pub(crate) mod concurrency;
pub(crate) mod error;
pub(crate) mod idempotency;
pub(crate) mod listening_addresses;
pub(crate) mod page;
pub(crate) mod protocol_problems;
pub(crate) mod providers;
pub(crate) mod request;
pub(crate) mod response;
pub(crate) mod server;

#[cfg(test)]
mod tests;
