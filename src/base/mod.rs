//! Rank 0: the vocabulary that everything else is written in. No I/O, no async, no knowledge of HTTP or SQL.
//!
//! The clock and the entropy source are *traits* here, so that time and randomness reach the rest of the program as
//! values; their one real implementation each is beside the trait.

pub(crate) mod clock;
pub(crate) mod clock_trust;
pub(crate) mod display_name;
pub(crate) mod entropy;
pub(crate) mod error;
pub(crate) mod ids;
pub(crate) mod limits;
pub(crate) mod options;
pub(crate) mod secret;
