//! Reads a project for its checks: the public state of what everybody may read who may read the project.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde_json::Value;

use crate::base::error::Result;
use crate::base::ids::{DocumentId, DocumentName};
use crate::document::access::Grant;
use crate::document::model::{Document, Meta};
use crate::document::visibility::Viewer;
use crate::features::projects::consistency::entity::Entity;
use crate::features::projects::consistency::model::{ProjectFacts, ProjectModel};
use crate::features::projects::limits::{MEMBERS_MAX, OUTSIDE_MAX};
use crate::features::projects::members::{MemberKind, project_of};
use crate::features::projects::sql;
use crate::http::api::Api;
use crate::store::Reader;

/// Documents that are read in one question.
const READ_AT_ONCE: usize = 500;

/// Whether everybody who may read the project may read the document.
fn is_as_readable(document: &Meta, project: &Meta) -> bool {
    let may_read = |user: &_| document.may_read(&Viewer::User(Clone::clone(user)));
    match &project.access.read {
        Grant::All => document.access.read == Grant::All,
        Grant::Host => project.host.iter().all(may_read),
        Grant::Users(users) => project.host.iter().chain(users).all(may_read),
    }
}

/// The public part of a document's state. `None`: it is deleted.
fn public_state(document: &Document) -> Option<Value> {
    let mut state: Value = serde_json::from_slice(document.state.as_ref()?).ok()?;
    if let Value::Object(members) = &mut state {
        members.remove("hidden");
        members.remove("private");
    }
    Some(state)
}

/// What a document is to the project, if it belongs to it.
fn entity(document: &Document, project: &Document) -> Option<Entity> {
    let kind = MemberKind::of_collection(&document.meta.name.collection)?;
    let state = public_state(document)?;
    let belongs = project_of(&state) == Some(project.meta.name.id.as_str());
    (belongs && !document.meta.volatile && is_as_readable(&document.meta, &project.meta))
        .then(|| Entity::new(kind, state))
}

/// The project as checks see its own document.
pub(super) async fn facts(api: &Api, project: &Document) -> Result<ProjectFacts> {
    let id = project.meta.name.id.to_string();
    let row = api.read_rows(move |conn| sql::progress::find(conn, &id)).await?;
    let completed = row.is_some_and(|row| row.stated.phase.as_ref() == row.settings.phases.names().last());
    Ok(ProjectFacts { state: public_state(project).unwrap_or_default(), completed })
}

/// These documents as they are now, each with what it is to the project.
pub(super) async fn entities(
    api: &Api,
    project: &Arc<Document>,
    names: Vec<DocumentName>,
) -> Result<Vec<(DocumentName, Option<Entity>)>> {
    let mut entities = Vec::with_capacity(names.len());
    for names in names.chunks(READ_AT_ONCE) {
        let read: Vec<_> = names.iter().map(|name| (name.clone(), api.reads.hub.peek(name))).collect();
        let project = Arc::clone(project);
        let read = move |reader: &Reader| -> Result<Vec<_>> {
            let load = |(name, hot): (DocumentName, Option<Arc<Document>>)| {
                // One that is damaged is told of elsewhere, and is as if it were not there.
                let document = hot.or_else(|| reader.load(&name).ok().flatten().map(Arc::new));
                (name, document.and_then(|document| entity(&document, &project)))
            };
            Ok(read.into_iter().map(load).collect())
        };
        entities.extend(api.reads.read(read).await?);
    }
    Ok(entities)
}

/// The names of all documents of a project.
pub(super) async fn members(api: &Api, project: &DocumentId) -> Result<Vec<DocumentName>> {
    let (project, most) = (project.to_string(), usize::try_from(MEMBERS_MAX).unwrap_or(usize::MAX));
    let list = api.read_rows(move |conn| sql::members::list(conn, &project, None, most)).await?;
    Ok(list.into_iter().map(|member| member.name).collect())
}

/// Looks up what these documents refer to outside of the project.
pub(super) async fn find_outside(
    api: &Api,
    project: &Document,
    model: &mut ProjectModel,
    names: &[DocumentName],
) -> Result<()> {
    let targets: Vec<DocumentName> = model.outside_of(names.iter()).into_iter().take(OUTSIDE_MAX).collect();
    let collections: BTreeSet<String> = targets.iter().map(|target| target.collection.to_string()).collect();
    let known = api.read_rows(move |conn| sql::members::public_collections(conn, collections)).await?;
    let mut outside = Vec::with_capacity(targets.len());
    for target in targets {
        let head = api.reads.document_head(&target).await?;
        let there = head.is_some_and(|head| !head.deleted && is_as_readable(&head.meta, &project.meta));
        outside.push((target, there));
    }
    model.set_outside(outside, known);
    Ok(())
}
