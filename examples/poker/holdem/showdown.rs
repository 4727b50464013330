//! Who shows, who wins, and how the pots are shared.

use std::collections::BTreeMap;

use rejoin::Rejection;

use super::cards::Strength;
use super::pots;
use super::table::{Outcome, Phase, PotResult, Status, Street, Table, damaged};

impl Table {
    /// The players still in show in turn, whoever bet last on this street first. When chips ran out before the board
    /// was complete, they show now and the rest of the board follows.
    pub fn open_showdown(&mut self) -> Result<(), Rejection> {
        self.phase = Phase::Showdown;
        let live = |seat: &usize| self.seat(*seat).is_ok_and(|s| s.is_live());
        let first = self.aggressor.filter(live).unwrap_or(self.button + 1);
        self.pass_show(first)
    }

    /// Shows the cards of the seat whose turn it is.
    pub fn show(&mut self, seat: usize) -> Result<(), Rejection> {
        let hole = self.private.get(&self.seat(seat)?.player).copied().ok_or_else(damaged)?;
        self.seat_mut(seat)?.shown = Some(hole.cards);
        self.pass_show(seat + 1)
    }

    /// Gives the hand up without showing it.
    pub fn muck(&mut self, seat: usize) -> Result<(), Rejection> {
        if self.street != Street::River {
            return Err(Rejection::new("hands that are all-in are shown before the board goes on"));
        }
        let alone = pots::pots(&self.stakes()).iter().any(|pot| pot.seats == [seat]);
        if alone && self.live_count() > 1 {
            return Err(Rejection::new("nobody else can win one of the pots: show your cards"));
        }
        self.seat_mut(seat)?.status = Status::Folded;
        self.pass_show(seat + 1)
    }

    fn pass_show(&mut self, from: usize) -> Result<(), Rejection> {
        let next = self.round_from(from).find(|(_, s)| s.is_live() && s.shown.is_none());
        self.to_act = next.map(|(index, _)| index);
        if self.live_count() <= 1 {
            return self.settle();
        }
        match (self.to_act, self.street) {
            (Some(_), _) => Ok(()),
            (None, Street::River) => self.settle(),
            (None, _) => self.next_board(),
        }
    }

    /// Pays out every pot and ends the hand. A seat that is alone in a pot needs no cards to win it.
    pub fn settle(&mut self) -> Result<(), Rejection> {
        let strengths = self.strengths();
        let mut results = Vec::new();
        for pot in pots::pots(&self.stakes()) {
            let best = pot.seats.iter().filter_map(|seat| strengths.get(seat)).max();
            let wins = |seat: &usize| pot.seats.contains(seat) && strengths.get(seat) == best;
            let winners: Vec<usize> = self.round().map(|(index, _)| index).filter(wins).collect();
            let mut won = BTreeMap::new();
            for (winner, chips) in pots::split(pot.amount, &winners) {
                let seat = self.seat_mut(winner)?;
                seat.stack += chips;
                won.insert(seat.player.clone(), chips);
            }
            results.push(PotResult { amount: pot.amount, won });
        }
        let mut hands = BTreeMap::new();
        for (seat, strength) in &strengths {
            hands.insert(self.seat(*seat)?.player.clone(), strength.category.to_string());
        }
        for seat in &mut self.seats {
            (seat.bet, seat.paid) = (0, 0);
        }
        (self.phase, self.to_act) = (Phase::Over, None);
        self.result = Some(Outcome { pots: results, hands });
        Ok(())
    }

    /// What the shown hands of those still in are worth, once the board is complete.
    fn strengths(&self) -> BTreeMap<usize, Strength> {
        let of = |shown: [_; 2]| Strength::of(shown.into_iter().chain(self.board.iter().copied()));
        let live = (0..).zip(&self.seats).filter(|(_, s)| s.is_live());
        live.filter_map(|(index, s)| Some((index, of(s.shown?)?))).collect()
    }
}
