//! When the progress of a project is saved.
//!
//! A change is saved at once when the last snapshot is an interval old; else the interval's end saves what is then, at
//! the time of the last change. Which snapshots there are follows from the changes and their times alone, however late
//! the end of an interval is noticed.

use std::time::Duration;

use super::measure::Measures;
use crate::base::clock::Timestamp;
use crate::features::projects::limits::SNAPSHOT_INTERVAL_MS;

/// What is to be done about a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SaveDecision {
    /// It is as it was saved last: nothing waits any more.
    Nothing,
    /// Save it.
    Now,
    /// Save what is at [`due`].
    Later,
}

/// When what waits is saved. `saved_at`: the time that the last snapshot was saved, by the clock of the intervals.
pub(crate) fn due(saved_at: Timestamp) -> Timestamp {
    saved_at.plus(Duration::from_millis(SNAPSHOT_INTERVAL_MS))
}

/// What becomes of a progress that has just changed to `now`. `last`: the last snapshot, and when it was saved.
pub(crate) fn decide(last: Option<(&Measures, Timestamp)>, now: &Measures, at: Timestamp) -> SaveDecision {
    match last {
        Some((measures, _)) if measures == now => SaveDecision::Nothing,
        Some((_, saved_at)) if at < due(saved_at) => SaveDecision::Later,
        Some(_) | None => SaveDecision::Now,
    }
}
