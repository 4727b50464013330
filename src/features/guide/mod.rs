//! Serves the chapters of [`crate::guide`] as pages.

mod markdown;
pub(crate) mod routes;
