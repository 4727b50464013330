//! Making invitations: who may, for what, and what of it can be kept.

use std::sync::Arc;
use std::time::Duration;

use super::limits::{DOCUMENTS_MAX, INVITATIONS_MAX, LIFETIME, LIFETIME_MAX, USES_MAX};
use super::problems::INVITATIONS_FULL;
use super::rules::{Invitation, InvitationSecret, InvitedSeat, check_target};
use super::sql;
use super::volatile::{VolatileDocuments, is_volatile};
use crate::base::clock::Timestamp;
use crate::base::entropy::new_id;
use crate::base::error::{Error, Kind, Result};
use crate::base::ids::{DocumentName, SessionId, UserId, Version};
use crate::document::model::Document;
use crate::document::visibility::Viewer;
use crate::http::api::Api;
use crate::http::providers::ReachedDocument;
use crate::http::request::caller::{Caller, Principal};
use crate::store::Connection;

/// An invitation that is asked for.
#[derive(Debug)]
pub(crate) struct InvitationWish {
    /// For whom; `None`: who comes is asked for a name.
    pub user: Option<UserId>,
    pub documents: Option<Vec<String>>,
    pub seat: Option<InvitedSeat>,
    pub uses: Option<u64>,
    pub expires_in_seconds: Option<u64>,
    pub target: Option<String>,
}

/// What of a wish is right by itself.
struct Terms {
    names: Option<Vec<DocumentName>>,
    uses: u32,
    lifetime: Duration,
}

/// Makes an invitation. Errors: `Invalid`, naming all that is wrong; `Forbidden` for whoever may not invite to that;
/// `NotFound`, `Gone`; `invitations-full`; `StorageUnavailable`.
pub(crate) async fn create(
    api: &Api,
    volatile: &Arc<VolatileDocuments>,
    caller: &Caller,
    wish: InvitationWish,
) -> Result<(InvitationSecret, Invitation)> {
    let Terms { names, uses, lifetime } = check(&wish)?;
    if !caller.administrator && (wish.user.is_some() || names.is_none()) {
        let message =
            "administrators invite a 'user', and to all documents; a document's host invites to that document";
        return Err(Error::new(Kind::Forbidden, message));
    }
    let documents = match &names {
        None => None,
        Some(names) => Some(hosted(api, caller, names).await?),
    };
    let now = api.clock.now();
    check_place(api, &wish, documents.as_deref())?;
    documents.iter().flatten().try_for_each(|document| check_reachable(&wish, document))?;
    let reached =
        |document: &Arc<Document>| ReachedDocument { name: document.meta.name.clone(), key: document.meta.key };
    let invitation = Invitation {
        id: SessionId::new(&new_id(&*api.entropy, now))?,
        user: wish.user,
        documents: documents.as_ref().map(|documents| documents.iter().map(reached).collect()),
        seat: wish.seat,
        uses,
        used: 0,
        target: wish.target,
        created_by: caller.viewer.scope().to_owned(),
        created_by_name: inviter(api, caller),
        created_at: now,
        expires_at: now.plus(lifetime),
        ended_at: None,
    };
    let secret = InvitationSecret::new(&*api.entropy);
    let seen: Vec<(i64, Version, DocumentName)> = documents
        .iter()
        .flatten()
        .map(|document| (document.meta.key, document.version, document.meta.name.clone()))
        .collect();
    let (hash, stored, volatile) = (secret.hash(), invitation.clone(), Arc::clone(volatile));
    let write = move |conn: &Connection, _: Timestamp| {
        if sql::count(conn)? >= INVITATIONS_MAX {
            let message = format!("there are {INVITATIONS_MAX} invitations, with those that were over lately");
            return Err(INVITATIONS_FULL.error(message));
        }
        for (key, version, name) in &seen {
            if sql::deleted_since(conn, *key, *version)? {
                return Err(Error::new(Kind::Gone, format!("{name} was deleted")));
            }
        }
        for (key, ..) in seen.iter().filter(|(key, ..)| is_volatile(*key)) {
            volatile.add_invitation(*key, &stored.id);
        }
        sql::save(conn, &hash, &stored)
    };
    api.engine.rows(write).await?;
    tracing::info!(invitation = %invitation.id, by = invitation.created_by, "an invitation is made");
    Ok((secret, invitation))
}

/// Error: `Invalid`, naming all members that are wrong by themselves.
fn check(wish: &InvitationWish) -> Result<Terms> {
    let mut wrong: Vec<Error> = Vec::new();
    let mut note = |field: &str, why: String| wrong.push(Error::invalid_field(field, why));
    if wish.user.as_ref().is_some_and(Viewer::is_owners_name) {
        note("user", "is what the server's owner is called; call the user something else".to_owned());
    }
    let uses = wish.uses.unwrap_or(1);
    if uses == 0 || uses > u64::from(USES_MAX) {
        note("uses", format!("must be from 1 to {USES_MAX}"));
    }
    let lifetime = wish.expires_in_seconds.unwrap_or(LIFETIME.as_secs());
    if lifetime == 0 || lifetime > LIFETIME_MAX.as_secs() {
        note("expiresInSeconds", format!("must be from 1 to {}", LIFETIME_MAX.as_secs()));
    }
    let mut names: Option<Vec<DocumentName>> = None;
    if let Some(documents) = &wish.documents {
        let names = names.insert(Vec::new());
        if documents.is_empty() || documents.len() > DOCUMENTS_MAX {
            note("documents", format!("must name 1 to {DOCUMENTS_MAX} documents; leave it out for all"));
        }
        for text in documents.iter().take(DOCUMENTS_MAX) {
            match DocumentName::parse(text) {
                Ok(name) if names.contains(&name) => {}
                Ok(name) => names.push(name),
                Err(error) => note("documents", error.message().to_owned()),
            }
        }
    }
    if wish.seat.is_some() && names.as_ref().is_none_or(|names| names.len() != 1) {
        note("seat", "is a place in the one document that the invitation is for; name one in 'documents'".to_owned());
    } else if wish.seat.is_some_and(|seat| seat.number().is_some()) && uses > 1 {
        note("seat", "is one place, and 'uses' are several; take \"any\"".to_owned());
    }
    if let Some(Err(error)) = wish.target.as_deref().map(check_target) {
        wrong.push(error);
    }
    match wrong.into_iter().reduce(Error::and) {
        Some(error) => Err(error),
        None => {
            Ok(Terms { names, uses: u32::try_from(uses).unwrap_or(USES_MAX), lifetime: Duration::from_secs(lifetime) })
        }
    }
}

/// The documents, which the caller must host. Errors: `NotFound`, `Gone`, `Forbidden`.
async fn hosted(api: &Api, caller: &Caller, names: &[DocumentName]) -> Result<Vec<Arc<Document>>> {
    let viewer = if caller.administrator { &Viewer::Owner } else { &caller.viewer };
    let mut documents = Vec::with_capacity(names.len());
    for name in names {
        let document = api.reads.live_document(name, viewer).await?;
        if !document.meta.is_host(viewer) {
            let message = format!("only the host of {name}, or an administrator, invites to it");
            return Err(Error::new(Kind::Forbidden, message));
        }
        documents.push(document);
    }
    Ok(documents)
}

/// Error: `Invalid` when a place is wanted where there are none.
fn check_place(api: &Api, wish: &InvitationWish, documents: Option<&[Arc<Document>]>) -> Result<()> {
    let Some(document) = wish.seat.and(documents).and_then(<[_]>::first) else { return Ok(()) };
    let collection = &document.meta.name.collection;
    match api.providers.places(collection) {
        Some(_) => Ok(()),
        None => Err(Error::invalid_field("seat", format!("documents of {collection} have no places"))),
    }
}

/// Refuses to invite somebody to a document that they could not read, or could take no place in. Error: `Invalid`.
fn check_reachable(wish: &InvitationWish, document: &Document) -> Result<()> {
    // Who comes is a new user, whom no list names.
    let nobody = || UserId::new("guest");
    let guest = Viewer::User(wish.user.clone().map_or_else(nobody, Ok)?);
    let name = &document.meta.name;
    let refused = match wish.seat {
        _ if !document.meta.may_read(&guest) => format!("{name} (access.read)"),
        Some(_) if document.meta.check_writer(&guest).is_err() => format!("{name} (access.write)"),
        _ => return Ok(()),
    };
    let why =
        format!("whoever comes by this invitation could not use {refused}: let \"all\", or name a 'user' it lets");
    Err(Error::invalid_field("documents", why))
}

/// What those who come are told who invites them: no login, which may be an address of mail.
fn inviter(api: &Api, caller: &Caller) -> String {
    let Some(user) = caller.user() else { return "the host".to_owned() };
    let named = api.names.of(user).map(|name| name.to_string());
    named.unwrap_or_else(|| match &caller.peer.principal {
        Principal::Member(member) if member.user == *user => {
            member.login.split('@').next().unwrap_or_default().to_owned()
        }
        Principal::Local | Principal::Member(_) | Principal::Anonymous => user.to_string(),
    })
}
