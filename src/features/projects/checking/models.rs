//! The projects that were checked lately, kept so that the next check looks only at what has changed.

use crate::features::projects::consistency::model::ProjectModel;
use crate::features::projects::limits::MODELS_BYTES_MAX;

/// Bounded by bytes: those that were checked longest ago go.
#[derive(Debug, Default)]
pub(super) struct Models(Vec<(String, usize, ProjectModel)>);

impl Models {
    /// Takes a project out.
    pub(super) fn take(&mut self, project: &str) -> Option<ProjectModel> {
        let at = self.0.iter().position(|(name, ..)| name == project)?;
        Some(self.0.remove(at).2)
    }

    /// Keeps a project, if it is not too large.
    pub(super) fn put(&mut self, project: &str, model: ProjectModel) {
        self.0.push((project.to_owned(), model.weight(), model));
        let bytes =
            |models: &[(String, usize, ProjectModel)]| models.iter().map(|(_, weight, _)| weight).sum::<usize>();
        while bytes(&self.0) > MODELS_BYTES_MAX {
            self.0.remove(0);
        }
    }
}
