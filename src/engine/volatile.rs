//! What lives in memory only: how much of it there may be, how it ends, and what is remembered beside it.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::batch::{Moment, Round};
use super::hooks::ChangeOrigin;
use super::reads::roll_forward;
use super::thread::Thread;
use super::working::Slot;
use crate::base::clock::Timestamp;
use crate::base::error::{Error, Kind, Result};
use crate::base::ids::{DocumentName, Seq, Version};
use crate::base::limits::{IDEMPOTENCY_KEPT, VOLATILE_KEYS_BYTES_MAX, VOLATILE_KEYS_MAX};
use crate::document::chain::Hash;
use crate::document::decide::Decision;
use crate::document::event::Event;
use crate::document::model::{Document, Meta};
use crate::document::visibility::Viewer;
use crate::engine::problems::NOT_PERSISTENT;
use crate::live::ring::Ring;
use crate::live::topics::Interest;
use crate::store::{IdempotencyRow, Reader};

/// Most documents that one sweep ends: each is a change that everyone is told of.
const EXPIRED_AT_ONCE_MAX: usize = 100;

impl Thread {
    /// Refuses a change that would make volatile documents more, or their states larger, than they may be. `before` is
    /// the document as it was. Error: `TooLarge`.
    pub fn check_volatile_room(&self, before: Option<&Slot>, state: Option<&Bytes>) -> Result<()> {
        let (weight, bounds) = (self.working.volatile(), &self.options.volatile);
        if before.is_none() && weight.documents >= bounds.documents_max {
            let message = "new documents of this collection live in memory only, and there are as many as may be; \
                           delete one, or try again when others have ended";
            return Err(Error::new(Kind::TooLarge, message).with("maxDocuments", bounds.documents_max));
        }
        let old = before.and_then(|slot| slot.document.state.as_ref()).map_or(0, Bytes::len);
        let new = state.map_or(0, Bytes::len);
        if new > old && weight.bytes - old + new > bounds.bytes_max {
            let message = "documents that live in memory only have as much of it as they may";
            return Err(Error::new(Kind::TooLarge, message).with("maxBytes", bounds.bytes_max));
        }
        Ok(())
    }

    /// Deletes volatile documents that nobody used for long, which those who follow are told as any change, and lets go
    /// of those that were deleted a while ago.
    pub fn expire_volatile(&mut self) {
        let now = self.options.clock.now();
        let (unused, deleted) = (now.minus(self.options.volatile.idle), now.minus(self.options.hot.idle));
        let (mut gone, mut round) = (Vec::new(), Round::default());
        for (name, used) in self.hub.uses() {
            let Some(slot) = self.working.get(&name).filter(|slot| slot.document.meta.volatile) else { continue };
            if slot.document.is_deleted() && used < deleted {
                gone.push(name);
            } else if !slot.document.is_deleted() && used < unused && round.entries.len() < EXPIRED_AT_ONCE_MAX {
                let slot = slot.clone();
                if let Err(error) = self.expire(&slot, now, &mut round) {
                    tracing::warn!(document = %name, %error, "{name} could not be ended");
                }
            }
        }
        gone.iter().for_each(|name| self.working.remove(name));
        self.hub.evict(&gone);
        if !round.entries.is_empty() {
            let documents = round.entries.len();
            tracing::info!(
                documents,
                "{documents} documents that lived in memory only were not used for long: deleted"
            );
            self.settle(round, Duration::ZERO);
        }
    }

    fn expire(&mut self, slot: &Slot, at: Timestamp, round: &mut Round) -> Result<()> {
        let tree = slot.tree()?;
        let decision = Decision { kind: "delete".to_owned(), payload: serde_json::json!({}), state: None };
        let moment = Moment { viewer: &Viewer::Owner, at, seed: [0; 32], origin: ChangeOrigin::Maintenance };
        self.record(Arc::clone(&slot.document.meta), Some(slot), tree.as_deref(), decision, moment, round)?;
        if let Some(last) = round.entries.last_mut() {
            last.ends_write = true;
        }
        round.changed.insert(slot.document.meta.name.clone());
        Ok(())
    }
}

/// Refuses what needs a document to be on disk, for one that is in memory alone. Error: `AlreadyExists`, named
/// `not-persistent`.
pub(crate) fn check_stored(document: &Document) -> Result<()> {
    check_meta(&document.meta)
}

pub(crate) fn check_meta(meta: &Meta) -> Result<()> {
    if !meta.volatile {
        return Ok(());
    }
    let name = &meta.name;
    let message = format!(
        "{name} lives in memory only, since it was created while persistence was turned off: nothing of it is kept on \
         disk; play on, or have persistence turned on and open a new game"
    );
    Err(NOT_PERSISTENT.error(message))
}

/// A volatile document as it was at `version`, from those of its events that are still in memory (without a gap up to
/// the newest). It can be made again from an event on that begins it anew. Error: `NotFound` for a version that never
/// was (with `currentVersion`); `Gone` for one that cannot be made again (with `firstVersion`).
pub(crate) fn recall(newest: &Arc<Document>, events: &[Arc<Event>], version: Version) -> Result<Arc<Document>> {
    let (name, current) = (&newest.meta.name, newest.version);
    if version == current {
        return Ok(Arc::clone(newest));
    }
    if version > current || version == Version::ZERO {
        let message = format!("{name} has no version {version}");
        return Err(Error::not_found(message).with("currentVersion", current.0));
    }
    let mut after_end = false;
    let begins = |event: &Arc<Event>| event.version == Version(1) || std::mem::replace(&mut after_end, event.deletes);
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

/// What left memory and was nowhere else: changes of volatile documents that somebody may want.
pub(crate) struct Forgotten {
    /// Of whole collections that are followed.
    certain: bool,
    /// Documents that are followed and are in such a collection. Only those that were not stored then are concerned.
    names: Vec<DocumentName>,
    after: Seq,
    /// The last of all.
    pub until: Seq,
}

impl Forgotten {
    /// What `interest` covers and came after `after`.
    pub(crate) fn after(ring: &Ring, interest: &Interest, after: Seq) -> Self {
        let collections = interest.collections.iter().chain(interest.documents.iter().map(|name| &name.collection));
        let until = collections.map(|collection| ring.lost(collection)).max().unwrap_or(Seq::ZERO);
        if until <= after {
            return Self { certain: false, names: Vec::new(), after, until };
        }
        let certain = interest.collections.iter().any(|collection| ring.lost(collection) > after);
        let names = interest.documents.iter().filter(|name| ring.lost(&name.collection) > after);
        Self { certain, names: names.cloned().collect(), after, until }
    }

    /// Whether anything of it was wanted. Error: that of reading.
    pub(crate) fn concerns(&self, reader: &Reader) -> Result<bool> {
        Ok(self.certain || any_not_stored(reader, &self.names, self.after)?)
    }
}

/// Whether any of these documents was not on disk at the place `after` of the log. One that was stays so for good, and
/// never was volatile; one that came there later may be of the same name as one that was. Error: that of reading.
pub(crate) fn any_not_stored(reader: &Reader, names: &[DocumentName], after: Seq) -> Result<bool> {
    for name in names {
        if reader.stored_since(name)?.is_none_or(|since| since > after) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// What was answered to writes that touched volatile documents alone. Not on disk: the answers hold what must not be
/// there, and a retry after a restart finds nothing that it could repeat.
#[derive(Default)]
pub struct Answers {
    by_name: HashMap<(String, String), IdempotencyRow>,
    order: VecDeque<((String, String), Timestamp)>,
    bytes: usize,
}

impl Answers {
    /// Fingerprint and answer, if they are remembered.
    pub fn find(&self, name: &(String, String)) -> Option<(Hash, Bytes)> {
        self.by_name.get(name).map(|row| (row.fingerprint, row.answer.clone()))
    }

    /// Remembers answers, and forgets those that are too old or too many.
    pub fn remember(&mut self, rows: Vec<IdempotencyRow>, now: Timestamp) {
        for row in rows {
            let name = (row.scope.clone(), row.key.clone());
            self.bytes += row.answer.len();
            self.order.push_back((name.clone(), row.at));
            self.by_name.insert(name, row);
        }
        let oldest = now.minus(IDEMPOTENCY_KEPT);
        let full = |answers: &Self| answers.order.len() > VOLATILE_KEYS_MAX || answers.bytes > VOLATILE_KEYS_BYTES_MAX;
        while self.order.front().is_some_and(|(_, at)| *at < oldest) || full(self) {
            let Some((name, _)) = self.order.pop_front() else { return };
            if let Some(row) = self.by_name.remove(&name) {
                self.bytes -= row.answer.len();
            }
        }
    }
}
