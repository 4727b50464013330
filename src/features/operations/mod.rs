//! For whoever runs the server: is it alive, is it well, and its backups.

pub(crate) mod backups;
pub(crate) mod options;
pub(crate) mod routes;
pub(crate) mod upkeep;

use std::sync::Arc;

use crate::base::error::Result;
use crate::feature::{CommandParts, Feature, FeatureContext, FeatureDefinition};

pub(crate) const FEATURE: FeatureDefinition =
    FeatureDefinition::new("operations", open).with_options::<options::BackupOptions>().with_commands(CommandParts {
        backup_folder: Some(|options, data_dir| backups::folder(&options.get(), data_dir)),
        ..CommandParts::NONE
    });

fn open(context: &FeatureContext<'_>, feature: Feature) -> Result<Feature> {
    let backups = backups::Backups::open(&context.options.get(), context.data_dir, context.reader.clone());
    let feature = feature
        .open_to_all(&["/healthz"])
        .routes(routes::router(Arc::clone(&backups), context.public))
        .routes(routes::backups::router(Arc::clone(&backups), context.jobs.clone()))
        .routes(routes::jobs::router(context.jobs.clone()))
        .routes(routes::consumers::router(context.consumers.clone()));
    Ok(feature.job(upkeep::trim_job(context.history)).job(upkeep::optimize_job()).job(backups.job()))
}
