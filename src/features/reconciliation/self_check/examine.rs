//! One document: what memory knows of it, and what the disk has.

use crate::base::error::Result;
use crate::base::ids::{DocumentName, Seq};
use crate::document::model::{Document, Meta};
use crate::features::reconciliation::self_check::findings::DocumentFinding;
use crate::features::reconciliation::self_check::ledger::{DigestIndex, DocumentDigest};
use crate::live::hub::Hub;
use crate::store::{OTHER_DOCUMENT, ReadTransaction, StoredDocument, StoredHead};

/// How closely it is looked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Depth {
    /// Each row by itself and against its neighbours: every hash, every checksum.
    Rows,
    /// The same, and every state is made again from its events.
    Replay,
}

pub(crate) struct Examination<'a> {
    pub moment: &'a ReadTransaction<'a>,
    pub hub: &'a Hub,
    pub ledger: &'a DigestIndex,
    /// The ledger is of this moment of the log. What is on disk after it, memory made later, or will be known not to
    /// have.
    pub through: Seq,
}

impl Examination<'_> {
    /// Looks at the document with this key. Returns what differs, and how many bytes were read.
    pub(crate) fn document(&self, key: i64, depth: Depth) -> Result<(Vec<DocumentFinding>, u64)> {
        match self.moment.stored_document(key)? {
            Some(standing) => self.check_stored(&standing, depth),
            None => Ok((self.check_missing(key, None)?, 0)),
        }
    }

    /// The same, where its row was read already.
    pub(crate) fn check_stored(&self, standing: &StoredDocument, depth: Depth) -> Result<(Vec<DocumentFinding>, u64)> {
        let Some(name) = DocumentName::parse(&standing.name).ok() else {
            return self.check_unnamed(standing);
        };
        let mut found = self.check_missing(standing.key, Some(standing))?;
        let mut finding = DocumentFinding::of(name.collection.as_str(), &standing.name);
        let hot = self.hub.peek(&name).filter(|hot| hot.meta.key == standing.key);
        let leaf = self.ledger.get(&name.collection, standing.key);
        match leaf {
            Some(leaf) => self.compare(&mut finding, standing, leaf)?,
            None => self.add_unknown(&mut finding, standing),
        }
        // What is remembered is of the ledger's moment: a row that has changed since may rightly have other facts.
        let remembered = leaf.filter(|_| standing.head.is_none_or(|head| head.seq <= self.through));
        compare_facts(&mut finding, standing, remembered, hot.as_deref());
        let bytes = self.check(&mut finding, standing, &name, hot.as_deref(), depth)?;
        finding.differences.sort();
        finding.differences.dedup_by_key(|(version, _)| *version);
        if finding.is_some() {
            found.push(finding);
        }
        Ok((found, bytes))
    }

    /// A row whose name is none.
    fn check_unnamed(&self, standing: &StoredDocument) -> Result<(Vec<DocumentFinding>, u64)> {
        let mut found = self.check_missing(standing.key, Some(standing))?;
        if found.is_empty() {
            let collection = standing.name.split_once('/').map_or("", |(collection, _)| collection);
            let mut finding = DocumentFinding::of(collection, &standing.name);
            finding
                .add(standing.head.map_or(0, |head| head.version.0), "the disk has a document without a proper name");
            finding.documents = 1;
            found.push(finding);
        }
        Ok((found, 0))
    }

    /// What memory remembers under this key, and the disk has not, or has under another name.
    fn check_missing(&self, key: i64, standing: Option<&StoredDocument>) -> Result<Vec<DocumentFinding>> {
        let mut found = Vec::new();
        for (collection, _) in self.ledger.between(key - 1, key) {
            let Some(leaf) = self.ledger.get(collection, key) else { continue };
            let named = standing.and_then(|standing| DocumentName::parse(&standing.name).ok());
            if named.is_some_and(|name| name.collection == *collection) {
                continue;
            }
            let hot = self.hub.by_key(key).map(|document| document.meta.name.to_string());
            let name = match hot {
                Some(name) => Some(name),
                None => self.moment.name_in_events(key)?,
            };
            // With all its rows gone, and not in memory, nothing has its name any more.
            let name = name.unwrap_or_else(|| format!("{collection}/(key {key})"));
            let mut finding = DocumentFinding::of(collection.as_str(), &name);
            let what = match standing {
                None => "it is not on disk, and memory has it".to_owned(),
                Some(standing) => format!("its row has another name: {}", standing.name),
            };
            finding.add(leaf.version().0, what);
            finding.add_missing(leaf.version().0.saturating_sub(1), leaf.version().0);
            finding.documents = if leaf.is_deleted() { 0 } else { -1 };
            finding.changes = -i64::try_from(leaf.version().0).unwrap_or(i64::MAX);
            found.push(finding);
        }
        Ok(found)
    }

    /// Compares the newest version.
    fn compare(&self, finding: &mut DocumentFinding, standing: &StoredDocument, leaf: DocumentDigest) -> Result<()> {
        let known = leaf.version();
        let Some(StoredHead { version, hash, seq, deletes }) = standing.head else {
            finding.add(known.0, "its newest event is not on disk, or is not readable");
            finding.add_missing(known.0.saturating_sub(1), known.0);
            finding.changes = -1;
            return Ok(());
        };
        let name = standing.name.as_str();
        if seq > self.through {
            // It has changed since. Where it stood then must still be where it stood, unless that was trimmed.
            let hash = match self.moment.hash_at(standing.key, known)? {
                Some(hash) => Some(hash),
                None => standing.base.filter(|(base, _)| *base == known).map(|(_, hash)| hash),
            };
            let trimmed = standing.base.is_some_and(|(base, _)| base > known);
            if !trimmed && !hash.is_some_and(|hash| leaf.is_of(name, known, hash)) {
                finding.add(known.0, "this version is not on disk as memory made it");
            }
            return Ok(());
        }
        if leaf.is_of(name, version, hash) && leaf.is_deleted() == deletes {
            return Ok(());
        }
        let difference = i128::from(version.0) - i128::from(known.0);
        finding.changes = i64::try_from(difference).unwrap_or(i64::MAX);
        if version < known {
            finding.add(version.0 + 1, format!("memory has version {known}, and the disk ends at {version}"));
            finding.add_missing(version.0, known.0);
        } else if version > known {
            finding.add(known.0 + 1, format!("the disk has version {version}, and memory made none after {known}"));
        } else if leaf.is_of(name, version, hash) {
            finding.add(known.0, "memory and disk disagree on whether it is deleted");
        } else {
            // Its events say by which name memory knows it.
            let original = self.moment.name_in_events(standing.key)?;
            match original.filter(|original| leaf.is_of(original, version, hash)) {
                Some(original) => {
                    finding.name = original;
                    finding.add(known.0, format!("its row has another name: {name}"));
                }
                None => finding.add(known.0, "the disk has another hash than memory"),
            }
        }
        if leaf.is_deleted() != deletes {
            finding.documents = if deletes { -1 } else { 1 };
        }
        Ok(())
    }

    /// A document that memory knows nothing of, unless it is newer than what is compared.
    fn add_unknown(&self, finding: &mut DocumentFinding, standing: &StoredDocument) {
        if standing.head.is_some_and(|head| head.seq > self.through) {
            return;
        }
        let version = standing.head.map_or(0, |head| head.version.0);
        finding.add(version, "the disk has it, and memory did not make it");
        finding.documents = if standing.head.is_some_and(|head| head.deletes) { 0 } else { 1 };
        finding.changes = i64::try_from(version).unwrap_or(i64::MAX);
    }

    fn check(
        &self,
        finding: &mut DocumentFinding,
        standing: &StoredDocument,
        name: &DocumentName,
        hot: Option<&Document>,
        depth: Depth,
    ) -> Result<u64> {
        let checked = self.moment.check(standing.key, hot)?.unwrap_or_default();
        let alike = checked.defects.is_empty();
        // That no event is there at all is told already, with the version that memory knows.
        let told = standing.head.is_none() && finding.is_some();
        let renamed = finding.name != standing.name;
        finding.of_snapshots = !finding.is_some() && checked.defects.iter().all(|defect| defect.of_snapshot);
        for defect in checked.defects {
            if (told && defect.missing) || (renamed && defect.what == OTHER_DOCUMENT) {
                continue;
            }
            if defect.missing {
                finding.add_missing(defect.version.0.saturating_sub(1), defect.version.0);
            }
            finding.add(defect.version.0, defect.what);
        }
        if depth == Depth::Replay
            && alike
            && let Some(defect) = self.moment.replay(name)?
        {
            finding.of_snapshots &= defect.of_snapshot;
            finding.add(defect.version.0, defect.what);
        }
        finding.missing.dedup();
        Ok(checked.bytes)
    }
}

/// Compares host, access and time of creation with what memory has of the same version, and its place in the log.
fn compare_facts(
    finding: &mut DocumentFinding,
    standing: &StoredDocument,
    remembered: Option<DocumentDigest>,
    hot: Option<&Document>,
) {
    let version = standing.head.map_or(0, |head| head.version.0);
    let Some(stored) = &standing.meta else {
        finding.add(version, "its row is not readable");
        return;
    };
    // What is in use may be of a version before or after the one that was read from the disk.
    let same = |hot: &&Document| standing.head.is_some_and(|head| (head.version, head.hash) == (hot.version, hot.hash));
    let hot = hot.filter(same);
    let Meta { host, access, created_at, .. } = &**stored;
    let alike = |hot: &Meta| (host, access, created_at) == (&hot.host, &hot.access, &hot.created_at);
    // What is in use may have been read after the row was changed; what is remembered was not.
    if remembered.is_some_and(|leaf| !leaf.has_facts_of(stored)) || hot.is_some_and(|hot| !alike(&hot.meta)) {
        finding.add(version, "its row has another host, access or time of creation than memory");
    }
    if hot.zip(standing.head).is_some_and(|(hot, head)| head.seq != hot.seq) {
        finding.add(version, "its newest event stands at another place of the log than in memory");
    }
}
