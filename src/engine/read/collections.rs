//! Which collections there are, and what of them somebody may read.

use std::collections::BTreeMap;

use super::Reads;
use crate::base::error::Result;
use crate::base::ids::Collection;
use crate::base::limits::COLLECTION_DOCUMENTS_COUNTED_MAX;
use crate::document::visibility::Viewer;
use crate::store::CollectionSummary;

impl Reads {
    /// At most `limit` collections by name, those after `after`, in which `viewer` may read documents. Counts at most
    /// [`COLLECTION_DOCUMENTS_COUNTED_MAX`] and one of those that are on disk; what waits for the disk is told when it
    /// is there. Error: `StorageUnavailable`.
    pub(crate) async fn collections(
        &self,
        viewer: &Viewer,
        after: Option<Collection>,
        limit: usize,
    ) -> Result<Vec<CollectionSummary>> {
        let (asks, from, count_max) = (viewer.clone(), after.clone(), COLLECTION_DOCUMENTS_COUNTED_MAX + 1);
        let stored = self.read(move |reader| reader.collections(&asks, from.as_ref(), limit, count_max)).await?;
        // What comes behind the last of a full page is on the next one.
        let last = stored.last().filter(|_| stored.len() == limit).map(|last| last.name.clone());
        let mut summaries: BTreeMap<Collection, CollectionSummary> =
            stored.into_iter().map(|summary| (summary.name.clone(), summary)).collect();
        for document in self.hub.volatile_documents() {
            let name = &document.meta.name.collection;
            let beside =
                after.as_ref().is_some_and(|after| name <= after) || last.as_ref().is_some_and(|last| name > last);
            if beside || !document.meta.may_read(viewer) {
                continue;
            }
            let updated_at = document.updated_at;
            let none = || CollectionSummary { name: name.clone(), documents: 0, updated_at };
            let summary = summaries.entry(name.clone()).or_insert_with(none);
            summary.documents += 1;
            summary.updated_at = summary.updated_at.max(updated_at);
        }
        Ok(summaries.into_values().take(limit).collect())
    }
}
