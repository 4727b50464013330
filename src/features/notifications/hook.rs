//! Writes notifications in the transaction of the change that they are about, and has them told with it.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use serde_json::Value;

use super::limits::RECIPIENTS_MAX;
use super::rules::{Notification, text};
use super::sql;
use super::store::EVENT;
use crate::base::entropy::{Entropy, new_id};
use crate::base::error::{Error, Result};
use crate::document::notices::{Notice, NoticeRecipient};
use crate::document::rules::Rules;
use crate::document::visibility::Viewer;
use crate::engine::hooks::{Change, ChangeOrigin, ChangeRows, DocumentHook, StoredRows};
use crate::live::messages::{MessageRecipient, StreamMessage};
use crate::store::Connection;

/// Asks the rules of a document whom a change concerns.
pub(crate) struct NotificationsHook {
    /// By collection.
    pub rules: Arc<HashMap<String, Arc<dyn Rules>>>,
    /// Names the notifications.
    pub entropy: Arc<dyn Entropy>,
}

impl fmt::Debug for NotificationsHook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NotificationsHook").finish_non_exhaustive()
    }
}

impl DocumentHook for NotificationsHook {
    fn name(&self) -> &'static str {
        "notifications"
    }

    fn before_store(&self, change: &Change<'_>, rows: &StoredRows<'_>) -> Result<Option<ChangeRows>> {
        let notices = self.notices(change);
        if notices.is_empty() {
            return Ok(None);
        }
        // Where preferences cannot be read because the disk fails, the game goes on with the defaults.
        let wanted = |recipient: &Viewer, notice: &Notice| {
            let preferences = rows.read(|conn| sql::preferences(conn, recipient.scope()));
            preferences.ok().flatten().unwrap_or_default().of(notice.kind).enabled
        };
        let (key, seq, version, at) = (change.document_key(), change.position().seq(), change.version(), change.at());
        let notified: Vec<(Viewer, Notification)> = recipients(change, notices)
            .into_iter()
            .filter(|(recipient, notice)| wanted(recipient, notice))
            .map(|(recipient, Notice { kind, title, body, .. })| {
                let (id, document) = (new_id(&*self.entropy, at), change.document().clone());
                let (title, body) = (text(title), text(body));
                (recipient, Notification { id, kind, title, body, document, version, at, read: false })
            })
            .collect();
        if notified.is_empty() {
            return Ok(None);
        }
        let messages: Result<Vec<StreamMessage>> = notified
            .iter()
            .map(|(recipient, notification)| {
                Ok(StreamMessage {
                    id: notification.id.as_str().into(),
                    event: EVENT,
                    seq,
                    position: Some(change.position()),
                    document: notification.document.clone(),
                    to: MessageRecipient::Viewer(recipient.scope().into()),
                    data: serde_json::to_vec(notification).map_err(Error::internal)?.into(),
                })
            })
            .collect();
        let write = move |conn: &Connection| {
            for (recipient, notification) in &notified {
                sql::insert(conn, (recipient.scope(), key, seq), notification)?;
            }
            sql::trim(conn)
        };
        Ok(Some(ChangeRows::new("notifications", write).with_messages(messages?)))
    }

    fn document_removed(&self, conn: &Connection, key: i64) -> Result<()> {
        sql::remove(conn, key)
    }
}

impl NotificationsHook {
    fn notices(&self, change: &Change<'_>) -> Vec<Notice> {
        let made = matches!(change.origin(), ChangeOrigin::Request | ChangeOrigin::Merge);
        let rules = self.rules.get(change.document().collection.as_str()).filter(|_| made);
        let (Some(rules), Some(after)) = (rules, change.value_after()) else { return Vec::new() };
        let before = change.value_before().unwrap_or(&Value::Null);
        // Rules are foreign code, and a change stands whatever they say of it.
        catch_unwind(AssertUnwindSafe(|| rules.notices(before, after))).unwrap_or_else(|_| {
            tracing::error!(document = %change.document(), "the rules panicked when asked whom a change concerns");
            Vec::new()
        })
    }
}

/// Who is told what: not who made the change, nobody who may not read the document, and each of one kind once.
fn recipients(change: &Change<'_>, notices: Vec<Notice>) -> Vec<(Viewer, Notice)> {
    let (meta, mut known) = (change.meta(), HashSet::new());
    let resolved = notices.into_iter().map(|notice| {
        let recipient = match &notice.to {
            NoticeRecipient::Host => meta.host.clone().map_or(Viewer::Owner, Viewer::User),
            NoticeRecipient::Player(player) if Viewer::is_owners_name(player) => Viewer::Owner,
            NoticeRecipient::Player(player) => Viewer::User(player.clone()),
        };
        (recipient, notice)
    });
    let told = resolved.filter(|(recipient, notice)| {
        recipient.scope() != change.viewer().scope()
            && meta.may_read(recipient)
            && known.insert((recipient.clone(), notice.kind))
    });
    told.take(RECIPIENTS_MAX).collect()
}
