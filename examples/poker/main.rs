//! A poker server: the collection `games` plays no-limit Texas hold'em, everything else is as in `rejoin serve`.

mod holdem;

use std::process::ExitCode;

pub use holdem::rules::Holdem;

fn main() -> ExitCode {
    let rules: Box<dyn rejoin::document::rules::Rules> = Box::new(Holdem);
    tracing_subscriber::fmt().init();
    tracing::error!(collection = "games", "the rules are ready; the server part of the crate is not");
    drop(rules);
    ExitCode::FAILURE
}
