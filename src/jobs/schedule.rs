//! When a job is due: pure functions of the schedule, what is done, and the present.

use std::fmt;
use std::time::Duration;

use crate::base::clock::Timestamp;

const SECOND: i64 = 1_000;
const MINUTE: i64 = 60 * SECOND;
const HOUR: i64 = 60 * MINUTE;
const DAY: i64 = 24 * HOUR;

/// When a job runs. All in UTC, aligned to the clock and not to the start of the server: the moments at which it is to
/// run are its *slots*.
///
/// ```
/// use rejoin::{Schedule, Timestamp};
///
/// let now = Timestamp::parse("2026-05-04T12:30:00Z").unwrap();
/// let daily = Schedule::EveryDay { hour: 3, minute: 15 };
/// assert_eq!(daily.next_slot(now).to_string(), "2026-05-05T03:15:00.000Z");
/// assert_eq!(Schedule::Hourly.last_slot(now).to_string(), "2026-05-04T12:00:00.000Z");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Schedule {
    /// Each day at this time.
    EveryDay {
        /// 0 to 23.
        hour: u32,
        /// 0 to 59.
        minute: u32,
    },
    /// At the start of each hour.
    Hourly,
    /// As often as this, counted from 1970-01-01T00:00:00Z, in whole seconds, at least 1; less than that is 1, the rest
    /// of a second is dropped.
    Every(Duration),
}

impl Schedule {
    /// Milliseconds between two slots, and those from the epoch to the first.
    fn period_and_offset(self) -> (i64, i64) {
        match self {
            Self::EveryDay { hour, minute } => (DAY, (i64::from(hour) * HOUR + i64::from(minute) * MINUTE) % DAY),
            Self::Hourly => (HOUR, 0),
            Self::Every(_) => (i64::from(self.seconds()) * SECOND, 0),
        }
    }

    /// Seconds between two slots.
    pub fn seconds(self) -> u32 {
        match self {
            Self::EveryDay { .. } => 24 * 3600,
            Self::Hourly => 3600,
            Self::Every(period) => u32::try_from(period.as_secs()).unwrap_or(u32::MAX).max(1),
        }
    }

    /// The last slot that is not after `now`.
    pub fn last_slot(self, now: Timestamp) -> Timestamp {
        let (period, offset) = self.period_and_offset();
        let now = now.as_millis();
        Timestamp::from_millis(now - (now - offset).rem_euclid(period))
    }

    /// The first slot after `now`.
    pub fn next_slot(self, now: Timestamp) -> Timestamp {
        Timestamp::from_millis(self.last_slot(now).as_millis() + self.period_and_offset().0)
    }

    /// The slot that is to be run at `now`, when all up to `covered` are done with. However many were missed, it is
    /// one: the last. What is covered *after* the next slot was noted under a clock that was wrong, and does not count.
    pub fn due(self, covered: Timestamp, now: Timestamp) -> Option<Timestamp> {
        let slot = self.last_slot(now);
        let from_a_wrong_clock = covered > self.next_slot(now);
        (slot > covered || from_a_wrong_clock).then_some(slot)
    }
}

impl fmt::Display for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::EveryDay { hour, minute } => write!(f, "every day at {hour:02}:{minute:02} UTC"),
            Self::Hourly => f.write_str("every hour"),
            Self::Every(_) => write!(f, "every {} s", self.seconds()),
        }
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed unwrap fails the test")]
    use super::*;

    const NIGHTLY: Schedule = Schedule::EveryDay { hour: 0, minute: 5 };

    fn at(text: &str) -> Timestamp {
        Timestamp::parse(text).unwrap()
    }

    #[test]
    fn what_is_due_is_the_last_slot_and_only_once() {
        let ten_minutes = Schedule::Every(Duration::from_secs(600));
        let table = [
            ("at the slot", NIGHTLY, "2026-03-01T00:05:00Z", "2026-03-02T00:05:00Z", Some("2026-03-02T00:05:00Z")),
            ("just before it", NIGHTLY, "2026-03-01T00:05:00Z", "2026-03-02T00:04:59.999Z", None),
            (
                "just after it",
                NIGHTLY,
                "2026-03-01T00:05:00Z",
                "2026-03-02T00:05:00.001Z",
                Some("2026-03-02T00:05:00Z"),
            ),
            ("done", NIGHTLY, "2026-03-02T00:05:00Z", "2026-03-02T00:05:00Z", None),
            ("done, later that day", NIGHTLY, "2026-03-02T00:05:00Z", "2026-03-02T23:59:59Z", None),
            ("down for days", NIGHTLY, "2026-02-20T00:05:00Z", "2026-03-02T12:00:00Z", Some("2026-03-02T00:05:00Z")),
            ("down over the slot", NIGHTLY, "2026-03-01T00:05:00Z", "2026-03-02T00:00:00Z", None),
            ("new at noon", NIGHTLY, "2026-03-01T12:00:00Z", "2026-03-01T18:00:00Z", None),
            ("new at the very slot", NIGHTLY, "2026-03-01T00:05:00Z", "2026-03-01T00:05:00Z", None),
            ("a leap day", NIGHTLY, "2028-02-28T00:05:00Z", "2028-02-29T00:05:00Z", Some("2028-02-29T00:05:00Z")),
            ("set back after a run", NIGHTLY, "2026-03-02T00:05:00Z", "2026-03-02T00:04:00Z", None),
            ("set back by a day", NIGHTLY, "2026-03-02T00:05:00Z", "2026-03-01T00:06:00Z", None),
            (
                "noted in a far future",
                NIGHTLY,
                "2036-03-02T00:05:00Z",
                "2026-03-02T12:00:00Z",
                Some("2026-03-02T00:05:00Z"),
            ),
            ("hourly", Schedule::Hourly, "2026-03-01T22:00:00Z", "2026-03-01T23:00:00Z", Some("2026-03-01T23:00:00Z")),
            ("hourly, done", Schedule::Hourly, "2026-03-01T23:00:00Z", "2026-03-01T23:59:59Z", None),
            (
                "over midnight",
                Schedule::Hourly,
                "2026-03-01T23:00:00Z",
                "2026-03-02T00:00:00Z",
                Some("2026-03-02T00:00:00Z"),
            ),
            ("of an hour", ten_minutes, "2026-03-01T10:00:00Z", "2026-03-01T10:31:00Z", Some("2026-03-01T10:30:00Z")),
            ("of an hour, done", ten_minutes, "2026-03-01T10:30:00Z", "2026-03-01T10:39:59Z", None),
        ];
        for (name, schedule, covered, now, expected) in table {
            assert_eq!(schedule.due(at(covered), at(now)), expected.map(at), "{name}");
        }
    }

    #[test]
    fn whatever_the_interval_slots_are_evenly_spaced_and_the_next_is_after_now() {
        let every = [1, 7, 90, 3600, 86_400, 100_000].map(|seconds| Schedule::Every(Duration::from_secs(seconds)));
        let daily = Schedule::EveryDay { hour: 23, minute: 59 };
        for schedule in every.into_iter().chain([Schedule::Hourly, NIGHTLY, daily]) {
            let period = i64::from(schedule.seconds()) * SECOND;
            let mut now = at("2026-12-31T23:58:59.999Z");
            let mut covered = now;
            let mut runs = 0;
            for _ in 0..40 {
                let (last, next) = (schedule.last_slot(now), schedule.next_slot(now));
                assert!(last <= now && now < next && next.as_millis() - last.as_millis() == period, "{schedule} {now}");
                assert_eq!(schedule.last_slot(last), last, "{schedule}");
                // A quarter of a period at a time: one run per slot, neither none nor two.
                if let Some(slot) = schedule.due(covered, now) {
                    (covered, runs) = (slot, runs + 1);
                }
                now = Timestamp::from_millis(now.as_millis() + period / 4);
            }
            assert!((9..=10).contains(&runs), "{schedule}: {runs}");
        }
        assert_eq!(Schedule::Every(Duration::ZERO).seconds(), 1);
        assert_eq!(NIGHTLY.to_string(), "every day at 00:05 UTC");
    }
}
