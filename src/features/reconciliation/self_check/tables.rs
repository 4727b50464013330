//! The rows of features: each against its MAC, and where memory has all of a table, both against each other. A table is
//! read from the file, some rows in each read transaction.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use data_encoding::HEXLOWER;
use sha2::{Digest, Sha256};
use tracing::warn;

use crate::base::clock::Timestamp;
use crate::base::error::Result;
use crate::feature::memory_rows::{MemoryRows, MemoryRowsRegistry};
use crate::features::reconciliation::limits::DIFFERENCES_MAX;
use crate::store::{MacTable, RowId, RowKey, RowsPage, UncachedConnection};

/// Rows that are read in one transaction, so that none keeps the WAL from being moved for long.
const PAGE_ROWS: usize = 500;
/// What is said of a row that somebody else has written or changed.
const NOT_OURS: &str = "it is not as this server wrote it";
const NOT_IN_MEMORY: &str = "the disk has it, and memory does not";
const NOT_ON_DISK: &str = "memory has it, and the disk does not";

/// A row that differs.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct RowDifference {
    /// Its table and key, with `/` between.
    pub name: String,
    pub what: &'static str,
    /// The row on disk; `None`: it is not there.
    pub row: Option<RowId>,
    /// The parts of its key, with `/` between.
    pub key: String,
}

/// What was found of a table.
#[derive(Clone, Debug, Default)]
pub(crate) struct TableCheck {
    pub rows: u64,
    /// SHA-256 over the MACs in the order of the key.
    pub checksum: String,
    /// At most [`DIFFERENCES_MAX`], by name.
    pub differences: Vec<RowDifference>,
    /// How many there are.
    pub different: u64,
    /// Whether memory has its rows, too.
    pub in_memory: bool,
    /// When it began to be looked at.
    pub since: Option<Timestamp>,
}

/// The tables, and how far the look at them is.
#[derive(Default)]
pub(crate) struct TableChecks {
    memory: MemoryRowsRegistry,
    found: BTreeMap<String, TableCheck>,
    /// Those that were looked at since they were last told.
    untold: BTreeSet<String>,
    /// All are to be looked at from their beginning.
    pub begins: bool,
    /// Tables that are to be looked at, the last first; `None`: none.
    due: Option<Vec<MacTable>>,
    look: Option<Look>,
}

/// A table that is being looked at.
struct Look {
    table: MacTable,
    memory: Option<Arc<dyn MemoryRows>>,
    /// The keys that memory had when it began.
    expected: Vec<String>,
    seen: BTreeSet<String>,
    after: Option<RowKey>,
    hasher: Sha256,
    found: TableCheck,
}

impl TableChecks {
    pub(crate) fn new(memory: MemoryRowsRegistry) -> Self {
        Self { memory, ..Self::default() }
    }

    /// The tables with what was found of them.
    pub(crate) fn all(&self) -> impl Iterator<Item = (&String, &TableCheck)> {
        self.found.iter()
    }

    /// The tables that were looked at since this was last asked.
    pub(crate) fn take_untold(&mut self) -> BTreeSet<String> {
        std::mem::take(&mut self.untold)
    }

    /// Whether something is known to differ.
    pub(crate) fn differ(&self) -> bool {
        self.found.values().any(|check| check.different > 0)
    }

    /// Whether not everything that is due was looked at.
    pub(crate) fn are_due(&self) -> bool {
        self.due.is_some() || self.look.is_some()
    }

    /// The row that differs of this name, with its table.
    pub(crate) fn difference(&self, name: &str) -> Option<(&String, &RowDifference)> {
        let rows = self.found.iter().flat_map(|(table, check)| check.differences.iter().map(move |row| (table, row)));
        rows.into_iter().find(|(_, row)| row.name == name)
    }

    /// The rows that differ of tables that memory has.
    pub(crate) fn mendable(&self) -> Vec<(Arc<dyn MemoryRows>, RowDifference)> {
        let of = |(table, check): (&String, &TableCheck)| {
            let memory = self.memory_of(table)?;
            let rows = check.differences.iter().map(move |row| (Arc::clone(&memory), row.clone()));
            Some(rows.collect::<Vec<_>>())
        };
        self.found.iter().filter_map(of).flatten().collect()
    }

    /// What memory has of a table; `None`: nothing.
    pub(crate) fn memory_of(&self, table: &str) -> Option<Arc<dyn MemoryRows>> {
        self.memory.get()?.iter().find(|rows| rows.table() == table).cloned()
    }

    /// Has all tables be looked at, or those of these names, from their beginning.
    pub(crate) fn begin(&mut self, fresh: &UncachedConnection, wanted: Option<&BTreeSet<String>>) -> Result<()> {
        let mut tables = fresh.read_transaction(|moment| moment.mac_tables())?;
        self.found.retain(|name, _| tables.iter().any(|table| table.name == *name));
        tables.retain(|table| wanted.is_none_or(|wanted| wanted.contains(&table.name)));
        tables.reverse();
        // A look at all that this breaks off is begun again.
        self.begins = wanted.is_some() && (self.begins || self.are_due());
        (self.due, self.look) = (Some(tables), None);
        Ok(())
    }

    /// Looks at what is due, for so long. Returns the tables of which something was found
    /// that was not known. Error: the disk cannot be read; what is due stays so.
    pub(crate) fn look(
        &mut self,
        fresh: &UncachedConnection,
        now: Timestamp,
        time: Duration,
    ) -> Result<BTreeSet<String>> {
        let (started, mut news) = (Instant::now(), BTreeSet::new());
        while started.elapsed() < time {
            let Some(mut look) = self.look.take().or_else(|| self.next(now)) else { break };
            let page = fresh.read_transaction(|moment| moment.rows_page(&look.table, look.after.as_ref(), PAGE_ROWS));
            match page {
                Ok(page) => {
                    look.after = look.take_in(page);
                    if look.after.is_some() {
                        self.look = Some(look);
                    } else {
                        let (name, found) = look.finish(fresh)?;
                        if self.keep(name.clone(), found) {
                            news.insert(name);
                        }
                    }
                }
                Err(error) => {
                    self.look = Some(look);
                    return Err(error);
                }
            }
        }
        Ok(news)
    }

    fn next(&mut self, now: Timestamp) -> Option<Look> {
        let Some(table) = self.due.as_mut()?.pop() else {
            self.due = None;
            return None;
        };
        let memory = self.memory_of(&table.name);
        let expected = memory.as_ref().map(|memory| memory.stored_keys()).unwrap_or_default();
        let found = TableCheck { in_memory: memory.is_some(), since: Some(now), ..TableCheck::default() };
        Some(Look { table, memory, expected, seen: BTreeSet::new(), after: None, hasher: Sha256::new(), found })
    }

    /// True: a row differs that did not.
    fn keep(&mut self, name: String, found: TableCheck) -> bool {
        let before = self.found.get(&name).map(|check| &check.differences[..]).unwrap_or_default();
        let new: Vec<&RowDifference> =
            found.differences.iter().filter(|row| !before.iter().any(|known| known.name == row.name)).collect();
        for row in &new {
            warn!(row = %row.name, "the row {} in the database differs: {}", row.name, row.what);
        }
        let news = !new.is_empty();
        self.untold.insert(name.clone());
        self.found.insert(name, found);
        news
    }
}

impl Look {
    /// Returns what the look goes on after.
    fn take_in(&mut self, page: RowsPage) -> Option<RowKey> {
        let RowsPage { keys, macs, changed, last } = page;
        self.found.rows += u64::try_from(keys.len()).unwrap_or(u64::MAX);
        for mac in macs {
            self.hasher.update(format!("{mac}\n"));
        }
        for (key, row) in changed {
            self.add(RowDifference { name: row.name.to_string(), what: NOT_OURS, row: Some(row), key });
        }
        if self.memory.is_some() {
            self.seen.extend(keys);
        }
        last
    }

    fn add(&mut self, row: RowDifference) {
        self.found.different += 1;
        if self.found.differences.len() < DIFFERENCES_MAX {
            self.found.differences.push(row);
        }
    }

    /// Compares with memory, at the end.
    fn finish(mut self, fresh: &UncachedConnection) -> Result<(String, TableCheck)> {
        let name = self.table.name.clone();
        if let Some(memory) = self.memory.take() {
            let changed: BTreeSet<String> = self.found.differences.iter().map(|row| row.key.clone()).collect();
            // What memory had before the rows were read, and still has, must have been there.
            let still: BTreeSet<String> = memory.stored_keys().into_iter().collect();
            let missing = |key: &&String| !self.seen.contains(*key) && still.contains(*key);
            let missing: Vec<String> = self.expected.iter().filter(missing).cloned().collect();
            // What memory does not have after they were read, may have been removed since: then it is not there now.
            let unknown = |key: &&String| !changed.contains(*key) && !memory.has(key);
            let unknown: Vec<String> = self.seen.iter().filter(unknown).cloned().collect();
            for key in missing {
                self.add(RowDifference { name: format!("{name}/{key}"), what: NOT_ON_DISK, row: None, key });
            }
            for key in unknown {
                let row = fresh.read_transaction(|moment| moment.find_row(&name, &key))?;
                if row.is_some() && !memory.has(&key) {
                    self.add(RowDifference { name: format!("{name}/{key}"), what: NOT_IN_MEMORY, row, key });
                }
            }
        }
        self.found.differences.sort_by(|one, other| one.name.cmp(&other.name));
        self.found.checksum = HEXLOWER.encode(&self.hasher.finalize());
        Ok((name, self.found))
    }
}
