//! How much a page holds, by what its reader is shown.

use std::sync::Arc;

use bytes::Bytes;

use crate::base::error::Result;
use crate::base::limits::HIDDEN_BYTES_MAX;
use crate::document::event::Event;
use crate::document::model::Document;
use crate::document::visibility::Viewer;

/// The room of a page. What its reader may not see takes none, so that where the page ends does not tell how much that
/// is, up to [`HIDDEN_BYTES_MAX`].
#[derive(Debug)]
pub struct PageRoom {
    bytes_max: usize,
    /// Bytes of what is in it.
    shown: usize,
    /// Bytes that were read for it and are not in it.
    hidden: usize,
}

impl PageRoom {
    pub fn new(bytes_max: usize) -> Self {
        Self { bytes_max, shown: 0, hidden: 0 }
    }

    /// Bytes that still fit.
    pub fn left(&self) -> usize {
        self.bytes_max.saturating_sub(self.shown)
    }

    /// Whether there is no room for more.
    pub fn is_taken(&self) -> bool {
        self.left() == 0 || self.hidden >= HIDDEN_BYTES_MAX
    }

    /// The document as `viewer` is shown it, which takes its room.
    pub fn document(&mut self, document: Document, viewer: &Viewer) -> Result<Document> {
        let bytes = |document: &Document| document.state.as_ref().map_or(0, Bytes::len);
        let read = bytes(&document);
        let shown = document.shown_to(viewer)?;
        self.take(read, bytes(&shown));
        Ok(shown)
    }

    /// The event as `viewer` is shown it, which takes its room.
    pub fn event(&mut self, event: Arc<Event>, viewer: &Viewer) -> Result<Arc<Event>> {
        let read = event.body.len();
        let shown = event.shown_to(viewer)?.map_or(event, Arc::new);
        self.take(read, shown.body.len());
        Ok(shown)
    }

    /// Takes the room of something of which `read` bytes were read and `shown` are shown.
    pub fn take(&mut self, read: usize, shown: usize) {
        self.shown = self.shown.saturating_add(shown);
        self.hidden = self.hidden.saturating_add(read.saturating_sub(shown));
    }
}
