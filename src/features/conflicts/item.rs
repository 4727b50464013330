//! A conflict as it is told.

use serde::Serialize;

use super::rules::MergedPath;
use super::sql::StoredConflict;
use crate::base::clock::Timestamp;
use crate::base::ids::Version;

/// A conflict, or in the audit a place that a rule decided.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ConflictItem {
    #[serde(flatten)]
    place: MergedPath,
    /// `open` or `resolved`.
    status: &'static str,
    /// `collection/id`.
    document: String,
    /// The document's version that the merge made.
    version: Version,
    /// Whose edits they were.
    made_by: String,
    at: Timestamp,
    #[serde(skip_serializing_if = "Option::is_none")]
    resolved_by: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    resolved_at: Option<Timestamp>,
}

impl From<StoredConflict> for ConflictItem {
    fn from(kept: StoredConflict) -> Self {
        let status = if kept.is_open() { "open" } else { "resolved" };
        let StoredConflict { document, place, version, made_by, at, resolved_by, resolved_at, .. } = kept;
        Self { place, status, document: document.to_string(), version, made_by, at, resolved_by, resolved_at }
    }
}
