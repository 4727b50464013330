//! The rules of the poker example: real hands end with the stacks that really came of them, and the rare cases that
//! those hands do not have, each by itself. And the parts of the replay example that need no server.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a failed unwrap or index fails the test"
)]

#[path = "../examples/replay/copy.rs"]
mod copy;
#[path = "../examples/poker/holdem/mod.rs"]
mod holdem;
#[path = "../examples/replay/phh.rs"]
mod phh;

mod poker {
    mod cards;
    mod copy;
    mod game;
    mod hands;
    mod random;
    mod table;
}
