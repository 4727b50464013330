//! Outside services: what they report, and what is to be made of it. Pure.

use std::collections::BTreeSet;
use std::time::Duration;

use data_encoding::HEXLOWER;
use sha2::{Digest, Sha256};

use crate::base::clock::Timestamp;
use crate::base::error::{Error, Result};
use crate::features::reconciliation::limits::{
    OUTSIDE_NAME_LENGTH_MAX, REPORT_AHEAD_MAX, REPORT_COUNT_NAME_LENGTH_MAX, REPORT_COUNTS_MAX,
    REPORT_JOB_ID_LENGTH_MAX, REPORT_JOB_IDS_MAX,
};
use crate::features::reconciliation::verdict::{Compared, Details, Verdict, VerdictCounts, VerdictStatus};

/// Shortest and longest time between two reports, seconds.
pub(crate) const REPORT_EVERY_SECONDS: std::ops::RangeInclusive<u32> = 1..=86_400;
/// The service that stands for the log as a whole.
pub(crate) const LOG: &str = "log";
/// How the names of services begin that stand for a collection.
pub(crate) const DOCUMENTS: &str = "documents/";

/// How the names of services begin that stand for a table of a feature.
pub(crate) const TABLES: &str = "tables/";

/// Whether the server itself compares this service.
pub(crate) fn is_own(service: &str) -> bool {
    service == LOG || service.starts_with(DOCUMENTS) || service.starts_with(TABLES)
}

/// Checks the name of an outside service. Error: `Invalid`, naming the field.
pub(crate) fn check_name(name: &str) -> Result<()> {
    if is_own(name) || name == "documents" || name == "tables" {
        let rule = "documents/…, tables/… and log are the server's own; choose another name";
        return Err(Error::invalid_field("service", rule));
    }
    let first = name.bytes().next().is_some_and(|b| b.is_ascii_alphanumeric());
    let rest = name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.'));
    if first && rest && name.len() <= OUTSIDE_NAME_LENGTH_MAX {
        return Ok(());
    }
    let rule = format!(
        "a service is named by 1 to {OUTSIDE_NAME_LENGTH_MAX} characters: a letter or digit, then letters, digits, \
         '_', '-' or '.'"
    );
    Err(Error::invalid_field("service", rule))
}

/// A service that reports.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct ExternalService {
    pub name: String,
    /// How long it may be silent.
    pub report_every: Duration,
    /// What it is, for people.
    pub description: Option<String>,
    /// Since when it is known.
    pub created_at: Timestamp,
    /// When the above was last set.
    pub updated_at: Timestamp,
    /// What its newest report is about.
    pub reported_at: Option<Timestamp>,
    /// When that came in.
    pub received_at: Option<Timestamp>,
    pub verdict: Option<Verdict>,
}

impl ExternalService {
    /// When the next report is overdue.
    pub(crate) fn deadline(&self) -> Timestamp {
        let since = self.received_at.unwrap_or(self.created_at);
        let millis = i64::try_from(self.report_every.as_millis()).unwrap_or(i64::MAX);
        Timestamp::from_millis(since.as_millis().saturating_add(millis))
    }

    /// What is known of it at `now`. `None`: it has not reported yet, and still may in time.
    pub(crate) fn verdict_at(&self, now: Timestamp) -> Option<Verdict> {
        if now < self.deadline() {
            return self.verdict.clone();
        }
        // What it last said stays as what was last known.
        let known = self.verdict.clone();
        let checksum = || checksum(&VerdictCounts::new(), &BTreeSet::new());
        Some(Verdict {
            service: self.name.clone(),
            status: VerdictStatus::Stale,
            counts: known.as_ref().map(|verdict| verdict.counts.clone()).unwrap_or_default(),
            checksum: known.map_or_else(checksum, |verdict| verdict.checksum),
            latency_ms: 0.0,
            details: None,
            documents: Vec::new(),
            compared: Compared::Report,
            all_since: None,
        })
    }
}

/// What a service says of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct ServiceReport {
    /// What should have been done.
    pub expected: VerdictCounts,
    pub actual: VerdictCounts,
    /// The jobs that should have been done.
    pub expected_job_ids: BTreeSet<String>,
    pub actual_job_ids: BTreeSet<String>,
}

impl ServiceReport {
    /// Checks sizes and lengths. Error: `Invalid`, naming the field.
    pub(crate) fn check(&self) -> Result<()> {
        check_counts("expected", &self.expected)?;
        check_counts("actual", &self.actual)?;
        check_ids("expectedJobIds", &self.expected_job_ids)?;
        check_ids("actualJobIds", &self.actual_job_ids)
    }

    /// The jobs that should have been done and were not.
    pub(crate) fn missing(&self) -> Vec<String> {
        self.expected_job_ids.difference(&self.actual_job_ids).cloned().collect()
    }

    /// What is to be made of it: verified exactly when the counts are equal and no job is missing.
    pub(crate) fn compare_counts(&self, service: &str, latency_ms: f64) -> Verdict {
        let missing_job_ids = self.missing();
        let differs = self.expected != self.actual || !missing_job_ids.is_empty();
        let done = self.expected_job_ids.intersection(&self.actual_job_ids).cloned().collect();
        let details = || Details { expected: self.expected.clone(), actual: self.actual.clone(), missing_job_ids };
        Verdict {
            service: service.to_owned(),
            status: if differs { VerdictStatus::Discrepancy } else { VerdictStatus::Verified },
            counts: self.actual.clone(),
            checksum: checksum(&self.actual, &done),
            latency_ms,
            details: differs.then(details),
            documents: Vec::new(),
            compared: Compared::Report,
            all_since: None,
        }
    }
}

fn check_counts(field: &str, counts: &VerdictCounts) -> Result<()> {
    if counts.len() > REPORT_COUNTS_MAX {
        return Err(Error::invalid_field(field, format!("has at most {REPORT_COUNTS_MAX} counts")));
    }
    let fits = |name: &String| (1..=REPORT_COUNT_NAME_LENGTH_MAX).contains(&name.len());
    if counts.keys().all(fits) {
        return Ok(());
    }
    let rule = format!("the names of counts have 1 to {REPORT_COUNT_NAME_LENGTH_MAX} bytes");
    Err(Error::invalid_field(field, rule))
}

fn check_ids(field: &str, ids: &BTreeSet<String>) -> Result<()> {
    if ids.len() > REPORT_JOB_IDS_MAX {
        return Err(Error::invalid_field(field, format!("has at most {REPORT_JOB_IDS_MAX} job ids")));
    }
    if ids.iter().all(|id| (1..=REPORT_JOB_ID_LENGTH_MAX).contains(&id.len())) {
        return Ok(());
    }
    Err(Error::invalid_field(field, format!("a job id has 1 to {REPORT_JOB_ID_LENGTH_MAX} bytes")))
}

/// When a report is about: what it says, but not after now, so that one clock that is ahead does not outdate the
/// reports after it. Error: `Invalid` when it is too far ahead to be a clock's fault.
pub(crate) fn report_time(at: Option<Timestamp>, now: Timestamp) -> Result<Timestamp> {
    let at = at.unwrap_or(now);
    if at.minus(REPORT_AHEAD_MAX) > now {
        let rule = format!("is more than {} s ahead of the server's clock ({now})", REPORT_AHEAD_MAX.as_secs());
        return Err(Error::invalid_field("at", rule));
    }
    Ok(at.min(now))
}

/// SHA-256 over one side: names and numbers in order, then the ids of jobs. The other side has the same exactly when
/// nothing differs.
fn checksum(counts: &VerdictCounts, ids: &BTreeSet<String>) -> String {
    let mut hasher = Sha256::new();
    // Lengths go first, so that no two sides are written alike.
    let mut add = |text: &str| {
        hasher.update(text.len().to_le_bytes());
        hasher.update(text);
    };
    for (name, count) in counts {
        add(name);
        add(&count.to_string());
    }
    add("");
    ids.iter().for_each(|id| add(id));
    HEXLOWER.encode(&hasher.finalize())
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed unwrap fails the test")]
    use crate::property_tests::cases;
    use proptest::prelude::*;

    use super::*;
    use crate::features::reconciliation::verdict::VerdictCount;

    fn service(every: u64, received: Option<i64>) -> ExternalService {
        let report =
            ServiceReport { actual: VerdictCounts::from([("rows".into(), 3_u32.into())]), ..ServiceReport::default() };
        ExternalService {
            name: "billing".into(),
            report_every: Duration::from_secs(every),
            description: None,
            created_at: Timestamp::from_millis(1000),
            updated_at: Timestamp::from_millis(1000),
            reported_at: received.map(Timestamp::from_millis),
            received_at: received.map(Timestamp::from_millis),
            verdict: received.map(|_| report.compare_counts("billing", 1.0)),
        }
    }

    #[test]
    fn a_service_is_stale_from_its_deadline_on() {
        let at = Timestamp::from_millis;
        let silent = service(5, None);
        assert_eq!(silent.verdict_at(at(5_999)), None);
        let stale = silent.verdict_at(at(6_000)).unwrap();
        assert_eq!((stale.status, stale.counts.len(), stale.checksum.len()), (VerdictStatus::Stale, 0, 64));

        let reporting = service(5, Some(10_000));
        assert_eq!(reporting.verdict_at(at(14_999)), reporting.verdict);
        let stale = reporting.verdict_at(at(15_000)).unwrap();
        assert_eq!((stale.status, &stale.counts), (VerdictStatus::Stale, &reporting.verdict.unwrap().counts));
        assert_eq!(stale.details, None);
    }

    #[test]
    fn a_report_is_about_its_moment_but_never_about_the_future() {
        let at = Timestamp::from_millis;
        assert_eq!(report_time(None, at(5)).unwrap(), at(5));
        assert_eq!(report_time(Some(at(3)), at(5)).unwrap(), at(3));
        assert_eq!(report_time(Some(at(300_005)), at(5)).unwrap(), at(5));
        assert!(report_time(Some(at(300_006)), at(5)).is_err());
    }

    #[test]
    fn names_of_our_own_and_odd_ones_are_refused() {
        for good in ["billing", "Billing.jobs-2", "0", &"x".repeat(64)] {
            assert!(check_name(good).is_ok(), "{good}");
        }
        for bad in ["", "log", "documents", "documents/games", "a/b", ".a", "-a", "a b", "ä", &"x".repeat(65)] {
            assert!(check_name(bad).is_err(), "{bad}");
        }
    }

    fn counts() -> impl Strategy<Value = VerdictCounts> {
        let count = prop_oneof![(-3_i64..4).prop_map(VerdictCount::from), Just(VerdictCount::new(0.5).unwrap())];
        prop::collection::btree_map("[ab]{0,2}", count, 0..3)
    }

    fn ids() -> impl Strategy<Value = BTreeSet<String>> {
        prop::collection::btree_set("[ab]{1,2}", 0..4)
    }

    proptest! {
        #![proptest_config(cases(256))]

        #[test]
        fn verified_is_equal_counts_and_no_job_missing(
            expected in counts(), other in counts(), equal: bool, expected_job_ids in ids(), actual_job_ids in ids(),
        ) {
            let actual = if equal { expected.clone() } else { other };
            let report = ServiceReport { expected, actual, expected_job_ids, actual_job_ids };
            let verdict = report.compare_counts("billing", 0.0);
            let same = report.expected.len() == report.actual.len()
                && report.expected.iter().all(|(name, count)| report.actual.get(name) == Some(count));
            let complete = report.expected_job_ids.iter().all(|id| report.actual_job_ids.contains(id));
            prop_assert_eq!(verdict.status == VerdictStatus::Verified, same && complete);
            prop_assert_eq!(verdict.details.is_none(), same && complete);
            // The checksum says the same: that of the side that should be, with all jobs done, is that of what is.
            let (actual, actual_job_ids) = (report.expected.clone(), report.expected_job_ids.clone());
            let should = ServiceReport { actual, actual_job_ids, ..report.clone() };
            prop_assert_eq!(should.compare_counts("billing", 0.0).checksum == verdict.checksum, same && complete);
            if let Some(details) = verdict.details {
                prop_assert!(details.missing_job_ids.iter().all(|id| !report.actual_job_ids.contains(id)));
                prop_assert_eq!((details.expected, details.actual), (report.expected, report.actual));
            }
        }
    }
}
