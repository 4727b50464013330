//! What is taken from players: a seat, a line of reconnect tokens, the game. Pure.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::seats::Seat;
use crate::base::clock::Timestamp;
use crate::base::ids::UserId;
use crate::engine::revocations::Revocation;

/// The hook that removes it from the disk.
pub(crate) const HOOK: &str = "games";

/// What is taken. As text: `seat <document> <player> <joined at>`, `tokens <family>`,
/// `game <document> <created at> <at>`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Revoked {
    /// A seat, as it was taken then; the player's tokens end with it.
    Seat { document: i64, player: UserId, joined_at: Timestamp },
    /// A line of tokens.
    Tokens { family: String },
    /// A game, which is over since `at`. `created_at` tells it from a later game with the same key, which one that was
    /// never stored leaves free.
    Game { document: i64, created_at: Timestamp, at: Timestamp },
}

impl Revoked {
    pub(crate) fn seat(document: i64, seat: &Seat) -> Self {
        Self::Seat { document, player: seat.player.clone(), joined_at: seat.joined_at }
    }

    pub(crate) fn parse(subject: &str) -> Option<Self> {
        let mut words = subject.split(' ');
        let revoked = match words.next()? {
            "seat" => Self::Seat {
                document: words.next()?.parse().ok()?,
                player: UserId::new(words.next()?).ok()?,
                joined_at: Timestamp::parse(words.next()?)?,
            },
            "tokens" => Self::Tokens { family: words.next()?.to_owned() },
            "game" => Self::Game {
                document: words.next()?.parse().ok()?,
                created_at: Timestamp::parse(words.next()?)?,
                at: Timestamp::parse(words.next()?)?,
            },
            _ => return None,
        };
        words.next().is_none().then_some(revoked)
    }
}

impl From<Revoked> for Revocation {
    fn from(revoked: Revoked) -> Self {
        match revoked {
            Revoked::Seat { document, player, joined_at } => {
                Self::new(HOOK, format!("seat {document} {player} {joined_at}"))
            }
            Revoked::Tokens { family } => Self::new(HOOK, format!("tokens {family}")),
            Revoked::Game { document, created_at, at } => Self::new(HOOK, format!("game {document} {created_at} {at}")),
        }
    }
}

/// What the tables still have although it is revoked; nothing while storage is well. To be taken before they are read.
#[derive(Clone, Debug)]
pub(crate) struct PendingRevoked(pub Arc<BTreeSet<Revocation>>);

impl PendingRevoked {
    pub(crate) fn has_seat(&self, document: i64, seat: &Seat) -> bool {
        self.has(|| Revoked::seat(document, seat))
    }

    pub(crate) fn has_tokens(&self, family: &str) -> bool {
        self.has(|| Revoked::Tokens { family: family.to_owned() })
    }

    /// When the game with this key, created then, has ended; `None`: nothing of that is pending.
    pub(crate) fn completed_at(&self, document: i64, created_at: Timestamp) -> Option<Timestamp> {
        let first = Revocation::new(HOOK, format!("game {document} {created_at} "));
        let pending = self.0.range(first..).next()?;
        match Revoked::parse(pending.subject()) {
            Some(Revoked::Game { document: key, created_at: created, at })
                if pending.hook() == HOOK && (key, created) == (document, created_at) =>
            {
                Some(at)
            }
            _ => None,
        }
    }

    fn has(&self, revoked: impl FnOnce() -> Revoked) -> bool {
        !self.0.is_empty() && self.0.contains(&revoked().into())
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed unwrap fails the test")]
    use super::*;

    #[test]
    fn what_is_revoked_is_read_as_it_was_written_and_names_one_seat_only() {
        let player = UserId::new("ann").unwrap();
        let joined_at = Timestamp::from_millis(1_700_000_000_123);
        let seat = Seat { player: player.clone(), seat: 2, identity: player.clone(), joined_at };
        let pending = PendingRevoked(Arc::new(BTreeSet::from([Revoked::seat(7, &seat).into()])));
        assert!(pending.has_seat(7, &seat) && !pending.has_seat(8, &seat) && !pending.has_tokens("7"));
        assert!(!pending.has_seat(7, &Seat { joined_at: joined_at.plus(std::time::Duration::from_millis(1)), ..seat }));
        let game = Revoked::Game { document: 7, created_at: joined_at, at: joined_at };
        let tokens = Revoked::Tokens { family: "ab12".into() };
        for revoked in [Revoked::Seat { document: 7, player, joined_at }, tokens, game] {
            let revocation = Revocation::from(revoked.clone());
            assert_eq!(Revoked::parse(revocation.subject()), Some(revoked));
        }
        let later = joined_at.plus(std::time::Duration::from_millis(1));
        let ended = [(7, joined_at, later), (77, joined_at, joined_at), (8, later, later)];
        let ended = ended.map(|(document, created_at, at)| Revoked::Game { document, created_at, at }.into());
        let pending = PendingRevoked(Arc::new(ended.into_iter().chain([Revocation::new("other", "x")]).collect()));
        assert_eq!(pending.completed_at(7, joined_at), Some(later));
        assert_eq!(pending.completed_at(77, joined_at), Some(joined_at));
        for (document, created_at) in [(7, later), (8, joined_at), (9, later), (6, joined_at)] {
            assert_eq!(pending.completed_at(document, created_at), None, "{document}");
        }
        for text in ["", "seat", "seat 7 ann", "tokens a b", "seat x ann 2026-01-01T00:00:00.000Z", "game 7", "dice 7"]
        {
            assert_eq!(Revoked::parse(text), None, "{text}");
        }
    }
}
