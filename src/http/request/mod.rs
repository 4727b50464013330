//! What a request says: [`caller`] (with [`cookie`]), [`hosts`], [`headers`], [`path`], [`query`], [`body`] and
//! [`idempotency`]; [`input_errors`] words what is wrong with it.

pub(crate) mod body;
pub(crate) mod caller;
pub(crate) mod cookie;
pub(crate) mod headers;
pub(crate) mod hosts;
pub(crate) mod idempotency;
mod input_errors;
pub(crate) mod path;
pub(crate) mod query;
