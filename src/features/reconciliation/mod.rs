//! Reconciliation: what should be is compared with what is, and each verdict is recorded and told.
//!
//! In reading order: [`limits`] (the bounds), [`verdict`] (what a comparison says), [`self_check`] (memory against
//! disk), [`repair`], [`scrub`] (doing that all the time and when asked), [`audit`] (what is recorded of it and how it
//! is told), [`external`] (services that report, pure), [`stream`] (what dashboards read), [`sql`] (the tables),
//! [`service`] (recording, reports, staleness), [`trim`] (the job that bounds the audit), [`routes`].

pub(crate) mod audit;
pub(crate) mod external;
pub(crate) mod limits;
pub(crate) mod options;
pub(crate) mod problems;
pub(crate) mod repair;
pub(crate) mod routes;
pub(crate) mod scrub;
pub(crate) mod self_check;
pub(crate) mod service;
#[cfg(test)]
mod service_tests;
pub(crate) mod sql;
pub(crate) mod stream;
pub(crate) mod trim;
pub(crate) mod verdict;

use std::sync::Arc;

use self::options::ReconciliationOptions;
use self::scrub::SharedComparer;
use self::self_check::Comparer;
use self::service::{Reconciliation, ReconciliationParts};
use crate::base::error::Result;
use crate::base::options::days;
use crate::feature::{Feature, FeatureContext, FeatureDefinition};

pub(crate) const FEATURE: FeatureDefinition =
    FeatureDefinition::new("reconciliation", open).with_options::<ReconciliationOptions>();

fn open(context: &FeatureContext<'_>, feature: Feature) -> Result<Feature> {
    let ReconciliationOptions { interval, scrub_kib, days: days_kept, rows_max } = context.options.get();
    let api = context.api;
    let comparer = SharedComparer::new(Comparer::new(
        api.engine.clone(),
        api.reads.clone(),
        Arc::clone(&api.health),
        Arc::clone(&context.memory_rows),
    ));
    let parts = ReconciliationParts {
        engine: api.engine.clone(),
        reads: api.reads.clone(),
        clock: Arc::clone(&api.clock),
        comparing: Arc::new(comparer.clone()),
        rows_max,
    };
    let reconciliation = Reconciliation::new(parts, Reconciliation::beginning(context.reader)?, &*api.entropy);
    let (looking, comparing, told) =
        (Arc::clone(&reconciliation), Arc::clone(&reconciliation), Arc::clone(&reconciliation));
    Ok(feature
        .tag("reconciliation", "Comparing what should be with what is.")
        .routes(routes::router(Arc::clone(&reconciliation)))
        .routes(routes::repair::router(comparer.clone(), Arc::clone(&reconciliation)))
        .problems(problems::PROBLEMS)
        .task(|_| looking.run_report_checks())
        .task(move |_| comparing.run_comparisons(interval))
        .task(move |_| comparer.run_scrub(told, scrub_kib * 1024))
        .job(trim::trim_job(reconciliation, days(days_kept), rows_max)))
}
