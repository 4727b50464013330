//! Redirects requests about documents that are on another server now.

use http::Uri;
use http::uri::PathAndQuery;
use serde_json::Value;

use crate::base::error::{Error, Kind, Result};
use crate::base::ids::DocumentName;
use crate::document::visibility::Viewer;
use crate::engine::read::Reads;
use crate::engine::refusal::moved_elsewhere;
use crate::http::request::query;
use crate::live::hub::Hub;

/// The calls about documents that may have moved: what the feature that moves them says of their paths.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RelocationPaths {
    /// The collection of the documents.
    pub collection: &'static str,
    /// What a document's id follows in a path.
    pub prefixes: &'static [&'static str],
    /// Calls that are answered here although the document has moved, by the segment after its id: another server brings
    /// it back or checks that it arrived, and a repeated migration gets its first answer again.
    pub not_redirected: &'static [&'static str],
}

/// The document that a request is about, if it has moved and the request is to be redirected.
pub(crate) fn moved_document(hub: &Hub, paths: &RelocationPaths, uri: &Uri) -> Option<DocumentName> {
    if hub.relocations().count() == 0 {
        return None;
    }
    let RelocationPaths { collection, prefixes, not_redirected } = paths;
    // Routing undoes the encoding of names too.
    let path = query::decode(uri.path())?;
    let mut rest = prefixes.iter().find_map(|prefix| path.strip_prefix(prefix)).unwrap_or_default().split('/');
    let name = DocumentName::new(collection, rest.next().unwrap_or_default()).ok()?;
    let redirected = !rest.next().is_some_and(|call| not_redirected.contains(&call));
    (redirected && hub.relocations().find(&name).is_some()).then_some(name)
}

/// Errors: `Moved` for a document that has moved, as [`check_moved`]; `NotFound` in its place for whoever may not read
/// it, as for a document that never was.
pub(crate) async fn check_moved_for(reads: &Reads, name: &DocumentName, viewer: &Viewer, uri: &Uri) -> Result<()> {
    reads.check_reader(name, viewer).await?;
    check_moved(&reads.hub, name, uri)
}

/// For a request about this document by whoever may read it. Error: `Moved` if it has moved, with `to` and the
/// `location` of the same target there.
pub(crate) fn check_moved(hub: &Hub, name: &DocumentName, uri: &Uri) -> Result<()> {
    hub.relocations().find(name).map_or(Ok(()), |moved| Err(redirect(&moved_elsewhere(&moved), uri)))
}

/// `error` names a server in `to`; adds the `location` of `uri` there.
pub(crate) fn redirect(error: &Error, uri: &Uri) -> Error {
    let to = error.details().get("to").and_then(Value::as_str).unwrap_or_default();
    let target = uri.path_and_query().map_or(uri.path(), PathAndQuery::as_str);
    let moved = match error.problem_type() {
        Some(problem) => problem.error(error.message()),
        None => Error::new(Kind::Moved, error.message()),
    };
    moved.with("to", to).with("location", format!("{to}{target}"))
}
