//! No-limit Texas hold'em as [`Rules`](rejoin::Rules) for a collection: a document is a table that
//! plays one hand after another.
//!
//! | action | by | payload |
//! |---|---|---|
//! | `start` | host | none: the server shuffles, deals the hole cards, and later the board by itself |
//! | `deal` | host | `{"private": {"<playerId>": {"cards": ["Ah", "Kd"]}}}`, one player or several: real cards |
//! | `board` | host | `{"cards": ["2c", "7d", "Ts"]}`: the next three, one, one |
//! | `fold`, `check`, `call` | the player whose turn it is | none |
//! | `raise` | the same | `{"to": 300}`: the player's whole bet on this street; the first bet of a street too |
//! | `show`, `muck` | the same, at the showdown | none |
//!
//! A player acts for nobody else. The host may act for the player of someone who is away, with `"player": "<playerId>"`
//! in the payload. A new table is `{"players": [{"id": "alice", "stack": 10000}, …], "blinds": [50, 100]}`, with
//! `ante`, `minBet` (else the largest blind) and `button` (a player's index, else 0) if wanted; the state that comes of
//! it is [`table::Table`].

mod betting;
pub mod cards;
mod dealing;
pub mod pots;
pub mod rules;
mod showdown;
pub mod table;
