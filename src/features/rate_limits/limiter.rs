//! Limits and buckets together: one decision per request.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use http::HeaderValue;
use parking_lot::RwLock;

use super::identity::BucketOwner;
use super::ledger::{BucketRequest, BucketScope, Ledger, LedgerBounds, LedgerOutcome, RequestTally};
use super::rules::matching::{Rule, RuleSet, Verb};
use super::rules::{DEFAULT_NAME, Limit, USER_NAME, UserLimit, rule_scope};
use crate::base::clock::Timestamp;
use crate::base::ids::UserId;

/// The bucket that each has for the default limit.
const DEFAULT_SCOPE: BucketScope = 0;
/// The bucket that a user has for a limit of their own.
const USER_SCOPE: BucketScope = 1;
/// That of the first rule; each rule has another.
const FIRST_RULE_SCOPE: BucketScope = 2;

/// A limit in force.
#[derive(Debug)]
pub struct AppliedLimit {
    /// The rule's name, or what stands in its place.
    pub name: Box<str>,
    pub limit: Limit,
    /// What `RateLimit-AppliedLimit` says of it.
    pub header: HeaderValue,
    /// How `RateLimit` begins: the name as a structured string.
    pub quoted: Box<str>,
    scope: BucketScope,
    counts: Arc<LimitCounts>,
}

/// What was counted of a rule, or of what stands in its place. Shared by all requests; exact when nobody asks.
#[derive(Debug, Default)]
struct LimitCounts {
    allowed: AtomicU64,
    limited: AtomicU64,
}

impl LimitCounts {
    fn count(&self, requests: u32, allowed: bool) {
        let counter = if allowed { &self.allowed } else { &self.limited };
        counter.fetch_add(requests.into(), Ordering::Relaxed);
    }

    fn tally(&self) -> RequestTally {
        RequestTally { allowed: self.allowed.load(Ordering::Relaxed), limited: self.limited.load(Ordering::Relaxed) }
    }
}

impl AppliedLimit {
    fn new(name: &str, limit: Limit, scope: BucketScope, counts: Arc<LimitCounts>) -> Self {
        let quoted = format!("\"{}\"", name.replace('\\', "\\\\").replace('"', "\\\""));
        let header = format!("{quoted};q={};w={}", limit.capacity, limit.fill_seconds());
        // Names are printable ASCII.
        let header = HeaderValue::try_from(header).unwrap_or(HeaderValue::from_static("\"limit\";q=1"));
        Self { name: name.into(), limit, header, quoted: quoted.into(), scope, counts }
    }
}

/// All limits in force. Behind one lock, taken for reading by each request and for writing by each change.
#[derive(Debug)]
struct AppliedLimits {
    default: Arc<AppliedLimit>,
    users: HashMap<UserId, (UserLimit, Arc<AppliedLimit>)>,
    book: RuleSet,
    /// One per rule, in the order of the book.
    of_rules: Vec<Arc<AppliedLimit>>,
    /// The next scope that no rule has had.
    next_scope: BucketScope,
    of_users: Arc<LimitCounts>,
}

#[derive(Debug)]
pub struct LimitDecision {
    /// The limit that applied.
    pub policy: Arc<AppliedLimit>,
    /// What became of the request.
    pub outcome: LedgerOutcome,
}

/// What was counted of a limit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LimitTally {
    /// The rule's name, or what stands in its place.
    pub name: String,
    /// The rule's id, if it is one's.
    pub id: Option<String>,
    /// The requests to which it applied.
    pub tally: RequestTally,
}

/// A limit that has too few tokens for several calls at once.
#[derive(Debug)]
pub(crate) struct Shortage {
    pub policy: Arc<AppliedLimit>,
    /// How many the calls want.
    pub tokens: u32,
    /// Whether the request that they are sent in takes one more.
    pub with_request: bool,
    /// How long until there are as many; `None`: its bucket never holds so many.
    pub wait: Option<Duration>,
}

/// Decides. Shared by all requests.
#[derive(Debug)]
pub struct Limiter {
    policies: RwLock<AppliedLimits>,
    /// Everybody's buckets.
    pub ledger: Ledger,
}

impl Limiter {
    /// One with the default limit alone.
    pub fn new(default: Limit, bounds: LedgerBounds) -> Self {
        let default = Arc::new(AppliedLimit::new(DEFAULT_NAME, default, DEFAULT_SCOPE, Arc::default()));
        let policies = AppliedLimits {
            default,
            users: HashMap::new(),
            book: RuleSet::default(),
            of_rules: Vec::new(),
            next_scope: FIRST_RULE_SCOPE,
            of_users: Arc::default(),
        };
        Self { policies: RwLock::new(policies), ledger: Ledger::new(bounds) }
    }

    /// Takes a token for a request to `path`, which is as it was sent, without the query.
    pub fn decide(&self, identity: &BucketOwner, verb: Option<Verb>, path: &str, now: Timestamp) -> LimitDecision {
        let policy = Arc::clone(self.policies.read().find_limit(identity, verb, path));
        let outcome = self.ledger.take(identity, policy.scope, &policy.limit, now);
        policy.counts.count(1, outcome.taken.allowed);
        LimitDecision { policy, outcome }
    }

    /// What [`decide`](Self::decide) goes by, without taking anything.
    pub(crate) fn present(
        &self,
        identity: &BucketOwner,
        verb: Option<Verb>,
        path: &str,
        now: Timestamp,
    ) -> LimitDecision {
        let policy = Arc::clone(self.policies.read().find_limit(identity, verb, path));
        let taken = self.ledger.present(identity, policy.scope, &policy.limit, now);
        LimitDecision { policy, outcome: LedgerOutcome { taken, urgent: false } }
    }

    /// Takes a token for each of these calls, which somebody sends in one request, or none at all: then the one that
    /// was taken for the request is given back as well. Where the same limit applies to the request and to calls, they
    /// must fit into its bucket together. The default limit is of requests, and no call counts against it. Returns
    /// whether a bucket should be stored soon.
    pub(crate) fn decide_all(
        &self,
        identity: &BucketOwner,
        request: (Option<Verb>, &str),
        calls: &[(Option<Verb>, &str)],
        now: Timestamp,
    ) -> Result<bool, Shortage> {
        let mut due: Vec<(Arc<AppliedLimit>, u32)> = Vec::new();
        let of_request = {
            let policies = self.policies.read();
            for (verb, path) in calls {
                let policy = policies.find_limit(identity, *verb, path);
                match due.iter_mut().find(|(known, _)| known.scope == policy.scope) {
                    _ if policy.scope == DEFAULT_SCOPE => {}
                    Some((_, count)) => *count += 1,
                    None => due.push((Arc::clone(policy), 1)),
                }
            }
            let (verb, path) = request;
            Arc::clone(policies.find_limit(identity, verb, path))
        };
        let decided = self.take_due(identity, &of_request, &due, now);
        if decided.is_err() {
            self.ledger.give_back(identity, of_request.scope, &of_request.limit, now);
        }
        decided
    }

    /// Takes so many tokens from the bucket of each limit, or none at all. `of_request` has given one already.
    fn take_due(
        &self,
        identity: &BucketOwner,
        of_request: &AppliedLimit,
        due: &[(Arc<AppliedLimit>, u32)],
        now: Timestamp,
    ) -> Result<bool, Shortage> {
        let with_request = |policy: &AppliedLimit| policy.scope == of_request.scope;
        let shortage = |(policy, tokens): &(Arc<AppliedLimit>, u32), wait| {
            policy.counts.count(*tokens, false);
            Shortage { policy: Arc::clone(policy), tokens: *tokens, with_request: with_request(policy), wait }
        };
        let exceeds = |(policy, tokens): &&(Arc<AppliedLimit>, u32)| {
            tokens.saturating_add(u32::from(with_request(policy))) > policy.limit.capacity
        };
        if let Some(due) = due.iter().find(exceeds) {
            return Err(shortage(due, None));
        }
        let of = |(policy, tokens): &(Arc<AppliedLimit>, u32)| BucketRequest {
            scope: policy.scope,
            limit: policy.limit,
            tokens: *tokens,
        };
        let wanted: Vec<BucketRequest> = due.iter().map(of).collect();
        match self.ledger.take_all(identity, &wanted, now) {
            Ok(urgent) => {
                due.iter().for_each(|(policy, tokens)| policy.counts.count(*tokens, true));
                Ok(urgent)
            }
            Err((place, taken)) => match due.get(place) {
                Some(due) => Err(shortage(due, Some(taken.wait))),
                None => Ok(false),
            },
        }
    }

    /// Puts these limits in the place of all but the default. Rules that were there before keep their buckets.
    pub fn set_all(&self, users: Vec<(UserId, UserLimit)>, rules: Vec<Rule>) {
        let mut policies = self.policies.write();
        let of_users = Arc::clone(&policies.of_users);
        policies.users = users.into_iter().map(|(user, limit)| (user, user_policy(limit, &of_users))).collect();
        self.set_rules(&mut policies, rules);
    }

    /// Gives a user a limit of their own, or takes it away.
    pub fn set_user(&self, user: UserId, limit: Option<UserLimit>) {
        let mut policies = self.policies.write();
        let Some(limit) = limit else { return drop(policies.users.remove(&user)) };
        let policy = user_policy(limit, &policies.of_users);
        policies.users.insert(user, policy);
    }

    /// Puts a rule in the place of the one with its id, or beside the others.
    pub fn set_rule(&self, rule: Rule) {
        let mut policies = self.policies.write();
        let mut rules = policies.book.rules().to_vec();
        rules.retain(|other| other.id != rule.id);
        rules.push(rule);
        self.set_rules(&mut policies, rules);
    }

    /// Takes a rule away, with its buckets.
    pub fn remove_rule(&self, id: &str) {
        let mut policies = self.policies.write();
        let mut rules = policies.book.rules().to_vec();
        rules.retain(|other| &*other.id != id);
        self.set_rules(&mut policies, rules);
    }

    fn set_rules(&self, policies: &mut AppliedLimits, rules: Vec<Rule>) {
        let book = RuleSet::new(rules);
        let (mut of_rules, mut next_scope) = (Vec::with_capacity(book.rules().len()), policies.next_scope);
        for rule in book.rules() {
            let (scope, counts) = match policies.of_rule(&rule.id) {
                Some(known) => (known.scope, Arc::clone(&known.counts)),
                None => (next_scope, Arc::default()),
            };
            if scope == next_scope {
                next_scope += 1;
            }
            of_rules.push(Arc::new(AppliedLimit::new(&rule.name, rule.limit, scope, counts)));
        }
        let gone = policies.of_rules.iter().map(|policy| policy.scope);
        let gone: Vec<_> = gone.filter(|scope| of_rules.iter().all(|policy| policy.scope != *scope)).collect();
        (policies.book, policies.of_rules, policies.next_scope) = (book, of_rules, next_scope);
        gone.into_iter().for_each(|scope| self.ledger.drop_limit(scope));
    }

    /// Users' own limits, by user.
    pub fn users(&self) -> Vec<(UserId, UserLimit)> {
        let users = self.policies.read().users.iter().map(|(user, (limit, _))| (user.clone(), *limit)).collect();
        sorted(users)
    }

    /// The limit of one user.
    pub fn user(&self, user: &UserId) -> Option<UserLimit> {
        self.policies.read().users.get(user).map(|(limit, _)| *limit)
    }

    /// The rules in their order.
    pub fn rules(&self) -> Vec<Rule> {
        self.policies.read().book.rules().to_vec()
    }

    /// What was counted of each limit: the default, users' own ones together, each rule in its order.
    pub fn tallies(&self) -> Vec<LimitTally> {
        let policies = self.policies.read();
        let tally = |name: &str, id: Option<&str>, counts: &LimitCounts| LimitTally {
            name: name.to_owned(),
            id: id.map(str::to_owned),
            tally: counts.tally(),
        };
        let others = [tally(DEFAULT_NAME, None, &policies.default.counts), tally(USER_NAME, None, &policies.of_users)];
        let rules = policies.book.rules().iter().zip(&policies.of_rules);
        let rules = rules.map(|(rule, policy)| tally(&rule.name, Some(&rule.id), &policy.counts));
        others.into_iter().chain(rules).collect()
    }

    /// What a scope is called where it is stored. `None`: there is no such limit any more.
    pub fn scope_name(&self, scope: BucketScope) -> Option<String> {
        match scope {
            DEFAULT_SCOPE => Some(DEFAULT_NAME.to_owned()),
            USER_SCOPE => Some(USER_NAME.to_owned()),
            _ => {
                let policies = self.policies.read();
                let place = policies.of_rules.iter().position(|policy| policy.scope == scope)?;
                policies.book.rules().get(place).map(|rule| rule_scope(&rule.id))
            }
        }
    }

    /// The scope that is stored by this name. `None`: there is no such limit any more.
    pub fn scope_of(&self, name: &str) -> Option<BucketScope> {
        match name {
            DEFAULT_NAME => Some(DEFAULT_SCOPE),
            USER_NAME => Some(USER_SCOPE),
            other => self.policies.read().of_rule(other.strip_prefix("rule:")?).map(|policy| policy.scope),
        }
    }
}

impl AppliedLimits {
    fn find_limit(&self, identity: &BucketOwner, verb: Option<Verb>, path: &str) -> &Arc<AppliedLimit> {
        if let BucketOwner::User(user) = identity
            && !self.users.is_empty()
            && let Some((_, policy)) = self.users.get(user)
        {
            return policy;
        }
        self.book.find(verb, path).and_then(|place| self.of_rules.get(place)).unwrap_or(&self.default)
    }

    fn of_rule(&self, id: &str) -> Option<&Arc<AppliedLimit>> {
        let place = self.book.rules().iter().position(|rule| &*rule.id == id)?;
        self.of_rules.get(place)
    }
}

fn user_policy(limit: UserLimit, counts: &Arc<LimitCounts>) -> (UserLimit, Arc<AppliedLimit>) {
    (limit, Arc::new(AppliedLimit::new(USER_NAME, limit.limit, USER_SCOPE, Arc::clone(counts))))
}

fn sorted(mut users: Vec<(UserId, UserLimit)>) -> Vec<(UserId, UserLimit)> {
    users.sort_by(|(one, _), (other, _)| one.cmp(other));
    users
}

impl LimitDecision {
    /// What `RateLimit` says: how many requests are left, and in how many seconds there is one more.
    pub fn header(&self) -> HeaderValue {
        let mut text = String::with_capacity(self.policy.quoted.len() + 24);
        // Writing to memory cannot fail.
        let taken = &self.outcome.taken;
        let _ = write!(text, "{};r={};t={}", self.policy.quoted, taken.remaining, self.wait_seconds());
        HeaderValue::try_from(text).unwrap_or_else(|_| self.policy.header.clone())
    }

    /// How long until there is another token, whole seconds, rounded up.
    pub(crate) fn wait_seconds(&self) -> u64 {
        whole_seconds(self.outcome.taken.wait)
    }
}

/// Rounded up.
pub(crate) fn whole_seconds(wait: Duration) -> u64 {
    wait.as_secs() + u64::from(wait.subsec_nanos() > 0)
}
