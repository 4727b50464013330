//! The immutable record of one accepted change, and its bytes.
//!
//! An event is serialised once, into its *body*: those bytes are on disk, are hashed, and are on the wire for whoever
//! may see all. The wire form only puts `seq` before and `hash` after them. `seq` is not hashed, so that a document's
//! chain stays valid in the log of another server.

use std::sync::{Arc, OnceLock};

use bytes::{BufMut, Bytes, BytesMut};
use data_encoding::HEXLOWER;
use memchr::memmem;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;

use super::access::HostedAccess;
use super::chain::{Hash, Position};
use super::model::Meta;
use super::patch::{PatchOperation, StateChange};
use super::visibility::{self, Audience, Viewer};
use crate::base::clock::Timestamp;
use crate::base::error::{Error, Result};
use crate::base::ids::{Collection, DocumentId, Seq, UserId, Version};

/// The stored form, in the order in which its members are written.
#[derive(Serialize, Deserialize)]
struct EventBody<'a> {
    collection: Collection,
    id: DocumentId,
    version: Version,
    #[serde(rename = "type")]
    kind: &'a str,
    actor: UserId,
    at: Timestamp,
    #[serde(borrow)]
    payload: &'a RawValue,
    #[serde(borrow)]
    patch: &'a RawValue,
    /// Host and access from here on, in an event that sets them: for the host alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    access: Option<HostedAccess>,
    /// Random digits in every event that holds something not everyone may see. Without them a viewer could guess a
    /// secret of few possibilities (two cards) and check the guess against the public hash.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    salt: Option<&'a str>,
}

#[derive(Debug)]
pub struct Event {
    /// Its place in the log.
    pub seq: Seq,
    /// The document that it changed.
    pub meta: Arc<Meta>,
    /// The document's version after it.
    pub version: Version,
    /// The document's hash after it.
    pub hash: Hash,
    /// When it was taken up.
    pub at: Timestamp,
    /// Whether the document was deleted by it.
    pub deletes: bool,
    pub body: Bytes,
    /// Whether some viewer may have to get less than the whole. Never false when one has to.
    pub guarded: bool,
    /// Whether it sets host and access.
    pub sets_access: bool,
    /// The document's facts before an event that changed host or access. `None`: it did not, or it was read back from
    /// disk.
    before_access: Option<Arc<Meta>>,
    /// See [`frame`](Event::frame).
    frame: OnceLock<Bytes>,
}

/// What a new event says.
#[derive(Debug)]
pub struct Content<'a> {
    pub kind: &'a str,
    pub actor: &'a UserId,
    pub at: Timestamp,
    /// What was sent along.
    pub payload: &'a Value,
    /// How the state changed.
    pub change: &'a StateChange,
    /// Whether it records host and access.
    pub records_access: bool,
    /// Random bytes, used when the event holds a secret.
    pub salt: [u8; 16],
}

impl Event {
    /// Records a change of the document `meta`, whose hash before it is `previous`.
    pub fn new(seq: Seq, meta: Arc<Meta>, version: Version, previous: Hash, content: &Content<'_>) -> Result<Self> {
        let payload = serde_json::value::to_raw_value(content.payload).map_err(Error::internal)?;
        let patch = serde_json::value::to_raw_value(&content.change.operations).map_err(Error::internal)?;
        let access = content.records_access.then(|| meta.hosted_access());
        let sets_access = access.is_some();
        let secret = mentions_secrets(payload.get().as_bytes()) || mentions_secrets(patch.get().as_bytes());
        let guarded = secret || sets_access;
        let salt = guarded.then(|| HEXLOWER.encode(&content.salt));
        let body = serde_json::to_vec(&EventBody {
            collection: meta.name.collection.clone(),
            id: meta.name.id.clone(),
            version,
            kind: content.kind,
            actor: content.actor.clone(),
            at: content.at,
            payload: &payload,
            patch: &patch,
            access,
            salt: salt.as_deref(),
        })
        .map_err(Error::internal)?;
        Ok(Self {
            seq,
            version,
            hash: previous.after(&body),
            at: content.at,
            deletes: content.change.deletes,
            body: body.into(),
            guarded,
            sets_access,
            before_access: None,
            meta,
            frame: OnceLock::new(),
        })
    }

    /// The same event of a document whose facts were `before` until then.
    pub fn changing_access(self, before: Arc<Meta>) -> Self {
        Self { before_access: Some(before), ..self }
    }

    /// The same event of a document with these facts: its host or access have changed since.
    pub fn with_meta(&self, meta: Arc<Meta>) -> Self {
        let Self { seq, version, hash, at, deletes, guarded, sets_access, .. } = *self;
        let (body, before_access, frame) = (self.body.clone(), self.before_access.clone(), self.frame.clone());
        Self { seq, meta, version, hash, at, deletes, body, guarded, sets_access, before_access, frame }
    }

    /// The event as `viewer` is shown it, in which what they may not see takes no room; `None`: that is all of it.
    pub fn shown_to(&self, viewer: &Viewer) -> Result<Option<Self>> {
        let body = match self.meta.audience(viewer) {
            Audience::Player(player) if self.guarded => self.redacted(player)?,
            Audience::Player(_) | Audience::Host => return Ok(None),
        };
        let shown = self.with_meta(Arc::clone(&self.meta));
        Ok(Some(Self { body: body.into(), guarded: false, frame: OnceLock::new(), ..shown }))
    }

    /// Whether it changed host or access, rather than set them when the document was created.
    pub fn changes_access(&self) -> bool {
        self.sets_access && self.version > Version(1)
    }

    /// The document's facts before an event that changed host or access, if they are remembered.
    pub fn before_access(&self) -> Option<&Meta> {
        self.before_access.as_deref()
    }

    /// Host and access as it sets them.
    pub fn access(&self) -> Result<Option<HostedAccess>> {
        if self.sets_access { Ok(parse(&self.body)?.access) } else { Ok(None) }
    }

    /// An event as it was stored. Whether its hash follows is for whoever reads a chain to check.
    pub fn stored(seq: Seq, meta: Arc<Meta>, version: Version, hash: Hash, deletes: bool, body: Bytes) -> Result<Self> {
        let EventBody { at, access, .. } = parse(&body)?;
        let sets_access = access.is_some();
        let guarded = sets_access || mentions_secrets(&body);
        let (before_access, frame) = (None, OnceLock::new());
        Ok(Self { seq, meta, version, hash, at, deletes, body, guarded, sets_access, before_access, frame })
    }

    /// Checks that its bytes are those that we would write: members, order, spelling, and the document and version that
    /// they name. What comes from another server could spell a secret so that it is not recognised as one. Error:
    /// `Damaged`.
    pub fn check_form(&self) -> Result<()> {
        let mut body = parse(&self.body)?;
        let named = body.collection == self.meta.name.collection && body.id == self.meta.name.id;
        let payload: Value = serde_json::from_str(body.payload.get()).map_err(Error::internal)?;
        let patch: Vec<PatchOperation> = serde_json::from_str(body.patch.get()).map_err(Error::internal)?;
        let payload = serde_json::value::to_raw_value(&payload).map_err(Error::internal)?;
        let patch = serde_json::value::to_raw_value(&patch).map_err(Error::internal)?;
        (body.payload, body.patch) = (&payload, &patch);
        let written = serde_json::to_vec(&body).map_err(Error::internal)?;
        let secret = mentions_secrets(payload.get().as_bytes()) || mentions_secrets(patch.get().as_bytes());
        let salted = body.salt.is_some() == (secret || body.access.is_some());
        if named && salted && body.version == self.version && written == self.body {
            return Ok(());
        }
        Err(Error::new(crate::base::error::Kind::Damaged, "an event is not written as events are"))
    }

    /// Its position in the log.
    pub fn position(&self) -> Position {
        Position::after(self.seq, self.hash)
    }

    /// The operations that turn the state before it into the state after it.
    pub fn operations(&self) -> Result<Vec<PatchOperation>> {
        serde_json::from_str(parse(&self.body)?.patch.get()).map_err(Error::internal)
    }

    /// Appends the JSON that `audience` gets.
    pub fn render_into(&self, out: &mut BytesMut, audience: Audience<'_>) -> Result<()> {
        match audience {
            Audience::Player(player) if self.guarded => self.write_framed(out, &self.redacted(player)?),
            Audience::Player(_) | Audience::Host => self.write_framed(out, &self.body),
        }
        Ok(())
    }

    /// The JSON that `audience` gets.
    pub fn render(&self, audience: Audience<'_>) -> Result<Bytes> {
        let mut out = BytesMut::with_capacity(self.body.len() + 100);
        self.render_into(&mut out, audience)?;
        Ok(out.freeze())
    }

    /// The event as a stream carries it to `audience`. What everyone gets who may see all is made once, for the first
    /// subscriber, and kept with the event: there may be a thousand more.
    pub fn frame(&self, audience: Audience<'_>) -> Result<Bytes> {
        match audience {
            Audience::Player(_) if self.guarded => self.new_frame(audience),
            Audience::Player(_) | Audience::Host => match self.frame.get() {
                Some(frame) => Ok(frame.clone()),
                None => {
                    let frame = self.new_frame(audience)?;
                    Ok(self.frame.get_or_init(|| frame).clone())
                }
            },
        }
    }

    fn new_frame(&self, audience: Audience<'_>) -> Result<Bytes> {
        use std::fmt::Write as _;
        let mut out = BytesMut::with_capacity(self.body.len() + 200);
        // Writing to memory cannot fail.
        let _ = write!(out, "id: {}\nevent: change\ndata: ", self.position());
        self.render_into(&mut out, audience)?;
        out.put_slice(b"\n\n");
        Ok(out.freeze())
    }

    /// Puts `seq` before the members of `body` and `hash` after them.
    fn write_framed(&self, out: &mut BytesMut, body: &[u8]) {
        use std::fmt::Write as _;
        out.reserve(body.len() + 100);
        let members = body.get(1..body.len().saturating_sub(1)).unwrap_or_default();
        // Writing to memory cannot fail.
        let _ = write!(out, r#"{{"seq":{},"#, self.seq);
        out.put_slice(members);
        let _ = write!(out, r#","hash":"{}"}}"#, self.hash);
    }

    /// The body without what `player` may not see, host and access included, and without the salt, which would let it
    /// be guessed.
    fn redacted(&self, player: &UserId) -> Result<Vec<u8>> {
        let mut body = parse(&self.body)?;
        let payload: Value = serde_json::from_str(body.payload.get()).map_err(Error::internal)?;
        let patch: Vec<PatchOperation> = serde_json::from_str(body.patch.get()).map_err(Error::internal)?;
        let payload = serde_json::value::to_raw_value(&visibility::redact_value(payload, player));
        let payload = payload.map_err(Error::internal)?;
        let patch: Vec<PatchOperation> =
            patch.into_iter().filter_map(|operation| visibility::redact_operation(operation, player)).collect();
        let patch = serde_json::value::to_raw_value(&patch).map_err(Error::internal)?;
        (body.payload, body.patch, body.access, body.salt) = (&payload, &patch, None, None);
        serde_json::to_vec(&body).map_err(Error::internal)
    }
}

fn parse(body: &[u8]) -> Result<EventBody<'_>> {
    serde_json::from_slice(body)
        .map_err(|e| Error::new(crate::base::error::Kind::Damaged, "a stored event is not readable").caused_by(e))
}

/// Whether serialised JSON may name a secret place. Our serialiser never escapes these letters, so a key or a path
/// that holds them shows them as they are.
fn mentions_secrets(json: &[u8]) -> bool {
    memmem::find(json, b"hidden").is_some() || memmem::find(json, b"private").is_some()
}
