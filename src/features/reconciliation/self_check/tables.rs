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
use crate::store::{MacTable, ReadTransaction, RowId, RowKey, RowsPage, UncachedConnection};

/// Rows that are read in one transaction, so that none keeps the WAL from being moved for long.
const PAGE_ROWS: usize = 500;
/// What is said of a row that somebody else has written or changed.
const CHANGED: &str = "it is not as this server wrote it";
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
    begins: bool,
    /// Storage fails: what was found before is not known now.
    stale: bool,
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
    /// All rows were read.
    is_read: bool,
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

    /// Whether what was found is not known to be so now.
    pub(crate) fn are_stale(&self) -> bool {
        self.stale
    }

    /// Has all tables be looked at from their beginning, at the next [`begin_due`](Self::begin_due).
    pub(crate) fn begin_anew(&mut self) {
        self.begins = true;
    }

    /// Notes whether storage fails, when memory is ahead of it. What was found before is then told as stale, and looked
    /// at again afterwards.
    pub(crate) fn set_stale(&mut self, stale: bool) {
        match (self.stale, stale) {
            (false, true) => self.untold.extend(self.found.keys().cloned()),
            (true, false) => self.begins = true,
            _ => {}
        }
        self.stale = stale;
    }

    /// Whether not everything that is due was looked at.
    pub(crate) fn are_due(&self) -> bool {
        self.due.is_some() || self.look.is_some()
    }

    /// Begins what is due, unless something goes on: all tables, or those of which something is known to differ.
    pub(crate) fn begin_due(&mut self, fresh: &UncachedConnection) -> Result<()> {
        if self.begins {
            return self.begin(fresh, None);
        }
        let differ: BTreeSet<String> =
            self.found.iter().filter(|(_, check)| check.different > 0).map(|(name, _)| name.clone()).collect();
        match self.are_due() || differ.is_empty() {
            true => Ok(()),
            false => self.begin(fresh, Some(&differ)),
        }
    }

    /// Whether [`begin_due`](Self::begin_due) has something to begin, or something goes on.
    pub(crate) fn wants_look(&self) -> bool {
        self.begins || self.are_due() || self.found.values().any(|check| check.different > 0)
    }

    /// The row that differs of this name, with its table.
    pub(crate) fn difference(&self, name: &str) -> Option<(&String, &RowDifference)> {
        let rows = self.found.iter().flat_map(|(table, check)| check.differences.iter().map(move |row| (table, row)));
        rows.into_iter().find(|(_, row)| row.name == name)
    }

    /// The tables that memory has of which rows differ, with those rows: at most `limit` of each.
    pub(crate) fn repairable(&self, limit: usize) -> Vec<(Arc<dyn MemoryRows>, Vec<RowDifference>)> {
        let of = |(table, check): (&String, &TableCheck)| {
            let rows: Vec<RowDifference> = check.differences.iter().take(limit).cloned().collect();
            self.memory_of(table).filter(|_| !rows.is_empty()).map(|memory| (memory, rows))
        };
        self.found.iter().filter_map(of).collect()
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
            let looked = look.advance(fresh);
            let done = matches!(looked, Ok(true));
            if !done {
                self.look = Some(look);
                looked?;
            } else if self.keep(&look.table.name, look.found) {
                news.insert(look.table.name);
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
        let (seen, after, hasher) = (BTreeSet::new(), None, Sha256::new());
        Some(Look { table, memory, expected, seen, after, is_read: false, hasher, found })
    }

    /// True: a row differs that did not.
    fn keep(&mut self, name: &str, found: TableCheck) -> bool {
        let before = self.found.get(name).map(|check| &check.differences[..]).unwrap_or_default();
        let new: Vec<&RowDifference> =
            found.differences.iter().filter(|row| !before.iter().any(|known| known.name == row.name)).collect();
        for row in &new {
            warn!(row = %row.name, "the row {} in the database differs: {}", row.name, row.what);
        }
        let news = !new.is_empty();
        self.untold.insert(name.to_owned());
        self.found.insert(name.to_owned(), found);
        news
    }
}

impl Look {
    /// Looks at some more rows. True: the table was looked at, and `found` is what was found. Error: the disk cannot be
    /// read; the same call again goes on.
    fn advance(&mut self, fresh: &UncachedConnection) -> Result<bool> {
        if !self.is_read {
            let read = |moment: &ReadTransaction<'_>| moment.rows_page(&self.table, self.after.as_ref(), PAGE_ROWS);
            let page = fresh.read_transaction(read)?;
            self.after = self.take_in(page);
            self.is_read = self.after.is_none();
            return Ok(false);
        }
        let differences = self.compare_with_memory(fresh)?;
        differences.into_iter().for_each(|row| self.add(row));
        self.found.differences.sort_by(|one, other| one.name.cmp(&other.name));
        self.found.checksum = HEXLOWER.encode(&self.hasher.finalize_reset());
        Ok(true)
    }

    /// Returns what the look goes on after.
    fn take_in(&mut self, page: RowsPage) -> Option<RowKey> {
        let RowsPage { keys, macs, changed, last } = page;
        self.found.rows += u64::try_from(keys.len()).unwrap_or(u64::MAX);
        for mac in macs {
            self.hasher.update(format!("{mac}\n"));
        }
        for (key, row) in changed {
            self.add(RowDifference { name: row.name.to_string(), what: CHANGED, row: Some(row), key });
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

    /// What differs between the rows that were read and memory.
    fn compare_with_memory(&self, fresh: &UncachedConnection) -> Result<Vec<RowDifference>> {
        let Some(memory) = &self.memory else { return Ok(Vec::new()) };
        let table = &self.table.name;
        let difference =
            |key: &str, what, row| RowDifference { name: format!("{table}/{key}"), what, row, key: key.to_owned() };
        let changed: BTreeSet<&str> = self.found.differences.iter().map(|row| row.key.as_str()).collect();
        // What memory had before the rows were read, and still has, must have been there.
        let still: BTreeSet<String> = memory.stored_keys().into_iter().collect();
        let missing = self.expected.iter().filter(|key| !self.seen.contains(*key) && still.contains(*key));
        let mut differences: Vec<RowDifference> = missing.map(|key| difference(key, NOT_ON_DISK, None)).collect();
        // What memory does not have after they were read, may have been removed since: then it is not there now.
        let unknown = self.seen.iter().filter(|key| !changed.contains(key.as_str()) && !memory.has(key));
        for key in unknown {
            let row = fresh.read_transaction(|moment| moment.find_row(table, key))?;
            if row.is_some() && !memory.has(key) {
                differences.push(difference(key, NOT_IN_MEMORY, row));
            }
        }
        Ok(differences)
    }
}
