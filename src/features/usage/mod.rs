//! How much each user may create: subscriptions, what they created in the period that runs, and the job that begins the
//! next one.
//!
//! In reading order: [`problems`], [`rules`] (periods and limits, pure), [`sql`] (the tables `subscriptions` and
//! `usage_counters`), [`service`] (counting with the creation, through the engine's [hooks](crate::engine::hooks)),
//! [`reset`] (the job `usage-reset`), [`routes`].
//!
//! What counts is the creation, by whatever call, of a document of `parties`, `encounters` or `creatures`: deleting
//! gives nothing back, and creating a deleted one again counts again. The owner of the server is counted and never
//! limited.

pub(crate) mod options;
pub(crate) mod problems;
pub(crate) mod reset;
pub(crate) mod routes;
pub(crate) mod rules;
pub(crate) mod service;
pub(crate) mod sql;
#[cfg(test)]
mod tests;

use self::options::{Environment, UsageOptions};
use crate::base::error::Result;
use crate::feature::{Feature, FeatureContext, FeatureDefinition};

pub(crate) const FEATURE: FeatureDefinition = FeatureDefinition::new("usage", open).with_options::<UsageOptions>();

fn open(context: &FeatureContext<'_>, feature: Feature) -> Result<Feature> {
    let UsageOptions { parties, encounters, creatures, environment } = context.options.get();
    let usage = service::Usage { defaults: rules::Limits { parties, encounters, creatures } };
    let production = environment == Environment::Production;
    Ok(feature
        .tag("usage", "How much each user may create.")
        .reserves(&["usage"])
        .routes(routes::router(usage))
        .change_problem(&problems::QUOTA_EXCEEDED)
        .problem_members::<routes::QuotaMembers>()
        .hook(usage)
        .job(reset::reset_job(production)))
}
