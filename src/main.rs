//! The `rejoin` program.

fn main() {}
