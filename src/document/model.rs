//! A document and its fixed facts.

use std::borrow::Cow;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};

use super::access::{Access, HostedAccess, host_name};
use super::chain::{Hash, Position, Tag};
use super::visibility::{Audience, Viewer, redact_state};
use crate::base::clock::Timestamp;
use crate::base::error::{Error, Kind};
use crate::base::ids::{DocumentName, Seq, UserId, Version};

/// What stays the same over a document's whole life, deletion and re-creation included, but for host and access: a
/// change of those is an event that begins another value of this. Shared by the document, its events and its
/// subscribers.
#[derive(Clone, Debug)]
pub struct Meta {
    /// The row that stands for it in the database; also the short name by which the hub tells documents apart. Negative
    /// when it is volatile, and has no row.
    pub key: i64,
    /// `collection/id`.
    pub name: DocumentName,
    /// Who sees everything in it. `None`: the owner of the server, whom no request header can name.
    pub host: Option<UserId>,
    pub access: Access,
    /// The place in the log of the last event that changed host or access; 0: none did since it was created.
    pub access_seq: Seq,
    /// When it was first created.
    pub created_at: Timestamp,
    /// Whether it lives in memory only: nothing of it is ever on disk, and it is gone when the server stops. Decided
    /// when it is created, and for good.
    pub volatile: bool,
}

impl Meta {
    /// Whether the credential of `viewer` reaches it.
    fn is_reached_by(&self, viewer: &Viewer) -> bool {
        viewer.credential_scope().is_none_or(|scope| scope.reaches(&self.name, Some(self.key)))
    }

    /// Whether `viewer` is its host.
    pub fn is_host(&self, viewer: &Viewer) -> bool {
        self.is_reached_by(viewer) && self.audience(viewer) == Audience::Host
    }

    /// What `viewer` may see of it, if they may read it.
    pub fn audience<'a>(&self, viewer: &'a Viewer) -> Audience<'a> {
        match viewer.user() {
            Some(id) if self.host.as_ref() != Some(id) => Audience::Player(id),
            Some(_) | None => Audience::Host,
        }
    }

    /// Whether `viewer` may read it. Whoever may not is to be told the same as if it had never been there.
    pub fn may_read(&self, viewer: &Viewer) -> bool {
        self.is_reached_by(viewer) && (self.is_host(viewer) || self.access.lets_read(viewer))
    }

    /// What `viewer` may see of it; `None`: they may not read it.
    pub fn audience_of_reader<'a>(&self, viewer: &'a Viewer) -> Option<Audience<'a>> {
        self.may_read(viewer).then(|| self.audience(viewer))
    }

    /// Refuses a viewer who may not read. Error: `NotFound`, as for a document that never was.
    pub fn check_reader(&self, viewer: &Viewer) -> Result<(), Error> {
        if self.may_read(viewer) { Ok(()) } else { Err(unknown_document(&self.name)) }
    }

    /// Refuses a viewer who may not write. Error: `NotFound` for whoever may not read, else `Forbidden`.
    pub fn check_writer(&self, viewer: &Viewer) -> Result<(), Error> {
        self.check_reader(viewer)?;
        check_credential_writes(viewer)?;
        let allowed = self.is_host(viewer) || self.access.lets_write(viewer);
        if allowed { Ok(()) } else { Err(Error::new(Kind::Forbidden, "you may not write to this document")) }
    }

    /// Refuses a viewer who may not delete. Error: `NotFound` for whoever may not read, else `Forbidden`.
    pub fn check_deleter(&self, viewer: &Viewer) -> Result<(), Error> {
        self.check_reader(viewer)?;
        check_credential_writes(viewer)?;
        if self.is_host(viewer) || self.access.lets_delete(viewer) {
            return Ok(());
        }
        let message = "only the host may delete this document, unless its access says otherwise (access.delete)";
        Err(Error::new(Kind::Forbidden, message))
    }

    /// Who hosts it, and who may do what with it.
    pub fn hosted_access(&self) -> HostedAccess {
        HostedAccess { host: self.host.clone(), access: self.access.clone() }
    }

    /// The same document with another host and access.
    pub fn with_access(&self, HostedAccess { host, access }: HostedAccess, access_seq: Seq) -> Self {
        Self { host, access, access_seq, ..self.clone() }
    }
}

/// Refuses a viewer whose credential only reads. Error: `Forbidden`.
pub(crate) fn check_credential_writes(viewer: &Viewer) -> Result<(), Error> {
    match viewer.credential_scope() {
        Some(scope) if !scope.writes => Err(Error::new(Kind::Forbidden, "what this request shows lets it read only")),
        Some(_) | None => Ok(()),
    }
}

/// The refusal of a document that never was there.
pub(crate) fn unknown_document(name: &DocumentName) -> Error {
    Error::not_found(format!("there is no document {name}"))
}

/// A document at one version, as readers get it. Immutable; the next version is another value.
#[derive(Debug)]
pub struct Document {
    /// What stays the same.
    pub meta: Arc<Meta>,
    /// How many changes it has seen.
    pub version: Version,
    /// The hash of its last event.
    pub hash: Hash,
    /// The place of its last event in the log.
    pub seq: Seq,
    pub updated_at: Timestamp,
    /// The serialised state; `None` when the document is deleted.
    pub state: Option<Bytes>,
}

impl Document {
    /// The same version of a document with these facts: its host or access have changed since.
    pub fn with_meta(&self, meta: Arc<Meta>) -> Self {
        let Self { version, hash, seq, updated_at, ref state, .. } = *self;
        Self { meta, version, hash, seq, updated_at, state: state.clone() }
    }

    /// The document as `viewer` is shown it: what they may not see takes no room.
    pub fn shown_to(self, viewer: &Viewer) -> Result<Self, Error> {
        let redacted =
            self.state.as_deref().map(|state| redact_state(state, self.meta.audience(viewer))).transpose()?;
        let redacted = match redacted {
            Some(Cow::Owned(state)) => Some(state),
            Some(Cow::Borrowed(_)) | None => None,
        };
        Ok(match redacted {
            Some(state) => Self { state: Some(state.into()), ..self },
            None => self,
        })
    }

    /// Its position: subscribing from here continues from exactly this state.
    pub fn position(&self) -> Position {
        Position::after(self.seq, self.hash)
    }

    /// What its `ETag` holds.
    pub fn tag(&self) -> Tag {
        Tag { version: self.version, hash: self.hash.short() }
    }

    /// Whether its last event is a tombstone.
    pub fn is_deleted(&self) -> bool {
        self.state.is_none()
    }

    /// The JSON that `audience` gets. `durable`: whether everything up to its seq that ever comes to disk is there; a
    /// volatile document is marked, and never durable.
    pub fn render(&self, audience: Audience<'_>, durable: bool) -> Result<Bytes, Error> {
        let mut out = BytesMut::with_capacity(self.state.as_ref().map_or(4, Bytes::len) + 460);
        self.render_into(&mut out, audience, durable)?;
        Ok(out.freeze())
    }

    /// Appends what [`render`](Self::render) returns.
    pub fn render_into(&self, out: &mut BytesMut, audience: Audience<'_>, durable: bool) -> Result<(), Error> {
        use std::fmt::Write as _;
        let state = self.state.as_deref().map(|state| redact_state(state, audience)).transpose()?;
        // Writing to memory cannot fail, and names need no escaping: their alphabet has nothing to escape.
        let name = &self.meta.name;
        let _ = write!(
            out,
            r#"{{"collection":"{}","id":"{}","version":{},"hash":"{}","state":"#,
            name.collection, name.id, self.version, self.hash
        );
        out.extend_from_slice(state.as_deref().unwrap_or(b"null"));
        if state.is_none() {
            out.extend_from_slice(br#","deleted":true"#);
        }
        if audience == Audience::Host {
            let access = serde_json::to_string(&self.meta.access).map_err(Error::internal)?;
            let _ = write!(out, r#","host":"{}","access":{access}"#, host_name(self.meta.host.as_ref()));
        }
        let _ = write!(
            out,
            r#","createdAt":"{}","updatedAt":"{}","durable":{}"#,
            self.meta.created_at,
            self.updated_at,
            durable && !self.meta.volatile
        );
        out.extend_from_slice(if self.meta.volatile { br#","persistent":false}"# } else { b"}" });
        Ok(())
    }
}
