//! The turn, and what a player may do with chips.

use rejoin::Rejection;

use super::table::{Phase, Seat, Status, Street, Table};

impl Table {
    /// Folds the hand of the seat whose turn it is.
    pub fn fold(&mut self, seat: usize) -> Result<(), Rejection> {
        self.seat_mut(seat)?.status = Status::Folded;
        self.turn_over(seat)
    }

    /// Passes, which needs that there is nothing to call.
    pub fn check(&mut self, seat: usize) -> Result<(), Rejection> {
        let owed = self.owed(seat)?;
        if owed > 0 {
            return Err(with(Rejection::new(format!("you cannot check: it is {owed} to call")), "toCall", owed));
        }
        self.turn_over(seat)
    }

    /// Matches the bet, with what is left if that is less.
    pub fn call(&mut self, seat: usize) -> Result<(), Rejection> {
        let owed = self.owed(seat)?;
        if owed == 0 {
            return Err(Rejection::new("there is nothing to call: check"));
        }
        self.put_in(seat, owed)?;
        self.turn_over(seat)
    }

    /// Bets or raises to `to` on this street. Less than the smallest raise is allowed only all-in, and does not give
    /// those who acted before another raise, unless they face a full one by now.
    pub fn raise(&mut self, seat: usize, to: u64) -> Result<(), Rejection> {
        let (most, least) = (self.raise_most(seat)?, self.bet + self.min_raise);
        let bounds = |message: String| with(with(Rejection::new(message), "minTo", least.min(most)), "maxTo", most);
        if most <= self.bet {
            return Err(Rejection::new("you do not have the chips to raise: call or fold"));
        }
        if !self.may_raise(seat)? {
            return Err(Rejection::new("the all-in was not a full raise: you may only call or fold"));
        }
        if to > most {
            return Err(bounds(format!("you have chips for {most} at most")));
        }
        if to <= self.bet || (to < least && to < most) {
            return Err(bounds(format!("the smallest raise is to {}", least.min(most))));
        }
        self.put_in(seat, to - self.seat(seat)?.bet)?;
        self.min_raise = self.min_raise.max(to - self.bet);
        self.bet = to;
        self.aggressor = Some(seat);
        self.turn_over(seat)
    }

    /// Puts chips of `seat` in as part of its bet on this street.
    pub fn put_in(&mut self, seat: usize, amount: u64) -> Result<(), Rejection> {
        let seat = self.seat_mut(seat)?;
        seat.bet += seat.pay(amount);
        Ok(())
    }

    fn owed(&self, seat: usize) -> Result<u64, Rejection> {
        Ok(self.bet.saturating_sub(self.seat(seat)?.bet))
    }

    fn raise_most(&self, seat: usize) -> Result<u64, Rejection> {
        let seat = self.seat(seat)?;
        Ok(seat.stack + seat.bet)
    }

    /// Whoever acted already may raise again only when what they face adds up to a full raise.
    fn may_raise(&self, seat: usize) -> Result<bool, Rejection> {
        Ok(!self.seat(seat)?.acted || self.owed(seat)? >= self.min_raise)
    }

    fn turn_over(&mut self, seat: usize) -> Result<(), Rejection> {
        self.seat_mut(seat)?.acted = true;
        self.pass_turn(seat + 1)
    }

    /// Gives the turn to the first seat from `from` on that has to act; ends the street when there is none.
    pub fn pass_turn(&mut self, from: usize) -> Result<(), Rejection> {
        let open = self.live_count() > 1 && !self.is_betting_closed();
        let waits = |seat: &Seat| open && seat.status == Status::In && (!seat.acted || seat.bet < self.bet);
        let next = self.round_from(from).find(|(_, seat)| waits(seat)).map(|(index, _)| index);
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
        for seat in &mut self.seats {
            (seat.bet, seat.acted) = (0, false);
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
        let mut bets: Vec<u64> = self.seats.iter().map(|s| s.bet).collect();
        bets.sort_unstable_by(|a, b| b.cmp(a));
        let [highest, second, ..] = bets.as_slice() else { return };
        let uncalled = highest - second;
        let Some(seat) = self.seats.iter_mut().find(|s| s.is_live() && s.bet == *highest && uncalled > 0) else {
            return;
        };
        seat.bet -= uncalled;
        seat.paid -= uncalled;
        seat.stack += uncalled;
        seat.status = Status::In;
    }
}

fn with(mut rejection: Rejection, name: &str, amount: u64) -> Rejection {
    rejection.details.insert(name.to_owned(), amount.into());
    rejection
}
