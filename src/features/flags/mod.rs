//! Which parts of the server are turned on.

pub mod routes;
