//! Notifications: what people are told of changes that concern them, as the rules of their collections say. A row per
//! recipient is stored with the change, told on all of the recipient's streams, and told again to whoever was away.
//!
//! In reading order: [`rules`] (a notification, and what of them people want: pure), `sql` (the tables), [`hook`] (rows
//! with the change), [`store`] (what was missed), [`routes`].

mod hook;
pub(crate) mod limits;
mod routes;
mod rules;
mod sql;
mod store;

use std::sync::Arc;

use crate::base::error::Result;
use crate::feature::{Feature, FeatureContext, FeatureDefinition};

pub(crate) const FEATURE: FeatureDefinition =
    FeatureDefinition::new("notifications", open).with_tables(include_str!("tables.sql"));

fn open(context: &FeatureContext<'_>, feature: Feature) -> Result<Feature> {
    let (rules, entropy) = (Arc::new(context.rules.clone()), Arc::clone(&context.api.entropy));
    let store = store::NotificationStore { api: context.api.clone() };
    Ok(feature
        .tag("notifications", "What people are told of changes that concern them.")
        .reserves(&["notifications"])
        .open_to_credentials(&["/api/v1/notifications", "/api/v1/notifications/"])
        .routes(routes::router())
        .hook(hook::NotificationsHook { rules, entropy })
        .message_store(Arc::new(store)))
}
