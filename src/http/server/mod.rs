//! From the socket to the router. In the order in which a connection meets them: [`listeners`] and [`listener_set`]
//! (where to listen), [`connection`] (accepts and drives connections), [`admission`] (who is let in, within the bounds
//! of [`concurrency`]), [`write_timeout`] and [`body_timeout`] (end a peer that stops reading or sending),
//! [`middleware`] (host, origin, session, [`rate_limit`], panics, headers, logs) and [`stream_writer`] (event streams).

pub(crate) mod admission;
pub(crate) mod body_timeout;
pub(crate) mod concurrency;
pub(crate) mod connection;
pub(crate) mod listener_set;
pub(crate) mod listeners;
pub(crate) mod middleware;
pub(crate) mod rate_limit;
pub(crate) mod stream_writer;
pub(crate) mod write_timeout;
