//! For whoever runs the server: is it alive, is it well, what is it.

pub(crate) mod routes;
pub(crate) mod upkeep;
