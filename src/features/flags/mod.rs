//! Which parts of the server are turned on.

pub(crate) mod routes;

use crate::base::error::Result;
use crate::feature::{Feature, FeatureContext, FeatureDefinition};

pub(crate) const FEATURE: FeatureDefinition = FeatureDefinition::new("flags", open);

fn open(context: &FeatureContext<'_>, feature: Feature) -> Result<Feature> {
    Ok(feature.routes(routes::router(&context.flags)))
}
