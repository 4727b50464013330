//! From a list of players to a table, from one hand to the next, and the cards.

use std::collections::{BTreeMap, BTreeSet};

use rejoin::Rejection;
use rejoin::UserId;
use serde::Deserialize;

use super::cards::{self, Card};
use super::table::{Hidden, Hole, Phase, Player, Status, Street, Table, damaged};

/// Most players: with ten, 25 of the 52 cards are in use at the river.
const PLAYERS_MAX: usize = 10;
/// Most chips that a player may bring: sums of them stay exact in every JSON reader.
const STACK_MAX: u64 = 1_000_000_000_000;

/// What the creator of a table sends.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Setup {
    players: Vec<NewPlayer>,
    blinds: Vec<u64>,
    #[serde(default)]
    ante: u64,
    min_bet: Option<u64>,
    #[serde(default)]
    button: usize,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct NewPlayer {
    id: UserId,
    stack: u64,
}

impl Setup {
    /// The table before its first hand.
    pub fn into_table(self) -> Result<Table, Rejection> {
        let count = self.players.len();
        let check = |holds: bool, message: &str| if holds { Ok(()) } else { Err(Rejection::new(message)) };
        check((2..=PLAYERS_MAX).contains(&count), "a table has 2 to 10 players")?;
        let distinct: BTreeSet<&UserId> = self.players.iter().map(|p| &p.id).collect();
        check(distinct.len() == count, "a player sits at a table once")?;
        check(self.players.iter().all(|p| (1..=STACK_MAX).contains(&p.stack)), "a stack is 1 to 10^12 chips")?;
        check(self.button < count, "the button is the index of a player")?;
        check(self.blinds.len() <= count, "there are more blinds than players")?;
        check(self.blinds.iter().chain([&self.ante]).all(|b| *b <= STACK_MAX), "a blind or ante is too large")?;
        let min_bet = self.min_bet.or(self.blinds.iter().max().copied()).unwrap_or(1);
        check((1..=STACK_MAX).contains(&min_bet), "the smallest bet is 1 to 10^12 chips")?;
        Ok(Table {
            phase: Phase::Waiting,
            street: Street::Preflop,
            hand: 0,
            button: self.button,
            blinds: self.blinds,
            ante: self.ante,
            min_bet,
            players: self.players.into_iter().map(sit).collect(),
            board: Vec::new(),
            pot: 0,
            bet: 0,
            min_raise: min_bet,
            to_act: None,
            aggressor: None,
            result: None,
            hidden: Hidden::default(),
            private: BTreeMap::new(),
        })
    }
}

fn sit(player: NewPlayer) -> Player {
    Player {
        player: player.id.to_string(),
        stack: player.stack,
        bet: 0,
        paid: 0,
        status: Status::In,
        acted: false,
        shown: None,
    }
}

impl Table {
    /// Begins a hand with a deck that `seed` shuffles: hole cards now, the board when it is due.
    pub fn start(&mut self, seed: [u8; 32]) -> Result<(), Rejection> {
        self.begin_hand()?;
        self.hidden.deck = cards::shuffled_deck(seed);
        let players: Vec<String> = self.round().filter(|(_, s)| s.is_live()).map(|(_, s)| s.player.clone()).collect();
        for player in players {
            let cards = [self.draw()?, self.draw()?];
            self.private.insert(player, Hole { cards });
        }
        self.open_preflop()
    }

    /// Gives players the cards that the host has in hand; begins the hand if need be.
    pub fn deal(&mut self, holes: BTreeMap<String, Hole>) -> Result<(), Rejection> {
        if matches!(self.phase, Phase::Waiting | Phase::Over) {
            self.begin_hand()?;
            self.phase = Phase::Dealing;
        }
        if self.phase != Phase::Dealing {
            return Err(Rejection::new("the cards of this hand are dealt"));
        }
        if holes.is_empty() {
            return Err(Rejection::new("say whose cards these are: private.<playerId>.cards"));
        }
        for (player, hole) in holes {
            let seated = self.players.iter().any(|s| s.is_live() && s.player == player);
            if !seated || self.private.contains_key(&player) {
                return Err(Rejection::new(format!("{player} does not get cards now")));
            }
            let [first, second] = hole.cards;
            if first == second || self.has_card(first) || self.has_card(second) {
                return Err(Rejection::new("each card is in the deck once"));
            }
            self.private.insert(player, hole);
        }
        let complete = self.players.iter().filter(|s| s.is_live()).all(|s| self.private.contains_key(&s.player));
        if complete { self.open_preflop() } else { Ok(()) }
    }

    /// Puts the next cards on the board, from the host's hand.
    pub fn deal_board(&mut self, dealt: &[Card]) -> Result<(), Rejection> {
        if self.phase != Phase::Board {
            return Err(Rejection::new("no card is due on the board now"));
        }
        let due = self.board_due();
        if dealt.len() != due {
            return Err(Rejection::new(format!("the board gets {due} now")));
        }
        for card in dealt {
            if self.has_card(*card) {
                return Err(Rejection::new("each card is in the deck once"));
            }
            self.board.push(*card);
        }
        self.street = match self.board.len() {
            3 => Street::Flop,
            4 => Street::Turn,
            _ => Street::River,
        };
        self.aggressor = None;
        if !self.all_shown() {
            return self.open_street();
        }
        if self.street == Street::River { self.settle() } else { self.next_board() }
    }

    /// Waits for the next cards of the board, or takes them from the deck when the server deals.
    pub fn next_board(&mut self) -> Result<(), Rejection> {
        (self.phase, self.to_act) = (Phase::Board, None);
        if self.hidden.deck.is_empty() {
            return Ok(());
        }
        let dealt = (0..self.board_due()).map(|_| self.draw()).collect::<Result<Vec<_>, _>>()?;
        self.deal_board(&dealt)
    }

    fn board_due(&self) -> usize {
        if self.board.is_empty() { 3 } else { 1 }
    }

    fn draw(&mut self) -> Result<Card, Rejection> {
        self.hidden.deck.pop().ok_or_else(damaged)
    }

    fn begin_hand(&mut self) -> Result<(), Rejection> {
        if !matches!(self.phase, Phase::Waiting | Phase::Over) {
            return Err(Rejection::new("a hand is being played"));
        }
        if self.players.iter().filter(|s| s.stack > 0).count() < 2 {
            return Err(Rejection::new("fewer than two players have chips"));
        }
        if self.hand > 0 {
            let next = self.round().find(|(_, s)| s.stack > 0).map(|(index, _)| index);
            self.button = next.ok_or_else(damaged)?;
        }
        for place in &mut self.players {
            let status = if place.stack > 0 { Status::In } else { Status::Out };
            *place = Player { status, bet: 0, paid: 0, acted: false, shown: None, ..place.clone() };
        }
        self.hand += 1;
        self.street = Street::Preflop;
        (self.bet, self.min_raise) = (0, self.min_bet);
        (self.to_act, self.aggressor, self.result) = (None, None, None);
        self.board.clear();
        self.private.clear();
        self.hidden = Hidden::default();
        self.post()
    }

    /// Antes and blinds. A player that cannot pay in full is all-in.
    fn post(&mut self) -> Result<(), Rejection> {
        let ante = self.ante;
        for place in self.players.iter_mut().filter(|s| s.is_live()) {
            place.pay(ante);
        }
        for (place, blind) in self.blind_order().into_iter().zip(self.blinds.clone()) {
            self.put_in(place, blind)?;
            self.bet = self.bet.max(blind);
        }
        Ok(())
    }

    /// The players in the order in which they post, and after the blinds act: left of the button first, but with two
    /// players the button first.
    fn blind_order(&self) -> Vec<usize> {
        let mut order: Vec<usize> = self.round().filter(|(_, s)| s.status != Status::Out).map(|(i, _)| i).collect();
        if order.len() == 2 {
            order.reverse();
        }
        order
    }

    fn open_preflop(&mut self) -> Result<(), Rejection> {
        self.phase = Phase::Betting;
        let order = self.blind_order();
        let first = self.blinds.len().min(order.len()).checked_rem(order.len()).and_then(|place| order.get(place));
        self.pass_turn(first.copied().ok_or_else(damaged)?)
    }
}
