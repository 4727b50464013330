//! Documents on their way between servers: which take no changes, and taking one in.
//!
//! Before anything else is decided about a document, the engine looks here. What stands here is not stored by it: who
//! moves documents does that, and gives the engine what was stored before it starts.

use std::collections::HashMap;
use std::sync::Arc;

use super::backlog::Entry;
use super::batch::Round;
use super::command::Outcome;
use super::hooks::{Change, ChangeOrigin};
use super::thread::Thread;
use super::volatile::check_stored;
use super::working::{Since, Slot};
use crate::base::clock::Timestamp;
use crate::base::error::{Error, Kind, Result};
use crate::base::ids::DocumentName;
use crate::document::chain::Position;
use crate::document::decide::absent;
use crate::document::event::Event;
use crate::document::model::Document;
use crate::document::transfer::VerifiedChain;
use crate::document::visibility::Viewer;
use crate::live::moves::Move;
use crate::store::{CompanionWrite, Connection};

/// How a document stands between servers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It is here, and takes no changes: it may be about to leave.
    Frozen,
    /// It may come from another server.
    Arriving {
        id: String,
        /// Where it is now, when it was here before: it comes back.
        left: Option<Arc<Move>>,
    },
    /// It is at another address now.
    Moved(Arc<Move>),
}

/// What becomes of a document between servers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Turn {
    /// It takes no changes from now on. Answered with its newest version. Refused for one that is not there or stands
    /// somehow already: `NotFound`, `Gone`, `Frozen`, `Moved`; and for one that lives in memory only: `not-persistent`.
    Freeze,
    /// It stays after all, and takes changes again.
    Thaw,
    /// What was frozen is at this address now.
    Leave(String),
    /// The move of this name is to bring it: nobody creates one of this name. Refused for one that is here, or was and
    /// did not leave: `AlreadyExists`; and for one that is leaving: `Frozen`.
    Announce(String),
    /// The move of this name does not bring it.
    CallOff(String),
    /// The move of this name has brought it: it is here, on disk, and takes changes.
    Land(String),
}

/// A document that another server sends.
pub struct Coming {
    /// Names the move, as it was announced.
    pub id: String,
    pub chain: VerifiedChain,
    /// Writes the rows that come with it, given the document's key.
    pub companion_rows: CompanionRows,
}

/// Writes rows of a feature that belong to a document, given its key. See [`CompanionWrite`].
pub(crate) type CompanionRows = Arc<dyn Fn(&Connection, i64, Timestamp) -> Result<()> + Send + Sync>;

/// The newest version of a document that was frozen.
pub(crate) type Stood = Option<Arc<Document>>;

/// The documents that take no changes. Owned by the engine's thread. Bounded by how many are moved; of most it is
/// empty.
#[derive(Clone, Debug, Default)]
pub struct Standings(HashMap<DocumentName, Standing>);

impl Standings {
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
            Some(Standing::Arriving { .. }) => {
                Err(Error::new(Kind::Frozen, format!("{name} is on its way here from another server")))
            }
            Some(Standing::Moved(moved)) => Err(elsewhere(moved)),
        }
    }
}

/// The refusal of what is to be asked of another server.
pub(crate) fn elsewhere(moved: &Move) -> Error {
    Error::new(Kind::Moved, format!("{} is at {} now", moved.name, moved.to)).with("to", moved.to.as_str())
}

impl Thread {
    /// Reads the documents that were frozen, expected or moved from what hooks have stored of them. To be called before
    /// it runs. Error: that of a hook, with its name.
    pub fn restore_relocations(mut self) -> std::result::Result<Self, (&'static str, Error)> {
        let mut standings = HashMap::new();
        for hook in &self.options.hooks {
            let stored = self.writer.ask(|conn| hook.stored_relocations(conn));
            standings.extend(stored.map_err(|error| (hook.name(), error))?);
        }
        for standing in standings.values() {
            if let Standing::Moved(moved) | Standing::Arriving { left: Some(moved), .. } = standing {
                self.hub.moved(Arc::clone(moved));
            }
        }
        self.standings = Standings(standings);
        Ok(self)
    }

    /// Changes how a document stands. Errors: see [`Turn`].
    pub fn stand(&mut self, name: &DocumentName, turn: Turn) -> Result<Stood> {
        let before = self.standings.0.get(name).cloned();
        let after = match (turn, before) {
            (Turn::Freeze, _) => {
                self.standings.check(name)?;
                let document = self.here(name)?;
                check_stored(&document)?;
                self.standings.0.insert(name.clone(), Standing::Frozen);
                return Ok(Some(document));
            }
            (Turn::Leave(to), Some(Standing::Frozen)) => {
                let position = self.load(name)?.map_or(Position::Start, |slot| slot.document.position());
                let moved = Arc::new(Move { name: name.clone(), to, position });
                self.hub.moved(Arc::clone(&moved));
                Some(Standing::Moved(moved))
            }
            (Turn::Announce(_), Some(Standing::Frozen)) => return self.standings.check(name).map(|()| None),
            (Turn::Announce(id), None) => {
                if self.load(name)?.is_some() {
                    return Err(Error::new(Kind::AlreadyExists, format!("{name} is, or was, on this server")));
                }
                Some(Standing::Arriving { id, left: None })
            }
            (Turn::Announce(id), Some(Standing::Moved(left))) => Some(Standing::Arriving { id, left: Some(left) }),
            (Turn::Announce(id), Some(Standing::Arriving { left, .. })) => Some(Standing::Arriving { id, left }),
            (Turn::CallOff(id), Some(Standing::Arriving { id: known, left })) if id == known => {
                left.map(Standing::Moved)
            }
            (Turn::Land(id), Some(Standing::Arriving { id: known, left })) if id == known => {
                if left.is_some() {
                    self.hub.returned(name);
                }
                None
            }
            (Turn::Thaw, Some(Standing::Frozen)) => None,
            // Said again, or of an attempt that another has replaced.
            (Turn::Thaw | Turn::Leave(_) | Turn::CallOff(_) | Turn::Land(_), _) => return Ok(None),
        };
        match after {
            Some(standing) => self.standings.0.insert(name.clone(), standing),
            None => self.standings.0.remove(name),
        };
        Ok(None)
    }

    /// A document that is there. Error: `NotFound`, `Gone`.
    fn here(&mut self, name: &DocumentName) -> Result<Arc<Document>> {
        match self.load(name)?.map(|slot| slot.document) {
            Some(document) if !document.is_deleted() => Ok(document),
            other => Err(absent(name, other.as_ref())),
        }
    }

    /// Takes in a document of another server: the same events and hashes, in new places of this log. Of one that was
    /// here before, only what came since.
    pub fn import(&mut self, Coming { id, chain, companion_rows }: Coming, round: &mut Round) -> Result<Outcome> {
        let name = chain.name().clone();
        if self.backlog.is_failing() {
            return Err(Error::new(Kind::StorageUnavailable, "storage takes no documents of other servers now"));
        }
        let announced =
            matches!(self.standings.0.get(&name), Some(Standing::Arriving { id: known, .. }) if *known == id);
        if !announced {
            return Err(Error::new(Kind::Frozen, format!("{name} was not announced")));
        }
        let before = self.load(&name)?;
        let chain = match &before {
            Some(slot) => chain.continuing(&slot.document)?,
            None => chain,
        };
        if chain.is_trimmed() && !round.entries.is_empty() {
            // The ring forgets what is before a place that is left out, so that must be on disk.
            return Err(Error::new(Kind::StorageUnavailable, "other changes are being stored; try again"));
        }
        let meta = match &before {
            Some(slot) => Arc::clone(&slot.document.meta),
            None => chain.meta(self.end.next_key),
        };
        let (base, events, state) = chain.into_parts(&meta);
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
        let event = last.ok_or_else(|| Error::internal("a document came that is here already"))?;
        let since = self.since(before.as_ref().filter(|_| base.is_none()), &decided, &state)?;
        let base = base.map(|base| Arc::new(Document { seq: left_out, ..base }));
        let document = Arc::new(Document {
            version: event.version,
            hash: event.hash,
            seq: event.seq,
            updated_at: event.at,
            state: Some(state),
            meta: Arc::clone(&meta),
        });
        let mut hook_rows = Vec::with_capacity(decided.len());
        for (index, event) in decided.iter().enumerate() {
            let creates = index == 0 && before.as_ref().is_none_or(|slot| slot.document.is_deleted());
            let state = document.state.as_ref().filter(|_| event.seq == document.seq);
            let (viewer, origin) = (&Viewer::Owner, ChangeOrigin::Import);
            let change = Change { event, state, creates, viewer, origin };
            hook_rows.push(self.ask_hooks(&change, round)?);
        }
        round.bytes += decided.iter().map(|event| event.body.len()).sum::<usize>();
        self.working.put(Slot::decided(Arc::clone(&document), None, since));
        self.end.head = (event.seq, event.hash);
        let key = meta.key;
        let write = Arc::new(move |conn: &Connection, now| companion_rows(conn, key, now));
        let companion = CompanionWrite { label: Arc::from(name.to_string()), required: true, write };
        let mut new = before.is_none().then_some(meta);
        self.end.next_key += i64::from(new.is_some());
        let mut base = base;
        hook_rows.iter().flatten().for_each(|rows| round.pending_groups.add(rows));
        round.entries.extend(decided.into_iter().zip(hook_rows).map(|(event, hook_rows)| {
            let ends_write = event.seq == document.seq;
            let companion = ends_write.then(|| companion.clone());
            let (new_document, base) = (new.take(), base.take());
            Entry { ends_write, new_document, base, key: None, hook_rows, companion, event }
        }));
        round.changed.insert(name);
        Ok(Outcome { document, event, created: before.is_none() })
    }

    /// What comes after the last snapshot of a document to which these events are added. `before`: what came before
    /// them. Its own policy is in its state.
    fn since(&self, before: Option<&Slot>, events: &[Arc<Event>], state: &[u8]) -> Result<Since> {
        let tree = serde_json::from_slice(state).map_err(Error::internal)?;
        let policy = self.options.snapshots.of(&tree);
        let since = before.map_or(Since::nothing(self.options.clock.now(), policy), |slot| slot.since);
        let count = u64::try_from(events.len()).unwrap_or(u64::MAX);
        Ok(Since {
            patch_bytes: since.patch_bytes + events.iter().map(|event| event.body.len()).sum::<usize>(),
            events: since.events.saturating_add(count),
            policy,
            ..since
        })
    }
}
