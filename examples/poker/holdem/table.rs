//! The state of a game document: what is on the table, and simple questions about it.
//!
//! Public are players, bets, board, pot, whose turn it is and the result. `hidden.deck` is the rest of the deck when
//! the server deals; `private.<playerId>.cards` are a player's own cards. All amounts are chips.

use std::collections::BTreeMap;

use rejoin::Rejection;
use serde::{Deserialize, Serialize};

use super::cards::Card;
use super::pots::Stake;

/// What the game waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Phase {
    /// The first hand: the host sends `start`, or deals.
    Waiting,
    /// Hole cards that the host has yet to `deal`.
    Dealing,
    /// The player `toAct`: fold, check, call or raise.
    Betting,
    /// The host, who sends the next cards of the `board`.
    Board,
    /// The player `toAct`: show or muck.
    Showdown,
    /// The hand is over and `result` tells how. `start` or a `deal` begins the next one.
    Over,
}

/// How far the board is, and which betting round belongs to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Street {
    /// No card on the board.
    Preflop,
    /// Three.
    Flop,
    /// Four.
    Turn,
    /// Five.
    River,
}

/// How a player stands in this hand.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Status {
    /// In the hand with chips behind.
    In,
    /// In the hand with all chips in the pot.
    AllIn,
    /// Gave up: folded or mucked.
    Folded,
    /// Has no chips to play with.
    Out,
}

/// One player's place.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Player {
    /// The player's id.
    pub player: String,
    /// Chips in front of the player.
    pub stack: u64,
    /// Chips put in on this street.
    pub bet: u64,
    /// Chips put in over the whole hand, `bet` and ante included.
    pub paid: u64,
    /// How the player stands.
    pub status: Status,
    /// Whether the player acted on this street.
    pub acted: bool,
    /// The cards shown at the showdown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shown: Option<[Card; 2]>,
}

impl Player {
    /// Whether the player can still win something.
    pub fn is_live(&self) -> bool {
        matches!(self.status, Status::In | Status::AllIn)
    }

    /// Moves up to `amount` chips from the stack into the pot, and says how many.
    pub fn pay(&mut self, amount: u64) -> u64 {
        let chips = amount.min(self.stack);
        self.stack -= chips;
        self.paid += chips;
        if self.stack == 0 {
            self.status = Status::AllIn;
        }
        chips
    }
}

/// A player's own cards.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Hole {
    /// The two.
    pub cards: [Card; 2],
}

/// What is for the host alone.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Hidden {
    /// The cards not dealt yet, the next one last. Empty when the host deals. No card is burned: nobody can mark these.
    #[serde(default)]
    pub deck: Vec<Card>,
}

/// How a pot went.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PotResult {
    /// Chips in it.
    pub amount: u64,
    /// Chips by the id of the player who won them.
    pub won: BTreeMap<String, u64>,
}

/// How a hand ended.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Outcome {
    /// The pots, main pot first.
    pub pots: Vec<PotResult>,
    /// What was shown, by player id, for example `two pair`.
    pub hands: BTreeMap<String, String>,
}

/// The whole state.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Table {
    /// What the game waits for.
    pub phase: Phase,
    /// How far the board is.
    pub street: Street,
    /// Hands begun.
    pub hand: u32,
    /// The player that has the dealer button.
    pub button: usize,
    /// The blinds, posted left of the button in this order (heads-up: the button posts the first).
    pub blinds: Vec<u64>,
    /// What each player pays before the cards.
    pub ante: u64,
    /// The smallest opening bet.
    pub min_bet: u64,
    /// The players, in the order in which the turn goes round.
    pub players: Vec<Player>,
    /// The common cards.
    pub board: Vec<Card>,
    /// All chips that are in the middle, the bets of this street included.
    pub pot: u64,
    /// What a player must have bet on this street to stay in.
    pub bet: u64,
    /// By how much a raise must exceed `bet`, unless it is all-in.
    pub min_raise: u64,
    /// The player whose turn it is.
    pub to_act: Option<usize>,
    /// The player that bet or raised last on this street.
    pub aggressor: Option<usize>,
    /// How the last hand ended.
    pub result: Option<Outcome>,
    /// What is for the host alone.
    #[serde(default)]
    pub hidden: Hidden,
    /// The cards of each player, by player id.
    #[serde(default)]
    pub private: BTreeMap<String, Hole>,
}

impl Table {
    /// Player `index`. Error: the state was edited into something that is no poker table.
    pub fn player(&self, index: usize) -> Result<&Player, Rejection> {
        self.players.get(index).ok_or_else(damaged)
    }

    /// The same to change.
    pub fn player_mut(&mut self, index: usize) -> Result<&mut Player, Rejection> {
        self.players.get_mut(index).ok_or_else(damaged)
    }

    /// All players in the order of the turn, `first` first.
    pub fn round_from(&self, first: usize) -> impl Iterator<Item = (usize, &Player)> + Clone {
        let players = (0..).zip(&self.players);
        players.clone().skip(first).chain(players.take(first))
    }

    /// All players in the order of the turn, left of the button first.
    pub fn round(&self) -> impl Iterator<Item = (usize, &Player)> + Clone {
        self.round_from(self.button + 1)
    }

    /// The players that can still win something.
    pub fn live_count(&self) -> usize {
        self.players.iter().filter(|s| s.is_live()).count()
    }

    /// Whether no more chips can be bet in this hand: at most one player has any, and it faces no bet.
    pub fn is_betting_closed(&self) -> bool {
        let mut able = (0..).zip(&self.players).filter(|(_, s): &(usize, _)| s.status == Status::In);
        match (able.next(), able.next()) {
            (None, _) => true,
            (Some((only, place)), None) => {
                let others = (0..).zip(&self.players).filter(|(i, s)| *i != only && s.is_live());
                others.map(|(_, s)| s.bet).max().is_none_or(|most| place.bet >= most)
            }
            (Some(_), Some(_)) => false,
        }
    }

    /// What each player has in the hand.
    pub fn stakes(&self) -> Vec<Stake> {
        self.players.iter().map(|s| Stake { paid: s.paid, claims: s.is_live() }).collect()
    }

    /// Whether every player that can win something has shown its cards.
    pub fn all_shown(&self) -> bool {
        self.players.iter().filter(|s| s.is_live()).all(|s| s.shown.is_some())
    }

    /// Whether `card` lies anywhere: on the board, in the deck or in a hand.
    pub fn has_card(&self, card: Card) -> bool {
        self.board.contains(&card)
            || self.hidden.deck.contains(&card)
            || self.private.values().any(|hole| hole.cards.contains(&card))
    }
}

/// The state was edited into something that is no poker table.
pub fn damaged() -> Rejection {
    Rejection::new("this document's state is not a poker table")
}
