//! Creations and their counters, also while storage fails.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::property_tests::cases;
use proptest::prelude::*;
use serde_json::json;

use super::super::rules::{CountedKind, Limits, PerKind, Period, Subscription, SubscriptionStatus, UsageCounts};
use super::super::service::{self, Usage};
use super::super::sql;
use super::periods::period;
use crate::base::error::{Error, Kind, Result};
use crate::base::ids::{DocumentName, UserId};
use crate::document::access::Access;
use crate::document::chain::Hash;
use crate::document::decide::{Expected, Request, WriteOperation};
use crate::document::visibility::Viewer;
use crate::engine::request::{Durability, Write, WriteKey, WriteReply};
use crate::jobs::tests::running::RunningRunner;
use crate::store::{Connection, IdempotencyKey, sql_error};

/// Of creatures alice and bob may have this many; of the rest any number.
pub(super) const LIMIT: u64 = 4;

/// An engine that counts.
pub(super) fn start(defaults: Limits) -> RunningRunner {
    RunningRunner::start_hooked(Some(512), vec![Arc::new(Usage { defaults })])
}

pub(super) fn user(name: &str) -> UserId {
    UserId::new(name).unwrap()
}

pub(super) fn subscription(name: &str, period: Period, limits: Limits) -> Subscription {
    let (status, plan) = (SubscriptionStatus::Active, "gold".to_owned());
    Subscription { user: user(name), plan, status, period, length: period.length(), limits }
}

pub(super) fn create(collection: &str, id: &str) -> Request {
    let operation = WriteOperation::Create { state: json!({}), host: None, access: Access::default() };
    Request { name: DocumentName::new(collection, id).unwrap(), operation, expected: Expected::default() }
}

impl RunningRunner {
    pub(crate) async fn put_subscription(&self, subscription: Subscription) -> bool {
        self.engine.rows(move |conn, now| service::put(conn, subscription, now)).await.unwrap()
    }

    pub(crate) async fn counts(&self, who: &str) -> UsageCounts {
        let who = who.to_owned();
        self.reads.read(move |reader| reader.rows(|conn| sql::read_usage(conn, &who))).await.unwrap().counts
    }

    pub(crate) async fn write_as(
        &self,
        viewer: &Viewer,
        requests: Vec<Request>,
        key: Option<&str>,
    ) -> Result<WriteReply> {
        let key = key.map(|key| WriteKey {
            key: IdempotencyKey {
                scope: viewer.scope().to_owned(),
                key: key.to_owned(),
                fingerprint: Hash::ZERO,
                document: None,
            },
            render: Box::new(|_, _| bytes::Bytes::from_static(b"{}")),
        });
        self.engine.write(Write { requests, viewer: viewer.clone(), key }).await
    }

    /// Makes storage fail until the next [`recover`](Self::recover).
    async fn fail(&self) {
        let fill = |conn: &Connection, _| {
            conn.execute_batch("CREATE TABLE filler (text TEXT)").map_err(sql_error)?;
            conn.execute("INSERT INTO filler VALUES (?1)", ["x".repeat(2 << 20)]).map(drop).map_err(sql_error)
        };
        assert_eq!(self.engine.rows(fill).await.unwrap_err().kind(), Kind::StorageUnavailable);
    }
}

fn quota(error: &Error) -> (u64, u64) {
    assert_eq!(error.slug(), Some("quota-exceeded"), "{error}");
    (error.details()["used"].as_u64().unwrap(), error.details()["limit"].as_u64().unwrap())
}

#[tokio::test]
async fn whatever_creates_counts_and_whatever_does_not_does_not() {
    let running = start(Limits::default());
    let alice = Viewer::User(user("alice"));
    let on = |collection: &str, id: &str, operation| Request {
        name: DocumentName::new(collection, id).unwrap(),
        operation,
        expected: Expected::default(),
    };
    let put = || WriteOperation::Put { state: json!({ "n": 1 }) };
    running.write_as(&alice, vec![create("parties", "p1")], None).await.unwrap();
    running.write_as(&alice, vec![on("parties", "p2", put())], None).await.unwrap();
    running.write_as(&alice, vec![on("parties", "p2", put())], None).await.unwrap();
    running
        .write_as(&alice, vec![create("games", "g1"), create("party", "p"), create("parties-2", "p")], None)
        .await
        .unwrap();
    let batch =
        vec![create("encounters", "e1"), on("encounters", "e1", WriteOperation::Delete), create("encounters", "e1")];
    running.write_as(&alice, batch, None).await.unwrap();
    assert!(running.write_as(&alice, vec![create("parties", "p1")], None).await.is_err(), "it is there");
    assert!(running.write_as(&alice, vec![create("creatures", "c"), create("parties", "p1")], None).await.is_err());
    running.write_as(&Viewer::Owner, vec![create("creatures", "c1")], None).await.unwrap();
    assert_eq!(running.counts("alice").await, PerKind { parties: 2, encounters: 2, creatures: 0 });
    assert_eq!(running.counts("@owner").await, PerKind { parties: 0, encounters: 0, creatures: 1 });
    running.write_as(&alice, vec![on("parties", "p2", WriteOperation::Delete)], None).await.unwrap();
    assert_eq!(running.counts("alice").await.parties, 2, "deleting gives nothing back");
    running.write_as(&alice, vec![create("parties", "p2")], None).await.unwrap();
    assert_eq!(running.counts("alice").await.parties, 3, "creating again counts again");
}

#[tokio::test]
async fn over_the_limit_nothing_is_created_and_of_a_batch_nothing_at_all() {
    let defaults = Limits { creatures: Some(1), ..Limits::default() };
    let running = start(defaults);
    let limits = Limits { parties: Some(2), ..Limits::default() };
    assert!(running.put_subscription(subscription("alice", period("2026-02-10", "2026-03-10"), limits)).await);
    let (alice, bob) = (Viewer::User(user("alice")), Viewer::User(user("bob")));
    let three = vec![create("creatures", "a"), create("parties", "a"), create("parties", "b"), create("parties", "c")];
    let refused = running.write_as(&alice, three, None).await.unwrap_err();
    assert_eq!((quota(&refused), &refused.details()["index"]), ((2, 2), &3.into()));
    assert_eq!(refused.details()["resetAt"], "2026-03-10T00:05:00.000Z");
    assert_eq!(running.counts("alice").await, UsageCounts::default());
    running.write_as(&alice, vec![create("parties", "a"), create("parties", "b")], None).await.unwrap();
    assert_eq!(quota(&running.write_as(&alice, vec![create("parties", "c")], None).await.unwrap_err()), (2, 2));
    running.write_as(&bob, vec![create("parties", "c")], None).await.unwrap();
    // The default plan is not alice's, and it holds for bob.
    running.write_as(&alice, vec![create("creatures", "a"), create("creatures", "b")], None).await.unwrap();
    let refused =
        running.write_as(&bob, vec![create("creatures", "c"), create("creatures", "d")], None).await.unwrap_err();
    assert_eq!((quota(&refused), &refused.details()["resetAt"]), ((1, 1), &"2026-04-01T00:05:00.000Z".into()));
    // Many at once share a round; not one too many gets through.
    let ids: Vec<String> = (0..20).map(|index| format!("x{index}")).collect();
    let limits = Limits { encounters: Some(7), ..Limits::default() };
    assert!(!running.put_subscription(subscription("alice", period("2026-02-10", "2026-03-10"), limits)).await);
    let writes = ids.iter().map(|id| running.write_as(&alice, vec![create("encounters", id)], None));
    let answers = futures_util::future::join_all(writes).await;
    assert_eq!(answers.iter().filter(|answer| answer.is_ok()).count(), 7);
    assert_eq!(running.counts("alice").await.encounters, 7);
}

#[tokio::test]
async fn a_renewal_begins_at_nothing_and_any_other_change_keeps_the_count() {
    let running = start(Limits::default());
    let alice = Viewer::User(user("alice"));
    running.write_as(&alice, vec![create("parties", "a")], None).await.unwrap();
    let set = async |start, end, status| {
        let subscription = Subscription { status, ..subscription("alice", period(start, end), Limits::default()) };
        running.put_subscription(subscription).await;
        running.counts("alice").await.parties
    };
    assert_eq!(set("2026-02-28", "2026-03-31", SubscriptionStatus::Active).await, 1, "the first");
    assert_eq!(set("2026-02-28", "2026-03-31", SubscriptionStatus::Paused).await, 1);
    assert_eq!(
        set("2026-02-15", "2026-03-20", SubscriptionStatus::Cancelled).await,
        1,
        "another period at the same time"
    );
    assert_eq!(set("2026-03-20", "2026-04-20", SubscriptionStatus::Active).await, 0, "the period after it");
    let stored = running.reads.read(|reader| reader.rows(|conn| sql::subscription(conn, "alice"))).await.unwrap();
    assert_eq!(stored, Some(subscription("alice", period("2026-03-20", "2026-04-20"), Limits::default())));
}

#[tokio::test]
async fn a_count_that_cannot_be_written_for_another_reason_than_the_disk_keeps_no_change_from_it() {
    let running = start(Limits::default());
    let spoil = |conn: &Connection, _| {
        let sql = "CREATE TRIGGER spoilt BEFORE INSERT ON usage_counters WHEN new.user_id = 'bob'
                   BEGIN SELECT RAISE(ABORT, 'not this one'); END";
        conn.execute_batch(sql).map_err(sql_error)
    };
    running.engine.rows(spoil).await.unwrap();
    for name in ["alice", "bob"] {
        let viewer = Viewer::User(user(name));
        let answer = running.write_as(&viewer, vec![create("parties", name)], None).await.unwrap();
        let WriteReply::Made(written) = answer else { panic!("it was made before") };
        assert_eq!(written.durability, Durability::Durable, "{name}");
    }
    assert_eq!((running.counts("alice").await.parties, running.counts("bob").await.parties), (1, 0));
}

/// What somebody creates in one write.
#[derive(Clone, Debug)]
struct CreatedDocument {
    who: usize,
    what: Vec<(usize, u8)>,
    /// 0: none.
    key: u8,
}

#[derive(Clone, Debug)]
enum CountingStep {
    /// These are asked for at once, so that some share a transaction.
    Create(Vec<CreatedDocument>),
    Delete((usize, u8)),
    Fail,
    Recover,
}

/// Often a creature, and seldom one that is there.
fn any_thing() -> impl Strategy<Value = (usize, u8)> {
    (prop_oneof![1 => Just(0_usize), 1 => Just(1), 3 => Just(2)], 0..60_u8)
}

fn any_creation() -> impl Strategy<Value = CreatedDocument> {
    let key = prop_oneof![5 => Just(0_u8), 1 => 1..5_u8];
    let parts = (0..3_usize, prop::collection::vec(any_thing(), 1..4), key);
    parts.prop_map(|(who, what, key)| CreatedDocument { who, what, key })
}

fn any_step() -> impl Strategy<Value = CountingStep> {
    prop_oneof![
        6 => prop::collection::vec(any_creation(), 1..5).prop_map(CountingStep::Create),
        1 => any_thing().prop_map(CountingStep::Delete),
        1 => Just(CountingStep::Fail),
        1 => Just(CountingStep::Recover),
    ]
}

/// What must have come of it all.
#[derive(Default)]
struct Model {
    there: std::collections::BTreeSet<(usize, u8)>,
    counts: BTreeMap<(usize, usize), u64>,
    keys: BTreeMap<(usize, u8), Vec<(usize, u8)>>,
}

fn name((thing, id): (usize, u8)) -> DocumentName {
    DocumentName::new(CountedKind::ALL[thing].collection(), &format!("d{id}")).unwrap()
}

async fn check(steps: Vec<CountingStep>) {
    let running = start(Limits { creatures: Some(LIMIT), ..Limits::default() });
    let viewers = [Viewer::User(user("alice")), Viewer::User(user("bob")), Viewer::Owner];
    let (mut model, mut failing) = (Model::default(), false);
    for step in steps {
        match step {
            CountingStep::Create(mut creations) => {
                for CreatedDocument { who, what, key } in creations.iter_mut().filter(|creation| creation.key > 0) {
                    // The same key always comes with the same request.
                    *what = model.keys.entry((*who, *key)).or_insert_with(|| what.clone()).clone();
                }
                let writes = creations.iter().map(|CreatedDocument { who, what, key }| {
                    let request =
                        |one: &(usize, u8)| create(CountedKind::ALL[one.0].collection(), name(*one).id.as_str());
                    let (requests, key) = (what.iter().map(request).collect(), (*key > 0).then(|| format!("k{key}")));
                    let (running, viewer) = (&running, &viewers[*who]);
                    async move { running.write_as(viewer, requests, key.as_deref()).await }
                });
                // They are decided in the order in which they were sent.
                let answers = futures_util::future::join_all(writes).await;
                for (CreatedDocument { who, what, .. }, answer) in creations.iter().zip(answers) {
                    expect_created(&mut model, *who, what, answer, failing);
                }
            }
            CountingStep::Delete(what) => {
                let operation = WriteOperation::Delete;
                let requests = vec![Request { name: name(what), operation, expected: Expected::default() }];
                let deleted = running.write_as(&Viewer::Owner, requests, None).await.is_ok();
                assert_eq!(deleted, model.there.remove(&what));
            }
            CountingStep::Fail if !failing => {
                running.fail().await;
                failing = true;
            }
            CountingStep::Fail => {}
            CountingStep::Recover => {
                running.recover().await;
                failing = false;
            }
        }
    }
    running.recover().await;
    for (who, viewer) in viewers.iter().enumerate() {
        let counts = running.counts(viewer.scope()).await;
        for (index, thing) in CountedKind::ALL.into_iter().enumerate() {
            let expected = model.counts.get(&(who, index)).copied().unwrap_or(0);
            assert_eq!(counts.of(thing), expected, "{} {}", viewer.scope(), thing.counter());
        }
    }
}

fn expect_created(model: &mut Model, who: usize, what: &[(usize, u8)], answer: Result<WriteReply>, failing: bool) {
    if let Ok(WriteReply::Replayed(_)) = answer {
        return;
    }
    let (mut there, mut counts) = (model.there.clone(), model.counts.clone());
    for one in what {
        let count = counts.entry((who, one.0)).or_default();
        if there.contains(one) {
            assert_eq!(answer.unwrap_err().kind(), Kind::AlreadyExists);
            return;
        }
        if who < 2 && one.0 == 2 && *count >= LIMIT {
            assert_eq!(quota(&answer.unwrap_err()), (*count, LIMIT), "failing: {failing}");
            return;
        }
        *count += 1;
        there.insert(*one);
    }
    let WriteReply::Made(written) = answer.unwrap() else { panic!("it was made before") };
    assert_eq!(written.durability == Durability::Pending, failing);
    (model.there, model.counts) = (there, counts);
}

proptest! {
    #![proptest_config(cases(24))]

    #[test]
    fn counters_equal_the_creations_whatever_is_refused_repeated_or_waits_for_the_disk(
        steps in prop::collection::vec(any_step(), 1..50)
    ) {
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(check(steps));
    }
}
