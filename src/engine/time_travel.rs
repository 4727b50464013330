//! Documents as they were: from stored versions and from events that may not be stored.

use std::sync::Arc;

use bytes::Bytes;

use crate::base::error::{Error, Kind, Result};
use crate::base::ids::{DocumentName, Version};
use crate::document::event::Event;
use crate::document::model::Document;
use crate::document::patch;
use crate::store::Reader;

/// Where stored versions of documents are read.
pub(crate) trait StoredVersions {
    /// The newest stored version.
    fn newest(&self, name: &DocumentName) -> Result<Option<Document>>;
    /// The document as it was at a stored version.
    fn document_at(&self, name: &DocumentName, version: Version) -> Result<Document>;
}

impl StoredVersions for Reader {
    fn newest(&self, name: &DocumentName) -> Result<Option<Document>> {
        self.load(name)
    }

    fn document_at(&self, name: &DocumentName, version: Version) -> Result<Document> {
        self.state_at(name, version)
    }
}

/// A document as it was at `version`, from disk and from the given events that may not be there yet (all of this
/// document, without a gap up to its newest). May block.
pub(crate) fn state_at(
    stored: &impl StoredVersions,
    name: &DocumentName,
    version: Version,
    undurable: &[Arc<Event>],
) -> Result<Document> {
    if undurable.first().is_none_or(|first| version < first.version) {
        return stored.document_at(name, version);
    }
    let newest = stored.newest(name)?;
    let from = newest.as_ref().map_or(Version::ZERO, |document| document.version);
    if version <= from {
        return stored.document_at(name, version);
    }
    let events = undurable.iter().filter(|event| event.version > from && event.version <= version);
    roll_forward(newest.as_ref(), events)?
        .filter(|document| document.version == version)
        .ok_or_else(|| Error::new(Kind::NotFound, format!("{name} has no version {version} yet")))
}

/// A volatile document as it was at `version`, from those of its events that are still in memory (without a gap up to
/// the newest). It can be made again from an event on that begins it anew. Error: `NotFound` for a version that never
/// was (with `currentVersion`); `Gone` for one that cannot be made again (with `firstVersion`).
pub(crate) fn volatile_state_at(
    newest: &Arc<Document>,
    events: &[Arc<Event>],
    version: Version,
) -> Result<Arc<Document>> {
    let (name, current) = (&newest.meta.name, newest.version);
    if version == current {
        return Ok(Arc::clone(newest));
    }
    if version > current || version == Version::ZERO {
        let message = format!("{name} has no version {version}");
        return Err(Error::not_found(message).with("currentVersion", current.0));
    }
    let mut after_deletion = false;
    let begins =
        |event: &Arc<Event>| event.version == Version(1) || std::mem::replace(&mut after_deletion, event.deletes);
    let beginnings: Vec<bool> = events.iter().map(begins).collect();
    let upto = events.iter().take_while(|event| event.version <= version).count();
    let from = beginnings.iter().take(upto).rposition(|begins| *begins);
    let document = match from.and_then(|from| events.get(from..upto)) {
        Some(events) => roll_forward(None, events)?,
        None => None,
    };
    document.map(Arc::new).ok_or_else(|| {
        let first = events.iter().zip(&beginnings).find(|(_, begins)| **begins);
        let first = first.map_or(current, |(event, _)| event.version);
        let message = format!("version {version} of {name} is no longer in memory, and it is kept nowhere else");
        Error::new(Kind::Gone, message).with("firstVersion", first.0)
    })
}

/// The document after the given events, which follow it without a gap; `None` when there are none.
pub(crate) fn roll_forward<'a>(
    from: Option<&Document>,
    events: impl IntoIterator<Item = &'a Arc<Event>>,
) -> Result<Option<Document>> {
    let bytes = from.and_then(|document| document.state.as_ref());
    let mut state = bytes.map(|bytes| serde_json::from_slice(bytes)).transpose().map_err(Error::internal)?;
    let mut last = None;
    for event in events {
        patch::apply(&mut state, event.operations()?)?;
        last = Some(event);
    }
    let Some(event) = last else { return Ok(None) };
    let bytes = state.map(|state| serde_json::to_vec(&state)).transpose().map_err(Error::internal)?;
    Ok(Some(Document {
        meta: Arc::clone(&event.meta),
        version: event.version,
        hash: event.hash,
        seq: event.seq,
        updated_at: event.at,
        state: bytes.map(Bytes::from),
    }))
}
