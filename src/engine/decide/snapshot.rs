//! Which snapshots a round stores: those asked for, and those due.

use std::sync::Arc;

use super::Decider;
use crate::base::error::{Error, Kind, Result};
use crate::base::ids::{DocumentName, Version};
use crate::engine::refusal::check_persistent;
use crate::engine::request::{ReplyTo, StoredSnapshot};
use crate::engine::state::document_cache::CachedDocument;
use crate::store::Snapshot;

impl Decider<'_> {
    /// Notes that a snapshot is asked for. Answered when the round is stored.
    pub(crate) fn request_snapshot(&mut self, name: DocumentName, overwrite: bool, reply: ReplyTo<StoredSnapshot>) {
        match self.check_snapshot(&name, overwrite) {
            Ok(overwrites) => {
                let maintenance = &mut self.round.maintenance;
                maintenance.overwrites.extend(overwrites);
                maintenance.snapshots.insert(name.clone());
                maintenance.reply_snapshot(name, reply);
            }
            // Whoever asked may have gone.
            Err(error) => drop(reply.send(Err(error))),
        }
    }

    /// What is to be overwritten for it. Errors: `StorageUnavailable`, `NotFound`, `Gone`, `VersionConflict`,
    /// `not-persistent`; `Frozen`, `Moved`.
    fn check_snapshot(&mut self, name: &DocumentName, overwrite: bool) -> Result<Option<(i64, Version)>> {
        self.check_storage()?;
        self.state.relocations.check(name)?;
        let document = self.load_live(name)?.document;
        check_persistent(&document)?;
        match self.disk.stored_version(document.meta.key)? {
            Some(stored) if stored > document.version && !overwrite => {
                let message = "somebody else has written a newer version of it to the disk than the one that runs; its \
                               host may store this one over it with forceOverwrite";
                Err(Error::new(Kind::VersionConflict, message)
                    .with("currentVersion", document.version.0)
                    .with("currentHash", document.hash.to_string())
                    .with("storedVersion", stored.0))
            }
            Some(stored) if stored > document.version => Ok(Some((document.meta.key, document.version))),
            _ => Ok(None),
        }
    }

    /// The snapshots that the round stores.
    pub(crate) fn snapshots(&self) -> Vec<Snapshot> {
        let (now, events_max) = (self.options.clock.now(), self.options.snapshot_events_max);
        let (documents, asked) = (&self.state.documents, &self.round.maintenance.snapshots);
        let due = self.round.changed.iter().filter(|name| !asked.contains(*name));
        let due = due.filter_map(|name| documents.get(name)).filter(|cached| cached.snapshot_due(events_max, now));
        let asked = asked.iter().filter_map(|name| documents.get(name));
        let snapshot = |cached: &CachedDocument| {
            let (document, replaces) = (Arc::clone(&cached.document), cached.since.quiet);
            Snapshot { document, trim: true, replaces, replaceable: false }
        };
        due.chain(asked).map(snapshot).collect()
    }
}
