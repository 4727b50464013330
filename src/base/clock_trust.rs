//! Whether the wall clock is believed.
//!
//! A clock that is wrong for seconds would otherwise end sessions, remove games and trim histories for good. What
//! removes, trims, ends or moves on by the wall clock asks here first; everything else uses the clock as it is.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

use super::clock::{Clock, Timestamp};

/// Largest difference to what is expected that is no reason for doubt: time zones, a slow clock over a weekend.
const TOLERANCE: Duration = Duration::from_secs(24 * 3600);
/// How long the clock must run evenly before it is believed again.
const PROBATION: Duration = Duration::from_secs(3600);

/// Why the clock is not believed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Doubt {
    /// What the clock showed first.
    pub(crate) shown: Timestamp,
    /// What was expected instead.
    pub(crate) expected: Timestamp,
    /// How long it must still run evenly.
    pub(crate) remaining: Duration,
}

impl fmt::Display for Doubt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { shown, expected, remaining } = self;
        let minutes = remaining.as_secs().div_ceil(60);
        write!(
            f,
            "the clock shows {shown}, which is more than a day from the {expected} that was expected; nothing is \
             removed by its time until it has run evenly for {minutes} more minutes or an administrator confirms it \
             (POST /api/v1/admin/clock/confirm)"
        )
    }
}

/// The judgement of the wall clock, against the monotonic clock and against times that were stored. Shared by all that
/// remove things by time.
pub struct ClockTrust {
    clock: Arc<dyn Clock>,
    /// Held for a few comparisons.
    state: Mutex<TrustState>,
}

struct TrustState {
    /// Wall time minus elapsed time, in milliseconds, when the clock was last believed.
    believed: i64,
    probation: Option<Probation>,
}

#[derive(Clone, Copy)]
struct Probation {
    /// Wall time minus elapsed time since the clock jumped, in milliseconds.
    offset: i64,
    since: Duration,
    shown: Timestamp,
    expected: Timestamp,
}

impl ClockTrust {
    /// Judges `clock`. `stored`: the newest of each kind of time on disk (events, runs of jobs), none of which the
    /// clock may be far from.
    pub(crate) fn new(clock: Arc<dyn Clock>, stored: &[Timestamp]) -> Self {
        let (now, elapsed) = (clock.now(), clock.elapsed());
        let from_now = |time: &Timestamp| distance(time.as_millis(), now.as_millis());
        let farthest = stored.iter().copied().max_by_key(from_now).unwrap_or(now);
        let mut state = TrustState { believed: offset(farthest, elapsed), probation: None };
        state.observe(now, elapsed);
        Self { clock, state: Mutex::new(state) }
    }

    /// Why the clock is not believed now; `None`: it is.
    pub(crate) fn doubt(&self) -> Option<Doubt> {
        let (now, elapsed) = (self.clock.now(), self.clock.elapsed());
        let mut state = self.state.lock();
        state.observe(now, elapsed);
        state.probation.map(|probation| probation.doubt(elapsed))
    }

    /// Whether what the clock shows may decide that something is removed.
    pub(crate) fn is_trusted(&self) -> bool {
        self.doubt().is_none()
    }

    /// Believes the clock as it is now, on an administrator's word.
    pub(crate) fn confirm(&self) {
        let now = offset(self.clock.now(), self.clock.elapsed());
        *self.state.lock() = TrustState { believed: now, probation: None };
    }
}

impl fmt::Debug for ClockTrust {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClockTrust").field("doubt", &self.doubt()).finish_non_exhaustive()
    }
}

impl TrustState {
    fn observe(&mut self, now: Timestamp, elapsed: Duration) {
        let offset = offset(now, elapsed);
        if distance(offset, self.believed) <= TOLERANCE {
            // Also a jump that was taken back. Small corrections add up to no doubt.
            *self = Self { believed: offset, probation: None };
            return;
        }
        match self.probation {
            Some(probation) if distance(offset, probation.offset) <= TOLERANCE => {
                if elapsed.saturating_sub(probation.since) >= PROBATION {
                    *self = Self { believed: offset, probation: None };
                }
            }
            _ => {
                let expected = self.believed.saturating_add(millis(elapsed));
                let expected = Timestamp::from_millis(expected);
                self.probation = Some(Probation { offset, since: elapsed, shown: now, expected });
            }
        }
    }
}

impl Probation {
    fn doubt(&self, elapsed: Duration) -> Doubt {
        let remaining = PROBATION.saturating_sub(elapsed.saturating_sub(self.since));
        Doubt { shown: self.shown, expected: self.expected, remaining }
    }
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

fn offset(now: Timestamp, elapsed: Duration) -> i64 {
    now.as_millis().saturating_sub(millis(elapsed))
}

fn distance(one: i64, other: i64) -> Duration {
    Duration::from_millis(one.abs_diff(other))
}

#[cfg(test)]
mod tests {
    use super::super::clock::ManualClock;
    use super::*;

    const DAY: Duration = Duration::from_secs(24 * 3600);
    const HOUR: Duration = Duration::from_secs(3600);

    fn start() -> Timestamp {
        Timestamp::from_millis(1_770_000_000_000)
    }

    fn judge(stored: &[Timestamp]) -> (Arc<ManualClock>, ClockTrust) {
        let clock = Arc::new(ManualClock::at(start()));
        let trust = ClockTrust::new(Arc::clone(&clock) as Arc<dyn Clock>, stored);
        (clock, trust)
    }

    #[test]
    fn time_that_passes_is_believed_however_much_it_is() {
        let (clock, trust) = judge(&[]);
        for _ in 0..10 {
            clock.advance(DAY * 40);
            assert!(trust.is_trusted());
        }
    }

    #[test]
    fn a_jump_is_doubted_and_forgotten_when_it_is_taken_back() {
        let (clock, trust) = judge(&[]);
        clock.set(start().plus(DAY * 31));
        assert!(trust.doubt().map(|doubt| doubt.to_string()).unwrap_or_default().contains("admin/clock/confirm"));
        clock.advance(Duration::from_secs(3));
        assert!(!trust.is_trusted());
        clock.set(start().plus(Duration::from_secs(3)));
        assert!(trust.is_trusted());
        clock.set(start().minus(DAY * 2));
        assert!(!trust.is_trusted(), "backwards too");
    }

    #[test]
    fn a_jump_is_believed_after_an_hour_without_another() {
        let (clock, trust) = judge(&[]);
        clock.set(start().plus(DAY * 31));
        assert!(!trust.is_trusted());
        clock.advance(HOUR / 2);
        clock.set(start().plus(DAY * 400));
        assert!(!trust.is_trusted());
        clock.advance(HOUR - Duration::from_millis(1));
        assert!(!trust.is_trusted(), "the hour began anew with the second jump");
        clock.advance(Duration::from_millis(1));
        assert!(trust.is_trusted());
    }

    #[test]
    fn an_administrator_may_confirm_it_at_once() {
        let (clock, trust) = judge(&[]);
        clock.set(start().plus(DAY * 400));
        assert!(!trust.is_trusted());
        trust.confirm();
        assert!(trust.is_trusted());
        clock.set(start());
        assert!(!trust.is_trusted());
    }

    #[test]
    fn a_start_far_from_what_is_stored_is_doubted() {
        for (stored, trusted) in [
            (vec![], true),
            (vec![start()], true),
            (vec![start().minus(DAY)], true),
            (vec![start().minus(DAY * 2)], false),
            (vec![start().plus(DAY * 2)], false),
            (vec![start(), start().minus(DAY * 2)], false),
        ] {
            assert_eq!(judge(&stored).1.is_trusted(), trusted, "{stored:?}");
        }
        let (clock, trust) = judge(&[start().minus(DAY * 31)]);
        clock.set(start().minus(DAY * 31).plus(HOUR));
        assert!(trust.is_trusted(), "set right, close to what is stored");
    }

    #[test]
    fn corrections_of_less_than_a_day_add_up_to_no_doubt() {
        let (clock, trust) = judge(&[]);
        for _ in 0..10 {
            clock.set(clock.now().plus(DAY / 2));
            assert!(trust.is_trusted());
        }
    }
}
