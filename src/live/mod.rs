//! Rank 2: what everybody may see right now, and how they learn that it changed.
//!
//! [`hub`] holds the published documents and the recent events; [`ring`] is the bounded memory of those events;
//! [`topics`] knows which sleeping subscriber waits for which document. There is no queue of changes per subscriber: a
//! subscriber is a cursor into the log, and one that lags costs no more than one that keeps up. [`messages`] are what
//! viewers are told beside the changes, and [`transient`] what they tell each other. [`presence`] knows who is
//! connected, [`display_names`] what people are called; [`change_tracker`] knows what to compare with the disk.

pub(crate) mod change_tracker;
pub(crate) mod display_names;
pub(crate) mod hub;
pub(crate) mod messages;
pub(crate) mod presence;
pub(crate) mod relocations;
pub(crate) mod ring;
pub(crate) mod topics;
pub(crate) mod transient;
