//! Projects: how the work on a book or a campaign goes. A project is a document of the collection `projects`; chapters,
//! characters, wiki entries and plot loops are documents of their own that name it in `projectId`.
//!
//! In reading order: [`limits`], [`members`] (which documents belong to a project) and [`progress`] are pure; `sql` has
//! the tables; [`hook`] writes them with the change of a document; [`indexing`] looks at documents from before there
//! were these tables; [`saving`] saves what waits; [`routes`] is HTTP.

mod hook;
mod indexing;
pub(crate) mod limits;
pub(crate) mod members;
pub(crate) mod progress;
mod routes;
mod saving;
mod sql;

use crate::base::error::Result;
use crate::feature::{Feature, FeatureContext, FeatureDefinition};

pub(crate) const FEATURE: FeatureDefinition =
    FeatureDefinition::new("projects", open).with_tables(include_str!("tables.sql"));

fn open(_: &FeatureContext<'_>, feature: Feature) -> Result<Feature> {
    Ok(feature
        .tag("projects", "How the work on a project goes.")
        .routes(routes::router())
        .hook(hook::ProjectsHook)
        .task(indexing::run)
        .task(saving::run))
}
