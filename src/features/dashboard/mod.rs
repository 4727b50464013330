//! The dashboard: what people see who open the server's address. [`bundle`] makes one script of the modules that every
//! screen needs; [`routes`] serves the page, its files in `src/web/dashboard`, and who follows what.

mod bundle;
pub(crate) mod routes;

use crate::base::error::Result;
use crate::feature::{Feature, FeatureContext, FeatureDefinition};

pub(crate) const FEATURE: FeatureDefinition = FeatureDefinition::new("dashboard", open);

fn open(context: &FeatureContext<'_>, feature: Feature) -> Result<Feature> {
    let ruled = routes::front_page::RuledCollections::new(context.rules);
    Ok(feature
        .open_to_all(&["/_/favicon.svg", "/favicon.ico", "/favicon.svg"])
        .open_to_credentials(&["/", "/_", "/_/"])
        .routes(routes::front_page::router(ruled, context.public.is_some()))
        .routes(routes::router()))
}
