//! A subscriber that behaves as a browser's `EventSource`: it remembers the last `id:` and nothing else.

use std::pin::Pin;
use std::time::Duration;

use futures_util::{Stream, StreamExt as _};
use reqwest::{Client, RequestBuilder};
use serde_json::Value;
use sse_stream::{Sse, SseByteStream};
use tokio::time::timeout;

use super::session::shown;

/// How long a test waits for what must come.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// One event of a stream.
#[derive(Clone, Debug, PartialEq)]
pub struct Told {
    /// Its name.
    pub event: String,
    /// Its `id:`, or that of the last event that had one.
    pub id: String,
    /// Its data as JSON.
    pub data: Value,
    /// Its data as it came.
    pub text: String,
}

/// The blocks of a stream, as `sse-stream` reads them.
pub type Blocks = Pin<Box<dyn Stream<Item = Result<Sse, sse_stream::Error>> + Send>>;

/// The next event of `blocks`; `None` when the connection ended, for whatever reason. Keeps `last_event_id` as
/// `EventSource` does: a block may bring an id without data, and an event without an id has that of the one before.
pub async fn next_event(blocks: &mut Blocks, last_event_id: &mut String) -> Option<Told> {
    loop {
        let block = timeout(PATIENCE, blocks.next()).await.expect("the stream says something");
        let block = match block? {
            Ok(block) => block,
            Err(sse_stream::Error::Body(_)) => return None,
            Err(error) => panic!("not a stream of events: {error}"),
        };
        if let Some(id) = block.id {
            *last_event_id = id;
        }
        if let Some(text) = block.data {
            let data = serde_json::from_str(&text).expect("the data of every event is JSON");
            let event = block.event.unwrap_or_else(|| "message".to_owned());
            return Some(Told { event, id: last_event_id.clone(), data, text });
        }
    }
}

/// A connection to a stream.
pub struct Follower {
    blocks: Blocks,
    /// What a browser would send as `Last-Event-ID`; empty: nothing.
    pub last_event_id: String,
}

impl Follower {
    /// Connects to `url`. `resume`: the `Last-Event-ID` to send.
    pub async fn connect(url: &str, viewer: Option<&str>, resume: Option<&str>) -> reqwest::Result<Self> {
        let mut request = Client::new().get(url).header("accept", "text/event-stream");
        if let Some(viewer) = viewer {
            request = shown(request, viewer).await;
        }
        Self::send(request, resume).await
    }

    /// The same with these headers, which must be answered.
    pub async fn with(url: &str, headers: &[(&str, &str)], resume: Option<&str>) -> Self {
        let request = Client::new().get(url).header("accept", "text/event-stream");
        let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
        Self::send(request, resume).await.unwrap()
    }

    async fn send(mut request: RequestBuilder, resume: Option<&str>) -> reqwest::Result<Self> {
        if let Some(resume) = resume {
            request = request.header("last-event-id", resume);
        }
        let response = request.send().await?.error_for_status()?;
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        let last_event_id = resume.unwrap_or_default().to_owned();
        Ok(Self { blocks: Box::pin(SseByteStream::new(response.bytes_stream())), last_event_id })
    }

    /// The next event, heartbeats included; `None` when the connection ended, for whatever reason.
    pub async fn next_raw(&mut self) -> Option<Told> {
        next_event(&mut self.blocks, &mut self.last_event_id).await
    }

    /// The next event that is neither a heartbeat nor about who is there; `None` when the connection ended.
    pub async fn next(&mut self) -> Option<Told> {
        let next = async {
            loop {
                match self.next_raw().await {
                    Some(told) if matches!(&*told.event, "heartbeat" | "presence") => {}
                    other => return other,
                }
            }
        };
        timeout(PATIENCE, next).await.expect("the stream says something besides its heartbeats")
    }

    /// The next event, which must be of this name.
    pub async fn expect(&mut self, event: &str) -> Told {
        let told = self.next().await.unwrap_or_else(|| panic!("the stream ended; {event} was to come"));
        assert_eq!(told.event, event, "{}", told.text);
        told
    }

    /// The next event, which must have one of these names.
    pub async fn expect_any(&mut self, events: &[&str]) -> Told {
        let told = self.next().await.unwrap_or_else(|| panic!("the stream ended; one of {events:?} was to come"));
        assert!(events.contains(&told.event.as_str()), "{}: {}", told.event, told.text);
        told
    }

    /// The next event about who is there; whatever else comes before it must be a heartbeat.
    pub async fn presence(&mut self) -> Told {
        loop {
            let told = self.next_raw().await.expect("the stream goes on");
            if told.event != "heartbeat" {
                assert_eq!(told.event, "presence", "{}", told.text);
                return told;
            }
        }
    }

    /// The next event that is no heartbeat.
    pub async fn presence_or_change(&mut self) -> Told {
        loop {
            let told = self.next_raw().await.expect("the stream goes on");
            if told.event != "heartbeat" {
                return told;
            }
        }
    }

    /// The next `count` changes.
    pub async fn changes(&mut self, count: usize) -> Vec<Told> {
        let mut changes = Vec::with_capacity(count);
        for _ in 0..count {
            changes.push(self.expect("change").await);
        }
        changes
    }

    /// After a resume: the announced changes, of which there must be `count`.
    pub async fn changes_after_resumed(&mut self, count: usize) -> Vec<Told> {
        let resumed = self.expect("resumed").await;
        assert_eq!(resumed.data["count"], count, "{}", resumed.text);
        self.changes(count).await
    }
}
