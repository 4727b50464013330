//! Outside services: making them known, taking their reports, and finding those that fell silent.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use serde::Serialize;
use tokio::time::timeout;
use tracing::warn;

use super::{PendingRecords, Reconciliation, RowWriter, STORE_PATIENCE, UnrecordedVerdict, no_service, publish};
use crate::base::clock::Timestamp;
use crate::base::error::{Error, Kind, Result};
use crate::features::reconciliation::audit::{AuditAction, AuditEntry};
use crate::features::reconciliation::external::{self, ExternalService, ServiceReport};
use crate::features::reconciliation::limits::OUTSIDE_SERVICES_MAX;
use crate::features::reconciliation::sql;
use crate::features::reconciliation::stream::{StreamUpdate, Update};
use crate::http::idempotency::IdempotentCall;
use crate::store::{Connection, IdempotentAnswer};

/// Whether a verdict that is in force already is recorded again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum UnchangedVerdict {
    Always,
    IfChanged,
}

/// What became of a report.
#[derive(Debug, Serialize)]
pub(crate) struct ReportOutcome {
    /// Whether the report was the newest of its service, and made this verdict.
    applied: bool,
    verdict: Option<AuditEntry>,
    /// When the next report is due.
    #[serde(skip)]
    deadline: Timestamp,
}

/// A report as it came.
#[derive(Clone, Debug)]
pub(crate) struct ReceivedReport {
    pub service: String,
    pub report: ServiceReport,
    /// How long the service took to find that out, milliseconds.
    pub latency_ms: Option<f64>,
    /// What it is about.
    pub at: Option<Timestamp>,
}

/// How a service is to be known.
#[derive(Clone, Debug)]
pub(crate) struct ServiceRegistration {
    pub name: String,
    /// How long it may be silent.
    pub report_every: Duration,
    /// What it is, for people.
    pub description: Option<String>,
}

impl Reconciliation {
    /// Records what is known of one outside service, or of all, now. Error: `NotFound`.
    pub(super) async fn check_services(self: &Arc<Self>, service: Option<String>) -> Result<Vec<Arc<Update>>> {
        let names = match service {
            Some(name) => vec![self.service(&name).await?.name],
            None => self.services(String::new(), OUTSIDE_SERVICES_MAX).await?.into_iter().map(|s| s.name).collect(),
        };
        let (this, now) = (Arc::clone(self), self.parts.clock.now());
        tokio::spawn(async move { this.record_known(names, now, UnchangedVerdict::Always).await })
            .await
            .map_err(Error::internal)
    }

    /// Records which services are overdue at `now`, or not any more. Costs nothing before the first may be.
    pub(crate) async fn check_overdue(self: &Arc<Self>, now: Timestamp) {
        if now.as_millis() < self.next_look.load(Ordering::Acquire) {
            return;
        }
        // First, so that a deadline that is set while this looks is not overwritten.
        self.next_look.store(i64::MAX, Ordering::Release);
        let services = match self.parts.reads.read(|reader| reader.rows(sql::external::all)).await {
            Ok(services) => services,
            Err(error) => {
                warn!(%error, "overdue reports cannot be looked for");
                self.schedule_check(now);
                return;
            }
        };
        let mut changed = Vec::new();
        for service in services {
            let in_force = self.feed.latest(&service.name);
            let in_force = in_force.as_ref().and_then(|update| update.entry()).map(|entry| entry.verdict.status);
            match service.verdict_at(now) {
                Some(verdict) if Some(verdict.status) != in_force => changed.push(service.name),
                _ if now < service.deadline() => self.schedule_check(service.deadline()),
                _ => {}
            }
        }
        if !changed.is_empty() {
            self.record_known(changed, now, UnchangedVerdict::IfChanged).await;
            // They may have reported meanwhile.
            self.schedule_check(now);
        }
    }

    fn schedule_check(&self, at: Timestamp) {
        self.next_look.fetch_min(at.as_millis(), Ordering::AcqRel);
    }

    /// Records what is known of these services at `now`, in one transaction with looking: a report that comes meanwhile
    /// goes before or after, not under.
    async fn record_known(
        self: &Arc<Self>,
        names: Vec<String>,
        now: Timestamp,
        again: UnchangedVerdict,
    ) -> Vec<Arc<Update>> {
        if names.is_empty() {
            return Vec::new();
        }
        let looked = names.clone();
        let stored = self.store(move |writer, conn, slot, _| {
            for name in looked {
                let Some(verdict) = sql::external::find(conn, &name)?.and_then(|service| service.verdict_at(now))
                else {
                    continue;
                };
                let in_force = sql::audit::newest(conn, &name)?.map(|entry| entry.verdict.status);
                if again == UnchangedVerdict::Always || in_force != Some(verdict.status) {
                    writer.append(conn, slot, AuditAction::Compare, now, &verdict)?;
                }
            }
            Ok(())
        });
        match stored.await {
            Ok(begun) => publish(begun),
            Err(begun) if !begun.is_empty() => self.tell_unrecorded(begun),
            Err(_) => {
                // Nothing can be reported now either, so what is on disk is what there is.
                let known = self.parts.reads.read(|reader| reader.rows(sql::external::all)).await.unwrap_or_default();
                let asked = known.into_iter().filter(|service| names.contains(&service.name));
                let verdicts = asked.filter_map(|service| service.verdict_at(now));
                let drafts =
                    verdicts.map(|verdict| UnrecordedVerdict { action: AuditAction::Compare, verdict }).collect();
                self.tell_unrecorded(self.begin(drafts))
            }
        }
    }

    /// Takes a report and tells what is to be made of it. Errors: `NotFound` when nobody knows the service; `Invalid`;
    /// `IdempotencyMismatch`; `StorageUnavailable`, after which it is to be sent again with the same key.
    pub(crate) async fn report(
        self: &Arc<Self>,
        received: ReceivedReport,
        once: IdempotentCall<ReportOutcome>,
    ) -> Result<IdempotentAnswer> {
        received.report.check()?;
        let this = Arc::clone(self);
        // In a task of its own, as in `record`.
        tokio::spawn(async move { this.take_report(received, once).await }).await.map_err(Error::internal)?
    }

    async fn take_report(
        self: Arc<Self>,
        received: ReceivedReport,
        once: IdempotentCall<ReportOutcome>,
    ) -> Result<IdempotentAnswer> {
        let slot = PendingRecords::new();
        let (writer, filling) = (self.writer(), slot.clone());
        let rows = self
            .parts
            .engine
            .rows(move |conn, now| once.run(conn, now, |conn, now| writer.report(conn, &filling, now, &received)));
        let mut rows = pin!(rows);
        // What takes long gives its places back, so that others need not wait; if it is stored, it is told in later
        // ones.
        let mut late = Vec::new();
        let outcome = loop {
            match timeout(STORE_PATIENCE, &mut rows).await {
                Ok(outcome) => break outcome,
                Err(_) => late.extend(slot.take().into_iter().map(|(_, entry)| entry)),
            }
        };
        let (answer, made) = outcome?;
        publish(slot.take());
        publish(late.into_iter().map(|entry| (self.feed.ticket(), entry)).collect());
        if let Some(ReportOutcome { applied: true, deadline, .. }) = made {
            self.schedule_check(deadline);
        }
        Ok(answer)
    }

    /// Makes a service known, or changes how it is. Returns it, and whether it is new. Errors: `Invalid`; `TooLarge`
    /// when there are too many; `StorageUnavailable`.
    pub(crate) async fn register(&self, registration: ServiceRegistration) -> Result<(ExternalService, bool)> {
        external::check_name(&registration.name)?;
        let put = move |conn: &Connection, now: Timestamp| {
            let ServiceRegistration { name, report_every, description } = registration;
            let known = sql::external::find(conn, &name)?;
            if known.is_none() && sql::external::count(conn)? >= OUTSIDE_SERVICES_MAX {
                let message = format!("there are {OUTSIDE_SERVICES_MAX} services, and no more may be; remove one");
                return Err(Error::new(Kind::TooLarge, message));
            }
            let fresh = known.is_none();
            let service = ExternalService {
                report_every,
                description: description.clone(),
                updated_at: now,
                ..known.unwrap_or(ExternalService {
                    name,
                    report_every,
                    description,
                    created_at: now,
                    updated_at: now,
                    reported_at: None,
                    received_at: None,
                    verdict: None,
                })
            };
            sql::external::put(conn, &service)?;
            Ok((service, fresh))
        };
        let (service, fresh) = self.parts.engine.rows(put).await?;
        // What was overdue may not be any more, and the other way round.
        self.schedule_check(self.parts.clock.now());
        Ok((service, fresh))
    }

    /// Forgets a service, and its verdict; its rows in the audit stay. Errors: `NotFound`; `StorageUnavailable`.
    pub(crate) async fn forget(self: &Arc<Self>, name: String) -> Result<()> {
        let this = Arc::clone(self);
        let forget = async move {
            let (feed, service) = (Arc::clone(&this.feed), name.clone());
            let removed = this.parts.engine.rows(move |conn, _| {
                if !sql::external::remove(conn, &service)? {
                    return Err(no_service(&service));
                }
                sql::audit::end_verdict(conn, &service)?;
                Ok(feed.ticket())
            });
            removed.await.map(|ticket| drop(ticket.publish(StreamUpdate::Removed { service: name })))
        };
        tokio::spawn(forget).await.map_err(Error::internal)?
    }

    /// The services after `after` by name, one more than `limit` if there are more.
    pub(crate) async fn services(&self, after: String, limit: usize) -> Result<Vec<ExternalService>> {
        let limit = i64::try_from(limit).unwrap_or(i64::MAX).saturating_add(1);
        self.parts.reads.read(move |reader| reader.rows(|conn| sql::external::page(conn, &after, limit))).await
    }

    /// One service. Error: `NotFound`.
    pub(crate) async fn service(&self, name: &str) -> Result<ExternalService> {
        let asked = name.to_owned();
        let found = self.parts.reads.read(move |reader| reader.rows(|conn| sql::external::find(conn, &asked))).await?;
        found.ok_or_else(|| no_service(name))
    }
}

impl RowWriter {
    fn report(
        &self,
        conn: &Connection,
        slot: &PendingRecords,
        now: Timestamp,
        received: &ReceivedReport,
    ) -> Result<ReportOutcome> {
        let mut service = sql::external::find(conn, &received.service)?.ok_or_else(|| no_service(&received.service))?;
        let at = external::report_time(received.at, now)?;
        let applied = service.reported_at.is_none_or(|newest| at >= newest);
        if applied {
            let began = Instant::now();
            let mut verdict = received.report.compare_counts(&service.name, 0.0);
            verdict.latency_ms = received.latency_ms.unwrap_or_else(|| began.elapsed().as_secs_f64() * 1000.0);
            self.append(conn, slot, AuditAction::Report, now, &verdict)?;
            service.reported_at = Some(at);
            service.received_at = Some(now);
            service.verdict = Some(verdict);
            sql::external::put(conn, &service)?;
        }
        let verdict = sql::audit::newest(conn, &service.name)?;
        Ok(ReportOutcome { applied, verdict, deadline: service.deadline() })
    }
}
