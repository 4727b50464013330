//! Invitations: links by which people come in, to some documents or to all, with a name and maybe a place there.
//!
//! [`rules`] (what an invitation is, what may be asked for, when it is good) and [`link`] (where it leads) are pure;
//! `sql` has the tables; [`creation`] makes them, [`exchange`] lets people in by them, [`service`] looks at them and
//! ends them; [`routes`] is HTTP, with the page at `/join`.

pub(crate) mod creation;
pub(crate) mod exchange;
pub(crate) mod limits;
pub(crate) mod link;
pub(crate) mod problems;
pub(crate) mod routes;
pub(crate) mod rules;
pub(crate) mod service;
pub(crate) mod sql;

use crate::base::error::Result;
use crate::feature::{Feature, FeatureContext, FeatureDefinition};

pub(crate) const FEATURE: FeatureDefinition =
    FeatureDefinition::new("invitations", open).with_tables(include_str!("tables.sql"));

fn open(context: &FeatureContext<'_>, feature: Feature) -> Result<Feature> {
    for (user, name) in context.reader.rows(sql::people::all)? {
        context.api.names.set(user, &name);
    }
    Ok(feature
        .reserves(&["invitations"])
        .tag("invitations", "Letting people in by a link.")
        .open_to_all(&["/join", "/api/v1/invitations/exchange", "/api/v1/invitations/look"])
        .problems(problems::PROBLEMS)
        .hook(service::InvitationsHook)
        .job(service::cleanup_job(context.api.engine.clone()))
        .routes(routes::router()))
}
