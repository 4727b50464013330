//! Presence: which users are connected to which document.
//!
//! A user is *connected* to a document while a stream that names it is open; a stream over a whole collection tells of
//! everybody and counts for nobody. The owner of the server is listed as `owner`. Each stream holds an
//! [`PresenceSubscription`], whose drop is the end of the connection. A loss is told when it has lasted for the
//! debounce, so that nobody hears of a page that is loaded again; what comes in quick succession is told together.
//!
//! Those who stream a document load_participants by `presence` events, which hold the whole list: the newest list
//! replaces all before it, so nothing is queued for a subscriber that is slow. Whoever may follow a document learns the
//! ids of those who are connected to it or take part in it.
//!
//! Nothing of it is stored: after a start nobody is connected until they are. Who takes part in a document is asked
//! for when the first comes to it ([`Participants`]). No change of a document comes by here: the lock is taken when
//! streams open and close, when participants change, and when there is news.

mod registry;
mod room;
#[cfg(test)]
mod tests;

use std::collections::HashSet;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

use self::registry::{PresenceCursor, RoomRegistry};
pub(crate) use self::room::PlayerPresence;
use self::room::PresenceTime;
use super::display_names::DisplayNames;
use super::hub::Hub;
use super::topics::Interest;
use crate::base::clock::Clock;
use crate::base::ids::{DocumentName, UserId};

/// Knows who takes part in documents, whether they are connected or not.
pub(crate) trait Participants: Send + Sync {
    /// Who takes part in this one. A failure is no reason to refuse a stream: then it is nobody.
    fn participants(&self, name: &DocumentName) -> BoxFuture<'static, Vec<UserId>>;
}

/// How often participants are asked for because they changed meanwhile, until it is left to the next who comes.
const PARTICIPANT_LOADS_MAX: usize = 3;

/// See the module. Shared by streams, by the feature that knows the participants, and by its own task.
pub(crate) struct Presence {
    hub: Arc<Hub>,
    clock: Arc<dyn Clock>,
    started: Instant,
    /// Set once at the start; nobody takes part in anything without.
    participants: OnceLock<Arc<dyn Participants>>,
    /// Held for look-ups and list operations only, never across an await.
    registry: Mutex<RoomRegistry>,
    /// Something is due earlier than it was.
    earlier: Notify,
}

impl Presence {
    /// Nobody is connected. `debounce`: how long a loss must last before it is told.
    /// `names`: what users are called.
    pub(crate) fn new(hub: Arc<Hub>, clock: Arc<dyn Clock>, debounce: Duration, names: Arc<DisplayNames>) -> Arc<Self> {
        let (registry, participants) = (Mutex::new(RoomRegistry::new(debounce, names)), OnceLock::new());
        Arc::new(Self { hub, clock, started: Instant::now(), participants, registry, earlier: Notify::new() })
    }

    /// Sets who knows the participants, before the first stream; a second call changes nothing.
    pub(crate) fn set_participants(&self, participants: Arc<dyn Participants>) {
        let _ = self.participants.set(participants);
    }

    /// Announces what is due, for as long as the server runs.
    pub(crate) async fn run(self: Arc<Self>) {
        loop {
            let due = self.registry.lock().next_due();
            match due {
                None => self.earlier.notified().await,
                Some(due) => tokio::select! {
                    () = self.earlier.notified() => continue,
                    () = sleep_until(self.started + due) => {}
                },
            }
            let told = self.registry.lock().run_due(self.now());
            self.hub.wake_presence(&told);
        }
    }

    /// Sees to it that those who take part in these documents are known. To be called before
    /// [`subscribe`](Self::subscribe).
    pub(crate) async fn load_participants(&self, interest: &Interest) {
        let Some(known) = self.participants.get() else { return };
        for name in &interest.documents {
            for _ in 0..PARTICIPANT_LOADS_MAX {
                let Some(participant_changes) = self.registry.lock().participants_to_load(name) else { break };
                let found = known.participants(name).await;
                let now = self.now();
                if self.change(|registry| registry.add_known(name, &found, participant_changes, now)) {
                    break;
                }
            }
        }
    }

    /// A stream of `user` begins. It counts as a connection to the documents that `interest` names, but for those that
    /// are `barred` to the user, until it is dropped; that of nobody counts for none.
    pub(crate) fn subscribe(
        self: &Arc<Self>,
        user: Option<UserId>,
        interest: Arc<Interest>,
        barred: &HashSet<DocumentName>,
    ) -> PresenceSubscription {
        let now = self.now();
        let (seen, uncounted) = self.change(|registry| {
            let seen = registry.begin();
            let refused = |name: &&DocumentName| {
                barred.contains(*name) || user.as_ref().is_some_and(|user| !registry.connected(name, user, now))
            };
            (seen, interest.documents.iter().filter(refused).cloned().collect())
        });
        PresenceSubscription { presence: Arc::clone(self), interest, user, uncounted, seen }
    }

    /// `player` takes part from now on. Call it after the change is stored.
    pub(crate) fn joined(&self, name: &DocumentName, player: &UserId) {
        let now = self.now();
        self.change(|registry| registry.join(name, player, now));
    }

    /// `player` takes part no more. Call it after the change is stored.
    pub(crate) fn left(&self, name: &DocumentName, player: &UserId) {
        let now = self.now();
        self.change(|registry| registry.leave(name, player, now));
    }

    /// Nobody takes part any more, since the document is gone. Call it after the change is published.
    pub(crate) fn all_left(&self, name: &DocumentName) {
        let now = self.now();
        self.change(|registry| registry.leave_all(name, now));
    }

    /// The presence of a player, as it was last announced. `None`: neither connected nor a participant since the start
    /// of the server, or gone for so long that it is forgotten.
    pub(crate) fn player(&self, name: &DocumentName, player: &UserId) -> Option<PlayerPresence> {
        self.registry.lock().presence_of(name, player, self.now())
    }

    /// Who takes part in a document or is connected to it.
    pub(crate) async fn people(&self, name: &DocumentName) -> Vec<UserId> {
        let mut people = self.registry.lock().people(name);
        if let Some(known) = self.participants.get() {
            people.extend(known.participants(name).await);
        }
        people
    }

    fn now(&self) -> PresenceTime {
        PresenceTime { at: self.clock.now(), tick: self.started.elapsed() }
    }

    fn change<R>(&self, change: impl FnOnce(&mut RoomRegistry) -> R) -> R {
        let (result, earlier) = {
            let mut registry = self.registry.lock();
            let before = registry.next_due();
            let result = change(&mut registry);
            let after = registry.next_due();
            (result, after.is_some() && (before.is_none() || after < before))
        };
        if earlier {
            self.earlier.notify_one();
        }
        result
    }
}

/// A stream that is open: a connection of its user, who is gone when the last is dropped, and what it knows of others.
pub(crate) struct PresenceSubscription {
    presence: Arc<Presence>,
    interest: Arc<Interest>,
    user: Option<UserId>,
    /// Documents whose rooms were full, or that are barred to the user: there it does not count, and must not be
    /// counted out.
    uncounted: Box<[DocumentName]>,
    seen: PresenceCursor,
}

impl PresenceSubscription {
    /// What is to be told on this stream since it was last asked, as frames, and whether there is more to be asked for
    /// at once. At first that is the present, if anybody is there.
    pub(crate) fn next_frames(&mut self) -> (Bytes, bool) {
        self.next_frames_except(&HashSet::new(), u64::MAX)
    }

    /// The same, as far as `revision`, without what is `barred`, which [`pending`](Self::pending) told of.
    pub(crate) fn next_frames_except(&mut self, barred: &HashSet<DocumentName>, revision: u64) -> (Bytes, bool) {
        let now = self.presence.now();
        self.presence.registry.lock().next_frames(&self.interest, &mut self.seen, (barred, revision), now)
    }

    /// The documents of which there is something to be told, and how far that goes.
    pub(crate) fn pending(&self) -> (Vec<DocumentName>, u64) {
        self.presence.registry.lock().pending(&self.interest, self.seen)
    }

    /// From now on it counts for the documents that it names and that are no longer `barred`, too.
    pub(crate) fn count_except(&mut self, barred: &HashSet<DocumentName>) {
        let Some(user) = &self.user else { return };
        let (presence, now, uncounted) = (&self.presence, self.presence.now(), std::mem::take(&mut self.uncounted));
        let refused = |name: &DocumentName| {
            barred.contains(name) || !presence.change(|registry| registry.connected(name, user, now))
        };
        self.uncounted = uncounted.into_vec().into_iter().filter(refused).collect();
    }
}

impl Drop for PresenceSubscription {
    fn drop(&mut self) {
        let Some(user) = &self.user else { return };
        let now = self.presence.now();
        self.presence.change(|registry| {
            for name in self.interest.documents.iter().filter(|name| !self.uncounted.contains(name)) {
                registry.disconnected(name, user, now);
            }
        });
    }
}
