//! What a message is, and how many somebody may send. Pure.

use std::collections::HashMap;

use crate::base::clock::Timestamp;
use crate::base::error::{Error, Kind, Result};
use crate::features::messages::limits::{SENDERS_MAX, TYPE_LENGTH_MAX};

/// Length of the window in which a sender's messages come back.
const WINDOW_MILLIS: i64 = 1000;

/// Error: `Invalid` for a type that is empty or too long.
pub(crate) fn check_type(kind: &str) -> Result<()> {
    if kind.is_empty() || kind.chars().count() > TYPE_LENGTH_MAX {
        return Err(Error::invalid_field("type", format!("must be 1 to {TYPE_LENGTH_MAX} characters")));
    }
    Ok(())
}

/// Counts messages per sender: a bucket of a second's messages each, which fills evenly.
#[derive(Clone, Debug)]
pub(crate) struct MessageRate {
    per_second: u32,
    /// When each sender's bucket is full again, in parts of a millisecond: as many as there are messages in a second.
    /// At most [`SENDERS_MAX`].
    full_at: HashMap<Box<str>, i64>,
}

impl MessageRate {
    pub(crate) fn new(per_second: u32) -> Self {
        Self { per_second, full_at: HashMap::new() }
    }

    /// Counts a message of `sender`. Error: `RateLimited`.
    pub(crate) fn admit(&mut self, sender: &str, now: Timestamp) -> Result<()> {
        let parts = i64::from(self.per_second);
        let (now, span) = (now.as_millis().saturating_mul(parts), WINDOW_MILLIS * parts);
        // Further ahead than it ever gets: the clock was set back.
        let full_at = self.full_at.get(sender).copied().filter(|at| at - now <= span).map_or(now, |at| at.max(now));
        // A message is a second's part: as many parts of a millisecond as a second has milliseconds.
        let next = full_at.saturating_add(WINDOW_MILLIS);
        if next - now > span || !self.has_room_for(sender, now) {
            return Err(self.refusal());
        }
        match self.full_at.get_mut(sender) {
            Some(at) => *at = next,
            None => drop(self.full_at.insert(sender.into(), next)),
        }
        Ok(())
    }

    fn has_room_for(&mut self, sender: &str, now: i64) -> bool {
        if self.full_at.len() >= SENDERS_MAX && !self.full_at.contains_key(sender) {
            self.full_at.retain(|_, at| *at > now);
        }
        self.full_at.len() < SENDERS_MAX || self.full_at.contains_key(sender)
    }

    fn refusal(&self) -> Error {
        let message =
            format!("more than {} messages a second; leave out all but the newest of a kind", self.per_second);
        Error::new(Kind::RateLimited, message).with("retryAfterSeconds", 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many of `count` messages are let through at this moment.
    fn let_through(rate: &mut MessageRate, sender: &str, count: u32, millis: i64) -> u32 {
        let now = Timestamp::from_millis(millis);
        u32::try_from((0..count).filter(|_| rate.admit(sender, now).is_ok()).count()).unwrap_or(u32::MAX)
    }

    #[test]
    fn a_sender_has_a_second_s_messages_at_once_and_gets_them_back_evenly() {
        let mut rate = MessageRate::new(30);
        assert_eq!(let_through(&mut rate, "alice", 100, 5_000), 30);
        assert_eq!(let_through(&mut rate, "bob", 10, 5_000), 10, "each has their own");
        assert_eq!(let_through(&mut rate, "alice", 1, 5_033), 0);
        assert_eq!(let_through(&mut rate, "alice", 5, 5_034), 1);
        assert_eq!(let_through(&mut rate, "alice", 100, 5_534), 15);
        assert_eq!(let_through(&mut rate, "alice", 100, 60_000), 30, "no more than a second's are saved");
        for second in 61..70 {
            assert_eq!(let_through(&mut rate, "alice", 100, second * 1000), 30);
        }
    }

    #[test]
    fn a_clock_that_is_set_back_silences_nobody() {
        let mut rate = MessageRate::new(2);
        assert_eq!(let_through(&mut rate, "alice", 5, 90_000), 2);
        assert_eq!(let_through(&mut rate, "alice", 5, 1_000), 2);
    }

    #[test]
    fn who_sends_nothing_makes_room_for_others() {
        let mut rate = MessageRate::new(1);
        for sender in 0..SENDERS_MAX {
            assert_eq!(let_through(&mut rate, &sender.to_string(), 2, 0), 1);
        }
        assert_eq!(let_through(&mut rate, "late", 1, 999), 0);
        assert_eq!(let_through(&mut rate, "late", 1, 1_000), 1);
        assert_eq!(rate.full_at.len(), 1);
    }

    #[test]
    fn a_type_is_counted_in_characters() {
        for (kind, good) in [("", false), ("a", true), (&*"é".repeat(64), true), (&*"a".repeat(65), false)] {
            assert_eq!(check_type(kind).is_ok(), good, "{kind}");
        }
    }
}
