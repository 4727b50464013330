//! Keeps what merges decide, in the transaction of the change.

use std::sync::Arc;

use serde::Deserialize;
use serde_json::Value;

use super::rules::{MergeReport, RESOLVE, ResolvePayload, SYNC};
use super::sql::{self, StoredConflict};
use super::store;
use crate::base::error::{Error, Result};
use crate::engine::hooks::{Change, ChangeOrigin, ChangeRows, DocumentHook, StoredRows, WriteRows};
use crate::store::Connection;

/// Stores the places of each merge, and how a conflict was resolved.
#[derive(Debug)]
pub(crate) struct ConflictsHook;

/// What is read of an event.
#[derive(Deserialize)]
struct ConflictEventBody {
    #[serde(rename = "type")]
    kind: String,
    payload: Value,
}

impl DocumentHook for ConflictsHook {
    fn name(&self) -> &'static str {
        "conflicts"
    }

    fn before_store(&self, change: &Change<'_>, _: &StoredRows<'_>) -> Result<Option<ChangeRows>> {
        if change.origin() != ChangeOrigin::Merge {
            return Ok(None);
        }
        let ConflictEventBody { kind, payload } =
            serde_json::from_slice(change.event_body()).map_err(Error::internal)?;
        let (key, version, at) = (change.document_key(), change.version().0, change.at());
        let who: Arc<str> = change.viewer().scope().into();
        let mut messages = Vec::new();
        let write: WriteRows = match kind.as_str() {
            SYNC => {
                let report = MergeReport::of_payload(&payload);
                if report == MergeReport::default() {
                    return Ok(None);
                }
                for place in report.conflicts.iter().cloned() {
                    let kept = StoredConflict {
                        number: 0,
                        document: change.document().clone(),
                        place,
                        version: change.version(),
                        made_by: who.to_string(),
                        at,
                        resolved_by: None,
                        resolved_at: None,
                    };
                    messages.push(store::message(kept, change.position())?);
                }
                Arc::new(move |conn| {
                    for place in report.clone().places() {
                        sql::insert(conn, key, &place, (version, &who, at))?;
                    }
                    sql::trim(conn, key)
                })
            }
            RESOLVE => {
                let ResolvePayload { conflict_id, resolution } =
                    serde_json::from_value(payload).map_err(Error::internal)?;
                Arc::new(move |conn| sql::resolve(conn, &conflict_id, resolution, &who, at))
            }
            _ => return Ok(None),
        };
        Ok(Some(ChangeRows::new("conflicts", move |conn| write(conn)).with_messages(messages)))
    }

    fn document_removed(&self, conn: &Connection, key: i64) -> Result<()> {
        sql::remove(conn, key)
    }
}
