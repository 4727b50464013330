//! From the socket to the router, in the order in which a connection meets the files: [`listener_manager`] and
//! [`listener_set`] (where to listen), [`connection`] (accept loop, one task per connection), [`admission`] (who may
//! connect, bounded by [`concurrency`](super::concurrency)), [`write_timeout`], [`head_reader`], [`body_timeout`] and
//! [`unread_body`], [`middleware`] (host, origin, session,
//! [`rate_limit`], panics, headers, logs) and [`stream_writer`] (event streams).

pub(crate) mod admission;
pub(crate) mod body_timeout;
pub(crate) mod connection;
pub(crate) mod cors;
pub(crate) mod head_reader;
pub(crate) mod listener_manager;
pub(crate) mod listener_set;
pub(crate) mod middleware;
pub(crate) mod path_guard;
pub(crate) mod public_files;
pub(crate) mod rate_limit;
pub(crate) mod stream_writer;
pub(crate) mod unread_body;
pub(crate) mod write_timeout;
