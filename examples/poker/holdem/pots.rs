//! Who can win how much: main pot, side pots, and how a pot is split.

use std::collections::BTreeMap;

/// What one player put into the hand.
#[derive(Clone, Copy, Debug)]
pub struct Stake {
    /// Chips, over the whole hand.
    pub paid: u64,
    /// Whether the player still claims a share (has neither folded nor mucked).
    pub claims: bool,
}

/// Chips that the same players can win.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pot {
    /// How many chips.
    pub amount: u64,
    /// The players that can win them.
    pub players: Vec<usize>,
}

/// The pots, main pot first: nobody wins more from another than they put in themselves. The chips of those who gave up
/// stay in. The amounts add up to all that was paid, if anyone claims at all.
pub fn pots(stakes: &[Stake]) -> Vec<Pot> {
    let mut levels: Vec<u64> = stakes.iter().filter(|s| s.claims && s.paid > 0).map(|s| s.paid).collect();
    levels.sort_unstable();
    levels.dedup();
    let mut pots: Vec<Pot> = Vec::new();
    let mut below = 0;
    for level in levels {
        let amount = stakes.iter().map(|s| s.paid.min(level) - s.paid.min(below)).sum();
        let players = (0..).zip(stakes).filter(|(_, s)| s.claims && s.paid >= level).map(|(i, _)| i).collect();
        pots.push(Pot { amount, players });
        below = level;
    }
    // Chips above the highest claim belong to nobody who gave up: whoever wins the last pot has them.
    if let Some(last) = pots.last_mut() {
        last.amount += stakes.iter().map(|s| s.paid - s.paid.min(below)).sum::<u64>();
    }
    pots
}

/// Splits `amount` evenly. Chips that do not divide go one each to the first of `winners`, who come in the order in
/// which they sit, left of the button first.
pub fn split(amount: u64, winners: &[usize]) -> BTreeMap<usize, u64> {
    let count = u64::try_from(winners.len()).unwrap_or(u64::MAX);
    let (share, odd) = (amount.checked_div(count).unwrap_or(0), amount.checked_rem(count).unwrap_or(0));
    (0..).zip(winners).map(|(place, winner)| (*winner, share + u64::from(place < odd))).collect()
}
