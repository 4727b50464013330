//! Rejoin.

pub mod app;
pub mod base;
pub mod cli;
pub mod config;
pub mod document;
pub mod http;

pub use app::Server;
