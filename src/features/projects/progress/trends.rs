//! How a project went, in buckets of local days, weeks or months.

use chrono::{Datelike as _, NaiveDate};
use chrono_tz::Tz;
use serde::Serialize;

use super::calendar::{TrendPeriod, day_of, start_of};
use super::measure::Entities;
use super::series::{Series, difference};
use crate::base::clock::Timestamp;
use crate::base::error::{Error, Result};
use crate::features::projects::limits::TREND_BUCKETS_MAX;

/// An end of the time that a trend is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TrendLimit {
    Instant(Timestamp),
    /// A local date.
    Day(NaiveDate),
}

impl TrendLimit {
    /// Reads an instant (RFC 3339) or a date, `YYYY-MM-DD`, of the years that a [`Timestamp`] has.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        // A query has a space where somebody wrote the `+` of an offset as it is.
        let instant = || Timestamp::parse(&text.replace(' ', "+")).map(Self::Instant);
        let known = |day: &NaiveDate| (1970..=9999).contains(&day.year());
        let day = || (text.len() == 10).then(|| text.parse().ok())?.filter(known);
        day().map(Self::Day).or_else(instant)
    }

    /// The day that it is on, as the beginning of something.
    fn first_day(self, zone: Tz) -> NaiveDate {
        match self {
            Self::Instant(at) => day_of(at, zone),
            Self::Day(day) => day,
        }
    }

    /// The last day before it. `None`: there is none.
    fn last_day(self, zone: Tz) -> Option<NaiveDate> {
        match self {
            Self::Instant(at) => {
                at.as_millis().checked_sub(1).map(|before| day_of(Timestamp::from_millis(before), zone))
            }
            Self::Day(day) => day.pred_opt(),
        }
    }
}

/// What is asked for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TrendQuery {
    pub period: TrendPeriod,
    /// `None`: from the beginning of the project, as far as there may be buckets.
    pub since: Option<TrendLimit>,
    /// Exclusive; `None`: until now.
    pub until: Option<TrendLimit>,
    pub zone: Tz,
}

/// What came of one day, week or month.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct TrendBucket {
    pub from: Timestamp,
    /// Exclusive.
    pub to: Timestamp,
    /// At its end.
    pub word_count: u64,
    /// By how much the words grew within it.
    pub delta: i64,
    /// At its end.
    pub entities: Entities,
}

/// The buckets, whole ones, oldest first. Error: `Invalid` when there are too many, or when the time ends before it
/// begins.
pub(crate) fn trend(series: &Series, query: TrendQuery, now: Timestamp) -> Result<Vec<TrendBucket>> {
    let TrendQuery { period, since, until, zone } = query;
    // What is now is in the last bucket.
    let last = match until {
        Some(until) => until.last_day(zone),
        None => Some(day_of(now, zone)),
    };
    let Some(last) = last.map(|last| period.first_day(last)) else { return Ok(Vec::new()) };
    let first = match since {
        Some(since) => period.first_day(since.first_day(zone)),
        None => beginning(series, period, last, zone),
    };
    if since.is_some() && period.next(last).is_some_and(|end| end < first) {
        return Err(Error::invalid_field("until", "must not be before since"));
    }
    let mut buckets = Vec::new();
    let mut day = first;
    while day <= last {
        if buckets.len() == TREND_BUCKETS_MAX {
            let message = format!("must be later: a trend has at most {TREND_BUCKETS_MAX} buckets");
            return Err(Error::invalid_field("since", message).with("maxBuckets", TREND_BUCKETS_MAX));
        }
        let Some(next) = period.next(day) else { break };
        buckets.push(bucket(series, start_of(day, zone), start_of(next, zone)));
        day = next;
    }
    Ok(buckets)
}

/// The first bucket of a project whose newest is `last`.
fn beginning(series: &Series, period: TrendPeriod, last: NaiveDate, zone: Tz) -> NaiveDate {
    let began = series.first().map_or(last, |point| period.first_day(day_of(point.at, zone)));
    let days = match period {
        TrendPeriod::Daily => 1,
        TrendPeriod::Weekly => 7,
        TrendPeriod::Monthly => 28,
    };
    let room = chrono::Days::new(days * (TREND_BUCKETS_MAX as u64 - 1));
    last.checked_sub_days(room).map_or(began, |earliest| began.max(period.first_day(earliest)))
}

fn bucket(series: &Series, from: Timestamp, to: Timestamp) -> TrendBucket {
    let end = series.before(to);
    // What was there when the project began is no bucket's.
    let before = series.before(from).or(series.first()).filter(|_| end.is_some());
    let words = end.map_or(0, |end| end.words);
    TrendBucket {
        from,
        to,
        word_count: words,
        delta: before.map_or(0, |before| difference(before.words, words)),
        entities: end.map_or_else(Entities::default, |end| end.entities),
    }
}

#[cfg(test)]
#[path = "trends_tests.rs"]
mod tests;
