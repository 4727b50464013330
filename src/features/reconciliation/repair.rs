//! Mending a document that was found different.

use std::time::Instant;

use super::problems::NOT_DIFFERENT;
use super::verdict::{Difference, Verdict};
use crate::base::error::Result;
use crate::base::ids::{DocumentName, Version};
use crate::document::chain::Hash;
use crate::engine::refusal::not_in_memory;
use crate::engine::request::{RememberedDocument, RepairSource, RepairedDocument};
use crate::features::reconciliation::external::DOCUMENTS;
use crate::features::reconciliation::self_check::Comparer;

/// What a repair did.
#[derive(Clone, Debug)]
pub(crate) struct RepairSummary {
    pub what: &'static str,
    /// The document's version and hash now; `None`: it was removed, since memory knew nothing of it.
    pub document: Option<(Version, Hash)>,
    /// The verdict on its collection after that. Its first document says what was mended.
    pub verdict: Verdict,
}

impl Comparer {
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
