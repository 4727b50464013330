//! Service tokens: what scripts and bots of the server's owner show. They do not expire and are ended one by one.
//!
//! [`rules`] (what a token is and reaches) is pure; [`table`] has them in memory and lets requests in; `sql` has them
//! on disk; [`service`] keeps both the same; [`routes`] is HTTP.

pub(crate) mod limits;
pub(crate) mod problems;
pub(crate) mod routes;
pub(crate) mod rules;
pub(crate) mod service;
pub(crate) mod sql;
pub(crate) mod table;

use std::sync::Arc;

use self::service::{ServiceTokenRows, ServiceTokenStore, ServiceTokensHook};
use crate::base::error::Result;
use crate::feature::{CommandParts, Feature, FeatureContext, FeatureDefinition, ServerParts};

pub(crate) const FEATURE: FeatureDefinition = FeatureDefinition::new("service-tokens", open)
    .with_tables(include_str!("tables.sql"))
    .with_commands(CommandParts {
        end_as_in: Some(|restored, replaced, _| sql::end_as_in(restored, replaced)),
        ..CommandParts::NONE
    });

fn open(context: &FeatureContext<'_>, feature: Feature) -> Result<Feature> {
    let store = ServiceTokenStore::restore(context.reader, context.api.engine.clone(), Arc::clone(&context.api.clock))?;
    let (kept, last) = (store.clone(), store.clone());
    let table = Some(Arc::clone(&store.table) as _);
    Ok(feature
        .reserves(&["service-tokens"])
        .problems(problems::PROBLEMS)
        .hook(ServiceTokensHook)
        .memory_rows(ServiceTokenRows(store.clone()))
        .routes(routes::router(store))
        .task(move |_| kept.keep())
        .close(move || async move { last.store().await })
        .provides(ServerParts { service_tokens: table, ..ServerParts::default() }))
}
