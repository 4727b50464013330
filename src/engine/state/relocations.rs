//! The documents that take no changes because they are moved between servers.

use std::collections::HashMap;

use crate::base::error::{Error, Kind, Result};
use crate::base::ids::DocumentName;
use crate::engine::refusal::moved_elsewhere;
use crate::engine::request::Relocation;

/// See the module. One entry for each document that is being relocated or has moved, which the feature that moves
/// documents bounds and stores; hooks give them back at the next start.
#[derive(Clone, Debug, Default)]
pub(crate) struct Relocations(HashMap<DocumentName, Relocation>);

impl Relocations {
    pub(crate) fn get(&self, name: &DocumentName) -> Option<&Relocation> {
        self.0.get(name)
    }

    /// Sets how a document is relocated; `None`: it is here and takes changes.
    pub(crate) fn set(&mut self, name: &DocumentName, relocation: Option<Relocation>) {
        match relocation {
            Some(relocation) => self.0.insert(name.clone(), relocation),
            None => self.0.remove(name),
        };
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Relocation> {
        self.0.values()
    }

    /// Refuses a change. Error: `Frozen`, `Moved`.
    pub(crate) fn check(&self, name: &DocumentName) -> Result<()> {
        if self.0.is_empty() {
            return Ok(());
        }
        match self.0.get(name) {
            None => Ok(()),
            Some(Relocation::Frozen) => {
                Err(Error::new(Kind::Frozen, format!("{name} is about to move to another server")))
            }
            Some(Relocation::Expected { .. }) => {
                Err(Error::new(Kind::Frozen, format!("{name} is on its way here from another server")))
            }
            Some(Relocation::Moved(moved)) => Err(moved_elsewhere(moved)),
        }
    }
}

impl FromIterator<(DocumentName, Relocation)> for Relocations {
    fn from_iter<I: IntoIterator<Item = (DocumentName, Relocation)>>(relocations: I) -> Self {
        Self(relocations.into_iter().collect())
    }
}
