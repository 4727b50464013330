//! `GET /reconciliation/stream`.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::fmt::Write as _;
use std::pin::Pin;
use std::sync::Arc;

use axum::Extension;
use axum::body::Body;
use axum::extract::State;
use axum::response::Response;
use bytes::{Bytes, BytesMut};
use futures_util::{FutureExt as _, stream};
use http::HeaderMap;
use tokio::sync::watch;
use tokio::time::{Instant, Interval, MissedTickBehavior, interval_at};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::ReadProblems;
use crate::base::limits::STREAM_WRITE_BYTES_MAX;
use crate::features::reconciliation::service::{Opening, Reconciliation};
use crate::features::reconciliation::stream::Found;
use crate::http::api::Api;
use crate::http::caller::Caller;
use crate::http::headers::LAST_EVENT_ID;
use crate::http::openapi::Resume;
use crate::http::problem::Handled;
use crate::http::sse;

pub(super) fn router() -> OpenApiRouter<Api> {
    OpenApiRouter::new().routes(routes!(follow))
}

/// Follow what reconciliation finds
///
/// Server-sent events, for everyone who gets in; no parameter is needed. First the verdict in force of each service, then
/// each as it is found: `reconciliation.update` with its `eventId` as `id`; `reconciliation.removed` when an outside
/// service is no more; `heartbeat` at fixed times; `bye` at the end. With `Last-Event-ID` first what was missed (unchanged
/// verified verdicts as one, with their `count`). Where that cannot be told, `snapshot` says why (`diverged`, `trimmed`,
/// `too-many`, `unavailable`) and the verdicts in force follow.
#[utoipa::path(
    get, path = "/reconciliation/stream", operation_id = "followReconciliation", tag = "reconciliation",
    params(Caller, Resume),
    responses((status = 200, description = "The stream.", body = String, content_type = "text/event-stream"), ReadProblems),
)]
async fn follow(
    State(api): State<Api>,
    Extension(reconciliation): Extension<Arc<Reconciliation>>,
    caller: Caller,
    headers: HeaderMap,
) -> Handled<Response> {
    let resume = headers.get(LAST_EVENT_ID).map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned());
    let resume = resume.filter(|id| !id.is_empty());
    let source = Source::open(api, reconciliation, caller, resume.as_deref()).await;
    // In a box, since it is passed from each piece to the next.
    let body = stream::unfold(Box::new(source), |mut source| async move {
        let bytes = source.next().await?;
        Some((Ok::<_, Infallible>(bytes), source))
    });
    Ok(sse::stream_of(Body::from_stream(body)))
}

/// One dashboard: a cursor, and what it is about to be told.
struct Source {
    api: Api,
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

impl Source {
    async fn open(api: Api, reconciliation: Arc<Reconciliation>, caller: Caller, resume: Option<&str>) -> Self {
        // Before the first look, so that nothing falls between.
        let grown = reconciliation.feed().grown();
        let opening = reconciliation.open(resume).await;
        let mut heartbeat = interval_at(Instant::now() + api.heartbeat, api.heartbeat);
        heartbeat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let over = Box::pin(caller.ended());
        let waiting = VecDeque::from([Bytes::from(format!("retry: {}\n\n", sse::retry(&api)))]);
        let (cursor, ended) = (0, false);
        let mut source = Self { api, caller, reconciliation, waiting, cursor, grown, heartbeat, over, ended };
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
                return Some(self.pour());
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
        let reason = if self.api.stop.is_cancelled() { "shutdown" } else { "access-ended" };
        let mut out = BytesMut::new();
        sse::bye(&mut out, reason, sse::retry(&self.api));
        out.freeze()
    }

    fn beat(&self) -> Bytes {
        let mut out = BytesMut::new();
        // Writing to memory cannot fail.
        let _ = write!(out, "event: heartbeat\ndata: {{\"at\":\"{}\"}}\n\n", self.api.clock.now());
        out.freeze()
    }

    /// What waits, in one piece: one update as it is, for nothing.
    fn pour(&mut self) -> Bytes {
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
