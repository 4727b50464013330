//! Rows that a feature has in memory too, so that they can be compared with those on disk.

use std::sync::{Arc, OnceLock};

use crate::base::error::Result;
use crate::store::Connection;

/// A table all of whose rows a feature has in memory. Its key is one column of text, and it has a column `mac`. Called
/// from any thread.
pub(crate) trait MemoryRows: Send + Sync {
    fn table(&self) -> &'static str;

    /// The keys of the rows that must be on disk now.
    fn stored_keys(&self) -> Vec<String>;

    /// Whether memory has a row of this key, also one that is on its way to the disk, or to be removed from there.
    fn has(&self, key: &str) -> bool;

    /// Writes the row of this key as memory has it, in the transaction that `conn` is in, whatever is there. One that
    /// memory does not have is removed. On the engine's thread.
    fn write(&self, conn: &Connection, key: &str) -> Result<()>;
}

/// The [`MemoryRows`] of all features. Set once all are opened: a feature that is opened before others knows them, too.
pub(crate) type MemoryRowsRegistry = Arc<OnceLock<Vec<Arc<dyn MemoryRows>>>>;
