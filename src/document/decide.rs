//! From a requested change to what it does: the one place where rights, preconditions and rules meet.

use std::cell::RefCell;
use std::sync::Arc;

use serde_json::{Value, json};

use super::access::{Access, HostedAccess, named_host};
use super::chain::Tag;
use super::json::JsonBounds;
use super::model::{Document, check_credential_writes, unknown_document};
use super::patch::ClientPatch;
use super::rules::{Action, Actor, Documents, Rejection, Rules};
use super::visibility::{self, Audience, Viewer};
use crate::base::clock::Timestamp;
use crate::base::error::{Error, Kind, Result};
use crate::base::ids::{DocumentName, UserId, Version};

/// What is to be done with a document.
#[derive(Clone, Debug)]
pub enum WriteOperation {
    /// Make it; it must not be there.
    Create {
        /// The state that it starts with.
        state: Value,
        /// Who is to be its host; left out: its creator.
        host: Option<UserId>,
        /// Who may do what besides the host.
        access: Access,
    },
    /// Make it, or replace what the writer sees of it.
    Put {
        /// The new state.
        state: Value,
    },
    /// Apply a patch to the state.
    Patch(ClientPatch),
    /// Delete it.
    Delete,
    /// Delete it together with a whole that it is a part of, or that it is itself: by who may write to the whole,
    /// whoever hosts the parts. For this crate alone: the same write deletes the whole, where the right is looked at.
    DeleteWith(DocumentName),
    /// Say who hosts it, and who may do what besides.
    SetAccess {
        /// Who is to be its host; left out: as it is.
        host: Option<UserId>,
        /// Who else may do what with it.
        access: Access,
        /// Whether an administrator asks, who may do so whoever hosts it.
        by_administrator: bool,
    },
    /// Let the rules decide; without rules, apply `patch`.
    Action {
        /// The event's type.
        kind: String,
        /// What the rules get.
        payload: Value,
        /// Only for collections without rules.
        patch: Option<ClientPatch>,
    },
    /// Put what a merge of a device's edits came to in place of the state. For this crate alone: who may not see the
    /// whole state must not choose it.
    Merge {
        /// The event's type.
        kind: String,
        /// What the event tells.
        payload: Value,
        /// The whole state.
        state: Value,
    },
    /// Make a new version whose state is that of an old one, also when it is deleted.
    Rollback {
        /// Which.
        to: Version,
    },
}

/// What must hold for a change to be made.
#[derive(Clone, Debug, Default)]
pub struct Expected {
    /// `If-Match`.
    pub if_match: Option<Tags>,
    /// `If-None-Match`.
    pub if_none_match: Option<Tags>,
    /// `expectedVersion`; 0: must not be there.
    pub version: Option<Version>,
}

/// The value of a conditional header.
#[derive(Clone, Debug)]
pub enum Tags {
    /// `*`: whatever version, as long as it is there.
    Any,
    These(Vec<Tag>),
}

impl Tags {
    /// Whether a document that is there and has this tag is meant.
    pub(crate) fn matches(&self, tag: &Tag) -> bool {
        match self {
            Self::Any => true,
            Self::These(tags) => tags.contains(tag),
        }
    }
}

/// One requested change.
#[derive(Clone, Debug)]
pub struct Request {
    /// Of which document.
    pub name: DocumentName,
    /// What is to be done.
    pub operation: WriteOperation,
    /// Under which conditions.
    pub expected: Expected,
}

/// The document as it is when the change is decided.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Current<'a> {
    /// Its newest version, which may be a tombstone.
    pub document: &'a Arc<Document>,
    /// Its state as a tree; `None` when deleted.
    pub state: Option<&'a Value>,
}

/// What a decision needs besides the document.
pub(crate) struct Context<'a> {
    pub viewer: &'a Viewer,
    /// The rules of the collection, if it has any.
    pub rules: Option<&'a dyn Rules>,
    pub at: Timestamp,
    /// Random bytes for this change alone.
    pub seed: [u8; 32],
    /// What a state may measure.
    pub bounds: JsonBounds,
    /// The state at an earlier version, for a rollback.
    pub past: &'a dyn Fn(Version) -> Result<Option<Value>>,
    /// The state of another document as far as the viewer may see it, for the rules.
    pub other: &'a dyn Fn(&DocumentName) -> Result<Option<Value>>,
}

/// The other documents as rules read them. They cannot fail where rules look: the first error is kept.
struct OtherDocuments<'a> {
    read: &'a dyn Fn(&DocumentName) -> Result<Option<Value>>,
    failed: RefCell<Option<Error>>,
}

impl Documents for OtherDocuments<'_> {
    fn state(&self, collection: &str, id: &str) -> Option<Value> {
        let name = DocumentName::new(collection, id).ok()?;
        (self.read)(&name).unwrap_or_else(|error| {
            self.failed.borrow_mut().get_or_insert(error);
            None
        })
    }
}

/// What a change does.
#[derive(Debug, PartialEq)]
pub(crate) struct Decision {
    pub kind: String,
    pub payload: Value,
    /// The state afterwards; `None`: deleted.
    pub state: Option<Value>,
    /// Host and access from here on, where it sets them.
    pub access: Option<HostedAccess>,
}

impl Decision {
    /// One that leaves host and access as they are.
    pub(crate) fn new(kind: &str, payload: Value, state: Option<Value>) -> Self {
        Self { kind: kind.to_owned(), payload, state, access: None }
    }
}

/// The members of refusals that tell of the document as it was when the change was decided.
pub(crate) const DETAILS_OF_DOCUMENT: &[&str] =
    &["currentVersion", "currentHash", "current", "lastVersion", "lastHash"];

/// Decides a change. Never looks at the state before rights are settled, so that no refusal tells a secret.
pub(crate) fn decide(request: Request, current: Option<Current<'_>>, context: &Context<'_>) -> Result<Decision> {
    let Request { name, operation, expected } = request;
    check_scope(&name, current, context.viewer)?;
    if let Some(current) = current {
        check_rights(&operation, current.document, context.viewer)?;
    }
    let live = current.and_then(|c| c.state.map(|state| Live { document: c.document, state }));
    check_expected(&expected, current, context)?;
    let actor =
        Actor { id: context.viewer.actor()?, host: current.is_none_or(|c| c.document.meta.is_host(context.viewer)) };
    let writer = WriteContext { actor, context };
    match (operation, live) {
        (WriteOperation::Create { .. }, Some(live)) => Err(already_exists(live.document)),
        (WriteOperation::Create { host, access, .. }, None)
            if current.is_some() && (host.is_some() || access != Access::default()) =>
        {
            let message = "the document was there before: its host and its access stay as they were";
            Err(Error::invalid_field(if host.is_some() { "host" } else { "access" }, message))
        }
        (WriteOperation::Create { state, host, access }, None) => writer.create(state, host, access),
        (WriteOperation::Put { state }, None) => writer.create(state, None, Access::default()),
        (WriteOperation::Rollback { to }, None) if current.is_some() => {
            writer.restore(to, current.map_or(Version::ZERO, |c| c.document.version))
        }
        (operation, Some(live)) => writer.change(operation, live).map_err(|error| match error.kind() {
            Kind::Rejected => error.with("currentVersion", live.document.version.0),
            _ => error,
        }),
        (_, None) => Err(not_found_error(&name, current.map(|c| c.document))),
    }
}

/// A document that is there.
#[derive(Clone, Copy)]
struct Live<'a> {
    document: &'a Document,
    state: &'a Value,
}

struct WriteContext<'a> {
    actor: Actor,
    context: &'a Context<'a>,
}

impl WriteContext<'_> {
    fn create(&self, state: Value, host: Option<UserId>, access: Access) -> Result<Decision> {
        let state = match self.context.rules {
            Some(rules) => rules.create(state, &self.actor).map_err(rejected)?,
            None => state,
        };
        let said = host.is_some() || access != Access::default();
        let host = host.map_or_else(|| self.context.viewer.as_host(), named_host);
        let access = said.then_some(HostedAccess { host, access });
        Ok(Decision { access, ..Decision::new("create", json!({}), Some(state)) })
    }

    /// Brings a deleted document back as it was at `to`. Where that is not how it was when it was deleted, the rules
    /// are asked as for any other edit. `version`: that of the deletion.
    fn restore(&self, to: Version, version: Version) -> Result<Decision> {
        let state = self.state_at(to)?;
        let last = Version(version.0.saturating_sub(1));
        if let (Some(rules), true) = (self.context.rules, to != last) {
            rules.edit(&self.state_at(last)?, &state, &self.actor).map_err(rejected)?;
        }
        Ok(Decision::new("rollback", json!({ "toVersion": to }), Some(state)))
    }

    fn state_at(&self, version: Version) -> Result<Value> {
        let deleted = || Error::invalid_field("toVersion", "the document was deleted then");
        (self.context.past)(version)?.ok_or_else(deleted)
    }

    fn change(&self, operation: WriteOperation, live: Live<'_>) -> Result<Decision> {
        let edit = |kind: &str, payload: Value, after: Value| -> Result<Decision> {
            if let Some(rules) = self.context.rules {
                rules.edit(live.state, &after, &self.actor).map_err(rejected)?;
            }
            Ok(Decision::new(kind, payload, Some(after)))
        };
        match operation {
            WriteOperation::Create { .. } => Err(already_exists(live.document)),
            WriteOperation::Put { state } => {
                let after = match live.document.meta.audience(self.context.viewer) {
                    Audience::Host => state,
                    Audience::Player(player) => visibility::overlay(live.state, state, player),
                };
                edit("put", json!({}), after)
            }
            WriteOperation::Patch(patch) => edit("patch", json!({}), patch.apply_to(live.state, self.context.bounds)?),
            WriteOperation::Rollback { to } => edit("rollback", json!({ "toVersion": to }), self.state_at(to)?),
            WriteOperation::Delete => self.delete(json!({}), live),
            WriteOperation::DeleteWith(whole) => self.delete(json!({ "with": whole.to_string() }), live),
            WriteOperation::SetAccess { host, access, .. } => {
                let host = host.map_or_else(|| live.document.meta.host.clone(), named_host);
                let access = Some(HostedAccess { host, access });
                Ok(Decision { access, ..Decision::new("access", json!({}), Some(live.state.clone())) })
            }
            WriteOperation::Merge { kind, payload, state } => {
                let state = match self.context.rules {
                    Some(rules) if state != *live.state => {
                        rules.accept_merge(live.state, state, &self.actor).map_err(rejected)?
                    }
                    _ => state,
                };
                Ok(Decision::new(&kind, payload, Some(state)))
            }
            WriteOperation::Action { kind, payload, patch } => self.decide_action(kind, payload, patch, live.state),
        }
    }

    fn delete(&self, payload: Value, live: Live<'_>) -> Result<Decision> {
        if let Some(rules) = self.context.rules {
            rules.delete(live.state, &self.actor).map_err(rejected)?;
        }
        Ok(Decision::new("delete", payload, None))
    }

    fn decide_action(
        &self,
        kind: String,
        payload: Value,
        patch: Option<ClientPatch>,
        state: &Value,
    ) -> Result<Decision> {
        let after = match (self.context.rules, patch) {
            (Some(_), Some(_)) => {
                let message = "this collection has rules: they decide what an action does";
                return Err(Error::invalid_field("patch", message));
            }
            (Some(rules), None) => return self.apply_rules(rules, kind, payload, state),
            (None, Some(patch)) => patch.apply_to(state, self.context.bounds)?,
            (None, None) => state.clone(),
        };
        Ok(Decision::new(&kind, payload, Some(after)))
    }

    fn apply_rules(&self, rules: &dyn Rules, kind: String, payload: Value, state: &Value) -> Result<Decision> {
        let action = Action { kind: &kind, payload: &payload, at: self.context.at, seed: self.context.seed };
        let documents = OtherDocuments { read: self.context.other, failed: RefCell::new(None) };
        let decided = rules.decide(state, &action, &self.actor, &documents);
        if let Some(error) = documents.failed.into_inner() {
            return Err(error);
        }
        let applied = decided.map_err(rejected)?;
        Ok(Decision::new(&kind, applied.payload.unwrap_or(payload), Some(applied.state)))
    }
}

/// Refuses a viewer whose credential does not reach the document, or may not change or create it. Errors: `NotFound`,
/// whether it is there or not; `Gone` for one that is deleted; `Forbidden`.
fn check_scope(name: &DocumentName, current: Option<Current<'_>>, viewer: &Viewer) -> Result<()> {
    let Some(scope) = viewer.credential_scope() else { return Ok(()) };
    if !scope.reaches(name, current.map(|current| current.document.meta.key)) {
        return Err(unknown_document(name));
    }
    check_credential_writes(viewer)?;
    let creates = current.is_none_or(|current| current.state.is_none());
    if creates && !scope.creates(name) {
        Err(not_found_error(name, current.map(|current| current.document)))
    } else {
        Ok(())
    }
}

/// Refuses whoever may not do this to a document that is there, or was. Errors: `NotFound`, as if it had never been
/// there; `AlreadyExists`, which tells nothing more, to whoever would create it; `Forbidden`.
fn check_rights(operation: &WriteOperation, document: &Document, viewer: &Viewer) -> Result<()> {
    let meta = &document.meta;
    match operation {
        WriteOperation::SetAccess { by_administrator: true, .. } => return Ok(()),
        WriteOperation::Create { .. } if !meta.may_read(viewer) => {
            let message = format!("the id {} is taken in {}; choose another", meta.name.id, meta.name.collection);
            return Err(Error::new(Kind::AlreadyExists, message));
        }
        WriteOperation::SetAccess { .. } => {
            meta.check_reader(viewer)?;
            if !meta.is_host(viewer) {
                return Err(Error::new(Kind::Forbidden, "only the host of the document changes its access"));
            }
        }
        WriteOperation::Delete => meta.check_deleter(viewer)?,
        WriteOperation::DeleteWith(whole) if *whole == meta.name => meta.check_writer(viewer)?,
        // Who may do that is looked at where the whole is deleted.
        WriteOperation::DeleteWith(_) => {}
        WriteOperation::Create { .. }
        | WriteOperation::Put { .. }
        | WriteOperation::Patch(_)
        | WriteOperation::Merge { .. }
        | WriteOperation::Action { .. }
        | WriteOperation::Rollback { .. } => meta.check_writer(viewer)?,
    }
    check_reach(operation, meta.audience(viewer))
}

/// Refuses a player's write that reaches where they may not look. Error: `Forbidden`, always the same.
fn check_reach(operation: &WriteOperation, audience: Audience<'_>) -> Result<()> {
    let Audience::Player(player) = audience else { return Ok(()) };
    match operation {
        WriteOperation::Create { state, .. } | WriteOperation::Put { state } => {
            visibility::check_members(state, player)
        }
        WriteOperation::Patch(patch) | WriteOperation::Action { patch: Some(patch), .. } => match patch {
            ClientPatch::Merge(patch) => visibility::check_members(patch, player),
            ClientPatch::Operations(patch) => {
                patch.pointers().try_for_each(|pointer| visibility::check_path(pointer, player))
            }
        },
        // The whole old state comes back, hidden parts included.
        WriteOperation::Rollback { .. } => visibility::check_path("", player),
        WriteOperation::Action { patch: None, .. }
        | WriteOperation::Merge { .. }
        | WriteOperation::Delete
        | WriteOperation::DeleteWith(_)
        | WriteOperation::SetAccess { .. } => Ok(()),
    }
}

fn check_expected(expected: &Expected, current: Option<Current<'_>>, context: &Context<'_>) -> Result<()> {
    let live = current.filter(|c| c.state.is_some());
    let matches = |tags: &Tags| live.is_some_and(|c| tags.matches(&c.document.tag()));
    if expected.if_match.as_ref().is_some_and(|tags| !matches(tags)) {
        return Err(conflict(
            Kind::PreconditionFailed,
            "the document is not at the version in If-Match",
            current,
            context,
        ));
    }
    if expected.if_none_match.as_ref().is_some_and(matches) {
        let message = "the document is there, which If-None-Match excludes";
        return Err(conflict(Kind::PreconditionFailed, message, current, context));
    }
    let holds = |version: Version| match current {
        Some(c) => c.document.version == version || (c.state.is_none() && version == Version::ZERO),
        None => version == Version::ZERO,
    };
    match expected.version {
        Some(version) if !holds(version) => {
            let message = format!("the document is not at version {version}");
            Err(conflict(Kind::VersionConflict, message, current, context))
        }
        _ => Ok(()),
    }
}

/// A stale write's refusal: what the document is now, as far as the writer may see it.
fn conflict(kind: Kind, message: impl Into<String>, current: Option<Current<'_>>, context: &Context<'_>) -> Error {
    let error = Error::new(kind, message);
    let Some(current) = current else { return error.with("currentVersion", 0) };
    let document = current.document;
    let visible = match (current.state, document.meta.audience(context.viewer)) {
        (None, _) => Value::Null,
        (Some(state), Audience::Host) => state.clone(),
        (Some(state), Audience::Player(player)) => visibility::redact_value(state.clone(), player),
    };
    with_current(error, document, visible)
}

/// Adds what the document is now, of which `visible` is what the caller may see.
pub(crate) fn with_current(error: Error, document: &Document, visible: Value) -> Error {
    error
        .with("currentVersion", document.version.0)
        .with("currentHash", document.hash.to_string())
        .with("current", visible)
}

fn already_exists(document: &Document) -> Error {
    Error::new(Kind::AlreadyExists, format!("{} exists already", document.meta.name))
        .with("currentVersion", document.version.0)
        .with("currentHash", document.hash.to_string())
}

/// The answer to whoever asks for a document that is not there: never was, or is deleted.
pub(crate) fn not_found_error(name: &DocumentName, tombstone: Option<&Arc<Document>>) -> Error {
    match tombstone {
        None => unknown_document(name),
        Some(document) => Error::new(Kind::Gone, format!("{name} was deleted"))
            .with("lastVersion", document.version.0)
            .with("lastHash", document.hash.to_string()),
    }
}

fn rejected(rejection: Rejection) -> Error {
    let mut error = Error::new(Kind::Rejected, rejection.message);
    for (name, value) in rejection.details {
        error = error.with(&name, value);
    }
    error
}
