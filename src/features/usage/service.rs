//! Counting creations with the creation, and setting subscriptions.

use std::sync::Arc;

use super::rules::{CountedKind, Limits, Subscription, UsageState};
use super::sql;
use crate::base::clock::Timestamp;
use crate::base::error::{Error, Result};
use crate::document::visibility::Viewer;
use crate::engine::hooks::{Change, ChangeOrigin, ChangeRows, DocumentHook, StoredRows};
use crate::store::Connection;

/// UsageCounts what users create, and keeps them to their limits.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Usage {
    /// What may be created in a calendar month without a subscription.
    pub defaults: Limits,
}

impl DocumentHook for Usage {
    fn name(&self) -> &'static str {
        "usage"
    }

    fn before_store(&self, change: &Change<'_>, rows: &StoredRows<'_>) -> Result<Option<ChangeRows>> {
        if !change.creates() || change.deletes() || change.origin() != ChangeOrigin::Request {
            return Ok(None);
        }
        let Some(thing) = CountedKind::of(&change.document().collection) else { return Ok(None) };
        let (who, at) = (Arc::<str>::from(change.viewer().scope()), change.at());
        let group: Arc<str> = format!("{} {who}", thing.counter()).into();
        if change.user().is_some() {
            let standing = rows.read(|conn| sql::read_usage(conn, &who))?;
            let used = standing.counts.of(thing).saturating_add(rows.pending_rows(&group));
            standing.plan(self.defaults, at).check(thing, used)?;
        }
        Ok(Some(ChangeRows::new(&group, move |conn| sql::count(conn, &who, thing, at))))
    }
}

/// Sets a user's subscription. The counters stay, but for a renewal, whose period begins when the one before is over,
/// or later: they begin anew with it. Returns whether there was none. Error: `Damaged`.
pub(crate) fn put(conn: &Connection, mut subscription: Subscription, now: Timestamp) -> Result<bool> {
    let before = sql::subscription(conn, subscription.user.as_str())?;
    if let Some(before) = &before {
        if before.period == subscription.period {
            // The day on which periods begin may not be visible in this one.
            subscription.length = before.length;
        }
        if subscription.period.start >= before.period.end {
            sql::zero(conn, subscription.user.as_str(), now)?;
        }
    }
    sql::put(conn, &subscription)?;
    Ok(before.is_none())
}

/// Begins the next period of a user whose active subscription has one that ended by `now`: whole periods later, the one
/// that runs at `now`, with counters at 0. Both or nothing, and nothing when that was done already; whether it was done
/// now. Errors: `Damaged`; `Internal` when there is no next period.
pub(crate) fn begin_next(conn: &Connection, user: &str, now: Timestamp) -> Result<bool> {
    let Some(Subscription { period, length, .. }) = sql::subscription(conn, user)? else { return Ok(false) };
    if now < period.end {
        return Ok(false);
    }
    let next = period.running_at(length, now);
    let next = next.ok_or_else(|| Error::internal("the next period would not end before the year 10000"))?;
    let rolled = sql::advance_period(conn, user, period.end, next)?;
    if rolled {
        sql::zero(conn, user, now)?;
    }
    Ok(rolled)
}

/// How a viewer stands. Error: `Damaged`.
pub(crate) fn usage_of(conn: &Connection, viewer: &Viewer) -> Result<UsageState> {
    sql::read_usage(conn, viewer.scope())
}
