//! The documents that take no changes because they are moved between servers.

use std::collections::HashMap;

use crate::base::error::Result;
use crate::base::ids::{Collection, DocumentName};
use crate::engine::refusal::moved_elsewhere;
use crate::engine::request::Relocation;
use crate::live::relocations::RelocationProblems;

/// See the module. One entry for each document that is being relocated or has moved, which the feature that moves
/// documents bounds and stores; hooks give them back at the next start.
#[derive(Clone, Debug, Default)]
pub(crate) struct Relocations {
    relocations: HashMap<DocumentName, Relocation>,
    problems: RelocationProblems,
}

impl Relocations {
    /// `problems` are what changes of these documents are refused with.
    pub(crate) fn new(
        relocations: impl IntoIterator<Item = (DocumentName, Relocation)>,
        problems: RelocationProblems,
    ) -> Self {
        Self { relocations: relocations.into_iter().collect(), problems }
    }

    pub(crate) fn problems(&self) -> RelocationProblems {
        self.problems
    }

    pub(crate) fn get(&self, name: &DocumentName) -> Option<&Relocation> {
        self.relocations.get(name)
    }

    /// Sets how a document is relocated; `None`: it is here and takes changes.
    pub(crate) fn set(&mut self, name: &DocumentName, relocation: Option<Relocation>) {
        match relocation {
            Some(relocation) => self.relocations.insert(name.clone(), relocation),
            None => self.relocations.remove(name),
        };
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Relocation> {
        self.relocations.values()
    }

    /// A document of this collection that is on its way from or to another server.
    pub(crate) fn moving_in(&self, collection: &Collection) -> Option<DocumentName> {
        let moves = |relocation: &Relocation| !matches!(relocation, Relocation::Moved(_));
        let mut found =
            self.relocations.iter().filter(|(name, relocation)| name.collection == *collection && moves(relocation));
        found.next().map(|(name, _)| name.clone())
    }

    /// Refuses a change. Error: `Frozen`, `Moved`.
    pub(crate) fn check(&self, name: &DocumentName) -> Result<()> {
        if self.relocations.is_empty() {
            return Ok(());
        }
        match self.relocations.get(name) {
            None => Ok(()),
            Some(Relocation::Frozen) => {
                Err(self.problems.frozen_error(format!("{name} is about to move to another server")))
            }
            Some(Relocation::Expected { .. }) => {
                Err(self.problems.frozen_error(format!("{name} is on its way here from another server")))
            }
            Some(Relocation::Moved(moved)) => Err(moved_elsewhere(moved)),
        }
    }
}
