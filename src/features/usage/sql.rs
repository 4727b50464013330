//! The tables `subscriptions` and `usage_counters`.

use rusqlite::{CachedStatement, OptionalExtension, Row};

use super::rules::{
    CountedKind, Limits, PerKind, Period, PeriodLength, Subscription, SubscriptionStatus, UsageCounts, UsageState,
};
use crate::base::clock::Timestamp;
use crate::base::error::{Error, Kind, Result};
use crate::base::ids::UserId;
use crate::store::{Connection, sql_error};

const COLUMNS: &str = "s.user_id, s.plan, s.status, s.period_start, s.period_end, s.months, s.day, \
                       s.parties_max, s.encounters_max, s.creatures_max";

/// How `who` stands: a user, or the owner by the name of its scope. Error: `Damaged`.
pub(crate) fn read_usage(conn: &Connection, who: &str) -> Result<UsageState> {
    let subscription = subscription(conn, who)?;
    let sql = "SELECT parties, encounters, creatures FROM usage_counters WHERE user_id = ?1";
    let read = |row: &Row<'_>| {
        Ok(PerKind { parties: number(row, 0)?, encounters: number(row, 1)?, creatures: number(row, 2)? })
    };
    let counts: Option<UsageCounts> = cached(conn, sql)?.query_row([who], read).optional().map_err(sql_error)?;
    Ok(UsageState { subscription, counts: counts.unwrap_or_default() })
}

/// The subscription of a user. Error: `Damaged`.
pub(crate) fn subscription(conn: &Connection, user: &str) -> Result<Option<Subscription>> {
    let sql = format!("SELECT {COLUMNS} FROM subscriptions s WHERE s.user_id = ?1");
    let found = cached(conn, &sql)?.query_row([user], |row| Ok(read(row))).optional().map_err(sql_error)?;
    found.transpose()
}

/// At most `limit` subscriptions by user, those after `after`. Error: `Damaged`.
pub(crate) fn list(conn: &Connection, after: &str, limit: usize) -> Result<Vec<Subscription>> {
    let sql = format!("SELECT {COLUMNS} FROM subscriptions s WHERE s.user_id > ?1 ORDER BY s.user_id LIMIT ?2");
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let mut statement = cached(conn, &sql)?;
    let found = statement.query_map((after, limit), |row| Ok(read(row))).map_err(sql_error)?;
    found.map(|row| row.map_err(sql_error)?).collect()
}

/// Writes a subscription, whether or not there was one.
pub(crate) fn put(conn: &Connection, subscription: &Subscription) -> Result<()> {
    let Subscription { user, plan, status, period, length, limits } = subscription;
    let (months, day) = match length {
        PeriodLength::Months { count, day } => (Some(*count), Some(*day)),
        PeriodLength::Millis(_) => (None, None),
    };
    let sql = "INSERT OR REPLACE INTO subscriptions (user_id, plan, status, period_start, period_end, months, day,
                 parties_max, encounters_max, creatures_max) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)";
    let limit = |thing| limits.of(thing).map(|limit| i64::try_from(limit).unwrap_or(i64::MAX));
    let row = (
        user.as_str(),
        plan,
        status.as_str(),
        period.start.to_string(),
        period.end.to_string(),
        months,
        day,
        limit(CountedKind::Party),
        limit(CountedKind::Encounter),
        limit(CountedKind::Creature),
    );
    cached(conn, sql)?.execute(row).map(drop).map_err(sql_error)
}

/// Sets the period of an active subscription forward from the one that ended at `ended`. Whether it stood there.
pub(crate) fn advance_period(conn: &Connection, user: &str, ended: Timestamp, next: Period) -> Result<bool> {
    let sql = "UPDATE subscriptions SET period_start = ?3, period_end = ?4
               WHERE user_id = ?1 AND period_end = ?2 AND status = 'active'";
    let row = (user, ended.to_string(), next.start.to_string(), next.end.to_string());
    Ok(cached(conn, sql)?.execute(row).map_err(sql_error)? == 1)
}

/// Sets the counters of a user to 0.
pub(crate) fn zero(conn: &Connection, user: &str, now: Timestamp) -> Result<()> {
    let sql = "UPDATE usage_counters SET parties = 0, encounters = 0, creatures = 0, since = ?2 WHERE user_id = ?1";
    cached(conn, sql)?.execute((user, now.to_string())).map(drop).map_err(sql_error)
}

pub(crate) fn count(conn: &Connection, who: &str, thing: CountedKind, at: Timestamp) -> Result<()> {
    let one = |counted| i64::from(counted == thing);
    let sql = "INSERT INTO usage_counters (user_id, parties, encounters, creatures, since) VALUES (?1, ?2, ?3, ?4, ?5)
               ON CONFLICT (user_id) DO UPDATE SET parties = parties + excluded.parties,
                 encounters = encounters + excluded.encounters, creatures = creatures + excluded.creatures";
    let row = (who, one(CountedKind::Party), one(CountedKind::Encounter), one(CountedKind::Creature), at.to_string());
    cached(conn, sql)?.execute(row).map(drop).map_err(sql_error)
}

/// At most `limit` users, those after `after`, whose active subscription has a period that ended by `now`.
pub(crate) fn users_due(conn: &Connection, after: &str, limit: usize, now: Timestamp) -> Result<Vec<String>> {
    let sql = "SELECT user_id FROM subscriptions WHERE status = 'active' AND period_end <= ?1 AND user_id > ?2
               ORDER BY user_id LIMIT ?3";
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let mut statement = cached(conn, sql)?;
    let found = statement.query_map((now.to_string(), after, limit), |row| row.get(0)).map_err(sql_error)?;
    found.collect::<rusqlite::Result<_>>().map_err(sql_error)
}

/// Those whose counters are of a calendar month that is over: counting began before `month`, and no subscription is in
/// force.
const STALE: &str = "since < ?1 AND NOT EXISTS (SELECT 1 FROM subscriptions s
                       WHERE s.user_id = usage_counters.user_id AND s.status <> 'cancelled')";

/// How many they are.
pub(crate) fn count_stale(conn: &Connection, month: Timestamp) -> Result<usize> {
    let sql = format!("SELECT count(*) FROM usage_counters WHERE {STALE}");
    let count: i64 = conn.query_row(&sql, [month.to_string()], |row| row.get(0)).map_err(sql_error)?;
    Ok(usize::try_from(count).unwrap_or(0))
}

/// Forgets the counters of at most `limit` of them, which makes them 0; returns of how many.
pub(crate) fn forget_stale(conn: &Connection, month: Timestamp, limit: u32) -> Result<usize> {
    let sql = format!(
        "DELETE FROM usage_counters WHERE user_id IN (SELECT user_id FROM usage_counters WHERE {STALE} LIMIT ?2)"
    );
    conn.execute(&sql, (month.to_string(), limit)).map_err(sql_error)
}

fn cached<'a>(conn: &'a Connection, sql: &str) -> Result<CachedStatement<'a>> {
    conn.prepare_cached(sql).map_err(sql_error)
}

fn number(row: &Row<'_>, column: usize) -> rusqlite::Result<u64> {
    row.get::<_, i64>(column).map(|number| u64::try_from(number).unwrap_or(0))
}

/// A row of [`COLUMNS`]. Error: `Damaged`, naming the user where that can be read.
fn read(row: &Row<'_>) -> Result<Subscription> {
    let name: String = row.get(0).map_err(sql_error)?;
    let damaged = |what: &str| {
        let message = format!("the stored subscription of {name} has no readable {what}");
        Error::new(Kind::Damaged, message)
    };
    let text = |column: usize| row.get::<_, String>(column).map_err(sql_error);
    let time = |column: usize, what: &str| Timestamp::parse(&text(column)?).ok_or_else(|| damaged(what));
    let period = Period { start: time(3, "period")?, end: time(4, "period")? };
    let length = match (row.get(5).map_err(sql_error)?, row.get(6).map_err(sql_error)?) {
        (Some(count), Some(day)) => PeriodLength::Months { count, day },
        _ => PeriodLength::Millis(period.end.as_millis().saturating_sub(period.start.as_millis()).max(1)),
    };
    let limit = |column: usize| -> Result<Option<u64>> {
        let limit: Option<i64> = row.get(column).map_err(sql_error)?;
        Ok(limit.map(|limit| u64::try_from(limit).unwrap_or(0)))
    };
    Ok(Subscription {
        user: UserId::new(&name).map_err(|_| damaged("name"))?,
        plan: text(1)?,
        status: SubscriptionStatus::named(&text(2)?).ok_or_else(|| damaged("status"))?,
        limits: Limits { parties: limit(7)?, encounters: limit(8)?, creatures: limit(9)? },
        period,
        length,
    })
}
