//! The job that deletes collections. Each run carries out the deletions that are asked for, oldest first; one that is
//! broken off goes on in the next run with the documents that are left.

use std::sync::Arc;

use futures_util::{StreamExt as _, stream};
use tokio::sync::Notify;
use tokio::time::sleep;

use super::limits::{CONCURRENT_DELETES, PAGE_DOCUMENTS, RETRY, TIMEOUT};
use super::sql::{self, CollectionDeletion};
use crate::base::error::{Kind, Result};
use crate::base::ids::{DocumentId, DocumentName};
use crate::document::decide::{Expected, Request, WriteOperation};
use crate::document::visibility::Viewer;
use crate::engine::data::DataAccess;
use crate::engine::request::Write;
use crate::http::api::Api;
use crate::jobs::runner::RunnerHandle;
use crate::jobs::{Job, Schedule, Summary};

const JOB: &str = "collection-deletions";

pub(super) fn deletion_job() -> Job {
    Job::new(JOB, Schedule::Hourly, TIMEOUT, |context| async move { delete_pending(&context).await })
}

/// Runs the job whenever a deletion is asked for, until none is left.
pub(super) async fn run_when_requested(api: Api, jobs: RunnerHandle, requested: Arc<Notify>) {
    loop {
        requested.notified().await;
        loop {
            match api.read_rows(sql::oldest_pending).await {
                Ok(None) => break,
                Ok(Some(_)) => match jobs.run_now(JOB, false).await {
                    Ok(started) => drop(started.ended.await),
                    // A run that is about to end may not have seen the newest.
                    Err(error) if error.kind() == Kind::AlreadyExists => {}
                    Err(error) => tracing::warn!(%error, "a collection is not deleted yet"),
                },
                Err(error) => tracing::warn!(%error, "deletions of collections cannot be read"),
            }
            if !matches!(api.read_rows(sql::oldest_pending).await, Ok(None)) {
                sleep(RETRY).await;
            }
        }
    }
}

async fn delete_pending(data: &DataAccess) -> Result<Summary> {
    let mut summary = Summary::default();
    for name in ["deleted", "refused"] {
        summary.count(name, 0);
    }
    while let Some(deletion) = data.read_rows(sql::oldest_pending).await? {
        summary.name(deletion.collection.as_str());
        delete_collection(data, deletion, &mut summary).await?;
    }
    Ok(summary)
}

/// Deletes what there was of a collection when that was asked for.
async fn delete_collection(data: &DataAccess, mut deletion: CollectionDeletion, summary: &mut Summary) -> Result<()> {
    deletion.remaining = count(data, &deletion).await?;
    deletion.total = Some(deletion.total.unwrap_or(deletion.remaining));
    save(data, &deletion).await?;
    let mut after = None;
    loop {
        let (names, more) = page(data, &deletion, after.as_ref()).await?;
        let Some(last) = names.last() else { break };
        after = Some(last.id.clone());
        let deleting = names.into_iter().filter(|name| name.collection == deletion.collection).map(|name| {
            let data = data.clone();
            async move { (delete(&data, &name).await, name) }
        });
        let deleted: Vec<_> = stream::iter(deleting).buffer_unordered(CONCURRENT_DELETES).collect().await;
        for (outcome, name) in deleted {
            deletion.remaining = deletion.remaining.saturating_sub(1);
            match outcome {
                Ok(()) => summary.count("deleted", 1),
                Err(error) if error.kind().retryable() => return Err(error),
                Err(error) => {
                    deletion.refused += 1;
                    summary.count("refused", 1);
                    deletion.error.get_or_insert_with(|| format!("{name}: {}", error.message()));
                }
            }
        }
        if !more {
            break;
        }
        save(data, &deletion).await?;
    }
    (deletion.remaining, deletion.ended_at) = (0, Some(data.clock.now()));
    save(data, &deletion).await
}

async fn save(data: &DataAccess, deletion: &CollectionDeletion) -> Result<()> {
    let deletion = deletion.clone();
    data.write_rows(move |conn, _| sql::save(conn, &deletion)).await
}

/// How many documents are to be deleted.
async fn count(data: &DataAccess, deletion: &CollectionDeletion) -> Result<u64> {
    let (mut count, mut after) = (0_u64, None);
    loop {
        let (names, more) = page(data, deletion, after.as_ref()).await?;
        count = count.saturating_add(u64::try_from(names.len()).unwrap_or(u64::MAX));
        match names.into_iter().last() {
            Some(last) if more => after = Some(last.id),
            _ => return Ok(count),
        }
    }
}

/// The next documents that are to be deleted, and whether there are more. What was created after the deletion was asked
/// for is not, nor what is on another server.
async fn page(
    data: &DataAccess,
    deletion: &CollectionDeletion,
    after: Option<&DocumentId>,
) -> Result<(Vec<DocumentName>, bool)> {
    let mut after = after.cloned();
    loop {
        let (listed, more) = data.reads.list(&deletion.collection, after.as_ref(), PAGE_DOCUMENTS, false).await?;
        after = listed.last().map(|last| last.meta.name.id.clone());
        let elsewhere = |name: &DocumentName| data.reads.hub.relocations().find(name).is_some();
        let wanted = listed
            .into_iter()
            .map(|document| document.meta)
            .filter(|meta| meta.created_at <= deletion.requested_at && !elsewhere(&meta.name));
        let names: Vec<_> = wanted.map(|meta| meta.name.clone()).collect();
        if !names.is_empty() || !more {
            return Ok((names, more));
        }
    }
}

/// Deletes a document, as its host could. Errors: those of a change; none for one that is gone.
async fn delete(data: &DataAccess, name: &DocumentName) -> Result<()> {
    let requests =
        vec![Request { name: name.clone(), operation: WriteOperation::Delete, expected: Expected::default() }];
    match data.engine.write(Write { requests, viewer: Viewer::Owner, key: None }).await {
        Ok(_) => Ok(()),
        Err(error) if matches!(error.kind(), Kind::NotFound | Kind::Gone) => Ok(()),
        Err(error) => Err(error),
    }
}
