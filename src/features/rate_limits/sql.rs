//! The tables of limits and buckets. What writes runs on the engine's thread, in its transaction.

use rusqlite::{CachedStatement, Connection, OptionalExtension, Params, Row};

use super::identity::BucketOwner;
use super::rules::bucket::Bucket;
use super::rules::matching::{Pattern, Rule, Verb};
use super::rules::{FieldErrors, Limit, LimitFields, UserLimit, rule_scope};
use crate::base::clock::Timestamp;
use crate::base::error::{Error, Kind, Result};
use crate::base::ids::UserId;
use crate::store::rows::{int, invalid_column, time};
use crate::store::sql_error;

/// Most limits of users: each costs some 300 bytes of memory. Past it: `too-large`.
pub(crate) const USERS_MAX: i64 = 10_000;
/// Most rules: more than there are calls. Past it: `too-large`.
pub(crate) const RULES_MAX: i64 = 100;
/// Most buckets that are read back at the start.
const BUCKETS_MAX: i64 = 100_000;

/// All that is stored.
#[derive(Debug, Default)]
pub(crate) struct StoredLimits {
    pub users: Users,
    /// The rules, in no order.
    pub rules: Vec<Rule>,
    /// The buckets that are not full.
    pub buckets: Vec<StoredBucket>,
}

/// A bucket as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct StoredBucket {
    pub identity: BucketOwner,
    /// Of which limit: `default`, `user`, or `rule:` and a rule's id.
    pub scope: String,
    pub bucket: Bucket,
    /// When it is full.
    pub full_at: Timestamp,
}

/// A rule to be stored.
#[derive(Clone, Debug)]
pub(crate) struct RuleFields {
    pub name: String,
    /// Which paths it is for.
    pub pattern: Pattern,
    pub method: Option<Verb>,
    pub priority: i32,
    pub limit: Limit,
}

fn execute(conn: &Connection, sql: &str, values: impl Params) -> Result<usize> {
    let run = |mut statement: CachedStatement<'_>| statement.execute(values);
    conn.prepare_cached(sql).and_then(run).map_err(sql_error)
}

/// Everything, as it is at the start. Buckets that are full at `now` are left out.
pub(crate) fn load(conn: &Connection, now: Timestamp) -> Result<StoredLimits> {
    let (users, rules) = load_limits(conn)?;
    let sql = "SELECT identity, scope, spent, window_seconds, at, full_at FROM rate_limit_buckets
               WHERE full_at > ?1 ORDER BY full_at DESC LIMIT ?2";
    let all = || {
        conn.prepare_cached(sql)?.query_map((now.to_string(), BUCKETS_MAX), bucket)?.collect::<rusqlite::Result<_>>()
    };
    let buckets = all().map_err(sql_error)?;
    Ok(StoredLimits { users, rules, buckets })
}

pub(crate) type Users = Vec<(UserId, UserLimit)>;

pub(crate) fn load_limits(conn: &Connection) -> Result<(Users, Vec<Rule>)> {
    let read = || {
        let sql = "SELECT user, capacity, refill, window_seconds, created_at, updated_at FROM rate_limit_users";
        let users = conn.prepare_cached(sql)?.query_map([], user_row)?.collect::<rusqlite::Result<_>>()?;
        let rules = conn.prepare_cached(RULES)?.query_map([], rule)?.collect::<rusqlite::Result<_>>()?;
        Ok((users, rules))
    };
    read().map_err(sql_error)
}

const RULES: &str = "SELECT number, id, name, pattern, method, priority, capacity, refill, window_seconds, created_at,
                     updated_at FROM rate_limit_rules";

/// Gives a user a limit of their own. `only_new`: not in the place of another. Returns it, and whether it is new.
/// Errors: `AlreadyExists`; `TooLarge` when there are too many.
pub(crate) fn put_user(
    conn: &Connection,
    user: &UserId,
    limit: &Limit,
    only_new: bool,
    now: Timestamp,
) -> Result<(UserLimit, bool)> {
    let sql = "SELECT user, capacity, refill, window_seconds, created_at, updated_at FROM rate_limit_users
               WHERE user = ?1";
    let one = || conn.prepare_cached(sql)?.query_row([user.as_str()], user_row).optional();
    let known = one().map_err(sql_error)?.map(|(_, known)| known);
    if known.is_some() && only_new {
        return Err(Error::new(Kind::AlreadyExists, format!("{user} has a limit already; PUT replaces it")));
    }
    if known.is_none() {
        bounded(conn, "SELECT count(*) FROM rate_limit_users", USERS_MAX, "users have limits of their own")?;
    }
    let created_at = known.map_or(now, |known| known.created_at);
    let sql = "INSERT INTO rate_limit_users (user, capacity, refill, window_seconds, created_at, updated_at)
               VALUES (?1, ?2, ?3, ?4, ?5, ?6)
               ON CONFLICT (user) DO UPDATE SET capacity = ?2, refill = ?3, window_seconds = ?4, updated_at = ?6";
    let Limit { capacity, refill, window_seconds } = *limit;
    let times = (created_at.to_string(), now.to_string());
    execute(conn, sql, (user.as_str(), capacity, refill, window_seconds, times.0, times.1))?;
    Ok((UserLimit { limit: *limit, created_at, updated_at: now }, known.is_none()))
}

/// Takes a user's own limit away. Whether there was one.
pub(crate) fn delete_user(conn: &Connection, user: &UserId) -> Result<bool> {
    execute(conn, "DELETE FROM rate_limit_users WHERE user = ?1", [user.as_str()]).map(|count| count > 0)
}

/// Makes a rule. Errors: `AlreadyExists` when there is one of its id or name; `TooLarge` when there are too many.
pub(crate) fn insert_rule(conn: &Connection, id: &str, fields: RuleFields, now: Timestamp) -> Result<Rule> {
    if find_rule(conn, id)?.is_some() {
        return Err(Error::new(Kind::AlreadyExists, "there is a rule of this id already; PUT changes it"));
    }
    free_name(conn, &fields.name, id)?;
    bounded(conn, "SELECT count(*) FROM rate_limit_rules", RULES_MAX, "rules")?;
    let sql = "INSERT INTO rate_limit_rules
                   (id, name, pattern, method, priority, capacity, refill, window_seconds, created_at, updated_at)
               VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?9)";
    write_rule(conn, sql, id, &fields, now)?;
    find_rule(conn, id)?.ok_or_else(|| Error::internal("a rule was written that is not there"))
}

/// Puts other fields in the place of a rule's. Errors: `NotFound`; `AlreadyExists` when another has the name.
pub(crate) fn update_rule(conn: &Connection, id: &str, fields: RuleFields, now: Timestamp) -> Result<Rule> {
    let absent = || Error::not_found("there is no rule of this id");
    find_rule(conn, id)?.ok_or_else(absent)?;
    free_name(conn, &fields.name, id)?;
    let sql = "UPDATE rate_limit_rules SET name = ?2, pattern = ?3, method = ?4, priority = ?5, capacity = ?6,
                   refill = ?7, window_seconds = ?8, updated_at = ?9 WHERE id = ?1";
    write_rule(conn, sql, id, &fields, now)?;
    find_rule(conn, id)?.ok_or_else(absent)
}

/// Takes a rule away, with its buckets. Whether there was one.
pub(crate) fn delete_rule(conn: &Connection, id: &str) -> Result<bool> {
    execute(conn, "DELETE FROM rate_limit_buckets WHERE scope = ?1", [rule_scope(id)])?;
    execute(conn, "DELETE FROM rate_limit_rules WHERE id = ?1", [id]).map(|count| count > 0)
}

/// Stores buckets in the place of what was stored of them, and forgets those that are full at `now`.
pub(crate) fn save_buckets(conn: &Connection, buckets: &[StoredBucket], now: Timestamp) -> Result<()> {
    execute(conn, "DELETE FROM rate_limit_buckets WHERE full_at <= ?1", [now.to_string()])?;
    let sql = "INSERT OR REPLACE INTO rate_limit_buckets (identity, scope, spent, window_seconds, at, full_at)
               VALUES (?1, ?2, ?3, ?4, ?5, ?6)";
    for StoredBucket { identity, scope, bucket, full_at } in buckets {
        let spent = int(bucket.spent);
        let times = (bucket.at.to_string(), full_at.to_string());
        execute(conn, sql, (identity.to_string(), scope, spent, bucket.window_seconds, times.0, times.1))?;
    }
    Ok(())
}

fn bounded(conn: &Connection, sql: &str, most: i64, what: &str) -> Result<()> {
    let count: i64 = conn.query_row(sql, [], |row| row.get(0)).map_err(sql_error)?;
    if count < most { Ok(()) } else { Err(Error::new(Kind::TooLarge, format!("at most {most} {what}"))) }
}

/// Error: `AlreadyExists` when a rule other than `id` has the name.
fn free_name(conn: &Connection, name: &str, id: &str) -> Result<()> {
    let sql = "SELECT id FROM rate_limit_rules WHERE name = ?1 AND id <> ?2";
    let other: Option<String> = conn.query_row(sql, (name, id), |row| row.get(0)).optional().map_err(sql_error)?;
    match other {
        None => Ok(()),
        Some(id) => {
            let message = format!("the rule {id} is called '{name}'; choose another name, or change that one");
            Err(Error::new(Kind::AlreadyExists, message).with("id", id))
        }
    }
}

fn write_rule(conn: &Connection, sql: &str, id: &str, fields: &RuleFields, now: Timestamp) -> Result<()> {
    let Limit { capacity, refill, window_seconds } = fields.limit;
    let method = fields.method.map(Verb::as_str);
    let (name, pattern) = (&fields.name, fields.pattern.as_str());
    let values = (id, name, pattern, method, fields.priority, capacity, refill, window_seconds, now.to_string());
    execute(conn, sql, values).map(drop)
}

fn find_rule(conn: &Connection, id: &str) -> Result<Option<Rule>> {
    conn.query_row(&format!("{RULES} WHERE id = ?1"), [id], rule).optional().map_err(sql_error)
}

fn user_row(row: &Row<'_>) -> rusqlite::Result<(UserId, UserLimit)> {
    let user: String = row.get(0)?;
    let user = UserId::new(&user).map_err(|error| invalid_column(0, error.message()))?;
    Ok((user, UserLimit { limit: limit(row, 1)?, created_at: time(row, 4)?, updated_at: time(row, 5)? }))
}

fn rule(row: &Row<'_>) -> rusqlite::Result<Rule> {
    let (id, name, pattern): (String, String, String) = (row.get(1)?, row.get(2)?, row.get(3)?);
    let method: Option<String> = row.get(4)?;
    Ok(Rule {
        number: row.get(0)?,
        id: id.into(),
        name: name.into(),
        pattern: Pattern::parse(&pattern).map_err(|rule| invalid_column(3, rule))?,
        method: method.map(|text| Verb::parse(&text)).transpose().map_err(|rule| invalid_column(4, rule))?,
        priority: row.get(5)?,
        limit: limit(row, 6)?,
        created_at: time(row, 9)?,
        updated_at: time(row, 10)?,
    })
}

fn bucket(row: &Row<'_>) -> rusqlite::Result<StoredBucket> {
    let (identity, spent): (String, i64) = (row.get(0)?, row.get(2)?);
    Ok(StoredBucket {
        identity: BucketOwner::parse(&identity).ok_or_else(|| invalid_column(0, "not an identity"))?,
        scope: row.get(1)?,
        bucket: Bucket {
            spent: u64::try_from(spent).map_err(|_| invalid_column(2, "less than nothing"))?,
            window_seconds: row.get(3)?,
            at: time(row, 4)?,
        },
        full_at: time(row, 5)?,
    })
}

/// The limit in three columns.
fn limit(row: &Row<'_>, first: usize) -> rusqlite::Result<Limit> {
    let (bucket_capacity, refill_rate, window_seconds) = (row.get(first)?, row.get(first + 1)?, row.get(first + 2)?);
    let fields = LimitFields { bucket_capacity, refill_rate, window_seconds };
    fields.check(&mut FieldErrors::default()).ok_or_else(|| invalid_column(first, "not a limit"))
}
