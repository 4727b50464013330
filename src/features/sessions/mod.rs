//! Sessions: one per device or browser of a user, shown by a token.
//!
//! [`rules`] (whose one is, who may show it, when it ends) is pure; [`scopes`] knows what those reach that were opened
//! for some documents only; [`table`] has them in memory and lets requests in;
//! `sql` has them on disk; [`links`] makes an administrator where the machine alone is no proof; [`service`] keeps both
//! the same; [`routes`] is HTTP.

pub(crate) mod limits;
pub(crate) mod links;
pub(crate) mod opener;
pub(crate) mod options;
pub(crate) mod problems;
pub(crate) mod routes;
pub(crate) mod rules;
pub(crate) mod scopes;
pub(crate) mod service;
pub(crate) mod sql;
pub(crate) mod table;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use self::links::Links;
use self::opener::{Opener, ScopesHook};
use self::options::SessionOptions;
use self::service::{SessionRows, SessionStore, SessionsHook};
use crate::base::error::Result;
use crate::feature::{CommandParts, Feature, FeatureContext, FeatureDefinition, ServerParts};

pub(crate) const FEATURE: FeatureDefinition = FeatureDefinition::new("sessions", open)
    .with_options::<SessionOptions>()
    .with_tables(include_str!("tables.sql"))
    .with_commands(CommandParts {
        administrator_link: Some(links::create),
        end_as_in: Some(|restored, replaced, _| sql::end_as_in(restored, replaced)),
        ..CommandParts::NONE
    });

fn open(context: &FeatureContext<'_>, feature: Feature) -> Result<Feature> {
    let SessionOptions { ttl, idle } = context.options.get();
    let api = context.api;
    let sessions = SessionStore::restore(
        context.reader,
        api.engine.clone(),
        rules::SessionTerms { ttl, idle },
        Arc::clone(&api.clock),
    )?;
    let links = Links::in_directory(context.data_dir);
    let administrator_link = administrator_link(context, &links);
    let (kept, last) = (sessions.clone(), sessions.clone());
    let table = Some(Arc::clone(&sessions.table) as _);
    let session_opener = Some(Arc::new(Opener(sessions.clone())) as _);
    Ok(feature
        .reserves(&["me", "sessions"])
        .open_to_all(&["/login"])
        .open_to_credentials(&["/api/v1/me", "/api/v1/sessions/current"])
        .tag("sessions", "Who one is, and on which devices.")
        .problems(problems::PROBLEMS)
        .hook(SessionsHook)
        .memory_rows(SessionRows(sessions.clone()))
        .hook(ScopesHook { table: Arc::clone(&sessions.table) })
        .job(sessions.cleanup_job())
        .routes(routes::router(sessions, links))
        .task(move |api| kept.run_expiry(Arc::clone(&api.clock_trust)))
        .close(move || async move { last.store().await })
        .provides(ServerParts { sessions: table, session_opener, administrator_link, ..ServerParts::default() }))
}

/// A link for an administrator, where being on this machine makes nobody one. A failure is logged: `rejoin session`
/// makes another.
fn administrator_link(context: &FeatureContext<'_>, links: &Links) -> Option<String> {
    if context.loopback_owner {
        return None;
    }
    let made = links.create(&*context.api.entropy, context.api.clock.now());
    made.inspect_err(|error| tracing::warn!(%error, "no administrator's link can be made")).ok()
}
