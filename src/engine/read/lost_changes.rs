//! Changes of volatile documents that have left memory and were nowhere else.

use crate::base::error::Result;
use crate::base::ids::{DocumentName, Seq};
use crate::live::ring::Ring;
use crate::live::topics::Interest;
use crate::store::Reader;

/// Those that somebody may want.
pub(crate) struct LostChanges {
    /// Of whole collections that are followed.
    certain: bool,
    /// Documents that are followed and are in such a collection. Only those that were not stored then are concerned.
    names: Vec<DocumentName>,
    after: Seq,
    /// The last of all.
    pub until: Seq,
}

impl LostChanges {
    /// What `interest` covers and came after `after`.
    pub(crate) fn after(ring: &Ring, interest: &Interest, after: Seq) -> Self {
        let collections = interest.collections.iter().chain(interest.documents.iter().map(|name| &name.collection));
        let until = collections.map(|collection| ring.lost(collection)).max().unwrap_or(Seq::ZERO);
        if until <= after {
            return Self { certain: false, names: Vec::new(), after, until };
        }
        let certain = interest.collections.iter().any(|collection| ring.lost(collection) > after);
        let names = interest.documents.iter().filter(|name| ring.lost(&name.collection) > after);
        Self { certain, names: names.cloned().collect(), after, until }
    }

    /// Whether anything of it was wanted. Error: that of reading.
    pub(crate) fn concerns(&self, reader: &Reader) -> Result<bool> {
        Ok(self.certain || any_not_stored(reader, &self.names, self.after)?)
    }
}

/// Whether any of these documents was not on disk at the place `after` of the log. One that was stays so for good, and
/// never was volatile; one that came there later may be of the same name as one that was. Error: that of reading.
pub(crate) fn any_not_stored(reader: &Reader, names: &[DocumentName], after: Seq) -> Result<bool> {
    for name in names {
        if reader.stored_since(name)?.is_none_or(|since| since > after) {
            return Ok(true);
        }
    }
    Ok(false)
}
