//! The rules of the poker example: real hands end with the stacks that really came of them, and the rare cases that
//! those hands do not have, each by itself.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a failed unwrap or index fails the test")]

#[path = "../examples/poker/holdem/mod.rs"]
mod holdem;
#[path = "../examples/replay/phh.rs"]
mod phh;

mod poker {
    mod cards;
    mod game;
    mod hands;
    mod table;
}
