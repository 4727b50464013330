//! Rank 4: everything between the socket and the handlers: [`server`], [`request`], [`response`], and in [`api`] what
//! handlers share.

pub(crate) mod api;
pub(crate) mod request;
pub(crate) mod response;
pub(crate) mod server;

#[cfg(test)]
mod tests;
