//! What a comparison says: the shared words of those who compare, those who record and those who tell.

use std::collections::BTreeMap;
use std::fmt;
use std::hash::{Hash, Hasher};

use serde::de::{self, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::base::clock::Timestamp;

/// Largest count, either side of zero: the largest whole number up to which every reader of JSON agrees on each one
/// (2^53 - 1).
pub(crate) const COUNT_MAX: u64 = (1 << 53) - 1;

/// Whether what should be is what is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum VerdictStatus {
    /// Both sides are equal.
    Verified,
    /// It is not known now: changes wait for the disk, or the service has not reported in time.
    Stale,
    Discrepancy,
}

impl VerdictStatus {
    /// As it is written in JSON, in queries and in rows.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Verified => "verified",
            Self::Stale => "stale",
            Self::Discrepancy => "discrepancy",
        }
    }

    /// Reads what [`as_str`](Self::as_str) writes.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        [Self::Verified, Self::Stale, Self::Discrepancy].into_iter().find(|status| status.as_str() == text)
    }
}

impl fmt::Display for VerdictStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A number of things: finite, within [`COUNT_MAX`] either side of zero, and so equal exactly when it is written alike.
/// Written without a point where it is whole.
#[derive(Clone, Copy, Debug, Default, PartialEq, PartialOrd)]
pub(crate) struct VerdictCount(f64);

impl VerdictCount {
    /// `value`, if it is a count.
    #[expect(clippy::cast_precision_loss, reason = "exact: the largest count is the largest exact whole number")]
    pub(crate) fn new(value: f64) -> Option<Self> {
        // Adding zero makes -0 the same as 0. What is not a number fails the comparison.
        (value.abs() <= COUNT_MAX as f64).then_some(Self(value + 0.0))
    }

    /// As a whole number, if it is one.
    #[expect(clippy::cast_possible_truncation, reason = "whole, and within what is exact")]
    pub(crate) fn whole(self) -> Option<i64> {
        (self.0.fract() == 0.0).then_some(self.0 as i64)
    }
}

// No NaN, and one zero: equality is total, and equal counts have equal bits.
impl Eq for VerdictCount {}

impl Hash for VerdictCount {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.to_bits().hash(state);
    }
}

impl From<u64> for VerdictCount {
    /// `value`, or the largest count.
    #[expect(clippy::cast_precision_loss, reason = "exact up to the largest count")]
    fn from(value: u64) -> Self {
        Self(value.min(COUNT_MAX) as f64)
    }
}

impl From<i64> for VerdictCount {
    /// `value`, or the count nearest to it.
    fn from(value: i64) -> Self {
        let size = Self::from(value.unsigned_abs());
        if value < 0 { Self(0.0 - size.0) } else { size }
    }
}

impl From<usize> for VerdictCount {
    /// `value`, or the largest count.
    fn from(value: usize) -> Self {
        Self::from(u64::try_from(value).unwrap_or(u64::MAX))
    }
}

impl From<u32> for VerdictCount {
    fn from(value: u32) -> Self {
        Self(f64::from(value))
    }
}

impl fmt::Display for VerdictCount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Serialize for VerdictCount {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.whole() {
            Some(whole) => serializer.serialize_i64(whole),
            None => serializer.serialize_f64(self.0),
        }
    }
}

struct CountVisitor;

impl Visitor<'_> for CountVisitor {
    type Value = VerdictCount;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a number of at most 9007199254740991 either side of zero")
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<VerdictCount, E> {
        if value <= COUNT_MAX {
            Ok(value.into())
        } else {
            Err(E::invalid_value(de::Unexpected::Unsigned(value), &self))
        }
    }

    fn visit_i64<E: de::Error>(self, value: i64) -> Result<VerdictCount, E> {
        let fits = value.unsigned_abs() <= COUNT_MAX;
        if fits { Ok(value.into()) } else { Err(E::invalid_value(de::Unexpected::Signed(value), &self)) }
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<VerdictCount, E> {
        VerdictCount::new(value).ok_or_else(|| E::invalid_value(de::Unexpected::Float(value), &self))
    }
}

impl<'de> Deserialize<'de> for VerdictCount {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_f64(CountVisitor)
    }
}

pub(crate) type VerdictCounts = BTreeMap<String, VerdictCount>;

/// What differs in numbers, or what is not known to have arrived.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Details {
    pub expected: VerdictCounts,
    pub actual: VerdictCounts,
    /// The ids of what should be there and is not, or of changes that wait for the disk. Bounded by who makes it.
    pub missing_job_ids: Vec<String>,
}

/// One document that differs, or row of a table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Difference {
    /// Its name, `collection/id`; of a row its table and key.
    pub document: String,
    /// The first version that differs; of a row 0.
    pub version: u64,
    pub what: String,
}

/// What one comparison says.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Verdict {
    /// What was compared: `documents/<collection>`, `tables/<table>`, `log`, or the name of an outside service.
    pub service: String,
    /// Whether both sides are equal.
    pub status: VerdictStatus,
    /// What was counted: what is, by name.
    pub counts: VerdictCounts,
    /// SHA-256 over what was compared, 64 hex digits: equal verdicts have equal checksums.
    pub checksum: String,
    /// How long the comparison took, milliseconds.
    pub latency_ms: f64,
    /// What differs in numbers: there with a discrepancy, and where changes wait for the disk.
    pub details: Option<Details>,
    /// The documents that differ. Bounded by who makes it.
    pub documents: Vec<Difference>,
    /// What was looked at for it; see [`Compared`].
    #[serde(default = "report")]
    pub compared: Compared,
    /// Everything that is stored was read and compared after this time; `None`: not yet, or it is of an outside
    /// service.
    #[serde(default)]
    pub all_since: Option<Timestamp>,
}

/// What those are of that were stored before they said it: of outside services.
fn report() -> Compared {
    Compared::Report
}

/// What a verdict is about: the part of what is stored that was looked at to come to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum Compared {
    /// What changed since the comparison before, and where each document ends.
    Changes,
    /// Also each row by itself and against its neighbours: every hash, every checksum.
    Rows,
    /// Also each state against the events that make it, read from the file and not from a cache.
    States,
    /// Each row of a table against its keyed checksum.
    Macs,
    /// Also all of them against what memory has.
    MacsAndMemory,
    /// What an outside service says of itself.
    Report,
}

impl Compared {
    /// As it is told: one name for each.
    pub(crate) const fn names(self) -> &'static [&'static str] {
        match self {
            Self::Changes => &["changes"],
            Self::Rows => &["changes", "rows"],
            Self::States => &["changes", "rows", "states"],
            Self::Macs => &["macs"],
            Self::MacsAndMemory => &["macs", "memory"],
            Self::Report => &["report"],
        }
    }

    /// Its name in rows.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Changes => "changes",
            Self::Rows => "rows",
            Self::States => "states",
            Self::Macs => "macs",
            Self::MacsAndMemory => "macs-and-memory",
            Self::Report => "report",
        }
    }

    /// Reads what [`as_str`](Self::as_str) writes.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let all = [Self::Changes, Self::Rows, Self::States, Self::Macs, Self::MacsAndMemory, Self::Report];
        all.into_iter().find(|one| one.as_str() == text)
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed unwrap fails the test")]
    use super::*;

    #[test]
    fn a_count_is_written_as_it_was_read_and_nothing_that_readers_of_json_disagree_on_is_one() {
        for (text, written) in [
            ("0", "0"),
            ("-0", "0"),
            ("-0.0", "0"),
            ("3.0", "3"),
            ("2.5", "2.5"),
            ("-7", "-7"),
            ("1e3", "1000"),
            ("9007199254740991", "9007199254740991"),
            ("-9007199254740991", "-9007199254740991"),
        ] {
            let count: VerdictCount = serde_json::from_str(text).unwrap();
            assert_eq!(serde_json::to_string(&count).unwrap(), written, "{text}");
        }
        for text in ["9007199254740992", "-9007199254740992", "1e300", "\"3\"", "null", "true", "[]"] {
            assert!(serde_json::from_str::<VerdictCount>(text).is_err(), "{text}");
        }
        assert_eq!(VerdictCount::new(f64::NAN), None);
        assert_eq!(VerdictCount::new(f64::INFINITY), None);
        assert_eq!(VerdictCount::from(u64::MAX), VerdictCount::from(COUNT_MAX));
        assert_eq!(VerdictCount::from(i64::MIN).whole(), Some(-9_007_199_254_740_991));
    }

    #[test]
    fn a_status_is_read_as_it_is_written() {
        for status in [VerdictStatus::Verified, VerdictStatus::Stale, VerdictStatus::Discrepancy] {
            assert_eq!(VerdictStatus::parse(status.as_str()), Some(status));
            assert_eq!(serde_json::to_value(status).unwrap(), status.as_str());
        }
        assert_eq!(VerdictStatus::parse("Verified"), None);
    }
}
