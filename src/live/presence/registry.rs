//! The rooms of all documents: which of them is due when, and which have news for whom. A value like each
//! [`Room`]: it is given the time.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};

use super::room::{PlayerPresence, PresenceTime, Room};
use crate::base::ids::{DocumentName, UserId};
use crate::base::limits::{PRESENCE_ENTRIES_MAX, STREAM_WRITE_BYTES_MAX};
use crate::live::display_names::DisplayNames;
use crate::live::topics::Interest;

/// Before the first time that anything was told.
const FIRST_REVISION: u64 = 0;

#[derive(Debug)]
pub(super) struct RoomRegistry {
    debounce: Duration,
    names: Arc<DisplayNames>,
    rooms: HashMap<DocumentName, RoomEntry>,
    /// When rooms are due.
    due_rooms: BTreeSet<(Duration, DocumentName)>,
    /// What was told, oldest first: each room by its newest revision.
    revisions: BTreeMap<u64, DocumentName>,
    /// How often anything was told.
    revision: u64,
    /// Rooms and their players.
    entries: usize,
    /// How often somebody began or ceased to take part.
    participant_changes: u64,
}

#[derive(Debug, Default)]
struct RoomEntry {
    room: Room,
    /// Where it stands in the due_rooms.
    due: Option<Duration>,
    /// Where it stands among the revisions; 0: nothing was told yet.
    revision: u64,
    /// Whether all participants of before it was made are known.
    participants_known: bool,
}

/// How far a subscriber is.
#[derive(Clone, Copy, Debug)]
pub(super) struct PresenceCursor {
    /// What was told when it came: the present for it, and no news.
    opened: u64,
    /// Everything up to here it knows.
    told: u64,
}

/// Whether a single document is all that is followed.
fn follows_one(interest: &Interest) -> bool {
    interest.documents.len() == 1 && interest.collections.is_empty()
}

impl RoomRegistry {
    /// `names`: what players are called.
    pub(super) fn new(debounce: Duration, names: Arc<DisplayNames>) -> Self {
        let (rooms, due_rooms, revisions) = (HashMap::new(), BTreeSet::new(), BTreeMap::new());
        Self {
            debounce,
            names,
            rooms,
            due_rooms,
            revisions,
            revision: FIRST_REVISION,
            entries: 0,
            participant_changes: 0,
        }
    }

    /// Where a new subscriber begins: it is still to be told everything.
    pub(super) fn begin(&self) -> PresenceCursor {
        PresenceCursor { opened: self.revision, told: FIRST_REVISION }
    }

    /// How many rooms and players are kept.
    #[cfg(test)]
    pub(super) fn entries(&self) -> usize {
        self.entries
    }

    /// When [`run_due`](Self::run_due) has something to do next.
    pub(super) fn next_due(&self) -> Option<Duration> {
        self.due_rooms.first().map(|(due, _)| *due)
    }

    /// A connection opened. `false`: there is no room for more, and it does not count.
    #[must_use]
    pub(super) fn connected(&mut self, name: &DocumentName, user: &UserId, now: PresenceTime) -> bool {
        self.entries < PRESENCE_ENTRIES_MAX && self.update(name, now, |room| room.connected(user, now))
    }

    /// A connection that counted closed.
    pub(super) fn disconnected(&mut self, name: &DocumentName, user: &UserId, now: PresenceTime) {
        if self.rooms.contains_key(name) {
            self.update(name, now, |room| room.disconnected(user, now));
        }
    }

    /// Whether the participants of before the room was made are still to be asked for, and what is to be given to
    /// [`know`](Self::know) then.
    pub(super) fn participants_to_load(&self, name: &DocumentName) -> Option<u64> {
        let known = self.rooms.get(name).is_some_and(|kept| kept.participants_known);
        (!known).then_some(self.participant_changes)
    }

    /// These took part when `participant_changes` was what it is said to be. `false`: it is not any more, and what was
    /// found may not hold.
    #[must_use]
    pub(super) fn add_known(
        &mut self,
        name: &DocumentName,
        participants: &[UserId],
        participant_changes: u64,
        now: PresenceTime,
    ) -> bool {
        if participant_changes != self.participant_changes {
            return false;
        }
        if self.entries + participants.len() < PRESENCE_ENTRIES_MAX && !participants.is_empty() {
            // Everybody, whoever came first.
            let news =
                self.update(name, now, |room| participants.iter().filter(|user| room.add_known(user, now)).count() > 0);
            if news {
                self.bump_revision(name);
            }
        }
        if let Some(kept) = self.rooms.get_mut(name) {
            kept.participants_known = true;
        }
        true
    }

    /// `user` takes part from now on.
    pub(super) fn join(&mut self, name: &DocumentName, user: &UserId, now: PresenceTime) {
        self.participant_changes += 1;
        if self.entries < PRESENCE_ENTRIES_MAX {
            self.update(name, now, |room| room.join(user, now));
        }
    }

    /// `user` takes part no more.
    pub(super) fn leave(&mut self, name: &DocumentName, user: &UserId, now: PresenceTime) {
        self.participant_changes += 1;
        if self.entries < PRESENCE_ENTRIES_MAX || self.rooms.contains_key(name) {
            self.update(name, now, |room| room.leave(user, now));
        }
    }

    /// Nobody takes part any more.
    pub(super) fn leave_all(&mut self, name: &DocumentName, now: PresenceTime) {
        self.participant_changes += 1;
        if self.rooms.contains_key(name) {
            self.update(name, now, |room| room.leave_all(now));
        }
    }

    /// Does what is due, once per room. Returns the rooms whose watchers have something to be told.
    pub(super) fn run_due(&mut self, now: PresenceTime) -> Vec<DocumentName> {
        let due: Vec<_> = self.due_rooms.iter().take_while(|(due, _)| *due <= now.tick).cloned().collect();
        let debounce = self.debounce;
        let mut told = Vec::new();
        for (_, name) in due {
            if self.update(&name, now, |room| room.run_due(debounce, now)) {
                self.bump_revision(&name);
                told.push(name);
            }
        }
        told
    }

    fn bump_revision(&mut self, name: &DocumentName) {
        let Some(kept) = self.rooms.get_mut(name) else { return };
        self.revision += 1;
        self.revisions.remove(&kept.revision);
        self.revisions.insert(self.revision, name.clone());
        kept.revision = self.revision;
    }

    /// Changes a room, which is made for it if need be, and keeps the books.
    fn update<R>(&mut self, name: &DocumentName, now: PresenceTime, change: impl FnOnce(&mut Room) -> R) -> R {
        if !self.rooms.contains_key(name) {
            self.entries += 1;
        }
        let kept = self.rooms.entry(name.clone()).or_default();
        self.entries -= kept.room.len();
        let result = change(&mut kept.room);
        self.entries += kept.room.len();
        let over = kept.room.is_over(now);
        let due = if over { None } else { kept.room.next_due(self.debounce) };
        if kept.due != due {
            if let Some(before) = kept.due {
                self.due_rooms.remove(&(before, name.clone()));
            }
            self.due_rooms.extend(due.map(|due| (due, name.clone())));
            kept.due = due;
        }
        if over {
            self.revisions.remove(&kept.revision);
            self.rooms.remove(name);
            self.entries -= 1;
        }
        result
    }

    /// How it stands with a player. `None`: not known.
    pub(super) fn presence_of(&self, name: &DocumentName, user: &UserId, now: PresenceTime) -> Option<PlayerPresence> {
        self.rooms.get(name)?.room.standing(user, now)
    }

    /// Those who take part or are connected.
    pub(super) fn people(&self, name: &DocumentName) -> Vec<UserId> {
        self.rooms.get(name).map(|kept| kept.room.people()).unwrap_or_default()
    }

    /// What a subscriber is still to be told, as frames of a stream, and whether there is more than fits into one
    /// write. Of each room only the newest is told.
    /// `barred`: documents of which nothing is told; `revision`: how far to go.
    pub(super) fn next_frames(
        &mut self,
        interest: &Interest,
        seen: &mut PresenceCursor,
        (barred, revision): (&HashSet<DocumentName>, u64),
        now: PresenceTime,
    ) -> (Bytes, bool) {
        let (mut out, until) = (BytesMut::new(), revision.min(self.revision));
        if follows_one(interest) {
            // What most follow is found without a look at the others.
            for name in interest.documents.iter().filter(|name| !barred.contains(*name)) {
                out.extend_from_slice(&self.of_room(name, *seen, now).unwrap_or_default());
            }
        } else {
            let newer: Vec<_> = self.newer(interest, *seen).filter(|(revision, _)| *revision <= until).collect();
            for (revision, name) in newer {
                if out.len() >= STREAM_WRITE_BYTES_MAX {
                    return (out.freeze(), true);
                }
                if !barred.contains(&name) {
                    out.extend_from_slice(&self.of_room(&name, *seen, now).unwrap_or_default());
                }
                seen.told = revision;
            }
        }
        seen.told = seen.told.max(until);
        (out.freeze(), until < self.revision)
    }

    /// The documents of which a subscriber is still to be told something, and how far that goes.
    pub(super) fn pending(&self, interest: &Interest, seen: PresenceCursor) -> (Vec<DocumentName>, u64) {
        let names = match follows_one(interest) {
            true => interest.documents.iter().cloned().collect(),
            false => self.newer(interest, seen).map(|(_, name)| name).collect(),
        };
        (names, self.revision)
    }

    fn newer(&self, interest: &Interest, seen: PresenceCursor) -> impl Iterator<Item = (u64, DocumentName)> {
        let newer = self.revisions.range(seen.told + 1..).filter(|(_, name)| interest.covers(name));
        newer.map(|(revision, name)| (*revision, name.clone()))
    }

    fn of_room(&mut self, name: &DocumentName, seen: PresenceCursor, now: PresenceTime) -> Option<Bytes> {
        let kept = self.rooms.get_mut(name).filter(|kept| kept.revision > seen.told)?;
        match kept.revision <= seen.opened {
            true => kept.room.present(name, &self.names, now),
            false => kept.room.frame(name, &self.names),
        }
    }
}
