//! Everybody's buckets, and what was counted of everybody, in memory.
//!
//! Shared by all requests: cut into shards by identity, each behind a lock of its own that is held for some hundred
//! nanoseconds. Bounded, by shard: when one is full, full buckets go first, since a full bucket is the same as none. If
//! that is not enough, those that come nearest to being full go: who loses one is given at most what they had spent,
//! and an exhausted bucket is the last to go.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;

use parking_lot::Mutex;

use super::identity::BucketOwner;
use super::rules::Limit;
use super::rules::bucket::{Bucket, Taken};
use crate::base::clock::Timestamp;

/// Parts with a lock of their own: many more than there are cores.
const SHARDS: usize = 64;
/// The part of a full shard that makes room for what comes: more than one, so that it is seldom looked through.
const ROOM: usize = 8;

/// How much is kept in memory.
#[derive(Clone, Copy, Debug)]
pub struct LedgerBounds {
    /// Identities of which something is known.
    pub identities_max: usize,
    /// Buckets that are not full, of all identities.
    pub buckets_max: usize,
}

impl Default for LedgerBounds {
    /// What takes some 20 MB.
    fn default() -> Self {
        Self { identities_max: 50_000, buckets_max: 100_000 }
    }
}

/// Says which of an identity's buckets is meant: the default's, its own limit's, or that of a rule.
pub(crate) type BucketScope = u32;

/// Requests by what became of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RequestTally {
    pub allowed: u64,
    /// Those that were refused.
    pub limited: u64,
}

impl RequestTally {
    /// Counts requests that had the same end.
    pub(crate) fn count(&mut self, requests: u32, allowed: bool) {
        *(if allowed { &mut self.allowed } else { &mut self.limited }) += u64::from(requests);
    }

    /// Adds what was counted elsewhere.
    pub fn add(&mut self, other: Self) {
        self.allowed += other.allowed;
        self.limited += other.limited;
    }
}

/// A bucket of somebody.
#[derive(Clone, Copy, Debug)]
struct HeldBucket {
    scope: BucketScope,
    bucket: Bucket,
    full_at: Timestamp,
    /// Whether it was taken from since it was last stored.
    unsaved: bool,
}

/// What is known of an identity.
#[derive(Debug, Default)]
struct Account {
    tally: RequestTally,
    last_limited: Option<Timestamp>,
    buckets: Buckets,
}

/// The buckets of one identity, in no order. Most have one: it stands where the account does, so that it is found
/// without another look into memory.
#[derive(Debug, Default)]
struct Buckets {
    first: Option<HeldBucket>,
    more: Vec<HeldBucket>,
}

impl Buckets {
    fn iter(&self) -> impl Iterator<Item = &HeldBucket> {
        self.first.iter().chain(&self.more)
    }

    fn iter_mut(&mut self) -> impl Iterator<Item = &mut HeldBucket> {
        self.first.iter_mut().chain(&mut self.more)
    }

    fn len(&self) -> usize {
        usize::from(self.first.is_some()) + self.more.len()
    }

    fn push(&mut self, held: HeldBucket) {
        if self.first.is_none() { self.first = Some(held) } else { self.more.push(held) }
    }

    fn retain(&mut self, keep: impl Fn(&HeldBucket) -> bool) {
        self.first = self.first.take().filter(&keep);
        self.more.retain(keep);
        if self.first.is_none() {
            self.first = self.more.pop();
        }
        if self.more.is_empty() {
            self.more = Vec::new();
        }
    }
}

#[derive(Debug, Default)]
struct Shard {
    accounts: HashMap<BucketOwner, Account>,
    /// Buckets of all its accounts.
    held: usize,
    tally: RequestTally,
}

#[derive(Debug)]
pub struct Ledger {
    shards: Box<[Mutex<Shard>]>,
    hasher: RandomState,
    bounds: LedgerBounds,
}

/// What became of a request for a token, and whether the bucket should be stored soon.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LedgerOutcome {
    /// What became of it.
    pub taken: Taken,
    /// Whether a crash now would give away much: the bucket fell below its half or was found exhausted, and that is not
    /// stored.
    pub urgent: bool,
}

/// Tokens that are wanted of one of somebody's buckets.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BucketRequest {
    pub scope: BucketScope,
    pub limit: Limit,
    pub tokens: u32,
}

/// A bucket as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SavedBucket {
    pub identity: BucketOwner,
    pub scope: BucketScope,
    pub bucket: Bucket,
    /// When it is full.
    pub full_at: Timestamp,
}

/// What was counted of one identity.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdentityTally {
    pub identity: BucketOwner,
    pub tally: RequestTally,
    /// When they were last refused.
    pub last_limited: Option<Timestamp>,
}

/// How much is in memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LedgerSize {
    pub identities: usize,
    pub buckets: usize,
    /// Of these, those that have yet to be stored.
    pub unsaved: usize,
}

impl Ledger {
    pub fn new(bounds: LedgerBounds) -> Self {
        let of_one = |count: usize| count.div_ceil(SHARDS).max(ROOM);
        let bounds =
            LedgerBounds { identities_max: of_one(bounds.identities_max), buckets_max: of_one(bounds.buckets_max) };
        Self { shards: (0..SHARDS).map(|_| Mutex::default()).collect(), hasher: RandomState::new(), bounds }
    }

    fn with<T>(&self, identity: &BucketOwner, act: impl FnOnce(&mut Shard) -> T) -> Option<T> {
        // The high bits; the maps go by the low ones and a hasher of their own.
        let index = usize::try_from(self.hasher.hash_one(identity) >> 32).unwrap_or(0) % SHARDS;
        self.shards.get(index).map(|shard| act(&mut shard.lock()))
    }

    /// Takes a token from a bucket, which is full if it is not known.
    pub fn take(&self, identity: &BucketOwner, scope: BucketScope, limit: &Limit, now: Timestamp) -> LedgerOutcome {
        let wanted = BucketRequest { scope, limit: *limit, tokens: 1 };
        let outcome = self.with(identity, |shard| shard.take(identity, &wanted, now, &self.bounds));
        outcome.unwrap_or_else(|| LedgerOutcome { taken: Bucket::full(limit, now).take(limit, now), urgent: false })
    }

    /// Takes tokens from several buckets of somebody, or none at all. Returns whether one of them should be stored
    /// soon. Error: the place of the first that lacks tokens, and when it has them.
    pub(crate) fn take_all(
        &self,
        identity: &BucketOwner,
        wanted: &[BucketRequest],
        now: Timestamp,
    ) -> Result<bool, (usize, Taken)> {
        // There is a shard for everybody.
        self.with(identity, |shard| shard.take_all(identity, wanted, now, &self.bounds)).unwrap_or(Ok(false))
    }

    /// What is in a bucket, from which nothing is taken.
    pub(crate) fn present(&self, identity: &BucketOwner, scope: BucketScope, limit: &Limit, now: Timestamp) -> Taken {
        let bucket = self.with(identity, |shard| shard.bucket(identity, scope)).flatten();
        bucket.unwrap_or_else(|| Bucket::full(limit, now)).take_several(limit, 0, now)
    }

    /// Gives back a token that was taken from a bucket. One that is not known is full.
    pub(crate) fn give_back(&self, identity: &BucketOwner, scope: BucketScope, limit: &Limit, now: Timestamp) {
        self.with(identity, |shard| {
            let account = shard.accounts.get_mut(identity);
            let held = account.and_then(|account| account.buckets.iter_mut().find(|held| held.scope == scope));
            if let Some(held) = held {
                held.bucket.give_back(limit, now);
                held.full_at = held.bucket.full_at(limit);
                held.unsaved = true;
            }
        });
    }

    /// Puts back a bucket that was stored.
    pub fn restore(&self, saved: SavedBucket, now: Timestamp) {
        self.with(&saved.identity.clone(), |shard| {
            let SavedBucket { identity, scope, bucket, full_at } = saved;
            let held = HeldBucket { scope, bucket, full_at, unsaved: false };
            shard.put(&identity, held, now, &self.bounds);
        });
    }

    /// Forgets full buckets, and returns at most `most` of those that are not stored as they are and will not be full
    /// before `horizon`. They count as stored from now on.
    pub fn unsaved(&self, now: Timestamp, horizon: Timestamp, most: usize) -> Vec<SavedBucket> {
        let mut found = Vec::new();
        for shard in &self.shards {
            let mut shard = shard.lock();
            shard.forget_full(now);
            for (identity, account) in &mut shard.accounts {
                for held in account.buckets.iter_mut().filter(|held| held.unsaved) {
                    if found.len() < most {
                        held.unsaved = false;
                        let HeldBucket { scope, bucket, full_at, .. } = *held;
                        if full_at > horizon {
                            found.push(SavedBucket { identity: identity.clone(), scope, bucket, full_at });
                        }
                    }
                }
            }
        }
        found
    }

    /// Takes back that these were stored.
    pub fn mark_unsaved(&self, buckets: &[SavedBucket]) {
        for saved in buckets {
            self.with(&saved.identity, |shard| {
                let account = shard.accounts.get_mut(&saved.identity);
                let held = account.and_then(|account| account.buckets.iter_mut().find(|h| h.scope == saved.scope));
                held.map(|held| held.unsaved = true)
            });
        }
    }

    /// Forgets the buckets of a limit that is no more.
    pub fn drop_limit(&self, scope: BucketScope) {
        for shard in &self.shards {
            shard.lock().retain(|held| held.scope != scope);
        }
    }

    /// What was counted of all, those included who are forgotten.
    pub fn total(&self) -> RequestTally {
        let mut total = RequestTally::default();
        self.shards.iter().for_each(|shard| total.add(shard.lock().tally));
        total
    }

    /// How much is in memory.
    pub fn size(&self) -> LedgerSize {
        let mut size = LedgerSize::default();
        for shard in &self.shards {
            let shard = shard.lock();
            size.identities += shard.accounts.len();
            size.buckets += shard.held;
            size.unsaved += shard.accounts.values().flat_map(|a| a.buckets.iter()).filter(|held| held.unsaved).count();
        }
        size
    }

    /// The `most` identities with the most requests, or the most refused ones.
    pub fn top(&self, most: usize, by: fn(&RequestTally) -> u64) -> Vec<IdentityTally> {
        let mut found: Vec<IdentityTally> = Vec::new();
        let order = |counted: &IdentityTally| (Reverse(by(&counted.tally)), counted.identity.clone());
        for shard in &self.shards {
            let shard = shard.lock();
            let counted = shard.accounts.iter().filter(|(_, account)| by(&account.tally) > 0);
            found.extend(counted.map(|(identity, account)| IdentityTally {
                identity: identity.clone(),
                tally: account.tally,
                last_limited: account.last_limited,
            }));
            drop(shard);
            if found.len() > most {
                found.sort_by_cached_key(order);
                found.truncate(most);
            }
        }
        found.sort_by_cached_key(order);
        found
    }
}

impl Account {
    fn take(
        &mut self,
        BucketRequest { scope, limit, tokens }: &BucketRequest,
        now: Timestamp,
    ) -> Option<LedgerOutcome> {
        let held = self.buckets.iter_mut().find(|held| held.scope == *scope)?;
        let was_low = held.bucket.is_low(limit);
        let taken = held.bucket.take_several(limit, *tokens, now);
        held.unsaved |= taken.allowed;
        held.full_at = held.bucket.full_at(limit);
        let urgent = held.unsaved && (!taken.allowed || (!was_low && held.bucket.is_low(limit)));
        if !taken.allowed {
            self.last_limited = Some(now);
        }
        self.tally.count(*tokens, taken.allowed);
        Some(LedgerOutcome { taken, urgent })
    }

    /// When the last of its buckets is full; at the latest, it may be forgotten then.
    fn full_at(&self) -> Option<Timestamp> {
        self.buckets.iter().map(|held| held.full_at).max()
    }
}

impl Shard {
    fn take(
        &mut self,
        identity: &BucketOwner,
        wanted: &BucketRequest,
        now: Timestamp,
        bounds: &LedgerBounds,
    ) -> LedgerOutcome {
        let mut outcome = self.take_known(identity, wanted, now);
        let BucketRequest { scope, limit, tokens } = *wanted;
        if outcome.is_none() {
            let bucket = Bucket::full(&limit, now);
            self.put(identity, HeldBucket { scope, bucket, full_at: now, unsaved: false }, now, bounds);
            outcome = self.take_known(identity, wanted, now);
        }
        // It was just put there.
        let of_full = || Bucket::full(&limit, now).take_several(&limit, tokens, now);
        let outcome = outcome.unwrap_or_else(|| LedgerOutcome { taken: of_full(), urgent: false });
        self.tally.count(tokens, outcome.taken.allowed);
        outcome
    }

    fn take_known(&mut self, identity: &BucketOwner, wanted: &BucketRequest, now: Timestamp) -> Option<LedgerOutcome> {
        self.accounts.get_mut(identity)?.take(wanted, now)
    }

    fn bucket(&self, identity: &BucketOwner, scope: BucketScope) -> Option<Bucket> {
        let account = self.accounts.get(identity)?;
        account.buckets.iter().find(|held| held.scope == scope).map(|held| held.bucket)
    }

    /// See [`Ledger::take_all`]: all are looked at before any is taken from.
    fn take_all(
        &mut self,
        identity: &BucketOwner,
        wanted: &[BucketRequest],
        now: Timestamp,
        bounds: &LedgerBounds,
    ) -> Result<bool, (usize, Taken)> {
        for (place, BucketRequest { scope, limit, tokens }) in wanted.iter().enumerate() {
            let mut bucket = self.bucket(identity, *scope).unwrap_or_else(|| Bucket::full(limit, now));
            let taken = bucket.take_several(limit, *tokens, now);
            if !taken.allowed {
                self.tally.count(*tokens, false);
                if let Some(account) = self.accounts.get_mut(identity) {
                    account.last_limited = Some(now);
                    account.tally.count(*tokens, false);
                }
                return Err((place, taken));
            }
        }
        let mut urgent = false;
        for wanted in wanted {
            urgent |= self.take(identity, wanted, now, bounds).urgent;
        }
        Ok(urgent)
    }

    fn put(&mut self, identity: &BucketOwner, held: HeldBucket, now: Timestamp, bounds: &LedgerBounds) {
        let known = self.accounts.contains_key(identity);
        if self.held >= bounds.buckets_max || (!known && self.accounts.len() >= bounds.identities_max) {
            self.make_room(now, bounds);
        }
        let account = self.accounts.entry(identity.clone()).or_default();
        if let Some(other) = account.buckets.iter_mut().find(|other| other.scope == held.scope) {
            *other = held;
            return;
        }
        account.buckets.push(held);
        self.held += 1;
    }

    /// Forgets buckets for which `keep` is false.
    fn retain(&mut self, keep: impl Fn(&HeldBucket) -> bool) {
        for account in self.accounts.values_mut() {
            let before = account.buckets.len();
            account.buckets.retain(&keep);
            self.held -= before - account.buckets.len();
        }
    }

    fn forget_full(&mut self, now: Timestamp) {
        self.retain(|held| held.full_at > now);
    }

    /// See the head of this file.
    fn make_room(&mut self, now: Timestamp, bounds: &LedgerBounds) {
        self.forget_full(now);
        let goal = bounds.buckets_max - bounds.buckets_max / ROOM;
        if self.held > goal {
            let buckets = self.accounts.iter().flat_map(|(identity, account)| {
                account.buckets.iter().map(move |held| (held.full_at, identity.clone(), held.scope))
            });
            for (_, identity, scope) in smallest(buckets.collect(), self.held - goal) {
                let Some(account) = self.accounts.get_mut(&identity) else { continue };
                account.buckets.retain(|held| held.scope != scope);
                self.held -= 1;
            }
        }
        let goal = bounds.identities_max - bounds.identities_max / ROOM;
        if self.accounts.len() > goal {
            let accounts = self.accounts.iter();
            let worth = accounts.map(|(identity, account)| {
                (account.full_at(), account.tally.limited, account.tally.allowed, identity.clone())
            });
            for (.., identity) in smallest(worth.collect(), self.accounts.len() - goal) {
                let gone = self.accounts.remove(&identity);
                self.held -= gone.map_or(0, |account| account.buckets.len());
            }
        }
    }
}

/// The `count` least of `items`, in no order.
fn smallest<T: Ord>(mut items: Vec<T>, count: usize) -> Vec<T> {
    if count < items.len() {
        items.select_nth_unstable(count);
        items.truncate(count);
    }
    items
}

#[cfg(test)]
#[path = "ledger_tests.rs"]
mod tests;
