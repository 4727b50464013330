//! What the engine tells about itself.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use parking_lot::Mutex;

use crate::base::clock::Timestamp;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum StorageHealth {
    /// Writes reach the disk.
    #[default]
    Well,
    /// They do not; changes wait in memory.
    Degraded {
        reason: String,
        /// Whether it is for lack of room.
        full: bool,
        /// Whether it is because a path does not name the file that is open, or that was cut or overwritten.
        lost: bool,
        since: Timestamp,
    },
}

/// What was done in the background and has failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BackgroundError {
    /// Since when it fails.
    pub at: Timestamp,
    /// Why it failed last.
    pub reason: String,
}

/// Losses that wait for a comparison to tell them: the oldest are kept, what follows has the same cause.
const UNTOLD_LOSSES_MAX: usize = 8;

/// A moment's look at the engine.
#[derive(Clone, Debug, Default)]
pub struct HealthReport {
    pub storage: StorageHealth,
    /// Events that wait for the disk.
    pub backlog_events: usize,
    /// Bytes of their bodies.
    pub backlog_bytes: usize,
    /// Whether no further change is taken until storage returns.
    pub past_bound: bool,
    /// When something was last stored.
    pub last_commit: Option<Timestamp>,
    /// Transactions since the start.
    pub commits: u64,
    pub failures: u64,
    /// Attempts to store what waits.
    pub retries: u64,
    /// Bytes of the WAL that are in use, as of the newest look.
    pub wal_bytes: u64,
    /// The same, when they are more than its bound.
    pub wal_past_bound: Option<u64>,
    /// What was missing in the file when it was opened, of what a server has stored in it.
    pub loss: Option<String>,
    /// Why it cannot be told which rows somebody else had written before the file was opened.
    pub unproven: Option<String>,
    /// The database file, when that is not the one in the data directory.
    pub rescued_to: Option<PathBuf>,
    /// What was found lost and was not told by reconciliation yet.
    untold_losses: Vec<String>,
    /// By the name of what is done, until that succeeds.
    pub background_errors: BTreeMap<&'static str, BackgroundError>,
    /// How long transactions took, those that failed excepted.
    pub commit_times: Histogram,
}

impl HealthReport {
    /// What whoever runs the server should know of its storage although changes reach the disk.
    pub fn warning(&self) -> Option<String> {
        let wal = self.wal_past_bound.map(|bytes| {
            let size = bytes >> 20;
            format!(
                "the WAL has {size} MiB, more than wal-bytes-max allows: another process has a read transaction on the \
                 database open"
            )
        });
        [self.loss.clone(), self.unproven.clone(), wal]
            .into_iter()
            .flatten()
            .reduce(|one, other| format!("{one}; {other}"))
    }

    /// Why storage fails, when a path does not name the file that is open or that was overwritten.
    pub fn lost_file(&self) -> Option<&str> {
        match &self.storage {
            StorageHealth::Degraded { reason, lost: true, .. } => Some(reason),
            _ => None,
        }
    }

    /// Notes something that reconciliation has to tell.
    pub fn add_loss(&mut self, what: &str) {
        let known = self.untold_losses.iter().any(|loss| loss == what);
        if !known && self.untold_losses.len() < UNTOLD_LOSSES_MAX {
            self.untold_losses.push(what.to_owned());
        }
    }

    /// What reconciliation has to tell and has not told.
    pub fn take_losses(&mut self) -> Vec<String> {
        std::mem::take(&mut self.untold_losses)
    }
}

/// Buckets of a [`Histogram`].
const BUCKETS: usize = 96;
const STEPS: u32 = 4;

/// How long something took, as counts in buckets that grow by a quarter of a doubling each: what it tells is at most
/// 19 % too much. Covers a microsecond to 16 s in less than a kilobyte, whatever was counted.
#[derive(Clone, Copy, Debug)]
pub struct Histogram {
    counts: [u64; BUCKETS],
    total: u64,
}

impl Default for Histogram {
    fn default() -> Self {
        Self { counts: [0; BUCKETS], total: 0 }
    }
}

impl Histogram {
    pub fn add(&mut self, took: Duration) {
        let micros = took.as_secs_f64() * 1e6;
        let index = (micros.max(1.0).log2() * f64::from(STEPS)).ceil();
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "not negative, and bounded")]
        let index = (index as usize).min(BUCKETS - 1);
        if let Some(count) = self.counts.get_mut(index) {
            *count += 1;
            self.total += 1;
        }
    }

    /// How many were counted.
    pub fn total(&self) -> u64 {
        self.total
    }

    /// What so many percent were not above; `None` when none was counted.
    pub fn percentile(&self, percent: u64) -> Option<Duration> {
        let rank = (self.total.saturating_mul(percent)).div_ceil(100).max(1);
        let mut seen = 0;
        let reached = |count: &u64| {
            seen += count;
            seen >= rank
        };
        let index = self.counts.iter().position(reached)?;
        let index = u32::try_from(index).unwrap_or(u32::MAX);
        Some(Duration::from_secs_f64((f64::from(index) / f64::from(STEPS)).exp2() / 1e6))
    }
}

/// The engine's report, written by it between batches, and by readers in the background; read by whoever asks.
#[derive(Debug, Default)]
pub struct Health(Mutex<HealthReport>);

impl Health {
    /// The newest report.
    pub fn report(&self) -> HealthReport {
        self.0.lock().clone()
    }

    /// Changes the report.
    pub fn update<T>(&self, change: impl FnOnce(&mut HealthReport) -> T) -> T {
        change(&mut self.0.lock())
    }

    /// Notes whether something that is done in the background, which has this name, succeeded at this time.
    pub fn note_background<T, E: std::fmt::Display>(&self, task: &'static str, at: Timestamp, outcome: &Result<T, E>) {
        self.update(|report| match outcome {
            Ok(_) => drop(report.background_errors.remove(task)),
            Err(error) => {
                let told = report.background_errors.entry(task);
                told.or_insert(BackgroundError { at, reason: String::new() }).reason = error.to_string();
            }
        });
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed unwrap fails the test")]
    use super::*;

    #[test]
    fn what_fails_in_the_background_is_told_with_the_time_of_its_first_failure() {
        let health = Health::default();
        let note = |millis, outcome: Result<(), &str>| {
            health.note_background("scrub", Timestamp::from_millis(millis), &outcome);
            let told = health.report().background_errors;
            told.get("scrub").map(|error| (error.at.as_millis(), error.reason.clone()))
        };
        assert_eq!(note(1, Err("one")), Some((1, "one".to_owned())));
        assert_eq!(note(2, Err("other")), Some((1, "other".to_owned())));
        assert_eq!(note(3, Ok(())), None);
        assert_eq!(note(4, Err("one")), Some((4, "one".to_owned())));
    }

    #[test]
    fn percentiles_are_near_and_never_below() {
        let mut times = Histogram::default();
        assert_eq!(times.percentile(50), None);
        (1..=1000).for_each(|micros| times.add(Duration::from_micros(micros)));
        for (percent, exact) in [(0, 1.0), (1, 10.0), (50, 500.0), (99, 990.0), (100, 1000.0)] {
            let told = times.percentile(percent).unwrap().as_secs_f64() * 1e6;
            assert!(told >= exact - 0.001 && told <= exact * 1.2, "{percent}: {told} for {exact}");
        }
        times.add(Duration::from_secs(3600));
        times.add(Duration::ZERO);
        assert_eq!(times.total(), 1002);
        assert!(times.percentile(100).unwrap() > Duration::from_secs(10));
    }
}
