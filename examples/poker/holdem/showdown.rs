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
        let live = |place: &usize| self.player(*place).is_ok_and(|s| s.is_live());
        let first = self.aggressor.filter(live).unwrap_or(self.button + 1);
        self.pass_show(first)
    }

    /// Shows the cards of the player whose turn it is.
    pub fn show(&mut self, place: usize) -> Result<(), Rejection> {
        let hole = self.private.get(&self.player(place)?.player).copied().ok_or_else(damaged)?;
        self.player_mut(place)?.shown = Some(hole.cards);
        self.pass_show(place + 1)
    }

    /// Gives the hand up without showing it.
    pub fn muck(&mut self, place: usize) -> Result<(), Rejection> {
        if self.street != Street::River {
            return Err(Rejection::new("hands that are all-in are shown before the board goes on"));
        }
        let alone = pots::pots(&self.stakes()).iter().any(|pot| pot.players == [place]);
        if alone && self.live_count() > 1 {
            return Err(Rejection::new("nobody else can win one of the pots: show your cards"));
        }
        self.player_mut(place)?.status = Status::Folded;
        self.pass_show(place + 1)
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

    /// Pays out every pot and ends the hand. A player that is alone in a pot needs no cards to win it.
    pub fn settle(&mut self) -> Result<(), Rejection> {
        let strengths = self.strengths();
        let mut results = Vec::new();
        for pot in pots::pots(&self.stakes()) {
            let best = pot.players.iter().filter_map(|place| strengths.get(place)).max();
            let wins = |place: &usize| pot.players.contains(place) && strengths.get(place) == best;
            let winners: Vec<usize> = self.round().map(|(index, _)| index).filter(wins).collect();
            let mut won = BTreeMap::new();
            for (winner, chips) in pots::split(pot.amount, &winners) {
                let place = self.player_mut(winner)?;
                place.stack += chips;
                won.insert(place.player.clone(), chips);
            }
            results.push(PotResult { amount: pot.amount, won });
        }
        let mut hands = BTreeMap::new();
        for (place, strength) in &strengths {
            hands.insert(self.player(*place)?.player.clone(), strength.category.to_string());
        }
        for place in &mut self.players {
            (place.bet, place.paid) = (0, 0);
        }
        (self.phase, self.to_act) = (Phase::Over, None);
        self.result = Some(Outcome { pots: results, hands });
        Ok(())
    }

    /// What the shown hands of those still in are worth, once the board is complete.
    fn strengths(&self) -> BTreeMap<usize, Strength> {
        let of = |shown: [_; 2]| Strength::of(shown.into_iter().chain(self.board.iter().copied()));
        let live = (0..).zip(&self.players).filter(|(_, s)| s.is_live());
        live.filter_map(|(index, s)| Some((index, of(s.shown?)?))).collect()
    }
}
