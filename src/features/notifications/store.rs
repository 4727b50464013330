//! What was missed, for streams that begin.
//!
//! A client acknowledges by coming back with a position after the change that a notification is about. What was missed
//! is told when the changes are, which have passed that position by then: so where a replay is begun that has something
//! to tell at its end, it is remembered, and a device that comes back from within it is told everything again.

use std::fmt;
use std::ops::RangeInclusive;
use std::sync::Arc;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;

use super::sql::{self, Stored, StoredReplay};
use crate::base::error::{Error, Result};
use crate::base::ids::Seq;
use crate::document::visibility::Viewer;
use crate::http::api::Api;
use crate::live::messages::{MessageRecipient, MessageStore, MissedRequest, Since, StreamMessage};
use crate::live::topics::Interest;

/// The name of the stream's event.
pub(crate) const EVENT: &str = "notification";

/// See the module.
#[derive(Clone)]
pub(crate) struct NotificationStore {
    pub api: Api,
}

impl fmt::Debug for NotificationStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NotificationStore").finish_non_exhaustive()
    }
}

impl MessageStore for NotificationStore {
    fn missed(&self, request: MissedRequest) -> BoxFuture<'static, Result<Vec<StreamMessage>>> {
        missed(self.api.clone(), request).boxed()
    }

    fn between(
        &self,
        viewer: Viewer,
        _interest: Arc<Interest>,
        seqs: RangeInclusive<Seq>,
    ) -> BoxFuture<'static, Result<Vec<StreamMessage>>> {
        let api = self.api.clone();
        let read = async move {
            let who = viewer.scope().to_owned();
            let rows = api.read_rows(move |conn| sql::unread(conn, &who, &seqs)).await?;
            rows.into_iter().map(|row| message(&viewer, row)).collect()
        };
        read.boxed()
    }
}

async fn missed(api: Api, request: MissedRequest) -> Result<Vec<StreamMessage>> {
    let MissedRequest { viewer, device, since, through, told_at, .. } = request;
    let (who, on) = (viewer.scope().to_owned(), Arc::clone(&device));
    let (rows, before) = api
        .read_rows(move |conn| {
            let before = sql::replay(conn, &who, &on)?;
            Ok((sql::unread(conn, &who, &(first(since, before)..=through))?, before))
        })
        .await?;
    let passed = rows.iter().map(|row| row.seq).filter(|seq| *seq < told_at).min();
    let replay = passed.map(|from| extend(before, StoredReplay { from, to: told_at }));
    if let Some(replay) = replay.filter(|replay| before != Some(*replay)) {
        let who = viewer.scope().to_owned();
        let noted = api.write_rows(move |conn, _| sql::put_replay(conn, &who, &device, replay)).await;
        if let Err(error) = noted {
            // Told all the same; lost only if the connection breaks within the replay as well.
            tracing::debug!(%error, "a replay is not noted");
        }
    }
    rows.into_iter().map(|row| message(&viewer, row)).collect()
}

/// The change from which on notifications are told. `replay`: the last that was begun for the device.
fn first(since: Since, replay: Option<StoredReplay>) -> Seq {
    match (since, replay) {
        (Since::Nothing, _) => Seq::ZERO,
        (Since::Acknowledged(seq), Some(StoredReplay { from, to })) if from < seq && seq < to => from,
        (Since::Acknowledged(seq), _) => seq,
        (Since::Told(seq), _) => seq.next(),
    }
}

/// What is remembered of replays to a device when one more begins: several of its streams may be within theirs.
fn extend(before: Option<StoredReplay>, replay: StoredReplay) -> StoredReplay {
    match before {
        Some(before) if before.to > replay.from => {
            StoredReplay { from: before.from.min(replay.from), to: before.to.max(replay.to) }
        }
        _ => replay,
    }
}

fn message(viewer: &Viewer, Stored { notification, seq, position, .. }: Stored) -> Result<StreamMessage> {
    Ok(StreamMessage {
        id: notification.id.as_str().into(),
        event: EVENT,
        seq,
        position,
        document: notification.document.clone(),
        to: MessageRecipient::Viewer(viewer.scope().into()),
        data: serde_json::to_vec(&notification).map_err(Error::internal)?.into(),
    })
}
