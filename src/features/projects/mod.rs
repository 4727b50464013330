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
mod problems;
pub(crate) mod progress;
mod routes;
mod saving;
mod sql;

use std::sync::Arc;

use crate::base::error::Result;
use crate::feature::{Feature, FeatureContext, FeatureDefinition, ServerParts};

pub(crate) const FEATURE: FeatureDefinition =
    FeatureDefinition::new("projects", open).with_tables(include_str!("tables.sql"));

fn open(context: &FeatureContext<'_>, feature: Feature) -> Result<Feature> {
    let remover = routes::deletion::ProjectRemover { api: context.api.clone() };
    Ok(feature
        .tag("projects", "How the work on a project goes.")
        .routes(routes::router())
        .problems(problems::PROBLEMS)
        .hook(hook::ProjectsHook)
        .task(indexing::run)
        .task(saving::run)
        .provides(ServerParts { document_remover: Some(Arc::new(remover)), ..ServerParts::default() }))
}
