//! Periods as tables and properties; counting and the reset job on a real engine and a real file, under a clock that is
//! moved.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a panic fails the test")]

mod counting;
mod periods;
mod resets;
