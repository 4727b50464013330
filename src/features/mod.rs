//! Rank 6: what the server can do, one folder per capability, none of which knows another. A feature is taken out by
//! deleting its folder, its two lines here, its part of `schema.sql` and its tests.

pub(crate) mod client_errors;
pub(crate) mod collection_deletions;
pub(crate) mod conflicts;
pub(crate) mod dashboard;
pub(crate) mod documents;
pub(crate) mod encounters;
pub(crate) mod flags;
pub(crate) mod games;
pub(crate) mod guide;
pub(crate) mod interactions;
pub(crate) mod invitations;
pub(crate) mod messages;
pub(crate) mod notifications;
pub(crate) mod operations;
pub(crate) mod projects;
pub(crate) mod rate_limits;
pub(crate) mod reconciliation;
pub(crate) mod service_tokens;
pub(crate) mod sessions;
pub(crate) mod static_files;
pub(crate) mod usage;
pub(crate) mod web_client;

use std::collections::HashMap;
use std::sync::Arc;

use crate::base::options::AnyOptionSet;
use crate::document::rules::Rules;
use crate::feature::{CommandParts, FeatureDefinition};

/// All features, in the order in which their options are listed and their hooks are called.
pub(crate) static DEFINITIONS: &[FeatureDefinition] = &[
    games::FEATURE,
    rate_limits::FEATURE,
    reconciliation::FEATURE,
    sessions::FEATURE,
    service_tokens::FEATURE,
    invitations::FEATURE,
    usage::FEATURE,
    conflicts::FEATURE,
    notifications::FEATURE,
    projects::FEATURE,
    messages::FEATURE,
    operations::FEATURE,
    dashboard::FEATURE,
    guide::FEATURE,
    flags::FEATURE,
    documents::FEATURE,
    collection_deletions::FEATURE,
    client_errors::FEATURE,
    web_client::FEATURE,
    static_files::FEATURE,
];

/// Words that no collection is called whatever features there are: the calls of administrators are there.
pub(crate) const RESERVED: &[&str] = &["admin"];

/// What commands of the program need of each feature.
pub(crate) fn commands() -> impl Iterator<Item = &'static CommandParts> {
    DEFINITIONS.iter().map(|feature| &feature.commands)
}

/// The options of all features, at their defaults.
pub(crate) fn option_sets() -> impl Iterator<Item = Box<dyn AnyOptionSet>> {
    DEFINITIONS.iter().filter_map(|feature| feature.options).map(|defaults| defaults())
}

/// The rules of collections that have some unless an embedder brings others.
pub(crate) fn built_in_rules() -> HashMap<String, Arc<dyn Rules>> {
    let own: [(&str, Arc<dyn Rules>); 2] = [
        ("encounters", Arc::new(encounters::rules::EncounterRules)),
        ("interactions", Arc::new(interactions::rules::InteractionRules)),
    ];
    own.into_iter().map(|(collection, rules)| (collection.to_owned(), rules)).collect()
}
