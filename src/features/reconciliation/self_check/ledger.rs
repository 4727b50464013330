//! What memory remembers of every document, in use or not: enough to notice that the disk has something else, and to
//! say which document it is.
//!
//! A document costs 20 bytes: its version, 11 bytes of a digest over name, version and hash, and 4 of one over what
//! stays the same over its life and stands in no event. Without that a cold document whose newest event was taken away,
//! or that was given another host, could not be told from one that was always so: what is left of its history verifies.
//! It is the one thing that memory has for each document that exists: 2 MB for 100,000.
//!
//! # The checksum
//!
//! * Of a document (a *leaf*): SHA-256 over the line `<collection>/<id> <version> <hash>\n`, its first 11 bytes; before
//!   them the version (4 bytes, big-endian, the highest bit set when it is deleted), and the key's last byte.
//! * Of a *page*: SHA-256 over its leaves in order of their keys, which is the order in which the documents were made.
//!   A page has the documents of the collection whose keys are alike but for the last byte.
//! * Of a collection: SHA-256 over its pages in order, each as its number (8 bytes, big-endian) and its checksum.
//!
//! So a change costs the hashes of one leaf, one page and the list of pages, however many documents there are, and the
//! same is had from the rows alone.

use std::collections::BTreeMap;

use data_encoding::HEXLOWER;
use sha2::{Digest, Sha256};

use crate::base::ids::{Collection, DocumentName, Version};
use crate::document::chain::Hash;
use crate::document::model::Meta;

/// Bytes of a leaf's digest.
const DIGEST_BYTES: usize = 11;
/// Bytes of the digest of its facts.
const FACTS_BYTES: usize = 4;
/// Marks a deleted document in a leaf's version.
const DELETED: u32 = 1 << 31;

/// What is remembered of a document.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct DocumentDigest {
    /// The version's lower 31 bits, and whether it is deleted.
    version: u32,
    /// The last byte of the key.
    slot: u8,
    digest: [u8; DIGEST_BYTES],
    /// Of host, access and time of creation. Not in the checksum.
    facts: [u8; FACTS_BYTES],
}

impl DocumentDigest {
    /// Of a document at a version.
    pub(crate) fn new(meta: &Meta, version: Version, hash: Hash, deleted: bool) -> Self {
        let digest = digest(&meta.name.to_string(), version, hash);
        let version = low_bits(version) | if deleted { DELETED } else { 0 };
        Self { version, slot: slot(meta.key), digest, facts: facts(meta) }
    }

    /// Whether it is of a document with that host, access and time of creation.
    pub(crate) fn has_facts_of(&self, meta: &Meta) -> bool {
        self.facts == facts(meta)
    }

    /// Whether it is of a document of that name at that version, with that hash.
    pub(crate) fn is_of(&self, name: &str, version: Version, hash: Hash) -> bool {
        let known = (self.version & !DELETED, self.digest);
        known == (low_bits(version), digest(name, version, hash))
    }

    pub(crate) fn version(&self) -> Version {
        Version(u64::from(self.version & !DELETED))
    }

    /// Whether it is deleted.
    pub(crate) fn is_deleted(&self) -> bool {
        self.version & DELETED != 0
    }
}

fn digest(name: &str, version: Version, hash: Hash) -> [u8; DIGEST_BYTES] {
    first_bytes(format!("{name} {version} {hash}\n"))
}

fn facts(meta: &Meta) -> [u8; FACTS_BYTES] {
    // Equal facts are written alike; nobody else reads this.
    first_bytes(format!("{:?} {:?} {}", meta.host, meta.access, meta.created_at))
}

fn first_bytes<const BYTES: usize>(text: String) -> [u8; BYTES] {
    let full: [u8; 32] = Sha256::digest(text).into();
    full.first_chunk().copied().unwrap_or([0; BYTES])
}

fn low_bits(version: Version) -> u32 {
    u32::try_from(version.0 & u64::from(!DELETED)).unwrap_or(0)
}

/// The documents of a collection whose keys differ in the last byte only.
#[derive(Debug)]
struct DigestPage {
    number: i64,
    leaves: Vec<DocumentDigest>,
    /// `None`: not known since something changed.
    checksum: Option<[u8; 32]>,
}

/// What is remembered of a collection.
#[derive(Debug, Default)]
pub(crate) struct CollectionDigests {
    pages: Vec<DigestPage>,
    checksum: Option<[u8; 32]>,
    /// Documents that are there.
    pub documents: u64,
    pub deleted: u64,
    /// Changes that were ever made to all of them.
    pub changes: u64,
}

/// What is remembered of everything.
#[derive(Debug, Default)]
pub(crate) struct DigestIndex {
    shelves: BTreeMap<Collection, CollectionDigests>,
}

impl CollectionDigests {
    fn find(&self, key: i64) -> Option<&DocumentDigest> {
        let index = self.pages.binary_search_by_key(&(key >> 8), |page| page.number).ok()?;
        let page = self.pages.get(index)?;
        page.leaves.get(page.leaves.binary_search_by_key(&slot(key), |leaf| leaf.slot).ok()?)
    }

    fn page(&mut self, number: i64) -> Option<&mut DigestPage> {
        let index = match self.pages.binary_search_by_key(&number, |page| page.number) {
            Ok(index) => index,
            Err(index) => {
                self.pages.insert(index, DigestPage { number, leaves: Vec::new(), checksum: None });
                index
            }
        };
        self.pages.get_mut(index)
    }

    fn put(&mut self, key: i64, leaf: DocumentDigest) -> Option<DocumentDigest> {
        let page = self.page(key >> 8)?;
        page.checksum = None;
        let before = match page.leaves.binary_search_by_key(&leaf.slot, |leaf| leaf.slot) {
            Ok(index) => page.leaves.get_mut(index).map(|place| std::mem::replace(place, leaf)),
            Err(index) => {
                page.leaves.insert(index, leaf);
                None
            }
        };
        self.checksum = None;
        if let Some(before) = before {
            self.count(before, false);
        }
        self.count(leaf, true);
        before
    }

    fn take(&mut self, key: i64) -> Option<DocumentDigest> {
        let at = self.pages.binary_search_by_key(&(key >> 8), |page| page.number).ok()?;
        let page = self.pages.get_mut(at)?;
        let index = page.leaves.binary_search_by_key(&slot(key), |leaf| leaf.slot).ok()?;
        let leaf = page.leaves.remove(index);
        page.checksum = None;
        if page.leaves.is_empty() {
            self.pages.remove(at);
        }
        self.checksum = None;
        self.count(leaf, false);
        Some(leaf)
    }

    fn count(&mut self, leaf: DocumentDigest, more: bool) {
        let number = if leaf.is_deleted() { &mut self.deleted } else { &mut self.documents };
        let changes = leaf.version().0;
        if more {
            (*number, self.changes) = (*number + 1, self.changes + changes);
        } else {
            (*number, self.changes) = (number.saturating_sub(1), self.changes.saturating_sub(changes));
        }
    }

    pub(crate) fn checksum(&mut self) -> String {
        if self.checksum.is_none() {
            let mut all = Sha256::new();
            for page in &mut self.pages {
                let checksum = *page.checksum.get_or_insert_with(|| {
                    let mut hasher = Sha256::new();
                    for leaf in &page.leaves {
                        hasher.update(leaf.version.to_be_bytes());
                        hasher.update([leaf.slot]);
                        hasher.update(leaf.digest);
                    }
                    hasher.finalize().into()
                });
                all.update(page.number.to_be_bytes());
                all.update(checksum);
            }
            self.checksum = Some(all.finalize().into());
        }
        HEXLOWER.encode(&self.checksum.unwrap_or_default())
    }

    /// The keys from after `after` up to `to`, in order.
    fn keys(&self, after: i64, to: i64) -> impl Iterator<Item = i64> {
        let first = self.pages.partition_point(|page| page.number < after >> 8);
        let pages = self.pages.iter().skip(first).take_while(move |page| page.number <= to >> 8);
        let keys = pages.flat_map(|page| page.leaves.iter().map(|leaf| (page.number << 8) | i64::from(leaf.slot)));
        keys.filter(move |key| *key > after && *key <= to)
    }
}

fn slot(key: i64) -> u8 {
    let [low, ..] = key.to_le_bytes();
    low
}

impl DigestIndex {
    /// What is remembered of a document.
    pub(crate) fn get(&self, collection: &Collection, key: i64) -> Option<DocumentDigest> {
        self.shelves.get(collection)?.find(key).copied()
    }

    /// Remembers that a document is so. Returns what was remembered before.
    pub(crate) fn put(&mut self, name: &DocumentName, key: i64, leaf: DocumentDigest) -> Option<DocumentDigest> {
        match self.shelves.get_mut(&name.collection) {
            Some(shelf) => shelf.put(key, leaf),
            None => self.shelves.entry(name.collection.clone()).or_default().put(key, leaf),
        }
    }

    pub(crate) fn forget(&mut self, collection: &Collection, key: i64) {
        if let Some(shelf) = self.shelves.get_mut(collection) {
            shelf.take(key);
            if shelf.pages.is_empty() {
                self.shelves.remove(collection);
            }
        }
    }

    pub(crate) fn collections_mut(&mut self) -> impl Iterator<Item = (&Collection, &mut CollectionDigests)> {
        self.shelves.iter_mut()
    }

    /// The documents with keys from after `after` up to `to`.
    pub(crate) fn between(&self, after: i64, to: i64) -> impl Iterator<Item = (&Collection, i64)> {
        self.shelves.iter().flat_map(move |(name, shelf)| shelf.keys(after, to).map(move |key| (name, key)))
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed unwrap fails the test")]
    use crate::property_tests::cases;
    use proptest::prelude::*;

    use super::*;
    use crate::base::clock::Timestamp;
    use crate::base::ids::Seq;
    use crate::document::access::Access;

    fn leaf(key: i64, version: u64, deleted: bool) -> DocumentDigest {
        let name = DocumentName::new("games", &format!("g{key}")).unwrap();
        let (host, access, created_at, volatile) = (None, Access::default(), Timestamp::from_millis(0), false);
        let meta = Meta { key, name, host, access, access_seq: Seq::ZERO, created_at, volatile };
        DocumentDigest::new(&meta, Version(version), Hash::ZERO, deleted)
    }

    fn ledger(documents: &BTreeMap<i64, (u64, bool)>) -> DigestIndex {
        let mut ledger = DigestIndex::default();
        for (key, (version, deleted)) in documents {
            let name = DocumentName::new("games", &format!("g{key}")).unwrap();
            ledger.put(&name, *key, leaf(*key, *version, *deleted));
        }
        ledger
    }

    fn checksum(ledger: &mut DigestIndex) -> Option<String> {
        ledger.collections_mut().next().map(|(_, shelf)| shelf.checksum())
    }

    #[test]
    fn a_leaf_takes_what_it_is_said_to_take() {
        assert_eq!(size_of::<DocumentDigest>(), 20);
    }

    proptest! {
        #![proptest_config(cases(256))]

        /// However it came to be, the same documents have the same checksum, and others have another.
        #[test]
        fn the_checksum_is_of_the_documents_and_of_nothing_else(
            steps in proptest::collection::vec((1_i64..700, 0_u64..4, any::<bool>()), 1..200),
        ) {
            let (mut grown, mut documents) = (DigestIndex::default(), BTreeMap::new());
            let games = Collection::new("games").unwrap();
            for (key, version, deleted) in steps {
                let name = DocumentName::new("games", &format!("g{key}")).unwrap();
                if version == 0 {
                    grown.forget(&games, key);
                    documents.remove(&key);
                } else {
                    grown.put(&name, key, leaf(key, version, deleted));
                    documents.insert(key, (version, deleted));
                }
                // Asked in between, so that parts of it are known.
                checksum(&mut grown);
            }
            prop_assert_eq!(checksum(&mut grown), checksum(&mut ledger(&documents)));
            let keys: Vec<i64> = grown.between(0, i64::MAX).map(|(_, key)| key).collect();
            prop_assert_eq!(keys, documents.keys().copied().collect::<Vec<_>>());
            if let Some(shelf) = grown.shelves.get(&games) {
                let living = documents.values().filter(|(_, deleted)| !deleted).count();
                prop_assert_eq!(shelf.documents, u64::try_from(living).unwrap());
                prop_assert_eq!(shelf.changes, documents.values().map(|(version, _)| version).sum::<u64>());
            }
            if let Some((key, (version, _))) = documents.iter_mut().next() {
                *version += 1;
                let _ = key;
                prop_assert_ne!(checksum(&mut grown), checksum(&mut ledger(&documents)));
            }
        }
    }
}
