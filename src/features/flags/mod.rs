//! Which parts of the server are turned on.

pub(crate) mod routes;

use crate::base::error::Result;
use crate::feature::{Feature, FeatureContext, FeatureDefinition};

pub(crate) const FEATURE: FeatureDefinition = FeatureDefinition::new("flags", open);

fn open(context: &FeatureContext<'_>, feature: Feature) -> Result<Feature> {
    let feature = feature.reserves(&["flags"]).open_to_credentials(&["/api/v1/flags"]);
    Ok(feature.routes(routes::router(&context.flags)))
}
