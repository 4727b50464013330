//! The options of games.

use std::time::Duration;

use crate::base::options::{boolean, option_set, whole};
use crate::features::games::limits;

option_set! {
    /// How long games and their reconnect tokens are kept, and whether games are on disk.
    pub(crate) struct GameOptions {
        /// Let a reconnect token be good for this long
        "reconnect-token-minutes" "MINUTES" reconnect_token_minutes: u32 =
            limits::RECONNECT_TOKEN_MINUTES, whole(1, u64::from(limits::RECONNECT_TOKEN_MINUTES_MAX));
        /// Drop the history of a game this long after it was completed; its state stays
        "games-compacted-days" "DAYS" compacted_days: u32 = 1, whole(0, 36_500);
        /// Remove a game this long after it was completed
        "games-completed-days" "DAYS" completed_days: u32 = 7, whole(1, 36_500);
        /// Remove any other game this long after its last event
        "games-abandoned-days" "DAYS" abandoned_days: u32 = 30, whole(1, 36_500);
        /// Keep new games on disk; false: they live in memory only and are marked so (REJOIN_FF_GAMES_PERSISTENCE)
        "flags.games-persistence" "BOOLEAN" persistence: bool = true, boolean();
    }
}

/// How long a reconnect token is good.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TokenLifetime(pub Duration);

impl GameOptions {
    pub(crate) fn token_lifetime(&self) -> TokenLifetime {
        TokenLifetime(Duration::from_secs(u64::from(self.reconnect_token_minutes) * 60))
    }
}
