//! What the real hands do not have: side pots, odd chips, short all-ins, two players, antes, a shuffling server.

use rejoin::UserId;
use rejoin::{Actor, Rules};
use serde_json::{Value, json};

use super::game::{Game, actor};
use crate::holdem::rules::Holdem;

/// The best, the second best and the worst hand on [`BOARD`].
const PAIRS: [&str; 3] = ["AsAd", "KsKd", "QsQd"];
const BOARD: [&str; 5] = ["2c", "7h", "9s", "Jd", "3h"];

fn run_out(game: &mut Game) {
    game.board(&BOARD[..3]).board(&BOARD[3..4]).board(&BOARD[4..]);
}

#[test]
fn side_pots_go_to_the_best_hand_that_paid_into_them() {
    let mut game = Game::of(&[200, 500, 1000]);
    game.deal(&PAIRS).play("c raise 1000, a call, b call");
    assert_eq!((game.phase(), game.stacks()), ("showdown", vec![0, 0, 500]), "what nobody can match comes back");
    assert!(game.refuse("c", "muck", json!({})).contains("all-in"));
    game.play("c show, a show, b show");
    run_out(&mut game);
    assert_eq!(game.stacks(), [600, 600, 500]);
    let pots = json!([{ "amount": 600, "won": { "a": 600 } }, { "amount": 600, "won": { "b": 600 } }]);
    assert_eq!(game.state["result"]["pots"], pots);
    assert_eq!(game.state["result"]["hands"]["a"], "pair");
    assert_eq!(game.state["pot"], 0);
}

#[test]
fn the_short_stack_that_loses_leaves_the_side_pot_to_the_others() {
    let mut game = Game::of(&[200, 500, 500]);
    game.deal(&[PAIRS[2], PAIRS[0], PAIRS[1]]).play("c raise 500, a call, b call, c show, a show, b show");
    run_out(&mut game);
    assert_eq!(game.stacks(), [0, 1200, 0]);
    game.refuse("host", "start", json!({}));
}

#[test]
fn the_odd_chip_goes_to_the_first_winner_left_of_the_button() {
    let players = json!([{ "id": "a", "stack": 1000 }, { "id": "b", "stack": 1000 }, { "id": "c", "stack": 1000 }]);
    let setup = json!({ "players": players, "blinds": [51, 100], "ante": 1, "button": 0 });
    let mut game = Game::new(setup);
    // The board plays, so whoever is still in shares 3 × 101 chips.
    game.deal(&["2c3d", "4c5d", "2h3s"]).play("a call, b call, c check");
    game.board(&["As", "Ks", "Qs"]).play("b fold, c check, a check").board(&["Js"]).play("c check, a check");
    game.board(&["Ts"]).play("c check, a check, c show, a show");
    assert_eq!(game.state["result"]["pots"], json!([{ "amount": 303, "won": { "c": 152, "a": 151 } }]));
    assert_eq!(game.stacks(), [1050, 899, 1051]);
}

#[test]
fn a_short_all_in_does_not_give_another_raise_to_those_who_acted() {
    let mut game = Game::of(&[1000, 350, 1000, 1000]);
    game.deal(&["2c3d", "4c5d", "2h3s", "4h5s"]).play("c raise 300, d call, a call, b raise 350");
    assert!(game.refuse("c", "raise", json!({ "to": 700 })).contains("full raise"));
    game.play("c call");
    game.refuse("d", "raise", json!({ "to": 1000 }));
    game.play("d call, a call");
    assert_eq!((game.phase(), game.state["pot"].as_u64()), ("board", Some(1400)));
}

#[test]
fn short_all_ins_that_add_up_to_a_full_raise_do() {
    let mut game = Game::of(&[2000, 500, 2000, 400]);
    game.deal(&["2c3d", "4c5d", "2h3s", "4h5s"]).play("c raise 300, d raise 400, a fold, b raise 500");
    assert_eq!(game.state["minRaise"], 200, "a short raise does not change the measure");
    game.refuse("c", "raise", json!({ "to": 699 }));
    game.play("c raise 700");
    assert_eq!(game.phase(), "showdown");
    assert_eq!(game.stacks()[2], 1500, "200 of the 700 come back");
}

#[test]
fn who_has_not_acted_may_raise_a_short_all_in_by_a_full_raise() {
    let mut game = Game::of(&[1000, 1000, 150, 1000]);
    game.deal(&["2c3d", "4c5d", "2h3s", "4h5s"]).play("c raise 150");
    assert!(game.refuse("d", "raise", json!({ "to": 249 })).contains("250"));
    game.play("d raise 250, a fold");
    game.refuse("b", "raise", json!({ "to": 349 }));
    game.play("b raise 350");
}

#[test]
fn with_two_players_the_button_posts_the_small_blind_and_acts_first_only_before_the_flop() {
    let mut game = Game::of(&[1000, 1000]);
    game.deal(&PAIRS[..2]);
    assert_eq!(game.stacks(), [900, 950]);
    assert_eq!(game.to_act(), Some(1));
    game.play("b call, a check").board(&BOARD[..3]);
    assert_eq!(game.to_act(), Some(0));
}

#[test]
fn the_big_blind_may_raise_when_everybody_only_called() {
    let mut game = Game::of(&[1000, 1000, 1000]);
    game.deal(&PAIRS).play("c call, a call");
    assert_eq!((game.phase(), game.to_act()), ("betting", Some(1)));
    game.play("b raise 200");
    assert_eq!(game.to_act(), Some(2));
    game.play("c fold, a fold");
    assert_eq!((game.phase(), game.stacks()), ("over", vec![900, 1200, 900]));
    assert!(game.state["players"][1].get("shown").is_none(), "who is left alone shows nothing");
}

#[test]
fn a_blind_that_cannot_be_paid_is_all_in() {
    let mut game = Game::of(&[30, 1000]);
    game.deal(&PAIRS[..2]);
    assert_eq!(game.phase(), "showdown", "nobody can bet more: the small blind covers what the other has");
    assert_eq!(game.stacks(), [0, 970]);
    game.play("a show, b show");
    run_out(&mut game);
    assert_eq!(game.stacks(), [60, 970]);
}

#[test]
fn an_ante_that_cannot_be_paid_wins_no_more_than_as_much_from_each() {
    let players = json!([{ "id": "a", "stack": 1000 }, { "id": "b", "stack": 1000 }, { "id": "c", "stack": 10 }]);
    let mut game = Game::new(json!({ "players": players, "blinds": [50, 100], "ante": 25, "button": 2 }));
    game.deal(&[PAIRS[1], PAIRS[2], PAIRS[0]]).play("a call, b check");
    for street in [&BOARD[..3], &BOARD[3..4], &BOARD[4..]] {
        game.board(street).play("a check, b check");
    }
    assert_eq!(game.to_act(), Some(0));
    game.play("a show, b muck, c show");
    assert_eq!(game.stacks(), [1000 - 125 + 230, 875, 30]);
}

#[test]
fn nobody_mucks_a_pot_that_only_they_can_win() {
    let mut game = Game::of(&[100, 500, 500]);
    game.deal(&PAIRS).play("c raise 300, a call, b call").board(&BOARD[..3]).play("b check, c check");
    game.board(&BOARD[3..4]).play("b check, c check").board(&BOARD[4..]).play("b check, c check, a show, b muck");
    assert!(game.refuse("c", "muck", json!({})).contains("nobody else"));
    game.play("c show");
    assert_eq!(game.stacks(), [300, 200, 600]);
}

#[test]
fn who_bet_last_shows_first_and_the_last_one_left_wins_unseen() {
    let mut game = Game::of(&[1000, 1000, 1000]);
    game.deal(&PAIRS).play("c call, a call, b check").board(&BOARD[..3]).play("a check, b check, c check");
    game.board(&BOARD[3..4]).play("a check, b check, c check").board(&BOARD[4..]);
    game.play("a check, b raise 100, c call, a fold");
    assert_eq!(game.to_act(), Some(1));
    game.play("b muck");
    assert_eq!((game.phase(), game.stacks()), ("over", vec![900, 800, 1300]));
    assert_eq!(game.state["result"]["hands"], json!({}));
}

#[test]
fn the_server_shuffles_deals_and_goes_on_to_the_next_hand() {
    let mut game = Game::of(&[1000, 1000, 100]);
    game.act("host", "start", json!({}));
    assert_eq!(game.state["private"].as_object().unwrap().len(), 3);
    assert_eq!(game.state["hidden"]["deck"].as_array().unwrap().len(), 52 - 6);
    game.refuse("host", "deal", json!({ "private": { "a": { "cards": ["2c", "2d"] } } }));
    game.play("c call, a raise 1000, b call, a show, b show, c show");
    assert_eq!((game.phase(), game.state["board"].as_array().unwrap().len()), ("over", 5));
    assert_eq!(game.state["hidden"]["deck"].as_array().unwrap().len(), 52 - 6 - 5);
    if game.stacks().iter().filter(|stack| **stack > 0).count() > 1 {
        let before = game.stacks();
        game.act("host", "start", json!({}));
        let playing = game.state["private"].as_object().unwrap().len();
        assert_eq!(playing, before.iter().filter(|stack| **stack > 0).count(), "who is out gets no cards");
        assert_eq!((&game.state["hand"], &game.state["result"]), (&json!(2), &Value::Null));
    }
}

#[test]
fn the_button_goes_on_to_the_next_player_with_chips() {
    let mut game = Game::of(&[1000, 1000, 1000]);
    for button in [2, 0, 1, 2] {
        game.act("host", "start", json!({}));
        assert_eq!(game.state["button"], button);
        for _ in 0..2 {
            let player = game.player(game.to_act().unwrap());
            game.act(&player, "fold", json!({}));
        }
    }
}

#[test]
fn the_host_acts_for_who_is_away_but_only_in_turn() {
    let mut game = Game::of(&[1000, 1000, 1000]);
    game.deal(&PAIRS);
    assert!(game.refuse("host", "call", json!({})).contains("does not sit"));
    assert!(game.refuse("host", "call", json!({ "player": "a" })).contains("turn of c"));
    game.act("host", "raise", json!({ "player": "c", "to": 250 }));
    game.act("a", "call", json!({ "player": "a" }));
    assert!(game.refuse("c", "fold", json!({ "player": "b" })).contains("yourself"));
}

#[test]
fn a_card_is_dealt_once() {
    let mut game = Game::of(&[1000, 1000]);
    let hole = |cards: [&str; 2]| json!({ "private": { "b": { "cards": cards } } });
    game.act("host", "deal", json!({ "private": { "a": { "cards": ["As", "Ad"] } } }));
    for cards in [["As", "Kd"], ["Kd", "Kd"]] {
        assert!(game.refuse("host", "deal", hole(cards)).contains("once"));
    }
    for payload in [
        hole(["Ks", "1d"]),
        json!({ "private": {} }),
        json!({}),
        json!({ "private": { "a": { "cards": ["2c", "2d"] } } }),
    ] {
        game.refuse("host", "deal", payload);
    }
    game.refuse("b", "call", json!({}));
    game.act("host", "deal", hole(["Ks", "Kd"])).play("b call, a check");
    for cards in [json!(["As", "2c", "3c"]), json!(["2c", "2c", "3c"]), json!(["2c"]), json!([])] {
        game.refuse("host", "board", json!({ "cards": cards }));
    }
}

#[test]
fn a_table_that_cannot_be_played_is_not_made() {
    let two = json!([{ "id": "a", "stack": 100 }, { "id": "b", "stack": 100 }]);
    for setup in [
        json!({}),
        json!({ "players": [{ "id": "a", "stack": 100 }], "blinds": [] }),
        json!({ "players": [{ "id": "a", "stack": 100 }, { "id": "a", "stack": 100 }], "blinds": [] }),
        json!({ "players": [{ "id": "a b", "stack": 100 }, { "id": "b", "stack": 100 }], "blinds": [] }),
        json!({ "players": [{ "id": "a", "stack": 0 }, { "id": "b", "stack": 100 }], "blinds": [] }),
        json!({ "players": [{ "id": "a", "stack": u64::MAX }, { "id": "b", "stack": 100 }], "blinds": [] }),
        json!({ "players": two, "blinds": [1, 2, 3] }),
        json!({ "players": two, "blinds": [1, 2], "button": 2 }),
        json!({ "players": two, "blinds": [1, 2], "minBet": 0 }),
        json!({ "players": two, "blinds": [1, 2], "anteup": 1 }),
        json!([]),
    ] {
        assert!(Holdem.create(setup.clone(), &actor("host")).is_err(), "{setup}");
    }
    assert!(Holdem.create(json!({ "players": two, "blinds": [] }), &actor("host")).is_ok());
}

#[test]
fn what_is_sent_is_read_by_value_and_refused_in_words_of_json() {
    let mut game = Game::of(&[1000, 1000, 1000]);
    game.deal(&PAIRS).act("c", "raise", json!({ "to": 300.0 }));
    assert_eq!(game.state["bet"], 300);
    for (payload, words) in [
        (json!({ "to": "x" }), "payload.to: must be a whole number, not negative"),
        (json!({ "to": 1.5, "x": 1, "player": 2 }), "payload.player: must be a string; payload.to: must be a whole"),
        (json!({}), "payload.to: is missing"),
        (json!([]), "payload: must be an object"),
    ] {
        let told = game.refuse("a", "raise", payload);
        assert!(told.contains(words), "{told}");
    }
    let hole = game.refuse("host", "deal", json!({ "private": { "a": { "cards": ["2c"] } } }));
    assert!(hole.contains("payload.private.a.cards: must be an array of 2 items"), "{hole}");
    let wrong = json!({ "players": [5, { "id": "a b", "stack": -1 }], "blinds": "none" });
    let refused = Holdem.create(wrong, &actor("host")).unwrap_err();
    for field in ["state.players[0]", "state.players[1].id", "state.players[1].stack", "state.blinds"] {
        assert!(refused.message.contains(field), "{field}: {}", refused.message);
    }
    for word in ["expected", "struct", "u64", "sequence"] {
        assert!(!refused.message.contains(word), "{}", refused.message);
    }
    assert_eq!(refused.details["errors"].as_array().unwrap().len(), 4);
}

#[test]
fn only_the_host_edits_and_only_into_a_table() {
    let game = Game::of(&[1000, 1000]);
    let mut richer = game.state.clone();
    richer["players"][0]["stack"] = json!(2000);
    assert!(Holdem.edit(&game.state, &richer, &actor("host")).is_ok());
    assert!(Holdem.edit(&game.state, &richer, &actor("a")).is_err());
    assert!(Holdem.edit(&game.state, &json!({ "anything": 1 }), &actor("host")).is_err());
}

#[test]
fn a_player_may_be_the_host() {
    let mut game = Game::of(&[1000, 1000]);
    game.deal(&PAIRS[..2]);
    let host = Actor { id: UserId::new("b").unwrap(), host: true };
    let action = |kind, payload| rejoin::Action { kind, payload, at: rejoin::Timestamp::from_millis(0), seed: [0; 32] };
    assert!(Holdem.apply(&game.state, &action("call", &Value::Null), &host).is_ok());
}
