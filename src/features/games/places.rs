//! SeatProvider as places that other features give people: see [`PlaceProvider`].

use std::sync::Arc;

use parking_lot::Mutex;

use super::revocations::PendingRevoked;
use super::seats::max_seats;
use super::service::{SeatWish, take_seat};
use super::sql::persist::COLLECTION;
use super::tables;
use crate::base::clock::Timestamp;
use crate::base::error::Result;
use crate::base::ids::{Collection, UserId};
use crate::document::model::{Document, Meta};
use crate::document::visibility::Viewer;
use crate::engine::handle::Engine;
use crate::http::api::Api;
use crate::http::providers::{PendingPlace, PlaceProvider};
use crate::live::hub::Hub;
use crate::live::presence::Presence;
use crate::store::{Connection, MemoryStore};

/// The seats of games.
#[derive(Clone)]
pub(crate) struct SeatProvider {
    engine: Engine,
    memory: Arc<MemoryStore>,
    presence: Arc<Presence>,
    hub: Arc<Hub>,
}

/// A seat that is not taken yet.
struct PendingSeat {
    seats: SeatProvider,
    meta: Arc<Meta>,
    player: UserId,
    /// How many the game has.
    max: u32,
    wanted: Option<u32>,
    revoked: PendingRevoked,
    /// Whether it was a new one. Locked for a copy.
    taken: Mutex<bool>,
}

impl SeatProvider {
    pub(crate) fn new(api: &Api) -> Self {
        let (memory, presence) = (Arc::clone(&api.memory), Arc::clone(&api.presence));
        Self { engine: api.engine.clone(), memory, presence, hub: Arc::clone(&api.reads.hub) }
    }
}

impl PlaceProvider for SeatProvider {
    fn has_places(&self, collection: &Collection) -> bool {
        collection.as_str() == COLLECTION
    }

    fn prepare(&self, document: &Document, user: UserId, wanted: Option<u32>) -> Arc<dyn PendingPlace> {
        let (seats, meta) = (self.clone(), Arc::clone(&document.meta));
        let max = max_seats(document.state.as_deref().unwrap_or(b"{}"));
        let revoked = PendingRevoked(self.engine.pending_revocations());
        Arc::new(PendingSeat { seats, meta, player: user, max, wanted, revoked, taken: Mutex::new(false) })
    }
}

impl PendingPlace for PendingSeat {
    fn take(&self, conn: &Connection, now: Timestamp) -> Result<u32> {
        let Self { seats, meta, player, max, wanted, revoked, .. } = self;
        let take = |conn: &Connection, now: Timestamp| {
            let may_take = meta.check_writer(&Viewer::User(player.clone()));
            let (player, revoked) = (player.clone(), revoked.clone());
            let wish = SeatWish { player, max: *max, wanted: *wanted, may_take, revoked };
            take_seat(conn, (meta.key, meta.created_at), wish, now)
        };
        let (seat, new) = if meta.volatile {
            tables::write_in_memory(&seats.memory, &seats.hub, meta, now, take)?
        } else {
            tables::check_on_disk(conn, meta)?;
            take(conn, now)?
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
