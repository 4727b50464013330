//! The bounds of messages.

/// Messages that a sender may send at once, and again in each second (default): a pointer that moves as smoothly as a
/// film. Past it: `rate-limited`.
pub(crate) const MESSAGES_PER_SECOND: u32 = 30;
/// Most that can be configured.
pub(crate) const MESSAGES_PER_SECOND_MAX: u32 = 10_000;
/// Largest body, bytes. Past it: `too-large`.
pub(crate) const MESSAGE_BYTES_MAX: usize = 4096;
/// Longest type, characters. Past it: `invalid-request`.
pub(crate) const TYPE_LENGTH_MAX: usize = 64;
/// Senders whose rate is remembered, some 100 bytes each. Past it those who have sent nothing for a second are
/// forgotten, and where there are none, whoever is new is `rate-limited`.
pub(crate) const SENDERS_MAX: usize = 10_000;
