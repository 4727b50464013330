//! What people are told of a change beside the change itself: that it is their turn, for example. Rules say it; what
//! becomes of it is for whoever asks them.

use serde::{Deserialize, Serialize};

use crate::base::ids::UserId;

/// What a notice is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum NoticeKind {
    /// It is the recipient's turn.
    Turn,
    /// An action waits for the recipient's review, or the recipient's own was reviewed.
    Action,
    /// It began, is paused, goes on or has ended.
    Status,
}

impl NoticeKind {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Turn, Self::Action, Self::Status];

    /// As it is written on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Turn => "turn",
            Self::Action => "action",
            Self::Status => "status",
        }
    }
}

/// Whom a notice is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NoticeRecipient {
    /// The document's host.
    Host,
    /// This user; `host` and `owner` name the owner of the server.
    Player(UserId),
}

/// What somebody is told of a change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    /// Whom it is for. Who made the change is told nothing, whatever stands here.
    pub to: NoticeRecipient,
    /// What it is about.
    pub kind: NoticeKind,
    /// A line for people. Like the body it must not tell what the recipient may not see, and is cut at 500 bytes.
    pub title: String,
    /// What there is to say besides; may be empty.
    pub body: String,
}
