//! The turn, and what a player may do with chips.

use rejoin::Rejection;

use super::table::{Phase, Player, Status, Street, Table};

impl Table {
    /// Folds the hand of the player whose turn it is.
    pub fn fold(&mut self, place: usize) -> Result<(), Rejection> {
        self.player_mut(place)?.status = Status::Folded;
        self.turn_over(place)
    }

    /// Passes, which needs that there is nothing to call.
    pub fn check(&mut self, place: usize) -> Result<(), Rejection> {
        let owed = self.owed(place)?;
        if owed > 0 {
            return Err(with(Rejection::new(format!("you cannot check: it is {owed} to call")), "toCall", owed));
        }
        self.turn_over(place)
    }

    /// Matches the bet, with what is left if that is less.
    pub fn call(&mut self, place: usize) -> Result<(), Rejection> {
        let owed = self.owed(place)?;
        if owed == 0 {
            return Err(Rejection::new("there is nothing to call: check"));
        }
        self.put_in(place, owed)?;
        self.turn_over(place)
    }

    /// Bets or raises to `to` on this street. Less than the smallest raise is allowed only all-in, and does not give
    /// those who acted before another raise, unless they face a full one by now.
    pub fn raise(&mut self, place: usize, to: u64) -> Result<(), Rejection> {
        let (most, least) = (self.raise_most(place)?, self.bet + self.min_raise);
        let bounds = |message: String| with(with(Rejection::new(message), "minTo", least.min(most)), "maxTo", most);
        if most <= self.bet {
            return Err(Rejection::new("you do not have the chips to raise: call or fold"));
        }
        if !self.may_raise(place)? {
            return Err(Rejection::new("the all-in was not a full raise: you may only call or fold"));
        }
        if to > most {
            return Err(bounds(format!("you have chips for {most} at most")));
        }
        if to <= self.bet || (to < least && to < most) {
            return Err(bounds(format!("the smallest raise is to {}", least.min(most))));
        }
        self.put_in(place, to - self.player(place)?.bet)?;
        self.min_raise = self.min_raise.max(to - self.bet);
        self.bet = to;
        self.aggressor = Some(place);
        self.turn_over(place)
    }

    /// Puts chips of `player` in as part of its bet on this street.
    pub fn put_in(&mut self, place: usize, amount: u64) -> Result<(), Rejection> {
        let place = self.player_mut(place)?;
        place.bet += place.pay(amount);
        Ok(())
    }

    fn owed(&self, place: usize) -> Result<u64, Rejection> {
        Ok(self.bet.saturating_sub(self.player(place)?.bet))
    }

    fn raise_most(&self, place: usize) -> Result<u64, Rejection> {
        let place = self.player(place)?;
        Ok(place.stack + place.bet)
    }

    /// Whoever acted already may raise again only when what they face adds up to a full raise.
    fn may_raise(&self, place: usize) -> Result<bool, Rejection> {
        Ok(!self.player(place)?.acted || self.owed(place)? >= self.min_raise)
    }

    fn turn_over(&mut self, place: usize) -> Result<(), Rejection> {
        self.player_mut(place)?.acted = true;
        self.pass_turn(place + 1)
    }

    /// Gives the turn to the first player from `from` on that has to act; ends the street when there is none.
    pub fn pass_turn(&mut self, from: usize) -> Result<(), Rejection> {
        let open = self.live_count() > 1 && !self.is_betting_closed();
        let waits = |place: &Player| open && place.status == Status::In && (!place.acted || place.bet < self.bet);
        let next = self.round_from(from).find(|(_, place)| waits(place)).map(|(index, _)| index);
        self.to_act = next;
        if self.to_act.is_some() { Ok(()) } else { self.end_street() }
    }

    /// A new betting round on the present street. When nobody can bet any more it ends at once.
    pub fn open_street(&mut self) -> Result<(), Rejection> {
        self.phase = Phase::Betting;
        self.pass_turn(self.button + 1)
    }

    fn end_street(&mut self) -> Result<(), Rejection> {
        self.return_uncalled();
        // The bets of the street are in the pot for good; who was aggressor last shows first.
        for place in &mut self.players {
            (place.bet, place.acted) = (0, false);
        }
        (self.bet, self.min_raise) = (0, self.min_bet);
        if self.live_count() <= 1 {
            return self.settle();
        }
        if self.street == Street::River || self.is_betting_closed() {
            return self.open_showdown();
        }
        self.next_board()
    }

    /// Gives back the part of the highest bet that nobody matched.
    fn return_uncalled(&mut self) {
        let mut bets: Vec<u64> = self.players.iter().map(|s| s.bet).collect();
        bets.sort_unstable_by(|a, b| b.cmp(a));
        let [highest, second, ..] = bets.as_slice() else { return };
        let uncalled = highest - second;
        let Some(place) = self.players.iter_mut().find(|s| s.is_live() && s.bet == *highest && uncalled > 0) else {
            return;
        };
        place.bet -= uncalled;
        place.paid -= uncalled;
        place.stack += uncalled;
        place.status = Status::In;
    }
}

fn with(mut rejection: Rejection, name: &str, amount: u64) -> Rejection {
    rejection.details.insert(name.to_owned(), amount.into());
    rejection
}
