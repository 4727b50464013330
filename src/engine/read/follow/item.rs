//! What a follower is told.

use std::sync::Arc;

use bytes::Bytes;

use crate::base::ids::{DocumentName, Seq};
use crate::document::chain::Position;
use crate::document::event::Event;
use crate::document::model::Document;
use crate::live::messages::StreamMessage;
use crate::live::relocations::MovedDocument;

/// Why a follower gets the whole state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reason {
    Start,
    /// Changes that it missed are no longer kept.
    Trimmed,
    /// Its position is not in this log.
    Diverged,
    /// A document that it was told had moved is here again.
    Returned,
    /// What it may see is not what it was.
    Access,
    /// A document has come to match: what there was before stays.
    Entered,
}

impl Reason {
    /// As it is written on the wire.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::Trimmed => "trimmed",
            Self::Diverged => "diverged",
            Self::Returned => "returned",
            Self::Access => "access",
            Self::Entered => "entered",
        }
    }
}

/// What a follower is told.
#[derive(Debug)]
pub(crate) enum Item {
    /// The whole present; what follows continues from it.
    Snapshot {
        reason: Reason,
        /// The documents that are there.
        documents: Vec<Arc<Document>>,
        /// Followed by name and not there: whether one was removed with its history or never was, nobody can tell. Of
        /// collections, the last that went since the follower was told of them.
        gone: Vec<DocumentName>,
        /// Where it stands in the log.
        position: Position,
    },
    /// Exactly `count` changes follow, up to `to`; then the live ones.
    Resumed {
        /// Where the follower was.
        from: Position,
        /// Where it will be.
        to: Position,
        /// How many changes lie between.
        count: u64,
    },
    Changes(Vec<Arc<Event>>),
    /// A document has come to match what the follower asked for: as it is after its last change.
    Entered(Arc<Document>),
    /// A document does not match any more, by this change.
    Left(Arc<Event>),
    /// What it is told beside the changes: those that they are about were told before, later ones were not.
    Messages(Vec<Arc<StreamMessage>>),
    /// A document is on another server now, and goes on there from the position that it has here. All its changes are
    /// told.
    Moved(Arc<MovedDocument>),
    /// Changes up to here, which had been told while storage failed, are on disk now.
    Durable(Seq),
    /// Who is there, as frames.
    Presence(Bytes),
    /// What other followers say, as frames.
    Transient(Bytes),
    /// It may no longer read a document that it was told of. Nothing follows.
    AccessEnded,
}
