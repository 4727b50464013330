//! `GET /reconciliation/stream`.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::fmt::Write as _;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Extension;
use axum::body::Body;
use axum::extract::State;
use axum::response::Response;
use bytes::{Bytes, BytesMut};
use futures_util::{FutureExt as _, stream};
use http::HeaderMap;
use tokio::sync::watch;
use tokio::time::{Instant, Interval, MissedTickBehavior, interval_at};
use tokio_util::sync::CancellationToken;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::StreamProblems;
use crate::base::clock::Clock;
use crate::base::limits::STREAM_WRITE_BYTES_MAX;
use crate::features::reconciliation::service::{Opening, Reconciliation};
use crate::features::reconciliation::stream::Found;
use crate::http::api::Api;
use crate::http::concurrency::Permit;
use crate::http::error::HandlerResult;
use crate::http::request::caller::Caller;
use crate::http::request::headers::LAST_EVENT_ID;
use crate::http::response::openapi::Resume;
use crate::http::response::sse::{self, StreamPermit};

pub(super) fn router() -> OpenApiRouter<Api> {
    OpenApiRouter::new().routes(routes!(follow))
}

/// Follow what reconciliation finds
///
/// Server-sent events, for everyone who gets in; no parameter is needed. First the verdict in force of each service,
/// then each as it is found: `reconciliation.update` with its `eventId` as `id`; `reconciliation.removed` when an
/// outside service is no more; `heartbeat` at fixed times; `bye` at the end. With `Last-Event-ID` first what was missed
/// (unchanged verified verdicts as one, with their `count`). Where that cannot be told, `snapshot` says why
/// (`diverged`, `trimmed`, `too-many`, `unavailable`) and the verdicts in force follow.
#[utoipa::path(
    get, path = "/reconciliation/stream", operation_id = "followReconciliation", tag = "reconciliation",
    params(Caller, Resume),
    responses(
        (status = 200, description = "The stream.", body = String, content_type = "text/event-stream"),
        StreamProblems
    ),
)]
async fn follow(
    State(api): State<Api>,
    Extension(reconciliation): Extension<Arc<Reconciliation>>,
    caller: Caller,
    headers: HeaderMap,
) -> HandlerResult<Response> {
    let resume = headers.get(LAST_EVENT_ID).map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned());
    let resume = resume.filter(|id| !id.is_empty());
    let place = match sse::acquire_permit(&api, &caller, resume.is_some()) {
        StreamPermit::Acquired(place) => place,
        StreamPermit::Denied(answer) => return answer,
    };
    let ways = Ways {
        clock: Arc::clone(&api.clock),
        heartbeat: api.heartbeat,
        retry_ms: sse::retry(&api),
        stop: api.stop.clone(),
        _permit: Some(place),
    };
    let source = ReconciliationStream::open(ways, reconciliation, caller, resume.as_deref()).await;
    // In a box, since it is passed from each piece to the next.
    let body = stream::unfold(Box::new(source), |mut source| async move {
        let bytes = source.next().await?;
        Some((Ok::<_, Infallible>(bytes), source))
    });
    Ok(sse::stream_response(Body::from_stream(body)))
}

/// How a stream is kept.
struct Ways {
    clock: Arc<dyn Clock>,
    /// Time between two of them.
    heartbeat: Duration,
    /// How long the client is to wait before it comes back.
    retry_ms: u64,
    /// Cancelled when the server stops.
    stop: CancellationToken,
    /// Its place among the streams of the same viewer.
    _permit: Option<Permit<Box<str>>>,
}

/// One dashboard: a cursor, and what it is about to be told.
struct ReconciliationStream {
    ways: Ways,
    caller: Caller,
    reconciliation: Arc<Reconciliation>,
    /// Serialised, and shared with all other dashboards.
    waiting: VecDeque<Bytes>,
    cursor: u64,
    grown: watch::Receiver<u64>,
    /// At fixed times, however much there is to tell: updates may be more frequent than heartbeats.
    heartbeat: Interval,
    over: Pin<Box<dyn Future<Output = ()> + Send>>,
    ended: bool,
}

impl ReconciliationStream {
    async fn open(ways: Ways, reconciliation: Arc<Reconciliation>, caller: Caller, resume: Option<&str>) -> Self {
        // Before the first look, so that nothing falls between.
        let grown = reconciliation.feed().grown();
        let opening = reconciliation.open(resume).await;
        let mut heartbeat = interval_at(Instant::now() + ways.heartbeat, ways.heartbeat);
        heartbeat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let over = Box::pin(caller.ended());
        let waiting = VecDeque::from([Bytes::from(format!("retry: {}\n\n", ways.retry_ms))]);
        let (cursor, ended) = (0, false);
        let mut source = Self { ways, caller, reconciliation, waiting, cursor, grown, heartbeat, over, ended };
        source.take_up(opening);
        source
    }

    fn take_up(&mut self, opening: Opening) {
        if let Some(reason) = opening.reason {
            let data = format!("event: snapshot\ndata: {{\"reason\":\"{reason}\"}}\n\n");
            self.waiting.push_back(Bytes::from(data));
        }
        self.waiting.extend(opening.frames);
        self.cursor = opening.cursor;
    }

    /// The next bytes to write; `None` at the end.
    async fn next(&mut self) -> Option<Bytes> {
        if self.ended {
            return None;
        }
        loop {
            // Where there is always more to tell, the end and the heartbeat still come.
            if self.caller.has_ended() {
                return Some(self.bye());
            }
            if self.heartbeat.tick().now_or_never().is_some() {
                return Some(self.beat());
            }
            if !self.waiting.is_empty() {
                return Some(self.write_news());
            }
            match self.reconciliation.feed().after(self.cursor) {
                Found::Updates(updates) => {
                    self.cursor = updates.last().map_or(self.cursor, |update| update.seq);
                    self.waiting.extend(updates.iter().map(|update| update.frame.clone()));
                    continue;
                }
                Found::Behind => {
                    let opening = self.reconciliation.behind(self.cursor).await;
                    self.take_up(opening);
                    continue;
                }
                Found::Nothing => {}
            }
            tokio::select! {
                biased;
                () = &mut self.over => return Some(self.bye()),
                _ = self.heartbeat.tick() => return Some(self.beat()),
                // An error would mean that there will be no more: then there is only the end to wait for.
                _ = self.grown.changed() => {}
            }
        }
    }

    fn bye(&mut self) -> Bytes {
        self.ended = true;
        let reason = if self.ways.stop.is_cancelled() { "shutdown" } else { "access-ended" };
        let mut out = BytesMut::new();
        sse::write_bye(&mut out, reason, self.ways.retry_ms);
        out.freeze()
    }

    fn beat(&self) -> Bytes {
        let mut out = BytesMut::new();
        // Writing to memory cannot fail.
        let _ = write!(out, "event: heartbeat\ndata: {{\"at\":\"{}\"}}\n\n", self.ways.clock.now());
        out.freeze()
    }

    /// What waits, in one piece: one update as it is, for nothing.
    fn write_news(&mut self) -> Bytes {
        let first = self.waiting.pop_front().unwrap_or_default();
        let fits =
            |out: usize, next: Option<&Bytes>| next.is_some_and(|next| out + next.len() <= STREAM_WRITE_BYTES_MAX);
        if !fits(first.len(), self.waiting.front()) {
            return first;
        }
        let mut out = BytesMut::from(&*first);
        while fits(out.len(), self.waiting.front()) {
            out.extend_from_slice(&self.waiting.pop_front().unwrap_or_default());
        }
        out.freeze()
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed unwrap fails the test")]
    use super::*;
    use crate::document::visibility::Viewer;
    use crate::features::reconciliation::audit::{Action, Entry};
    use crate::features::reconciliation::service_tests::{begin, games};
    use crate::features::reconciliation::stream::News;
    use crate::http::request::caller::Peer;
    use crate::jobs::tests::running::Running;

    async fn dashboard(
        running: &Running,
        reconciliation: &Arc<Reconciliation>,
    ) -> (ReconciliationStream, CancellationToken) {
        let stop = CancellationToken::new();
        let peer = Peer::at(([127, 0, 0, 1], 1).into(), stop.child_token());
        let caller = Caller { viewer: Viewer::Owner, administrator: true, peer, session: None };
        let ways = Ways {
            clock: Arc::clone(&running.clock) as _,
            heartbeat: Duration::from_secs(15),
            retry_ms: 500,
            stop: stop.clone(),
            _permit: None,
        };
        (ReconciliationStream::open(ways, Arc::clone(reconciliation), caller, None).await, stop)
    }

    fn publish(running: &Running, reconciliation: &Reconciliation) -> Bytes {
        let ticket = reconciliation.feed().ticket();
        let entry = Entry::new(&ticket.id, Action::Compare, running.clock.now(), games(1));
        ticket.publish(News::Verdict(Box::new(entry))).frame.clone()
    }

    async fn next(source: &mut ReconciliationStream) -> String {
        String::from_utf8(source.next().await.unwrap().into()).unwrap()
    }

    #[tokio::test]
    async fn heartbeats_come_every_fifteen_seconds_however_much_there_is_to_tell() {
        let running = Running::start(None);
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
        let running = Running::start(None);
        let reconciliation = begin(&running, 1).await;
        reconciliation.record(Action::Compare, vec![games(1)]).await;
        let (mut source, _stop) = dashboard(&running, &reconciliation).await;
        assert!(next(&mut source).await.contains("\"documents\":1"));
        reconciliation.record(Action::Compare, vec![games(2)]).await;
        for _ in 0..5 {
            reconciliation.record(Action::Compare, (0..300).map(|_| games(3)).collect()).await;
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
