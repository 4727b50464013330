//! Creations that somebody counts: what is decided and not yet on disk, and asking whether there may be one more.

use std::collections::HashMap;

use super::batch::Round;
use super::thread::Thread;
use crate::base::clock::Timestamp;
use crate::base::error::{Error, Kind, Result};
use crate::base::ids::DocumentName;
use crate::document::visibility::Viewer;
use crate::store::{Counted, Tally};

/// How many of each tally wait: those of a round until it is stored, those of the backlog until they are durable. As
/// bounded as the events that they belong to.
#[derive(Debug, Default)]
pub struct Tallies(HashMap<Tally, u64>);

impl Tallies {
    pub fn add(&mut self, counted: &Counted) {
        *self.0.entry(counted.tally.clone()).or_default() += 1;
    }

    /// One less: it is on disk, or undone.
    pub fn remove(&mut self, counted: &Counted) {
        if let Some(count) = self.0.get_mut(&counted.tally) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                self.0.remove(&counted.tally);
            }
        }
    }

    pub fn of(&self, tally: &Tally) -> u64 {
        self.0.get(tally).copied().unwrap_or(0)
    }
}

impl Thread {
    /// What the creation of `name` by `viewer` counts as. Error: that there may not be one more.
    pub fn count_creation(
        &self,
        name: &DocumentName,
        viewer: &Viewer,
        at: Timestamp,
        round: &Round,
    ) -> Result<Option<Counted>> {
        let Some(creations) = &self.options.creations else { return Ok(None) };
        let Some(tally) = creations.tally(name, viewer) else { return Ok(None) };
        let waiting = round.tallies.of(&tally).saturating_add(self.backlog.tallies().of(&tally));
        // As documents are loaded: not by the pool, unless the writer has lost its file.
        match self.writer.ask(|conn| creations.check(conn, &tally, waiting, at)) {
            Err(error) if is_unreadable(&error) => {
                self.reader.rows(|conn| creations.check(conn, &tally, waiting, at))?;
            }
            checked => checked?,
        }
        Ok(Some(Counted { by: creations.clone(), tally, at }))
    }
}

fn is_unreadable(error: &Error) -> bool {
    error.kind() == Kind::StorageUnavailable
}
