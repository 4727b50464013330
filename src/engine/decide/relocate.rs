//! Steps of moving documents between servers. What is decided here is not stored by the engine: the feature that moves
//! documents does that, and gives it back at the next start.

use std::sync::Arc;

use super::Decider;
use crate::base::error::{Error, Kind, Result};
use crate::base::ids::DocumentName;
use crate::document::chain::Position;
use crate::document::model::Document;
use crate::engine::refusal::check_persistent;
use crate::engine::request::{Relocation, RelocationStep};
use crate::live::relocations::MovedDocument;

impl Decider<'_> {
    /// Takes a step. Returns the newest version of a document that is frozen by it. Errors: see [`RelocationStep`].
    pub(crate) fn relocate(&mut self, name: &DocumentName, step: RelocationStep) -> Result<Option<Arc<Document>>> {
        use RelocationStep::{Activate, CancelExpected, Expect, Freeze, MoveTo, Unfreeze};
        let before = self.state.relocations.get(name).cloned();
        let after = match (step, before) {
            (Freeze, _) => return self.freeze(name).map(Some),
            (MoveTo(to), Some(Relocation::Frozen)) => {
                let position = self.load(name)?.map_or(Position::Start, |cached| cached.document.position());
                let problems = self.state.relocations.problems();
                let moved = Arc::new(MovedDocument { name: name.clone(), to, position, problems });
                self.hub.document_left(Arc::clone(&moved));
                Some(Relocation::Moved(moved))
            }
            (Expect(_), Some(Relocation::Frozen)) => return self.state.relocations.check(name).map(|()| None),
            (Expect(id), None) => {
                if self.load(name)?.is_some() {
                    return Err(Error::new(Kind::AlreadyExists, format!("{name} is, or was, on this server")));
                }
                Some(Relocation::Expected { id, left: None })
            }
            (Expect(id), Some(Relocation::Moved(left))) => Some(Relocation::Expected { id, left: Some(left) }),
            (Expect(id), Some(Relocation::Expected { left, .. })) => Some(Relocation::Expected { id, left }),
            (CancelExpected(id), Some(Relocation::Expected { id: known, left })) if id == known => {
                left.map(Relocation::Moved)
            }
            (Activate(id), Some(Relocation::Expected { id: known, left })) if id == known => {
                if left.is_some() {
                    self.hub.document_returned(name);
                }
                None
            }
            (Unfreeze, Some(Relocation::Frozen)) => None,
            // Said again, or of an attempt that another has replaced.
            (Unfreeze | MoveTo(_) | CancelExpected(_) | Activate(_), _) => return Ok(None),
        };
        self.state.relocations.set(name, after);
        Ok(None)
    }

    fn freeze(&mut self, name: &DocumentName) -> Result<Arc<Document>> {
        self.state.relocations.check(name)?;
        let document = self.load_live(name)?.document;
        check_persistent(&document)?;
        self.state.relocations.set(name, Some(Relocation::Frozen));
        Ok(document)
    }
}
