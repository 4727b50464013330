//! How much each may ask: limits, who is over theirs, and what administrators can say about it.
//!
//! In reading order: [`rules`] (limits, buckets, which rule applies; pure), [`identity`] (whom a request is counted
//! of), [`ledger`] (everybody's buckets in memory), [`limiter`] (limits and ledger together: one decision), `sql` (the
//! tables), [`service`] (changes, and keeping buckets across restarts), [`rate_limiter`] (the check of each request),
//! [`routes`] (HTTP, for administrators).

pub(crate) mod identity;
pub(crate) mod ledger;
pub(crate) mod limiter;
pub(crate) mod limits;
pub(crate) mod options;
pub(crate) mod rate_limiter;
pub(crate) mod routes;
pub(crate) mod rules;
pub(crate) mod service;
pub(crate) mod sql;

use std::sync::Arc;

use self::options::RateLimitOptions;
use self::service::RateLimits;
use crate::base::error::Result;
use crate::feature::{Feature, FeatureContext, FeatureDefinition, ServerParts};

pub(crate) const FEATURE: FeatureDefinition =
    FeatureDefinition::new("rate limits", open).with_options::<RateLimitOptions>();

fn open(context: &FeatureContext<'_>, feature: Feature) -> Result<Feature> {
    let RateLimitOptions { capacity, refill, window_seconds, administrators } = context.options.get();
    let default = rules::Limit { capacity, refill, window_seconds };
    let (options, api) = (service::RateLimitSettings { default, administrators }, context.api);
    let limits = RateLimits::open(
        options,
        context.reader,
        api.engine.clone(),
        Arc::clone(&api.clock),
        Arc::clone(&api.entropy),
    )?;
    let (saved, last) = (Arc::clone(&limits), Arc::clone(&limits));
    let rate_limiter = Some(Arc::clone(&limits) as _);
    Ok(feature
        .routes(routes::router(limits))
        .task(move |api| saved.keep_saved(api.reads.clone()))
        .close(move || async move { last.save().await })
        .provides(ServerParts { rate_limiter, ..ServerParts::default() }))
}
