//! A document's history on its way to another server, and the check that it must pass there.
//!
//! Events go as their stored bytes, so that the hashes stay. What is not covered by the chain (who hosts the document,
//! the state that a trimmed history begins with) is taken as it is told.

use std::sync::Arc;

use bytes::Bytes;
use serde_json::Value;

use super::access::Access;
use super::chain::{self, Hash};
use super::event::Event;
use super::json::{self, JsonBounds};
use super::model::{Document, Meta};
use super::patch;
use super::visibility::Viewer;
use crate::base::clock::Timestamp;
use crate::base::error::{Error, Kind, Result};
use crate::base::ids::{DocumentName, Seq, UserId, Version};

/// Where a history begins that was trimmed.
#[derive(Clone, Debug)]
pub(crate) struct TrimmedBase {
    /// The version before its first event.
    pub version: Version,
    pub hash: Hash,
    pub at: Timestamp,
    /// The state there; `None`: the document was deleted then.
    pub state: Option<Value>,
}

/// An event without its place in a log.
#[derive(Clone, Debug)]
pub struct SentEvent {
    /// The document's version after it.
    pub version: Version,
    /// The document's hash after it.
    pub hash: Hash,
    /// Whether it deletes the document.
    pub deletes: bool,
    pub body: Bytes,
}

/// A document's history as another server tells it.
#[derive(Clone, Debug)]
pub(crate) struct Chain {
    pub name: DocumentName,
    /// See [`Meta::host`].
    pub host: Option<UserId>,
    /// See [`Meta::access`].
    pub access: Access,
    /// See [`Meta::created_at`].
    pub created_at: Timestamp,
    /// `None`: it begins with version 1.
    pub base: Option<TrimmedBase>,
    /// All events since, oldest first.
    pub events: Vec<SentEvent>,
    /// The version at its end.
    pub version: Version,
    /// The hash at its end.
    pub hash: Hash,
}

/// The last version that a history of another server may end with.
const VERSION_MAX: Version = Version((1 << 53) - 1);

/// A time that our own clock may not reach for long: what goes by time would wait for it.
const FROM_THE_FUTURE: &str = "its time is too far ahead of this server's clock";

/// A history that adds up.
#[derive(Debug)]
pub struct VerifiedChain {
    chain: Chain,
    state: Bytes,
    /// The version of its last event that changed host or access.
    access_version: Option<Version>,
}

impl Chain {
    /// Checks everything that can be checked: versions without a gap, every hash, every event in the one form in which
    /// we write it (what else is known of events relies on that, the keeping of secrets included), every change
    /// applied, no time after `latest`, the end as it was told. `look` is shown each state. Error: `Rejected`, naming
    /// the version.
    pub(crate) fn verify(
        self,
        bounds: JsonBounds,
        latest: Timestamp,
        mut look: impl FnMut(&Value),
    ) -> Result<VerifiedChain> {
        let (mut version, mut hash) = (Version::ZERO, Hash::ZERO);
        let (mut state, mut access, mut access_version) = (None, None, None);
        if let Some(base) = &self.base {
            (version, hash) = (base.version, base.hash);
            state.clone_from(&base.state);
            state.iter().for_each(&mut look);
        }
        if self.host.as_ref().is_some_and(Viewer::is_owners_name) {
            return Err(chain_error(version, "no user is called as its host is"));
        }
        if self.created_at > latest || self.base.as_ref().is_some_and(|base| base.at > latest) {
            return Err(chain_error(version, FROM_THE_FUTURE));
        }
        if self.base.as_ref().is_some_and(|base| base.version == Version::ZERO) {
            return Err(chain_error(Version::ZERO, "a history that begins with version 1 has no state before it"));
        }
        // Exact in JSON for every client, and far from where numbers end: nobody gets there by changes.
        if self.version > VERSION_MAX || version >= self.version {
            return Err(chain_error(self.version, "no history has so many versions"));
        }
        let meta = Arc::new(self.meta(0));
        for sent in &self.events {
            let at = version.next();
            if sent.version != at {
                return Err(chain_error(at, "the version is missing"));
            }
            chain::verify(hash, &sent.body, sent.hash, at)
                .map_err(|_| chain_error(at, "its hash does not follow from its content"))?;
            let event = Event::stored(Seq::ZERO, Arc::clone(&meta), at, sent.hash, sent.deletes, sent.body.clone());
            let event = event.map_err(|e| chain_error(at, "it is not an event").caused_by(e))?;
            event.check_form().map_err(|e| chain_error(at, "it is not in the form of an event").caused_by(e))?;
            if event.at > latest {
                return Err(chain_error(at, FROM_THE_FUTURE));
            }
            let applied = event.operations().and_then(|operations| patch::apply(&mut state, operations));
            applied.map_err(|e| chain_error(at, "its change does not apply").caused_by(e))?;
            if let Some(set) = event.access()? {
                access = Some(set);
                access_version = event.changes_access().then_some(at);
            }
            if state.is_none() != sent.deletes {
                return Err(chain_error(at, "the event and its mark of deletion disagree"));
            }
            state.iter().for_each(&mut look);
            (version, hash) = (at, sent.hash);
        }
        if self.events.is_empty() || (version, hash) != (self.version, self.hash) {
            return Err(chain_error(version, "the history does not end where it was said to"));
        }
        if access.is_some_and(|access| access != meta.hosted_access()) {
            return Err(chain_error(version, "its host or its access is not what its events say"));
        }
        let Some(state) = state else { return Err(chain_error(version, "the document is deleted")) };
        let state = Bytes::from(json::serialise_state(&state, bounds)?);
        Ok(VerifiedChain { chain: self, state, access_version })
    }

    fn meta(&self, key: i64) -> Meta {
        Meta {
            // It was on the disk of the other server, and comes to ours.
            volatile: false,
            key,
            name: self.name.clone(),
            host: self.host.clone(),
            access: self.access.clone(),
            access_seq: Seq::ZERO,
            created_at: self.created_at,
        }
    }
}

impl VerifiedChain {
    /// Whose history it is.
    pub fn name(&self) -> &DocumentName {
        &self.chain.name
    }

    /// Whether its beginning is missing.
    pub fn is_trimmed(&self) -> bool {
        self.chain.base.is_some()
    }

    pub fn last_version(&self) -> (Version, Hash) {
        (self.chain.version, self.chain.hash)
    }

    /// The facts of the document here, whose first event that comes gets the place `first` in the log. `before`: those
    /// of then, when it was here before; else it gets the key.
    pub fn meta(&self, before: Option<&Meta>, key: i64, first: Seq) -> Arc<Meta> {
        let told = self.chain.meta(before.map_or(key, |before| before.key));
        let begins = self.chain.events.first().map_or(Version::ZERO, |event| event.version);
        let access_seq = match (self.access_version.filter(|version| *version >= begins), before) {
            (Some(version), _) => Seq(first.0 + (version.0 - begins.0)),
            (None, Some(before)) if before.hosted_access() == told.hosted_access() => before.access_seq,
            // Changed in what was trimmed elsewhere.
            (None, Some(_)) => first,
            (None, None) => Seq::ZERO,
        };
        Arc::new(Meta { access_seq, ..told })
    }

    /// Checks that it goes on from `here`, the last version of the same document that was on this server before it
    /// left; where the history was trimmed since, that is taken as it is told. Error: `AlreadyExists` when it is
    /// another document, or its history does not go through `here`.
    pub fn check_continues(&self, here: &Document) -> Result<()> {
        let (chain, meta) = (&self.chain, &here.meta);
        let trimmed = chain.base.as_ref().is_some_and(|base| base.version > here.version);
        let changed = trimmed || self.access_version.is_some_and(|version| version > here.version);
        let alike = changed || (&chain.host, &chain.access) == (&meta.host, &meta.access);
        let same = alike && chain.created_at == meta.created_at;
        let through = match &chain.base {
            Some(base) if base.version > here.version => true,
            Some(base) if base.version == here.version => base.hash == here.hash,
            _ => chain.events.iter().any(|event| event.version == here.version && event.hash == here.hash),
        };
        if !same || !through {
            return Err(Error::new(Kind::AlreadyExists, format!("another {} is, or was, on this server", meta.name)));
        }
        Ok(())
    }

    /// What of it comes after `here`. Error: see [`check_continues`](Self::check_continues).
    pub fn into_missing(mut self, here: &Document) -> Result<Self> {
        self.check_continues(here)?;
        self.chain.events.retain(|event| event.version > here.version);
        self.chain.base = self.chain.base.take().filter(|base| base.version > here.version);
        Ok(self)
    }

    /// What is stored of it: the document at the base (its seq is still to be given), the events, the newest state.
    pub fn into_parts(self, meta: &Arc<Meta>) -> (Option<Document>, Vec<SentEvent>, Bytes) {
        let base = self.chain.base.map(|base| Document {
            meta: Arc::clone(meta),
            version: base.version,
            hash: base.hash,
            seq: Seq::ZERO,
            updated_at: base.at,
            state: base.state.map(|state| Bytes::from(state.to_string())),
        });
        (base, self.chain.events, self.state)
    }
}

fn chain_error(version: Version, reason: &str) -> Error {
    Error::new(Kind::Rejected, format!("the history does not verify at version {version}: {reason}"))
        .with("version", version.0)
}
