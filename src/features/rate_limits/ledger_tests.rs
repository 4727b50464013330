#![expect(clippy::unwrap_used, reason = "a panic fails the test")]

use super::*;
use crate::base::ids::UserId;

const LIMIT: Limit = Limit { capacity: 10, refill: 1, window_seconds: 1 };

fn user(number: usize) -> BucketOwner {
    BucketOwner::User(UserId::new(&format!("u{number}")).unwrap())
}

fn at(millis: i64) -> Timestamp {
    Timestamp::from_millis(millis)
}

/// Takes `count` tokens at once; how many there were.
fn take(ledger: &Ledger, identity: &BucketOwner, count: usize, now: i64) -> usize {
    (0..count).filter(|_| ledger.take(identity, 0, &LIMIT, at(now)).taken.allowed).count()
}

#[test]
fn each_has_a_bucket_of_their_own_and_one_for_each_limit() {
    let ledger = Ledger::new(LedgerBounds::default());
    assert_eq!((take(&ledger, &user(1), 12, 0), take(&ledger, &user(2), 12, 0)), (10, 10));
    assert!(ledger.take(&user(1), 7, &LIMIT, at(0)).taken.allowed);
    ledger.drop_limit(7);
    assert_eq!(ledger.size().buckets, 2);
    assert_eq!(ledger.total(), RequestTally { allowed: 21, limited: 4 });
    let top = ledger.top(1, |tally| tally.allowed);
    assert_eq!((top.len(), &top.first().unwrap().identity), (1, &user(1)));
    assert_eq!(top.first().unwrap().last_limited, Some(at(0)));
}

#[test]
fn only_what_changed_and_matters_is_stored_and_comes_back_as_it_was() {
    let ledger = Ledger::new(LedgerBounds::default());
    take(&ledger, &user(1), 1, 0);
    take(&ledger, &user(2), 10, 0);
    assert_eq!(ledger.size().unsaved, 2);
    let saved = ledger.unsaved(at(500), at(2500), 100);
    assert_eq!(saved.iter().map(|saved| &saved.identity).collect::<Vec<_>>(), [&user(2)], "the other is soon full");
    assert_eq!(ledger.size().unsaved, 0);
    assert_eq!(ledger.unsaved(at(500), at(2500), 100), []);
    ledger.mark_unsaved(&saved);
    assert_eq!(ledger.unsaved(at(500), at(2500), 100), saved);

    let other = Ledger::new(LedgerBounds::default());
    saved.into_iter().for_each(|saved| other.restore(saved, at(600)));
    assert_eq!(take(&other, &user(2), 10, 999), 0);
    assert_eq!(take(&other, &user(2), 10, 3000), 3);
    // Full ones are forgotten.
    assert_eq!(other.unsaved(at(60_000), at(62_000), 100), []);
    assert_eq!(other.size(), LedgerSize { identities: 1, buckets: 0, unsaved: 0 });
}

#[test]
fn no_more_are_stored_at_once_than_may_and_the_rest_is_not_forgotten() {
    let ledger = Ledger::new(LedgerBounds::default());
    (0..100).for_each(|number| assert_eq!(take(&ledger, &user(number), 5, 0), 5));
    let (first, second) = (ledger.unsaved(at(0), at(2000), 70), ledger.unsaved(at(0), at(2000), 70));
    assert_eq!((first.len(), second.len()), (70, 30));
}

#[test]
fn a_crash_would_give_away_much_at_the_half_and_at_the_end() {
    let ledger = Ledger::new(LedgerBounds::default());
    let urgent = |count: usize| (0..count).filter(|_| ledger.take(&user(1), 0, &LIMIT, at(0)).urgent).count();
    assert_eq!(urgent(5), 0);
    assert_eq!(urgent(1), 1, "below the half");
    assert_eq!(urgent(4), 0);
    assert_eq!(urgent(1), 1, "a refusal that is not stored");
    ledger.unsaved(at(0), at(2000), 100);
    assert_eq!(urgent(3), 0, "one that is");
}

#[test]
fn memory_is_bounded_and_an_exhausted_bucket_is_the_last_to_go() {
    let bounds = LedgerBounds { identities_max: SHARDS * 16, buckets_max: SHARDS * 16 };
    let ledger = Ledger::new(bounds);
    let spent: Vec<BucketOwner> = (0..100).map(user).collect();
    spent.iter().for_each(|identity| assert_eq!(take(&ledger, identity, 10, 0), 10));
    for number in 1000..21_000 {
        take(&ledger, &user(number), 1, 0);
        let size = ledger.size();
        if number % 1000 == 0 {
            assert!(size.identities <= bounds.identities_max && size.buckets <= bounds.buckets_max, "{size:?}");
        }
    }
    assert_eq!(ledger.total(), RequestTally { allowed: 21_000, limited: 0 });
    let fresh = spent.iter().filter(|identity| take(&ledger, identity, 1, 0) > 0).count();
    assert_eq!(fresh, 0, "none of those who had spent all got anything");
}

#[test]
fn full_buckets_go_first() {
    let bounds = LedgerBounds { identities_max: SHARDS * 16, buckets_max: SHARDS * 16 };
    let ledger = Ledger::new(bounds);
    (0..500).for_each(|number| assert_eq!(take(&ledger, &user(number), 2, 0), 2));
    let size = ledger.size().buckets;
    (1000..3000).for_each(|number| assert_eq!(take(&ledger, &user(number), 1, 60_000), 1));
    assert!(size > 400 && ledger.size().buckets <= bounds.buckets_max);
    assert_eq!(take(&ledger, &user(1), 12, 60_000), 10);
}
