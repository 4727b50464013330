//! How long periods are, and which one runs.

use crate::property_tests::cases;
use proptest::prelude::*;

use super::super::rules::{
    CountedKind, EffectivePlan, Limits, Period, PeriodLength, Subscription, SubscriptionStatus, UsageCounts,
    UsageState, reset_after,
};
use crate::base::clock::Timestamp;
use crate::base::error::Kind;
use crate::base::ids::UserId;

pub(super) fn at(text: &str) -> Timestamp {
    let text = if text.contains('T') { text.to_owned() } else { format!("{text}T00:00:00Z") };
    Timestamp::parse(&text).unwrap()
}

pub(super) fn period(start: &str, end: &str) -> Period {
    Period { start: at(start), end: at(end) }
}

#[test]
fn a_period_of_whole_calendar_months_is_one_and_any_other_is_just_so_long() {
    let months = |count, day| PeriodLength::Months { count, day };
    let days = |days: i64| PeriodLength::Millis(days * 24 * 3600 * 1000);
    for (start, end, expected) in [
        ("2026-01-01", "2026-02-01", months(1, 1)),
        ("2026-01-15T10:30:00Z", "2026-02-15T10:30:00Z", months(1, 15)),
        ("2026-01-31", "2026-02-28", months(1, 31)),
        ("2026-02-28", "2026-03-31", months(1, 31)),
        ("2026-01-30", "2026-02-28", months(1, 30)),
        ("2028-01-31", "2028-02-29", months(1, 31)),
        ("2028-01-30", "2028-02-29", months(1, 30)),
        ("2026-02-28", "2026-03-28", months(1, 28)),
        ("2026-04-30", "2026-05-31", months(1, 31)),
        ("2026-04-30", "2026-05-30", months(1, 30)),
        ("2026-12-31", "2027-01-31", months(1, 31)),
        ("2026-11-30", "2027-02-28", months(3, 30)),
        ("2026-01-01", "2027-01-01", months(12, 1)),
        ("2028-02-29", "2029-02-28", months(12, 29)),
        // Not the same day: thirty days, or a week, or whatever.
        ("2026-01-31", "2026-03-01", days(29)),
        ("2026-01-01", "2026-01-31", days(30)),
        ("2028-01-31", "2028-02-28", days(28)),
        ("2026-01-01", "2026-01-08", days(7)),
        ("2026-01-01", "2026-01-01T00:00:00.001Z", PeriodLength::Millis(1)),
        ("2026-01-01", "2026-02-01T00:00:00.001Z", PeriodLength::Millis(31 * 24 * 3600 * 1000 + 1)),
    ] {
        assert_eq!(period(start, end).length(), expected, "{start} {end}");
    }
}

#[test]
fn the_next_period_is_the_one_that_runs_however_late_it_is_looked_for() {
    for (name, start, end, now, next_start, next_end) in [
        ("a month", "2026-01-15", "2026-02-15", "2026-02-15", "2026-02-15", "2026-03-15"),
        ("its last moment", "2026-01-15", "2026-02-15", "2026-02-14T23:59:59.999Z", "2026-01-15", "2026-02-15"),
        ("31 to 28", "2025-12-31", "2026-01-31", "2026-01-31T00:05:00Z", "2026-01-31", "2026-02-28"),
        ("28 back to 31", "2026-01-31", "2026-02-28", "2026-02-28T00:05:00Z", "2026-02-28", "2026-03-31"),
        ("31 to 30", "2026-02-28", "2026-03-31", "2026-03-31T00:05:00Z", "2026-03-31", "2026-04-30"),
        ("a leap year", "2027-12-31", "2028-01-31", "2028-01-31T00:05:00Z", "2028-01-31", "2028-02-29"),
        ("30 over a leap day", "2028-01-30", "2028-02-29", "2028-02-29T00:05:00Z", "2028-02-29", "2028-03-30"),
        ("2100 has no leap day", "2099-12-31", "2100-01-31", "2100-01-31T00:05:00Z", "2100-01-31", "2100-02-28"),
        ("missed months", "2026-01-31", "2026-02-28", "2026-07-04T12:00:00Z", "2026-06-30", "2026-07-31"),
        ("missed years", "2020-01-31", "2020-02-29", "2026-02-28T00:00:00Z", "2026-02-28", "2026-03-31"),
        ("just not", "2020-01-31", "2020-02-29", "2026-02-27T23:59:59.999Z", "2026-01-31", "2026-02-28"),
        ("quarters", "2026-01-31", "2026-04-30", "2026-12-24T00:00:00Z", "2026-10-31", "2027-01-31"),
        ("years", "2027-03-01", "2028-03-01", "2031-02-28T00:00:00Z", "2030-03-01", "2031-03-01"),
        ("a leap day's year", "2028-02-29", "2029-02-28", "2032-03-01T00:00:00Z", "2032-02-29", "2033-02-28"),
        ("weeks", "2026-01-01", "2026-01-08", "2026-01-29T00:00:00Z", "2026-01-29", "2026-02-05"),
        ("thirty days", "2026-01-01", "2026-01-31", "2026-03-02T00:00:00Z", "2026-03-02", "2026-04-01"),
        (
            "a time of day",
            "2026-01-31T23:30:00Z",
            "2026-02-28T23:30:00Z",
            "2026-03-01T00:05:00Z",
            "2026-02-28T23:30:00Z",
            "2026-03-31T23:30:00Z",
        ),
    ] {
        let ended = period(start, end);
        let next = ended.running_at(ended.length(), at(now));
        assert_eq!(next, Some(period(next_start, next_end)), "{name}");
    }
    // As short as can be, and years late: found at once.
    let shortest = period("2026-01-01", "2026-01-01T00:00:00.001Z");
    let found = shortest.running_at(shortest.length(), at("2036-01-01")).unwrap();
    assert_eq!((found.start, found.end.as_millis() - found.start.as_millis()), (at("2036-01-01"), 1));
    let last = period("9999-11-30", "9999-12-31");
    assert_eq!(last.running_at(last.length(), at("9999-12-31")), None, "there is no year 10000");
}

#[test]
fn whatever_is_no_period_is_refused_by_name() {
    for (start, end, field) in
        [("2026-01-01", "2026-01-01", "currentPeriodEnd"), ("2026-01-02", "2026-01-01", "currentPeriodEnd")]
    {
        let refused = period(start, end).check().unwrap_err();
        assert_eq!((refused.kind(), &refused.details()["errors"][0]["field"]), (Kind::Invalid, &field.into()));
    }
    period("1970-01-01", "9999-12-31").check().unwrap();
    for outside in ["1969-12-31T00:00:00Z", "9999-12-31T23:59:59-01:00"] {
        assert_eq!(Timestamp::parse(outside), None, "{outside}");
    }
}

#[test]
fn counters_are_set_back_at_the_first_slot_that_is_not_before_the_end() {
    assert_eq!(reset_after(at("2026-02-28")), at("2026-02-28T00:05:00Z"));
    assert_eq!(reset_after(at("2026-02-28T00:05:00Z")), at("2026-02-28T00:05:00Z"));
    assert_eq!(reset_after(at("2026-02-28T00:05:00.001Z")), at("2026-03-01T00:05:00Z"));
    assert_eq!(Period::month_of(at("2028-02-29T12:00:00Z")), Some(period("2028-02-01", "2028-03-01")));
}

fn subscription(status: SubscriptionStatus) -> UsageState {
    let subscription = Subscription {
        user: UserId::new("alice").unwrap(),
        plan: "gold".to_owned(),
        status,
        period: period("2026-01-31", "2026-02-28"),
        length: period("2026-01-31", "2026-02-28").length(),
        limits: Limits { parties: Some(2), encounters: None, creatures: Some(0) },
    };
    UsageState { subscription: Some(subscription), counts: UsageCounts { parties: 1, ..UsageCounts::default() } }
}

#[test]
fn what_is_in_force_is_the_subscription_unless_it_is_cancelled() {
    let defaults = Limits { parties: Some(7), ..Limits::default() };
    let (active, paused) = (subscription(SubscriptionStatus::Active), subscription(SubscriptionStatus::Paused));
    let now = at("2026-02-10");
    let plan = active.plan(defaults, now);
    assert_eq!((plan.name, plan.reset_at), ("gold", Some(at("2026-02-28T00:05:00Z"))));
    plan.check(CountedKind::Party, 1).unwrap();
    plan.check(CountedKind::Encounter, u64::MAX).unwrap();
    let refused = plan.check(CountedKind::Party, 2).unwrap_err();
    assert_eq!((refused.kind(), refused.slug()), (Kind::Forbidden, Some("quota-exceeded")));
    assert_eq!((&refused.details()["used"], &refused.details()["limit"]), (&2.into(), &2.into()));
    assert_eq!(refused.details()["counter"], "partiesCreated");
    assert_eq!(refused.details()["resetAt"], "2026-02-28T00:05:00.000Z");
    plan.check(CountedKind::Creature, 0).unwrap_err();

    let plan = paused.plan(defaults, now);
    assert_eq!((plan.name, plan.limits.parties, plan.reset_at), ("gold", Some(2), None), "it stands still");
    assert!(plan.check(CountedKind::Party, 2).unwrap_err().details()["resetAt"].is_null());
    for standing in
        [subscription(SubscriptionStatus::Cancelled), UsageState { subscription: None, counts: UsageCounts::default() }]
    {
        let month = period("2026-02-01", "2026-03-01");
        let reset_at = Some(at("2026-03-01T00:05:00Z"));
        let expected = EffectivePlan { name: "default", limits: defaults, period: Some(month), reset_at };
        assert_eq!(standing.plan(defaults, now), expected);
    }
}

prop_compose! {
    /// Periods of all sorts, month ends above all.
    fn any_period()(
        year in 2024_i32..2032,
        month in 1_u32..=12,
        day in prop_oneof![1_u32..=28, Just(28), Just(29), Just(30), Just(31)],
        months in prop_oneof![Just(0_u32), Just(1), Just(1), Just(3), Just(12)],
        extra in 1_i64..4_000_000_000,
    ) -> Period {
        let first = chrono::NaiveDate::from_ymd_opt(year, month, 1).unwrap();
        let on = |months: u32| {
            let first = first + chrono::Months::new(months);
            let date = (1..=day).rev().find_map(|day| chrono::Datelike::with_day(&first, day)).unwrap();
            Timestamp::from_millis(date.and_hms_opt(0, 0, 0).unwrap().and_utc().timestamp_millis())
        };
        let start = on(0);
        let end = if months > 0 { on(months) } else { Timestamp::from_millis(start.as_millis() + extra) };
        Period { start, end }
    }
}

proptest! {
    #![proptest_config(cases(300))]

    /// Looked at each day or after a long time, it comes to the same: the periods follow each other without a gap, and
    /// the one that runs holds the present.
    #[test]
    fn each_period_follows_the_one_before(first in any_period(), days in 1_i64..900) {
        let length = first.length();
        let now = |day: i64| Timestamp::from_millis(first.end.as_millis() + day * 24 * 3600 * 1000 - 1);
        let mut daily = first;
        for day in 0..=days {
            let next = daily.running_at(length, now(day)).unwrap();
            prop_assert!(now(day) < next.end && (next.start <= now(day) || next == first));
            prop_assert!(next == daily || next.start >= daily.end);
            daily = next;
        }
        prop_assert_eq!(first.running_at(length, now(days)), Some(daily));
    }
}
