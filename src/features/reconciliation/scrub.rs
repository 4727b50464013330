//! Comparing and reading again, all the time and when asked to.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::sync::Mutex;
use tokio::time::{MissedTickBehavior, interval};
use tracing::{info, warn};

use super::audit::AuditAction;
use super::repair::{RepairSummary, RowSource};
use super::service::{CompareServices, Reconciliation, no_service};
use super::verdict::Verdict;
use crate::base::error::Result;
use crate::base::ids::DocumentName;
use crate::engine::request::RepairSource;
use crate::features::reconciliation::self_check::Comparer;

/// Between two steps of the scrub: what it may read in a second is read in pieces of that.
const STEP: Duration = Duration::from_millis(500);

/// The comparison, shared by what goes on all the time and whoever asks. One at a time; cheap to clone.
#[derive(Clone)]
pub(crate) struct SharedComparer(Arc<Mutex<Comparer>>);

impl SharedComparer {
    /// See [`Comparer`].
    pub(crate) fn new(comparer: Comparer) -> Self {
        Self(Arc::new(Mutex::new(comparer)))
    }

    /// See [`Comparer::repair`] and [`Comparer::repair_row`]. Recorded and told before it returns.
    pub(crate) async fn repair(&self, told: &Arc<Reconciliation>, request: RequestedRepair) -> Result<RepairSummary> {
        let (this, told) = (self.clone(), Arc::clone(told));
        // In a task of its own: what was mended is recorded even when nobody waits for it any more.
        let mended = tokio::spawn(async move {
            let mut comparer = this.0.lock().await;
            let repaired = match request {
                RequestedRepair::Document(document, source) => comparer.repair(&document, source).await?,
                RequestedRepair::Row(row, source) => comparer.repair_row(&row, source).await?,
            };
            drop(comparer);
            told.record(AuditAction::Repair, vec![repaired.verdict.clone()]).await;
            Ok(repaired)
        });
        mended.await.map_err(crate::base::error::Error::internal)?
    }

    /// Reads and hashes again what is on disk, at most `bytes_per_second` of it, for as long as the server runs. 0:
    /// never.
    pub(crate) async fn run_scrub(self, told: Arc<Reconciliation>, bytes_per_second: u64) {
        if bytes_per_second == 0 {
            return;
        }
        let mut steps = interval(STEP);
        steps.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let bytes = bytes_per_second.div_ceil(1000).saturating_mul(STEP.as_millis().try_into().unwrap_or(1));
        loop {
            steps.tick().await;
            let step = self.0.lock().await.scrub_step(bytes).await;
            match step {
                Ok(verdicts) if verdicts.is_empty() => {}
                Ok(verdicts) => {
                    drop(told.record(AuditAction::Scrub, verdicts).await);
                    told.record_repairs().await;
                }
                Err(error) => warn!(%error, "what is on disk could not be read again"),
            }
        }
    }
}

/// What is to be mended, and which side is right.
#[derive(Clone, Debug)]
pub(crate) enum RequestedRepair {
    Document(DocumentName, RepairSource),
    /// A row of a feature, by its name.
    Row(String, RowSource),
}

impl CompareServices for SharedComparer {
    fn compare(&self, service: Option<String>) -> BoxFuture<'static, Result<Vec<Verdict>>> {
        let this = self.clone();
        Box::pin(async move {
            let mut comparer = this.0.lock().await;
            let Some(service) = service else { return comparer.compare(None).await };
            let verdicts = comparer.compare(Some(std::slice::from_ref(&service))).await?;
            if verdicts.is_empty() { Err(no_service(&service)) } else { Ok(verdicts) }
        })
    }

    fn repair_known(&self) -> BoxFuture<'static, Vec<Verdict>> {
        let this = self.clone();
        Box::pin(async move {
            let mut comparer = this.0.lock().await;
            let mut verdicts = Vec::new();
            for document in comparer.repairable_documents() {
                match comparer.repair(&document, RepairSource::Memory).await {
                    Ok(repaired) => {
                        info!(%document, "a damaged snapshot of {document} is written anew from its events");
                        verdicts.push(repaired.verdict);
                    }
                    Err(error) => warn!(%document, %error, "a damaged snapshot of {document} is not written anew"),
                }
            }
            match comparer.repair_rows_from_memory().await {
                Ok(mended) => verdicts.extend(mended),
                Err(error) => warn!(%error, "rows that differ from those in memory are not written anew"),
            }
            verdicts
        })
    }
}
