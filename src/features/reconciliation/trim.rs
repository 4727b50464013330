//! The audit is bounded, by a job.

use std::sync::Arc;
use std::time::Duration;

use super::service::Reconciliation;
use super::sql::audit as sql;
use crate::base::error::Result;
use crate::jobs::{Job, JobContext, Schedule, Summary};

const TIMEOUT: Duration = Duration::from_secs(15 * 60);
/// Rows removed in one transaction: few enough that nobody waits long.
const ROWS_PER_ROUND: u32 = 1_000;

/// The job `reconciliation-audit-trim`: hourly, it forgets what was found before `kept`, and the oldest of more than
/// `rows_max` rows. The verdicts in force stay.
pub(crate) fn trim_job(reconciliation: Arc<Reconciliation>, kept: Duration, rows_max: u64) -> Job {
    let run = move |context| trim(Arc::clone(&reconciliation), context, kept, rows_max);
    Job::new("reconciliation-audit-trim", Schedule::Hourly, TIMEOUT, run).with_dry_run().removing_by_time()
}

async fn trim(
    reconciliation: Arc<Reconciliation>,
    context: JobContext,
    kept: Duration,
    rows_max: u64,
) -> Result<Summary> {
    let before = context.clock.now().minus(kept);
    let mut summary = Summary::default();
    if context.dry_run {
        let counts = move |reader: &crate::store::Reader| {
            reader.rows(|conn| Ok((sql::count_old(conn, before)?, sql::count(conn)?)))
        };
        let (old, all) = context.reads.read(counts).await?;
        add(&mut summary, "old", old);
        add(&mut summary, "tooMany", all.saturating_sub(old).saturating_sub(rows_max));
        return Ok(summary);
    }
    let (mut old, mut too_many) = (0, 0);
    loop {
        let trimmed = context.engine.rows(move |conn, _| sql::trim_old(conn, before, ROWS_PER_ROUND)).await?;
        old += trimmed;
        if trimmed < u64::from(ROWS_PER_ROUND) {
            break;
        }
    }
    loop {
        let round = move |conn: &crate::store::Connection, _| {
            let rows = sql::count(conn)?;
            let wanted = rows.saturating_sub(rows_max).min(ROWS_PER_ROUND.into());
            let dropped = if wanted > 0 { sql::drop_oldest(conn, wanted)? } else { 0 };
            Ok((dropped, rows - dropped))
        };
        let (dropped, rows) = context.engine.rows(round).await?;
        reconciliation.set_rows(rows);
        too_many += dropped;
        if dropped == 0 {
            break;
        }
    }
    add(&mut summary, "old", old);
    add(&mut summary, "tooMany", too_many);
    Ok(summary)
}

fn add(summary: &mut Summary, name: &str, count: u64) {
    summary.count(name, usize::try_from(count).unwrap_or(usize::MAX));
}
