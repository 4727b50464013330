//! Looks once at the documents that were there before the tables were.

use std::time::Duration;

use tokio::time::sleep;

use super::limits::INDEXED_AT_ONCE;
use super::members::{Member, MemberKind, PROJECTS};
use super::progress::measure::Settings;
use super::sql;
use crate::base::error::Result;
use crate::base::ids::DocumentId;
use crate::document::model::Document;
use crate::http::api::Api;
use crate::store::Connection;

/// After which a step that failed is tried again.
const RETRY: Duration = Duration::from_secs(5);

/// Runs until all is looked at.
pub(crate) async fn run(api: Api) {
    while let Err(error) = index_all(&api).await {
        tracing::warn!(%error, "the documents of projects are not all looked at yet");
        sleep(RETRY).await;
    }
}

/// Projects come last, so that their first snapshots have the counts.
async fn index_all(api: &Api) -> Result<()> {
    for collection in MemberKind::ALL.map(MemberKind::collection).into_iter().chain([PROJECTS]) {
        if !api.read_rows(move |conn| sql::members::is_indexed(conn, collection)).await? {
            index(api, collection).await?;
            api.write_rows(move |conn, _| sql::members::set_indexed(conn, collection)).await?;
        }
    }
    Ok(())
}

async fn index(api: &Api, collection: &'static str) -> Result<()> {
    let mut after: Option<DocumentId> = None;
    loop {
        let names = api.document_names(collection, after.as_ref(), INDEXED_AT_ONCE).await?;
        let Some(last) = names.last() else { return Ok(()) };
        after = Some(last.id.clone());
        let mut found = Vec::new();
        for name in &names {
            // One that is damaged is told of elsewhere.
            if let Ok(Some(document)) = api.reads.document(name).await
                && !document.meta.volatile
            {
                found.push(document);
            }
        }
        api.write_rows(move |conn, _| found.iter().try_for_each(|document| index_document(conn, document))).await?;
    }
}

/// Leaves a document alone that has changed since it was read: its change wrote the rows.
fn index_document(conn: &Connection, document: &Document) -> Result<()> {
    let (key, at) = (document.meta.key, document.updated_at);
    let state = document.state.as_ref().and_then(|state| serde_json::from_slice(state).ok());
    let Some(state) = state.filter(|_| matches!(sql::members::is_at(conn, key, document.version), Ok(true))) else {
        return Ok(());
    };
    match MemberKind::of_collection(&document.meta.name.collection) {
        Some(kind) => sql::set_member(conn, key, Member::of_state(kind, &state).as_ref(), at),
        None => sql::set_project(conn, (key, document.meta.name.id.as_str()), &Settings::of_project(&state), at),
    }
}
