//! What reads: [`reader`] over the [`pool`], [`replay`] (a document from snapshot and events, verified), [`log`]
//! (events across documents) and [`inspect`] (rows that may have been tampered with).

pub(crate) mod inspect;
pub(crate) mod log;
pub(crate) mod pool;
pub(crate) mod reader;
pub(crate) mod replay;
