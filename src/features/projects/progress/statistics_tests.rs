#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a panic fails the test")]

use chrono::{DateTime, Datelike as _};
use proptest::prelude::*;

use super::super::series::SeriesPoint;
use super::*;
use crate::property_tests::cases;

const DAY_MS: i64 = 86_400_000;
/// A Wednesday noon, UTC.
const NOW: &str = "2026-05-06T12:00:00.000Z";

fn at(text: &str) -> Timestamp {
    Timestamp::parse(text).unwrap()
}

fn day(text: &str) -> NaiveDate {
    text.parse().unwrap()
}

fn input(points: &[(&str, u64)], goal_words: Option<u64>) -> StatisticsInput {
    let point =
        |(time, words): &(&str, u64)| SeriesPoint { at: at(time), words: *words, entities: Entities::default() };
    let mut points: Vec<SeriesPoint> = points.iter().map(point).collect();
    let now = points.pop().unwrap();
    StatisticsInput {
        series: Series::new(points, now),
        words: now.words,
        entities: Entities::default(),
        chapter_words: Vec::new(),
        goal_words,
        phase_seconds: BTreeMap::new(),
    }
}

fn statistics(points: &[(&str, u64)], goal: Option<u64>) -> Statistics {
    Statistics::new(input(points, goal), at(NOW), Tz::UTC)
}

#[test]
fn words_count_for_the_day_on_which_they_came() {
    let points = [
        ("2026-05-03T08:00:00.000Z", 100),
        ("2026-05-03T23:00:00.000Z", 400),
        ("2026-05-04T01:00:00.000Z", 500),
        ("2026-05-05T01:00:00.000Z", 800),
        ("2026-05-05T02:00:00.000Z", 500),
        ("2026-05-06T02:00:00.000Z", 450),
    ];
    let found = statistics(&points, None);
    assert_eq!((found.total, found.today, found.this_week), (450, -50, 50));
    assert_eq!(found.best_day, Some(BestDay { date: day("2026-05-03"), words: 300 }));
    assert!((found.average_per_active_day - 350.0 / 3.0).abs() < 1e-9);
    assert_eq!(found.streak, Streak { current: 1, longest: 2 });
}

#[test]
fn the_current_streak_counts_until_the_end_of_the_day_after() {
    let of = |last: &str| {
        let began = format!("{last}T01:00:00.000Z");
        statistics(&[("2026-04-01T00:00:00.000Z", 0), (&began, 10)], None).streak
    };
    assert_eq!(of("2026-05-06"), Streak { current: 1, longest: 1 });
    assert_eq!(of("2026-05-05"), Streak { current: 1, longest: 1 });
    assert_eq!(of("2026-05-04"), Streak { current: 0, longest: 1 });
}

#[test]
fn the_finish_is_projected_from_progress_alone() {
    let began = ("2026-05-01T00:00:00.000Z", 0);
    let of = |last: u64, goal| statistics(&[began, ("2026-05-04T01:00:00.000Z", last)], Some(goal)).projected_finish;
    assert_eq!(of(100, 1_000), Some(day("2026-05-15")), "nine days of a hundred words");
    assert_eq!(of(100, 1_001), Some(day("2026-05-16")));
    assert_eq!(of(100, 100), None, "it is there");
    assert_eq!(of(0, 100), None, "nothing was written");
    assert_eq!(of(1, 1_000_000_000), None, "beyond all years");
    assert_eq!(statistics(&[began], None).projected_finish, None);
}

#[test]
fn only_the_last_fourteen_active_days_count_for_the_finish() {
    let days: Vec<String> = (1..=20).map(|day| format!("2026-04-{day:02}T12:00:00.000Z")).collect();
    // Six days of a thousand words, then thirteen of ten and one of 24: eleven a day.
    let words = (0..20).scan(0, |sum, n| {
        *sum += match n {
            0 => 0,
            1..=5 => 1_000,
            19 => 24,
            _ => 10,
        };
        Some(*sum)
    });
    let points: Vec<(&str, u64)> = days.iter().map(String::as_str).zip(words).collect();
    let total = points.last().unwrap().1;
    assert_eq!(statistics(&points, Some(total + 22)).projected_finish, Some(day("2026-05-08")));
    assert_eq!(statistics(&points, Some(total + 23)).projected_finish, Some(day("2026-05-09")));
}

#[test]
fn chapters_have_a_median() {
    let of = |words: &[u64]| words_per_chapter(words.to_vec());
    assert_eq!(of(&[]), None);
    assert_eq!(of(&[7]), Some(WordsPerChapter { least: 7, median: 7.0, most: 7 }));
    assert_eq!(of(&[9, 1, 4]), Some(WordsPerChapter { least: 1, median: 4.0, most: 9 }));
    assert_eq!(of(&[10, 1, 4, 5]), Some(WordsPerChapter { least: 1, median: 4.5, most: 10 }));
}

/// The same, by looking at every calendar day from the first point to today.
fn naive(points: &[SeriesPoint], now: Timestamp, goal: u64) -> Statistics {
    let date = |at: Timestamp| DateTime::from_timestamp_millis(at.as_millis()).unwrap().date_naive();
    let today = date(now);
    let words_at_end = |day: NaiveDate| {
        points.iter().filter(|point| date(point.at) <= day).map(|point| point.words as i64).next_back()
    };
    let first = points[0].words as i64;
    let mut deltas = Vec::new();
    let mut day = date(points[0].at);
    while day <= today {
        let before = day.pred_opt().and_then(words_at_end).unwrap_or(first);
        deltas.push((day, words_at_end(day).unwrap() - before));
        day = day.succ_opt().unwrap();
    }
    let active: Vec<(NaiveDate, i64)> = deltas.iter().copied().filter(|(_, delta)| *delta != 0).collect();
    let runs: Vec<usize> = deltas.split(|(_, delta)| *delta == 0).map(<[_]>::len).collect();
    let longest = runs.iter().copied().max().unwrap_or(0);
    let last_run = runs.iter().rev().copied().find(|run| *run > 0).unwrap_or(0);
    let idle = deltas.iter().rev().take_while(|(_, delta)| *delta == 0).count();
    let best = active.iter().filter(|(_, delta)| *delta > 0).fold(None, |best: Option<(NaiveDate, i64)>, one| {
        if best.is_none_or(|best| one.1 > best.1) { Some(*one) } else { best }
    });
    let total = points.last().unwrap().words;
    let recent: Vec<i64> = active.iter().rev().take(14).map(|(_, delta)| *delta).collect();
    let rate = recent.iter().sum::<i64>() as f64 / recent.len().max(1) as f64;
    let finish = (total < goal && rate > 0.0).then(|| {
        let mut day = today;
        let mut left = (goal - total) as f64;
        while left > 1e-6 {
            left -= rate;
            day = day.succ_opt().unwrap();
        }
        day
    });
    let monday = |day: NaiveDate| day.iso_week();
    Statistics {
        total,
        today: deltas.last().unwrap().1,
        this_week: deltas.iter().filter(|(day, _)| monday(*day) == monday(today)).map(|(_, delta)| delta).sum(),
        average_per_active_day: if active.is_empty() {
            0.0
        } else {
            active.iter().map(|(_, delta)| delta).sum::<i64>() as f64 / active.len() as f64
        },
        best_day: best.map(|(date, words)| BestDay { date, words }),
        streak: Streak { current: if idle <= 1 { last_run as u64 } else { 0 }, longest: longest as u64 },
        entities: Entities::default(),
        words_per_chapter: None,
        phase_seconds: BTreeMap::new(),
        projected_finish: finish,
    }
}

proptest! {
    #![proptest_config(cases(256))]

    #[test]
    fn statistics_equal_a_naive_recomputation(
        steps in prop::collection::vec((0..3 * DAY_MS / 2, 0_u64..60), 1..60),
        rest in 0..3 * DAY_MS,
        goal in 1_u64..200,
    ) {
        let mut time = at("2026-02-20T05:00:00.000Z").as_millis();
        let points: Vec<SeriesPoint> = steps.iter().map(|(after, words)| {
            time += after;
            SeriesPoint { at: Timestamp::from_millis(time), words: *words, entities: Entities::default() }
        }).collect();
        let now = Timestamp::from_millis(time + rest);
        let (last, earlier) = points.split_last().unwrap();
        let input = StatisticsInput {
            series: Series::new(earlier.to_vec(), *last),
            words: last.words,
            entities: Entities::default(),
            chapter_words: Vec::new(),
            goal_words: Some(goal),
            phase_seconds: BTreeMap::new(),
        };
        prop_assert_eq!(Statistics::new(input, now, Tz::UTC), naive(&points, now, goal));
    }
}
