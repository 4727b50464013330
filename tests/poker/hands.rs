//! Real hands, action by action, with illegal moves tried before each.

use std::path::Path;

use serde_json::json;

use super::game::Game;
use crate::phh::{Hand, Step};

const HANDS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/hands");

#[test]
fn real_hands_end_with_the_stacks_that_came_of_them() {
    let mut files: Vec<_> = Path::new(HANDS)
        .read_dir()
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "phh"))
        .collect();
    files.sort();
    assert!(files.len() >= 60, "{} hands", files.len());
    for file in files {
        let hand = Hand::parse(&std::fs::read_to_string(&file).unwrap()).unwrap();
        let mut game = Game::new(hand.setup());
        for step in &hand.steps {
            try_illegal_moves(&game);
            take(&mut game, &hand, step);
        }
        try_illegal_moves(&game);
        assert_eq!(game.phase(), "over", "{}", file.display());
        assert_eq!(game.stacks(), hand.finishing_stacks, "{}: {}", file.display(), game.state);
    }
}

fn take(game: &mut Game, hand: &Hand, step: &Step) {
    match step {
        Step::Hole { seat, cards } => {
            let holes = json!({ hand.players[*seat].as_str(): { "cards": cards } });
            game.act("host", "deal", json!({ "private": holes }));
        }
        Step::Board(cards) => {
            game.act("host", "board", json!({ "cards": cards }));
        }
        Step::Fold(seat) => {
            game.act(&hand.players[*seat], "fold", json!({}));
        }
        Step::CheckCall(seat) => {
            let kind = if game.state["players"][*seat]["bet"] == game.state["bet"] { "check" } else { "call" };
            game.act(&hand.players[*seat], kind, json!({}));
        }
        Step::Raise { seat, to } => {
            game.act(&hand.players[*seat], "raise", json!({ "to": to }));
        }
        Step::Show(seat) => {
            game.act(&hand.players[*seat], "show", json!({}));
        }
        Step::Muck(seat) => {
            game.act(&hand.players[*seat], "muck", json!({}));
        }
    }
}

/// Whatever nobody may do now, whoever it is.
fn try_illegal_moves(game: &Game) {
    let seats = game.state["players"].as_array().unwrap();
    let turn = game.to_act();
    for (index, seat) in seats.iter().enumerate() {
        let player = seat["player"].as_str().unwrap();
        game.refuse(player, "start", json!({}));
        game.refuse(player, "deal", json!({ "private": { player: { "cards": ["2c", "2d"] } } }));
        game.refuse(player, "board", json!({ "cards": ["2c", "2d", "2h"] }));
        if turn == Some(index) {
            continue;
        }
        for kind in ["fold", "check", "call", "show", "muck"] {
            game.refuse(player, kind, json!({}));
        }
        game.refuse(player, "raise", json!({ "to": 500 }));
        if let Some(turn) = turn {
            game.refuse(player, "fold", json!({ "player": game.player(turn) }));
        }
    }
    game.refuse("host", "fold", json!({}));
    game.refuse("stranger", "call", json!({}));
    match (game.phase(), turn) {
        ("betting", Some(turn)) => try_illegal_bets(game, turn),
        ("showdown", Some(turn)) => {
            for kind in ["fold", "check", "call"] {
                game.refuse(&game.player(turn), kind, json!({}));
            }
            game.refuse("host", "board", json!({ "cards": ["2c", "2d", "2h"] }));
        }
        _ => {}
    }
}

fn try_illegal_bets(game: &Game, turn: usize) {
    let (player, seat) = (game.player(turn), &game.state["players"][turn]);
    let amount = |value: &serde_json::Value| value.as_u64().unwrap();
    let (bet, own, stack) = (amount(&game.state["bet"]), amount(&seat["bet"]), amount(&seat["stack"]));
    game.refuse(&player, if bet > own { "check" } else { "call" }, json!({}));
    let least = bet + amount(&game.state["minRaise"]);
    for to in [0, bet, least.min(own + stack) - 1, own + stack + 1, u64::MAX] {
        game.refuse(&player, "raise", json!({ "to": to }));
    }
    for payload in
        [json!({}), json!({ "to": -200 }), json!({ "to": 200.5 }), json!({ "to": 200, "amount": 1 }), json!([])]
    {
        game.refuse(&player, "raise", payload);
    }
    for kind in ["show", "muck", "dance"] {
        game.refuse(&player, kind, json!({}));
    }
    game.refuse("host", "board", json!({ "cards": ["2c", "2d", "2h"] }));
    game.refuse("host", "start", json!({}));
}
