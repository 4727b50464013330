//! A warning as it is shown and told.

use std::sync::Arc;

use serde::Serialize;
use serde_json::Value;

use super::consistency::check::Severity;
use super::consistency::warning::WarningStatus;
use super::sql::warnings::StoredWarning;
use crate::base::clock::Timestamp;
use crate::base::error::{Error, Result};
use crate::document::model::Meta;
use crate::document::visibility::Viewer;
use crate::http::api::Api;
use crate::live::transient::{TransientContent, TransientMessage};

/// See the module.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct WarningItem {
    id: String,
    check: String,
    severity: Severity,
    status: WarningStatus,
    what: String,
    #[serde(rename = "where")]
    place: WarningPlace,
    why: String,
    values: Value,
    suggestion: String,
    found_at: Timestamp,
    changed_at: Timestamp,
    changed_by: Option<String>,
    note: Option<String>,
}

/// Where the warning is.
#[derive(Clone, Debug, Serialize)]
struct WarningPlace {
    document: String,
    path: String,
}

impl From<StoredWarning> for WarningItem {
    fn from(stored: StoredWarning) -> Self {
        let StoredWarning { id, check, severity, status, document, path, what, why, values, .. } = stored;
        let StoredWarning { suggestion, found_at, changed_at, changed_by, note, .. } = stored;
        let place = WarningPlace { document, path };
        Self {
            id,
            check,
            severity,
            status,
            what,
            place,
            why,
            values,
            suggestion,
            found_at,
            changed_at,
            changed_by,
            note,
        }
    }
}

/// What a stream tells of a warning: what it says of documents is told to who asks for it, by the rights of then.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct WarningState {
    id: String,
    check: String,
    severity: Severity,
    status: WarningStatus,
    changed_at: Timestamp,
}

/// What a stream says of the warning before its state, which is its `payload`.
#[derive(Serialize)]
struct WarningEvent<'a> {
    collection: &'a str,
    id: &'a str,
}

/// Tells those who follow the project now that these warnings are in another state. One that is slow is told the newest
/// of each.
pub(crate) fn announce(api: &Api, project: &Arc<Meta>, warnings: Vec<StoredWarning>) -> Result<()> {
    let event = WarningEvent { collection: project.name.collection.as_str(), id: project.name.id.as_str() };
    let members = serde_json::to_vec(&event).map_err(Error::internal)?;
    for warning in warnings {
        let kind = warning.id.clone();
        let StoredWarning { id, check, severity, status, changed_at, .. } = warning;
        let state = WarningState { id, check, severity, status, changed_at };
        let payload = serde_json::to_value(state).map_err(Error::internal)?;
        let content = TransientContent { sender: Viewer::Owner, kind, recipients: None, payload };
        let message = TransientMessage::new(Arc::clone(project), "warning", &members, content)?;
        api.reads.hub.send(&Arc::new(message));
    }
    Ok(())
}
