//! Compaction: what is left of a document's history when nobody needs it any more is its newest event and the state
//! before that, with the hash that the event is chained to.

use std::sync::Arc;

use serde_json::json;
use tokio::sync::oneshot;

use super::Hooks;
use super::batch::{Moment, Round};
use super::hooks::ChangeOrigin;
use super::thread::Thread;
use super::volatile::check_stored;
use crate::base::clock::Timestamp;
use crate::base::error::{Error, Kind, Result};
use crate::base::ids::{DocumentName, Version};
use crate::base::limits::COMPACT_EVENT_BYTES_MAX;
use crate::document::decide::{Decision, absent};
use crate::document::model::Document;
use crate::document::visibility::Viewer;
use crate::store::{Connection, Rows, compact};

/// A document whose history goes, and whoever waits for that.
pub struct Compaction {
    document: Arc<Document>,
    hooks: Hooks,
    outcome: Result<()>,
    reply: oneshot::Sender<Result<Version>>,
}

impl Rows for Compaction {
    fn write(&mut self, conn: &Connection, _: Timestamp) -> Result<()> {
        let key = self.document.meta.key;
        let written =
            compact(conn, key).and_then(|()| self.hooks.iter().try_for_each(|hook| hook.history_dropped(conn, key)));
        self.outcome = written;
        // The store only needs to know whether to take it back.
        self.outcome.as_ref().copied().map_err(|error| Error::new(error.kind(), "a history was not dropped"))
    }
}

impl Compaction {
    /// Answers. `stored`: the transaction that it was in is on disk. Returns the document, if it was compacted.
    pub fn finish(self, stored: bool) -> Option<DocumentName> {
        let done = if stored { self.outcome } else { Err(super::command::not_stored()) };
        let name = done.is_ok().then(|| self.document.meta.name.clone());
        // Whoever asked may have gone.
        drop(self.reply.send(done.map(|()| self.document.version)));
        name
    }
}

impl Thread {
    /// Notes that a document's history is to go.
    pub fn take_compaction(
        &mut self,
        (name, expected): (&DocumentName, Version),
        reply: oneshot::Sender<Result<Version>>,
        round: &mut Round,
    ) {
        match self.check_well().and_then(|()| self.close((name, expected), round)) {
            Ok(document) => {
                let hooks = self.options.hooks.clone();
                round.extras.compactions.push(Compaction { document, hooks, outcome: Ok(()), reply });
            }
            // Whoever asked may have gone.
            Err(error) => drop(reply.send(Err(error))),
        }
    }

    /// Sees to it that the newest event, which is kept, is a small one: if need be by one more, which changes nothing.
    fn close(&mut self, (name, expected): (&DocumentName, Version), round: &mut Round) -> Result<Arc<Document>> {
        self.standings.check(name)?;
        let slot = self.load(name)?.ok_or_else(|| absent(name, None))?;
        let document = Arc::clone(&slot.document);
        check_stored(&document)?;
        if document.is_deleted() {
            return Err(absent(name, Some(&document)));
        }
        if document.version != expected {
            let message = format!("{name} has changed since it was looked at");
            return Err(Error::new(Kind::VersionConflict, message).with("currentVersion", document.version.0));
        }
        if self.writer.event_bytes(document.seq)?.is_some_and(|bytes| bytes <= COMPACT_EVENT_BYTES_MAX) {
            return Ok(document);
        }
        let moment = Moment {
            viewer: &Viewer::Owner,
            at: self.options.clock.now(),
            seed: [0; 32],
            origin: ChangeOrigin::Maintenance,
        };
        let tree = slot.tree()?;
        let state = tree.as_deref().cloned();
        let decision = Decision { kind: "compact".to_owned(), payload: json!({}), state };
        let (outcome, _) =
            self.record(Arc::clone(&document.meta), Some(&slot), tree.as_deref(), decision, moment, round)?;
        round.changed.insert(name.clone());
        if let Some(entry) = round.entries.last_mut() {
            entry.ends_write = true;
        }
        Ok(outcome.document)
    }
}
