//! Names and numbers that must not be mixed up.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize};

use super::error::Error;

/// Longest id, in bytes.
pub(crate) const ID_LENGTH_MAX: usize = 64;
/// Longest collection name, in bytes.
pub(crate) const COLLECTION_LENGTH_MAX: usize = 63;

/// Whether `text` is an id: `[A-Za-z0-9][A-Za-z0-9_-]{0,63}`.
fn is_id(text: &str) -> bool {
    let bytes = text.as_bytes();
    bytes.len() <= ID_LENGTH_MAX
        && bytes.first().is_some_and(u8::is_ascii_alphanumeric)
        && bytes.iter().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-'))
}

fn check_id(text: &str, rule: &'static str) -> Result<(), &'static str> {
    if is_id(text) { Ok(()) } else { Err(rule) }
}

/// Checks that `text` names a collection: `[a-z][a-z0-9-]{0,62}`.
fn check_collection(text: &str, rule: &'static str) -> Result<(), &'static str> {
    let bytes = text.as_bytes();
    let fits = bytes.len() <= COLLECTION_LENGTH_MAX
        && bytes.first().is_some_and(u8::is_ascii_lowercase)
        && bytes.iter().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || *b == b'-');
    if fits { Ok(()) } else { Err(rule) }
}

macro_rules! name_type {
    ($(#[$doc:meta])* $name:ident, $check:ident, $rule:literal) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
        #[serde(transparent)]
        pub struct $name(Arc<str>);

        impl $name {
            /// Checks and keeps `text`. Error: `Invalid`, saying the rule that it breaks.
            pub fn new(text: &str) -> Result<Self, Error> {
                $check(text, $rule).map_err(Error::invalid)?;
                Ok(Self(text.into()))
            }

            /// The text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:?}", &*self.0)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = std::borrow::Cow::<str>::deserialize(deserializer)?;
                Self::new(&text).map_err(|e| serde::de::Error::custom(e.message()))
            }
        }
    };
}

name_type!(
    /// The name of a collection, for example `games`.
    Collection,
    check_collection,
    "a collection is 1 to 63 characters: a lower-case letter, then lower-case letters, digits or '-'"
);
name_type!(
    /// The id of a document within its collection.
    DocumentId,
    check_id,
    "an id is 1 to 64 characters: a letter or digit, then letters, digits, '_' or '-'"
);
name_type!(
    /// Who reads or writes: a user, a player, a bot. Stable; what people see as a name is something else.
    UserId,
    check_id,
    "a user id is 1 to 64 characters: a letter or digit, then letters, digits, '_' or '-'"
);
name_type!(
    /// Names a session. It is no secret: what lets somebody in is the session's token.
    SessionId,
    check_id,
    "a session's id is 1 to 64 characters: a letter or digit, then letters, digits, '_' or '-'"
);

/// The full name of a document, written `collection/id`.
///
/// ```
/// use rejoin::DocumentName;
///
/// let name = DocumentName::parse("lists/shopping")?;
/// assert_eq!((name.collection.as_str(), name.id.as_str()), ("lists", "shopping"));
/// assert!(DocumentName::new("Lists", "shopping").is_err());
/// # Ok::<(), rejoin::Error>(())
/// ```
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct DocumentName {
    /// The collection that it is in.
    pub collection: Collection,
    /// Its id there.
    pub id: DocumentId,
}

impl DocumentName {
    /// Checks and keeps both parts. Error: `Invalid`.
    pub fn new(collection: &str, id: &str) -> Result<Self, Error> {
        Ok(Self { collection: Collection::new(collection)?, id: DocumentId::new(id)? })
    }

    /// Reads `collection/id`. Error: `Invalid`.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let (collection, id) =
            text.split_once('/').ok_or_else(|| Error::invalid("a document is named collection/id"))?;
        Self::new(collection, id)
    }
}

impl<'de> Deserialize<'de> for DocumentName {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<str>::deserialize(deserializer)?;
        Self::parse(&text).map_err(|error| serde::de::Error::custom(error.message()))
    }
}

impl fmt::Display for DocumentName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.collection, self.id)
    }
}

impl fmt::Debug for DocumentName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

macro_rules! number_type {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub u64);

        impl $name {
            /// Before the first.
            pub const ZERO: Self = Self(0);

            /// The one after this. The largest has none and stays: nothing of ours comes near it, but a caller may name
            /// it.
            #[must_use]
            pub const fn next(self) -> Self {
                Self(self.0.saturating_add(1))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

number_type!(
    /// The place of an event in the whole log. Dense; the first is 1.
    Seq
);
number_type!(
    /// How many changes a document has seen. Dense; creation makes version 1.
    Version
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_keep_to_their_alphabet_and_length() {
        for good in ["a", "Z9", "goblin-ambush", "0_-", &"x".repeat(64)] {
            assert!(DocumentId::new(good).is_ok(), "{good}");
        }
        for bad in ["", "-a", "_a", "a b", "a/b", "ä", "a.b", &"x".repeat(65)] {
            assert!(DocumentId::new(bad).is_err(), "{bad}");
        }
        for good in ["a", "games", "x-1", &"x".repeat(63)] {
            assert!(Collection::new(good).is_ok(), "{good}");
        }
        for bad in ["", "Games", "1a", "-a", "a_b", "a/b", &"x".repeat(64)] {
            assert!(Collection::new(bad).is_err(), "{bad}");
        }
        assert_eq!(DocumentName::parse("games/g1").map(|n| n.to_string()).ok(), Some("games/g1".into()));
        assert!(DocumentName::parse("games").is_err());
        assert!(DocumentName::parse("games/g/1").is_err());
    }
}
