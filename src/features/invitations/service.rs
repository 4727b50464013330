//! Looking at invitations, listing and ending them, and what goes on with them by itself.

use std::sync::Arc;

use super::limits::{KEPT_AFTER, NAMES_KEPT};
use super::problems::UNKNOWN;
use super::rules::{Invitation, InvitationSecret, InvitationState};
use super::sql;
use super::volatile::VolatileDocuments;
use crate::base::clock::Timestamp;
use crate::base::error::{Error, Kind, Result};
use crate::base::ids::{DocumentName, SessionId};
use crate::document::model::Document;
use crate::document::visibility::Viewer;
use crate::engine::handle::Engine;
use crate::engine::hooks::{DocumentHook, RemovedDocument};
use crate::engine::request::Durability;
use crate::engine::revocations::Revocation;
use crate::http::api::Api;
use crate::http::providers::ReachedDocument;
use crate::http::request::caller::Caller;
use crate::jobs::{Job, JobContext, Schedule, Summary};
use crate::live::display_names::DisplayNames;
use crate::store::Connection;

/// How long a clean-up may take.
const CLEANUP_TIMEOUT: std::time::Duration = std::time::Duration::from_secs(60);

/// Whoever comes by an invitation, or looks at it.
pub(crate) struct Found {
    pub secret: InvitationSecret,
    pub invitation: Invitation,
    /// The documents that it is for and that are there.
    pub documents: Option<Vec<Arc<Document>>>,
    /// The session that the request shows, if this invitation has opened it or given it more.
    pub joined: Option<SessionId>,
}

/// The refusal of a token that is none.
pub(crate) fn unknown() -> Error {
    UNKNOWN.error("there is no such invitation; open the link as it was sent, or ask for another")
}

/// The invitation of a token, whether it is good or not. Errors: `invitation-unknown`; `StorageUnavailable`.
pub(crate) async fn find(
    api: &Api,
    volatile: &VolatileDocuments,
    token: &str,
    caller: Option<&Caller>,
) -> Result<Found> {
    let secret = InvitationSecret::parse(token).ok_or_else(unknown)?;
    // Before the table is read.
    let revoked = api.engine.pending_revocations();
    let hash = secret.hash();
    let (invitation, sessions) = api
        .read_rows(move |conn| {
            let Some(invitation) = sql::find(conn, &hash)? else { return Err(unknown()) };
            let sessions = sql::sessions(conn, invitation.id.as_str())?;
            Ok((invitation, sessions))
        })
        .await?;
    let mut invitation = invitation;
    if revoked.contains(&revocation(&invitation.id)) {
        invitation.ended_at = invitation.ended_at.or(Some(api.clock.now()));
    }
    let documents = present(api, volatile, &mut invitation).await?;
    let shown = caller.and_then(Caller::session).map(|shown| &*shown.id);
    let joined = sessions.iter().find(|session| shown == Some(session.as_str()));
    let joined = joined.map(|id| SessionId::new(id)).transpose()?;
    Ok(Found { secret, invitation, documents, joined })
}

/// Leaves out the documents that are not there any more: what was deleted while storage fails is still in the table.
async fn present(
    api: &Api,
    volatile: &VolatileDocuments,
    invitation: &mut Invitation,
) -> Result<Option<Vec<Arc<Document>>>> {
    invitation.retain_invited(volatile);
    let Some(reached) = &mut invitation.documents else { return Ok(None) };
    let mut documents = Vec::with_capacity(reached.len());
    for ReachedDocument { name, key } in std::mem::take(reached) {
        let found = api.reads.document(&name).await?;
        if let Some(document) = found.filter(|document| document.meta.key == key && !document.is_deleted()) {
            documents.push(document);
            reached.push(ReachedDocument { name, key });
        }
    }
    Ok(Some(documents))
}

/// An invitation that the caller may list and end. Error: `NotFound`, also for whoever may not.
pub(crate) async fn own(api: &Api, caller: &Caller, id: &str) -> Result<Invitation> {
    let none = || Error::not_found("you have no such invitation; GET /api/v1/invitations lists yours");
    let wanted = id.to_owned();
    let invitation = api.read_rows(move |conn| sql::by_id(conn, &wanted)).await?.ok_or_else(none)?;
    if caller.administrator || invitation.created_by == caller.viewer.scope() {
        return Ok(invitation);
    }
    let Some(documents) = invitation.documents.as_ref().filter(|documents| !documents.is_empty()) else {
        return Err(none());
    };
    for document in documents {
        if !is_host(api, caller, &document.name).await? {
            return Err(none());
        }
    }
    Ok(invitation)
}

/// Whether the caller hosts a document.
async fn is_host(api: &Api, caller: &Caller, name: &DocumentName) -> Result<bool> {
    Ok(api.reads.meta(name).await?.is_some_and(|meta| meta.is_host(&caller.viewer)))
}

/// At most `limit` + 1 invitations, newest first: those for a document that the caller hosts, or those that they made;
/// of administrators, all. Errors: `NotFound`, `Gone`, `Forbidden`; `StorageUnavailable`.
pub(crate) async fn list(
    api: &Api,
    volatile: &VolatileDocuments,
    caller: &Caller,
    document: Option<DocumentName>,
    (before, limit): (Option<String>, usize),
) -> Result<Vec<(Invitation, InvitationState)>> {
    let key = match &document {
        None => None,
        Some(name) => {
            let viewer = if caller.administrator { &Viewer::Owner } else { &caller.viewer };
            let document = api.reads.live_document(name, viewer).await?;
            if !document.meta.is_host(viewer) {
                let message = "only the host of a document, or an administrator, sees who is invited to it";
                return Err(Error::new(Kind::Forbidden, message));
            }
            Some(document.meta.key)
        }
    };
    let by = (!caller.administrator && key.is_none()).then(|| caller.viewer.scope().to_owned());
    let revoked = api.engine.pending_revocations();
    let found = api.read_rows(move |conn| sql::list(conn, by.as_deref(), key, before.as_deref(), limit + 1)).await?;
    let now = api.clock.now();
    let with_state = |mut invitation: Invitation| {
        if revoked.contains(&revocation(&invitation.id)) {
            invitation.ended_at = invitation.ended_at.or(Some(now));
        }
        invitation.retain_invited(volatile);
        let state = invitation.state(now);
        (invitation, state)
    };
    Ok(found.into_iter().map(with_state).collect())
}

/// Ends an invitation, and the sessions that it opened or gave more, if that is wanted. Returns whether all of it is on
/// disk. Error: `StorageUnavailable`, when more is revoked and not stored than may be.
pub(crate) async fn end(api: &Api, invitation: &Invitation, with_sessions: bool) -> Result<Durability> {
    // First, so that nobody comes in who is not among the sessions that are read then.
    let ended = api.engine.revoke(None, vec![revocation(&invitation.id)]).await?;
    tracing::info!(invitation = %invitation.id, "an invitation is ended");
    let Some(opener) = api.providers.sessions().filter(|_| with_sessions) else { return Ok(ended) };
    let id = invitation.id.clone();
    let sessions = api.read_rows(move |conn| sql::sessions(conn, id.as_str())).await?;
    let sessions = opener.end(sessions).await;
    Ok(if sessions == Durability::Durable { ended } else { sessions })
}

/// What the engine does with invitations: they end, and what they are for goes with its document.
pub(crate) struct InvitationsHook {
    pub volatile: Arc<VolatileDocuments>,
}

impl DocumentHook for InvitationsHook {
    fn name(&self) -> &'static str {
        HOOK
    }

    fn document_removed(&self, conn: &Connection, key: i64) -> Result<()> {
        sql::remove_document(conn, key)
    }

    fn before_recreation_published(&self, key: i64) {
        self.volatile.forget(key);
    }

    fn removal_published(&self, removed: RemovedDocument<'_>) {
        self.volatile.forget(removed.document_key());
    }

    fn revoke(&self, conn: &Connection, subject: &str, now: Timestamp) -> Result<()> {
        sql::end(conn, subject, now)
    }
}

const HOOK: &str = "invitations";

/// The end of an invitation, which no other has the id of.
fn revocation(id: &SessionId) -> Revocation {
    Revocation::new(HOOK, id.as_str())
}

/// The job `invitations-cleanup`, which forgets invitations that have been over for long, and names that nobody needs.
pub(crate) fn cleanup_job(engine: Engine, names: Arc<DisplayNames>) -> Job {
    let run = move |context: JobContext| {
        let (engine, names) = (engine.clone(), Arc::clone(&names));
        async move {
            let mut summary = Summary::default();
            let dry_run = context.dry_run;
            let write = move |conn: &Connection, now: Timestamp| {
                let before = now.minus(KEPT_AFTER);
                if dry_run {
                    return Ok((sql::old(conn, before)?, Vec::new()));
                }
                Ok((sql::trim(conn, before)?, sql::people::trim(conn, now.minus(NAMES_KEPT))?))
            };
            let (invitations, users) = engine.rows(write).await?;
            users.iter().for_each(|user| names.remove(user));
            summary.count("forgotten", invitations);
            Ok(summary)
        }
    };
    Job::new("invitations-cleanup", Schedule::Hourly, CLEANUP_TIMEOUT, run).with_dry_run().removing_by_time()
}
