//! Rejoin.

pub mod base;
pub mod document;
pub mod http;
