//! Serves the JavaScript client of `src/web/client`, so that a page needs nothing but a `<script type="module">`.

pub(crate) mod routes;

use crate::base::error::Result;
use crate::feature::{Feature, FeatureContext, FeatureDefinition};

pub(crate) const FEATURE: FeatureDefinition = FeatureDefinition::new("web-client", open);

fn open(_: &FeatureContext<'_>, feature: Feature) -> Result<Feature> {
    Ok(feature.open_to_all(&["/client"]).routes(routes::router()))
}
