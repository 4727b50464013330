//! Documents over HTTP: creating, reading, changing, listing, time travel, history and streams.
//!
//! [`routes`] reads requests (`routes/batch` those of many changes), `routes/writes` turns them into changes and their
//! outcomes into answers, `routes/streams` serves history, long polls and server-sent events. `routes/description` and
//! `routes/schemas` describe all of it to programs. What a change does is decided in `document`, by the engine.

pub(crate) mod limits;
pub(crate) mod routes;

use crate::base::error::Result;
use crate::feature::{Feature, FeatureContext, FeatureDefinition};

pub(crate) const FEATURE: FeatureDefinition = FeatureDefinition::new("documents", open);

fn open(_: &FeatureContext<'_>, feature: Feature) -> Result<Feature> {
    Ok(feature
        .tag("documents", "Creating, reading and changing documents.")
        .tag("streams", "Following documents: server-sent events, history, long polls.")
        .reserves(&["batch", "collections", "stream"])
        .open_to_credentials(&["/api/v1/batch", "/api/v1/stream"])
        .routes(routes::router()))
}
