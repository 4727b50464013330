//! Mending a document, or a row of a feature, that was found different.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Instant;

use tracing::info;

use super::problems::NOT_DIFFERENT;
use super::verdict::{Difference, Verdict};
use crate::base::error::{Error, Result};
use crate::base::ids::{DocumentName, Version};
use crate::document::chain::Hash;
use crate::engine::problems::NOT_IN_MEMORY;
use crate::engine::refusal::not_in_memory;
use crate::engine::request::{RememberedDocument, RepairSource, RepairedDocument};
use crate::feature::memory_rows::MemoryRows;
use crate::features::reconciliation::external::DOCUMENTS;
use crate::features::reconciliation::self_check::{Comparer, MENDED_AT_ONCE_MAX};
use crate::store::{RowId, accept_row, remove_row};

/// What a repair did.
#[derive(Clone, Debug)]
pub(crate) struct RepairSummary {
    pub what: &'static str,
    /// The document's version and hash now; `None`: it was removed, since memory knew nothing of it, or it was a row.
    pub document: Option<(Version, Hash)>,
    /// The verdict on its collection, or table, after that. Its first document, or row, says what was mended.
    pub verdict: Verdict,
}

/// Which side is right of a row that differs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RowSource {
    /// The row becomes what memory has of it.
    Memory,
    /// The row is taken as it is.
    Disk,
    /// The row is removed.
    Neither,
}

impl RowSource {
    pub(crate) const ALL: [Self; 3] = [Self::Memory, Self::Disk, Self::Neither];

    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Disk => "disk",
            Self::Neither => "neither",
        }
    }
}

/// What is to be done with a row.
enum RowRepair {
    FromMemory(Arc<dyn MemoryRows>),
    AsItIs(RowId),
    Removed(RowId),
}

impl RowRepair {
    /// Error: `source` does not fit.
    fn new(table: &str, source: RowSource, memory: Option<Arc<dyn MemoryRows>>, row: Option<RowId>) -> Result<Self> {
        match (source, memory, row) {
            (RowSource::Memory, Some(memory), _) => Ok(Self::FromMemory(memory)),
            (RowSource::Memory, None, _) => {
                Err(NOT_IN_MEMORY.error(format!("memory does not have the rows of {table}: say disk or neither")))
            }
            (RowSource::Disk, None, Some(row)) => Ok(Self::AsItIs(row)),
            (RowSource::Neither, None, Some(row)) => Ok(Self::Removed(row)),
            (RowSource::Disk | RowSource::Neither, ..) => {
                let rule = format!("memory has the rows of {table}, and is right: say memory");
                Err(Error::invalid_field("source", rule))
            }
        }
    }
}

impl Comparer {
    /// Has a row that was found different be as memory has it, be taken as it is, or be removed. Compares before and
    /// after. Errors: `not-different`; `not-in-memory` when memory does not have the rows of its table; `Invalid` when
    /// it does and is not to be right; `row-in-use` when other rows refer to one that is to be removed;
    /// `StorageUnavailable`.
    pub(crate) async fn repair_row(&mut self, row: &str, source: RowSource) -> Result<RepairSummary> {
        let started = Instant::now();
        let table = row.split('/').next().unwrap_or_default().to_owned();
        self.check_table(&table).await?;
        let name = row.to_owned();
        let found = self.run(move |core, _| {
            let memory = |table: &str| core.tables.memory_of(table);
            Ok(core.tables.difference(&name).map(|(table, found)| (memory(table), found.clone())))
        });
        let Some((memory, found)) = found.await? else {
            return Err(NOT_DIFFERENT.error(format!("there is no row {row} that is not as this server wrote it")));
        };
        let key = found.key;
        let what = match RowRepair::new(&table, source, memory, found.row)? {
            RowRepair::FromMemory(memory) => {
                self.engine.rows(move |conn, _| memory.write(conn, &key)).await?;
                "the row is as memory has it again"
            }
            RowRepair::AsItIs(row) => {
                self.engine.rows(move |conn, _| accept_row(conn, &row)).await?;
                "the row is taken as it is"
            }
            RowRepair::Removed(row) => {
                self.engine.rows(move |conn, _| remove_row(conn, &row)).await?;
                "the row is removed"
            }
        };
        info!(row, "the row {row} was repaired by request: {what}");
        let verdict = self.repaired_rows(&table, &[row.to_owned()], what, started).await?;
        Ok(RepairSummary { what, document: None, verdict })
    }

    /// Writes the rows anew that differ from those in memory: some of each table, the others come later. Returns the
    /// verdicts after that.
    pub(crate) async fn repair_rows_from_memory(&mut self) -> Result<Vec<Verdict>> {
        let tables = self.run(|core, _| Ok(core.tables.repairable(MENDED_AT_ONCE_MAX))).await?;
        let mut verdicts = Vec::with_capacity(tables.len());
        for (memory, rows) in tables {
            let (started, table) = (Instant::now(), memory.table());
            let (keys, names): (Vec<String>, Vec<String>) = rows.into_iter().map(|row| (row.key, row.name)).unzip();
            self.engine.rows(move |conn, _| keys.iter().try_for_each(|key| memory.write(conn, key))).await?;
            for name in &names {
                info!(row = %name, "the row {name} is as memory has it again");
            }
            verdicts.push(self.repaired_rows(table, &names, "the row is as memory has it again", started).await?);
        }
        Ok(verdicts)
    }

    /// Compares a table again after rows of it were repaired, which the verdict then names first.
    async fn repaired_rows(&self, table: &str, rows: &[String], what: &str, started: Instant) -> Result<Verdict> {
        self.check_table(table).await?;
        let verdict = self.table_verdict(table, started);
        let mut verdict = verdict.ok_or_else(|| Error::internal("a table that was looked at has no verdict"))?;
        let mended = |row: &String| Difference { document: row.clone(), version: 0, what: format!("mended: {what}") };
        verdict.documents.splice(0..0, rows.iter().map(mended));
        Ok(verdict)
    }

    async fn check_table(&self, table: &str) -> Result<()> {
        let tables = BTreeSet::from([table.to_owned()]);
        self.run(move |core, reader| core.check_named_tables(reader, &tables)).await
    }

    /// Makes memory and disk alike for a document that was found different, by what one of them has. Compares before
    /// and after. Errors: `not-different`; those of [`RepairSource`]; `StorageUnavailable`; `Frozen` and `Moved` for
    /// one on its way to another server.
    pub(crate) async fn repair(&mut self, document: &DocumentName, source: RepairSource) -> Result<RepairSummary> {
        let started = Instant::now();
        self.compare(None).await?;
        let name = document.to_string();
        let wanted = document.clone();
        let found = self.run(move |core, reader| {
            let Some(key) = core.findings.key_of(&name) else { return Ok(None) };
            let leaf = core.remembered(&wanted, key);
            let known = reader.read_transaction(|moment| {
                let Some(leaf) = leaf else { return Ok(RememberedDocument::Absent(key)) };
                let version = leaf.version();
                let standing = moment.stored_document(key)?;
                // Of who its host was only a digest is remembered: where neither side has it, nothing can be made of
                // that.
                let stored = standing.as_ref().and_then(|standing| standing.meta.as_deref());
                let stored_well = stored.is_some_and(|meta| leaf.has_facts_of(meta));
                let hot = core.hub.by_key(key);
                if source == RepairSource::Memory
                    && !stored_well
                    && hot.is_some_and(|hot| !leaf.has_facts_of(&hot.meta))
                {
                    return Err(not_in_memory(&wanted));
                }
                let base = standing.and_then(|standing| standing.base).filter(|(base, _)| *base == version);
                let hash = moment.hash_at(key, version)?.or(base.map(|(_, hash)| hash));
                let hash = hash.filter(|hash| stored_well && leaf.is_of(&name, version, *hash));
                Ok(RememberedDocument::Present(key, hash.map(|hash| (version, hash))))
            })?;
            Ok(Some((key, known)))
        });
        let Some((key, known)) = found.await? else {
            let message = format!("{document} is the same in memory and on disk");
            return Err(NOT_DIFFERENT.error(message));
        };
        let RepairedDocument { document: now, summary: what } =
            self.engine.repair(document.clone(), source, known).await?;
        let result = now.as_ref().map(|now| (now.version, now.hash));
        let collection = document.collection.clone();
        self.run(move |core, _| {
            core.accept(&collection, key, now.as_deref());
            Ok(())
        })
        .await?;
        self.compare(None).await?;
        let mut verdict = self.verdict_on(&format!("{DOCUMENTS}{}", document.collection), started);
        // What is recorded of it says what it is about.
        let version = result.map_or(0, |(version, _)| version.0);
        verdict
            .documents
            .insert(0, Difference { document: document.to_string(), version, what: format!("mended: {what}") });
        Ok(RepairSummary { what, document: result, verdict })
    }
}
