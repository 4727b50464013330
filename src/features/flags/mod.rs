//! Which parts of the server are turned on.

pub(crate) mod routes;
