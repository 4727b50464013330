//! The conditions of a read, in the order of RFC 9110 §13.2.2.

use http::HeaderMap;
use serde_json::Value;

use crate::base::error::{Error, Kind, Result, both};
use crate::document::decide::with_current;
use crate::document::model::Document;
use crate::document::visibility::{Viewer, redact_state};
use crate::http::request::headers::{if_match, if_match_holds, if_none_match, if_none_match_names};

/// Whether the caller has `document` as it is: it is then answered with 304. Errors: `Invalid`; `PreconditionFailed`
/// with what `viewer` may see of the document.
pub(crate) fn is_unchanged(headers: &HeaderMap, document: &Document, viewer: &Viewer) -> Result<bool> {
    let (matching, changed) = both(if_match(headers), if_none_match(headers))?;
    if matching.is_some_and(|tags| !tags.matches(&document.tag())) {
        let message = "the document is not at the version in If-Match";
        let state = document.state.as_deref().unwrap_or(b"null");
        let visible = redact_state(state, document.meta.audience(viewer))?;
        let visible: Value = serde_json::from_slice(&visible).map_err(Error::internal)?;
        return Err(with_current(Error::new(Kind::PreconditionFailed, message), document, visible));
    }
    Ok(changed.is_some_and(|tags| tags.matches(&document.tag())))
}

/// The same for what has this tag and is no document. Errors: `Invalid`; `PreconditionFailed`.
pub(crate) fn is_same_file(headers: &HeaderMap, tag: &str) -> Result<bool> {
    let (matching, known) =
        both(if_match_holds(headers, tag.as_bytes()), if_none_match_names(headers, tag.as_bytes()))?;
    if matching {
        return Ok(known);
    }
    Err(Error::new(Kind::PreconditionFailed, "the file has none of the tags in If-Match"))
}
