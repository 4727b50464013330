//! Looking after the file at a quiet moment: it takes the writer, so that changes would wait for it.

use tokio::sync::oneshot;

use super::command::not_stored;
use super::thread::Thread;
use crate::base::error::Result;
use crate::store::MaintenanceReport;

/// Rounds that may pass before it is done although something waits: under a load that never pauses, some seconds.
const ROUNDS_MAX: u32 = 1_000;

/// Who waits for it. Few: each is a run of a job.
#[derive(Debug, Default)]
pub struct Tidying {
    replies: Vec<oneshot::Sender<Result<MaintenanceReport>>>,
    rounds: u32,
}

impl Tidying {
    /// Notes that somebody asks for it.
    pub fn ask(&mut self, reply: oneshot::Sender<Result<MaintenanceReport>>) {
        self.replies.push(reply);
    }
}

impl Thread {
    /// Does what was asked for, if nothing else waits. To be called between two rounds.
    pub fn tidy_when_quiet(&mut self, quiet: bool) {
        if self.tidy.replies.is_empty() {
            return;
        }
        self.tidy.rounds += 1;
        let failing = self.backlog.is_failing();
        if !(quiet || failing || self.tidy.rounds >= ROUNDS_MAX) {
            return;
        }
        let tidied = if failing { None } else { self.tidy_up() };
        for reply in std::mem::take(&mut self.tidy).replies {
            // Whoever asked may have gone.
            let _ = reply.send(tidied.ok_or_else(not_stored));
        }
    }

    /// A write that fails here is no other than one of a change: the file is reopened before anything else is written.
    fn tidy_up(&mut self) -> Option<MaintenanceReport> {
        self.writer.maintain().inspect_err(|fault| self.degrade(fault)).ok()
    }
}
