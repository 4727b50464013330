//! Seats as places that other features give people: see [`PlaceProvider`].

use std::sync::Arc;

use parking_lot::Mutex;

use super::seats::max_seats;
use super::service::{SeatWish, take_seat};
use super::sql::persist::COLLECTION;
use super::sql::{self};
use crate::base::clock::Timestamp;
use crate::base::error::Result;
use crate::base::ids::{Collection, UserId};
use crate::document::decide::absent;
use crate::document::model::{Document, Meta};
use crate::document::visibility::Viewer;
use crate::http::api::Api;
use crate::http::providers::{PendingPlace, PlaceProvider};
use crate::live::hub::Hub;
use crate::live::presence::Presence;
use crate::store::{Connection, MemoryStore};

/// The seats of games.
#[derive(Clone)]
pub(crate) struct Seats {
    memory: Arc<MemoryStore>,
    presence: Arc<Presence>,
    hub: Arc<Hub>,
}

/// A seat that is not taken yet.
struct PendingSeat {
    seats: Seats,
    meta: Arc<Meta>,
    player: UserId,
    /// How many the game has.
    max: u32,
    wanted: Option<u32>,
    /// Whether it was a new one. Locked for a copy.
    taken: Mutex<bool>,
}

impl Seats {
    pub(crate) fn new(api: &Api) -> Self {
        let (memory, presence) = (Arc::clone(&api.memory), Arc::clone(&api.presence));
        Self { memory, presence, hub: Arc::clone(&api.reads.hub) }
    }
}

impl PlaceProvider for Seats {
    fn has_places(&self, collection: &Collection) -> bool {
        collection.as_str() == COLLECTION
    }

    fn prepare(&self, document: &Document, user: UserId, wanted: Option<u32>) -> Arc<dyn PendingPlace> {
        let (seats, meta) = (self.clone(), Arc::clone(&document.meta));
        let max = max_seats(document.state.as_deref().unwrap_or(b"{}"));
        Arc::new(PendingSeat { seats, meta, player: user, max, wanted, taken: Mutex::new(false) })
    }
}

impl PendingPlace for PendingSeat {
    fn take(&self, conn: &Connection, now: Timestamp) -> Result<u32> {
        let Self { seats, meta, player, max, wanted, .. } = self;
        let gone = || absent(&meta.name, None);
        let take = |conn: &Connection, now: Timestamp| {
            let wish = SeatWish { player: player.clone(), max: *max, wanted: *wanted };
            take_seat(conn, meta.key, wish, meta.check_writer(&Viewer::User(player.clone())), now)
        };
        let (seat, new) = match meta.volatile {
            true => seats.memory.write(meta, now, |conn, now| {
                let there = seats.hub.document(&meta.name);
                let there = there.filter(|there| !there.is_deleted() && there.meta.key == meta.key);
                there.ok_or_else(gone).and_then(|_| take(conn, now))
            })?,
            false if sql::is_deleted(conn, meta.key)? => return Err(gone()),
            false => take(conn, now)?,
        };
        *self.taken.lock() = new;
        Ok(seat.seat)
    }

    fn complete(&self) {
        if *self.taken.lock() {
            self.seats.presence.joined(&self.meta.name, &self.player);
        }
    }
}
