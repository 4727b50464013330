//! Invitations: links by which people come in, to some documents or to all, with a name and maybe a place there.
//!
//! [`rules`] (what an invitation is, what may be asked for, when it is good) and [`link`] (where it leads) are pure;
//! `sql` has the tables; [`creation`] makes them, [`exchange`] lets people in by them, [`service`] looks at them and
//! ends them; [`volatile`] knows what belongs to documents in memory; [`routes`] is HTTP, with the page at `/join`.

pub(crate) mod creation;
pub(crate) mod exchange;
pub(crate) mod limits;
pub(crate) mod link;
pub(crate) mod problems;
pub(crate) mod routes;
pub(crate) mod rules;
pub(crate) mod service;
pub(crate) mod sql;
pub(crate) mod volatile;

use std::sync::Arc;

use self::volatile::VolatileDocuments;
use crate::base::error::Result;
use crate::feature::{CommandParts, Feature, FeatureContext, FeatureDefinition};

pub(crate) const FEATURE: FeatureDefinition = FeatureDefinition::new("invitations", open)
    .with_tables(include_str!("tables.sql"))
    .with_commands(CommandParts { end_as_in: Some(sql::end_as_in), ..CommandParts::NONE });

fn open(context: &FeatureContext<'_>, feature: Feature) -> Result<Feature> {
    for (user, name) in context.reader.rows(sql::people::all)? {
        context.api.names.set(user, &name);
    }
    let volatile = Arc::<VolatileDocuments>::default();
    Ok(feature
        .reserves(&["invitations"])
        .tag("invitations", "Letting people in by a link.")
        .open_to_all(&["/join", "/api/v1/invitations/exchange", "/api/v1/invitations/look"])
        .problems(problems::PROBLEMS)
        .hook(service::InvitationsHook { volatile: Arc::clone(&volatile) })
        .job(service::cleanup_job(context.api.engine.clone(), Arc::clone(&context.api.names)))
        .routes(routes::router(volatile)))
}
