//! In which order a list has its documents: `sort`.

use std::cmp::Ordering;

use serde::{Deserialize, Serialize};
use serde_json::{Number, Value};

use super::QueriedDocument;
use super::path::Path;
use crate::base::ids::DocumentId;
use crate::base::limits::{SORT_PATHS_MAX, SORT_TEXT_CHARS_MAX};
use crate::document::json;

/// An order of documents: by what stands at paths, each rising or falling, and by id where all of that is equal.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(try_from = "String")]
pub(crate) struct Sort {
    terms: Vec<SortTerm>,
}

#[derive(Clone, Debug, PartialEq)]
struct SortTerm {
    path: Path,
    falling: bool,
}

impl TryFrom<String> for Sort {
    type Error = String;

    /// Paths with commas between; one after a `-` is falling.
    fn try_from(text: String) -> Result<Self, String> {
        let term = |text: &str| {
            let falling = text.starts_with('-');
            let path = text.strip_prefix('-').unwrap_or(text).parse()?;
            Ok(SortTerm { path, falling })
        };
        let terms = text.split(',').map(term).collect::<Result<Vec<_>, String>>()?;
        if terms.len() > SORT_PATHS_MAX {
            return Err(format!("must not have more than {SORT_PATHS_MAX} paths"));
        }
        Ok(Self { terms })
    }
}

/// What an order looks at, of the value at one path. Its order is that of the variants; arrays and objects are equal.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum SortKey {
    Missing,
    Null,
    Bool(bool),
    Number(Number),
    /// The first [`SORT_TEXT_CHARS_MAX`] characters.
    Text(String),
    Composite,
}

/// What a page goes on after: where a document stands in an order.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct PageKey {
    keys: Vec<SortKey>,
    pub id: DocumentId,
}

impl Sort {
    /// Whether it is by id alone.
    pub(crate) fn is_by_id(&self) -> bool {
        self.terms.is_empty()
    }

    /// The paths that it looks at.
    pub(crate) fn paths(&self) -> impl Iterator<Item = &Path> {
        self.terms.iter().map(|term| &term.path)
    }

    /// The key of a document.
    pub(crate) fn page_key(&self, document: &QueriedDocument<'_>) -> PageKey {
        let keys = self.terms.iter().map(|term| SortKey::new(document.find(&term.path).as_deref())).collect();
        PageKey { keys, id: document.document.meta.name.id.clone() }
    }

    /// The key in an order by id.
    pub(crate) fn page_key_of_id(id: DocumentId) -> PageKey {
        PageKey { keys: Vec::new(), id }
    }

    /// Whether `key` can be one in this order.
    pub(crate) fn fits(&self, key: &PageKey) -> bool {
        key.keys.len() == self.terms.len()
    }

    /// Which of two places comes first.
    pub(crate) fn compare(&self, one: &PageKey, other: &PageKey) -> Ordering {
        let keys = self.terms.iter().zip(one.keys.iter().zip(&other.keys));
        let by_key = keys.map(|(term, (one, other))| match one.compare(other) {
            order if term.falling => order.reverse(),
            order => order,
        });
        by_key.fold(Ordering::Equal, Ordering::then).then_with(|| one.id.cmp(&other.id))
    }
}

impl SortKey {
    fn new(found: Option<&Value>) -> Self {
        match found {
            None => Self::Missing,
            Some(Value::Null) => Self::Null,
            Some(Value::Bool(value)) => Self::Bool(*value),
            Some(Value::Number(number)) => Self::Number(number.clone()),
            Some(Value::String(text)) => Self::Text(text.chars().take(SORT_TEXT_CHARS_MAX).collect()),
            Some(Value::Array(_) | Value::Object(_)) => Self::Composite,
        }
    }

    fn rank(&self) -> u8 {
        match self {
            Self::Missing => 0,
            Self::Null => 1,
            Self::Bool(_) => 2,
            Self::Number(_) => 3,
            Self::Text(_) => 4,
            Self::Composite => 5,
        }
    }

    fn compare(&self, other: &Self) -> Ordering {
        match (self, other) {
            (Self::Bool(one), Self::Bool(other)) => one.cmp(other),
            (Self::Number(one), Self::Number(other)) => json::compare_numbers(one, other),
            (Self::Text(one), Self::Text(other)) => one.cmp(other),
            _ => self.rank().cmp(&other.rank()),
        }
    }
}
