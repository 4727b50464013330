//! The presence of one document's players, as a value: who is there, who was, and what of it has been told.
//!
//! Nothing here asks a clock. Each call is given the [`PresenceTime`]; what is to happen later is a [due](Room::due)
//! time, at which whoever keeps the room [settles](Room::run_due) it.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde::Serialize;

use crate::base::clock::Timestamp;
use crate::base::ids::{DocumentName, UserId};
use crate::base::limits::{PRESENCE_KEPT, PRESENCE_PARTICIPANTS_MAX, PRESENCE_PLAYERS_MAX, PRESENCE_SPACING};
use crate::live::display_names::DisplayNames;

/// The present, on two clocks: what people are told, and what waiting times are measured by, since the first may jump.
#[derive(Clone, Copy, Debug)]
pub(super) struct PresenceTime {
    /// What people are told.
    pub at: Timestamp,
    /// Time since some fixed start; never goes back.
    pub tick: Duration,
}

/// What became of a player.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum PresenceEvent {
    /// Takes part.
    Join,
    /// Takes part no more.
    Leave,
    /// Has a connection for the first time.
    Connected,
    /// Has had no connection for the whole debounce.
    Lost,
    /// Has a connection again.
    Returned,
}

/// The newest change of a room, as it is told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
struct PresenceChange {
    player_id: UserId,
    event: PresenceEvent,
    /// Only for choosing the newest of several.
    #[serde(skip)]
    at: Timestamp,
}

/// How it stands with a player.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct PlayerPresence {
    /// Whether the player has a connection, as far as it was told: a loss shows after the debounce.
    pub connected: bool,
    /// The last moment at which the player is known to have been connected; the present for one who is. `None`: not
    /// since the server started.
    pub last_seen: Option<Timestamp>,
    /// Since when `connected` is what it is; for a participant who has not come yet, since they take part.
    /// `None`: since before the server started.
    pub since: Option<Timestamp>,
}

#[derive(Debug)]
struct RoomPlayer {
    id: UserId,
    /// Open now, told or not.
    connections: u32,
    takes_part: bool,
    /// As it was told.
    connected: bool,
    /// Whether others may know of the player.
    listed: bool,
    /// Whether the player was connected before, as far as that is known: of whoever took part before anybody was here,
    /// it is believed.
    known: bool,
    /// See [`PlayerPresence::since`].
    since: Option<Timestamp>,
    last_seen: Option<Timestamp>,
    /// When the first connection came or the last one went.
    connection_changed: PresenceTime,
    /// When `connected` was last told to have changed.
    told: Option<Duration>,
}

impl RoomPlayer {
    fn new(id: UserId, now: PresenceTime) -> Self {
        let (takes_part, connected, listed, known, since, last_seen, told) =
            (false, false, false, false, None, None, None);
        Self {
            id,
            connections: 0,
            takes_part,
            connected,
            listed,
            known,
            since,
            last_seen,
            connection_changed: now,
            told,
        }
    }

    /// When it is to be told that the player came or went. A loss must have lasted; a return is told at once, but not
    /// so soon after the last change that a bad line makes a list that flickers.
    fn toggle_due(&self, debounce: Duration) -> Option<Duration> {
        match (self.connections > 0, self.connected) {
            (true, false) => Some(
                self.told
                    .map_or(self.connection_changed.tick, |told| self.connection_changed.tick.max(told + debounce)),
            ),
            (false, true) => Some(self.connection_changed.tick + debounce),
            (true, true) | (false, false) => None,
        }
    }

    fn toggle_connected(&mut self, now: PresenceTime) -> PresenceChange {
        self.connected = !self.connected;
        (self.listed, self.since, self.told) = (true, Some(self.connection_changed.at), Some(now.tick));
        let event = match (self.connected, self.known) {
            (true, true) => PresenceEvent::Returned,
            (true, false) => PresenceEvent::Connected,
            (false, _) => PresenceEvent::Lost,
        };
        self.known = true;
        PresenceChange { player_id: self.id.clone(), event, at: self.connection_changed.at }
    }

    fn eviction_due(&self) -> Option<Duration> {
        let gone = self.connections == 0 && !self.connected;
        gone.then_some(self.connection_changed.tick + PRESENCE_KEPT)
    }

    /// `None`: nobody is to know yet.
    fn standing(&self, at: Timestamp) -> Option<PlayerPresence> {
        let last_seen = if self.connected { Some(at) } else { self.last_seen };
        self.listed.then_some(PlayerPresence { connected: self.connected, last_seen, since: self.since })
    }
}

/// The players of one document, in the order in which they came.
#[derive(Debug, Default)]
pub(super) struct Room {
    players: Vec<RoomPlayer>,
    /// Whether somebody began or ceased to take part, which is still to be told.
    pending_change: Option<PresenceChange>,
    /// What was told last, and when.
    told: Option<Announcement>,
}

#[derive(Debug)]
struct Announcement {
    change: Option<PresenceChange>,
    at: PresenceTime,
    /// Made for the first subscriber; there may be a thousand more.
    frame: Option<Bytes>,
}

impl Room {
    /// How many players it holds, those included whom nobody was told of.
    pub(super) fn len(&self) -> usize {
        self.players.len()
    }

    /// A connection of `user` opened. `false`: the room is full, and the connection does not count.
    #[must_use]
    pub(super) fn connected(&mut self, user: &UserId, now: PresenceTime) -> bool {
        let others = self.players.iter().filter(|player| !player.takes_part).count();
        let Some(player) = self.player(user, others < PRESENCE_PLAYERS_MAX, now) else { return false };
        player.connections += 1;
        if player.connections == 1 {
            player.connection_changed = now;
        }
        true
    }

    /// A connection that [`connected`](Self::connected) counted closed.
    pub(super) fn disconnected(&mut self, user: &UserId, now: PresenceTime) {
        let Some(player) = self.players.iter_mut().find(|player| player.id == *user) else { return };
        player.connections = player.connections.saturating_sub(1);
        if player.connections == 0 {
            (player.connection_changed, player.last_seen) = (now, Some(now.at));
            // Came and went before anybody was told.
            self.players.retain(|player| player.connections > 0 || player.listed);
        }
    }

    /// `user` has taken part since before anybody was here. `true`: that was not known.
    pub(super) fn add_known(&mut self, user: &UserId, now: PresenceTime) -> bool {
        let participants = self.players.iter().filter(|player| player.takes_part).count();
        let Some(player) =
            self.player(user, participants < PRESENCE_PARTICIPANTS_MAX, now).filter(|player| !player.takes_part)
        else {
            return false;
        };
        (player.takes_part, player.listed, player.known) = (true, true, true);
        true
    }

    /// `user` takes part from now on.
    pub(super) fn join(&mut self, user: &UserId, now: PresenceTime) {
        let participants = self.players.iter().filter(|player| player.takes_part).count();
        if participants >= PRESENCE_PARTICIPANTS_MAX {
            return;
        }
        let Some(player) = self.player(user, true, now) else { return };
        if !player.takes_part {
            (player.takes_part, player.listed) = (true, true);
            player.since.get_or_insert(now.at);
            self.pending_change =
                Some(PresenceChange { player_id: user.clone(), event: PresenceEvent::Join, at: now.at });
        }
    }

    /// `user` takes part no more. Whoever is still connected stays, as one who watches.
    pub(super) fn leave(&mut self, user: &UserId, now: PresenceTime) {
        if let Some(player) = self.players.iter_mut().find(|player| player.id == *user) {
            player.takes_part = false;
        }
        self.players.retain(|player| player.id != *user || player.connections > 0);
        self.pending_change = Some(PresenceChange { player_id: user.clone(), event: PresenceEvent::Leave, at: now.at });
    }

    /// Nobody takes part any more: [`leave`](Self::leave) for each.
    pub(super) fn leave_all(&mut self, now: PresenceTime) {
        let participants: Vec<UserId> =
            self.players.iter().filter(|player| player.takes_part).map(|player| player.id.clone()).collect();
        participants.iter().for_each(|user| self.leave(user, now));
    }

    fn player(&mut self, user: &UserId, may_add: bool, now: PresenceTime) -> Option<&mut RoomPlayer> {
        let known = self.players.iter().position(|player| player.id == *user);
        let index = match known {
            Some(index) => index,
            None if may_add => {
                self.players.push(RoomPlayer::new(user.clone(), now));
                self.players.len() - 1
            }
            None => return None,
        };
        self.players.get_mut(index)
    }

    /// When something is to be told at the earliest, so that many changes at once go out together.
    fn next_told(&self) -> Duration {
        self.told.as_ref().map_or(Duration::ZERO, |told| told.at.tick + PRESENCE_SPACING)
    }

    /// When the room is to be settled next. `None`: never, as things are.
    pub(super) fn next_due(&self, debounce: Duration) -> Option<Duration> {
        let flips = self.players.iter().filter_map(|player| player.toggle_due(debounce));
        let pending_change = self.pending_change.as_ref().map(|_| Duration::ZERO);
        let told = flips.chain(pending_change).min().map(|due| due.max(self.next_told()));
        let forgotten = match &self.told {
            Some(told) if self.players.is_empty() => Some(told.at.tick + PRESENCE_KEPT),
            _ => self.eviction_due(),
        };
        told.into_iter().chain(forgotten).min()
    }

    /// When a player is to be forgotten next. A participant stays for as long as anybody else does.
    fn eviction_due(&self) -> Option<Duration> {
        let others = self.players.iter().filter(|player| !player.takes_part);
        others.filter_map(RoomPlayer::eviction_due).chain(self.all_evicted_at()).min()
    }

    /// When all are, if all are gone.
    fn all_evicted_at(&self) -> Option<Duration> {
        let due: Option<Vec<Duration>> = self.players.iter().map(RoomPlayer::eviction_due).collect();
        due?.into_iter().max()
    }

    /// Does what is due. `true`: there is something to tell.
    pub(super) fn run_due(&mut self, debounce: Duration, now: PresenceTime) -> bool {
        let over = self.all_evicted_at().is_some_and(|due| due <= now.tick);
        let forgotten = |player: &RoomPlayer| player.eviction_due().is_some_and(|due| due <= now.tick);
        self.players.retain(|player| !forgotten(player) || (player.takes_part && !over));
        if self.next_told() > now.tick {
            return false;
        }
        let due = |player: &&mut RoomPlayer| player.toggle_due(debounce).is_some_and(|due| due <= now.tick);
        let flips: Vec<PresenceChange> =
            self.players.iter_mut().filter(due).map(|player| player.toggle_connected(now)).collect();
        let change = flips.into_iter().chain(self.pending_change.take()).max_by_key(|change| change.at);
        if change.is_none() {
            return false;
        }
        self.told = Some(Announcement { change, at: now, frame: None });
        true
    }

    /// Whether there is nothing worth keeping.
    pub(super) fn is_over(&self, now: PresenceTime) -> bool {
        let told_lately = self.told.as_ref().is_some_and(|told| told.at.tick + PRESENCE_KEPT > now.tick);
        self.players.is_empty() && self.pending_change.is_none() && !told_lately
    }

    /// Those who take part or are connected.
    pub(super) fn people(&self) -> Vec<UserId> {
        let here = self.players.iter().filter(|player| player.takes_part || player.connections > 0);
        here.map(|player| player.id.clone()).collect()
    }

    /// How it stands with `user`. `None`: not known here.
    pub(super) fn standing(&self, user: &UserId, now: PresenceTime) -> Option<PlayerPresence> {
        self.players.iter().find(|player| player.id == *user)?.standing(now.at)
    }

    /// What was told last, as a stream carries it. `None`: nothing yet.
    pub(super) fn frame(&mut self, name: &DocumentName, names: &DisplayNames) -> Option<Bytes> {
        let told = self.told.as_mut()?;
        if told.frame.is_none() {
            told.frame = Some(render((name, names), &self.players, told.change.as_ref(), told.at.at));
        }
        told.frame.clone()
    }

    /// The present without a change, for those who have just come. `None`: there is nobody.
    pub(super) fn present(&self, name: &DocumentName, names: &DisplayNames, now: PresenceTime) -> Option<Bytes> {
        let known = self.players.iter().any(|player| player.listed);
        known.then(|| render((name, names), &self.players, None, now.at))
    }
}

/// The frame carries no `id:`, which would become the browser's `Last-Event-ID`.
fn render(
    (name, names): (&DocumentName, &DisplayNames),
    players: &[RoomPlayer],
    change: Option<&PresenceChange>,
    at: Timestamp,
) -> Bytes {
    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct ListedPlayer<'a> {
        player_id: &'a UserId,
        #[serde(skip_serializing_if = "Option::is_none")]
        name: Option<Arc<str>>,
        #[serde(flatten)]
        standing: PlayerPresence,
    }
    #[derive(Serialize)]
    struct PresenceData<'a> {
        collection: &'a str,
        id: &'a str,
        players: Vec<ListedPlayer<'a>>,
        #[serde(skip_serializing_if = "Option::is_none")]
        change: Option<&'a PresenceChange>,
        at: Timestamp,
    }
    let known = players.iter().filter_map(|player| Some((&player.id, player.standing(at)?)));
    let players =
        known.map(|(player_id, standing)| ListedPlayer { player_id, name: names.of(player_id), standing }).collect();
    let data = PresenceData { collection: name.collection.as_str(), id: name.id.as_str(), players, change, at };
    // Names, numbers and times always become JSON.
    let data = serde_json::to_string(&data).unwrap_or_default();
    format!("event: presence\ndata: {data}\n\n").into()
}
