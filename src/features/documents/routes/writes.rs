//! From a request to a change, and from its outcome to an answer that can be given again.

use axum::response::Response;
use bytes::{BufMut, Bytes, BytesMut};
use http::header::HeaderValue;
use serde::Deserialize;

use crate::base::error::{Error, Result};
use crate::base::ids::{Collection, DocumentId, DocumentName, Seq};
use crate::document::access::host_name;
use crate::document::chain::Position;
use crate::document::decide::Request;
use crate::document::model::Document;
use crate::document::visibility::Viewer;
use crate::engine::request::{Durability, Write, WriteKey, WriteOutcome, WriteReply, WriteTimes};
use crate::http::api::Api;
use crate::http::idempotency::StoredResponse;
use crate::http::request::headers::SERVER_TIMING;
use crate::http::response::success::Success;
use crate::store::IdempotencyKey;

/// What the answer to a write shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ResponseContent {
    Document,
    Event,
    /// One line per change.
    Results,
    /// Who hosts the document, and who may do what with it.
    Access,
}

/// How the answer to a write is to look.
#[derive(Clone)]
pub(super) struct ResponseStyle {
    pub viewer: Viewer,
    pub shows: ResponseContent,
    /// `Prefer: return=minimal`.
    pub minimal: bool,
}

/// Makes the changes and answers.
pub(super) async fn write(
    api: &Api,
    style: ResponseStyle,
    key: Option<IdempotencyKey>,
    requests: Vec<Request>,
) -> Result<Response> {
    let key = key.map(|key| {
        let style = style.clone();
        let render = move |outcomes: &[WriteOutcome], durability: Durability| {
            // An answer that cannot be rendered is not kept as one; reading it back says so.
            style.response(outcomes, durability).and_then(|stored| stored.to_bytes()).unwrap_or_default()
        };
        WriteKey { key, render: Box::new(render) }
    });
    match api.engine.write(Write { requests, viewer: style.viewer.clone(), key }).await? {
        WriteReply::Made(written) => {
            let mut response = style.response(&written.outcomes, written.durability)?.into_response(false)?;
            response.headers_mut().insert(SERVER_TIMING, timing(written.times)?);
            Ok(response)
        }
        WriteReply::Replayed(answer) => {
            let stored: StoredResponse = serde_json::from_slice(&answer).map_err(Error::internal)?;
            limited_to_today(api, stored, &style.viewer).await?.into_response(true)
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

impl ResponseStyle {
    fn response(&self, outcomes: &[WriteOutcome], durability: Durability) -> Result<StoredResponse> {
        let last = outcomes.last().ok_or_else(|| Error::internal("a write without a change"))?;
        // What is for memory only is done as soon as it is there; what is for the disk is accepted until it is there.
        let volatile = outcomes.iter().filter(|outcome| outcome.document.meta.volatile).count();
        let done = durability == Durability::Durable || volatile == outcomes.len();
        let durable = durability == Durability::Durable && volatile == 0;
        let single = self.shows != ResponseContent::Results;
        let created = single && self.shows == ResponseContent::Document && last.created;
        let success = match (done, self.minimal, created) {
            (false, ..) => Success::Accepted,
            (true, true, _) => Success::NoContent,
            (true, false, true) => Success::Created,
            (true, false, false) => Success::Done,
        };
        let body = match (self.minimal, done) {
            (true, true) => Bytes::new(),
            (true, false) => Bytes::from_static(br#"{"durable":false}"#),
            (false, _) => self.body(outcomes, last, durable)?,
        };
        let name = &last.document.meta.name;
        Ok(StoredResponse {
            etag: single.then(|| format!("\"{}\"", last.document.tag())),
            position: Some(last.document.position().to_string()),
            location: created.then(|| format!("/api/v1/{}/{}", name.collection, name.id)),
            minimal: self.minimal,
            ..StoredResponse::from_json(success, body)?
        })
    }

    fn body(&self, outcomes: &[WriteOutcome], last: &WriteOutcome, durable: bool) -> Result<Bytes> {
        let audience = last.document.meta.audience(&self.viewer);
        match self.shows {
            ResponseContent::Document => last.document.render(audience, durable),
            ResponseContent::Access => access_json(&last.document, durable),
            ResponseContent::Event => {
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
            ResponseContent::Results => {
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

/// Who hosts a document, and who may do what with it.
pub(super) fn access_json(document: &Document, durable: bool) -> Result<Bytes> {
    let meta = &document.meta;
    let mut body = serde_json::json!({
        "collection": meta.name.collection, "id": meta.name.id, "version": document.version, "hash": document.hash,
        "host": host_name(meta.host.as_ref()), "access": meta.access, "durable": durable && !meta.volatile,
    });
    if let (true, Some(members)) = (meta.volatile, body.as_object_mut()) {
        members.insert("persistent".to_owned(), false.into());
    }
    serde_json::to_vec(&body).map(Bytes::from).map_err(Error::internal)
}

/// The documents that a response tells of.
#[derive(Deserialize)]
struct ToldDocuments {
    collection: Option<Collection>,
    id: Option<DocumentId>,
    #[serde(default)]
    results: Vec<ToldDocuments>,
}

impl ToldDocuments {
    fn names(self) -> Vec<DocumentName> {
        let name = self.collection.zip(self.id).map(|(collection, id)| DocumentName { collection, id });
        name.into_iter().chain(self.results.into_iter().flat_map(Self::names)).collect()
    }
}

/// A stored response as far as `viewer` may see today what it tells: where their right to one of its documents has
/// changed since, it comes without its content. Error: `NotFound` where they may not read one any more.
async fn limited_to_today(api: &Api, stored: StoredResponse, viewer: &Viewer) -> Result<StoredResponse> {
    if stored.body.is_empty() || *viewer == Viewer::Owner {
        return Ok(stored);
    }
    let told: ToldDocuments = serde_json::from_str(&stored.body).map_err(Error::internal)?;
    let then = stored.position.as_deref().and_then(Position::parse).map_or(Seq::ZERO, Position::seq);
    let mut changed = false;
    for name in told.names() {
        let Some(meta) = api.reads.meta(&name).await? else { continue };
        meta.check_reader(viewer)?;
        changed |= meta.access_seq > then && !meta.is_host(viewer);
    }
    if !changed {
        return Ok(stored);
    }
    Ok(stored.without_body())
}
