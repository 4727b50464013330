//! Buckets: how they empty and fill. Exact: all is whole numbers.

use std::time::Duration;

use super::Limit;
use crate::base::clock::Timestamp;

/// How far a moment may lie before the bucket's last one and still be taken for two threads that overtook each other.
/// Beyond it, somebody has set the clock back.
const SKEW_MILLIS: i64 = 1000;

/// A bucket, by what is missing in it. That is what keeps its meaning when the limit is changed: whoever has spent 10
/// tokens has spent 10, however many there are to spend now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bucket {
    /// What is missing, in parts of a token: as many as the window has milliseconds.
    pub spent: u64,
    /// The window that this is reckoned in, seconds.
    pub window_seconds: u32,
    /// When that was so.
    pub at: Timestamp,
}

/// What became of a request for a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Taken {
    /// Whether there was one.
    pub allowed: bool,
    /// Whole tokens that are left.
    pub remaining: u32,
    /// How long until there is another whole one; after a refusal, until there are as many as were asked for.
    pub wait: Duration,
}

impl Bucket {
    pub fn full(limit: &Limit, now: Timestamp) -> Self {
        Self { spent: 0, window_seconds: limit.window_seconds, at: now }
    }

    /// The bucket as it is at `now` under `limit`. A moment a little before its last one changes nothing; one long
    /// before means that the clock was set back, and the bucket goes on from there.
    fn refilled(self, limit: &Limit, now: Timestamp) -> Self {
        let mut spent = self.spent;
        if self.window_seconds != limit.window_seconds {
            // Rounded up: a change of the window gives nobody anything.
            let scaled = u128::from(spent) * u128::from(limit.window_seconds);
            spent = u64::try_from(scaled.div_ceil(u128::from(self.window_seconds.max(1)))).unwrap_or(u64::MAX);
        }
        let elapsed = now.as_millis().saturating_sub(self.at.as_millis());
        let back = u64::try_from(elapsed).unwrap_or(0).saturating_mul(u64::from(limit.refill));
        let spent = spent.saturating_sub(back).min(limit.whole());
        let at = if (-SKEW_MILLIS..0).contains(&elapsed) { self.at } else { now };
        Self { spent, window_seconds: limit.window_seconds, at }
    }

    /// Takes a token if there is one.
    pub(crate) fn take(&mut self, limit: &Limit, now: Timestamp) -> Taken {
        self.take_several(limit, 1, now)
    }

    /// Takes so many tokens, if there are as many.
    pub(crate) fn take_several(&mut self, limit: &Limit, tokens: u32, now: Timestamp) -> Taken {
        *self = self.refilled(limit, now);
        let (token, whole) = (limit.token(), limit.whole());
        let wanted = token.saturating_mul(u64::from(tokens));
        let allowed = self.spent.saturating_add(wanted) <= whole;
        if allowed {
            self.spent += wanted;
        }
        let left = whole - self.spent;
        let missing = if allowed { token - left % token } else { wanted - left };
        let wait = Duration::from_millis(limit.millis_for(missing));
        Taken { allowed, remaining: u32::try_from(left / token).unwrap_or(u32::MAX), wait }
    }

    /// Gives back a token that was taken. One that is full stays so.
    pub(crate) fn give_back(&mut self, limit: &Limit, now: Timestamp) {
        *self = self.refilled(limit, now);
        self.spent = self.spent.saturating_sub(limit.token());
    }

    /// When it is full again if nobody takes anything.
    pub fn full_at(&self, limit: &Limit) -> Timestamp {
        let millis = i64::try_from(limit.millis_for(self.spent)).unwrap_or(i64::MAX);
        Timestamp::from_millis(self.at.as_millis().saturating_add(millis))
    }

    /// Whether more than half of it is missing.
    pub fn is_low(&self, limit: &Limit) -> bool {
        self.spent > limit.whole() / 2
    }
}

impl Limit {
    /// What one token is in the unit of [`Bucket`]: as many as the window has milliseconds, so that in each millisecond
    /// exactly [`refill`](Self::refill) of them come back.
    fn token(&self) -> u64 {
        u64::from(self.window_seconds) * 1000
    }

    /// The whole bucket in that unit: at most 10^6 × 8.64 × 10^7.
    fn whole(&self) -> u64 {
        u64::from(self.capacity) * self.token()
    }

    /// Milliseconds until so much has come back.
    fn millis_for(&self, parts: u64) -> u64 {
        parts.div_ceil(u64::from(self.refill.max(1)))
    }
}
