//! What a notification is, and which of them people want. Pure.

use serde::{Deserialize, Serialize};

use super::limits::{CLOSE_AFTER_SECONDS_MAX, TEXT_BYTES_MAX};
use crate::base::clock::Timestamp;
use crate::base::error::{Error, FieldError, Result};
use crate::base::ids::{DocumentName, Version};
use crate::document::notices::NoticeKind;

/// What somebody is told of a change.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Notification {
    /// The same wherever it is told.
    pub id: String,
    /// `turn`: it is the recipient's turn; `action`: an action waits for them, or theirs was reviewed; `status`: it
    /// began, is paused, goes on or has ended.
    #[serde(rename = "type")]
    pub kind: NoticeKind,
    pub title: String,
    /// What there is to say besides; may be empty.
    pub body: String,
    /// The document that it is about, `collection/id`,
    #[serde(serialize_with = "as_text")]
    pub document: DocumentName,
    /// and its version after the change.
    pub version: Version,
    pub at: Timestamp,
    /// Whether the recipient has read it.
    pub read: bool,
}

fn as_text<S: serde::Serializer>(name: &DocumentName, serializer: S) -> std::result::Result<S::Ok, S::Error> {
    serializer.collect_str(name)
}

/// A title or a body as it is kept: cut where it is too long.
pub(crate) fn text(mut text: String) -> String {
    text.truncate(text.floor_char_boundary(TEXT_BYTES_MAX));
    text
}

/// What somebody wants of the notifications of one type.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub(crate) struct Preference {
    /// Whether there are any. Without, none are made.
    pub enabled: bool,
    /// Whether a client plays a sound.
    pub sound: bool,
    /// After how long a client takes it off the screen; 0: when it is clicked.
    pub close_after_seconds: u32,
}

impl Preference {
    const fn closing_after(close_after_seconds: u32) -> Self {
        Self { enabled: true, sound: false, close_after_seconds }
    }
}

impl Default for Preference {
    fn default() -> Self {
        Self::closing_after(10)
    }
}

/// What somebody wants of each type.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Preferences {
    pub turn: Preference,
    pub action: Preference,
    pub status: Preference,
}

impl Default for Preferences {
    fn default() -> Self {
        let [turn, action, status] = [15, 10, 5].map(Preference::closing_after);
        Self { turn, action, status }
    }
}

impl Preferences {
    /// That of one type.
    pub(crate) fn of(&self, kind: NoticeKind) -> Preference {
        match kind {
            NoticeKind::Turn => self.turn,
            NoticeKind::Action => self.action,
            NoticeKind::Status => self.status,
        }
    }

    /// Error: `Invalid`, naming each member that is out of range.
    pub(crate) fn check(&self) -> Result<()> {
        let long = |kind: &NoticeKind| self.of(*kind).close_after_seconds > CLOSE_AFTER_SECONDS_MAX;
        let error = |kind: NoticeKind| FieldError {
            field: format!("{}.closeAfterSeconds", kind.as_str()),
            detail: format!("must be at most {CLOSE_AFTER_SECONDS_MAX}"),
        };
        let errors: Vec<_> = NoticeKind::ALL.into_iter().filter(long).map(error).collect();
        if errors.is_empty() { Ok(()) } else { Err(Error::invalid_fields(errors)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_cut_between_characters() {
        assert_eq!(text("é".repeat(TEXT_BYTES_MAX)).len(), TEXT_BYTES_MAX);
        assert_eq!(text(format!("a{}", "é".repeat(TEXT_BYTES_MAX))).len(), TEXT_BYTES_MAX - 1);
        assert_eq!(text("short".to_owned()), "short");
    }
}
