//! Documents on their way between servers: which take no changes, and taking one in.
//!
//! Before anything else is decided about a document, the engine looks here. What stands here is not stored by it: who
//! moves documents does that, and gives the engine what was stored before it starts.

use std::collections::HashMap;
use std::sync::Arc;

use super::backlog::Entry;
use super::batch::Round;
use super::command::Outcome;
use super::thread::Thread;
use super::volatile::check_stored;
use super::working::{Since, Slot};
use crate::base::error::{Error, Kind, Result};
use crate::base::ids::DocumentName;
use crate::document::decide::absent;
use crate::document::event::Event;
use crate::document::model::Document;
use crate::document::transfer::VerifiedChain;

/// How a document stands between servers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It is here, and takes no changes: it may be about to leave. Refused for one that is not there or stands somehow
    /// already: `NotFound`, `Gone`, `Frozen`, `Moved`; and for one that lives in memory only: `not-persistent`.
    Frozen,
    /// It may come from another server: nobody creates one of this name. Refused for one that is, or was, here:
    /// `AlreadyExists`.
    Arriving,
    /// It is at this address now, for good.
    Moved(String),
}

/// The newest version of a document whose standing was set, if there is one.
pub type Stood = Option<Arc<Document>>;

/// The documents that take no changes. Owned by the engine's thread. Bounded by how many are moved; of most it is empty.
#[derive(Clone, Debug, Default)]
pub struct Standings(HashMap<DocumentName, Standing>);

impl Standings {
    /// Those that were stored.
    pub fn new(stored: impl IntoIterator<Item = (DocumentName, Standing)>) -> Self {
        Self(stored.into_iter().collect())
    }

    /// Refuses a change. Error: `Frozen`, `Moved`.
    pub fn check(&self, name: &DocumentName) -> Result<()> {
        if self.0.is_empty() {
            return Ok(());
        }
        match self.0.get(name) {
            None => Ok(()),
            Some(Standing::Frozen) => {
                Err(Error::new(Kind::Frozen, format!("{name} is about to move to another server")))
            }
            Some(Standing::Arriving) => {
                Err(Error::new(Kind::Frozen, format!("{name} is on its way here from another server")))
            }
            Some(Standing::Moved(to)) => {
                Err(Error::new(Kind::Moved, format!("{name} is at {to} now")).with("to", to.as_str()))
            }
        }
    }
}

impl Thread {
    /// Gives the engine the standings that were stored, before it runs.
    #[must_use]
    pub fn with_standings(mut self, standings: Standings) -> Self {
        for (name, standing) in &standings.0 {
            if let Standing::Moved(to) = standing {
                self.hub.moved(name, to);
            }
        }
        self.standings = standings;
        self
    }

    /// Sets how a document stands. Errors: see [`Standing`].
    pub fn stand(&mut self, name: &DocumentName, standing: Option<Standing>) -> Result<Stood> {
        let before = self.standings.0.get(name);
        let document = match &standing {
            Some(Standing::Frozen) => {
                self.standings.check(name)?;
                let document = self.load(name)?.map(|slot| slot.document);
                if document.as_ref().is_none_or(|document| document.is_deleted()) {
                    return Err(absent(name, document.as_ref()));
                }
                document.as_deref().map(check_stored).transpose()?;
                document
            }
            Some(Standing::Arriving) => {
                if self.load(name)?.is_some() {
                    return Err(Error::new(Kind::AlreadyExists, format!("{name} is, or was, on this server")));
                }
                None
            }
            Some(Standing::Moved(to)) => {
                self.hub.moved(name, to);
                None
            }
            None => {
                if before.is_some_and(|before| matches!(before, Standing::Moved(_))) {
                    return Ok(None);
                }
                self.standings.0.remove(name);
                return Ok(None);
            }
        };
        if let Some(standing) = standing {
            self.standings.0.insert(name.clone(), standing);
        }
        Ok(document)
    }

    /// Takes in a document of another server: the same events and hashes, in new places of this log.
    pub fn import(&mut self, chain: VerifiedChain, round: &mut Round) -> Result<Outcome> {
        let name = chain.name().clone();
        if self.backlog.is_failing() {
            return Err(Error::new(Kind::StorageUnavailable, "storage takes no documents of other servers now"));
        }
        if self.load(&name)?.is_some() {
            return Err(Error::new(Kind::AlreadyExists, format!("{name} is, or was, on this server")));
        }
        if self.standings.0.get(&name) != Some(&Standing::Arriving) {
            return Err(Error::new(Kind::Frozen, format!("{name} was not announced")));
        }
        if chain.is_trimmed() && !round.entries.is_empty() {
            // The ring forgets what is before a place that is left out, so that must be on disk.
            return Err(Error::new(Kind::StorageUnavailable, "other changes are being stored; try again"));
        }
        let (meta, base, events, state) = chain.into_parts(self.end.next_key);
        // A history without its beginning leaves a place out, as if what is missing had been there and was trimmed:
        // whoever follows the collection and is told of changes from here on must have been given the state before.
        let (left_out, mut last) = (self.end.head.0.next(), None);
        let mut seq = if base.is_some() { left_out.next() } else { left_out };
        let mut decided: Vec<Arc<Event>> = Vec::with_capacity(events.len());
        for sent in events {
            let event = Event::stored(seq, Arc::clone(&meta), sent.version, sent.hash, sent.deletes, sent.body)?;
            seq = seq.next();
            last = Some(Arc::new(event));
            decided.extend(last.clone());
        }
        let event = last.ok_or_else(|| Error::internal("a verified history without an event"))?;
        let base = base.map(|base| Arc::new(Document { seq: left_out, ..base }));
        let bytes = decided.iter().map(|event| event.body.len()).sum::<usize>();
        let document = Arc::new(Document {
            version: event.version,
            hash: event.hash,
            seq: event.seq,
            updated_at: event.at,
            state: Some(state),
            meta: Arc::clone(&meta),
        });
        let count = u64::try_from(decided.len()).unwrap_or(u64::MAX);
        let since = Since::nothing(self.options.clock.now(), self.options.snapshots);
        let since = Since { patch_bytes: bytes, events: count, ..since };
        self.working.put(Slot::decided(Arc::clone(&document), None, since));
        self.end.head = (event.seq, event.hash);
        self.end.next_key += 1;
        let (mut meta, mut base) = (Some(meta), base);
        round.entries.extend(decided.into_iter().map(|event| Entry {
            ends_write: event.seq == document.seq,
            new_document: meta.take(),
            base: base.take(),
            key: None,
            counted: None,
            event,
        }));
        round.bytes += bytes;
        round.changed.insert(name.clone());
        self.standings.0.remove(&name);
        Ok(Outcome { document, event, created: true })
    }
}
