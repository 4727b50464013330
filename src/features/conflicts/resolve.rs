//! A person decides what no rule could.

use std::sync::Arc;

use bytes::Bytes;
use serde_json::Value;

use super::problems::{CONFLICT_MOVED, CONFLICT_RESOLVED};
use super::rules::{RESOLVE, Resolution, ResolvePayload};
use super::sql::{self, StoredConflict};
use super::sync::{MergeSettings, seen, state_of};
use crate::base::clock::Timestamp;
use crate::base::error::{Error, Kind, Result};
use crate::base::ids::Version;
use crate::document::decide::{Expected, Request, WriteOperation};
use crate::document::json::equal;
use crate::document::merge;
use crate::document::model::Document;
use crate::document::visibility::{self, Audience, Viewer};
use crate::engine::request::{Durability, RenderReply, Write, WriteKey, WriteReply};
use crate::http::api::Api;
use crate::store::IdempotencyKey;

/// How often it is tried because the document changed meanwhile.
const ATTEMPTS_MAX: usize = 16;

/// What a person decides.
pub(crate) struct ConflictDecision {
    pub resolution: Resolution,
    /// With `merge`: what stands there from now on.
    pub value: Option<Value>,
    /// The version at which they saw the value.
    pub expected_version: Option<Version>,
}

/// A conflict that `viewer` may see, and its document. Error: `NotFound`.
pub(crate) async fn find(api: &Api, viewer: &Viewer, id: &str) -> Result<(StoredConflict, Arc<Document>)> {
    let unknown = || Error::not_found(format!("there is no conflict {id}"));
    let wanted = id.to_owned();
    let found = api.reads.read(move |reader| reader.rows(|conn| sql::find(conn, &wanted))).await?;
    let found = found.filter(|kept| kept.place.is_conflict()).ok_or_else(unknown)?;
    let document = api.reads.document(&found.document).await?.ok_or_else(unknown)?;
    if !shows(&document, &found, viewer) {
        return Err(unknown());
    }
    Ok((found, document))
}

/// Whether `viewer` may see a row of this document.
pub(crate) fn shows(document: &Document, kept: &StoredConflict, viewer: &Viewer) -> bool {
    document.meta.may_read(viewer) && kept.place.is_shown_to(document.meta.audience(viewer))
}

/// What a resolution comes to.
pub(crate) enum ResolveOutcome {
    Done(Box<StoredConflict>, Arc<Document>, Durability),
    /// It was done before, under the same key.
    Replayed(Bytes),
}

/// Makes the answer of a conflict that is resolved in this way.
pub(crate) type RenderResolved = fn(StoredConflict, Resolution, Viewer) -> RenderReply;

/// The conflict after `viewer` resolved it.
pub(crate) fn resolved(kept: &StoredConflict, how: Resolution, viewer: &Viewer, at: Timestamp) -> StoredConflict {
    let mut kept = kept.clone();
    kept.place.resolution = Some(how.name().to_owned());
    (kept.resolved_by, kept.resolved_at) = (Some(viewer.scope().to_owned()), Some(at));
    kept
}

/// Resolves a conflict, as a change of its own. Errors: `NotFound`, `Forbidden`, `conflict-resolved`, `conflict-moved`,
/// `Rejected`; those of a write.
pub(crate) async fn resolve(
    api: &Api,
    merging: &MergeSettings,
    viewer: &Viewer,
    (id, decided): (&str, &ConflictDecision),
    key: Option<(IdempotencyKey, RenderResolved)>,
) -> Result<ResolveOutcome> {
    for _ in 0..ATTEMPTS_MAX {
        let (kept, _) = find(api, viewer, id).await?;
        let document = api.reads.live_document(&kept.document, viewer).await?;
        check(&kept, &document, viewer)?;
        let request = request(merging, viewer, &document, (&kept, decided))?;
        let key = key.as_ref().map(|(key, render)| WriteKey {
            key: key.clone(),
            render: render(kept.clone(), decided.resolution, viewer.clone()),
        });
        match api.engine.write(Write { requests: vec![request], viewer: viewer.clone(), key }).await {
            Ok(WriteReply::Made(written)) => {
                let outcome = written.outcomes.into_iter().next();
                let outcome = outcome.ok_or_else(|| Error::internal("a resolution without a change"))?;
                let kept = resolved(&kept, decided.resolution, viewer, outcome.event.at);
                return Ok(ResolveOutcome::Done(Box::new(kept), outcome.document, written.durability));
            }
            Ok(WriteReply::Replayed(answer)) => return Ok(ResolveOutcome::Replayed(answer)),
            Err(error) if error.kind() == Kind::VersionConflict => {}
            Err(error) => return Err(error),
        }
    }
    Err(Error::new(Kind::StorageUnavailable, "the document changes too fast; try again"))
}

fn check(kept: &StoredConflict, document: &Document, viewer: &Viewer) -> Result<()> {
    if !document.meta.is_host(viewer) && kept.made_by != viewer.scope() {
        let message = "a conflict is resolved by the host of its document and by whose edits they were";
        return Err(Error::new(Kind::Forbidden, message));
    }
    if kept.is_open() {
        return Ok(());
    }
    let how = kept.place.resolution.clone().unwrap_or_default();
    Err(CONFLICT_RESOLVED.error(format!("the conflict is resolved: {how}")).with("resolution", how))
}

/// The change that resolves it. Errors: `Invalid`, `conflict-moved`, `Rejected`.
fn request(
    merging: &MergeSettings,
    viewer: &Viewer,
    document: &Document,
    (kept, decided): (&StoredConflict, &ConflictDecision),
) -> Result<Request> {
    let name = document.meta.name.clone();
    let rules = merging.merge_rules(&name);
    let audience = document.meta.audience(viewer);
    let whole = state_of(document)?;
    let mut visible = seen(&whole, audience);
    let now = merge::value_at(&visible, &kept.place.path, &rules).cloned();
    let same = match (&now, &kept.place.server) {
        (Some(now), Some(then)) => equal(now, then),
        (None, None) => true,
        _ => false,
    };
    let moved = || {
        let error = CONFLICT_MOVED.error(format!("{} has changed since", kept.place.path));
        let error = error.with("currentVersion", document.version.0);
        match &now {
            Some(value) => error.with("value", value.clone()),
            None => error,
        }
    };
    let seen_now = decided.expected_version == Some(document.version);
    if !(seen_now || (same && decided.expected_version.is_none())) {
        return Err(moved());
    }
    let value = match decided.resolution {
        Resolution::Local => kept.place.local.clone(),
        Resolution::Server => now.clone(),
        Resolution::Merge => {
            let missing = || Error::invalid_field("value", "must be given with resolution merge");
            Some(decided.value.clone().ok_or_else(missing)?)
        }
    };
    if !merge::replace_at(&mut visible, &kept.place.path, &rules, value) {
        return Err(moved());
    }
    let state = match audience {
        Audience::Host => visible,
        Audience::Player(player) => visibility::overlay(&whole, visible, player),
    };
    let state = if equal(&state, &whole) { state } else { merging.accept(document, &whole, state, viewer)? };
    let conflict_id = kept.place.id.clone().unwrap_or_default();
    let payload = ResolvePayload { conflict_id, resolution: decided.resolution };
    let payload = serde_json::to_value(payload).map_err(Error::internal)?;
    let operation = WriteOperation::Merge { kind: RESOLVE.to_owned(), payload, state };
    Ok(Request { name, operation, expected: Expected { version: Some(document.version), ..Expected::default() } })
}
