//! The present of what a follower is interested in, within the bounds of a snapshot.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use bytes::Bytes;

use crate::base::error::{Error, Kind, Result};
use crate::base::ids::{DocumentName, Seq};
use crate::base::limits;
use crate::document::chain::Position;
use crate::document::event::Event;
use crate::document::model::Document;
use crate::document::visibility::Viewer;
use crate::engine::time_travel::roll_forward;
use crate::live::topics::Interest;
use crate::store::Reader;

/// The present of what a follower is interested in.
pub(super) struct Present {
    pub documents: BTreeMap<DocumentName, Arc<Document>>,
    /// Changes that are still to be made to `documents`, in order.
    pub missing: Vec<Arc<Event>>,
    pub position: Position,
    pub head: Seq,
}

impl Present {
    pub(super) fn catch_up(&mut self) -> Result<()> {
        for event in std::mem::take(&mut self.missing) {
            let name = &event.meta.name;
            let before = self.documents.get(name).map(|document| &**document);
            if let Some(after) = roll_forward(before, [&event])? {
                self.documents.insert(name.clone(), Arc::new(after));
            }
        }
        Ok(())
    }
}

/// Reads `missing` documents and those of the collections that `interest` covers and `viewer` may read. Error:
/// `TooLarge`.
pub(super) fn load_cold(
    reader: &Reader,
    missing: &HashSet<DocumentName>,
    interest: &Interest,
    viewer: &Viewer,
) -> Result<Vec<Arc<Document>>> {
    let (mut documents, mut bytes) = (Vec::new(), 0);
    for name in missing {
        documents.extend(reader.load(name)?.map(Arc::new));
        bytes = states_bytes(&documents)?;
    }
    for collection in &interest.collections {
        let left = (limits::STREAM_DOCUMENTS_MAX + 1).saturating_sub(documents.len());
        let bytes_left = limits::STREAM_STATES_BYTES_MAX.saturating_sub(bytes);
        let (listed, ended_early) = reader.list(viewer, collection, None, left, Some(bytes_left))?;
        if ended_early {
            return Err(states_too_large());
        }
        documents.extend(listed.into_iter().filter_map(|entry| entry.document));
        check_count(documents.len())?;
        bytes = states_bytes(&documents)?;
    }
    Ok(documents)
}

/// Error: `TooLarge` when a snapshot would hold too many documents.
pub(super) fn check_count(count: usize) -> Result<()> {
    let max = limits::STREAM_DOCUMENTS_MAX;
    if count <= max {
        return Ok(());
    }
    Err(Error::new(Kind::TooLarge, format!("a stream may cover {max} documents; follow fewer collections"))
        .with("maxDocuments", max))
}

/// What the states of documents add up to. Error: `TooLarge`.
fn states_bytes(documents: &[Arc<Document>]) -> Result<usize> {
    let bytes = documents.iter().filter_map(|document| document.state.as_ref()).map(Bytes::len).sum();
    if bytes > limits::STREAM_STATES_BYTES_MAX { Err(states_too_large()) } else { Ok(bytes) }
}

fn states_too_large() -> Error {
    let max = limits::STREAM_STATES_BYTES_MAX;
    Error::new(Kind::TooLarge, format!("a stream begins with at most {max} bytes of states; follow fewer documents"))
        .with("maxBytes", max)
}
