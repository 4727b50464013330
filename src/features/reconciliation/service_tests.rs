//! Recording, reports and staleness on a real engine and a real file, under a clock that stands still.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a panic fails the test")]

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;

use super::audit::{AuditAction, AuditEntry, DetailLevel};
use super::service::{
    CompareServices, ReceivedReport, Reconciliation, ReconciliationParts, ReportOutcome, ServiceRegistration,
};
use super::stream::BufferedUpdates;
use super::trim::trim_job;
use super::verdict::{Compared, Verdict, VerdictCount, VerdictCounts, VerdictStatus};
use crate::base::clock::{Clock as _, Timestamp};
use crate::base::entropy::SeededEntropy;
use crate::base::error::{Kind, Result};
use crate::features::reconciliation::external::ServiceReport;
use crate::http::idempotency::{IdempotentCall, StoredResponse};
use crate::http::response::success::Success;
use crate::jobs::tests::running::{DAY, RunningRunner};

/// Finds `documents/games` as it is told to, and nothing else.
struct Games;

pub(super) fn games(counts: u32) -> Verdict {
    Verdict {
        service: "documents/games".into(),
        status: VerdictStatus::Verified,
        counts: VerdictCounts::from([("documents".into(), counts.into())]),
        checksum: "0".repeat(64),
        latency_ms: 0.25,
        details: None,
        documents: Vec::new(),
        compared: Compared::Changes,
        all_since: None,
    }
}

impl CompareServices for Games {
    fn compare(&self, _: Option<String>) -> BoxFuture<'static, Result<Vec<Verdict>>> {
        Box::pin(async { Ok(vec![games(1)]) })
    }

    fn repair_known(&self) -> BoxFuture<'static, Vec<Verdict>> {
        Box::pin(async { Vec::new() })
    }
}

/// The same server again: with all that is stored, and nothing of what was in memory.
pub(super) async fn begin(running: &RunningRunner, seed: u64) -> Arc<Reconciliation> {
    let parts = ReconciliationParts {
        engine: running.engine.clone(),
        reads: running.reads.clone(),
        clock: Arc::clone(&running.clock) as _,
        comparing: Arc::new(Games),
        rows_max: 50,
    };
    let beginning = running.reads.read(Reconciliation::beginning).await.unwrap();
    Reconciliation::new(parts, beginning, &SeededEntropy::new(seed))
}

async fn register(reconciliation: &Reconciliation, name: &str, every: u64) {
    let report_every = Duration::from_secs(every);
    let registration = ServiceRegistration { name: name.into(), report_every, description: None };
    reconciliation.register(registration).await.unwrap();
}

async fn report(reconciliation: &Arc<Reconciliation>, name: &str, expected: u32, actual: u32) {
    let counts = |count: u32| VerdictCounts::from([("rows".to_owned(), VerdictCount::from(count))]);
    let report = ServiceReport { expected: counts(expected), actual: counts(actual), ..ServiceReport::default() };
    let once = IdempotentCall::unkeyed(|made: &ReportOutcome| StoredResponse::json(Success::Done, made));
    let received = ReceivedReport { service: name.into(), report, latency_ms: None, at: None };
    reconciliation.report(received, once).await.unwrap();
}

/// What was told after the cursor: service, status, and the millisecond since noon.
fn updates_after(
    running: &RunningRunner,
    reconciliation: &Reconciliation,
    cursor: u64,
) -> Vec<(String, VerdictStatus, i64)> {
    let noon = Timestamp::parse("2026-03-01T12:00:00Z").unwrap().as_millis();
    assert!(running.clock.now().as_millis() >= noon);
    let of = |entry: &AuditEntry| (entry.verdict.service.clone(), entry.verdict.status, entry.at.as_millis() - noon);
    match reconciliation.feed().after(cursor) {
        BufferedUpdates::Updates(updates) => updates.iter().filter_map(|update| update.entry()).map(of).collect(),
        BufferedUpdates::Nothing | BufferedUpdates::Behind => Vec::new(),
    }
}

#[tokio::test]
async fn silence_is_found_at_the_very_deadline_and_told_once() {
    let running = RunningRunner::start(None);
    let reconciliation = begin(&running, 1).await;
    register(&reconciliation, "short", 5).await;
    register(&reconciliation, "long", 60).await;
    report(&reconciliation, "long", 1, 1).await;
    let cursor = reconciliation.feed().start().1;
    let pass = async |millis: u64| {
        running.clock.advance(Duration::from_millis(millis));
        reconciliation.check_overdue(running.clock.now()).await;
        updates_after(&running, &reconciliation, cursor)
    };
    assert_eq!(pass(4_999).await, []);
    let stale = ("short".to_owned(), VerdictStatus::Stale, 5_000);
    assert_eq!(pass(1).await, std::slice::from_ref(&stale));
    assert_eq!(pass(54_999).await, std::slice::from_ref(&stale), "once, and the other is in time");
    let silent = ("long".to_owned(), VerdictStatus::Stale, 60_000);
    assert_eq!(pass(1).await, [stale.clone(), silent.clone()]);
    // What it says puts it right, and the next silence is found again.
    report(&reconciliation, "short", 3, 2).await;
    let found = ("short".to_owned(), VerdictStatus::Discrepancy, 60_000);
    assert_eq!(pass(4_999).await, [stale.clone(), silent.clone(), found.clone()]);
    assert_eq!(pass(1).await, [stale, silent, found, ("short".to_owned(), VerdictStatus::Stale, 65_000)]);
}

#[tokio::test]
async fn silence_over_the_end_of_the_server_is_found_at_the_next_start() {
    let running = RunningRunner::start(None);
    let reconciliation = begin(&running, 1).await;
    register(&reconciliation, "short", 5).await;
    report(&reconciliation, "short", 1, 1).await;
    drop(reconciliation);
    running.clock.advance(Duration::from_secs(5));
    let again = begin(&running, 2).await;
    let in_force = |reconciliation: &Reconciliation| reconciliation.status()[0].entry().unwrap().verdict.status;
    assert_eq!(in_force(&again), VerdictStatus::Verified, "as it was left");
    again.check_overdue(running.clock.now()).await;
    assert_eq!(in_force(&again), VerdictStatus::Stale);
    // And is not found again by the next.
    let third = begin(&running, 3).await;
    let cursor = third.feed().start().1;
    third.check_overdue(running.clock.now()).await;
    assert_eq!(updates_after(&running, &third, cursor), []);
}

#[tokio::test]
async fn what_is_verified_again_is_told_each_time_and_shares_a_row_until_it_changes() {
    let running = RunningRunner::start(None);
    let reconciliation = begin(&running, 1).await;
    for _ in 0..3 {
        running.clock.advance(Duration::from_secs(10));
        reconciliation.record(AuditAction::Compare, vec![games(1)]).await;
    }
    reconciliation.record(AuditAction::Scrub, vec![games(1)]).await;
    reconciliation.record(AuditAction::Compare, vec![games(2)]).await;
    let gone = Verdict { status: VerdictStatus::Discrepancy, ..games(2) };
    reconciliation.record(AuditAction::Compare, vec![gone.clone()]).await;
    reconciliation.record(AuditAction::Compare, vec![gone]).await;
    assert_eq!(updates_after(&running, &reconciliation, 0).len(), 7);
    let rows = reconciliation.audit(super::sql::audit::AuditFilter::default(), 100).await.unwrap();
    let of = |entry: &AuditEntry| (entry.action, entry.verdict.status, entry.count);
    assert_eq!(
        rows.iter().map(of).collect::<Vec<_>>(),
        [
            (AuditAction::Compare, VerdictStatus::Discrepancy, 1),
            (AuditAction::Compare, VerdictStatus::Discrepancy, 1),
            (AuditAction::Compare, VerdictStatus::Verified, 1),
            (AuditAction::Scrub, VerdictStatus::Verified, 1),
            (AuditAction::Compare, VerdictStatus::Verified, 3),
        ]
    );
    assert_eq!(rows[4].at.as_millis() - rows[4].first_at.as_millis(), 20_000);
    let updates = reconciliation.run(None).await.unwrap();
    assert_eq!(updates.len(), 1);
    assert_eq!(reconciliation.run(Some("nobody".into())).await.unwrap_err().kind(), Kind::NotFound);
}

#[tokio::test]
async fn the_audit_forgets_what_is_old_but_for_what_is_in_force() {
    let running = RunningRunner::start(None);
    let reconciliation = begin(&running, 1).await;
    let at_work = running.runner(vec![trim_job(Arc::clone(&reconciliation), 30 * DAY, 4)]);
    register(&reconciliation, "short", 86_400).await;
    report(&reconciliation, "short", 1, 1).await;
    for count in 0..3 {
        reconciliation.record(AuditAction::Compare, vec![games(count)]).await;
    }
    running.clock.advance(30 * DAY);
    let job = "reconciliation-audit-trim";
    let counts = async |dry_run: bool| at_work.run(job, dry_run).await.summary.unwrap().counts;
    assert_eq!(counts(false).await["old"], 0, "kept for thirty days");
    running.clock.advance(Duration::from_millis(1));
    assert_eq!((counts(true).await["old"], counts(false).await["old"], counts(true).await["old"]), (2, 2, 0));
    // Differences outlive what was verified, whatever their age.
    let different = Verdict { status: VerdictStatus::Discrepancy, ..games(7) };
    reconciliation.record(AuditAction::Compare, vec![different]).await;
    for count in 10..15 {
        reconciliation.record(AuditAction::Compare, vec![games(count)]).await;
    }
    let trimmed = counts(false).await;
    assert_eq!((trimmed["old"], trimmed["tooMany"]), (1, 3), "what is not in force any more may go by its age");
    let rows = reconciliation.audit(super::sql::audit::AuditFilter::default(), 100).await.unwrap();
    let statuses: Vec<_> = rows.iter().map(|row| row.verdict.status).collect();
    assert_eq!(statuses.iter().filter(|status| **status == VerdictStatus::Discrepancy).count(), 1, "{statuses:?}");
    assert_eq!(reconciliation.status().len(), 2);
    // Whoever saw what is gone is told so; whoever saw what is there misses nothing.
    let again = begin(&running, 2).await;
    assert_eq!(again.open(Some("1-00000000"), DetailLevel::Whole).await.reason, Some("diverged"));
    let newest = rows[0].event_id.clone();
    let opening = again.open(Some(&newest), DetailLevel::Whole).await;
    assert_eq!((opening.reason, opening.frames.len(), opening.cursor), (None, 0, rows[0].seq));
    let oldest_run = newest.split_once('-').unwrap().1.to_owned();
    assert_eq!(again.open(Some(&format!("2-{oldest_run}")), DetailLevel::Whole).await.reason, Some("trimmed"));
}

#[tokio::test]
async fn whoever_is_behind_memory_reads_from_the_audit_and_goes_on() {
    let running = RunningRunner::start(None);
    let reconciliation = begin(&running, 1).await;
    let first = reconciliation.record(AuditAction::Compare, vec![games(0)]).await[0].entry().unwrap().event_id.clone();
    for _ in 0..4 {
        let many: Vec<_> = (0..300).map(|_| games(1)).collect();
        reconciliation.record(AuditAction::Compare, many).await;
    }
    assert!(matches!(reconciliation.feed().after(1), BufferedUpdates::Behind));
    // 1,200 comparisons are one row, which stands at the end: nothing lies between, and memory has the rest.
    let opening = reconciliation.open(Some(&first), DetailLevel::Whole).await;
    assert_eq!((opening.reason, opening.frames.len()), (None, 0));
    let BufferedUpdates::Updates(updates) = reconciliation.feed().after(opening.cursor) else {
        panic!("nothing follows")
    };
    assert_eq!(updates.last().unwrap().entry().unwrap().count, 1200);
}
