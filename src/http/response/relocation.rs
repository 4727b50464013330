//! Redirects requests about games that are on another server now.

use http::Uri;

use crate::base::error::{Error, Kind, Result};
use crate::base::ids::DocumentName;
use crate::engine::refusal::moved_elsewhere;
use crate::http::request::query;
use crate::live::hub::Hub;

/// Path prefixes that are followed by a game's id.
const PREFIXES: [&str; 2] = ["/api/v1/games/", "/api/game/"];
/// Calls that are answered here although the game has moved, by the segment after its id: another server brings it back
/// or checks that it arrived, and a repeated migration gets its first answer again.
const NOT_REDIRECTED: [&str; 2] = ["import", "migrate"];

/// Error: `Moved` for a request about a game that has moved, with `to` and the `location` of the same target there.
pub(crate) fn check(hub: &Hub, uri: &Uri) -> Result<()> {
    if hub.relocations().count() == 0 {
        return Ok(());
    }
    // Routing undoes the encoding of names too.
    let Some(path) = query::decode(uri.path()) else { return Ok(()) };
    let mut rest = PREFIXES.iter().find_map(|prefix| path.strip_prefix(prefix)).unwrap_or_default().split('/');
    let Ok(name) = DocumentName::new("games", rest.next().unwrap_or_default()) else { return Ok(()) };
    match rest.next() {
        Some(call) if NOT_REDIRECTED.contains(&call) => Ok(()),
        _ => check_game(hub, &name, uri),
    }
}

/// As [`check`], for a request that is known to be about this game.
pub(crate) fn check_game(hub: &Hub, name: &DocumentName, uri: &Uri) -> Result<()> {
    hub.relocations().find(name).map_or(Ok(()), |moved| Err(redirect(&moved_elsewhere(&moved), uri)))
}

/// `error` names a server in `to`; adds the `location` of `uri` there.
pub(crate) fn redirect(error: &Error, uri: &Uri) -> Error {
    let to = error.details().get("to").and_then(serde_json::Value::as_str).unwrap_or_default();
    let target = uri.path_and_query().map_or(uri.path(), http::uri::PathAndQuery::as_str);
    Error::new(Kind::Moved, error.message()).with("to", to).with("location", format!("{to}{target}"))
}
