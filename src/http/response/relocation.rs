//! Games that are on another server now: every request about one is shown the way, whatever it asks.

use http::Uri;

use crate::base::error::{Error, Kind, Result};
use crate::base::ids::DocumentName;
use crate::engine::standing::elsewhere;
use crate::http::request::query;
use crate::live::hub::Hub;

/// The paths that are about one game: what follows, up to the next slash, is its id.
const PREFIXES: [&str; 2] = ["/api/v1/games/", "/api/game/"];
/// What can be asked of a game that is elsewhere, by what follows its id: another server may bring it back or ask
/// whether it came, and whoever moved it may ask for the answer again.
const ANSWERED: [&str; 2] = ["import", "migrate"];

/// Refuses a request about a game that is elsewhere. Error: `Moved`, with `to` and the `location` of what was asked
/// for.
pub(crate) fn check(hub: &Hub, uri: &Uri) -> Result<()> {
    if hub.moves().count() == 0 {
        return Ok(());
    }
    // Routing undoes the encoding of names too.
    let Some(path) = query::decode(uri.path()) else { return Ok(()) };
    let mut rest = PREFIXES.iter().find_map(|prefix| path.strip_prefix(prefix)).unwrap_or_default().split('/');
    let Ok(name) = DocumentName::new("games", rest.next().unwrap_or_default()) else { return Ok(()) };
    match rest.next() {
        Some(asked) if ANSWERED.contains(&asked) => Ok(()),
        _ => check_game(hub, &name, uri),
    }
}

/// The same for a request that is known to be about this game.
pub(crate) fn check_game(hub: &Hub, name: &DocumentName, uri: &Uri) -> Result<()> {
    hub.moves().find(name).map_or(Ok(()), |moved| Err(shown_the_way(&elsewhere(&moved), uri)))
}

/// A refusal that names a server in `to`, with the `location` of what was asked for.
pub(crate) fn shown_the_way(refusal: &Error, uri: &Uri) -> Error {
    let to = refusal.details().get("to").and_then(serde_json::Value::as_str).unwrap_or_default();
    let target = uri.path_and_query().map_or(uri.path(), http::uri::PathAndQuery::as_str);
    Error::new(Kind::Moved, refusal.message()).with("to", to).with("location", format!("{to}{target}"))
}
