//! A subscriber that behaves as a browser's `EventSource`: it remembers the last `id:` and nothing else.

use std::time::Duration;

use rejoin::internals::{Message, SseParser};
use reqwest::{Client, RequestBuilder, Response};
use serde_json::Value;
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

/// A connection to a stream.
pub struct Follower {
    response: Response,
    parser: SseParser,
    ready: std::collections::VecDeque<Message>,
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
        let parser = SseParser::new(&last_event_id, 64 << 20);
        Ok(Self { response, parser, ready: std::collections::VecDeque::new(), last_event_id })
    }

    /// The next event, heartbeats included; `None` when the connection ended, for whatever reason.
    pub async fn next_raw(&mut self) -> Option<Told> {
        loop {
            if let Some(message) = self.ready.pop_front() {
                self.last_event_id.clone_from(&message.last_event_id);
                let data = serde_json::from_str(&message.data).expect("the data of every event is JSON");
                return Some(Told { event: message.event, id: message.last_event_id, data, text: message.data });
            }
            let piece = timeout(PATIENCE, self.response.chunk()).await.expect("the stream says something");
            let mut messages = Vec::new();
            self.parser.push(&piece.ok()??, &mut messages).unwrap();
            self.ready.extend(messages);
        }
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
