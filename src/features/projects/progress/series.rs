//! How the words of a project went, moment by moment.

use std::collections::BTreeMap;

use chrono::NaiveDate;
use chrono_tz::Tz;

use super::calendar::day_of;
use super::measure::Entities;
use crate::base::clock::Timestamp;

/// What a snapshot says of a moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SeriesPoint {
    pub at: Timestamp,
    pub words: u64,
    pub entities: Entities,
}

/// The snapshots of a project and its present, oldest first.
#[derive(Clone, Debug, Default)]
pub(crate) struct Series(Vec<SeriesPoint>);

impl Series {
    /// `now`: the present, as it was changed last.
    pub(crate) fn new(mut points: Vec<SeriesPoint>, now: SeriesPoint) -> Self {
        if points.last() != Some(&now) {
            points.push(now);
        }
        Self(points)
    }

    pub(crate) fn first(&self) -> Option<&SeriesPoint> {
        self.0.first()
    }

    /// How it was just before a moment; `None`: there was nothing.
    pub(crate) fn before(&self, moment: Timestamp) -> Option<&SeriesPoint> {
        let end = self.0.partition_point(|point| point.at < moment);
        self.0.get(end.checked_sub(1)?)
    }

    /// By how much the words changed on each local day on which they did in the end. The words of the first point are
    /// no day's: they were there before.
    pub(crate) fn active_days(&self, zone: Tz) -> BTreeMap<NaiveDate, i64> {
        let mut deltas = BTreeMap::new();
        for pair in self.0.windows(2) {
            if let [before, after] = pair {
                *deltas.entry(day_of(after.at, zone)).or_insert(0) += difference(before.words, after.words);
            }
        }
        deltas.retain(|_, delta| *delta != 0);
        deltas
    }
}

/// By how much words grew, or shrank.
pub(super) fn difference(before: u64, after: u64) -> i64 {
    let words = |words: u64| i64::try_from(words).unwrap_or(i64::MAX);
    words(after) - words(before)
}
