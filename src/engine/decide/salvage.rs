//! What can still be done with a document that is too damaged to be read: its history goes on behind the damage, from
//! an old state that can be read, or ends.

use std::sync::Arc;

use bytes::Bytes;

use super::Decider;
use crate::base::error::{Error, Kind, Result};
use crate::base::ids::DocumentName;
use crate::document::decide::WriteOperation;
use crate::document::model::Document;
use crate::engine::policy::SnapshotPolicy;
use crate::engine::state::document_cache::{CachedDocument, SinceSnapshot};

impl Decider<'_> {
    /// The document to which `operation` is to be done, and whether its state cannot be read: then the change must
    /// bring the whole state along, which only going back to an old state does. Error: `Damaged`.
    pub(super) fn load_target(
        &mut self,
        name: &DocumentName,
        operation: &WriteOperation,
    ) -> Result<(Option<CachedDocument>, bool)> {
        match self.load(name) {
            Err(error) if matches!(operation, WriteOperation::Rollback { .. }) => {
                Ok((Some(self.placeholder(name, error)?), true))
            }
            loaded => Ok((loaded?, false)),
        }
    }

    /// A placeholder for a document that could not be read because of `error`: all of it but its state. The next
    /// version is to be stored whole, since everything before depends on what is damaged. Errors: `error` itself, when
    /// it is another, or when the document is deleted; `StorageUnavailable` while storage fails, since no snapshot is
    /// taken then.
    pub(super) fn placeholder(&self, name: &DocumentName, error: Error) -> Result<CachedDocument> {
        if error.kind() != Kind::Damaged {
            return Err(error);
        }
        self.check_storage()?;
        let Some(head) = self.disk.document_head(name)?.filter(|head| !head.deleted) else { return Err(error) };
        let document = Document {
            meta: head.meta,
            version: head.version,
            hash: head.hash,
            seq: head.seq,
            updated_at: head.at,
            state: Some(Bytes::from_static(b"{}")),
        };
        let since =
            SinceSnapshot { events: 1, forced: true, ..SinceSnapshot::empty(head.at, SnapshotPolicy::default()) };
        Ok(CachedDocument::decided(Arc::new(document), None, since))
    }
}
