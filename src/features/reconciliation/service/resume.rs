//! What a stream begins with, and how one goes on that was away.

use tracing::warn;

use super::Reconciliation;
use crate::features::reconciliation::audit::{DetailLevel, EventId};
use crate::features::reconciliation::limits::RECONCILIATION_REPLAY_MAX;
use crate::features::reconciliation::sql;
use crate::features::reconciliation::sql::audit::MissedEntries;
use crate::store::Reader;

/// What a stream begins with.
#[derive(Debug)]
pub(crate) struct StreamStart {
    /// Why what came after the last event cannot be told, where it cannot.
    pub reason: Option<&'static str>,
    /// What is told first: the serialised updates.
    pub frames: Vec<bytes::Bytes>,
    /// The cursor after them.
    pub cursor: u64,
}

impl Reconciliation {
    /// What a stream tells first: the verdicts in force to whoever is new, what was missed to whoever comes back.
    /// Whoever cannot be told what they missed gets the verdicts in force, and the reason.
    pub(crate) async fn open(&self, last_event_id: Option<&str>, detail: DetailLevel) -> StreamStart {
        let reason = match last_event_id {
            None => None,
            Some(text) => match self.catch_up(text, detail).await {
                Ok(opening) => return opening,
                Err(reason) => Some(reason),
            },
        };
        let (latest, cursor) = self.feed.start();
        StreamStart { reason, frames: latest.iter().map(|update| update.frame(detail)).collect(), cursor }
    }

    async fn catch_up(&self, last_event_id: &str, detail: DetailLevel) -> Result<StreamStart, &'static str> {
        let id = EventId::parse(last_event_id).ok_or("diverged")?;
        let after = self.position_of(&id).ok_or("diverged")?;
        self.missed_after(after, detail).await
    }

    /// After which place whoever saw `id` last is to be told. `None`: nobody here gave that id.
    fn position_of(&self, id: &EventId) -> Option<u64> {
        if id.run == *self.feed.run() {
            return (id.seq > self.last_before && id.seq <= self.feed.start().1).then_some(id.seq);
        }
        let index = self.runs.iter().position(|(_, run)| run == id.run.as_str())?;
        let (first, _) = self.runs.get(index)?;
        // Places that a run gave out and did not store were given out again by the next.
        let last = self.runs.get(index + 1).map_or(self.last_before, |(next, _)| next.saturating_sub(1));
        (id.seq >= *first).then(|| id.seq.min(last))
    }

    /// What comes after `cursor`, which is too old for memory.
    pub(crate) async fn behind(&self, cursor: u64, detail: DetailLevel) -> StreamStart {
        match self.missed_after(cursor, detail).await {
            Ok(opening) => opening,
            Err(reason) => {
                let opening = self.open(None, detail).await;
                StreamStart { reason: Some(reason), ..opening }
            }
        }
    }

    async fn missed_after(&self, after: u64, detail: DetailLevel) -> Result<StreamStart, &'static str> {
        let floor = self.feed.oldest_dropped();
        if after >= floor {
            return Ok(StreamStart { reason: None, frames: Vec::new(), cursor: after });
        }
        let question = move |reader: &Reader| {
            reader.rows(|conn| sql::audit::missed(conn, after, floor, RECONCILIATION_REPLAY_MAX))
        };
        match self.parts.reads.read(question).await {
            Ok(MissedEntries::Rows(rows)) => {
                let frames = rows.iter().map(|row| row.frame(detail)).collect();
                Ok(StreamStart { reason: None, frames, cursor: floor })
            }
            Ok(MissedEntries::Trimmed) => Err("trimmed"),
            Ok(MissedEntries::TooMany) => Err("too-many"),
            Err(error) => {
                warn!(%error, "missed updates of reconciliation cannot be read");
                Err("unavailable")
            }
        }
    }
}
