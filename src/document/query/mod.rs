//! What a list is asked: which documents ([`filter`]), in which order ([`sort`]), and what of each ([`fields`]).
//!
//! All of it looks at a [`QueriedDocument`]: at the state that a viewer is shown. What they may not see is as if it
//! were not there, so no question tells anything about it.

pub(crate) mod fields;
pub(crate) mod filter;
pub(crate) mod path;
pub(crate) mod sort;

use std::borrow::Cow;

use serde_json::Value;

use self::path::{Path, Property};
use super::model::Document;
use super::visibility::{Viewer, redact_state};
use crate::base::error::{Error, Result};

/// A document as a viewer is shown it.
#[derive(Debug)]
pub(crate) struct QueriedDocument<'a> {
    document: &'a Document,
    /// Null where it is deleted.
    state: Value,
}

impl<'a> QueriedDocument<'a> {
    /// `document` as `viewer`, who may read it, is shown it, and how many bytes of state that is.
    pub(crate) fn new(document: &'a Document, viewer: &Viewer) -> Result<(Self, usize)> {
        let state = document.state.as_deref().unwrap_or(b"null");
        let shown = redact_state(state, document.meta.audience(viewer))?;
        let queried = Self { document, state: serde_json::from_slice(&shown).map_err(Error::internal)? };
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
