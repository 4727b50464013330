//! Requests to the server, repeated with the same `Idempotency-Key` when the connection breaks.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use parking_lot::Mutex;
use reqwest::{Method, Response, StatusCode};
use serde_json::{Value, json};
use tokio::sync::OnceCell;

use crate::copy::Document;

/// How long a server may be away before the replay gives up.
pub const PATIENCE: Duration = Duration::from_secs(60);
/// A request that takes longer than this is sent again.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);
/// A stream that is silent for longer than two heartbeats is taken for dead.
const SILENCE_MAX: Duration = Duration::from_secs(40);

/// What was counted, over all tables. Relaxed counters: they are only read when everything is done.
#[derive(Debug, Default)]
pub struct Counts {
    /// Actions that the server accepted.
    pub actions: AtomicU64,
    /// Requests that were sent again.
    pub retries: AtomicU64,
    /// Writes that were answered from memory of an earlier, lost answer.
    pub answered_before: AtomicU64,
    /// Writes that were accepted before they were on disk.
    pub not_durable: AtomicU64,
    /// Changes received on streams.
    pub changes: AtomicU64,
    /// Streams opened anew.
    pub reconnects: AtomicU64,
    /// Changes that `resumed` announced.
    pub replayed: AtomicU64,
    /// Snapshots in place of a replay.
    pub snapshots: AtomicU64,
}

/// Adds to a counter.
pub fn add(counter: &AtomicU64, count: u64) {
    counter.fetch_add(count, Ordering::Relaxed);
}

/// The server, for all tables at once.
pub struct Client {
    http: reqwest::Client,
    server: String,
    /// Begins every key and id, so that a second replay on the same server is not taken for the first.
    run: String,
    keys: AtomicU64,
    /// The token of each player's session, opened when it is first needed. Held for a look only.
    sessions: Mutex<HashMap<String, Arc<OnceCell<String>>>>,
    /// Set when someone's patience ended; then nobody else waits.
    gone: AtomicBool,
    /// What was counted.
    pub counts: Counts,
}

/// One write.
pub struct Write<'a> {
    /// Below the server's address.
    pub path: &'a str,
    /// Whose it is; none for the host.
    pub viewer: Option<&'a str>,
    /// What is sent.
    pub body: &'a Value,
}

impl Client {
    /// A client for the server at this address.
    pub fn new(server: &str, run: String) -> anyhow::Result<Self> {
        let http = reqwest::Client::builder().read_timeout(SILENCE_MAX).tcp_nodelay(true).build()?;
        Ok(Self {
            http,
            server: server.trim_end_matches('/').to_owned(),
            run,
            keys: AtomicU64::new(0),
            sessions: Mutex::default(),
            gone: AtomicBool::new(false),
            counts: Counts::default(),
        })
    }

    /// What ids of this replay begin with.
    pub fn run(&self) -> &str {
        &self.run
    }

    /// Sends a write until it is answered; its answer. A repetition has the same key, so it is done once.
    pub async fn post(&self, write: &Write<'_>) -> anyhow::Result<Value> {
        let key = format!("{}-{}", self.run, self.keys.fetch_add(1, Ordering::Relaxed));
        let mut backoff = Backoff::default();
        loop {
            let sent = self
                .request(Method::POST, write.path, write.viewer)
                .await?
                .timeout(REQUEST_TIMEOUT)
                .header("Idempotency-Key", &key)
                .json(write.body);
            match answer(sent.send().await).await {
                Ok(Answer { status, replayed, body }) => {
                    add(&self.counts.answered_before, u64::from(replayed));
                    add(&self.counts.not_durable, u64::from(status == StatusCode::ACCEPTED));
                    ensure!(status.is_success(), "{} {}: {status} {body}", write.path, write.body);
                    return Ok(body);
                }
                Err(lost) => self.wait(&mut backoff, lost).await?,
            }
        }
    }

    /// A game as `viewer` sees it.
    pub async fn game(&self, game: &str, viewer: Option<&str>) -> anyhow::Result<Document> {
        let path = format!("/api/v1/games/{game}");
        let mut backoff = Backoff::default();
        loop {
            let sent = self.request(Method::GET, &path, viewer).await?.timeout(REQUEST_TIMEOUT);
            match answer(sent.send().await).await {
                Ok(Answer { status, body, .. }) => {
                    ensure!(status.is_success(), "GET {path}: {status} {body}");
                    return serde_json::from_value(body).context("a document");
                }
                Err(lost) => self.wait(&mut backoff, lost).await?,
            }
        }
    }

    /// Opens a player's stream of a game, after `position` if there is one.
    pub async fn stream(&self, game: &str, viewer: &str, position: Option<&str>) -> anyhow::Result<Response> {
        let path = format!("/api/v1/games/{game}/events");
        let mut backoff = Backoff::default();
        loop {
            let mut request =
                self.request(Method::GET, &path, Some(viewer)).await?.header("Accept", "text/event-stream");
            if let Some(position) = position {
                request = request.header("Last-Event-ID", position);
            }
            match request.send().await {
                Ok(response) if response.status() == StatusCode::OK => return Ok(response),
                Ok(response) if !is_passing(response.status()) => bail!("GET {path}: {}", response.status()),
                Ok(response) => self.wait(&mut backoff, anyhow::anyhow!("{}", response.status())).await?,
                Err(lost) => self.wait(&mut backoff, lost.into()).await?,
            }
        }
    }

    /// A request of a player, or of the host.
    async fn request(
        &self,
        method: Method,
        path: &str,
        viewer: Option<&str>,
    ) -> anyhow::Result<reqwest::RequestBuilder> {
        let request = self.http.request(method, format!("{}{path}", self.server));
        let Some(viewer) = viewer else { return Ok(request) };
        let session = Arc::clone(self.sessions.lock().entry(viewer.to_owned()).or_default());
        Ok(request.bearer_auth(session.get_or_try_init(|| self.open_session(viewer)).await?))
    }

    /// Opens a session of a player, as the owner of the server may; its token.
    async fn open_session(&self, player: &str) -> anyhow::Result<String> {
        let body = json!({ "user": player, "device": { "name": "replay" } });
        let mut backoff = Backoff::default();
        loop {
            let sent = self.http.post(format!("{}/api/v1/sessions", self.server)).timeout(REQUEST_TIMEOUT).json(&body);
            match answer(sent.send().await).await {
                Ok(Answer { status, body, .. }) => {
                    let token = body.get("token").and_then(Value::as_str).filter(|_| status == StatusCode::CREATED);
                    return Ok(token.with_context(|| format!("no session of {player}: {status}"))?.to_owned());
                }
                Err(lost) => self.wait(&mut backoff, lost).await?,
            }
        }
    }

    /// Waits before the next attempt. Error: this went on for longer than [`PATIENCE`].
    async fn wait(&self, backoff: &mut Backoff, lost: anyhow::Error) -> anyhow::Result<()> {
        add(&self.counts.retries, 1);
        if backoff.began.elapsed() > PATIENCE {
            self.gone.store(true, Ordering::Relaxed);
        }
        if self.gone.load(Ordering::Relaxed) {
            return Err(lost.context("the server does not answer"));
        }
        tokio::time::sleep(backoff.next).await;
        backoff.next = (backoff.next * 2).min(Duration::from_millis(500));
        Ok(())
    }
}

struct Backoff {
    began: Instant,
    next: Duration,
}

impl Default for Backoff {
    fn default() -> Self {
        Self { began: Instant::now(), next: Duration::from_millis(20) }
    }
}

struct Answer {
    status: StatusCode,
    replayed: bool,
    body: Value,
}

/// The whole answer. Error: there is none, or one that says to come again.
async fn answer(sent: reqwest::Result<Response>) -> anyhow::Result<Answer> {
    let response = sent?;
    let status = response.status();
    let replayed = response.headers().contains_key("Idempotency-Replayed");
    let body = response.bytes().await?;
    if is_passing(status) {
        bail!("{status} {}", String::from_utf8_lossy(&body));
    }
    let body = serde_json::from_slice(&body)
        .with_context(|| format!("{status} with something that is not JSON: {}", String::from_utf8_lossy(&body)));
    // What the server says wrongly is no reason to ask again.
    Ok(Answer { status, replayed, body: body.unwrap_or_else(|e| Value::String(format!("{e:#}"))) })
}

fn is_passing(status: StatusCode) -> bool {
    matches!(status, StatusCode::SERVICE_UNAVAILABLE | StatusCode::INSUFFICIENT_STORAGE | StatusCode::TOO_MANY_REQUESTS)
}
