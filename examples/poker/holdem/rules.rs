//! The rules as the server calls them: who may do what, then the table does it.

use std::collections::BTreeMap;

use rejoin::{Action, Actor, Rejection, Rules, read_as};
use serde::Deserialize;
use serde_json::{Value, json};

use super::cards::Card;
use super::dealing::Setup;
use super::table::{Hole, Phase, Table, damaged};

/// What a table is created with, for people.
const NEW_TABLE: &str = "{\"players\": [{\"id\": \"alice\", \"stack\": 10000}, …], \"blinds\": [50, 100]}, \
                         with ante, minBet and button (the index of a player) if wanted";

/// No-limit Texas hold'em.
#[derive(Clone, Copy, Debug, Default)]
pub struct Holdem;

impl Rules for Holdem {
    fn create(&self, state: Value, _creator: &Actor) -> Result<Value, Rejection> {
        let table = read_as::<Setup>(&state, "state").and_then(Setup::into_table);
        // Whoever guesses is told how it is done.
        to_state(&table.map_err(|wrong| Rejection {
            message: format!("{}; a new table is {NEW_TABLE}", wrong.message),
            ..wrong
        })?)
    }

    fn example(&self) -> Option<Value> {
        let players = [json!({ "id": "alice", "stack": 10_000 }), json!({ "id": "bob", "stack": 10_000 })];
        Some(json!({ "players": players, "blinds": [50, 100] }))
    }

    fn apply(&self, state: &Value, action: &Action<'_>, actor: &Actor) -> Result<Value, Rejection> {
        let mut table = read(state)?;
        match action.kind {
            "start" | "deal" | "board" => deal(&mut table, action, actor)?,
            "fold" | "check" | "call" | "raise" => bet(&mut table, action, actor)?,
            "show" | "muck" => show(&mut table, action, actor)?,
            _ => {
                return Err(Rejection::new(
                    "a poker table knows start, deal, board, fold, check, call, raise, show and muck",
                ));
            }
        }
        table.pot = table.players.iter().map(|s| s.paid).sum();
        to_state(&table)
    }

    fn edit(&self, _before: &Value, after: &Value, actor: &Actor) -> Result<(), Rejection> {
        // A host may put right what went wrong at the table, as long as a table comes of it.
        if !actor.host {
            return Err(Rejection::new("only the host may change the table directly"));
        }
        read(after).map(|_| ())
    }
}

fn read(state: &Value) -> Result<Table, Rejection> {
    // What is wrong could tell what stands in the state.
    read_as(state, "state").map_err(|_| damaged())
}

fn to_state(table: &Table) -> Result<Value, Rejection> {
    serde_json::to_value(table).map_err(|_| damaged())
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Nothing {}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Deal {
    private: BTreeMap<String, Hole>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Board {
    cards: Vec<Card>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Turn {
    player: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Raise {
    to: u64,
    player: Option<String>,
}

fn deal(table: &mut Table, action: &Action<'_>, actor: &Actor) -> Result<(), Rejection> {
    if !actor.host {
        return Err(Rejection::new("only the host deals"));
    }
    match action.kind {
        "start" => action.payload_as::<Nothing>().and_then(|_| table.start(action.seed)),
        "deal" => table.deal(action.payload_as::<Deal>()?.private),
        _ => table.deal_board(&action.payload_as::<Board>()?.cards),
    }
}

fn bet(table: &mut Table, action: &Action<'_>, actor: &Actor) -> Result<(), Rejection> {
    if action.kind == "raise" {
        let Raise { to, player } = action.payload_as()?;
        let place = turn(table, Phase::Betting, actor, player)?;
        return table.raise(place, to);
    }
    let place = turn(table, Phase::Betting, actor, action.payload_as::<Turn>()?.player)?;
    match action.kind {
        "fold" => table.fold(place),
        "check" => table.check(place),
        _ => table.call(place),
    }
}

fn show(table: &mut Table, action: &Action<'_>, actor: &Actor) -> Result<(), Rejection> {
    let place = turn(table, Phase::Showdown, actor, action.payload_as::<Turn>()?.player)?;
    if action.kind == "show" { table.show(place) } else { table.muck(place) }
}

/// The player whose turn it is, if it is the actor's, or that of the player for whom the host acts.
fn turn(table: &Table, phase: Phase, actor: &Actor, named: Option<String>) -> Result<usize, Rejection> {
    let player = match named {
        Some(player) if actor.host || player == actor.id.as_str() => player,
        Some(_) => return Err(Rejection::new("you act for yourself alone")),
        None => actor.id.to_string(),
    };
    if !table.players.iter().any(|s| s.player == player) {
        return Err(Rejection::new(format!("{player} does not sit at this table")));
    }
    let place = table.to_act.filter(|_| table.phase == phase);
    let place =
        place.ok_or_else(|| Rejection::new(format!("this is not the time: the table is at {}", name(table.phase))))?;
    let next = &table.player(place)?.player;
    if *next == player { Ok(place) } else { Err(Rejection::new(format!("it is the turn of {next}"))) }
}

fn name(phase: Phase) -> &'static str {
    match phase {
        Phase::Waiting => "waiting",
        Phase::Dealing => "dealing",
        Phase::Betting => "betting",
        Phase::Board => "board",
        Phase::Showdown => "showdown",
        Phase::Over => "over",
    }
}
