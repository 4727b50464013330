//! What followers of a document tell each other beside its changes: [`TransientMessage`]s. They have no place in the
//! log and are stored nowhere: whoever does not follow when one is sent never gets it.
//!
//! This is the one queue that a follower has. It is bounded: one that keeps up gets every message, of one that is slow
//! only the newest of each sender and kind is kept.

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use parking_lot::Mutex;
use serde_json::Value;

use crate::base::error::{Error, Result};
use crate::base::ids::{DocumentName, UserId};
use crate::base::limits::{STREAM_WRITE_BYTES_MAX, TRANSIENT_MESSAGES_MAX, TRANSIENT_PAIRS_MAX};
use crate::document::model::{Document, Meta};
use crate::document::visibility::{Audience, Viewer, redact_value};

/// A message to those who follow a document. Shared by the queues of all of them.
#[derive(Debug)]
pub(crate) struct TransientMessage {
    /// The document, as it was when this was sent.
    meta: Arc<Meta>,
    sender: Viewer,
    kind: Box<str>,
    /// Whom it is for besides the document's host and the sender; `None`: all who may read the document.
    recipients: Option<HashSet<UserId>>,
    /// What the frame has before the payload; after it comes [`FRAME_END`].
    frame_start: Bytes,
    payload: Value,
    /// The frame for whoever may see all of it.
    frame: Bytes,
    /// Whether the payload has a part that is not for everyone.
    guarded: bool,
}

const FRAME_END: &[u8] = b"}\n\n";

/// Who says what to whom.
#[derive(Debug)]
pub(crate) struct TransientContent {
    pub sender: Viewer,
    pub kind: String,
    /// Besides the document's host and the sender; `None`: everyone who may read the document.
    pub recipients: Option<HashSet<UserId>>,
    pub payload: Value,
}

impl TransientMessage {
    /// A message of a document. `event`: the name of the stream's event. `members`: a JSON object, of which the
    /// `payload` is to be the last member. Error: `Internal`.
    pub(crate) fn new(meta: Arc<Meta>, event: &str, members: &[u8], content: TransientContent) -> Result<Self> {
        let TransientContent { sender, kind, recipients, payload } = content;
        let members = members.strip_suffix(b"}").ok_or_else(|| Error::internal("a message is no object"))?;
        let parts: [&[u8]; 5] = [b"event: ", event.as_bytes(), b"\ndata: ", members, b",\"payload\":"];
        let frame_start = Bytes::from(parts.concat());
        let guarded = ["hidden", "private"].iter().any(|name| payload.get(name).is_some());
        let frame = frame(&frame_start, &payload)?;
        Ok(Self { meta, sender, kind: kind.into(), recipients, frame_start, payload, frame, guarded })
    }

    /// The document that it belongs to.
    pub(crate) fn document(&self) -> &DocumentName {
        &self.meta.name
    }

    /// What `viewer` is told, if it is for them. `meta`: the document as it is now.
    fn frame_for(&self, meta: &Meta, viewer: &Viewer) -> Result<Option<Bytes>> {
        let Some(audience) = meta.audience_of_reader(viewer) else { return Ok(None) };
        let Audience::Player(player) = audience else { return Ok(Some(self.frame.clone())) };
        let named = |recipients: &HashSet<UserId>| recipients.contains(player) || self.sender.user() == Some(player);
        if !self.recipients.as_ref().is_none_or(named) {
            return Ok(None);
        }
        if !self.guarded {
            return Ok(Some(self.frame.clone()));
        }
        frame(&self.frame_start, &redact_value(self.payload.clone(), player)).map(Some)
    }

    /// Whether a newer message of this sender and kind takes the place of `other`.
    fn replaces(&self, other: &Self) -> bool {
        self.kind == other.kind && self.meta.key == other.meta.key && self.sender.scope() == other.sender.scope()
    }
}

fn frame(start: &[u8], payload: &Value) -> Result<Bytes> {
    let mut out = BytesMut::with_capacity(start.len() + 128);
    out.extend_from_slice(start);
    out.extend_from_slice(&serde_json::to_vec(payload).map_err(Error::internal)?);
    out.extend_from_slice(FRAME_END);
    Ok(out.freeze())
}

/// What waits for one follower, oldest first. At most [`TRANSIENT_PAIRS_MAX`]: past it the oldest is dropped.
#[derive(Debug, Default)]
struct TransientQueue {
    waiting: VecDeque<Arc<TransientMessage>>,
    /// More than [`TRANSIENT_MESSAGES_MAX`] have waited, and not all of them are taken yet: of each sender and kind
    /// there is one.
    slow: bool,
    /// The number of the newest: whoever follows a document and its collection is found twice.
    newest: u64,
}

impl TransientQueue {
    fn push(&mut self, message: &Arc<TransientMessage>, number: u64) {
        if std::mem::replace(&mut self.newest, number) == number {
            return;
        }
        if self.waiting.len() >= TRANSIENT_MESSAGES_MAX && !self.slow {
            self.slow = true;
            let all = std::mem::take(&mut self.waiting);
            for (index, older) in all.iter().enumerate() {
                if !all.iter().skip(index + 1).any(|newer| newer.replaces(older)) {
                    self.waiting.push_back(Arc::clone(older));
                }
            }
        }
        if self.slow {
            self.waiting.retain(|older| !message.replaces(older));
        }
        self.waiting.push_back(Arc::clone(message));
        if self.waiting.len() > TRANSIENT_PAIRS_MAX {
            self.waiting.pop_front();
        }
    }

    fn pop(&mut self) -> Option<Arc<TransientMessage>> {
        let message = self.waiting.pop_front();
        self.slow &= !self.waiting.is_empty();
        message
    }
}

/// The place of one follower for what others send.
#[derive(Debug)]
pub(crate) struct TransientInbox {
    viewer: Viewer,
    /// Held for list operations only.
    queue: Mutex<TransientQueue>,
}

impl TransientInbox {
    pub(crate) fn new(viewer: Viewer) -> Self {
        Self { viewer, queue: Mutex::default() }
    }

    /// Puts in a message, unless it is not for this follower or is in already. `number`: rises with each message.
    /// Says whether it is for this follower.
    pub(crate) fn offer(&self, message: &Arc<TransientMessage>, number: u64) -> bool {
        let meta = &message.meta;
        let named = |recipients: &HashSet<UserId>| {
            meta.is_host(&self.viewer)
                || self.viewer.user().is_some_and(|user| recipients.contains(user))
                || self.viewer.scope() == message.sender.scope()
        };
        let wanted = meta.may_read(&self.viewer) && message.recipients.as_ref().is_none_or(named);
        if wanted {
            self.queue.lock().push(message, number);
        }
        wanted
    }

    /// Takes what waits, as frames and as much as one write carries, as far as the follower may be told now.
    /// `newest`: a document as it is now, if it is in memory. Error: `Internal`.
    pub(crate) fn take_frames(&self, newest: impl Fn(&DocumentName) -> Option<Arc<Document>>) -> Result<Bytes> {
        let mut out = BytesMut::new();
        loop {
            let (message, more) = {
                let mut queue = self.queue.lock();
                (queue.pop(), !queue.waiting.is_empty())
            };
            let Some(message) = message else { return Ok(out.freeze()) };
            // Whoever takes it slowly may have lost the right to it since it was sent.
            let newest = newest(message.document());
            let meta = newest.as_ref().map_or(&message.meta, |newest| &newest.meta);
            let frame = message.frame_for(meta, &self.viewer)?;
            match frame {
                // As it is, for nothing: there may be a thousand others who get it.
                Some(frame) if out.is_empty() && !more => return Ok(frame),
                Some(frame) => out.extend_from_slice(&frame),
                None => {}
            }
            if out.len() >= STREAM_WRITE_BYTES_MAX {
                return Ok(out.freeze());
            }
        }
    }
}

#[cfg(test)]
#[path = "transient_tests.rs"]
mod tests;
