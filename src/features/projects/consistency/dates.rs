//! Dates as people write them: a full date, a year and month, or a year.

use serde_json::Value;

/// A span of days: a full date is one day, a year all of its days. Compared as the calendar has it, whatever calendar.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct DateSpan {
    first: (i32, u32, u32),
    last: (i32, u32, u32),
}

impl DateSpan {
    /// Reads `1862-05-04`, `1862-05`, `1862`, also with a `-` before it and as a number; `None`: anything else.
    pub(crate) fn of_value(value: &Value) -> Option<Self> {
        match value {
            Value::String(text) => Self::parse(text),
            Value::Number(year) => Self::parse(&year.as_i64()?.to_string()),
            _ => None,
        }
    }

    pub(crate) fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        let (sign, digits) = text.strip_prefix('-').map_or((1, text), |digits| (-1, digits));
        let mut parts = digits.split('-');
        let year = sign * i32::try_from(number(parts.next()?, 1..=6)?).ok()?;
        let Some(month) = parts.next() else { return Some(Self { first: (year, 1, 1), last: (year, 12, 31) }) };
        let month = number(month, 2..=2).filter(|month| (1..=12).contains(month))?;
        let Some(day) = parts.next() else { return Some(Self { first: (year, month, 1), last: (year, month, 31) }) };
        let day = number(day, 2..=2).filter(|day| (1..=days(year, month)).contains(day))?;
        parts.next().is_none().then_some(Self { first: (year, month, day), last: (year, month, day) })
    }

    /// Whether all of it comes before all of `other`.
    pub(crate) fn is_before(self, other: Self) -> bool {
        self.last < other.first
    }

    /// Whether the two have a day in common.
    pub(crate) fn overlaps(self, other: Self) -> bool {
        !self.is_before(other) && !other.is_before(self)
    }
}

fn number(text: &str, digits: std::ops::RangeInclusive<usize>) -> Option<u32> {
    let good = digits.contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit());
    if good { text.parse().ok() } else { None }
}

fn days(year: i32, month: u32) -> u32 {
    match month {
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed unwrap fails the test")]
    use serde_json::json;

    use super::*;

    fn before(a: &str, b: &str) -> bool {
        DateSpan::parse(a).unwrap().is_before(DateSpan::parse(b).unwrap())
    }

    #[test]
    fn dates_of_any_precision_are_compared_where_no_day_of_them_is_the_same() {
        for (a, b) in [("1862-05-04", "1862-05-05"), ("1862-05", "1862-06-01"), ("1861", "1862-01-01"), ("-44", "12")] {
            assert!(before(a, b) && !before(b, a), "{a} {b}");
        }
        for (a, b) in [("1862", "1862-12-31"), ("1862-05-04", "1862-05"), ("1862", "1862")] {
            assert!(!before(a, b) && !before(b, a), "{a} {b}");
        }
        assert_eq!(DateSpan::of_value(&json!(1862)), DateSpan::parse("1862"));
    }

    #[test]
    fn what_is_no_date_is_not_compared() {
        for text in ["", "-", "spring 1862", "1862-13", "1862-5", "1862-02-29", "1862-05-04-01", "1862-05-04T12:00:00Z"]
        {
            assert_eq!(DateSpan::parse(text), None, "{text}");
        }
        assert!(DateSpan::parse("2024-02-29").is_some());
        for value in [json!(null), json!(18.5), json!([1862]), json!({})] {
            assert_eq!(DateSpan::of_value(&value), None, "{value}");
        }
    }
}
