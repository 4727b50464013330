//! Conflicts that were kept while a stream was away. One that begins without a position is told none: there is a list.

use std::fmt;
use std::ops::RangeInclusive;
use std::sync::Arc;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;

use super::item::ConflictItem;
use super::sql::{self, StoredConflict};
use crate::base::error::{Error, Result};
use crate::base::ids::Seq;
use crate::document::chain::Position;
use crate::document::visibility::Viewer;
use crate::http::api::Api;
use crate::live::messages::{MessageRecipient, MessageStore, MissedRequest, Since, StreamMessage};
use crate::live::topics::Interest;

/// See the module.
#[derive(Clone)]
pub(crate) struct ConflictStore {
    pub api: Api,
}

impl fmt::Debug for ConflictStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConflictStore").finish_non_exhaustive()
    }
}

impl MessageStore for ConflictStore {
    fn missed(&self, request: MissedRequest) -> BoxFuture<'static, Result<Vec<StreamMessage>>> {
        let MissedRequest { interest, since, through, .. } = request;
        let from = match since {
            Since::Nothing => return async { Ok(Vec::new()) }.boxed(),
            Since::Acknowledged(seq) => seq,
            Since::Told(seq) => seq.next(),
        };
        open(self.api.clone(), interest, from..=through).boxed()
    }

    fn between(
        &self,
        _viewer: Viewer,
        interest: Arc<Interest>,
        seqs: RangeInclusive<Seq>,
    ) -> BoxFuture<'static, Result<Vec<StreamMessage>>> {
        open(self.api.clone(), interest, seqs).boxed()
    }
}

/// The open conflicts that the changes of these seqs made, whoever may see them.
async fn open(api: Api, interest: Arc<Interest>, seqs: RangeInclusive<Seq>) -> Result<Vec<StreamMessage>> {
    let found = api.read_rows(move |conn| sql::open_between(conn, &interest, &seqs)).await?;
    found.into_iter().map(|(kept, position)| message(kept, position)).collect()
}

/// A conflict as streams of its document tell it to those who may see where it is. `position`: of the change that made
/// it.
pub(super) fn message(kept: StoredConflict, position: Position) -> Result<StreamMessage> {
    let (id, document) = (kept.place.id.clone().unwrap_or_default(), kept.document.clone());
    let to = MessageRecipient::Readers { path: kept.place.path.clone() };
    let data = serde_json::to_vec(&ConflictItem::from(kept)).map_err(Error::internal)?;
    let (seq, position) = (position.seq(), Some(position));
    Ok(StreamMessage { id: id.into(), event: "conflict", seq, position, document, to, data: data.into() })
}
