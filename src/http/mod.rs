//! Rank 4: HTTP.

pub mod client;
pub mod sse_parser;
