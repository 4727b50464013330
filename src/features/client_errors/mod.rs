//! Client errors: what went wrong in browsers, for whoever runs the server.
//!
//! In reading order: [`limits`] (the bounds), [`rules`] (what is kept of an error, and how many may be told: pure),
//! `sql` (the table), [`routes`].

pub(crate) mod limits;
pub(crate) mod routes;
pub(crate) mod rules;
pub(crate) mod sql;

use crate::base::error::Result;
use crate::feature::{Feature, FeatureContext, FeatureDefinition};

pub(crate) const FEATURE: FeatureDefinition = FeatureDefinition::new("client-errors", open);

fn open(_: &FeatureContext<'_>, feature: Feature) -> Result<Feature> {
    Ok(feature.routes(routes::router()))
}
