//! What a list is asked: which documents ([`filter`]), in which order ([`sort`]), and what of each ([`fields`]).
//!
//! All of it looks at a [`QueriedDocument`]: at the state that a viewer is shown. What they may not see is as if it
//! were not there, so no question tells anything about it.

pub(crate) mod fields;
pub(crate) mod filter;
pub(crate) mod path;
pub(crate) mod sort;

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::fmt;

use serde::Deserializer;
use serde::de::{DeserializeSeed, IgnoredAny, MapAccess, Visitor};
use serde_json::{Map, Value};

use self::path::{Path, Property};
use super::model::Document;
use super::visibility::{Viewer, redact_state};
use crate::base::error::{Error, Result};

/// What questions look at: the rest of a state is passed over when it is read.
#[derive(Clone, Debug, Default)]
pub(crate) struct QueriedPaths {
    /// The outermost members of the state.
    members: BTreeSet<String>,
}

impl QueriedPaths {
    pub(crate) fn new<'p>(paths: impl IntoIterator<Item = &'p Path>) -> Self {
        let outermost = paths.into_iter().filter_map(|path| match path {
            Path::Property(_) => None,
            Path::State(members) => members.first().cloned(),
        });
        Self { members: outermost.collect() }
    }

    /// The members of a state that are looked at, as a tree.
    fn read(&self, state: &[u8]) -> Result<Value> {
        serde_json::Deserializer::from_slice(state).deserialize_any(StateVisitor(self)).map_err(Error::internal)
    }
}

/// Reads a state, or null.
struct StateVisitor<'p>(&'p QueriedPaths);

impl<'de> Visitor<'de> for StateVisitor<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a state, or null")
    }

    fn visit_unit<E: serde::de::Error>(self) -> std::result::Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> std::result::Result<Value, A::Error> {
        let mut members = Map::new();
        while let Some(queried) = map.next_key_seed(NameVisitor(self.0))? {
            match queried {
                Some(name) => drop(members.insert(name, map.next_value()?)),
                None => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        Ok(Value::Object(members))
    }
}

/// Reads the name of a member; `None`: nobody looks at it.
struct NameVisitor<'p>(&'p QueriedPaths);

impl<'de> DeserializeSeed<'de> for NameVisitor<'_> {
    type Value = Option<String>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> std::result::Result<Option<String>, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for NameVisitor<'_> {
    type Value = Option<String>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the name of a member")
    }

    fn visit_str<E: serde::de::Error>(self, name: &str) -> std::result::Result<Option<String>, E> {
        Ok(self.0.members.get(name).cloned())
    }
}

/// A document as a viewer is shown it.
#[derive(Debug)]
pub(crate) struct QueriedDocument<'a> {
    document: &'a Document,
    /// Null where it is deleted.
    state: Value,
}

impl<'a> QueriedDocument<'a> {
    /// `document` as `viewer`, who may read it, is shown it, and how many bytes of state that is. Only what stands at
    /// `paths` can be found.
    pub(crate) fn new(document: &'a Document, viewer: &Viewer, paths: &QueriedPaths) -> Result<(Self, usize)> {
        let state = document.state.as_deref().unwrap_or(b"null");
        let shown = redact_state(state, document.meta.audience(viewer))?;
        let queried = Self { document, state: paths.read(&shown)? };
        Ok((queried, shown.len()))
    }

    /// A document of which nothing is known but what is not its state.
    pub(crate) fn without_state(document: &'a Document) -> Self {
        Self { document, state: Value::Null }
    }

    /// What stands at `path`; `None`: nothing.
    fn find(&self, path: &Path) -> Option<Cow<'_, Value>> {
        let Document { meta, version, updated_at, .. } = self.document;
        match path {
            Path::Property(property) => Some(Cow::Owned(match property {
                Property::Id => meta.name.id.as_str().into(),
                Property::Version => version.0.into(),
                Property::CreatedAt => meta.created_at.to_string().into(),
                Property::UpdatedAt => updated_at.to_string().into(),
            })),
            Path::State(members) => {
                let found = members.iter().try_fold(&self.state, |value, member| value.as_object()?.get(member));
                found.map(Cow::Borrowed)
            }
        }
    }
}
