//! `GET /reconciliation/stream`.

use std::collections::VecDeque;
use std::sync::Arc;

use axum::Extension;
use axum::extract::State;
use axum::response::Response;
use bytes::{Bytes, BytesMut};
use http::HeaderMap;
use tokio::sync::watch;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::schemas::ReconciliationStreamEvent;
use super::{StreamProblems, detail_for};
use crate::base::error::Result;
use crate::base::limits::STREAM_WRITE_BYTES_MAX;
use crate::features::reconciliation::audit::DetailLevel;
use crate::features::reconciliation::service::{Reconciliation, StreamStart};
use crate::features::reconciliation::stream::BufferedUpdates;
use crate::http::api::Api;
use crate::http::error::HandlerResult;
use crate::http::request::caller::Caller;
use crate::http::request::headers::last_event_id;
use crate::http::response::openapi::ResumeHeader;
use crate::http::response::sse::{self, EventSource, EventStream, Heartbeat, StreamContext, StreamPermit};

pub(super) fn router() -> OpenApiRouter<Api> {
    OpenApiRouter::new().routes(routes!(follow))
}

/// Follow what reconciliation finds
///
/// Server-sent events, for everyone who gets in; no parameter is needed. First the verdict in force of each service,
/// then each as it is found: `reconciliation.update` with its `eventId` as `id`; `reconciliation.removed` when an
/// outside service is no more; `heartbeat` at fixed times; `bye` at the end. With `Last-Event-ID` first what was missed
/// (unchanged verified verdicts as one, with their `count`). Where that cannot be told, `snapshot` says why
/// (`diverged`, `trimmed`, `too-many`, `unavailable`) and the verdicts in force follow. Documents are named to
/// administrators only.
#[utoipa::path(
    get, path = "/reconciliation/stream", operation_id = "followReconciliation", tag = "reconciliation",
    params(Caller, ResumeHeader),
    responses(
        (status = 200, description = "The stream.",
            body = Vec<ReconciliationStreamEvent>, content_type = "text/event-stream"),
        StreamProblems
    ),
)]
async fn follow(
    State(api): State<Api>,
    Extension(reconciliation): Extension<Arc<Reconciliation>>,
    caller: Caller,
    headers: HeaderMap,
) -> HandlerResult<Response> {
    let resume = last_event_id(&headers);
    let permit = match sse::acquire_permit(&api, &caller, resume.is_some()) {
        StreamPermit::Acquired(permit) => permit,
        StreamPermit::Denied(answer) => return answer,
    };
    let source = ReconciliationSource::open(reconciliation, resume.as_deref(), detail_for(&caller)).await;
    Ok(EventStream::new(StreamContext::new(&api, permit), caller, source).into_response())
}

/// One dashboard: a cursor, and the frames to send next.
struct ReconciliationSource {
    reconciliation: Arc<Reconciliation>,
    detail: DetailLevel,
    /// Serialised, and shared with all other dashboards.
    frames: VecDeque<Bytes>,
    cursor: u64,
    grown: watch::Receiver<u64>,
}

impl EventSource for ReconciliationSource {
    const HEARTBEAT: Heartbeat = Heartbeat::Fixed;

    async fn next(&mut self) -> Result<Bytes> {
        while self.frames.is_empty() {
            match self.reconciliation.feed().after(self.cursor) {
                BufferedUpdates::Updates(updates) => {
                    self.cursor = updates.last().map_or(self.cursor, |update| update.seq);
                    self.frames.extend(updates.iter().map(|update| update.frame(self.detail)));
                }
                BufferedUpdates::Behind => {
                    let opening = self.reconciliation.behind(self.cursor, self.detail).await;
                    self.start_from(opening);
                }
                // An error means that there will be no more: then there is only the end to wait for.
                BufferedUpdates::Nothing => {
                    if self.grown.changed().await.is_err() {
                        std::future::pending::<()>().await;
                    }
                }
            }
        }
        Ok(self.take_frames())
    }

    fn is_behind(&self) -> bool {
        true
    }
}

impl ReconciliationSource {
    async fn open(reconciliation: Arc<Reconciliation>, resume: Option<&str>, detail: DetailLevel) -> Self {
        // Before the first look, so that nothing falls between.
        let grown = reconciliation.feed().subscribe_growth();
        let opening = reconciliation.open(resume, detail).await;
        let mut source = Self { reconciliation, detail, frames: VecDeque::new(), cursor: 0, grown };
        source.start_from(opening);
        source
    }

    fn start_from(&mut self, opening: StreamStart) {
        if let Some(reason) = opening.reason {
            self.frames.push_back(format!("event: snapshot\ndata: {{\"reason\":\"{reason}\"}}\n\n").into());
        }
        self.frames.extend(opening.frames);
        self.cursor = opening.cursor;
    }

    /// As many frames as fit into one write; one alone is not copied.
    fn take_frames(&mut self) -> Bytes {
        let first = self.frames.pop_front().unwrap_or_default();
        let fits =
            |out: usize, next: Option<&Bytes>| next.is_some_and(|next| out + next.len() <= STREAM_WRITE_BYTES_MAX);
        if !fits(first.len(), self.frames.front()) {
            return first;
        }
        let mut out = BytesMut::from(&*first);
        while fits(out.len(), self.frames.front()) {
            out.extend_from_slice(&self.frames.pop_front().unwrap_or_default());
        }
        out.freeze()
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed unwrap fails the test")]
    use std::time::Duration;

    use tokio::time::Instant;
    use tokio_util::sync::CancellationToken;

    use super::*;
    use crate::base::clock::Clock as _;
    use crate::document::visibility::Viewer;
    use crate::features::reconciliation::audit::{AuditAction, AuditEntry};
    use crate::features::reconciliation::service_tests::{begin, games};
    use crate::features::reconciliation::stream::StreamUpdate;
    use crate::http::concurrency::ConcurrencyLimit;
    use crate::http::request::caller::Peer;
    use crate::jobs::tests::running::RunningRunner;

    async fn dashboard(
        running: &RunningRunner,
        reconciliation: &Arc<Reconciliation>,
    ) -> (EventStream<ReconciliationSource>, CancellationToken) {
        let stop = CancellationToken::new();
        let peer = Peer::at(([127, 0, 0, 1], 1).into(), stop.child_token());
        let caller = Caller { viewer: Viewer::Owner, administrator: true, peer, credential: None };
        let context = StreamContext {
            clock: Arc::clone(&running.clock) as _,
            heartbeat: Duration::from_secs(15),
            retry_ms: 500,
            stop: stop.clone(),
            permit: ConcurrencyLimit::new(1).try_acquire("dashboard".into()).unwrap(),
        };
        let source = ReconciliationSource::open(Arc::clone(reconciliation), None, DetailLevel::Whole).await;
        (EventStream::new(context, caller, source), stop)
    }

    fn publish(running: &RunningRunner, reconciliation: &Reconciliation) -> Bytes {
        let ticket = reconciliation.feed().ticket();
        let entry = AuditEntry::new(&ticket.id, AuditAction::Compare, running.clock.now(), games(1));
        ticket.publish(StreamUpdate::Verdict(Box::new(entry))).frame.clone()
    }

    async fn next(source: &mut EventStream<ReconciliationSource>) -> String {
        String::from_utf8(source.next().await.unwrap().into()).unwrap()
    }

    #[tokio::test]
    async fn heartbeats_come_every_fifteen_seconds_however_much_there_is_to_tell() {
        let running = RunningRunner::start(None);
        let reconciliation = begin(&running, 1).await;
        // From here on time passes only when everybody waits for it.
        tokio::time::pause();
        let (mut source, stop) = dashboard(&running, &reconciliation).await;
        assert_eq!(next(&mut source).await, "retry: 500\n\n");
        let begun = Instant::now();
        for beats in 1..=3 {
            // Two updates between two heartbeats, which do not put them off.
            for seconds in [5, 5] {
                tokio::time::advance(Duration::from_secs(seconds)).await;
                running.clock.advance(Duration::from_secs(seconds));
                let frame = publish(&running, &reconciliation);
                assert_eq!(source.next().await.unwrap().as_ptr(), frame.as_ptr(), "the shared bytes");
            }
            running.clock.advance(Duration::from_secs(5));
            let now = running.clock.now();
            let beat = next(&mut source).await;
            assert_eq!(beat, format!("event: heartbeat\ndata: {{\"at\":\"{now}\"}}\n\n"));
            assert_eq!(begun.elapsed().as_secs(), beats * 15);
        }
        stop.cancel();
        let bye = "event: bye\nretry: 500\ndata: {\"reason\":\"shutdown\"}\n\n";
        assert_eq!((next(&mut source).await.as_str(), source.next().await), (bye, None));
    }

    #[tokio::test]
    async fn a_dashboard_that_slept_goes_on_with_what_memory_has_and_the_audit_before() {
        let running = RunningRunner::start(None);
        let reconciliation = begin(&running, 1).await;
        reconciliation.record(AuditAction::Compare, vec![games(1)]).await;
        let (mut source, _stop) = dashboard(&running, &reconciliation).await;
        assert!(next(&mut source).await.contains("\"documents\":1"));
        reconciliation.record(AuditAction::Compare, vec![games(2)]).await;
        for _ in 0..5 {
            reconciliation.record(AuditAction::Compare, (0..300).map(|_| games(3)).collect()).await;
        }
        let (mut texts, mut last) = (String::new(), String::new());
        while !last.contains("\"count\":1500,") {
            last = next(&mut source).await;
            texts.push_str(&last);
        }
        let ids: Vec<u64> =
            texts.lines().filter_map(|line| line.strip_prefix("id: ")?.split('-').next()?.parse().ok()).collect();
        assert!(ids.is_sorted_by(|a, b| a < b), "each once, in order");
        assert_eq!((ids.first(), ids.last()), (Some(&2), Some(&1502)));
    }
}
