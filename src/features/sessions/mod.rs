//! Sessions: one per device or browser of a user, shown by a token.
//!
//! [`rules`] (whose one is, who may show it, when it ends) is pure; [`table`] has them in memory and lets requests in;
//! `sql` has them on disk; [`links`] makes an administrator where the machine alone is no proof; [`service`] keeps both
//! the same; [`routes`] is HTTP.

pub(crate) mod links;
pub(crate) mod options;
pub(crate) mod problems;
pub(crate) mod routes;
pub(crate) mod rules;
pub(crate) mod service;
mod sql;
pub(crate) mod table;
#[cfg(test)]
mod tests;
