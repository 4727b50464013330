//! Rejoin.

pub mod base;
pub mod document;
pub mod store;
pub mod live;
pub mod engine;
