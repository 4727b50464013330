//! Deleting a whole collection: asked for in one call and carried out by a job, document by document, each with a
//! delete event of its own.
//!
//! In reading order: `sql` (the table), [`job`] (the deletions that are asked for, one after the other), [`routes`].

mod job;
pub(crate) mod limits;
mod problems;
mod routes;
mod sql;

use std::sync::Arc;

use tokio::sync::Notify;

use crate::base::error::Result;
use crate::feature::{Feature, FeatureContext, FeatureDefinition};

pub(crate) const FEATURE: FeatureDefinition =
    FeatureDefinition::new("collection-deletions", open).with_tables(include_str!("tables.sql"));

fn open(context: &FeatureContext<'_>, feature: Feature) -> Result<Feature> {
    let (requested, jobs) = (Arc::new(Notify::new()), context.jobs.clone());
    // What a kill broke off goes on at the start.
    requested.notify_one();
    let waiting = Arc::clone(&requested);
    Ok(feature
        .problem(&problems::COLLECTION_MOVES)
        .job(job::deletion_job())
        .task(move |api| job::run_when_requested(api, jobs, waiting))
        .routes(routes::router(requested)))
}
