//! When the WAL is moved into the database.

use std::time::{Duration, Instant};

use rusqlite::Connection;
use tracing::{info, warn};

use crate::base::limits::CHECKPOINT_FRAMES;
use crate::store::connection::BUSY_WAIT;
use crate::store::error::WriteResult;
use crate::store::read::active_reads::ActiveReads;
use crate::store::write::checkpoint::{Checkpoint, Progress, checkpoint};
use crate::store::write::file_watch::FileWatch;

/// WAL frames from which on a checkpoint waits for readers, so that the WAL can start over: with reads that always
/// overlap it would otherwise grow for ever.
const RESTART_FRAMES: u64 = 4 * CHECKPOINT_FRAMES as u64;
/// How long the engine's thread lets a checkpoint wait for readers: they take milliseconds.
pub(crate) const READERS_WAIT: Duration = Duration::from_millis(250);
/// The same while the WAL is past its bound: the checkpoint is tried each second, and long readers are expected.
const SHRINK_WAIT: Duration = Duration::from_millis(20);
const SHRINK_EVERY: Duration = Duration::from_secs(1);
/// Bytes of a frame: a page and its header.
const FRAME_BYTES: u64 = 4096 + 24;

/// When the writer's checkpoints are due, and how large the WAL is.
#[derive(Debug)]
pub(crate) struct Checkpoints {
    /// Frames in the WAL at the last checkpoint that was tried.
    tried_at: u64,
    /// Frames in the WAL at the last one that waited for readers.
    waited_at: u64,
    wal_bytes: u64,
    wal_bytes_max: u64,
    /// How long a read of this process may last while the WAL is past its bound.
    read_age_max: Duration,
    /// When a WAL past its bound was last tried to be emptied; `None`: it is within.
    shrink_tried: Option<Instant>,
}

impl Checkpoints {
    pub(crate) fn new(wal_bytes_max: u64, read_age_max: Duration) -> Self {
        Self { tried_at: 0, waited_at: 0, wal_bytes: 0, wal_bytes_max, read_age_max, shrink_tried: None }
    }

    /// The WAL has started over, or another connection has to say how large it is.
    pub(crate) fn reset(&mut self) {
        (self.tried_at, self.waited_at) = (0, 0);
    }

    /// Bytes of the WAL that are in use, as of the newest look.
    pub(crate) fn wal_bytes(&self) -> u64 {
        self.wal_bytes
    }

    /// The same, when they are more than its bound.
    pub(crate) fn wal_past_bound(&self) -> Option<u64> {
        (self.wal_bytes > self.wal_bytes_max).then_some(self.wal_bytes)
    }

    pub(crate) fn run_if_due(&mut self, conn: &Connection, reads: &ActiveReads, watch: &mut FileWatch) -> WriteResult {
        let Progress { frames, moved, .. } = self.try_checkpoint(conn, Checkpoint::Ask, watch)?;
        if self.wal_past_bound().is_some() {
            return self.shrink(conn, reads, watch);
        }
        if self.shrink_tried.take().is_some() {
            info!("the WAL is within its bound again");
        }
        if frames < self.tried_at {
            self.reset();
        }
        if frames.saturating_sub(moved.max(self.tried_at)) < u64::from(CHECKPOINT_FRAMES) {
            return Ok(());
        }
        self.tried_at = frames;
        // Writes wait meanwhile. A long reader must not make that happen at each checkpoint.
        if frames < RESTART_FRAMES.max(self.waited_at.saturating_mul(2)) {
            return self.try_checkpoint(conn, Checkpoint::Passive, watch).map(drop);
        }
        self.waited_at = frames;
        self.checkpoint_with_timeout(conn, Checkpoint::Restart, READERS_WAIT, watch).map(drop)
    }

    /// Interrupts long reads of this process, and empties the WAL once no reader needs it.
    fn shrink(&mut self, conn: &Connection, reads: &ActiveReads, watch: &mut FileWatch) -> WriteResult {
        match self.shrink_tried {
            Some(tried) if tried.elapsed() < SHRINK_EVERY => return Ok(()),
            Some(_) => {}
            None => {
                let (bytes, bytes_max) = (self.wal_bytes, self.wal_bytes_max);
                warn!(bytes, bytes_max, "the WAL is past its bound: a read transaction on the database stays open");
            }
        }
        self.shrink_tried = Some(Instant::now());
        let ended = reads.interrupt_older_than(self.read_age_max);
        if ended > 0 {
            warn!(ended, "reads that kept the WAL from starting over were ended");
        }
        let Progress { frames, moved, .. } = self.try_checkpoint(conn, Checkpoint::Passive, watch)?;
        match frames == moved {
            true => self.checkpoint_with_timeout(conn, Checkpoint::Truncate, SHRINK_WAIT, watch).map(drop),
            false => Ok(()),
        }
    }

    /// A checkpoint that lets readers take this long.
    pub(crate) fn checkpoint_with_timeout(
        &mut self,
        conn: &Connection,
        how: Checkpoint,
        wait: Duration,
        watch: &mut FileWatch,
    ) -> WriteResult<Progress> {
        conn.busy_timeout(wait)?;
        let progress = self.try_checkpoint(conn, how, watch);
        conn.busy_timeout(BUSY_WAIT)?;
        progress
    }

    /// Moves nothing out of a WAL that was cut or overwritten.
    fn try_checkpoint(&mut self, conn: &Connection, how: Checkpoint, watch: &mut FileWatch) -> WriteResult<Progress> {
        if how.moves() {
            watch.check_all(conn)?;
        }
        let progress = checkpoint(conn, how)?;
        if how.moves() {
            watch.moved(conn);
        }
        self.wal_bytes = progress.frames.saturating_mul(FRAME_BYTES);
        Ok(progress)
    }
}
