//! Statistics of a project.

use std::collections::BTreeMap;

use chrono::{Days, NaiveDate};
use chrono_tz::Tz;
use serde::Serialize;

use super::calendar::{TrendPeriod, day_of};
use super::measure::{Entities, write_whole};
use super::series::Series;
use crate::base::clock::Timestamp;

/// Active days that the finish is projected from.
const PROJECTED_FROM_DAYS: usize = 14;

/// What statistics are made of.
#[derive(Clone, Debug)]
pub(crate) struct StatisticsInput {
    pub series: Series,
    /// The words, and the documents, now.
    pub words: u64,
    pub entities: Entities,
    pub chapter_words: Vec<u64>,
    pub goal_words: Option<u64>,
    /// The time in each phase that the project has, was in or is in.
    pub phase_seconds: BTreeMap<String, u64>,
}

/// See the members.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Statistics {
    pub total: u64,
    pub today: i64,
    pub this_week: i64,
    #[serde(serialize_with = "write_whole")]
    pub average_per_active_day: f64,
    pub best_day: Option<BestDay>,
    pub streak: Streak,
    pub entities: Entities,
    pub words_per_chapter: Option<WordsPerChapter>,
    pub phase_seconds: BTreeMap<String, u64>,
    pub projected_finish: Option<NaiveDate>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct BestDay {
    pub date: NaiveDate,
    pub words: i64,
}

/// Active days in a row.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Streak {
    pub current: u64,
    pub longest: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(crate) struct WordsPerChapter {
    pub least: u64,
    #[serde(serialize_with = "write_whole")]
    pub median: f64,
    pub most: u64,
}

impl Statistics {
    pub(crate) fn new(input: StatisticsInput, now: Timestamp, zone: Tz) -> Self {
        let StatisticsInput { series, words, entities, chapter_words, goal_words, phase_seconds } = input;
        let (today, active) = (day_of(now, zone), series.active_days(zone));
        let monday = TrendPeriod::Weekly.first_day(today);
        // The first of several that are as good.
        let best = active.iter().filter(|(_, delta)| **delta > 0).rev().max_by_key(|(_, delta)| **delta);
        Self {
            total: words,
            today: active.get(&today).copied().unwrap_or(0),
            this_week: active.range(monday..=today).map(|(_, delta)| delta).sum(),
            average_per_active_day: average(active.values()),
            best_day: best.map(|(date, words)| BestDay { date: *date, words: *words }),
            streak: streak(&active, today),
            entities,
            words_per_chapter: words_per_chapter(chapter_words),
            phase_seconds,
            projected_finish: goal_words.and_then(|goal| projected_finish(&active, words, goal, today)),
        }
    }
}

/// 0 of nothing.
fn average<'a>(deltas: impl ExactSizeIterator<Item = &'a i64>) -> f64 {
    let count = deltas.len();
    if count == 0 { 0.0 } else { deltas.sum::<i64>() as f64 / count as f64 }
}

/// The current one counts until the end of the day after its last.
fn streak(active: &BTreeMap<NaiveDate, i64>, today: NaiveDate) -> Streak {
    let (mut longest, mut run, mut last) = (0, 0, None::<NaiveDate>);
    for day in active.keys() {
        run = if last.and_then(|last| last.succ_opt()) == Some(*day) { run + 1 } else { 1 };
        (longest, last) = (longest.max(run), Some(*day));
    }
    let goes_on = last.is_some_and(|last| last.succ_opt().is_some_and(|next| today <= next));
    Streak { current: if goes_on { run } else { 0 }, longest }
}

fn words_per_chapter(mut words: Vec<u64>) -> Option<WordsPerChapter> {
    words.sort_unstable();
    let (least, most) = (*words.first()?, *words.last()?);
    let middle = words.len() / 2;
    let (low, high) = (words.get((words.len() - 1) / 2)?, words.get(middle)?);
    Some(WordsPerChapter { least, median: (low + high) as f64 / 2.0, most })
}

/// The day on which the goal is reached when each day brings what the last active ones brought on average. `None`: it
/// is reached already, or not approached.
fn projected_finish(active: &BTreeMap<NaiveDate, i64>, words: u64, goal: u64, today: NaiveDate) -> Option<NaiveDate> {
    let missing = i64::try_from(goal.checked_sub(words)?).ok().filter(|missing| *missing > 0)?;
    let last: Vec<i64> = active.values().rev().take(PROJECTED_FROM_DAYS).copied().collect();
    let (sum, count) = (last.iter().sum::<i64>(), last.len() as i64);
    if sum <= 0 {
        return None;
    }
    let days = missing.saturating_mul(count).saturating_add(sum - 1) / sum;
    let finish = today.checked_add_days(Days::new(u64::try_from(days).ok()?))?;
    // Of years with five digits there is no agreed form.
    (finish <= day_of(Timestamp::MAX, Tz::UTC)).then_some(finish)
}

#[cfg(test)]
#[path = "statistics_tests.rs"]
mod tests;
