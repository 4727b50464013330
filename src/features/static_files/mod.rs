//! Serves the files of the folder that the option `public` names: a page of the host's own at `/`.

mod file;
mod folder;
mod html;
mod metadata;
mod operations;
mod path;
mod recent;
mod routes;

use crate::base::error::Result;
use crate::feature::{Feature, FeatureContext, FeatureDefinition, ServerParts};

pub(crate) const FEATURE: FeatureDefinition = FeatureDefinition::new("static-files", open);

fn open(context: &FeatureContext<'_>, feature: Feature) -> Result<Feature> {
    let folder = context.public.map(|path| folder::Folder::new(path.to_owned(), context.private_folders.clone()));
    let public_files = folder.map(routes::service);
    Ok(feature.provides(ServerParts { public_files, ..ServerParts::default() }))
}
