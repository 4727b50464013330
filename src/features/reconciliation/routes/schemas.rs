//! The schemas of what is serialised elsewhere, for the description.

#![expect(dead_code, reason = "these types are only looked at: what they stand for is serialised by the audit")]

use std::collections::BTreeMap;

use serde::Serialize;
use utoipa::ToSchema;

/// What a comparison found. On the stream the data of `reconciliation.update`.
#[derive(Serialize, ToSchema)]
#[schema(rename_all = "camelCase")]
pub(super) struct ReconciliationUpdate {
    /// Names it for ever: the stream's `id`.
    #[schema(pattern = "^[0-9]+-[0-9a-f]{8}$", example = "42-3f0c9a71")]
    pub event_id: String,
    /// What was compared: `documents/<collection>`, `tables/<table>`, `log`, or an outside service.
    pub service: String,
    /// `verified`: both sides are equal; `stale`: it is not known now; `discrepancy`: they differ.
    #[schema(pattern = "^(verified|stale|discrepancy)$")]
    pub status: String,
    /// What is, by name.
    pub counts: BTreeMap<String, f64>,
    /// SHA-256 over what was compared; equal on both sides when they are verified.
    #[schema(pattern = "^[0-9a-f]{64}$")]
    pub checksum: String,
    /// How long the comparison took, milliseconds.
    pub latency_ms: f64,
    /// With a discrepancy, and where changes wait for the disk.
    #[schema(required = false)]
    pub discrepancy_details: DiscrepancyDetails,
    /// `compare`, `scrub`, `repair` or `report`.
    pub action: String,
    /// When it was last found so.
    #[schema(format = DateTime)]
    pub at: String,
    /// When it was first found so: unchanged verified verdicts share a row of the audit.
    #[schema(format = DateTime)]
    pub first_at: String,
    /// How often.
    #[schema(minimum = 1)]
    pub count: u64,
    /// The documents, or rows of a table, that differ; empty for whoever is no administrator.
    pub documents: Vec<DocumentDifference>,
    /// What was looked at: `changes` since the comparison before, and where each document ends; `rows`, each by itself
    /// and against its neighbours; `states`, each made again from its events. Of a table: `macs`, each row against its
    /// keyed checksum; `memory`, all rows against what is in memory. Of an outside service: its `report`.
    pub compared: Vec<String>,
    /// Everything that is stored was read and compared after this time; null: not yet, or it is of an outside service.
    /// What `compared` does not name is known as it was then.
    #[schema(format = DateTime, required = true)]
    pub all_since: Option<String>,
}

/// What differs in numbers.
#[derive(Serialize, ToSchema)]
#[schema(rename_all = "camelCase")]
pub(super) struct DiscrepancyDetails {
    /// What should be.
    pub expected: BTreeMap<String, f64>,
    /// What is.
    pub actual: BTreeMap<String, f64>,
    /// The ids of what should be there and is not; where they name documents, empty for whoever is no administrator.
    pub missing_job_ids: Vec<String>,
}

/// A document, or row of a table, that differs.
#[derive(Serialize, ToSchema)]
pub(super) struct DocumentDifference {
    /// `collection/id`; of a row its table and key, with `/` between.
    pub document: String,
    /// The first version that differs; of a row 0.
    pub version: u64,
    /// How, in words.
    pub what: String,
}

/// Verdicts.
#[derive(Serialize, ToSchema)]
pub(super) struct Verdicts {
    /// One per service.
    pub items: Vec<ReconciliationUpdate>,
}

/// What was mended.
#[derive(Serialize, ToSchema)]
#[schema(rename_all = "camelCase")]
pub(super) struct RepairResult {
    /// `collection/id`; missing when it was a row.
    #[schema(required = false)]
    pub document: String,
    /// Table and key of the row, if it was one.
    #[schema(required = false)]
    pub row: String,
    /// Which side was taken to be right.
    #[schema(pattern = "^(memory|disk|neither)$")]
    pub source: String,
    /// What was done, in words.
    pub done: String,
    /// Its version now; missing when it was removed, since memory knew nothing of it.
    #[schema(required = false)]
    pub version: u64,
    /// The hash of that.
    #[schema(required = false, pattern = "^[0-9a-f]{64}$")]
    pub hash: String,
    /// The service that tells of its collection, or table.
    pub service: String,
    /// Its status now.
    #[schema(pattern = "^(verified|stale|discrepancy)$")]
    pub status: String,
}

/// What became of a report.
#[derive(Serialize, ToSchema)]
pub(super) struct ReportResult {
    /// Whether it was the newest of its service; an older one changes nothing.
    pub applied: bool,
    /// The verdict in force.
    pub verdict: ReconciliationUpdate,
}

/// An event of the stream. `event` and `id` are fields of the event stream, `data` is JSON.
#[derive(Serialize, ToSchema)]
#[serde(untagged)]
#[expect(clippy::large_enum_variant, reason = "no value of it is ever made")]
pub(super) enum ReconciliationStreamEvent {
    Update(ReconciliationUpdateEvent),
    Removed(ReconciliationRemovedEvent),
    Other(ReconciliationOtherEvent),
}

/// A verdict: one in force, then each as it is found.
#[derive(Serialize, ToSchema)]
pub(super) struct ReconciliationUpdateEvent {
    #[schema(pattern = r"^reconciliation\.update$")]
    event: String,
    /// The verdict's `eventId`.
    id: String,
    data: ReconciliationUpdate,
}

/// An outside service is no more.
#[derive(Serialize, ToSchema)]
pub(super) struct ReconciliationRemovedEvent {
    #[schema(pattern = r"^reconciliation\.removed$")]
    event: String,
    data: ReconciliationRemovedService,
}

#[derive(Serialize, ToSchema)]
pub(super) struct ReconciliationRemovedService {
    service: String,
}

/// `snapshot` (with `reason`: the verdicts in force follow), `heartbeat` (with `at`) and `bye` (with `reason`).
#[derive(Serialize, ToSchema)]
pub(super) struct ReconciliationOtherEvent {
    #[schema(pattern = "^(snapshot|heartbeat|bye)$")]
    event: String,
    data: ReconciliationOtherEventData,
}

#[derive(Serialize, ToSchema)]
pub(super) struct ReconciliationOtherEventData {
    #[schema(required = false)]
    reason: String,
    #[schema(required = false, format = DateTime)]
    at: String,
}
