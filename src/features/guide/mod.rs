//! Serves the chapters of [`crate::guide`] as pages.

mod markdown;
pub(crate) mod routes;

use crate::base::error::Result;
use crate::feature::{Feature, FeatureContext, FeatureDefinition};

pub(crate) const FEATURE: FeatureDefinition = FeatureDefinition::new("guide", open);

fn open(_: &FeatureContext<'_>, feature: Feature) -> Result<Feature> {
    Ok(feature.routes(routes::router()))
}
