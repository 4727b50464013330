//! Limits on a real engine and a real file, under a clock that stands still.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a panic fails the test")]

use crate::property_tests::cases;
use proptest::prelude::*;

use super::*;
use crate::base::entropy::SeededEntropy;
use crate::features::rate_limits::rules::matching::Pattern;
use crate::http::idempotency::StoredResponse;
use crate::http::response::success::Success;
use crate::jobs::tests::running::RunningRunner;

const PATH: &str = "/api/v1/games/g1";

fn limit(capacity: u32, refill: u32, window_seconds: u32) -> Limit {
    Limit { capacity, refill, window_seconds }
}

fn user(id: &str) -> UserId {
    UserId::new(id).unwrap()
}

fn rule(name: &str, limit: Limit) -> RuleFields {
    let pattern = Pattern::parse("/api/v1/games/**").unwrap();
    RuleFields { name: name.to_owned(), pattern, method: None, priority: 0, limit }
}

/// The limits as a server that starts now finds them.
async fn open(running: &RunningRunner) -> Arc<RateLimits> {
    open_with(running, limit(3, 1, 3600)).await
}

async fn open_with(running: &RunningRunner, default: Limit) -> Arc<RateLimits> {
    let options = RateLimitSettings { default, administrators: false };
    let (engine, clock) = (running.engine.clone(), Arc::clone(&running.clock));
    let entropy = Arc::new(SeededEntropy::new(7));
    running.reads.read(move |reader| RateLimits::open(options, reader, engine, clock, entropy)).await.unwrap()
}

async fn create(limits: &Arc<RateLimits>, id: Option<&str>, fields: RuleFields) -> Result<Rule> {
    let name = fields.name.clone();
    let once = IdempotentCall::unkeyed(|_: &Rule| StoredResponse::json(Success::Created, &()));
    limits.create_rule(id.map(|id| DocumentId::new(id).unwrap()), fields, once).await?;
    Ok(limits.limiter.rules().into_iter().find(|rule| *rule.name == *name).unwrap())
}

/// How many of `count` requests pass at once.
fn pass(limits: &RateLimits, id: &str, count: usize) -> usize {
    let identity = BucketOwner::User(user(id));
    (0..count).filter(|_| limits.decide(&identity, Some(Verb::Get), PATH).outcome.taken.allowed).count()
}

fn on_engine<T>(test: impl AsyncFnOnce(RunningRunner) -> T) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async { test(RunningRunner::start(None)).await })
}

fn any_limit() -> impl Strategy<Value = Limit> {
    (1..=1_000_000_u32, 1..=1_000_000_u32, 1..=86_400_u32).prop_map(|(c, r, w)| limit(c, r, w))
}

proptest! {
    #![proptest_config(cases(16))]

    #[test]
    fn a_users_limit_configuration_persists_and_reads_back(
        wanted in prop::collection::vec(("[A-Za-z0-9][A-Za-z0-9_-]{0,20}", any_limit()), 1..12),
    ) {
        on_engine(async |running| {
            let limits = open(&running).await;
            let mut expected = std::collections::BTreeMap::new();
            for (id, limit) in wanted {
                let (stored, new) = limits.put_user(user(&id), limit).await.unwrap();
                assert_eq!(stored.limit, limit);
                assert_eq!(expected.insert(user(&id), stored).is_none(), new);
            }
            let expected: Vec<_> = expected.into_iter().collect();
            assert_eq!(limits.limiter.users(), expected);
            assert_eq!(open(&running).await.limiter.users(), expected, "after a restart");
        });
    }

    #[test]
    fn a_users_own_limit_applies_to_that_user_and_no_other(
        own in 1..40_u32, default in 1..40_u32, of_rule in 1..40_u32,
    ) {
        on_engine(async |running| {
            let limits = open_with(&running, limit(default, 1, 3600)).await;
            limits.put_user(user("alice"), limit(own, 1, 3600)).await.unwrap();
            assert_eq!(pass(&limits, "alice", 50), own as usize);
            assert_eq!(pass(&limits, "bob", 50), default as usize);
            create(&limits, None, rule("games", limit(of_rule, 1, 3600))).await.unwrap();
            assert_eq!(pass(&limits, "carol", 50), of_rule as usize, "a rule overrides the default");
            limits.put_user(user("alice"), limit(own + 3, 1, 3600)).await.unwrap();
            assert_eq!(pass(&limits, "alice", 50), 3, "and not a user's own limit, which acts at once");
        });
    }
}

#[tokio::test]
async fn a_restart_grants_no_free_burst() {
    let running = RunningRunner::start(None);
    let limits = open(&running).await;
    let rule = create(&limits, None, rule("games", limit(5, 1, 3600))).await.unwrap();
    limits.put_user(user("bob"), limit(4, 1, 60)).await.unwrap();
    assert_eq!((pass(&limits, "alice", 9), pass(&limits, "bob", 9)), (5, 4));
    limits.save().await.unwrap();

    let limits = open(&running).await;
    assert_eq!((pass(&limits, "alice", 9), pass(&limits, "bob", 9)), (0, 0), "as it was");
    running.clock.advance(Duration::from_secs(60));
    let limits = open(&running).await;
    assert_eq!((pass(&limits, "alice", 9), pass(&limits, "bob", 9)), (0, 1), "what came back in the meantime");

    limits.delete_rule(rule.id.to_string()).await.unwrap();
    limits.save().await.unwrap();
    let limits = open(&running).await;
    assert_eq!(pass(&limits, "alice", 9), 3, "the bucket of another limit");
}

#[tokio::test]
async fn what_an_exhausted_bucket_has_spent_is_stored_without_being_asked_for() {
    let running = RunningRunner::start(None);
    let limits = open(&running).await;
    let keeper = tokio::spawn(Arc::clone(&limits).keep_saved(running.reads.clone()));
    assert_eq!(pass(&limits, "alice", 9), 3);
    for _ in 0..1000 {
        if limits.limiter.ledger.size().unsaved == 0 {
            break;
        }
        sleep(Duration::from_millis(10)).await;
    }
    // Counted as stored when it is sent; a write behind it is stored after it.
    running.engine.rows(|_, _| Ok(())).await.unwrap();
    keeper.abort();
    let limits = open(&running).await;
    assert_eq!(pass(&limits, "alice", 9), 0);
}

#[tokio::test]
async fn rules_are_unique_by_name_and_bounded_and_keep_their_age() {
    let running = RunningRunner::start(None);
    let limits = open(&running).await;
    let first = create(&limits, None, rule("one", limit(1, 1, 1))).await.unwrap();
    let second = create(&limits, None, rule("two", limit(2, 2, 2))).await.unwrap();
    assert_eq!(create(&limits, None, rule("one", limit(1, 1, 1))).await.unwrap_err().kind(), Kind::AlreadyExists);
    let taken = limits.replace_rule(second.id.to_string(), rule("one", limit(1, 1, 1))).await;
    assert_eq!(taken.unwrap_err().kind(), Kind::AlreadyExists);
    let absent = limits.replace_rule("none".to_owned(), rule("none", limit(1, 1, 1))).await;
    assert_eq!(absent.unwrap_err().kind(), Kind::NotFound);
    assert_eq!(limits.delete_rule("none".to_owned()).await.unwrap_err().kind(), Kind::NotFound);

    let twice = create(&limits, Some(&first.id), rule("three", limit(1, 1, 1))).await;
    assert_eq!(twice.unwrap_err().kind(), Kind::AlreadyExists);

    assert_eq!(pass(&limits, "alice", 2), 1, "of two alike the older applies");
    let changed = limits.replace_rule(first.id.to_string(), rule("uno", limit(3, 1, 3600))).await.unwrap();
    assert_eq!((changed.number, changed.created_at), (first.number, first.created_at));
    assert_eq!(pass(&limits, "alice", 5), 2, "what is spent stays spent");
    limits.delete_rule(first.id.to_string()).await.unwrap();
    assert_eq!(pass(&limits, "alice", 5), 2, "now the other applies");
    assert_eq!(open(&running).await.limiter.rules(), limits.limiter.rules());

    for number in 1..sql::RULES_MAX {
        create(&limits, None, rule(&format!("r{number}"), limit(1, 1, 1))).await.unwrap();
    }
    assert_eq!(create(&limits, None, rule("more", limit(1, 1, 1))).await.unwrap_err().kind(), Kind::TooLarge);
    let made = || IdempotentCall::unkeyed(|_: &UserLimit| StoredResponse::json(Success::Created, &()));
    limits.create_user(user("a"), limit(1, 1, 1), made()).await.unwrap();
    assert_eq!(limits.limiter.user(&user("a")).unwrap().limit, limit(1, 1, 1));
    let again = limits.create_user(user("a"), limit(1, 1, 1), made()).await;
    assert_eq!(again.unwrap_err().kind(), Kind::AlreadyExists);
    limits.delete_user(user("a")).await.unwrap();
    assert_eq!(limits.delete_user(user("a")).await.unwrap_err().kind(), Kind::NotFound);
}

#[tokio::test]
async fn a_change_that_storage_swallowed_comes_into_force_once_it_is_known_to_be_stored() {
    let running = RunningRunner::start(None);
    let limits = open(&running).await;
    // As it is after a commit of which nobody knows whether it took place, and which did.
    let stored = |conn: &Connection, now| sql::put_user(conn, &user("alice"), &limit(9, 1, 3600), true, now);
    running.engine.rows(stored).await.unwrap();
    assert_eq!(limits.limiter.users(), []);
    limits.reload_if_unknown(&running.reads).await;
    assert_eq!(limits.limiter.users(), [], "nothing is in doubt");
    limits.doubtful.store(true, Ordering::Relaxed);
    limits.reload_if_unknown(&running.reads).await;
    assert_eq!(limits.limiter.users()[0].1.limit, limit(9, 1, 3600));
    assert!(!limits.doubtful.load(Ordering::Relaxed));
}

#[tokio::test]
async fn what_is_told_of_a_limit_are_structured_fields() {
    let running = RunningRunner::start(None);
    let limits = open(&running).await;
    let decide = || limits.decide(&BucketOwner::Owner, Some(Verb::Get), PATH);
    let decision = decide();
    assert_eq!(decision.policy.header, "\"default\";q=3;w=10800");
    assert_eq!(decision.header(), "\"default\";r=2;t=3600");
    create(&limits, None, rule("a \"b\"\\", limit(10, 2, 3))).await.unwrap();
    let decision = decide();
    assert_eq!(decision.policy.header, "\"a \\\"b\\\"\\\\\";q=10;w=15");
    assert_eq!(decision.header(), "\"a \\\"b\\\"\\\\\";r=9;t=2");
}
