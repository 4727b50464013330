//! Rejoin.

pub mod base;
pub mod document;
