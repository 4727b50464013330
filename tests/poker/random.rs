//! Hands that nobody would play: random tables, random moves. Whatever happens, a hand ends and no chip is lost.

use rand::rngs::StdRng;
use rand::seq::{IndexedRandom as _, SliceRandom as _};
use rand::{RngExt as _, SeedableRng as _};
use serde_json::{Value, json};

use super::game::{Game, actor};
use crate::holdem::rules::Holdem;
use rejoin::Timestamp;
use rejoin::{Action, Rules as _};

/// Ten players bet at most this often in a hand of the sizes below; more means that the turn goes round for ever.
const MOVES_MAX: usize = 2000;

fn table(random: &mut StdRng) -> Game {
    let count = random.random_range(2..=10_usize);
    let players: Vec<Value> =
        (0..count).map(|n| json!({ "id": format!("p{n}"), "stack": random.random_range(1..=1500) })).collect();
    let blinds: Vec<u64> = [50, 100, 200].into_iter().take(random.random_range(0..=count.min(3))).collect();
    let ante = *[0, 0, 10, 25].choose(random).unwrap();
    Game::new(json!({ "players": players, "blinds": blinds, "ante": ante, "button": random.random_range(0..count) }))
}

/// One of the moves that are allowed, by whoever's turn it is.
fn step(game: &mut Game, random: &mut StdRng) {
    let player = game.player(game.to_act().expect("somebody's turn"));
    let mut moves: Vec<(&str, Value)> =
        ["fold", "check", "call", "call", "show", "muck"].map(|kind| (kind, json!({}))).to_vec();
    moves.push(("raise", json!({ "to": random.random_range(1..=1500) })));
    moves.shuffle(random);
    for (kind, payload) in moves {
        let action = Action { kind, payload: &payload, at: Timestamp::from_millis(0), seed: [0; 32] };
        if Holdem.apply(&game.state, &action, &actor(&player)).is_ok() {
            game.act(&player, kind, payload);
            return;
        }
    }
    panic!("nothing is allowed in {}", game.state);
}

#[test]
fn every_hand_ends_and_no_chip_is_lost() {
    for seed in 0..150 {
        let mut random = StdRng::seed_from_u64(seed);
        let mut game = table(&mut random);
        for _hand in 0..5 {
            if game.stacks().iter().filter(|stack| **stack > 0).count() < 2 {
                break;
            }
            game.seed = random.random();
            game.act("host", "start", json!({}));
            for moves in 0.. {
                if game.phase() == "over" {
                    break;
                }
                assert!(moves < MOVES_MAX, "seed {seed}: the hand does not end: {}", game.state);
                step(&mut game, &mut random);
            }
            check_result(&game);
        }
    }
}

/// What was won is what was in the pots.
fn check_result(game: &Game) {
    for pot in game.state["result"]["pots"].as_array().unwrap() {
        let won: u64 = pot["won"].as_object().unwrap().values().map(|chips| chips.as_u64().unwrap()).sum();
        assert_eq!(pot["amount"].as_u64(), Some(won), "{}", game.state);
    }
    assert_eq!(game.state["pot"], 0);
}
