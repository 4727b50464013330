//! What runs the comparison of memory with the disk, and says what came of it.
//!
//! *Memory* is what was published: the engine notes for each document that changes what it became
//! ([`changes`](crate::live::change_tracker)), and from those notes the [`ledger`] knows where every document must
//! stand. What it knows it has never read back from the disk, but for where documents stood when the server started.
//!
//! *Incrementally*: at one moment of what is published, everything up to its end is on disk, so the rows that came
//! since the last moment, read in one transaction, must be those changes: each document ends where memory does, and no
//! document has rows that memory did not make. That costs what has changed. Rows that come after the moment are
//! compared once the engine has answered, since by then it has published everything that could be read.
//!
//! *Behind our back*: SQLite tells the engine's connection when another has committed
//! ([`others_wrote`](crate::store::Writer::others_wrote)). Then everything is looked at: each document's end against
//! the ledger, each event against its chain, each snapshot against its checksum and against memory. What was written
//! into the file without SQLite is found by the scrub, which does the same for ever, slowly, with nothing in its cache.
//!
//! A document that was found different is looked at each time until it is alike again.
//!
//! *Rows of features*: each row of a table with a column `mac` against that and, where memory has the whole table,
//! against memory ([`tables`]): at the start, when another has committed, and by the scrub.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Instant;

use data_encoding::HEXLOWER;
use parking_lot::Mutex;
use sha2::{Digest, Sha256};

use crate::base::error::Result;
use crate::base::ids::DocumentName;
use crate::engine::handle::Engine;
use crate::engine::health::{Health, StorageHealth};
use crate::engine::read::Reads;
use crate::feature::memory_rows::MemoryRowsRegistry;
use crate::features::reconciliation::external::{DOCUMENTS, LOG, TABLES};
use crate::features::reconciliation::limits::{CHANGES_MAX, DIFFERENCES_MAX};
use crate::features::reconciliation::self_check::core::Core;
use crate::features::reconciliation::self_check::findings::DocumentFinding;
use crate::features::reconciliation::self_check::tables::{RowDifference, TableCheck};
use crate::features::reconciliation::verdict::{
    Compared, Details, Difference, Verdict, VerdictCount, VerdictCounts, VerdictStatus,
};
use crate::store::Reader;

pub(super) mod core;
mod examine;
mod findings;
pub(crate) mod ledger;
pub(crate) mod tables;
#[cfg(test)]
mod tests;

/// Documents whose snapshots are written anew in one go, each compared before and after; rows of one table likewise.
pub(super) const MENDED_AT_ONCE_MAX: usize = 20;

/// Compares memory with the disk. One at a time: whoever shares it waits for the other. A call that is cancelled goes
/// on by itself and is lost for nobody: what it was to compare is compared, or comes with the next.
pub(crate) struct Comparer {
    core: Arc<Mutex<Core>>,
    pub(super) engine: Engine,
    pub(super) reads: Reads,
    health: Arc<Health>,
}

/// Which verdicts are wanted.
enum VerdictFilter<'a> {
    All,
    Named(&'a [String]),
    /// Of these collections and tables, and of the log.
    Collections(&'a [String]),
}

impl Comparer {
    /// Compares from here on: what memory does is noted from now. The first [`compare`](Self::compare) reads where each
    /// document stands; make it soon. `memory`: the rows of features that memory has, too.
    pub(crate) fn new(engine: Engine, reads: Reads, health: Arc<Health>, memory: MemoryRowsRegistry) -> Self {
        Self::recording(engine, reads, health, CHANGES_MAX, memory)
    }

    fn recording(
        engine: Engine,
        reads: Reads,
        health: Arc<Health>,
        changes_max: usize,
        memory: MemoryRowsRegistry,
    ) -> Self {
        let core = Arc::new(Mutex::new(Core::new(Arc::clone(&reads.hub), changes_max, memory)));
        Self { core, engine, reads, health }
    }

    /// Compares what has changed since the last time; everything, when somebody else has written to the file.
    /// `services`: all that is stored of these, whoever wrote; only they are told of, and of those that there are none
    /// is told. Error: `StorageUnavailable`, `Damaged` when the disk cannot be read at all; nothing is forgotten then.
    pub(crate) async fn compare(&mut self, services: Option<&[String]>) -> Result<Vec<Verdict>> {
        let started = Instant::now();
        let compared = self.compare_now(services).await;
        self.health.note_background("comparison", self.reads.hub.now(), &compared);
        compared?;
        Ok(self.verdicts(started, services.map_or(VerdictFilter::All, VerdictFilter::Named)))
    }

    async fn compare_now(&self, services: Option<&[String]>) -> Result<()> {
        let look = self.engine.barrier().await?;
        let failing = self.health.report().storage != StorageHealth::Well;
        let named = services.map(<[String]>::to_vec);
        let state = (look.foreign_commits, failing);
        let ahead = self.run(move |core, reader| core.compare(reader, state, named.as_deref())).await?;
        if !ahead.is_empty() {
            self.engine.barrier().await?;
            self.run(move |core, reader| core.check_newer_events(reader, &ahead)).await?;
        }
        Ok(())
    }

    /// Reads and hashes again what is on disk, some `bytes` of it, and goes on there the next time: once around, then
    /// anew. Returns verdicts only when something was found that was not known. Error: as [`compare`](Self::compare).
    pub(crate) async fn scrub_step(&mut self, bytes: u64) -> Result<Vec<Verdict>> {
        let started = Instant::now();
        let scrubbed = self.run(move |core, reader| core.scrub(reader, bytes)).await;
        self.health.note_background("scrub", self.reads.hub.now(), &scrubbed);
        let news = scrubbed?;
        match news.is_empty() {
            true => Ok(Vec::new()),
            false => Ok(self.verdicts(started, VerdictFilter::Collections(&news))),
        }
    }

    /// Documents of which only snapshots differ that the events make again: some of them, the others come later.
    pub(super) fn repairable_documents(&self) -> Vec<DocumentName> {
        let names = self.core.lock().findings.of_snapshots();
        names.iter().filter_map(|name| DocumentName::parse(name).ok()).take(MENDED_AT_ONCE_MAX).collect()
    }

    /// How often the scrub has read everything.
    #[cfg(test)]
    pub(crate) fn scrub_passes(&self) -> u64 {
        self.core.lock().passes
    }

    pub(super) async fn run<T: Send + 'static>(
        &self,
        step: impl FnOnce(&mut Core, &Reader) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let core = Arc::clone(&self.core);
        self.reads.read(move |reader| step(&mut core.lock(), reader)).await
    }

    /// The verdict on one collection now, without comparing anew. One of which neither side has anything is verified.
    pub(super) fn verdict_on(&self, service: &str, started: Instant) -> Verdict {
        let name = [service.to_owned()];
        let told = self.verdicts(started, VerdictFilter::Named(&name)).into_iter().next();
        let verdict = told.unwrap_or_else(|| nothing_of(service.to_owned()));
        Verdict { compared: Compared::States, ..verdict }
    }

    /// What is to be told as lost: what is lost now, and once, by a comparison of everything, what was found lost since
    /// the last.
    fn losses(&self, wanted: &VerdictFilter<'_>) -> BTreeSet<String> {
        self.health.update(|report| {
            let mut losses: BTreeSet<String> = match wanted {
                VerdictFilter::All => report.take_losses().into_iter().collect(),
                VerdictFilter::Named(_) | VerdictFilter::Collections(_) => BTreeSet::new(),
            };
            losses.extend(report.lost_file().map(str::to_owned));
            losses
        })
    }

    fn verdicts(&self, started: Instant, wanted: VerdictFilter<'_>) -> Vec<Verdict> {
        let mut core = self.core.lock();
        let mut verdicts = build_verdicts(&mut core, self.losses(&wanted));
        let latency_ms = started.elapsed().as_secs_f64() * 1000.0;
        let compared = if matches!(wanted, VerdictFilter::Collections(_)) { Compared::States } else { core.compared };
        for verdict in &mut verdicts {
            (verdict.latency_ms, verdict.compared, verdict.all_since) = (latency_ms, compared, core.all_since);
        }
        verdicts.retain(|verdict| match wanted {
            VerdictFilter::All => true,
            VerdictFilter::Named(names) => names.contains(&verdict.service),
            VerdictFilter::Collections(names) => {
                let collection = verdict.service.strip_prefix(DOCUMENTS);
                collection.is_none_or(|collection| names.iter().any(|name| name == collection))
            }
        });
        let names = match wanted {
            VerdictFilter::All => core.tables.take_untold(),
            VerdictFilter::Named(names) | VerdictFilter::Collections(names) => {
                names.iter().filter_map(|name| name.strip_prefix(TABLES)).map(str::to_owned).collect()
            }
        };
        let (looked_at, stale) = (core.tables.all().filter(|(name, _)| names.contains(*name)), core.tables.are_stale());
        verdicts.extend(looked_at.map(|(name, found)| table_verdict(name, found, stale, latency_ms)));
        verdicts
    }

    /// The verdict on one table now, without looking again.
    pub(super) fn table_verdict(&self, table: &str, started: Instant) -> Option<Verdict> {
        let core = self.core.lock();
        let found = core.tables.all().find(|(name, _)| *name == table);
        let latency_ms = started.elapsed().as_secs_f64() * 1000.0;
        found.map(|(name, found)| table_verdict(name, found, core.tables.are_stale(), latency_ms))
    }
}

/// `stale`: what was found is not known to be so now.
fn table_verdict(name: &str, found: &TableCheck, stale: bool, latency_ms: f64) -> Verdict {
    let TableCheck { rows, checksum, differences, different, in_memory, since } = found;
    let side = |different: u64| {
        VerdictCounts::from([("rows".to_owned(), (*rows).into()), ("different".to_owned(), different.into())])
    };
    let told = |row: &RowDifference| Difference { document: row.name.clone(), version: 0, what: row.what.to_owned() };
    let (status, counts) = match (*different, stale) {
        (0, false) => (VerdictStatus::Verified, VerdictCounts::from([("rows".to_owned(), (*rows).into())])),
        (0, true) => (VerdictStatus::Stale, side(0)),
        (different, _) => (VerdictStatus::Discrepancy, side(different)),
    };
    let details = (status != VerdictStatus::Verified).then(|| Details {
        expected: side(0),
        actual: side(*different),
        missing_job_ids: Vec::new(),
    });
    Verdict {
        service: format!("{TABLES}{name}"),
        status,
        counts,
        checksum: checksum.clone(),
        latency_ms,
        details,
        documents: differences.iter().map(told).collect(),
        compared: if *in_memory { Compared::MacsAndMemory } else { Compared::Macs },
        all_since: *since,
    }
}

/// The verdict on a collection of which neither memory nor the disk has anything.
pub(super) fn nothing_of(service: String) -> Verdict {
    verdict(service, &CollectionTotals::default(), checksum_of_nothing(), false, &[], None)
}

fn checksum_of_nothing() -> String {
    HEXLOWER.encode(&Sha256::digest(b""))
}

/// What is known of a collection.
#[derive(Default)]
struct CollectionTotals<'a> {
    documents: u64,
    changes: u64,
    checksum: String,
    volatile: u64,
    pending: Vec<String>,
    findings: Vec<&'a DocumentFinding>,
}

/// The verdicts on what was compared last.
fn build_verdicts(core: &mut Core, losses: BTreeSet<String>) -> Vec<Verdict> {
    let complete = core.is_complete();
    let Core { hub, ledger, findings, cut, failing, head, .. } = core;
    let mut known: BTreeMap<String, CollectionTotals<'_>> = BTreeMap::new();
    for (collection, shelf) in ledger.collections_mut() {
        let entry = known.entry(collection.to_string()).or_default();
        (entry.documents, entry.changes, entry.checksum) = (shelf.documents, shelf.changes, shelf.checksum());
    }
    for (collection, count) in hub.volatile_counts() {
        known.entry(collection.to_string()).or_default().volatile = count;
    }
    let (pending, pending_count) = cut.as_ref().map_or((&[][..], 0), |cut| (&cut.pending[..], cut.pending_count));
    for (name, version) in pending {
        let entry = known.entry(name.collection.to_string()).or_default();
        entry.pending.push(format!("{name}@{version}"));
    }
    for finding in findings.all() {
        known.entry(finding.collection.clone()).or_default().findings.push(finding);
    }
    let uncertain = *failing || !complete;
    let mut log = LogTotals::new(*head);
    let mut verdicts: Vec<Verdict> = Vec::with_capacity(known.len() + 1);
    for (collection, entry) in &mut known {
        if entry.checksum.is_empty() {
            entry.checksum = checksum_of_nothing();
        }
        log.add(collection, entry);
        let service = format!("{DOCUMENTS}{collection}");
        verdicts.push(verdict(service, entry, entry.checksum.clone(), uncertain, &[], None));
    }
    let mut strays = findings.log.clone();
    strays.extend(losses.into_iter().map(|what| (0, what)));
    verdicts.push(log.verdict(uncertain, &strays, pending_count));
    verdicts
}

/// The log as a whole: all collections, and what is in none.
struct LogTotals<'a> {
    hasher: Sha256,
    all: CollectionTotals<'a>,
}

impl<'a> LogTotals<'a> {
    fn new((seq, hash): (crate::base::ids::Seq, crate::document::chain::Hash)) -> Self {
        let mut hasher = Sha256::new();
        hasher.update(format!("{seq} {hash}\n"));
        Self { hasher, all: CollectionTotals::default() }
    }

    fn add(&mut self, collection: &str, known: &CollectionTotals<'a>) {
        self.hasher.update(format!("{collection} {}\n", known.checksum));
        self.all.documents += known.documents;
        self.all.changes += known.changes;
        self.all.volatile += known.volatile;
        self.all.pending.extend(known.pending.iter().cloned());
        self.all.findings.extend(&known.findings);
    }

    fn verdict(self, uncertain: bool, strays: &[(u64, String)], pending: u64) -> Verdict {
        let checksum = HEXLOWER.encode(&self.hasher.finalize());
        verdict(LOG.to_owned(), &self.all, checksum, uncertain, strays, Some(pending))
    }
}

fn verdict(
    service: String,
    known: &CollectionTotals<'_>,
    checksum: String,
    uncertain: bool,
    strays: &[(u64, String)],
    pending_count: Option<u64>,
) -> Verdict {
    let different: BTreeSet<&str> = known.findings.iter().map(|finding| finding.name.as_str()).collect();
    let differ = different.len() + strays.len();
    let status = match (differ > 0, uncertain) {
        (true, _) => VerdictStatus::Discrepancy,
        (false, true) => VerdictStatus::Stale,
        (false, false) => VerdictStatus::Verified,
    };
    let pending = pending_count.unwrap_or_else(|| u64::try_from(known.pending.len()).unwrap_or(u64::MAX));
    let mut counts = numbers(known.documents, known.changes);
    if known.volatile > 0 {
        counts.insert("volatile".to_owned(), known.volatile.into());
    }
    if status != VerdictStatus::Verified {
        counts.insert("pending".to_owned(), pending.into());
        counts.insert("different".to_owned(), differ.into());
    }
    let told = known.findings.iter().flat_map(|finding| finding.differences());
    let stray = |(_, what): &(u64, String)| Difference { document: LOG.to_owned(), version: 0, what: what.clone() };
    let mut documents: Vec<Difference> = strays.iter().map(stray).chain(told).collect();
    documents.truncate(DIFFERENCES_MAX);
    let details = (status != VerdictStatus::Verified).then(|| details(known, strays.len(), pending));
    let (compared, all_since) = (Compared::Changes, None);
    Verdict { service, status, counts, checksum, latency_ms: 0.0, details, documents, compared, all_since }
}

fn numbers(documents: u64, changes: u64) -> VerdictCounts {
    BTreeMap::from([("documents".to_owned(), documents.into()), ("changes".to_owned(), changes.into())])
}

/// What memory expects, and what the disk has, in numbers. `intact`: documents that are as they should be.
fn details(known: &CollectionTotals<'_>, strays: usize, pending: u64) -> Details {
    let signed = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
    let different: BTreeSet<&str> = known.findings.iter().map(|finding| finding.name.as_str()).collect();
    let sum = |of: fn(&&DocumentFinding) -> i64| known.findings.iter().map(of).fold(0, i64::saturating_add);
    let (documents, changes) = (sum(|finding| finding.documents), sum(|finding| finding.changes));
    let broken = i64::try_from(different.len()).unwrap_or(i64::MAX);
    let expected: VerdictCounts = BTreeMap::from([
        ("documents".to_owned(), known.documents.into()),
        ("changes".to_owned(), VerdictCount::from(known.changes.saturating_add(pending))),
        ("different".to_owned(), 0_u64.into()),
    ]);
    let actual: VerdictCounts = BTreeMap::from([
        ("documents".to_owned(), signed(known.documents).saturating_add(documents).into()),
        ("changes".to_owned(), signed(known.changes).saturating_add(changes).into()),
        ("different".to_owned(), broken.saturating_add(i64::try_from(strays).unwrap_or(0)).into()),
    ]);
    let mut missing_job_ids: Vec<String> = known.pending.clone();
    missing_job_ids.extend(known.findings.iter().flat_map(|finding| finding.missing.iter().cloned()));
    missing_job_ids.truncate(DIFFERENCES_MAX);
    Details { expected, actual, missing_job_ids }
}
