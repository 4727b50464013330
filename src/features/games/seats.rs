//! Who sits where. Pure.

use serde::Deserialize;

use super::problems::{SEAT_TAKEN, TABLE_FULL};
use crate::base::clock::Timestamp;
use crate::base::error::{Error, Result};
use crate::base::ids::UserId;
use crate::document::input::whole_number;
use crate::features::games::limits::{SEATS_DEFAULT, SEATS_MAX};

/// A seat that is taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Seat {
    pub player: UserId,
    /// Which, counted from 0.
    pub seat: u32,
    /// The user who holds it.
    pub identity: UserId,
    pub joined_at: Timestamp,
}

/// Which seat a player gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SeatChoice {
    /// The one that they have already.
    Had(u32),
    Free(u32),
}

/// How many seats a game has: the top-level member `maxSeats` of its serialised state. What is no whole number from 1
/// on counts as left out; no game has more than [`SEATS_MAX`].
pub(crate) fn max_seats(state: &[u8]) -> u32 {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct SeatState {
        #[serde(default)]
        max_seats: serde_json::Value,
    }
    serde_json::from_slice::<SeatState>(state).map_or(SEATS_DEFAULT, |state| said_seats(&state.max_seats))
}

/// The same of a state as a tree.
pub(crate) fn max_seats_of(state: &serde_json::Value) -> u32 {
    state.get("maxSeats").map_or(SEATS_DEFAULT, said_seats)
}

fn said_seats(max_seats: &serde_json::Value) -> u32 {
    let said = whole_number(max_seats).filter(|count| *count > 0).unwrap_or(u64::from(SEATS_DEFAULT));
    u32::try_from(said).unwrap_or(SEATS_MAX).min(SEATS_MAX)
}

/// The seat that `player` gets of `max` when `taken` are: the one they have, else the one they want, else the lowest
/// free one. Errors: `Invalid` when there is no such seat; `seat-taken`; `table-full`.
pub(crate) fn choose(taken: &[Seat], max: u32, player: &UserId, wanted: Option<u32>) -> Result<SeatChoice> {
    if let Some(had) = taken.iter().find(|seat| seat.player == *player) {
        return Ok(SeatChoice::Had(had.seat));
    }
    if let Some(wanted) = wanted.filter(|wanted| *wanted >= max) {
        return Err(Error::invalid_field(
            "seat",
            format!("there is no seat {wanted}: the last of this game is {}", max - 1),
        ));
    }
    let is_taken = |number: u32| taken.iter().any(|seat| seat.seat == number);
    if let Some(wanted) = wanted.filter(|wanted| is_taken(*wanted)) {
        let message = format!("seat {wanted} is taken; take another, or leave it to the server by naming none");
        return Err(SEAT_TAKEN.error(message));
    }
    let full = u32::try_from(taken.len()).unwrap_or(u32::MAX) >= max;
    let seat = wanted.or_else(|| (0..max).find(|number| !is_taken(*number))).filter(|_| !full);
    seat.map(SeatChoice::Free).ok_or_else(|| {
        let message = format!("all {max} seats are taken; ask the host to make room, or open a new game");
        TABLE_FULL.error(message).with("maxSeats", max)
    })
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed unwrap fails the test")]
    use crate::property_tests::cases;
    use proptest::prelude::*;

    use super::*;

    fn taken(seats: &[(&str, u32)]) -> Vec<Seat> {
        let user = |id: &str| UserId::new(id).unwrap();
        let at = Timestamp::from_millis(0);
        seats
            .iter()
            .map(|(id, seat)| Seat { player: user(id), seat: *seat, identity: user(id), joined_at: at })
            .collect()
    }

    fn check(seats: &[(&str, u32)], max: u32, wanted: Option<u32>, expect: Result<SeatChoice, &str>) {
        let chosen = choose(&taken(seats), max, &UserId::new("alice").unwrap(), wanted);
        assert_eq!(chosen.map_err(|error| error.slug().unwrap_or("invalid")), expect, "{seats:?} {max} {wanted:?}");
    }

    #[test]
    fn a_player_keeps_their_seat_and_gets_the_wanted_or_the_lowest_free_one() {
        check(&[], 10, None, Ok(SeatChoice::Free(0)));
        check(&[], 10, Some(9), Ok(SeatChoice::Free(9)));
        check(&[], 10, Some(10), Err("invalid"));
        check(&[("bob", 0), ("carol", 2)], 3, None, Ok(SeatChoice::Free(1)));
        check(&[("bob", 0)], 3, Some(0), Err("seat-taken"));
        check(&[("bob", 0)], 1, None, Err("table-full"));
        check(&[("bob", 0)], 1, Some(0), Err("seat-taken"));
        check(&[("bob", 5)], 1, Some(0), Err("table-full"));
        check(&[("alice", 4), ("bob", 0)], 1, Some(0), Ok(SeatChoice::Had(4)));
    }

    #[test]
    fn the_number_of_seats_is_what_the_state_says_within_reason() {
        for (state, expect) in [
            (r#"{"maxSeats":6,"hidden":{"maxSeats":2}}"#, 6),
            (r#"{"table":{"maxSeats":6}}"#, SEATS_DEFAULT),
            ("{}", SEATS_DEFAULT),
            (r#"{"maxSeats":2.0}"#, 2),
            (r#"{"maxSeats":2.5}"#, SEATS_DEFAULT),
            (r#"{"maxSeats":0}"#, SEATS_DEFAULT),
            (r#"{"maxSeats":-1}"#, SEATS_DEFAULT),
            (r#"{"maxSeats":"6"}"#, SEATS_DEFAULT),
            (r#"{"maxSeats":18446744073709551615}"#, SEATS_MAX),
        ] {
            assert_eq!(max_seats(state.as_bytes()), expect, "{state}");
        }
    }

    proptest! {
        #![proptest_config(cases(256))]

        /// Whoever comes in whatever order: nobody shares a seat, nobody sits beyond the last, and all find one until
        /// full.
        #[test]
        fn seats_are_given_once(
            max in 1_u32..20, wishes in prop::collection::vec((0_u8..30, prop::option::of(0_u32..22)), 0..60),
        ) {
            let mut seats = Vec::new();
            for (player, wanted) in wishes {
                let player = format!("p{player}");
                let id = UserId::new(&player).unwrap();
                match choose(&seats, max, &id, wanted) {
                    Ok(SeatChoice::Free(seat)) => {
                        prop_assert!(seat < max && seats.iter().all(|taken| taken.seat != seat && taken.player != id));
                        seats.extend(taken(&[(&player, seat)]));
                    }
                    Ok(SeatChoice::Had(seat)) => {
                        prop_assert!(seats.iter().any(|taken| taken.seat == seat && taken.player == id));
                    }
                    Err(_) if wanted.is_some() => {}
                    Err(error) => {
                        prop_assert_eq!(error.slug(), Some("table-full"));
                        prop_assert_eq!(seats.len(), usize::try_from(max).unwrap());
                    }
                }
            }
        }
    }
}
