//! What is recorded of a comparison, and how it is told.

use std::borrow::Cow;
use std::fmt;

use bytes::Bytes;
use serde::{Serialize, Serializer};

use super::external::is_own;
use super::verdict::{Details, Difference, Verdict, VerdictCounts, VerdictStatus};
use crate::base::clock::Timestamp;
use crate::base::entropy::Entropy;

/// What was done to come to a verdict.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum AuditAction {
    /// Both sides were compared, or it was looked whether a report is overdue.
    Compare,
    /// What is on disk was read and hashed again.
    Scrub,
    /// A difference was mended.
    Repair,
    /// An outside service reported.
    Report,
}

impl AuditAction {
    /// As it is written in rows and on the wire.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Compare => "compare",
            Self::Scrub => "scrub",
            Self::Repair => "repair",
            Self::Report => "report",
        }
    }

    /// Reads what [`as_str`](Self::as_str) writes.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        [Self::Compare, Self::Scrub, Self::Repair, Self::Report].into_iter().find(|action| action.as_str() == text)
    }
}

/// Names a start of the server: random, so that ids of a server whose file was put back are told from ours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ServerRun(String);

impl ServerRun {
    pub(crate) fn new(entropy: &dyn Entropy) -> Self {
        let mut bytes = [0; 4];
        entropy.fill(&mut bytes);
        Self(data_encoding::HEXLOWER.encode(&bytes))
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

/// Names an update for ever: `<seq>-<run>`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct EventId {
    /// Its place among all.
    pub seq: u64,
    pub run: ServerRun,
}

impl EventId {
    /// Reads what [`Display`](fmt::Display) writes.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (seq, run) = text.split_once('-')?;
        let digits = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
        let hex = |text: &str| text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
        let fits = digits(seq) && run.len() == 8 && hex(run);
        // What does not fit into the column was never given.
        let seq = seq.parse().ok().filter(|seq| i64::try_from(*seq).is_ok())?;
        fits.then(|| Self { seq, run: ServerRun(run.to_owned()) })
    }
}

impl fmt::Display for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.seq, self.run.0)
    }
}

/// How much of a verdict a reader is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DetailLevel {
    /// All of it: for administrators.
    Whole,
    /// Everything but which documents it is about, which the reader may have no right to know of.
    WithoutDocuments,
}

/// A row of the audit, which is also what the stream tells.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct AuditEntry {
    /// The place of the last comparison that it tells of.
    pub seq: u64,
    /// The id of the same.
    pub event_id: String,
    pub action: AuditAction,
    /// When the verdict was last found.
    pub at: Timestamp,
    /// When it was first found, alike and without another between.
    pub first_at: Timestamp,
    pub count: u64,
    pub verdict: Verdict,
}

impl AuditEntry {
    /// An entry of its own for a verdict.
    pub(crate) fn new(id: &EventId, action: AuditAction, at: Timestamp, verdict: Verdict) -> Self {
        Self { seq: id.seq, event_id: id.to_string(), action, at, first_at: at, count: 1, verdict }
    }

    /// Whether `verdict`, come to by `action`, is this one again, so that one row tells of both.
    pub(crate) fn is_repeat(&self, action: AuditAction, verdict: &Verdict) -> bool {
        let known = &self.verdict;
        let plain = |verdict: &Verdict| {
            verdict.status == VerdictStatus::Verified && verdict.details.is_none() && verdict.documents.is_empty()
        };
        self.action == action
            && plain(known)
            && plain(verdict)
            && known.counts == verdict.counts
            && known.checksum == verdict.checksum
    }

    /// What of it is told with this detail. Of an outside service it is all: the job ids in its reports are its own.
    pub(crate) fn limited_to(&self, detail: DetailLevel) -> Cow<'_, Self> {
        let Verdict { service, documents, details, .. } = &self.verdict;
        let names = !documents.is_empty() || details.as_ref().is_some_and(|told| !told.missing_job_ids.is_empty());
        if detail == DetailLevel::Whole || !names || !is_own(service) {
            return Cow::Borrowed(self);
        }
        let mut limited = self.clone();
        limited.verdict.documents.clear();
        if let Some(details) = &mut limited.verdict.details {
            details.missing_job_ids.clear();
        }
        Cow::Owned(limited)
    }

    /// As it goes out on a stream with this detail.
    pub(crate) fn frame(&self, detail: DetailLevel) -> Bytes {
        // Strings, finite numbers and trees of them always serialise.
        let data = serde_json::to_string(&*self.limited_to(detail)).unwrap_or_default();
        Bytes::from(format!("id: {}\nevent: reconciliation.update\ndata: {data}\n\n", self.event_id))
    }
}

/// See [`AuditEntry`]: the members of an update.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct UpdateData<'a> {
    event_id: &'a str,
    service: &'a str,
    status: VerdictStatus,
    counts: &'a VerdictCounts,
    checksum: &'a str,
    latency_ms: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    discrepancy_details: Option<&'a Details>,
    action: AuditAction,
    at: Timestamp,
    first_at: Timestamp,
    count: u64,
    documents: &'a [Difference],
    compared: &'static [&'static str],
    all_since: Option<Timestamp>,
}

impl Serialize for AuditEntry {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let verdict = &self.verdict;
        let none = Details::default();
        let always = (verdict.status == VerdictStatus::Discrepancy).then_some(&none);
        let latency_ms = if verdict.latency_ms.is_finite() { verdict.latency_ms } else { 0.0 };
        let data = UpdateData {
            event_id: &self.event_id,
            service: &verdict.service,
            status: verdict.status,
            counts: &verdict.counts,
            checksum: &verdict.checksum,
            latency_ms,
            discrepancy_details: verdict.details.as_ref().or(always),
            action: self.action,
            at: self.at,
            first_at: self.first_at,
            count: self.count,
            documents: &verdict.documents,
            compared: verdict.compared.names(),
            all_since: verdict.all_since,
        };
        data.serialize(serializer)
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed unwrap fails the test")]
    use super::*;
    use crate::base::entropy::SeededEntropy;
    use crate::features::reconciliation::verdict::Compared;

    #[test]
    fn an_event_id_is_read_as_it_is_written_and_nothing_else_is_one() {
        let id = EventId { seq: 42, run: ServerRun::new(&SeededEntropy::new(7)) };
        assert_eq!(EventId::parse(&id.to_string()), Some(id));
        let bad =
            ["", "0", "42", "42-", "-1", "42-0123456", "42-0123456G", "42-012345678", "+4-01234567", " 4-01234567"];
        for text in bad.into_iter().chain(["18446744073709551615-01234567", "99999999999999999999-01234567"]) {
            assert_eq!(EventId::parse(text), None, "{text}");
        }
    }

    #[test]
    fn an_update_has_its_members_and_details_only_where_something_differs() {
        let verdict = |status, details| Verdict {
            service: "log".into(),
            status,
            counts: VerdictCounts::from([("events".into(), 3_u32.into())]),
            checksum: "c".into(),
            latency_ms: 0.5,
            details,
            documents: Vec::new(),
            compared: Compared::Rows,
            all_since: None,
        };
        let told = |status, details| {
            let id = EventId { seq: 1, run: ServerRun("01234567".into()) };
            let entry = AuditEntry::new(&id, AuditAction::Compare, Timestamp::from_millis(0), verdict(status, details));
            serde_json::to_value(entry).unwrap()
        };
        let whole = serde_json::json!({
            "eventId": "1-01234567", "service": "log", "status": "verified", "counts": { "events": 3 }, "checksum": "c",
            "latencyMs": 0.5, "action": "compare", "at": "1970-01-01T00:00:00.000Z",
            "firstAt": "1970-01-01T00:00:00.000Z", "count": 1, "documents": [], "compared": ["changes", "rows"],
            "allSince": null
        });
        assert_eq!(told(VerdictStatus::Verified, None), whole);
        let empty = serde_json::json!({ "expected": {}, "actual": {}, "missingJobIds": [] });
        assert_eq!(told(VerdictStatus::Discrepancy, None).get("discrepancyDetails"), Some(&empty));
        assert_eq!(told(VerdictStatus::Stale, None).get("discrepancyDetails"), None);
        assert_eq!(told(VerdictStatus::Stale, Some(Details::default())).get("discrepancyDetails"), Some(&empty));
    }
}
