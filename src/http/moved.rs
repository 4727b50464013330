//! Games that are on another server now: every request about one is shown the way, whatever it asks.

use http::Uri;

use super::query;
use crate::base::error::{Error, Kind, Result};
use crate::base::ids::DocumentName;
use crate::live::hub::Hub;

/// The paths that are about one game: what follows, up to the next slash, is its id.
const PREFIXES: [&str; 2] = ["/api/v1/games/", "/api/game/"];

/// Refuses a request about a game that is elsewhere. Error: `Moved`, with `to` and the `location` of what was asked for.
pub fn check(hub: &Hub, uri: &Uri) -> Result<()> {
    if hub.moves().count() == 0 {
        return Ok(());
    }
    // Routing undoes the encoding of names too.
    let Some(path) = query::decode(uri.path()) else { return Ok(()) };
    let rest = PREFIXES.iter().find_map(|prefix| path.strip_prefix(prefix));
    let id = rest.and_then(|rest| rest.split('/').next()).unwrap_or_default();
    let Ok(name) = DocumentName::new("games", id) else { return Ok(()) };
    let Some(moved) = hub.moves().find(&name) else { return Ok(()) };
    let target = uri.path_and_query().map_or(path.as_str(), http::uri::PathAndQuery::as_str);
    Err(Error::new(Kind::Moved, format!("{name} is at {} now", moved.to))
        .with("to", moved.to.as_str())
        .with("location", format!("{}{target}", moved.to)))
}
