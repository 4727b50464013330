//! From commands to events: what one round of the engine decides, before it is stored.

use std::collections::{HashMap, HashSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::sync::oneshot;

use super::backlog::Entry;
use super::command::{Answer, Durability, Key, Outcome, Task, Times, Write, Written};
use super::damaged::Begun;
use super::hooks::{Change, ChangeOrigin, HookRows, PendingGroups, StoredRows};
use super::mend::{Look, Order};
use super::persist::Extras;
use super::policy;
use super::reads;
use super::standing::{Coming, Stood};
use super::thread::Thread;
use super::volatile::recall;
use super::working::{Since, Slot, Source};
use crate::base::clock::Timestamp;
use crate::base::error::{Error, Kind, Result};
use crate::base::ids::{DocumentName, Seq, UserId, Version};
use crate::document::chain::Hash;
use crate::document::decide::{self, Context, Current, Decision, Operation, Request};
use crate::document::event::{Content, Event};
use crate::document::model::{Access, Document, Meta};
use crate::document::visibility::Viewer;
use crate::document::{json, patch};
use crate::store::write::keys::mismatch;
use crate::store::{Connection, IdempotencyRow};

/// What one round has decided so far. Nobody outside the engine sees any of it, refusals included, before it is stored:
/// a refusal may tell of a change made in the same round.
#[derive(Default)]
pub struct Round {
    /// The events with what belongs to them, in the order of the log.
    pub entries: Vec<Entry>,
    /// Bytes of the events' bodies.
    pub bytes: usize,
    /// The documents that changed.
    pub changed: HashSet<DocumentName>,
    /// Rows of features, which go into the same transaction.
    pub tasks: Vec<Box<dyn Task>>,
    /// Answers to be remembered in memory: of writes that touched volatile documents alone.
    pub answers: Vec<IdempotencyRow>,
    /// What else goes into the same transaction.
    pub extras: Extras,
    /// The answers to give.
    pub replies: Vec<Reply>,
    /// Answers about standings, to be given when everything before them is stored.
    pub notes: Vec<(oneshot::Sender<Result<Stood>>, Result<Stood>)>,
    /// How many rows hooks have added to the entries.
    pub pending_groups: PendingGroups,
    /// Who asked how things stand.
    pub looks: Vec<oneshot::Sender<Look>>,
    /// What is to be mended when the round is stored.
    pub orders: Vec<Order>,
    keys: HashMap<(String, String), usize>,
}

/// An answer to give when the round is stored.
pub struct Reply {
    to: oneshot::Sender<Result<Answer>>,
    queue: Duration,
    what: What,
}

enum What {
    Made {
        outcomes: Vec<Outcome>,
        key: Option<Key>,
    },
    /// The same answer as an earlier reply of this round.
    Again(usize),
    Given(Result<Answer>),
}

impl Round {
    pub fn reply(self, durability: Durability, apply: Duration, commit: Duration) {
        for task in self.tasks {
            task.finish(durability == Durability::Durable);
        }
        for (to, note) in self.notes {
            let _ = to.send(note);
        }
        let mut rendered: HashMap<usize, Bytes> = HashMap::new();
        for reply in &self.replies {
            if let What::Again(first) = reply.what
                && let Some(Reply { what: What::Made { outcomes, key: Some(key) }, .. }) = self.replies.get(first)
            {
                rendered.entry(first).or_insert_with(|| (key.render)(outcomes, durability));
            }
        }
        for reply in self.replies {
            let times = Times { queue: reply.queue, apply, commit };
            let answer = match reply.what {
                What::Made { outcomes, .. } => Ok(Answer::Made(Written { outcomes, durability, times })),
                What::Again(first) => match rendered.get(&first) {
                    Some(bytes) => Ok(Answer::Replayed(bytes.clone())),
                    None => Err(Error::internal("a repeated key without its first answer")),
                },
                What::Given(answer) => answer,
            };
            // Whoever asked may have gone; what was decided stands.
            let _ = reply.to.send(answer);
        }
    }

    /// The answers for keys of this round as long as it is not durable.
    pub fn pending_answers(&self) -> Vec<((String, String), (Hash, Bytes))> {
        let answer = |(name, first): (&(String, String), &usize)| match self.replies.get(*first) {
            Some(Reply { what: What::Made { outcomes, key: Some(key) }, .. }) if !all_volatile(outcomes) => {
                Some((name.clone(), (key.fingerprint, (key.render)(outcomes, Durability::Pending))))
            }
            _ => None,
        };
        self.keys.iter().filter_map(answer).collect()
    }
}

/// Where the log ends.
#[derive(Clone, Copy, Debug)]
pub struct End {
    /// Seq and hash of the last decided event.
    pub head: (Seq, Hash),
    /// The key that the next new document gets.
    pub next_key: i64,
}

impl Thread {
    /// Decides a write and notes its answer.
    pub fn take(&mut self, write: Write, sent: Instant, to: oneshot::Sender<Result<Answer>>, round: &mut Round) {
        let queue = sent.elapsed();
        let what = match self.earlier_answer(&write, round) {
            Ok(Some(what)) => what,
            Ok(None) => self.decide_write(write, round).unwrap_or_else(|error| What::Given(Err(error))),
            Err(error) => What::Given(Err(error)),
        };
        round.replies.push(Reply { to, queue, what });
    }

    /// Takes in a document of another server and notes the answer.
    pub fn take_in(&mut self, coming: Coming, sent: Instant, to: oneshot::Sender<Result<Answer>>, round: &mut Round) {
        let queue = sent.elapsed();
        let what = match self.import(coming, round) {
            Ok(outcome) => What::Made { outcomes: vec![outcome], key: None },
            Err(error) => What::Given(Err(error)),
        };
        round.replies.push(Reply { to, queue, what });
    }

    /// The answer that was given under the same key before, if there was one.
    fn earlier_answer(&mut self, write: &Write, round: &Round) -> Result<Option<What>> {
        let Some(key) = &write.key else { return Ok(None) };
        let name = (write.viewer.scope().to_owned(), key.key.clone());
        if let Some(first) = round.keys.get(&name)
            && let Some(Reply { what: What::Made { key: Some(earlier), .. }, .. }) = round.replies.get(*first)
        {
            check_fingerprint(key, earlier.fingerprint)?;
            return Ok(Some(What::Again(*first)));
        }
        if let Some((fingerprint, answer)) = self.backlog.answer(&name) {
            check_fingerprint(key, *fingerprint)?;
            return Ok(Some(What::Given(Ok(Answer::Replayed(answer.clone())))));
        }
        if let Some((fingerprint, answer)) = self.answers.find(&name) {
            check_fingerprint(key, fingerprint)?;
            return Ok(Some(What::Given(Ok(Answer::Replayed(answer)))));
        }
        match self.writer.find_key(&name.0, &name.1)? {
            Some(row) => {
                check_fingerprint(key, row.fingerprint)?;
                Ok(Some(What::Given(Ok(Answer::Replayed(row.answer)))))
            }
            None => Ok(None),
        }
    }

    /// Decides all changes of a write, or none.
    fn decide_write(&mut self, write: Write, round: &mut Round) -> Result<What> {
        self.backlog.check_room(&self.options.backlog, &round.entries)?;
        let Write { requests, viewer, key } = write;
        let at = self.options.clock.now();
        let (end, first, bytes, several) = (self.end, round.entries.len(), round.bytes, requests.len() > 1);
        let mut undo: Vec<(DocumentName, Option<Slot>)> = Vec::with_capacity(requests.len());
        let mut outcomes = Vec::with_capacity(requests.len());
        for (index, request) in requests.into_iter().enumerate() {
            let name = request.name.clone();
            let decided = self.decide_one(request, &viewer, at, round);
            match decided {
                Ok((outcome, before)) => {
                    undo.push((name, before));
                    outcomes.push(outcome);
                }
                Err(mut error) => {
                    if undo.iter().any(|(changed, _)| *changed == name) {
                        // They tell of a version that is undone here and that nobody will ever see.
                        error = error.without(decide::DETAILS_OF_DOCUMENT);
                    }
                    for (name, before) in undo.into_iter().rev() {
                        self.working.restore(&name, before);
                    }
                    for entry in round.entries.drain(first..) {
                        entry.hook_rows.iter().for_each(|rows| round.pending_groups.remove(rows));
                    }
                    (round.bytes, self.end) = (bytes, end);
                    return Err(if several { error.with("index", index) } else { error });
                }
            }
        }
        round.changed.extend(undo.into_iter().map(|(name, _)| name));
        let row = key.as_ref().map(|key| IdempotencyRow {
            scope: viewer.scope().to_owned(),
            key: key.key.clone(),
            fingerprint: key.fingerprint,
            answer: (key.render)(&outcomes, Durability::Durable),
            at,
            document: only_document(&outcomes),
        });
        if let Some(row) = &row {
            round.keys.insert((row.scope.clone(), row.key.clone()), round.replies.len());
        }
        if let Some(last) = round.entries.last_mut() {
            last.ends_write = true;
            if all_volatile(&outcomes) {
                round.answers.extend(row);
            } else {
                last.key = row;
            }
        }
        Ok(What::Made { outcomes, key })
    }

    /// Decides one change and puts its outcome in place. Returns what stood there before.
    fn decide_one(
        &mut self,
        request: Request,
        viewer: &Viewer,
        at: Timestamp,
        round: &mut Round,
    ) -> Result<(Outcome, Option<Slot>)> {
        let name = request.name.clone();
        self.standings.check(&name)?;
        let Begun { slot, unknown } = self.begin(&name, &request.operation)?;
        let tree = slot.as_ref().map(Slot::tree).transpose()?.flatten();
        // Whatever the state before was, and whether it can be read: an old state comes back whole.
        let whole = matches!(request.operation, Operation::Rollback { .. });
        let mut seed = [0; 32];
        self.options.entropy.fill(&mut seed);
        let birth = Birth::of(&request.operation);
        let moment = Moment { viewer, at, seed, origin: ChangeOrigin::Request };
        let decision = self.decision(request, slot.as_ref(), tree.as_deref(), moment, round);
        let decision = decision.map_err(|error| if unknown { error.without(&["current"]) } else { error })?;
        let tree = tree.filter(|_| !whole);
        let meta = match &slot {
            Some(slot) => Arc::clone(&slot.document.meta),
            None => Arc::new(self.new_meta(&name, viewer, birth, at)),
        };
        self.record(meta, slot.as_ref(), tree.as_deref(), decision, moment, round)
    }

    /// Makes a decision an event and puts its outcome in place. Returns what stood there before.
    pub fn record(
        &mut self,
        meta: Arc<Meta>,
        slot: Option<&Slot>,
        tree: Option<&serde_json::Value>,
        decision: Decision,
        Moment { viewer, at, origin, .. }: Moment<'_>,
        round: &mut Round,
    ) -> Result<(Outcome, Option<Slot>)> {
        let mut salt = [0; 16];
        self.options.entropy.fill(&mut salt);
        let Decision { kind, payload, state: mut after } = decision;
        let state = match &mut after {
            Some(state) => {
                json::normalise(state);
                Some(Bytes::from(json::serialise_state(state, self.options.state)?))
            }
            None => None,
        };
        if meta.volatile {
            self.check_volatile_room(slot, state.as_ref())?;
        }
        let change = patch::diff(tree, after.as_ref(), state.as_ref().map_or(0, Bytes::len))?;
        let (version, previous) =
            slot.map_or((Version::ZERO, Hash::ZERO), |slot| (slot.document.version, slot.document.hash));
        let actor = viewer.actor()?;
        let content = Content { kind: &kind, actor: &actor, at, payload: &payload, change: &change, salt };
        let event = Event::new(self.end.head.0.next(), Arc::clone(&meta), version.next(), previous, &content)?;
        let document = Arc::new(Document {
            version: event.version,
            hash: event.hash,
            seq: event.seq,
            updated_at: at,
            state,
            meta: Arc::clone(&meta),
        });
        // What is refused here has left no trace yet.
        let created = slot.is_none_or(|slot| slot.document.is_deleted());
        let state = document.state.as_ref();
        let change = Change { event: &event, state, creates: created && state.is_some(), viewer, origin };
        let hook_rows = self.ask_hooks(&change, round)?;
        let event = Arc::new(event);
        self.end.head = (event.seq, event.hash);
        if slot.is_none() && !meta.volatile {
            self.end.next_key += 1;
        }
        // A creation carries the whole state: it is as good as a snapshot. What else does gets one of its own, so that
        // it depends on nothing before.
        let policy = after.as_ref().map_or(self.options.snapshots, |state| self.options.snapshots.of(state));
        let since = match slot {
            Some(Slot { since, .. }) if !created => Since {
                patch_bytes: since.patch_bytes + event.body.len(),
                events: since.events + 1,
                forced: since.forced || tree.is_none() || policy::forces(tree, after.as_ref()),
                policy,
                ..*since
            },
            _ => Since::nothing(at, policy),
        };
        let before = self.working.put(Slot::decided(Arc::clone(&document), after, since));
        round.bytes += event.body.len();
        let new_document = slot.is_none().then_some(meta);
        let event_of_write = Arc::clone(&event);
        hook_rows.iter().for_each(|rows| round.pending_groups.add(rows));
        let (base, key, companion, ends_write) = (None, None, None, false);
        round.entries.push(Entry { event: event_of_write, new_document, base, key, hook_rows, companion, ends_write });
        Ok((Outcome { document, event, created }, before))
    }

    /// Shows a change to the hooks. Returns the rows that they add to it. Error: the refusal of one of them.
    pub fn ask_hooks(&self, change: &Change<'_>, round: &Round) -> Result<Vec<HookRows>> {
        if change.event.meta.volatile {
            return Ok(Vec::new());
        }
        // As documents are loaded: not by the pool, unless the writer has lost its file.
        let read = |question: &mut dyn FnMut(&Connection) -> Result<()>| match self.writer.ask(&mut *question) {
            Err(error) if error.kind() == Kind::StorageUnavailable => self.reader.rows(question),
            answered => answered,
        };
        let waiting = [&round.pending_groups, self.backlog.pending_groups()];
        let mut added = Vec::new();
        for hook in &self.options.hooks {
            let name = hook.name();
            let rows = hook.before_store(change, &StoredRows { hook: name, read: &read, waiting })?;
            added.extend(rows.map(|rows| HookRows { hook: name, rows }));
        }
        Ok(added)
    }

    fn decision(
        &self,
        request: Request,
        slot: Option<&Slot>,
        tree: Option<&serde_json::Value>,
        moment: Moment<'_>,
        round: &Round,
    ) -> Result<Decision> {
        let name = request.name.clone();
        let past = |version: Version| {
            let parse = |state: &Bytes| serde_json::from_slice(state).map_err(Error::internal);
            let of_document = |event: &&Arc<Event>| event.meta.name == name;
            let volatile = slot.filter(|slot| slot.document.meta.volatile);
            let mut undurable: Vec<Arc<Event>> = {
                let ring = self.hub.gate();
                let from = if volatile.is_some() { Seq::ZERO } else { ring.durable() };
                ring.after(from).filter(of_document).cloned().collect()
            };
            undurable.extend(round.entries.iter().map(|entry| &entry.event).filter(of_document).cloned());
            if let Some(slot) = volatile {
                return recall(&slot.document, &undurable, version)?.state.as_ref().map(parse).transpose();
            }
            // Not by the pool, which a thousand resuming streams may keep busy, unless the writer has lost its file.
            let document = match reads::state_at(&self.writer, &name, version, &undurable) {
                Err(error) if error.kind() == Kind::StorageUnavailable => {
                    reads::state_at(&self.reader, &name, version, &undurable)?
                }
                read => read?,
            };
            document.state.as_ref().map(parse).transpose()
        };
        let context = Context {
            viewer: moment.viewer,
            rules: self.options.rules.get(&name.collection).map(|rules| &**rules),
            at: moment.at,
            seed: moment.seed,
            bounds: self.options.state,
            past: &past,
        };
        let current = slot.map(|slot| Current { document: &slot.document, state: tree });
        // Rules are foreign code. They get values and return one, so nothing of ours is left half-done by a panic.
        catch_unwind(AssertUnwindSafe(|| decide::decide(request, current, &context)))
            .unwrap_or_else(|_| Err(Error::internal(format!("the rules of {} panicked", name.collection))))
    }

    /// A document in memory, taken from disk when it is cold.
    pub fn load(&mut self, name: &DocumentName) -> Result<Option<Slot>> {
        let mut source = Source { writer: &mut self.writer, reader: &self.reader };
        let (slot, was_hot) = self.working.load(name, &mut source)?;
        if let (Some(slot), false) = (&slot, was_hot) {
            self.hub.warm(Arc::clone(&slot.document));
        }
        Ok(slot)
    }

    fn new_meta(&self, name: &DocumentName, viewer: &Viewer, birth: Birth, at: Timestamp) -> Meta {
        let creator = match viewer {
            Viewer::Owner => None,
            Viewer::User(id) => Some(id.clone()),
        };
        let volatile = self.options.volatile.collections.contains(&name.collection);
        // Below 0 no row can have it: not now, and not after a restart.
        let own_key = || i64::try_from(self.end.head.0.next().0).map_or(i64::MIN, |seq| -seq);
        Meta {
            key: if volatile { own_key() } else { self.end.next_key },
            name: name.clone(),
            host: birth.host.or(creator),
            access: birth.access,
            created_at: at,
            volatile,
        }
    }
}

/// The key of the document that a write changed, if it was one and is on disk.
fn only_document(outcomes: &[Outcome]) -> Option<i64> {
    let first = &outcomes.first()?.document.meta;
    let same = outcomes.iter().all(|outcome| outcome.document.meta.key == first.key);
    (same && !first.volatile).then_some(first.key)
}

/// Whether nothing of a write is for the disk.
fn all_volatile(outcomes: &[Outcome]) -> bool {
    outcomes.iter().all(|outcome| outcome.document.meta.volatile)
}

/// Who asks, and the values of the moment.
#[derive(Clone, Copy)]
pub struct Moment<'a> {
    pub viewer: &'a Viewer,
    pub at: Timestamp,
    /// Random bytes for the rules.
    pub seed: [u8; 32],
    pub origin: ChangeOrigin,
}

/// What a creation says beyond the state.
#[derive(Default)]
struct Birth {
    host: Option<UserId>,
    access: Access,
}

impl Birth {
    fn of(operation: &Operation) -> Self {
        match operation {
            Operation::Create { host, access, .. } => Self { host: host.clone(), access: access.clone() },
            _ => Self::default(),
        }
    }
}

fn check_fingerprint(key: &Key, earlier: Hash) -> Result<()> {
    if key.fingerprint == earlier {
        return Ok(());
    }
    Err(mismatch())
}
