//! Rank 1: one HTTP/1 client over any stream, and the parser of event streams.

pub(crate) mod http_client;
pub(crate) mod sse_parser;
