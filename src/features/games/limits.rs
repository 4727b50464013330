//! Seats, reconnect tokens, missed events and moving games: the bounds, and what happens at each.

use std::time::Duration;

/// Seats of a game whose state names no `maxSeats`.
pub(crate) const SEATS_DEFAULT: u32 = 10;
/// Most seats of a game, whatever its state says: they are read whole for each who joins.
pub(crate) const SEATS_MAX: u32 = 1000;
/// How long a reconnect token is good, minutes (default).
pub(crate) const RECONNECT_TOKEN_MINUTES: u32 = 30;
/// The same at most.
pub(crate) const RECONNECT_TOKEN_MINUTES_MAX: u32 = 7 * 24 * 60;
/// How far the times of a game that comes from another server may be ahead of the clock here: two clocks that are both
/// believed are no farther apart.
pub(crate) const MOVED_AHEAD_MAX: Duration = Duration::from_secs(24 * 3600);
/// How long after its use a reconnect token that comes again is taken for the loser of a race and not for a theft.
pub(crate) const RECONNECT_RACE: Duration = Duration::from_secs(10);
/// Reconnect tokens that are remembered of one player in one game, used ones included. Past it the oldest are
/// forgotten.
pub(crate) const RECONNECT_TOKENS_MAX: u32 = 100;
/// How long an expired reconnect token is remembered, so that its owner is told that it expired.
pub(crate) const EXPIRED_TOKENS_KEPT: Duration = Duration::from_secs(24 * 3600);
/// Expired reconnect tokens that are forgotten when a new one is made: more than one, so that they do not pile up.
pub(crate) const TOKENS_FORGOTTEN_AT_ONCE: u32 = 100;
/// Missed events in the answer to a reconnect, and their bytes. The rest is read from the history.
pub(crate) const MISSED_EVENTS_MAX: usize = 500;
/// See [`MISSED_EVENTS_MAX`].
pub(crate) const MISSED_BYTES_MAX: usize = 1 << 20;
/// Bytes of a game that moves to another server, its history and what belongs to it: with that the other server checks
/// it within seconds, and holds it in memory while it does. Past it: `game-too-large`.
pub(crate) const MOVED_GAME_BYTES_MAX: usize = 64 << 20;
/// Bytes of answers, kept for retries, that go with a game whole: those of the last minutes even of a busy one. Of the
/// older ones the headers go.
pub(crate) const MOVED_ANSWERS_BYTES_MAX: usize = 8 << 20;

const _: () = assert!(MOVED_ANSWERS_BYTES_MAX * 4 <= MOVED_GAME_BYTES_MAX, "answers leave room for the history");
