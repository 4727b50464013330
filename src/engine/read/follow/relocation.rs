//! Documents that go to other servers and come back, as a follower is told of them.

use super::{Follow, Item, Reason};
use crate::base::error::Result;
use crate::live::relocations::{LoggedEvent, RelocationEvent};

impl Follow {
    /// A document that went to another server, which takes no changes any more, and all of them are told; or one that
    /// came back.
    pub(super) async fn next_relocation(&mut self) -> Result<Option<Item>> {
        loop {
            while let Some(moved) = self.moved_before.last().cloned() {
                let told = self.reads.hub.relocations().is_current(&moved) && self.may_read(&moved.name).await?;
                self.moved_before.pop();
                if told {
                    return Ok(Some(Item::Moved(moved)));
                }
            }
            let Some(event) = self.reads.hub.relocations().get(self.relocations_read) else { return Ok(None) };
            let interest = self.subscription.interest();
            match event {
                LoggedEvent::Kept(RelocationEvent::Left(moved)) => {
                    let current = interest.covers(&moved.name) && self.reads.hub.relocations().is_current(&moved);
                    let told = current && self.may_read(&moved.name).await?;
                    self.relocations_read += 1;
                    if told {
                        return Ok(Some(Item::Moved(moved)));
                    }
                }
                LoggedEvent::Kept(RelocationEvent::Returned(name)) => {
                    // What changed elsewhere is told already, as changes. Whoever let go of the document has it here.
                    let told = interest.covers(&name) && self.may_read(&name).await?;
                    let item = if told { Some(self.snapshot_anew(Reason::Returned).await?) } else { None };
                    self.relocations_read += 1;
                    if item.is_some() {
                        return Ok(item);
                    }
                }
                LoggedEvent::Dropped => {
                    let (moved, read) = self.reads.hub.relocations().present(|name| interest.covers(name));
                    let item = self.snapshot_anew(Reason::Returned).await?;
                    (self.moved_before, self.relocations_read) = (moved, read);
                    return Ok(Some(item));
                }
            }
        }
    }
}
