//! How much somebody may ask: what a limit is, which rule applies to a request, how a bucket fills and empties. Pure.
//!
//! Which limit applies: a user's own, if they have one; else that of the first rule that matches ([`matching`] has the
//! order of rules); else the default.

pub(crate) mod bucket;
pub(crate) mod matching;

use crate::base::clock::Timestamp;
use crate::base::error::{Error, Kind, Result};

/// Most tokens of a bucket, and most that come back in a window.
pub(crate) const TOKENS_MAX: u32 = 1_000_000;
/// Longest window: a day.
pub(crate) const WINDOW_SECONDS_MAX: u32 = 24 * 3600;
/// Priorities go from 0 to this.
pub(crate) const PRIORITY_MAX: i32 = 1000;
/// Longest name of a rule, bytes.
pub(crate) const NAME_LENGTH_MAX: usize = 64;
/// What the default and users' own limits are called where a rule's name would stand.
pub(crate) const DEFAULT_NAME: &str = "default";
/// See [`DEFAULT_NAME`].
pub(crate) const USER_NAME: &str = "user";

/// A limit: a bucket holds `capacity` tokens, a request takes one, and `refill` come back in each window, evenly.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limit {
    /// Most tokens, and what a new bucket holds.
    pub capacity: u32,
    /// Tokens that come back in a window.
    pub refill: u32,
    /// Length of the window, seconds.
    pub window_seconds: u32,
}

/// A limit of one user.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UserLimit {
    /// The limit.
    pub limit: Limit,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was last changed.
    pub updated_at: Timestamp,
}

/// What the buckets of a rule are stored under.
pub(crate) fn rule_scope(id: &str) -> String {
    format!("rule:{id}")
}

/// A limit as it was sent: the fields by their names on the wire.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LimitFields {
    /// `bucketCapacity`.
    pub bucket_capacity: i64,
    /// `refillRate`.
    pub refill_rate: i64,
    /// `windowSeconds`.
    pub window_seconds: i64,
}

/// What is wrong with input: each field once, with the rule that it breaks.
#[derive(Debug, Default)]
pub(crate) struct FieldErrors(Vec<(&'static str, String)>);

impl FieldErrors {
    /// Notes that `field` is wrong.
    pub(crate) fn add(&mut self, field: &'static str, rule: impl Into<String>) {
        self.0.push((field, rule.into()));
    }

    /// Keeps a value, or notes what is wrong with it.
    pub(crate) fn collect<T>(&mut self, field: &'static str, value: Result<T, String>) -> Option<T> {
        value.map_err(|rule| self.add(field, rule)).ok()
    }

    /// Error: `Invalid`, naming each field, if there is one.
    pub(crate) fn check(self) -> Result<()> {
        if self.0.is_empty() {
            return Ok(());
        }
        let told: Vec<String> = self.0.iter().map(|(field, rule)| format!("{field}: {rule}")).collect();
        let errors: Vec<_> =
            self.0.iter().map(|(field, rule)| serde_json::json!({ "field": field, "detail": rule })).collect();
        Err(Error::new(Kind::Invalid, told.join("; ")).with("errors", errors))
    }
}

impl LimitFields {
    /// The limit; what is out of range is noted.
    pub(crate) fn check(self, misfits: &mut FieldErrors) -> Option<Limit> {
        let capacity = misfits.collect("bucketCapacity", within(self.bucket_capacity, TOKENS_MAX));
        let refill = misfits.collect("refillRate", within(self.refill_rate, TOKENS_MAX));
        let window_seconds = misfits.collect("windowSeconds", within(self.window_seconds, WINDOW_SECONDS_MAX));
        Some(Limit { capacity: capacity?, refill: refill?, window_seconds: window_seconds? })
    }
}

fn within(value: i64, most: u32) -> Result<u32, String> {
    let fits = u32::try_from(value).ok().filter(|value| (1..=most).contains(value));
    fits.ok_or_else(|| format!("must be from 1 to {most}"))
}

impl Limit {
    /// How long the empty bucket takes to be full, whole seconds, rounded up.
    pub fn fill_seconds(&self) -> u64 {
        (u64::from(self.capacity) * u64::from(self.window_seconds)).div_ceil(u64::from(self.refill.max(1)))
    }
}

/// Checks the name of a rule. Error: the rule that it breaks.
pub(crate) fn check_name(name: &str) -> Result<(), String> {
    let printable = name.bytes().all(|b| b.is_ascii_graphic() || b == b' ');
    if name.is_empty() || name.len() > NAME_LENGTH_MAX || !printable || name.trim() != name {
        return Err(format!("must be 1 to {NAME_LENGTH_MAX} printable ASCII characters, not a space at either end"));
    }
    if matches!(name, DEFAULT_NAME | USER_NAME) {
        return Err("is what the limits are called that are no rule's".to_owned());
    }
    Ok(())
}

/// Checks a priority. Error: the rule that it breaks.
pub(crate) fn check_priority(priority: i64) -> Result<i32, String> {
    let fits = i32::try_from(priority).ok().filter(|priority| (0..=PRIORITY_MAX).contains(priority));
    fits.ok_or_else(|| format!("must be from 0 to {PRIORITY_MAX}"))
}

#[cfg(test)]
#[path = "rules_tests.rs"]
mod tests;
