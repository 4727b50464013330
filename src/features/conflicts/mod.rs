//! Working offline: a device that was away brings its edits, which are merged with what came meanwhile; what both
//! changed and no rule decides is kept for a person.
//!
//! In reading order: [`options`], [`rules`] (what is told and kept of a merge: pure), `sql` (the table), [`item`] (a
//! conflict as it is told), [`hook`] (rows that are stored with the change they belong to), [`store`] (what streams
//! missed), [`sync`] and [`resolve`] (the two changes), [`routes`].

pub(crate) mod hook;
mod item;
pub(crate) mod options;
pub(crate) mod problems;
mod resolve;
pub(crate) mod routes;
pub(crate) mod rules;
pub(crate) mod sql;
mod store;
mod sync;

use std::sync::Arc;

use self::options::ConflictOptions;
use crate::base::error::Result;
use crate::feature::{Feature, FeatureContext, FeatureDefinition};

pub(crate) const FEATURE: FeatureDefinition =
    FeatureDefinition::new("conflicts", open).with_options::<ConflictOptions>();

fn open(context: &FeatureContext<'_>, feature: Feature) -> Result<Feature> {
    let configured = context.options.get::<ConflictOptions>().by_collection();
    let merging = sync::MergeSettings { rules: Arc::new(context.rules.clone()), configured: Arc::new(configured) };
    let store = store::ConflictStore { api: context.api.clone() };
    Ok(feature
        .tag("conflicts", "Edits that were made offline, and what of them is left to a person.")
        .reserves(&["conflicts"])
        .routes(routes::router(merging))
        .problems(problems::PROBLEMS)
        .hook(hook::ConflictsHook)
        .message_store(Arc::new(store)))
}
