//! Projects: how the work on a book or a campaign goes. A project is a document of the collection `projects`; chapters,
//! characters, wiki entries and plot loops are documents of their own that name it in `projectId`.
//!
//! In reading order: [`limits`], [`members`] (which documents belong to a project) and [`progress`] are pure; `sql` has
//! the tables; [`hook`] writes them with the change of a document; [`indexing`] looks at documents from before there
//! were these tables; [`saving`] saves what waits; [`routes`] is HTTP.
//!
//! [`consistency`] finds what contradicts itself, and is pure; [`checking`] does so when a project has changed, and
//! keeps what it finds as warnings; [`warning_item`] is how they are shown.

mod checking;
pub(crate) mod consistency;
mod hook;
mod indexing;
pub(crate) mod limits;
pub(crate) mod members;
mod options;
mod problems;
pub(crate) mod progress;
mod routes;
mod saving;
mod sql;
mod warning_item;

use std::sync::Arc;

use crate::base::error::Result;
use crate::feature::{Feature, FeatureContext, FeatureDefinition, ServerParts};

pub(crate) const FEATURE: FeatureDefinition = FeatureDefinition::new("projects", open)
    .with_tables(include_str!("tables.sql"))
    .with_options::<options::ProjectOptions>();

fn open(context: &FeatureContext<'_>, feature: Feature) -> Result<Feature> {
    let remover = routes::deletion::ProjectRemover { api: context.api.clone() };
    let options: options::ProjectOptions = context.options.get();
    let checker = checking::Checker::new(context.api.clone(), options.check_interval);
    let run = Arc::clone(&checker).run();
    Ok(feature
        .tag("projects", "How the work on a project goes, and what contradicts itself in it.")
        .routes(routes::router(Arc::clone(&checker)))
        .problems(problems::PROBLEMS)
        .problem_members::<routes::warnings::WarningMembers>()
        .hook(hook::ProjectsHook)
        .task(indexing::run)
        .task(saving::run)
        .consumer(checker.consumer())
        .task(|_| run)
        .provides(ServerParts { document_remover: Some(Arc::new(remover)), ..ServerParts::default() }))
}
