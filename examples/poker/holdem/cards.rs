//! Cards as text (`Ah`, `Td`), the shuffled deck, and how good a hand is.

use std::fmt;

use rand::SeedableRng;
use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

const VALUES: &str = "23456789TJQKA";
const SUITS: &str = "cdhs";

/// One of the 52 cards. Written as value and suit: `2c` to `As`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Card {
    value: char,
    suit: char,
}

impl Card {
    /// Reads exactly what [`Display`](fmt::Display) writes.
    pub fn parse(text: &str) -> Option<Self> {
        let mut characters = text.chars();
        let card = Self { value: characters.next()?, suit: characters.next()? };
        let known = VALUES.contains(card.value) && SUITS.contains(card.suit);
        (known && characters.next().is_none()).then_some(card)
    }

    /// The place of its value: 0 for a two, 12 for an ace.
    fn rank(self) -> usize {
        VALUES.chars().position(|value| value == self.value).unwrap_or(0)
    }
}

impl fmt::Display for Card {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.value, self.suit)
    }
}

impl fmt::Debug for Card {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for Card {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Card {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // The text itself stays out of the message: it could be a card that its reader may not know.
        let text = std::borrow::Cow::<str>::deserialize(deserializer)?;
        Self::parse(&text).ok_or_else(|| serde::de::Error::custom("a card is a value and a suit, for example Ah or Td"))
    }
}

/// All 52 cards in the order that `seed` gives; the last one is on top. Which order belongs to which seed may change
/// with the generator: the order itself is kept in the state.
pub fn shuffled_deck(seed: [u8; 32]) -> Vec<Card> {
    let mut deck: Vec<Card> =
        VALUES.chars().flat_map(|value| SUITS.chars().map(move |suit| Card { value, suit })).collect();
    deck.shuffle(&mut StdRng::from_seed(seed));
    deck
}

/// What a hand is, worst first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Category {
    /// Nothing.
    HighCard,
    /// Two of one value.
    Pair,
    /// Two pairs.
    TwoPair,
    /// Three of one value.
    ThreeOfAKind,
    /// Five values in a row, the ace also below the two.
    Straight,
    /// Five of one suit.
    Flush,
    /// Three of one value and two of another.
    FullHouse,
    /// Four of one value.
    FourOfAKind,
    /// Five values in a row, of one suit.
    StraightFlush,
}

impl fmt::Display for Category {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::HighCard => "high card",
            Self::Pair => "pair",
            Self::TwoPair => "two pair",
            Self::ThreeOfAKind => "three of a kind",
            Self::Straight => "straight",
            Self::Flush => "flush",
            Self::FullHouse => "full house",
            Self::FourOfAKind => "four of a kind",
            Self::StraightFlush => "straight flush",
        })
    }
}

/// How good the best five of some cards are: a greater strength wins, equal ones share.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Strength {
    /// What the five are.
    pub category: Category,
    /// The values that decide among equals, in the order in which they count.
    ranks: Vec<usize>,
}

impl Strength {
    /// The strength of the best five of these cards; of seven there are 21 ways to leave out two, and all are tried.
    pub fn of(cards: impl IntoIterator<Item = Card>) -> Option<Self> {
        let cards: Vec<Card> = cards.into_iter().collect();
        // Each bit pattern with five ones picks five cards.
        let count = u32::try_from(cards.len()).ok().filter(|count| *count <= 7)?;
        let picks = (0_u32..1 << count).filter(|mask| mask.count_ones() == 5);
        picks.map(|mask| of_five((0..).zip(&cards).filter(|(i, _)| mask >> *i & 1 == 1).map(|(_, c)| *c))).max()
    }
}

fn of_five(five: impl Iterator<Item = Card> + Clone) -> Strength {
    let mut groups: Vec<(usize, usize)> = (0..VALUES.len())
        .rev()
        .map(|rank| (five.clone().filter(|card| card.rank() == rank).count(), rank))
        .filter(|(count, _)| *count > 0)
        .collect();
    // Larger groups count first; the sort is stable, so equal ones stay highest first.
    groups.sort_by_key(|(count, _)| std::cmp::Reverse(*count));
    let ranks: Vec<usize> = groups.iter().map(|(_, rank)| *rank).collect();
    let flush = five.clone().map(|card| card.suit).is_sorted_by(|a, b| a == b);
    let counts: Vec<usize> = groups.iter().map(|(count, _)| *count).collect();
    let (category, ranks) = match (counts.as_slice(), straight_top(&ranks), flush) {
        (_, Some(top), true) => (Category::StraightFlush, vec![top]),
        (_, Some(top), false) => (Category::Straight, vec![top]),
        ([4, ..], ..) => (Category::FourOfAKind, ranks),
        ([3, 2], ..) => (Category::FullHouse, ranks),
        (_, _, true) => (Category::Flush, ranks),
        ([3, ..], ..) => (Category::ThreeOfAKind, ranks),
        ([2, 2, ..], ..) => (Category::TwoPair, ranks),
        ([2, ..], ..) => (Category::Pair, ranks),
        _ => (Category::HighCard, ranks),
    };
    Strength { category, ranks }
}

/// The highest value of a straight, if these five values, highest first, are one. In A-2-3-4-5 that is the five.
fn straight_top(ranks: &[usize]) -> Option<usize> {
    match ranks {
        [12, 3, 2, 1, 0] => Some(3),
        [top, .., bottom] if ranks.len() == 5 && top - bottom == 4 => Some(*top),
        _ => None,
    }
}
