//! A document and its fixed facts.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::chain::{Hash, Position, Tag};
use super::visibility::{Audience, Viewer};
use crate::base::clock::Timestamp;
use crate::base::error::{Error, Kind};
use crate::base::ids::{DocumentName, Seq, UserId, Version};

/// Who may write to a document. The host always may.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", try_from = "Map<String, Value>")]
pub struct Access {
    /// Left out: everyone who gets in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub write: Option<Writers>,
}

/// By way of an object: a derived struct would also be read from an array, in the order of its members.
impl TryFrom<Map<String, Value>> for Access {
    type Error = String;

    fn try_from(mut members: Map<String, Value>) -> Result<Self, String> {
        let write = members.remove("write").filter(|write| !write.is_null());
        if !members.is_empty() {
            return Err("has a member that is not known here; taken: write".to_owned());
        }
        let forms = |_| "write must be \"host\" or a list of user ids".to_owned();
        Ok(Self { write: write.map(serde_json::from_value).transpose().map_err(forms)? })
    }
}

/// The value of `access.write`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Writers {
    /// The text `"host"`.
    Host(HostOnly),
    /// These users, beside the host.
    Users(Vec<UserId>),
}

/// The text `"host"`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String")]
pub enum HostOnly {
    /// The text `"host"`.
    #[serde(rename = "host")]
    Host,
}

/// By way of a string: a derived enum would also take `{"host": null}`.
impl TryFrom<String> for HostOnly {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, &'static str> {
        if text == "host" { Ok(Self::Host) } else { Err("must be \"host\"") }
    }
}

/// What stays the same over a document's whole life, deletion and re-creation included. Shared by the document, its
/// events and its subscribers.
#[derive(Debug)]
pub struct Meta {
    /// The row that stands for it in the database; also the short name by which the hub tells documents apart. Negative
    /// when it is volatile, and has no row.
    pub key: i64,
    /// `collection/id`.
    pub name: DocumentName,
    /// Who sees everything in it. `None`: the owner of the server, whom no request header can name.
    pub host: Option<UserId>,
    pub access: Access,
    /// When it was first created.
    pub created_at: Timestamp,
    /// Whether it lives in memory only: nothing of it is ever on disk, and it is gone when the server stops. Decided
    /// when it is created, and for good.
    pub volatile: bool,
}

impl Meta {
    /// Whether `viewer` is its host.
    pub fn is_host(&self, viewer: &Viewer) -> bool {
        match viewer {
            Viewer::Owner => true,
            Viewer::User(id) => self.host.as_ref() == Some(id),
        }
    }

    /// What `viewer` may see of it.
    pub fn audience<'a>(&self, viewer: &'a Viewer) -> Audience<'a> {
        match viewer {
            Viewer::User(id) if self.host.as_ref() != Some(id) => Audience::Player(id),
            Viewer::Owner | Viewer::User(_) => Audience::Host,
        }
    }

    /// Refuses a viewer who may not write. Error: `Forbidden`.
    pub fn check_writer(&self, viewer: &Viewer) -> Result<(), Error> {
        let allowed = self.is_host(viewer)
            || match (&self.access.write, viewer) {
                (None, _) => true,
                (Some(Writers::Users(users)), Viewer::User(id)) => users.contains(id),
                (Some(_), _) => false,
            };
        if allowed { Ok(()) } else { Err(Error::new(Kind::Forbidden, "you may not write to this document")) }
    }
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

    /// The JSON that readers get, with `state` in the form that they may see. `durable`: whether everything up to its
    /// seq that ever comes to disk is there; a volatile document is marked, and never durable.
    pub fn render(&self, state: Option<&[u8]>, durable: bool) -> Bytes {
        let mut out = BytesMut::with_capacity(state.map_or(4, <[u8]>::len) + 360);
        self.render_into(&mut out, state, durable);
        out.freeze()
    }

    /// Appends what [`render`](Self::render) returns.
    pub fn render_into(&self, out: &mut BytesMut, state: Option<&[u8]>, durable: bool) {
        use std::fmt::Write as _;
        // Writing to memory cannot fail, and names need no escaping: their alphabet has nothing to escape.
        let name = &self.meta.name;
        let _ = write!(
            out,
            r#"{{"collection":"{}","id":"{}","version":{},"hash":"{}","state":"#,
            name.collection, name.id, self.version, self.hash
        );
        out.extend_from_slice(state.unwrap_or(b"null"));
        if state.is_none() {
            out.extend_from_slice(br#","deleted":true"#);
        }
        let _ = write!(
            out,
            r#","createdAt":"{}","updatedAt":"{}","durable":{}"#,
            self.meta.created_at,
            self.updated_at,
            durable && !self.meta.volatile
        );
        out.extend_from_slice(if self.meta.volatile { br#","persistent":false}"# } else { b"}" });
    }
}
