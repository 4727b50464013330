//! What can be turned off while it is being rolled out.

/// The feature flags. Read once, at the start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flags {
    /// Whether new games are kept on disk. Off: they live in memory, are marked so, and are gone when the server stops.
    /// Games that are there already stay as they were created. Default on.
    pub games_persistence: bool,
}

impl Default for Flags {
    fn default() -> Self {
        Self { games_persistence: true }
    }
}
