//! A device that was away brings its edits.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use serde_json::{Map, Value};

use super::problems::UNKNOWN_BASE;
use super::rules::{MergeReport, SYNC};
use super::sql;
use crate::base::clock::Timestamp;
use crate::base::entropy::new_id;
use crate::base::error::{Error, Kind, Result};
use crate::base::ids::{DocumentName, Version};
use crate::document::decide::{Expected, Request, WriteOperation, with_current};
use crate::document::json::equal;
use crate::document::merge::strategies::MergeRules;
use crate::document::merge::{self, Merged, Sides, overlaps};
use crate::document::model::Document;
use crate::document::patch::ClientPatch;
use crate::document::rules::{Actor, Rejection, Rules};
use crate::document::visibility::{self, Audience, Viewer};
use crate::engine::problems::NOT_PERSISTENT;
use crate::engine::request::{RenderReply, Write, WriteKey, WriteOutcome, WriteReply};
use crate::http::api::Api;
use crate::store::IdempotencyKey;

/// How often a merge is made anew because the document changed meanwhile.
const ATTEMPTS_MAX: usize = 16;
/// Events that are read at once, to find when what was changed.
const EVENTS_PAGE: usize = 500;

/// The rules of collections, and how their fields are merged.
#[derive(Clone)]
pub(crate) struct MergeSettings {
    pub rules: Arc<HashMap<String, Arc<dyn Rules>>>,
    /// What the configuration says, before what the rules say.
    pub configured: Arc<HashMap<String, MergeRules>>,
}

impl MergeSettings {
    pub(super) fn rules_of(&self, name: &DocumentName) -> Option<&dyn Rules> {
        self.rules.get(name.collection.as_str()).map(|rules| &**rules)
    }

    /// How documents of the collection are merged.
    pub(super) fn merge_rules(&self, name: &DocumentName) -> MergeRules {
        let own = self.rules_of(name).map(Rules::merge_rules).unwrap_or_default();
        let configured = self.configured.get(name.collection.as_str()).cloned().unwrap_or_default();
        configured.before(own)
    }

    /// The state that comes of a merge. Error: `Rejected`.
    pub(super) fn accept(&self, document: &Document, before: &Value, merged: Value, viewer: &Viewer) -> Result<Value> {
        let Some(rules) = self.rules_of(&document.meta.name) else { return Ok(merged) };
        let actor = Actor { id: viewer.actor()?, host: document.meta.is_host(viewer) };
        let rejected = |rejection: Rejection| {
            let error = Error::new(Kind::Rejected, rejection.message);
            let error = rejection.details.into_iter().fold(error, |error, (name, value)| error.with(&name, value));
            error.with("currentVersion", document.version.0)
        };
        rules.accept_merge(before, merged, &actor).map_err(rejected)
    }
}

/// What the device sends.
#[derive(Clone)]
pub(crate) struct DeviceEdits {
    pub base_version: Version,
    /// The hash of that version, whole or its beginning.
    pub base_hash: Option<String>,
    pub made: DeviceChange,
    pub device_at: Timestamp,
}

#[derive(Clone)]
pub(crate) enum DeviceChange {
    State(Map<String, Value>),
    Patch(ClientPatch),
}

/// What a sync comes to.
pub(crate) enum SyncOutcome {
    /// There was nothing to do.
    Unchanged(Arc<Document>, MergeReport),
    Changed(Box<WriteOutcome>, bool, MergeReport),
    /// It was done before, under the same key.
    Replayed(Bytes),
}

/// Makes the answer to a sync that came to this report.
pub(crate) type RenderReport = fn(MergeReport, Viewer) -> RenderReply;

/// A merge that is to be written.
struct PlannedMerge {
    document: Arc<Document>,
    /// `None`: nothing to do.
    state: Option<Value>,
    report: MergeReport,
}

/// Merges the edits into the document. `render` makes the answer that is stored under the key. Errors: `unknown-base`,
/// `Rejected`, `Forbidden`; those of a write.
pub(crate) async fn sync(
    api: &Api,
    merging: &MergeSettings,
    viewer: &Viewer,
    (name, edits): (&DocumentName, &DeviceEdits),
    key: Option<(IdempotencyKey, RenderReport)>,
) -> Result<SyncOutcome> {
    for _ in 0..ATTEMPTS_MAX {
        let PlannedMerge { document, state, report } = plan(api, merging, viewer, name, edits).await?;
        let Some(state) = state else { return Ok(SyncOutcome::Unchanged(document, report)) };
        let payload = report.clone().payload(edits.base_version.0, edits.device_at);
        let operation = WriteOperation::Merge { kind: SYNC.to_owned(), payload, state };
        let expected = Expected { version: Some(document.version), ..Expected::default() };
        let requests = vec![Request { name: name.clone(), operation, expected }];
        let key = key
            .as_ref()
            .map(|(key, render)| WriteKey { key: key.clone(), render: render(report.clone(), viewer.clone()) });
        match api.engine.write(Write { requests, viewer: viewer.clone(), key }).await {
            Ok(WriteReply::Replayed(answer)) => return Ok(SyncOutcome::Replayed(answer)),
            Ok(WriteReply::Made(written)) => {
                let durable = written.durability == crate::engine::request::Durability::Durable;
                let outcome = written.outcomes.into_iter().next();
                let outcome = outcome.ok_or_else(|| Error::internal("a merge without a change"))?;
                return Ok(SyncOutcome::Changed(Box::new(outcome), durable, report));
            }
            Err(error) if error.kind() == Kind::VersionConflict => {}
            Err(error) => return Err(error),
        }
    }
    Err(Error::new(Kind::StorageUnavailable, "the document changes too fast to be merged; try again"))
}

async fn plan(
    api: &Api,
    merging: &MergeSettings,
    viewer: &Viewer,
    name: &DocumentName,
    edits: &DeviceEdits,
) -> Result<PlannedMerge> {
    let document = api.reads.live_document(name, viewer).await?;
    if document.meta.volatile {
        return Err(NOT_PERSISTENT.error("the document lives in memory only; edits of it cannot be merged"));
    }
    let audience = document.meta.audience(viewer);
    let whole = state_of(&document)?;
    let server = seen(&whole, audience);
    let base = base(api, (&document, &server), viewer, edits).await?;
    let local = match &edits.made {
        DeviceChange::State(state) => Value::Object(state.clone()),
        DeviceChange::Patch(patch) => patch.apply_to(&base, api.state)?,
    };
    if let Audience::Player(player) = audience {
        visibility::check_members(&local, player)?;
    }
    let local_at = edits.device_at.min(api.clock.now());
    let changed = changed_since(api, (&document, viewer), edits.base_version, local_at).await?;
    let server_at = |path: &str| {
        let times = changed.iter().filter(|(changed, _)| overlaps(changed, path)).map(|(_, at)| *at);
        times.max().unwrap_or(document.updated_at)
    };
    let rules = merging.merge_rules(name);
    let Merged { state: merged, resolved, conflicts } =
        merge::merge(&Sides { base: &base, local: &local, server: &server, local_at, server_at: &server_at }, &rules);
    let mut report = MergeReport::new(resolved, conflicts, || new_id(&*api.entropy, api.clock.now()));
    let merged = match audience {
        Audience::Host => merged,
        Audience::Player(player) => visibility::overlay(&whole, merged, player),
    };
    let state = if equal(&merged, &whole) { merged } else { merging.accept(&document, &whole, merged, viewer)? };
    for place in &mut report.resolved {
        place.value = merge::value_at(&state, &place.path, &rules).cloned();
    }
    let fresh = drop_known(api, &document, viewer, &mut report).await?;
    let unchanged = equal(&state, &whole) && !fresh;
    Ok(PlannedMerge { document, state: (!unchanged).then_some(state), report })
}

/// Gives conflicts that are open already the names that they have, and says whether others are left. Those that are
/// known are told and not made twice.
async fn drop_known(api: &Api, document: &Document, viewer: &Viewer, report: &mut MergeReport) -> Result<bool> {
    if report.conflicts.is_empty() {
        return Ok(false);
    }
    let (key, who) = (document.meta.key, viewer.scope().to_owned());
    let known = api.reads.read(move |reader| reader.rows(|conn| sql::open_of(conn, key, &who))).await?;
    let mut fresh = false;
    for conflict in &mut report.conflicts {
        let same = known.iter().find(|known| {
            (&known.place.path, &known.place.base, &known.place.local)
                == (&conflict.path, &conflict.base, &conflict.local)
        });
        match same {
            Some(known) => (conflict.id, conflict.known) = (known.place.id.clone(), true),
            None => fresh = true,
        }
    }
    Ok(fresh)
}

pub(super) fn state_of(document: &Document) -> Result<Value> {
    serde_json::from_slice(document.state.as_deref().unwrap_or(b"{}")).map_err(Error::internal)
}

pub(super) fn seen(state: &Value, audience: Audience<'_>) -> Value {
    match audience {
        Audience::Host => state.clone(),
        Audience::Player(player) => visibility::redact_value(state.clone(), player),
    }
}

/// The state that the edits were made of. Error: `unknown-base`.
async fn base(
    api: &Api,
    (document, server): (&Document, &Value),
    viewer: &Viewer,
    edits: &DeviceEdits,
) -> Result<Value> {
    let unknown = |message: &str| with_current(UNKNOWN_BASE.error(message), document, server.clone());
    let found = match api.reads.document_at(&document.meta.name, edits.base_version, viewer).await {
        Ok(found) => found,
        Err(error) if matches!(error.kind(), Kind::NotFound | Kind::Gone | Kind::Invalid) => {
            return Err(unknown("this version is not kept, or never was"));
        }
        Err(error) => return Err(error),
    };
    let hash = found.hash.to_string();
    let foreign = |named: &String| named.len() < 8 || !hash.starts_with(&named.to_ascii_lowercase());
    if edits.base_hash.as_ref().is_some_and(foreign) {
        return Err(unknown("this version has another hash: the edits are of another history"));
    }
    if found.is_deleted() {
        return Err(unknown("the document was deleted at this version"));
    }
    Ok(seen(&state_of(&found)?, document.meta.audience(viewer)))
}

/// What was changed since `base`, and when. Empty when everything was before `local_at`: then nobody asks.
async fn changed_since(
    api: &Api,
    (document, viewer): (&Document, &Viewer),
    base: Version,
    local_at: Timestamp,
) -> Result<Vec<(String, Timestamp)>> {
    let (mut changed, mut after) = (Vec::new(), base);
    if local_at > document.updated_at {
        return Ok(changed);
    }
    loop {
        let history = api.reads.history(&document.meta.name, after, EVENTS_PAGE, viewer).await?;
        for event in history.events.iter().filter(|event| event.version <= document.version) {
            changed.extend(event.operations()?.into_iter().map(|operation| (operation.path().to_owned(), event.at)));
        }
        match history.events.last() {
            Some(last) if history.more && last.version < document.version => after = last.version,
            _ => return Ok(changed),
        }
    }
}
