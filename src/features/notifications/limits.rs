//! The bounds of notifications.

/// Most notifications of a user: the oldest that are read go first, then the oldest.
pub(crate) const PER_USER_MAX: u32 = 500;
/// Most notifications in all: the oldest go. Who is named as a player need not be anybody.
pub(crate) const ROWS_MAX: u32 = 200_000;
/// Most people who are told of one change.
pub(crate) const RECIPIENTS_MAX: usize = 1_000;
/// Longest title and longest body, bytes.
pub(crate) const TEXT_BYTES_MAX: usize = 500;
/// Devices of a user whose replays are remembered; the oldest are forgotten.
pub(crate) const DEVICES_MAX: u32 = 50;
/// Devices in all whose replays are remembered, likewise.
pub(crate) const REPLAYS_MAX: u32 = 20_000;
/// Longest time after which a shown notification closes, seconds.
pub(crate) const CLOSE_AFTER_SECONDS_MAX: u32 = 3_600;

const _: () = assert!(PER_USER_MAX < ROWS_MAX, "what one user has is not most of what there is");
