//! Documents over HTTP: creating, reading, changing, listing, time travel, history and streams.
//!
//! [`routes`] reads requests (`routes/batch` those of many changes), `routes/writes` turns them into changes and their
//! outcomes into answers, `routes/streams` serves history, long polls and server-sent events. `routes/description` and
//! `routes/schemas` describe all of it to programs. What a change does is decided in `document`, by the engine.

pub(crate) mod problems;
pub(crate) mod routes;

use crate::base::error::Result;
use crate::feature::{Feature, FeatureContext, FeatureDefinition};

pub(crate) const FEATURE: FeatureDefinition = FeatureDefinition::new("documents", open);

fn open(_: &FeatureContext<'_>, feature: Feature) -> Result<Feature> {
    Ok(feature.routes(routes::router()).problems(problems::PROBLEMS))
}
