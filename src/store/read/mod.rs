//! What reads: [`reader`] over the [`pool`] (with its [`active_reads`]), [`replay`] (a document from snapshot and
//! events), [`verify`] (all that is kept of one), [`log`] (events across documents), [`inspect`] and [`check`] (rows
//! that may have been tampered with), [`raw_document`] (a document that does not verify), [`page_room`] (how much a
//! page holds).

pub(crate) mod active_reads;
pub(crate) mod check;
pub(crate) mod inspect;
pub(crate) mod log;
pub(crate) mod page_room;
pub(crate) mod pool;
pub(crate) mod raw_document;
pub(crate) mod reader;
pub(crate) mod replay;
pub(crate) mod verify;
