//! The reads of this process that run now: one that lasts keeps the WAL from starting over.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use rusqlite::{Connection, InterruptHandle};

/// Shared by the reader pool and the writer. Bounded by the connections that read.
#[derive(Clone, Default)]
pub(crate) struct ActiveReads(Arc<Mutex<Registry>>);

#[derive(Default)]
struct Registry {
    next: u64,
    reads: HashMap<u64, (Instant, InterruptHandle)>,
}

/// A read that runs until this is dropped.
pub(crate) struct ActiveRead {
    reads: ActiveReads,
    number: u64,
}

impl ActiveReads {
    pub(crate) fn begin(&self, conn: &Connection) -> ActiveRead {
        let mut registry = self.0.lock();
        registry.next += 1;
        let number = registry.next;
        registry.reads.insert(number, (Instant::now(), conn.get_interrupt_handle()));
        ActiveRead { reads: self.clone(), number }
    }

    /// Ends the statements of reads that have lasted this long; they fail with `StorageUnavailable`. Returns how many.
    pub(crate) fn interrupt_older_than(&self, age: Duration) -> usize {
        let registry = self.0.lock();
        let old = registry.reads.values().filter(|(began, _)| began.elapsed() >= age);
        old.map(|(_, handle)| handle.interrupt()).count()
    }
}

impl Drop for ActiveRead {
    fn drop(&mut self) {
        self.reads.0.lock().reads.remove(&self.number);
    }
}
