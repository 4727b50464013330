//! A whole database file, with or without a server beside it: [`check`] (is all of it as it was stored?), [`repair`]
//! (what does not verify is cut away).

pub(crate) mod check;
pub(crate) mod document;
pub(crate) mod repair;
