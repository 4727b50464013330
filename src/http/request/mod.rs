//! What a request says: [`caller`] (with [`cookie`] and [`forwarding`]), [`hosts`], [`headers`], [`preconditions`],
//! [`path`], [`query`] and [`body`]; [`deliberate`] says whether a GET that writes was meant.

pub(crate) mod body;
pub(crate) mod caller;
pub(crate) mod cookie;
pub(crate) mod deliberate;
pub(crate) mod forwarding;
pub(crate) mod headers;
pub(crate) mod hosts;
pub(crate) mod path;
pub(crate) mod preconditions;
pub(crate) mod query;
