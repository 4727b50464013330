//! The moves to other servers that are under way, so that they can be cancelled.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;

use crate::base::ids::DocumentName;

/// A move that is under way.
#[derive(Clone, Debug, Default)]
pub(crate) struct Departure {
    /// Cancelled when the game is to stay: whoever talks to the other server for it lets go.
    pub cancelled: CancellationToken,
    /// Held by whoever talks to the other server, and by whoever cancels once they have let go.
    pub turn: Arc<tokio::sync::Mutex<()>>,
}

/// All of them, by game: one at a time, since a game that moves is frozen. Shared by the tasks that move games and the
/// call that cancels. The lock is held for look-ups only.
#[derive(Clone, Debug, Default)]
pub(crate) struct Departures(Arc<Mutex<HashMap<DocumentName, Departure>>>);

impl Departures {
    /// Notes that a move begins, or goes on.
    pub(crate) fn begin(&self, name: &DocumentName) -> Departure {
        let departure = Departure::default();
        self.0.lock().insert(name.clone(), departure.clone());
        departure
    }

    /// The move of a game that is under way, if there is one.
    pub(crate) fn find(&self, name: &DocumentName) -> Option<Departure> {
        self.0.lock().get(name).cloned()
    }

    /// The move is over. A later one of the same game stays.
    pub(crate) fn end(&self, name: &DocumentName, departure: &Departure) {
        let mut departures = self.0.lock();
        if departures.get(name).is_some_and(|known| Arc::ptr_eq(&known.turn, &departure.turn)) {
            departures.remove(name);
        }
    }
}
