//! For whoever runs the server: is it alive, is it well, what is it.

pub(crate) mod routes;
pub(crate) mod upkeep;

use crate::base::error::Result;
use crate::feature::{Feature, FeatureContext, FeatureDefinition};

pub(crate) const FEATURE: FeatureDefinition = FeatureDefinition::new("operations", open);

fn open(context: &FeatureContext<'_>, feature: Feature) -> Result<Feature> {
    let feature = feature
        .routes(routes::router())
        .routes(routes::front::router(routes::front::RuledCollections::new(context.rules)))
        .routes(routes::jobs::router(context.jobs.clone()));
    Ok(feature.job(upkeep::trim_job(context.history)).job(upkeep::optimize_job()))
}
