//! The comparison itself, step by step. Everything here blocks.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::base::clock::Timestamp;
use crate::base::error::Result;
use crate::base::ids::{Collection, DocumentName, Seq};
use crate::document::chain::Hash;
use crate::document::model::Document;
use crate::feature::memory_rows::MemoryRowsRegistry;
use crate::features::reconciliation::external::{DOCUMENTS, LOG, TABLES};
use crate::features::reconciliation::limits::DIFFERENCES_MAX;
use crate::features::reconciliation::self_check::examine::{Depth, Examination};
use crate::features::reconciliation::self_check::findings::{DocumentFinding, Findings};
use crate::features::reconciliation::self_check::ledger::{DigestIndex, DocumentDigest};
use crate::features::reconciliation::self_check::tables::TableChecks;
use crate::features::reconciliation::verdict::Compared;
use crate::live::change_tracker::{ChangedDocument, ConsistentCut};
use crate::live::hub::Hub;
use crate::store::{EventHeader, ReadTransaction, Reader, UncachedConnection};

/// Documents that are looked at in one read transaction, so that none keeps the WAL from being moved for long.
const SLICE_DOCUMENTS: usize = 200;
/// How long one comparison looks at everything, when that is due. What is left comes with the next.
const WHOLE_TIME: Duration = Duration::from_secs(6);
/// How long one step of the scrub looks at tables.
const TABLES_STEP: Duration = Duration::from_millis(50);
/// Events after the cut that are looked at: more are not stored while one comparison reads.
const AHEAD_EVENTS: usize = 10_000;

/// What is remembered, and how far it was compared.
pub(crate) struct Core {
    pub hub: Arc<Hub>,
    pub ledger: DigestIndex,
    /// The ledger is of this moment: everything up to here, and nothing after.
    pub through: Seq,
    /// The newest event up to there.
    pub head: (Seq, Hash),
    /// What has changed since, and was not compared yet.
    changed: HashMap<i64, ChangedDocument>,
    /// Documents whose rows are not simply what memory made, and were not looked at yet.
    suspects: Vec<i64>,
    /// The ledger holds all documents with keys up to here; `None`: all.
    building: Option<i64>,
    /// Everything is being looked at; so far the documents with keys up to here.
    pub whole: Option<i64>,
    /// How often somebody else had written when everything was last looked at, or began to be.
    others: Option<u64>,
    pub findings: Findings,
    /// The rows of features.
    pub tables: TableChecks,
    /// The scrub has read the documents with keys up to here,
    scrubbed: i64,
    /// and may read so many bytes more.
    credit: i64,
    /// It has read all documents, and reads the tables of features.
    scrubs_tables: bool,
    /// When it began to do so; `None`: the ledger has begun anew since.
    pass_began: Option<Timestamp>,
    /// How often it has read everything.
    pub passes: u64,
    /// All that is stored was read and compared after this time.
    pub all_since: Option<Timestamp>,
    /// What the last comparison looked at.
    pub compared: Compared,
    pub cut: Option<ConsistentCut>,
    /// Whether storage failed at that.
    pub failing: bool,
}

/// What a document's events of one interval were.
#[derive(Clone, Copy, Default)]
struct DocumentChanges {
    count: u64,
    last: Option<EventHeader>,
}

impl Core {
    pub(crate) fn new(hub: Arc<Hub>, changes_max: usize, memory: MemoryRowsRegistry) -> Self {
        let cut = hub.record_changes(changes_max);
        Self {
            hub,
            ledger: DigestIndex::default(),
            through: cut.head.0,
            head: cut.head,
            changed: HashMap::new(),
            suspects: Vec::new(),
            building: Some(0),
            whole: None,
            others: None,
            findings: Findings::default(),
            tables: TableChecks::new(memory),
            scrubbed: 0,
            credit: 0,
            scrubs_tables: false,
            pass_began: None,
            passes: 0,
            all_since: None,
            compared: Compared::Changes,
            cut: None,
            failing: false,
        }
    }

    /// Whether each document was looked at that had to be.
    pub(crate) fn is_complete(&self) -> bool {
        self.building.is_none() && self.whole.is_none() && !self.findings.overflowed
    }

    /// Compares what has changed, and everything when somebody else has written, or when `wanted` names collections
    /// (those then). Returns the events on disk that come after what was compared: whether memory has made them shows
    /// once everything is published that was stored. Error: the disk cannot be read; nothing is forgotten.
    pub(crate) fn compare(
        &mut self,
        reader: &Reader,
        (others, failing): (Option<u64>, bool),
        wanted: Option<&[String]>,
    ) -> Result<Vec<EventHeader>> {
        let mut cut = self.hub.consistent_cut(DIFFERENCES_MAX);
        self.failing = failing || cut.pending_count > 0;
        let recorded = cut.changed.take();
        let (head, durable) = (cut.head, cut.durable);
        self.cut = Some(cut);
        let mut after = durable;
        if let Some(recorded) = recorded {
            self.changed.extend(recorded.documents);
            if recorded.lost {
                self.rebuild_from_disk(head);
            }
            self.advance(reader, head)?;
            after = head.0;
        }
        self.build(reader)?;
        let mut again = self.findings.keys();
        again.extend(&self.suspects);
        again.sort_unstable();
        again.dedup();
        self.recheck(reader, &again)?;
        self.suspects.clear();
        // While storage fails, memory is ahead of it.
        self.tables.set_stale(self.failing);
        if !self.failing && others.is_some() && self.others != others {
            // The first time nobody is known to have written.
            if self.others.is_some() {
                self.whole = Some(0);
            }
            self.others = others;
            // Also the first time: before the start anybody may have written.
            self.tables.begin_anew();
        }
        if self.findings.overflowed && self.findings.keys().is_empty() {
            (self.whole, self.findings.overflowed) = (Some(0), false);
        }
        let due = wanted.is_some() || self.whole.is_some();
        match wanted {
            Some(services) => self.check_services(reader, services)?,
            None => self.check_all(reader)?,
        }
        self.check_tables(reader, wanted)?;
        let rows = due && (wanted.is_some() || self.whole.is_none());
        self.compared = if rows { Compared::Rows } else { Compared::Changes };
        reader.read_transaction(|moment| moment.last_events(after, AHEAD_EVENTS))
    }

    /// More has changed than was recorded: what the disk has now is what memory remembers from here on.
    fn rebuild_from_disk(&mut self, head: (Seq, Hash)) {
        (self.ledger, self.building) = (DigestIndex::default(), Some(0));
        (self.pass_began, self.all_since) = (None, None);
        self.changed.clear();
        (self.through, self.head) = (head.0, head);
    }

    /// Compares the changes up to `head` with the rows that they should have become, and remembers them.
    fn advance(&mut self, reader: &Reader, head: (Seq, Hash)) -> Result<()> {
        let suspects = reader.read_transaction(|moment| self.compare_changes(moment, head.0))?;
        for (key, changed) in self.changed.drain() {
            let ChangedDocument { meta, version, hash, deleted, .. } = changed;
            let leaf = DocumentDigest::new(&meta, version, hash, deleted);
            self.ledger.put(&meta.name, key, leaf);
        }
        (self.through, self.head) = (head.0, head);
        self.suspects.extend(suspects);
        Ok(())
    }

    /// The documents whose new rows are not simply what memory made.
    fn compare_changes(&self, moment: &ReadTransaction<'_>, to: Seq) -> Result<Vec<i64>> {
        let mut seen: HashMap<i64, DocumentChanges> = HashMap::with_capacity(self.changed.len());
        moment.each_event(self.through, to, |place| {
            let seen = seen.entry(place.key).or_default();
            (seen.count, seen.last) = (seen.count + 1, Some(place));
        })?;
        let mut suspects: Vec<i64> = seen.keys().filter(|key| !self.changed.contains_key(key)).copied().collect();
        for (key, changed) in &self.changed {
            let before = self.ledger.get(&changed.meta.name.collection, *key).map_or(0, |leaf| leaf.version().0);
            let seen = seen.get(key).copied().unwrap_or_default();
            let last = seen.last.is_some_and(|last| {
                (last.version, last.hash, last.seq) == (changed.version, Some(changed.hash), changed.seq)
            });
            if last && seen.count == changed.version.0.saturating_sub(before) {
                continue;
            }
            // What was trimmed in between need not be there.
            let base = moment.stored_document(*key)?.and_then(|standing| standing.base);
            let Some((base, base_hash)) = base else {
                suspects.push(*key);
                continue;
            };
            let trimmed = base > changed.version || (base == changed.version && base_hash == changed.hash);
            let kept = changed.version.0.saturating_sub(before.max(base.0));
            if !(trimmed || (last && seen.count == kept)) {
                suspects.push(*key);
            }
        }
        Ok(suspects)
    }

    /// Looks at documents that may differ, or did.
    pub(crate) fn recheck(&mut self, reader: &Reader, keys: &[i64]) -> Result<()> {
        if keys.is_empty() {
            return Ok(());
        }
        // From the file: what the scrub found there must not look intact because the reader has the page from before.
        let looked = reader.uncached(|fresh| {
            let some = |keys: &[i64]| {
                fresh.read_transaction(|moment| {
                    let look = |key: &i64| Ok((*key, self.examination(moment).document(*key, Depth::Replay)?.0));
                    keys.iter().map(look).collect::<Result<Vec<_>>>()
                })
            };
            keys.chunks(SLICE_DOCUMENTS).map(some).collect::<Result<Vec<_>>>()
        })?;
        for (key, found) in looked.into_iter().flatten() {
            self.findings.set(key, found);
        }
        Ok(())
    }

    pub(crate) fn examination<'a>(&'a self, moment: &'a ReadTransaction<'a>) -> Examination<'a> {
        Examination { moment, hub: &self.hub, ledger: &self.ledger, through: self.through }
    }

    /// Takes in where each document stands, once.
    fn build(&mut self, reader: &Reader) -> Result<()> {
        while let Some(after) = self.building {
            let found = reader.read_transaction(|moment| {
                let standings = moment.stored_documents(after, SLICE_DOCUMENTS)?;
                let last = standings.last().map(|standing| standing.key);
                let mut leaves = Vec::new();
                for standing in standings {
                    let head = match standing.head.filter(|head| head.seq <= self.through) {
                        Some(head) => Some(head),
                        None => moment.head_before(standing.key, self.through)?,
                    };
                    let (Some(head), Some(meta)) = (head, standing.meta) else { continue };
                    leaves.push((meta, head));
                }
                Ok((last, leaves))
            })?;
            for (meta, head) in found.1 {
                let leaf = DocumentDigest::new(&meta, head.version, head.hash, head.deletes);
                self.ledger.put(&meta.name, meta.key, leaf);
            }
            self.building = found.0;
        }
        Ok(())
    }

    /// Looks at all documents and what belongs to none, for as long as one comparison may take.
    fn check_all(&mut self, reader: &Reader) -> Result<()> {
        let started = Instant::now();
        if self.whole == Some(0) || !self.findings.log.is_empty() {
            self.find_orphans(reader)?;
        }
        while let Some(after) = self.whole {
            self.whole = self.slice(reader, after, |_| true)?;
            if started.elapsed() > WHOLE_TIME {
                break;
            }
        }
        Ok(())
    }

    fn check_services(&mut self, reader: &Reader, services: &[String]) -> Result<()> {
        if services.iter().all(|service| service.starts_with(TABLES)) {
            return Ok(());
        }
        let all = services.iter().any(|service| service == LOG);
        let wanted = |collection: &str| {
            all || services.iter().any(|service| service.strip_prefix(DOCUMENTS) == Some(collection))
        };
        self.find_orphans(reader)?;
        let mut after = Some(0);
        while let Some(key) = after {
            after = self.slice(reader, key, wanted)?;
        }
        if all {
            self.whole = None;
        }
        Ok(())
    }

    /// Looks at the documents after `after`, as many as go into one read transaction. Returns the last key, `None` when
    /// there are no more.
    fn slice(&mut self, reader: &Reader, after: i64, wanted: impl Fn(&str) -> bool) -> Result<Option<i64>> {
        let (last, found) = reader.read_transaction(|moment| {
            let standings = moment.stored_documents(after, SLICE_DOCUMENTS)?;
            let last = standings.last().map(|standing| standing.key);
            let examination = self.examination(moment);
            let mut found = Vec::new();
            for standing in &standings {
                let collection = standing.name.split_once('/').map_or("", |(collection, _)| collection);
                if wanted(collection) {
                    found.push((standing.key, examination.check_stored(standing, Depth::Rows)?.0));
                }
            }
            // What memory remembers and the disk has no row for.
            let mut present = standings.iter().map(|standing| standing.key).peekable();
            let mut remembered: Vec<i64> =
                self.ledger.between(after, last.unwrap_or(i64::MAX)).map(|(_, key)| key).collect();
            remembered.sort_unstable();
            for key in remembered {
                while present.next_if(|present| *present < key).is_some() {}
                if present.peek() != Some(&key) {
                    found.push((key, examination.document(key, Depth::Rows)?.0));
                }
            }
            Ok((last, found))
        })?;
        for (key, found) in found {
            self.findings.set(key, found);
        }
        Ok(last)
    }

    /// Looks at the tables of features: all of those that are wanted, else at what is due for as long as one comparison
    /// may take.
    fn check_tables(&mut self, reader: &Reader, wanted: Option<&[String]>) -> Result<()> {
        if self.failing {
            return Ok(());
        }
        match wanted {
            Some(services) => {
                let tables = services.iter().filter_map(|service| service.strip_prefix(TABLES)).map(str::to_owned);
                self.check_named_tables(reader, &tables.collect())
            }
            None if self.tables.wants_look() => reader.uncached(|fresh| {
                self.tables.begin_due(fresh)?;
                self.tables.look(fresh, self.hub.now(), WHOLE_TIME).map(drop)
            }),
            None => Ok(()),
        }
    }

    /// Looks at all of these tables.
    pub(crate) fn check_named_tables(&mut self, reader: &Reader, tables: &BTreeSet<String>) -> Result<()> {
        if tables.is_empty() {
            return Ok(());
        }
        reader.uncached(|fresh| {
            self.tables.begin(fresh, Some(tables))?;
            while self.tables.are_due() {
                self.tables.look(fresh, self.hub.now(), WHOLE_TIME)?;
            }
            Ok(())
        })
    }

    fn find_orphans(&mut self, reader: &Reader) -> Result<()> {
        self.findings.log = reader.read_transaction(orphans)?;
        Ok(())
    }

    /// Looks at events on disk that came after what was compared, now that everything is published that was stored
    /// when they were read: what memory has not made, somebody else has.
    pub(crate) fn check_newer_events(&mut self, reader: &Reader, places: &[EventHeader]) -> Result<()> {
        let strange: Vec<EventHeader> = {
            let ring = self.hub.gate();
            let (end, durable) = (ring.head().0, ring.durable());
            let ours = |place: &&EventHeader| match ring.get(place.seq) {
                Some(event) => {
                    (event.meta.key, event.version, Some(event.hash)) == (place.key, place.version, place.hash)
                }
                None => place.seq <= end.min(durable),
            };
            places.iter().filter(|place| !ours(place)).copied().collect()
        };
        for place in strange {
            let found = reader.read_transaction(|moment| {
                let mut examination = self.examination(moment);
                // Nothing of it is still to come.
                examination.through = Seq(u64::MAX);
                let (standing, mut found) =
                    (moment.stored_document(place.key)?, examination.document(place.key, Depth::Rows)?.0);
                if let (Some(standing), true) = (&standing, found.is_empty()) {
                    let collection = standing.name.split_once('/').map_or("", |(collection, _)| collection);
                    let mut finding = DocumentFinding::of(collection, &standing.name);
                    let what =
                        format!("its event stands at place {} of the log, where memory did not put it", place.seq);
                    finding.add(place.version.0, what);
                    found.push(finding);
                }
                Ok((standing.is_some(), found))
            })?;
            match found {
                (false, found) if found.is_empty() => {
                    let what = format!("event {} belongs to no document, and memory did not make it", place.seq);
                    if !self.findings.log.iter().any(|(seq, _)| *seq == place.seq.0) {
                        self.findings.log.push((place.seq.0, what));
                    }
                }
                (_, found) => drop(self.findings.set(place.key, found)),
            }
        }
        Ok(())
    }

    /// Reads and hashes again what is on disk of the next documents, until `bytes` more are read. Returns the
    /// collections in which something was found that was not known. Error: that of reading.
    pub(crate) fn scrub(&mut self, reader: &Reader, bytes: u64) -> Result<Vec<String>> {
        let bytes = i64::try_from(bytes).unwrap_or(i64::MAX);
        // What was not used is not saved up.
        self.credit = self.credit.min(0).saturating_add(bytes);
        let mut news = Vec::new();
        if self.credit > 0 && self.building.is_none() {
            reader.uncached(|fresh| {
                if self.scrubs_tables {
                    let found = self.tables.look(fresh, self.hub.now(), TABLES_STEP)?;
                    news.extend(found.into_iter().map(|table| format!("{TABLES}{table}")));
                    self.scrubs_tables = self.tables.are_due();
                    return Ok(());
                }
                while self.credit > 0 && self.scrub_some(fresh, &mut news)? {}
                Ok(())
            })?;
        }
        Ok(news)
    }

    /// False: that was the last document.
    fn scrub_some(&mut self, fresh: &UncachedConnection, news: &mut Vec<String>) -> Result<bool> {
        if self.scrubbed == 0 {
            self.pass_began = Some(self.hub.now());
        }
        let (found, bytes) = fresh.read_transaction(|moment| {
            let next = moment.stored_documents(self.scrubbed, 1)?;
            let end = next.first().map_or(i64::MAX, |standing| standing.key - 1);
            // What memory remembers and the disk has no row for.
            if let Some(key) = self.ledger.between(self.scrubbed, end).map(|(_, key)| key).min() {
                let (found, bytes) = self.examination(moment).document(key, Depth::Replay)?;
                return Ok((Some((key, found)), bytes));
            }
            let Some(standing) = next.first() else { return Ok((None, 0)) };
            let (found, bytes) = self.examination(moment).check_stored(standing, Depth::Replay)?;
            Ok((Some((standing.key, found)), bytes))
        })?;
        self.credit = self.credit.saturating_sub(i64::try_from(bytes).unwrap_or(i64::MAX));
        let Some((key, found)) = found else {
            let known = self.findings.log.len();
            self.findings.log = fresh.read_transaction(orphans)?;
            if self.findings.log.len() > known {
                news.push(LOG.to_owned());
            }
            (self.scrubbed, self.passes) = (0, self.passes + 1);
            self.tables.begin(fresh, None)?;
            self.scrubs_tables = true;
            self.all_since = self.pass_began.or(self.all_since);
            return Ok(false);
        };
        self.scrubbed = key;
        let collections: Vec<String> = found.iter().map(|finding| finding.collection.clone()).collect();
        if self.findings.set(key, found) {
            news.extend(collections);
        }
        Ok(true)
    }

    /// What memory remembers of a document; `None`: nothing.
    pub(crate) fn remembered(&self, name: &DocumentName, key: i64) -> Option<DocumentDigest> {
        self.ledger.get(&name.collection, key)
    }

    /// Has what a document was mended to be what memory remembers, unless it has changed by that: then it is compared
    /// as any change. `None`: it was removed.
    pub(crate) fn accept(&mut self, collection: &Collection, key: i64, document: Option<&Document>) {
        match document {
            Some(document) if document.seq <= self.through => {
                let Document { meta, version, hash, .. } = document;
                let leaf = DocumentDigest::new(meta, *version, *hash, document.is_deleted());
                self.ledger.put(&meta.name, meta.key, leaf);
            }
            Some(_) => {}
            None => self.ledger.forget(collection, key),
        }
    }
}

/// Events and snapshots that belong to no document, each with its place in the log or 0.
fn orphans(moment: &ReadTransaction<'_>) -> Result<Vec<(u64, String)>> {
    let (events, snapshots) = moment.orphans(DIFFERENCES_MAX)?;
    let of_event = |place: EventHeader| (place.seq.0, format!("event {} belongs to no document", place.seq));
    let of_snapshot = |key: i64| (0, format!("there are snapshots that belong to no document (key {key})"));
    Ok(events.into_iter().map(of_event).chain(snapshots.into_iter().map(of_snapshot)).collect())
}
