//! The present of what a follower is interested in, within the bounds of a snapshot.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use crate::base::error::{Error, Kind, Result};
use crate::base::ids::{DocumentName, Seq};
use crate::base::limits;
use crate::document::chain::Position;
use crate::document::event::Event;
use crate::document::model::Document;
use crate::document::visibility::Viewer;
use crate::engine::time_travel::roll_forward;
use crate::live::topics::Interest;
use crate::store::{PageRoom, Reader};

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

/// Reads `missing` documents and those of the collections that `interest` covers and `viewer` may read, as they are
/// shown them. Error: `TooLarge`.
pub(super) fn load_cold(
    reader: &Reader,
    missing: &HashSet<DocumentName>,
    interest: &Interest,
    viewer: &Viewer,
) -> Result<Vec<Arc<Document>>> {
    let (mut documents, mut room) = (Vec::new(), PageRoom::new(limits::STREAM_STATES_BYTES_MAX + 1));
    for name in missing {
        if let Some(document) = reader.load(name)? {
            documents.push(Arc::new(room.document(document, viewer)?));
        }
        check_room(&room)?;
    }
    for collection in &interest.collections {
        let left = (limits::STREAM_DOCUMENTS_MAX + 1).saturating_sub(documents.len());
        let (listed, _) = reader.list(viewer, collection, None, left, Some(&mut room))?;
        documents.extend(listed.into_iter().filter_map(|entry| entry.document));
        check_count(documents.len())?;
        check_room(&room)?;
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

/// Error: `TooLarge`.
fn check_room(room: &PageRoom) -> Result<()> {
    if room.is_taken() { Err(states_too_large()) } else { Ok(()) }
}

fn states_too_large() -> Error {
    let max = limits::STREAM_STATES_BYTES_MAX;
    Error::new(Kind::TooLarge, format!("a stream begins with at most {max} bytes of states; follow fewer documents"))
        .with("maxBytes", max)
}
