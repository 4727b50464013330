//! Time as a value.

use std::fmt;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use chrono::{DateTime, SecondsFormat, Utc};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A moment from 1970-01-01T00:00:00Z to 9999-12-31T23:59:59.999Z, in milliseconds since the first. Written as RFC 3339
/// UTC with milliseconds, everywhere; outside these years that text has no agreed form.
///
/// ```
/// use rejoin::Timestamp;
/// use std::time::Duration;
///
/// let noon = Timestamp::parse("2026-05-04T14:00:00+02:00").unwrap();
/// assert_eq!(noon.plus(Duration::from_secs(90)).to_string(), "2026-05-04T12:01:30.000Z");
/// assert_eq!(Timestamp::parse("1969-12-31T23:59:59Z"), None);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(i64);

impl Timestamp {
    /// The last moment, 9999-12-31T23:59:59.999Z.
    pub const MAX: Self = Self(253_402_300_799_999);

    /// From milliseconds since the epoch. What is outside of the range becomes its nearer end.
    pub const fn from_millis(millis: i64) -> Self {
        match millis {
            ..0 => Self(0),
            0..=253_402_300_799_999 => Self(millis),
            _ => Self::MAX,
        }
    }

    /// Milliseconds since the epoch.
    pub const fn as_millis(self) -> i64 {
        self.0
    }

    /// This moment minus `duration`, not before the epoch.
    pub fn minus(self, duration: Duration) -> Self {
        let millis = i64::try_from(duration.as_millis()).unwrap_or(i64::MAX);
        Self::from_millis(self.0.saturating_sub(millis))
    }

    /// This moment plus `duration`; the last one that there is at most.
    #[must_use]
    pub fn plus(self, duration: Duration) -> Self {
        let millis = i64::try_from(duration.as_millis()).unwrap_or(i64::MAX);
        Self::from_millis(self.0.saturating_add(millis))
    }

    /// As HTTP's `Date` has it.
    pub fn to_http_date(self) -> String {
        let moment = DateTime::<Utc>::from_timestamp_millis(self.0).unwrap_or_default();
        moment.format("%a, %d %b %Y %H:%M:%S GMT").to_string()
    }

    /// Reads what [`Display`](fmt::Display) writes, and any other RFC 3339 text of a moment within the range.
    pub fn parse(text: &str) -> Option<Self> {
        let millis = DateTime::parse_from_rfc3339(text).ok()?.timestamp_millis();
        (0..=Self::MAX.0).contains(&millis).then_some(Self(millis))
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let moment = DateTime::<Utc>::from_timestamp_millis(self.0).unwrap_or_default();
        f.write_str(&moment.to_rfc3339_opts(SecondsFormat::Millis, true))
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<str>::deserialize(deserializer)?;
        Self::parse(&text).ok_or_else(|| serde::de::Error::custom("not an RFC 3339 time"))
    }
}

/// Where the present comes from. Shared by all threads.
///
/// ```
/// use rejoin::{Clock, ManualClock, Timestamp};
/// use std::time::Duration;
///
/// let clock = ManualClock::at(Timestamp::from_millis(0));
/// clock.advance(Duration::from_secs(1));
/// clock.set(Timestamp::from_millis(90_000));
/// assert_eq!(clock.now(), Timestamp::from_millis(90_000));
/// assert_eq!(clock.elapsed(), Duration::from_secs(1));
/// ```
pub trait Clock: Send + Sync + 'static {
    /// The present wall-clock time. It jumps when somebody sets it.
    fn now(&self) -> Timestamp;

    /// The time since a fixed moment of this process. It never jumps. The default believes the wall clock.
    fn elapsed(&self) -> Duration {
        Duration::from_millis(u64::try_from(self.now().as_millis()).unwrap_or_default())
    }
}

/// The machine's clock: the only place that reads it.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        #[expect(clippy::disallowed_methods, reason = "the one place that reads the machine's clock")]
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Timestamp::from_millis(i64::try_from(since_epoch.as_millis()).unwrap_or(i64::MAX))
    }

    fn elapsed(&self) -> Duration {
        static FIRST_CALL: LazyLock<Instant> = LazyLock::new(Instant::now);
        FIRST_CALL.elapsed()
    }
}

/// A clock that stands still until it is moved. For tests.
#[derive(Debug, Default)]
pub struct ManualClock {
    now: AtomicI64,
    elapsed: AtomicI64,
}

impl ManualClock {
    /// A clock that shows `start`.
    pub fn at(start: Timestamp) -> Self {
        Self { now: AtomicI64::new(start.0), elapsed: AtomicI64::new(0) }
    }

    /// Lets time pass.
    pub fn advance(&self, by: Duration) {
        let millis = i64::try_from(by.as_millis()).unwrap_or(i64::MAX);
        self.now.fetch_add(millis, Ordering::Relaxed);
        self.elapsed.fetch_add(millis, Ordering::Relaxed);
    }

    /// Sets the wall clock, as a person or a time server does: no time passes.
    pub fn set(&self, now: Timestamp) {
        self.now.store(now.0, Ordering::Relaxed);
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_millis(self.now.load(Ordering::Relaxed))
    }

    fn elapsed(&self) -> Duration {
        Duration::from_millis(u64::try_from(self.elapsed.load(Ordering::Relaxed)).unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_in_utc_with_milliseconds_and_read_back() {
        let moment = Timestamp::from_millis(1_763_616_000_042);
        assert_eq!(moment.to_string(), "2025-11-20T05:20:00.042Z");
        assert_eq!(Timestamp::parse(&moment.to_string()), Some(moment));
        assert_eq!(Timestamp::parse("2025-11-20T06:20:00.042+01:00"), Some(moment));
        assert_eq!(Timestamp::parse("yesterday"), None);
        assert_eq!(moment.to_http_date(), "Thu, 20 Nov 2025 05:20:00 GMT");
    }

    #[test]
    fn moments_stay_within_four_digit_years() {
        for outside in ["0000-01-01T00:00:00+01:00", "1969-12-31T23:59:59.999Z", "+10000-01-01T00:00:00Z"] {
            assert_eq!(Timestamp::parse(outside), None, "{outside}");
        }
        assert_eq!(Timestamp::MAX.to_string(), "9999-12-31T23:59:59.999Z");
        assert_eq!(Timestamp::parse("9999-12-31T23:59:59.999Z"), Some(Timestamp::MAX));
        assert_eq!(Timestamp::parse("9999-12-31T23:59:59.999-01:00"), None);
        assert_eq!(Timestamp::from_millis(i64::MAX), Timestamp::MAX);
        assert_eq!(Timestamp::MAX.plus(Duration::from_secs(1)), Timestamp::MAX);
        assert_eq!(Timestamp::from_millis(-1), Timestamp::from_millis(0).minus(Duration::MAX));
    }
}
