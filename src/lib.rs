//! Rejoin.

pub mod app;
pub mod base;
pub mod cli;
pub mod config;
pub mod document;
pub mod engine;
pub mod features;
pub mod http;
pub mod live;
pub mod store;

pub use app::Server;
