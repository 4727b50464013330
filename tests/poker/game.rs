//! A table to try things at: every accepted action is checked for lost chips, every rejected one for secrets.

use rejoin::Timestamp;
use rejoin::UserId;
use rejoin::{Action, Actor, Rejection, Rules};
use serde_json::{Value, json};

use crate::holdem::rules::Holdem;

pub struct Game {
    pub state: Value,
    /// What the server's deck is shuffled by.
    pub seed: [u8; 32],
    chips: u64,
}

pub fn actor(name: &str) -> Actor {
    Actor { id: UserId::new(name).unwrap(), host: name == "host" }
}

/// Sum of what lies in front of the players and in the middle.
fn chips(state: &Value) -> u64 {
    stacks(state).iter().sum::<u64>() + state["pot"].as_u64().unwrap()
}

pub fn stacks(state: &Value) -> Vec<u64> {
    state["players"].as_array().unwrap().iter().map(|seat| seat["stack"].as_u64().unwrap()).collect()
}

impl Game {
    pub fn new(setup: Value) -> Self {
        let state = Holdem.create(setup, &actor("host")).unwrap();
        Self { chips: chips(&state), state, seed: [7; 32] }
    }

    /// A table of players `a`, `b`, … with these stacks, blinds 50 and 100 and the button at the last seat.
    pub fn of(stacks: &[u64]) -> Self {
        let ids = ["a", "b", "c", "d", "e", "f"];
        let players: Vec<Value> =
            ids.iter().zip(stacks).map(|(id, stack)| json!({ "id": id, "stack": stack })).collect();
        Self::new(json!({ "players": players, "blinds": [50, 100], "button": stacks.len() - 1 }))
    }

    fn apply(&self, who: &str, kind: &str, payload: &Value) -> Result<Value, Rejection> {
        let action = Action { kind, payload, at: Timestamp::from_millis(0), seed: self.seed };
        Holdem.apply(&self.state, &action, &actor(who))
    }

    /// An action that must be accepted.
    pub fn act(&mut self, who: &str, kind: &str, payload: Value) -> &mut Self {
        let after = self.apply(who, kind, &payload);
        let after = after.unwrap_or_else(|no| panic!("{who} {kind} {payload}: {}\n{}", no.message, self.state));
        assert_eq!(chips(&after), self.chips, "{who} {kind} {payload} makes or loses chips: {after}");
        self.state = after;
        self
    }

    /// An action that must be rejected; the message.
    pub fn refuse(&self, who: &str, kind: &str, payload: Value) -> String {
        let Err(rejection) = self.apply(who, kind, &payload) else {
            panic!("{who} {kind} {payload} is allowed in {}", self.state)
        };
        let told = format!("{} {}", rejection.message, json!(rejection.details));
        let hole = self.state["private"].as_object().unwrap().values().map(|hole| &hole["cards"]);
        for card in hole.chain([&self.state["hidden"]["deck"]]).flat_map(|cards| cards.as_array().unwrap()) {
            assert!(!told.contains(card.as_str().unwrap()), "a secret in: {told}");
        }
        rejection.message
    }

    /// Deals `cards`, two per seat, from the host's hand.
    pub fn deal(&mut self, cards: &[&str]) -> &mut Self {
        let holes: serde_json::Map<String, Value> = (0..)
            .zip(cards)
            .map(|(seat, pair)| (self.player(seat), json!({ "cards": [pair[..2], pair[2..]] })))
            .collect();
        self.act("host", "deal", json!({ "private": holes }))
    }

    pub fn board(&mut self, cards: &[&str]) -> &mut Self {
        self.act("host", "board", json!({ "cards": cards }))
    }

    /// Short for a list of moves, `who what` each: `a call`, `b raise 300`.
    pub fn play(&mut self, moves: &str) -> &mut Self {
        for step in moves.split(", ") {
            match step.split(' ').collect::<Vec<_>>().as_slice() {
                [who, "raise", to] => self.act(who, "raise", json!({ "to": to.parse::<u64>().unwrap() })),
                [who, kind] => self.act(who, kind, json!({})),
                other => panic!("{other:?}"),
            };
        }
        self
    }

    pub fn player(&self, seat: usize) -> String {
        self.state["players"][seat]["player"].as_str().unwrap().to_owned()
    }

    pub fn to_act(&self) -> Option<usize> {
        self.state["toAct"].as_u64().map(|seat| usize::try_from(seat).unwrap())
    }

    pub fn phase(&self) -> &str {
        self.state["phase"].as_str().unwrap()
    }

    pub fn stacks(&self) -> Vec<u64> {
        stacks(&self.state)
    }
}
