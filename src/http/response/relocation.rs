//! Redirects requests about games that are on another server now.

use http::Uri;

use crate::base::error::{Error, Kind, Result};
use crate::base::ids::DocumentName;
use crate::document::visibility::Viewer;
use crate::engine::read::Reads;
use crate::engine::refusal::moved_elsewhere;
use crate::http::request::query;
use crate::live::hub::Hub;

/// Path prefixes that are followed by a game's id.
const PREFIXES: [&str; 2] = ["/api/v1/games/", "/api/game/"];
/// Calls that are answered here although the game has moved, by the segment after its id: another server brings it back
/// or checks that it arrived, and a repeated migration gets its first answer again.
const NOT_REDIRECTED: [&str; 2] = ["import", "migrate"];

/// The game that a request is about, if it has moved and the request is to be redirected.
pub(crate) fn moved_game(hub: &Hub, uri: &Uri) -> Option<DocumentName> {
    if hub.relocations().count() == 0 {
        return None;
    }
    // Routing undoes the encoding of names too.
    let path = query::decode(uri.path())?;
    let mut rest = PREFIXES.iter().find_map(|prefix| path.strip_prefix(prefix)).unwrap_or_default().split('/');
    let name = DocumentName::new("games", rest.next().unwrap_or_default()).ok()?;
    let redirected = !rest.next().is_some_and(|call| NOT_REDIRECTED.contains(&call));
    (redirected && hub.relocations().find(&name).is_some()).then_some(name)
}

/// Errors: `Moved` for a game that has moved, as [`check_game`]; `NotFound` in its place for whoever may not read it,
/// as for a game that never was.
pub(crate) async fn check_readable_game(reads: &Reads, name: &DocumentName, viewer: &Viewer, uri: &Uri) -> Result<()> {
    reads.check_reader(name, viewer).await?;
    check_game(&reads.hub, name, uri)
}

/// For a request about this game by whoever may read it. Error: `Moved` if it has moved, with `to` and the `location`
/// of the same target there.
pub(crate) fn check_game(hub: &Hub, name: &DocumentName, uri: &Uri) -> Result<()> {
    hub.relocations().find(name).map_or(Ok(()), |moved| Err(redirect(&moved_elsewhere(&moved), uri)))
}

/// `error` names a server in `to`; adds the `location` of `uri` there.
pub(crate) fn redirect(error: &Error, uri: &Uri) -> Error {
    let to = error.details().get("to").and_then(serde_json::Value::as_str).unwrap_or_default();
    let target = uri.path_and_query().map_or(uri.path(), http::uri::PathAndQuery::as_str);
    Error::new(Kind::Moved, error.message()).with("to", to).with("location", format!("{to}{target}"))
}
