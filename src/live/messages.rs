//! What viewers are told on their streams beside the changes: [`StreamMessage`]s. They become visible with the change
//! that they are about, and whoever was away gets them from a [`MessageStore`].

use std::fmt;
use std::ops::RangeInclusive;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use futures_util::future::BoxFuture;

use super::topics::Interest;
use crate::base::error::Result;
use crate::base::ids::{DocumentName, Seq};
use crate::document::chain::Position;
use crate::document::visibility::Viewer;

/// Bytes of a message in memory besides its data; estimated.
const OVERHEAD_BYTES: usize = 300;

/// An event of a stream that is no change: it has no place in the log of its own, and carries no `id:`.
#[derive(Clone, Debug)]
pub(crate) struct StreamMessage {
    /// Names it: it is the same each time that it is told.
    pub id: Arc<str>,
    /// The name of the stream's event.
    pub event: &'static str,
    /// Of the change that it is about: told after that one, and before any later one.
    pub seq: Seq,
    /// The position of that change, unless it is no longer known.
    pub position: Option<Position>,
    /// The document that the change is of: whoever may not read it is told nothing.
    pub document: DocumentName,
    pub to: MessageRecipient,
    /// JSON.
    pub data: Bytes,
}

/// Whom a message is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum MessageRecipient {
    /// The viewer of this [scope](Viewer::scope), on all of their streams, by whatever credential.
    Viewer(Arc<str>),
    /// All who follow the document and may see this place of it, a JSON Pointer.
    Readers { path: String },
}

impl StreamMessage {
    /// Whether a stream of `viewer` over `interest` tells it, if they may see what it is about.
    pub(crate) fn concerns(&self, viewer: &Viewer, interest: &Interest) -> bool {
        match &self.to {
            MessageRecipient::Viewer(to) => **to == *viewer.scope(),
            MessageRecipient::Readers { .. } => interest.covers(&self.document),
        }
    }

    /// Bytes that it takes in memory.
    pub(super) fn weight(&self) -> usize {
        self.data.len() + OVERHEAD_BYTES
    }

    /// Appends it as a stream carries it.
    pub(crate) fn write_frame(&self, out: &mut BytesMut) {
        for part in [b"event: ", self.event.as_bytes(), b"\ndata: ", &self.data, b"\n\n"] {
            out.extend_from_slice(part);
        }
    }
}

/// What a stream was told before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Since {
    /// Nothing that is known.
    Nothing,
    /// Its client came back with this position: what is about earlier changes is acknowledged.
    Acknowledged(Seq),
    /// The same stream has told what is about changes up to here.
    Told(Seq),
}

/// Which messages a stream that begins, or begins anew, still has to tell.
#[derive(Clone, Debug)]
pub(crate) struct MissedRequest {
    pub viewer: Viewer,
    /// What tells the viewer's devices apart.
    pub device: Arc<str>,
    pub interest: Arc<Interest>,
    pub since: Since,
    /// What is about later changes is told as it comes.
    pub through: Seq,
    /// Where the stream will be when it tells them. Whoever comes back from before that does not have them.
    pub told_at: Seq,
}

/// Has stored messages: the feature that they are of.
pub(crate) trait MessageStore: Send + Sync + fmt::Debug {
    /// What a stream has to tell before anything new, oldest first.
    fn missed(&self, request: MissedRequest) -> BoxFuture<'static, Result<Vec<StreamMessage>>>;

    /// The messages about the changes of these seqs, oldest first.
    fn between(
        &self,
        viewer: Viewer,
        interest: Arc<Interest>,
        seqs: RangeInclusive<Seq>,
    ) -> BoxFuture<'static, Result<Vec<StreamMessage>>>;
}
