#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a panic fails the test")]

use proptest::prelude::*;

use super::super::series::SeriesPoint;
use super::*;
use crate::property_tests::cases;

fn at(text: &str) -> Timestamp {
    Timestamp::parse(text).unwrap()
}

fn series(points: &[(&str, u64)]) -> Series {
    let point =
        |(time, words): &(&str, u64)| SeriesPoint { at: at(time), words: *words, entities: Entities::default() };
    let (last, earlier) = points.split_last().unwrap();
    Series::new(earlier.iter().map(point).collect(), point(last))
}

/// `from to words delta` of each bucket, times without what is the same in all.
fn buckets(points: &[(&str, u64)], period: TrendPeriod, ends: (&str, &str), zone: &str) -> Vec<String> {
    let (since, until) = (TrendLimit::parse(ends.0), TrendLimit::parse(ends.1));
    assert!(since.is_some() && until.is_some());
    let query = TrendQuery { period, since, until, zone: zone.parse().unwrap() };
    let found = trend(&series(points), query, at("2027-06-01T00:00:00Z")).unwrap();
    let short = |at: Timestamp| at.to_string().replace(":00:00.000Z", "");
    found.iter().map(|one| format!("{} {} {} {}", short(one.from), short(one.to), one.word_count, one.delta)).collect()
}

#[test]
fn days_of_23_and_25_hours_are_whole_days_in_two_zones() {
    let points = [
        ("2026-03-01T00:00:00Z", 0),
        // The last hour of the 28th in Berlin, then the last before the clock is set, then the last of the 29th.
        ("2026-03-28T22:59:59Z", 10),
        ("2026-03-29T00:59:59Z", 30),
        ("2026-03-29T21:59:59Z", 60),
        ("2026-03-29T22:00:00Z", 100),
    ];
    let spring = buckets(&points, TrendPeriod::Daily, ("2026-03-28", "2026-03-31"), "Europe/Berlin");
    assert_eq!(
        spring,
        [
            "2026-03-27T23 2026-03-28T23 10 10",
            "2026-03-28T23 2026-03-29T22 60 50",
            "2026-03-29T22 2026-03-30T22 100 40"
        ]
    );
    let points = [
        ("2026-10-01T00:00:00Z", 0),
        ("2026-10-24T21:59:59Z", 1),
        ("2026-10-25T22:59:59Z", 3),
        ("2026-10-25T23:00:00Z", 7),
    ];
    let autumn = buckets(&points, TrendPeriod::Daily, ("2026-10-24", "2026-10-27"), "Europe/Berlin");
    assert_eq!(
        autumn,
        ["2026-10-23T22 2026-10-24T22 1 1", "2026-10-24T22 2026-10-25T23 3 2", "2026-10-25T23 2026-10-26T23 7 4"]
    );
    let points = [
        ("2026-03-01T00:00:00Z", 0),
        ("2026-03-08T04:59:59Z", 1),
        ("2026-03-09T03:59:59Z", 3),
        ("2026-03-09T04:00:00Z", 7),
    ];
    let spring = buckets(&points, TrendPeriod::Daily, ("2026-03-07", "2026-03-10"), "America/New_York");
    assert_eq!(
        spring,
        ["2026-03-07T05 2026-03-08T05 1 1", "2026-03-08T05 2026-03-09T04 3 2", "2026-03-09T04 2026-03-10T04 7 4"]
    );
    let points = [
        ("2026-10-01T00:00:00Z", 0),
        ("2026-11-01T03:59:59Z", 1),
        ("2026-11-02T04:59:59Z", 3),
        ("2026-11-02T05:00:00Z", 7),
    ];
    let autumn = buckets(&points, TrendPeriod::Daily, ("2026-10-31", "2026-11-03"), "America/New_York");
    assert_eq!(
        autumn,
        ["2026-10-31T04 2026-11-01T04 1 1", "2026-11-01T04 2026-11-02T05 3 2", "2026-11-02T05 2026-11-03T05 7 4"]
    );
}

#[test]
fn a_leap_day_is_a_day_of_its_month() {
    let points = [("2024-02-01T00:00:00Z", 0), ("2024-02-29T12:00:00Z", 5), ("2024-03-01T12:00:00Z", 6)];
    assert_eq!(
        buckets(&points, TrendPeriod::Daily, ("2024-02-28", "2024-03-02"), "UTC"),
        ["2024-02-28T00 2024-02-29T00 0 0", "2024-02-29T00 2024-03-01T00 5 5", "2024-03-01T00 2024-03-02T00 6 1"]
    );
    assert_eq!(
        buckets(&points, TrendPeriod::Monthly, ("2024-02-29", "2024-03-01"), "UTC"),
        ["2024-02-01T00 2024-03-01T00 5 5"]
    );
}

#[test]
fn weeks_and_months_go_over_the_end_of_the_year() {
    let points = [("2026-12-01T00:00:00Z", 0), ("2026-12-31T23:59:59Z", 5), ("2027-01-01T00:00:00Z", 6)];
    assert_eq!(
        buckets(&points, TrendPeriod::Weekly, ("2026-12-31", "2027-01-05"), "UTC"),
        ["2026-12-28T00 2027-01-04T00 6 6", "2027-01-04T00 2027-01-11T00 6 0"]
    );
    assert_eq!(
        buckets(&points, TrendPeriod::Monthly, ("2026-12-31", "2027-01-02"), "UTC"),
        ["2026-12-01T00 2027-01-01T00 5 5", "2027-01-01T00 2027-02-01T00 6 1"]
    );
    assert_eq!(
        buckets(&points, TrendPeriod::Daily, ("2026-12-31", "2027-01-02"), "Asia/Tokyo"),
        ["2026-12-30T15 2026-12-31T15 0 0", "2026-12-31T15 2027-01-01T15 6 6"]
    );
}

#[test]
fn ends_are_widened_to_whole_buckets_and_the_last_is_exclusive() {
    let points = [("2026-05-01T00:00:00Z", 0)];
    let count = |since: &str, until: &str| buckets(&points, TrendPeriod::Daily, (since, until), "UTC").len();
    assert_eq!(count("2026-05-01", "2026-05-02"), 1);
    assert_eq!(count("2026-05-01T13:00:00Z", "2026-05-02T00:00:00Z"), 1);
    assert_eq!(count("2026-05-01T13:00:00Z", "2026-05-02T00:00:00.001Z"), 2);
    assert_eq!(count("2026-05-01T02:00:00 02:00", "2026-05-02"), 1, "a space is a plus");
    assert_eq!(count("2026-05-01", "2026-05-01"), 0);
}

#[test]
fn too_many_buckets_and_ends_the_wrong_way_round_are_refused() {
    let ask = |since: &str, until: &str| {
        let (since, until) = (TrendLimit::parse(since), TrendLimit::parse(until));
        let query = TrendQuery { period: TrendPeriod::Daily, since, until, zone: Tz::UTC };
        trend(&series(&[("2020-01-01T00:00:00Z", 0)]), query, at("2026-05-06T00:00:00Z")).map(|found| found.len())
    };
    assert_eq!(ask("2026-01-01", "2028-09-27").unwrap(), 1_000);
    for (since, until) in [("2026-01-01", "2028-09-28"), ("2026-01-03", "2026-01-01"), ("1970-01-01", "9999-12-31")] {
        assert!(ask(since, until).is_err(), "{since} {until}");
    }
    assert_eq!(ask("", "").unwrap(), 1_000, "left out, the beginning is as early as it may be");
}

proptest! {
    #![proptest_config(cases(256))]

    #[test]
    fn buckets_follow_each_other_and_add_up(
        steps in prop::collection::vec((1_i64..200 * 3_600_000, 0_u64..500), 1..50),
        period in prop::sample::select(vec![TrendPeriod::Daily, TrendPeriod::Weekly, TrendPeriod::Monthly]),
        zone in prop::sample::select(vec!["UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe"]),
    ) {
        let mut time = at("2026-01-15T00:00:00Z").as_millis();
        let points: Vec<SeriesPoint> = steps.iter().map(|(after, words)| {
            time += after;
            SeriesPoint { at: Timestamp::from_millis(time), words: *words, entities: Entities::default() }
        }).collect();
        let (first, last) = (points[0], *points.last().unwrap());
        let series = Series::new(points[..points.len() - 1].to_vec(), last);
        let query = TrendQuery { period, since: None, until: None, zone: zone.parse().unwrap() };
        let found = trend(&series, query, last.at).unwrap();
        prop_assert!(found.windows(2).all(|pair| pair[0].to == pair[1].from));
        prop_assert!(found[0].from <= first.at && last.at < found.last().unwrap().to);
        prop_assert_eq!(found.iter().map(|one| one.delta).sum::<i64>(), difference(first.words, last.words));
        for one in &found {
            let words = points.iter().rev().find(|point| point.at < one.to).map_or(0, |point| point.words);
            prop_assert_eq!(one.word_count, words);
        }
    }
}
