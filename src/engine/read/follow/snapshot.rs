//! The whole present, as a follower gets it: when it begins, and where what it missed cannot be told.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use super::super::present::{Present, check_count, load_cold};
use super::{Follow, Item, Reason};
use crate::base::error::{Error, Kind, Result};
use crate::base::ids::{DocumentName, Seq, Version};
use crate::base::limits;
use crate::document::chain::Position;
use crate::document::event::Event;
use crate::document::model::Document;
use crate::document::visibility::Viewer;
use crate::live::topics::Interest;
use crate::store::Reader;

/// How often a snapshot is begun anew because a document was dropped from memory just when it was looked for.
const SNAPSHOT_ATTEMPTS_MAX: usize = 20;

impl Follow {
    /// The whole present, and the cursor just behind it.
    pub(super) async fn snapshot(&mut self, reason: Reason) -> Result<Item> {
        let interest = Arc::clone(self.subscription.interest());
        for _ in 0..SNAPSHOT_ATTEMPTS_MAX {
            let before = self.reads.hub.gate().head().0;
            let (asked, cold) = self.cold_documents(&interest).await?;
            let Some(mut present) = self.present(&interest, &asked, cold, before) else { continue };
            present.catch_up()?;
            let removed = match reason {
                // Whoever begins was told of nothing.
                Reason::Start => Vec::new(),
                _ => self.removed(&interest, &present).await?,
            };
            let (documents, position) = (present.documents, present.position);
            let barred: HashSet<DocumentName> = documents
                .values()
                .filter(|document| !document.meta.may_read(&self.viewer))
                .map(|document| document.meta.name.clone())
                .collect();
            // One document is best named by its own last event, which is never trimmed.
            let position = match documents.values().next() {
                Some(document)
                    if interest.collections.is_empty() && interest.documents.len() == 1 && barred.is_empty() =>
                {
                    document.position()
                }
                _ => position,
            };
            (self.cursor, self.announced, self.access_known) = (present.head, present.head, present.head);
            // What is on another server is told to be there, and not as it was when it left.
            let relocations = self.reads.hub.relocations();
            let moved = |name: &DocumentName| relocations.find(name).is_some() && !barred.contains(name);
            let here = |document: &Arc<Document>| {
                let name = &document.meta.name;
                !document.is_deleted() && !barred.contains(name) && !moved(name)
            };
            let mut documents: Vec<_> = documents.into_values().filter(here).collect();
            let mut gone: Vec<_> = interest.names_without(&documents).filter(|name| !moved(name)).collect();
            gone.extend(removed.into_iter().filter(|name| !moved(name)));
            check_count(documents.len())?;
            if let Some(matching) = &mut self.matching {
                matching.retain_matching(&mut documents, &self.viewer)?;
            }
            for document in &documents {
                self.track_undurable(document);
            }
            return Ok(Item::Snapshot { reason, documents, gone, position });
        }
        Err(Error::new(Kind::StorageUnavailable, "documents come and go too fast for a snapshot; try again"))
    }

    /// What is there at this moment: what is hot, and for the rest what was read from disk while the log went on from
    /// `before`. `None`: a document went out of memory before it was asked from disk, or changed and went out of
    /// memory after it was, or the log went on for longer than the ring.
    fn present(
        &self,
        interest: &Interest,
        asked: &HashSet<DocumentName>,
        cold: Vec<Arc<Document>>,
        before: Seq,
    ) -> Option<Present> {
        let ring = self.reads.hub.gate();
        let head = ring.head().0;
        // Stored and not yet published comes as a change.
        let cold = cold.into_iter().filter(|document| document.seq <= head);
        let hot = self.reads.hub.documents(interest);
        let named = |document: Arc<Document>| (document.meta.name.clone(), document);
        let documents: BTreeMap<_, _> = cold.chain(hot).map(named).collect();
        let known = |name: &DocumentName| documents.contains_key(name) || asked.contains(name);
        if !ring.covers_after(before) || !interest.documents.iter().all(known) {
            return None;
        }
        let version = |name: &DocumentName| documents.get(name).map_or(Version::ZERO, |document| document.version);
        // Changed after it was read from disk, and dropped from memory since.
        let is_missing = |event: &&Arc<Event>| {
            let told = interest.covers(&event.meta.name) && event.meta.may_read(&self.viewer);
            told && event.version > version(&event.meta.name)
        };
        let missing: Vec<_> = ring.after(before).filter(is_missing).cloned().collect();
        if self.viewer != Viewer::Owner && !missing.is_empty() {
            // What was read holds no more than is shown: changes of the whole do not apply to it.
            return None;
        }
        // The last place that is still there after a restart, unless something volatile that is told comes after it.
        let (seq, hash) = ring.last_persistent();
        let told = !ring.covers_after(seq) || ring.after(seq).any(|event| interest.covers(&event.meta.name));
        let position = if told { ring.position() } else { Position::after(seq, hash) };
        Some(Present { position, head, missing, documents })
    }

    /// The documents of followed collections that went since the follower was told of them, as far as it may know them.
    async fn removed(&self, interest: &Arc<Interest>, present: &Present) -> Result<Vec<DocumentName>> {
        if interest.collections.is_empty() {
            return Ok(Vec::new());
        }
        let (since, head) = (self.cursor, present.head);
        let (followed, viewer) = (Arc::clone(interest), self.viewer.clone());
        let mut removed =
            self.reads.read(move |reader| reader.removed(&followed.collections, since, head, &viewer)).await?;
        // What is not on disk yet is in memory, and newer.
        let in_memory = |(_, name): &(Seq, DocumentName)| present.documents.contains_key(name);
        removed.retain(|removed| !in_memory(removed));
        let went = present.documents.values().filter(|document| {
            let name = &document.meta.name;
            let followed = interest.collections.contains(&name.collection) && !interest.documents.contains(name);
            document.is_deleted() && document.seq > since && followed && document.meta.may_read(&self.viewer)
        });
        removed.extend(went.map(|document| (document.seq, document.meta.name.clone())));
        removed.sort_unstable_by(|one, other| other.cmp(one));
        removed.truncate(limits::STREAM_GONE_MAX);
        let named = |(_, name): (Seq, DocumentName)| (!interest.documents.contains(&name)).then_some(name);
        Ok(removed.into_iter().filter_map(named).collect())
    }

    fn track_undurable(&mut self, document: &Document) {
        if !document.meta.volatile && document.seq > self.reads.hub.gate().durable() {
            self.undurable = self.undurable.max(Some(document.seq));
        }
    }

    /// What is not in memory, from disk, and the single documents that were asked for there.
    async fn cold_documents(&self, interest: &Arc<Interest>) -> Result<(HashSet<DocumentName>, Vec<Arc<Document>>)> {
        let missing: HashSet<DocumentName> =
            interest.documents.iter().filter(|name| self.reads.hub.document(name).is_none()).cloned().collect();
        if missing.is_empty() && interest.collections.is_empty() {
            return Ok((missing, Vec::new()));
        }
        let (interest, viewer) = (Arc::clone(interest), self.viewer.clone());
        let load = move |reader: &Reader| {
            let documents = load_cold(reader, &missing, &interest, &viewer)?;
            Ok((missing, documents))
        };
        self.reads.read(load).await
    }
}
