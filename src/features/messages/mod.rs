//! Messages without history: what people who follow a document tell each other beside its changes, such as pointers, a
//! token that is being dragged, or that somebody types. Streams carry them; nothing stores them.
//!
//! In reading order: [`rules`] (what a message is, and how many somebody may send: pure), [`routes`].

pub(crate) mod limits;
mod options;
mod routes;
mod rules;

use self::options::MessageOptions;
use crate::base::error::Result;
use crate::feature::{Feature, FeatureContext, FeatureDefinition};

pub(crate) const FEATURE: FeatureDefinition = FeatureDefinition::new("messages", open).with_options::<MessageOptions>();

fn open(context: &FeatureContext<'_>, feature: Feature) -> Result<Feature> {
    let MessageOptions { per_second } = context.options.get();
    Ok(feature.routes(routes::router(per_second)))
}
