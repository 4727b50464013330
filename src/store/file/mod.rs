//! A whole database file, with or without a server beside it: [`check`] (is all of it as it was stored?), [`repair`]
//! (what does not verify is cut away), [`backup`] (a verified copy of one moment), [`restore`] (such a copy in the
//! place of a database); what these share: [`open`], [`copy`], [`upgraded_copy`].

pub(crate) mod backup;
pub(crate) mod check;
pub(crate) mod copy;
pub(crate) mod document;
pub(crate) mod open;
pub(crate) mod repair;
pub(crate) mod restore;
mod upgraded_copy;
