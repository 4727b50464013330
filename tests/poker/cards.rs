//! What beats what, how pots are cut and split, and the deck.

use std::collections::{BTreeMap, BTreeSet};

use crate::holdem::cards::{Card, Category, Strength, shuffled_deck};
use crate::holdem::pots::{Pot, Stake, pots, split};

fn strength(cards: &str) -> Strength {
    Strength::of(cards.split(' ').map(|card| Card::parse(card).unwrap())).unwrap()
}

#[test]
fn hands_rank_by_category_and_then_by_what_decides_among_equals() {
    let worst_first = [
        ("7c 5d 4h 3s 2c", Category::HighCard),
        ("Ac 5d 4h 3s 2c Ks 9d", Category::Straight),
        ("6c 5d 4h 3s 2c Ks 9d", Category::Straight),
        ("Ac Kd Qh Js Tc 9c 8c", Category::Straight),
        ("9c 7c 5c 3c 2c As Ad", Category::Flush),
        ("Ac 7c 5c 3c 2c As Ad", Category::Flush),
        ("2c 2d 2h 3s 3c As Kd", Category::FullHouse),
        ("3c 3d 3h 2s 2c As Kd", Category::FullHouse),
        ("3c 3d 3h Ks Kc As Kd", Category::FullHouse),
        ("2c 2d 2h 2s 3c 4s 5d", Category::FourOfAKind),
        ("2c 2d 2h 2s Ac As Ad", Category::FourOfAKind),
        ("Ac 2c 3c 4c 5c As Ad", Category::StraightFlush),
        ("2c 3c 4c 5c 6c 7s 8d", Category::StraightFlush),
        ("Ac Kc Qc Jc Tc 9s 8d", Category::StraightFlush),
    ];
    for pair in worst_first.windows(2) {
        let [(worse, category), (better, _)] = pair else { continue };
        assert_eq!(strength(worse).category, *category, "{worse}");
        assert!(strength(worse) < strength(better), "{worse} against {better}");
    }
    let below_straight = [
        ("Ac Kd Qh Js 9c", Category::HighCard),
        ("2c 2d 3h 4s 5c", Category::Pair),
        ("2c 2d Ah 4s 5c", Category::Pair),
        ("3c 3d 2h 2s 4c 4d 5s", Category::TwoPair),
        ("4c 4d 3h 3s 2c 2d As", Category::TwoPair),
        ("2c 2d 2h 4s 5c 7d 8s", Category::ThreeOfAKind),
        ("2c 2d 2h 4s 5c 7d 9s", Category::ThreeOfAKind),
        ("Ac 5d 4h 3s 2c", Category::Straight),
    ];
    for pair in below_straight.windows(2) {
        let [(worse, category), (better, _)] = pair else { continue };
        assert_eq!(strength(worse).category, *category, "{worse}");
        assert!(strength(worse) < strength(better), "{worse} against {better}");
    }
}

#[test]
fn only_the_best_five_count() {
    for (one, other) in [
        ("2c 3d Ah Kh Qh Jh Th", "4s 5s Ah Kh Qh Jh Th"),
        ("Ac 2d Kh Ks Qh Qs 9d", "As 3c Kh Ks Qh Qs 9d"),
        ("2c 2d Ah As Kh Ks Qd", "3c 4d Ah As Kh Ks Qd"),
    ] {
        assert_eq!(strength(one), strength(other), "{one} and {other} share");
    }
    assert_ne!(strength("Kc Qd 2h 3h 4h 5h 6h").category, Category::HighCard);
    assert_eq!(strength("Qc Kc Ah 2d 3s 7h 9s").category, Category::HighCard, "no straight goes round the ace");
}

#[test]
fn a_card_is_two_known_characters() {
    for text in ["", "A", "1c", "10c", "AC", "ah", "Ahh", "Ä"] {
        assert_eq!(Card::parse(text), None, "{text:?}");
    }
    assert_eq!(Card::parse("Td").unwrap().to_string(), "Td");
}

#[test]
fn a_deck_has_every_card_once_in_an_order_that_the_seed_gives() {
    let deck = shuffled_deck([1; 32]);
    assert_eq!(deck.iter().collect::<BTreeSet<_>>().len(), 52);
    assert_eq!(deck, shuffled_deck([1; 32]));
    assert_ne!(deck, shuffled_deck([2; 32]));
}

#[test]
fn pots_are_cut_where_someone_ran_out_of_chips() {
    let claim = |paid| Stake { paid, claims: true };
    let gone = |paid| Stake { paid, claims: false };
    let pot = |amount, players: &[usize]| Pot { amount, players: players.to_vec() };
    let check = |stakes: &[Stake], expected: &[Pot]| {
        let pots = pots(stakes);
        assert_eq!(pots, expected);
        assert_eq!(pots.iter().map(|p| p.amount).sum::<u64>(), stakes.iter().map(|s| s.paid).sum::<u64>());
    };
    check(&[claim(100), claim(100), gone(50)], &[pot(250, &[0, 1])]);
    check(
        &[claim(20), claim(50), claim(100), claim(100)],
        &[pot(80, &[0, 1, 2, 3]), pot(90, &[1, 2, 3]), pot(100, &[2, 3])],
    );
    check(&[claim(20), gone(70), claim(100), claim(100)], &[pot(80, &[0, 2, 3]), pot(210, &[2, 3])]);
    check(&[gone(20), claim(50), gone(0)], &[pot(70, &[1])]);
    check(&[gone(80), claim(50), claim(50)], &[pot(180, &[1, 2])]);
}

#[test]
fn chips_that_do_not_divide_go_to_the_first_seats() {
    assert_eq!(split(101, &[4, 1]), BTreeMap::from([(4, 51), (1, 50)]));
    assert_eq!(split(11, &[2, 3, 0]), BTreeMap::from([(2, 4), (3, 4), (0, 3)]));
    assert_eq!(split(1, &[5, 0]), BTreeMap::from([(5, 1), (0, 0)]));
    assert_eq!(split(7, &[3]), BTreeMap::from([(3, 7)]));
}
