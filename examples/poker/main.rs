//! A poker server: the collection `games` plays no-limit Texas hold'em, everything else is as in `rejoin serve`.
//!
//! `cargo run --release --example poker -- --listen 127.0.0.1:7766 --data-dir DIR`

mod holdem;

use std::process::ExitCode;

use holdem::rules::Holdem;

fn main() -> ExitCode {
    rejoin::run(rejoin::Server::builder().name("poker").rules("games", Holdem))
}
