//! For whoever runs the server: is it alive, is it well, what is it.

pub mod routes;
pub mod upkeep;
