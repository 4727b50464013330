//! What a request says: [`caller`] (with [`cookie`] and [`forwarding`]), [`hosts`], [`origins`], [`headers`],
//! [`preconditions`], [`path`], [`query`] and [`body`]; [`csrf`] protects the GETs that write.

pub(crate) mod body;
pub(crate) mod caller;
pub(crate) mod cookie;
pub(crate) mod csrf;
pub(crate) mod forwarding;
pub(crate) mod headers;
pub(crate) mod hosts;
pub(crate) mod origins;
pub(crate) mod path;
pub(crate) mod preconditions;
pub(crate) mod query;
