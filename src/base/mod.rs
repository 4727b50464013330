//! Rank 0: the vocabulary that everything else is written in. No I/O, no async, no knowledge of HTTP or SQL.
//!
//! The clock and the entropy source are *traits* here, so that time and randomness reach the rest of the program as
//! values; their one real implementation each is beside the trait.

pub mod clock;
pub mod entropy;
pub mod error;
pub mod flags;
pub mod ids;
pub mod limits;
pub mod secret;
