//! What can still be done with a document that is too damaged to be read: its history goes on behind the damage, from
//! an old state that can be read, or ends.

use std::sync::Arc;

use bytes::Bytes;

use super::policy::SnapshotPolicy;
use super::thread::Thread;
use super::working::{Since, Slot};
use crate::base::error::{Error, Kind, Result};
use crate::base::ids::DocumentName;
use crate::document::decide::Operation;
use crate::document::model::Document;

/// A document as a change to it begins.
pub struct Begun {
    /// What is known of it.
    pub slot: Option<Slot>,
    /// Whether its state is not: the change must bring the whole state along.
    pub unknown: bool,
}

impl Thread {
    /// A document to which `operation` is to be done. Only to go back to an old state it need not be readable. Error:
    /// `Damaged`.
    pub fn begin(&mut self, name: &DocumentName, operation: &Operation) -> Result<Begun> {
        match self.load(name) {
            Err(error) if matches!(operation, Operation::Rollback { .. }) => {
                Ok(Begun { slot: Some(self.stand_in(name, error)?), unknown: true })
            }
            loaded => Ok(Begun { slot: loaded?, unknown: false }),
        }
    }

    /// What stands in for a document that could not be read because of `error`: all of it but its state. The next
    /// version is to be stored whole, since everything before depends on what is damaged. Errors: `error` itself, when
    /// it is another, or when the document is deleted; `StorageUnavailable` while storage fails, since no snapshot is
    /// taken then.
    pub fn stand_in(&self, name: &DocumentName, error: Error) -> Result<Slot> {
        if error.kind() != Kind::Damaged {
            return Err(error);
        }
        self.check_well()?;
        let Some(tip) = self.writer.document_head(name)?.filter(|tip| !tip.deleted) else { return Err(error) };
        let document = Document {
            meta: tip.meta,
            version: tip.version,
            hash: tip.hash,
            seq: tip.seq,
            updated_at: tip.at,
            state: Some(Bytes::from_static(b"{}")),
        };
        let since = Since { events: 1, forced: true, ..Since::nothing(tip.at, SnapshotPolicy::default()) };
        Ok(Slot::decided(Arc::new(document), None, since))
    }
}
