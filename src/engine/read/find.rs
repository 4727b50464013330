//! Lists that say which documents they want, and in which order.

use std::sync::Arc;

use super::Reads;
use crate::base::error::{Error, Kind, Result};
use crate::base::ids::{Collection, DocumentName};
use crate::base::limits::{LIST_STATES_BYTES_MAX, SCAN_BYTES_MAX, SCAN_DOCUMENTS_MAX};
use crate::document::model::Document;
use crate::document::query::filter::Filter;
use crate::document::query::sort::{PageKey, Sort};
use crate::document::query::{QueriedDocument, QueriedPaths};
use crate::document::visibility::Viewer;
use crate::live::hub::Hub;
use crate::store::{PageRoom, Reader};

/// Documents that are looked at in one go.
const CHUNK_DOCUMENTS: usize = 500;

/// Which documents of a collection are wanted, and in which order.
#[derive(Clone, Debug)]
pub(crate) struct DocumentSelection {
    /// `None`: all.
    pub filter: Option<Filter>,
    pub sort: Sort,
}

impl DocumentSelection {
    fn paths(&self) -> QueriedPaths {
        QueriedPaths::new(self.filter.iter().flat_map(Filter::paths).chain(self.sort.paths()))
    }
}

/// A page of what was found.
#[derive(Debug)]
pub(crate) struct FoundDocuments {
    /// As they are; whoever shows them redacts them.
    pub documents: Vec<Arc<Document>>,
    /// How many documents were looked at.
    pub scanned: usize,
    /// What the next page begins after; `None`: there is none.
    pub next: Option<PageKey>,
}

impl Reads {
    /// At most `limit` documents of a collection that `viewer` may read and `query` wants, those after `after`. A page
    /// also ends when what is shown of its states adds up to [`LIST_STATES_BYTES_MAX`]. One in the order of ids ends at
    /// [`SCAN_DOCUMENTS_MAX`] documents or [`SCAN_BYTES_MAX`] bytes that were looked at, maybe without any, and the
    /// next page goes on there; in another order that is `TooLarge`. Errors: `Forbidden` for a viewer whose
    /// credential reaches less than the collection; `Damaged`; `StorageUnavailable`.
    pub(crate) async fn find(
        &self,
        viewer: &Viewer,
        collection: &Collection,
        query: DocumentSelection,
        after: Option<PageKey>,
        limit: usize,
    ) -> Result<FoundDocuments> {
        let mut from = after.as_ref().filter(|_| query.sort.is_by_id()).map(|key| key.id.clone());
        let mut search = Search::new(viewer.clone(), query, after, limit);
        loop {
            let (listed, more) = self.list_ids(viewer, collection, from.as_ref(), CHUNK_DOCUMENTS).await?;
            from = listed.last().cloned().or(from);
            let listed = listed.into_iter().map(|id| DocumentName { collection: collection.clone(), id }).collect();
            let hub = Arc::clone(&self.hub);
            search = self.read(move |reader| search.look_at(listed, &hub, reader)).await?;
            if !more || search.is_over() {
                break;
            }
        }
        let hub = Arc::clone(&self.hub);
        self.read(move |reader| search.page(&hub, reader)).await
    }
}

/// A list that is being searched for a page.
struct Search {
    viewer: Viewer,
    paths: QueriedPaths,
    query: DocumentSelection,
    after: Option<PageKey>,
    limit: usize,
    /// What is wanted of what was looked at: the first `limit` and one more, in order.
    found: Vec<(PageKey, DocumentName)>,
    /// Of the last document that was looked at.
    last: Option<PageKey>,
    scanned: usize,
    room: PageRoom,
    /// Whether a bound was reached before the end of the collection.
    cut_short: bool,
}

impl Search {
    fn new(viewer: Viewer, query: DocumentSelection, after: Option<PageKey>, limit: usize) -> Self {
        Self {
            viewer,
            paths: query.paths(),
            query,
            after,
            limit,
            found: Vec::new(),
            last: None,
            scanned: 0,
            room: PageRoom::new(SCAN_BYTES_MAX),
            cut_short: false,
        }
    }

    /// Whether what follows is not to be looked at.
    fn is_over(&self) -> bool {
        self.cut_short || (self.query.sort.is_by_id() && self.found.len() > self.limit)
    }

    /// Looks at the next documents, in the order of their ids. Error: `TooLarge`, see [`Reads::find`].
    fn look_at(mut self, listed: Vec<DocumentName>, hub: &Hub, reader: &Reader) -> Result<Self> {
        for name in listed {
            if self.is_over() {
                break;
            }
            if self.scanned >= SCAN_DOCUMENTS_MAX || self.room.is_taken() {
                self.cut_short = true;
                break;
            }
            let Some(document) = readable(hub, reader, &name, &self.viewer)? else { continue };
            self.scanned += 1;
            let (key, wanted) = self.judge(&document, hub)?;
            self.last = Some(Sort::page_key_of_id(name.id.clone()));
            let sort = &self.query.sort;
            let behind = self.after.as_ref().is_none_or(|after| sort.compare(&key, after).is_gt());
            if wanted && behind {
                let at = self.found.partition_point(|(other, _)| sort.compare(other, &key).is_lt());
                self.found.insert(at, (key, name));
                self.found.truncate(self.limit + 1);
            }
        }
        if self.cut_short && !self.query.sort.is_by_id() {
            return Err(too_many_to_sort());
        }
        Ok(self)
    }

    /// Where a document stands, and whether it is wanted.
    fn judge(&mut self, document: &Document, hub: &Hub) -> Result<(PageKey, bool)> {
        // What one says that has moved, only the other server knows.
        let queried = if hub.relocations().find(&document.meta.name).is_some() {
            QueriedDocument::without_state(document)
        } else {
            let (queried, shown) = QueriedDocument::new(document, &self.viewer, &self.paths)?;
            self.room.take(document.state.as_ref().map_or(0, |state| state.len()), shown);
            queried
        };
        let wanted = self.query.filter.as_ref().is_none_or(|filter| filter.matches(&queried));
        Ok((self.query.sort.page_key(&queried), wanted))
    }

    /// The page: what was found and is still wanted.
    fn page(mut self, hub: &Hub, reader: &Reader) -> Result<FoundDocuments> {
        let (found, last) = (std::mem::take(&mut self.found), self.last.take());
        let more = found.len() > self.limit;
        self.room = PageRoom::new(LIST_STATES_BYTES_MAX);
        let (mut documents, mut next) = (Vec::new(), None);
        for (key, name) in found.into_iter().take(self.limit) {
            if self.room.is_taken() {
                return Ok(FoundDocuments { documents, scanned: self.scanned, next });
            }
            if let Some(document) = readable(hub, reader, &name, &self.viewer)?
                && self.judge(&document, hub)?.1
            {
                documents.push(document);
            }
            next = Some(key);
        }
        let next = if more { next } else { last.filter(|_| self.cut_short) };
        Ok(FoundDocuments { documents, scanned: self.scanned, next })
    }
}

/// The document as it is now, unless it is deleted or not for `viewer`.
fn readable(hub: &Hub, reader: &Reader, name: &DocumentName, viewer: &Viewer) -> Result<Option<Arc<Document>>> {
    let document = match hub.peek(name) {
        Some(hot) => Some(hot),
        None => reader.load(name)?.map(Arc::new),
    };
    Ok(document.filter(|document| !document.is_deleted() && document.meta.may_read(viewer)))
}

fn too_many_to_sort() -> Error {
    let message = format!(
        "a list is sorted of at most {SCAN_DOCUMENTS_MAX} documents and {SCAN_BYTES_MAX} bytes; ask without sort, page \
         by page"
    );
    Error::new(Kind::TooLarge, message).with("maxDocuments", SCAN_DOCUMENTS_MAX)
}
