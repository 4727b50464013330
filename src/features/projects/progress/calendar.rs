//! Local days, weeks and months, as instants.

use chrono::{DateTime, Datelike as _, Days, Months, NaiveDate, NaiveTime, TimeZone as _, Utc};
use chrono_tz::{GapInfo, Tz};
use serde::Deserialize;

use crate::base::clock::Timestamp;

/// How long a bucket of a trend is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum TrendPeriod {
    Daily,
    /// From Monday on.
    Weekly,
    Monthly,
}

impl TrendPeriod {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Daily => "daily",
            Self::Weekly => "weekly",
            Self::Monthly => "monthly",
        }
    }

    /// The first day of the period that has this day.
    pub(crate) fn first_day(self, day: NaiveDate) -> NaiveDate {
        let first = match self {
            Self::Daily => Some(day),
            Self::Weekly => day.checked_sub_days(Days::new(u64::from(day.weekday().num_days_from_monday()))),
            Self::Monthly => day.with_day(1),
        };
        first.unwrap_or(day)
    }

    /// The first day of the next period. `None`: beyond all dates.
    pub(crate) fn next(self, first: NaiveDate) -> Option<NaiveDate> {
        match self {
            Self::Daily => first.checked_add_days(Days::new(1)),
            Self::Weekly => first.checked_add_days(Days::new(7)),
            Self::Monthly => first.checked_add_months(Months::new(1)),
        }
    }
}

/// The local date of an instant.
pub(crate) fn day_of(at: Timestamp, zone: Tz) -> NaiveDate {
    DateTime::<Utc>::from_timestamp_millis(at.as_millis()).unwrap_or_default().with_timezone(&zone).date_naive()
}

/// The first instant of a local day: its midnight, the first of two, or where the clock is set over it the moment at
/// which it is.
pub(crate) fn start_of(day: NaiveDate, zone: Tz) -> Timestamp {
    let midnight = day.and_time(NaiveTime::MIN);
    let start = zone.from_local_datetime(&midnight).earliest().or_else(|| GapInfo::new(&midnight, &zone)?.end);
    Timestamp::from_millis(
        start.map_or_else(|| midnight.and_utc().timestamp_millis(), |start| start.timestamp_millis()),
    )
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed unwrap fails the test")]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::property_tests::cases;

    fn zone(name: &str) -> Tz {
        name.parse().unwrap()
    }

    fn start(day: &str, name: &str) -> String {
        start_of(day.parse().unwrap(), zone(name)).to_string()
    }

    #[test]
    fn days_begin_where_the_clock_of_the_zone_says() {
        let cases = [
            ("2026-03-29", "Europe/Berlin", "2026-03-28T23:00:00.000Z"),
            ("2026-03-30", "Europe/Berlin", "2026-03-29T22:00:00.000Z"),
            ("2026-11-01", "America/New_York", "2026-11-01T04:00:00.000Z"),
            ("2026-11-02", "America/New_York", "2026-11-02T05:00:00.000Z"),
            // Midnight is left out.
            ("2018-11-04", "America/Sao_Paulo", "2018-11-04T03:00:00.000Z"),
            // Midnight comes twice.
            ("2026-11-01", "America/Havana", "2026-11-01T04:00:00.000Z"),
            // The whole day is left out.
            ("2011-12-30", "Pacific/Apia", "2011-12-30T10:00:00.000Z"),
            ("2011-12-31", "Pacific/Apia", "2011-12-30T10:00:00.000Z"),
        ];
        for (day, zone, expect) in cases {
            assert_eq!(start(day, zone), expect, "{day} {zone}");
        }
    }

    #[test]
    fn weeks_begin_on_monday_and_months_on_the_first() {
        let day = |text: &str| text.parse::<NaiveDate>().unwrap();
        let cases = [
            (TrendPeriod::Weekly, "2027-01-01", "2026-12-28", "2027-01-04"),
            (TrendPeriod::Weekly, "2026-12-28", "2026-12-28", "2027-01-04"),
            (TrendPeriod::Monthly, "2024-02-29", "2024-02-01", "2024-03-01"),
            (TrendPeriod::Monthly, "2026-12-31", "2026-12-01", "2027-01-01"),
            (TrendPeriod::Daily, "2024-02-28", "2024-02-28", "2024-02-29"),
        ];
        for (period, given, first, next) in cases {
            assert_eq!(period.first_day(day(given)), day(first), "{given}");
            assert_eq!(period.next(day(first)), Some(day(next)), "{given}");
        }
    }

    proptest! {
        #![proptest_config(cases(256))]

        #[test]
        fn an_instant_is_in_the_day_that_it_is_dated(
            millis in 946_684_800_000_i64..2_051_222_400_000,
            name in prop::sample::select(vec!["UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe",
                                              "Asia/Kathmandu", "America/Sao_Paulo", "Africa/Cairo"]),
        ) {
            let (at, zone) = (Timestamp::from_millis(millis), zone(name));
            let day = day_of(at, zone);
            prop_assert!(start_of(day, zone) <= at);
            prop_assert!(at < start_of(TrendPeriod::Daily.next(day).unwrap(), zone));
        }
    }
}
