//! From a request to a change, and from its outcome to an answer that can be given again.

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use bytes::{BufMut, Bytes, BytesMut};
use http::StatusCode;
use http::header::{CONTENT_TYPE, ETAG, HeaderValue, LOCATION};
use serde::{Deserialize, Serialize};

use crate::base::error::{Error, Result};
use crate::document::chain::Hash;
use crate::document::decide::Request;
use crate::document::visibility::{Viewer, redact_state};
use crate::engine::request::{Durability, Outcome, Write, WriteKey, WriteReply, WriteTimes};
use crate::http::api::Api;
use crate::http::request::headers::{IDEMPOTENCY_REPLAYED, PREFERENCE_APPLIED, REJOIN_POSITION, SERVER_TIMING};

/// What the answer to a write shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shows {
    Document,
    Event,
    /// One line per change.
    Results,
}

/// What a caller said about how to write, in headers.
pub(super) struct Manner {
    pub viewer: Viewer,
    /// `Idempotency-Key`, if given.
    pub key: Option<String>,
    /// A digest of what a repeated key must come with again.
    pub fingerprint: Hash,
    /// `Prefer: return=minimal`.
    pub minimal: bool,
}

/// Makes the changes and answers.
pub(super) async fn write(api: &Api, manner: Manner, requests: Vec<Request>, shows: Shows) -> Result<Response> {
    let Manner { viewer, key, fingerprint, minimal } = manner;
    let style = Style { viewer: viewer.clone(), shows, minimal };
    let key = key.map(|key| {
        let style = style.clone();
        let render = move |outcomes: &[Outcome], durability: Durability| {
            // An answer that cannot be rendered is not kept as one; reading it back says so.
            let reply =
                style.reply(outcomes, durability).and_then(|reply| serde_json::to_vec(&reply).map_err(Error::internal));
            Bytes::from(reply.unwrap_or_default())
        };
        WriteKey { key, fingerprint, render: Box::new(render) }
    });
    match api.engine.write(Write { requests, viewer, key }).await? {
        WriteReply::Made(written) => {
            let mut response = style.reply(&written.outcomes, written.durability)?.into_response();
            response.headers_mut().insert(SERVER_TIMING, timing(written.times)?);
            Ok(response)
        }
        WriteReply::Replayed(bytes) => {
            let reply: Reply = serde_json::from_slice(&bytes).map_err(Error::internal)?;
            let mut response = reply.into_response();
            response.headers_mut().insert(IDEMPOTENCY_REPLAYED, HeaderValue::from_static("true"));
            Ok(response)
        }
    }
}

fn timing(times: WriteTimes) -> Result<HeaderValue> {
    let ms = |duration: std::time::Duration| duration.as_secs_f64() * 1000.0;
    let text = format!(
        "queue;dur={:.3}, apply;dur={:.3}, commit;dur={:.3}",
        ms(times.queue),
        ms(times.apply),
        ms(times.commit)
    );
    HeaderValue::from_str(&text).map_err(Error::internal)
}

/// How the answer to a write is to look.
#[derive(Clone)]
struct Style {
    viewer: Viewer,
    shows: Shows,
    minimal: bool,
}

/// An answer to a write, in the form in which it is kept for a retry.
#[derive(Debug, Serialize, Deserialize)]
struct Reply {
    status: u16,
    #[serde(skip_serializing_if = "Option::is_none")]
    etag: Option<String>,
    position: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    location: Option<String>,
    minimal: bool,
    body: String,
}

impl Style {
    fn reply(&self, outcomes: &[Outcome], durability: Durability) -> Result<Reply> {
        let last = outcomes.last().ok_or_else(|| Error::internal("a write without a change"))?;
        // What is for memory only is done as soon as it is there; what is for the disk is accepted until it is there.
        let volatile = outcomes.iter().filter(|outcome| outcome.document.meta.volatile).count();
        let done = durability == Durability::Durable || volatile == outcomes.len();
        let durable = durability == Durability::Durable && volatile == 0;
        let single = self.shows != Shows::Results;
        let created = single && self.shows == Shows::Document && last.created;
        let status = match (done, self.minimal, created) {
            (false, ..) => StatusCode::ACCEPTED,
            (true, true, _) => StatusCode::NO_CONTENT,
            (true, false, true) => StatusCode::CREATED,
            (true, false, false) => StatusCode::OK,
        };
        let body = match (self.minimal, done) {
            (true, true) => Bytes::new(),
            (true, false) => Bytes::from_static(br#"{"durable":false}"#),
            (false, _) => self.body(outcomes, last, durable)?,
        };
        let name = &last.document.meta.name;
        Ok(Reply {
            status: status.as_u16(),
            etag: single.then(|| format!("\"{}\"", last.document.tag())),
            position: last.document.position().to_string(),
            location: created.then(|| format!("/api/v1/{}/{}", name.collection, name.id)),
            minimal: self.minimal,
            body: String::from_utf8(body.into()).map_err(Error::internal)?,
        })
    }

    fn body(&self, outcomes: &[Outcome], last: &Outcome, durable: bool) -> Result<Bytes> {
        let audience = last.document.meta.audience(&self.viewer);
        match self.shows {
            Shows::Document => {
                let state = last.document.state.as_deref().map(|state| redact_state(state, audience)).transpose()?;
                Ok(last.document.render(state.as_deref(), durable))
            }
            Shows::Event => {
                let mut out = BytesMut::new();
                last.event.render_into(&mut out, audience)?;
                // The event as everywhere else, with one member more.
                out.truncate(out.len().saturating_sub(1));
                out.put_slice(match (last.document.meta.volatile, durable) {
                    (true, _) => br#","durable":false,"persistent":false}"#,
                    (false, true) => br#","durable":true}"#,
                    (false, false) => br#","durable":false}"#,
                });
                Ok(out.freeze())
            }
            Shows::Results => {
                let results: Vec<_> = outcomes
                    .iter()
                    .map(|outcome| {
                        let document = &outcome.document;
                        let mut result = serde_json::json!({
                            "collection": document.meta.name.collection,
                            "id": document.meta.name.id,
                            "version": document.version,
                            "hash": document.hash,
                            "seq": document.seq,
                        });
                        if let (true, Some(members)) = (document.meta.volatile, result.as_object_mut()) {
                            members.insert("persistent".to_owned(), false.into());
                        }
                        result
                    })
                    .collect();
                let body = serde_json::json!({ "results": results, "durable": durable });
                serde_json::to_vec(&body).map(Bytes::from).map_err(Error::internal)
            }
        }
    }
}

impl IntoResponse for Reply {
    fn into_response(self) -> Response {
        let empty = self.body.is_empty();
        let mut response = Response::new(Body::from(self.body));
        *response.status_mut() = StatusCode::from_u16(self.status).unwrap_or(StatusCode::OK);
        let headers = response.headers_mut();
        let mut put = |name, text: &str| {
            if let Ok(value) = HeaderValue::from_str(text) {
                headers.insert(name, value);
            }
        };
        if !empty {
            put(CONTENT_TYPE, "application/json");
        }
        put(REJOIN_POSITION, &self.position);
        self.etag.iter().for_each(|etag| put(ETAG, etag));
        self.location.iter().for_each(|location| put(LOCATION, location));
        if self.minimal {
            put(PREFERENCE_APPLIED, "return=minimal");
        }
        response
    }
}
