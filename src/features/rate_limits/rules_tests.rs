#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a panic fails the test")]

use std::time::Duration;

use crate::property_tests::cases;
use proptest::prelude::*;

use super::bucket::{Bucket, Taken};
use super::matching::{Pattern, Rule, RuleSet, Verb};
use super::*;
use crate::base::clock::Timestamp;

fn limit(capacity: u32, refill: u32, window_seconds: u32) -> Limit {
    Limit { capacity, refill, window_seconds }
}

fn at(millis: i64) -> Timestamp {
    Timestamp::from_millis(millis)
}

fn later(moment: Timestamp, by: Duration) -> Timestamp {
    at(moment.as_millis() + i64::try_from(by.as_millis()).unwrap())
}

fn any_limit() -> impl Strategy<Value = Limit> {
    (1..=300_u32, 1..=400_u32, 1..=WINDOW_SECONDS_MAX).prop_map(|(c, r, w)| limit(c, r, w))
}

proptest! {
    #![proptest_config(cases(256))]

    #[test]
    fn n_requests_within_capacity_pass_the_next_is_refused_and_after_the_computed_wait_one_more_passes(
        limit in any_limit(), start in 0..=i64::from(u32::MAX) * 1000, again in 1..5_u32,
    ) {
        let now = at(start);
        let mut bucket = Bucket::full(&limit, now);
        for left in (0..limit.capacity).rev() {
            let taken = bucket.take(&limit, now);
            prop_assert!(taken.allowed);
            prop_assert_eq!(taken.remaining, left);
        }
        let mut now = now;
        for _ in 0..again {
            let refused = bucket.take(&limit, now);
            prop_assert!(!refused.allowed);
            prop_assert_eq!(refused.remaining, 0);
            // A millisecond earlier there is none.
            let mut early = bucket;
            prop_assert!(!early.take(&limit, at(later(now, refused.wait).as_millis() - 1)).allowed);
            now = later(now, refused.wait);
            prop_assert!(bucket.take(&limit, now).allowed);
            // Where several come back in a millisecond, there may be more than one.
            while bucket.take(&limit, now).allowed {}
        }
    }

    /// However requests fall, no more pass in any span than the bucket holds and comes back in it.
    #[test]
    fn over_any_span_no_more_pass_than_the_capacity_and_what_came_back(
        limit in any_limit(), steps in prop::collection::vec(0..5_000_i64, 1..200),
    ) {
        let mut bucket = Bucket::full(&limit, at(0));
        let (mut now, mut passed) = (0_i64, Vec::new());
        for step in steps {
            now += step;
            if bucket.take(&limit, at(now)).allowed {
                passed.push(now);
            }
        }
        for (first, begin) in passed.iter().enumerate() {
            for (last, end) in passed.iter().enumerate().skip(first) {
                let count = u128::try_from(last - first + 1).unwrap();
                let back = u128::try_from(end - begin).unwrap() * u128::from(limit.refill);
                let most = u128::from(limit.capacity) * u128::from(limit.window_seconds) * 1000 + back;
                prop_assert!(count * u128::from(limit.window_seconds) * 1000 <= most);
            }
        }
    }

    /// What is told is so: waiting as long as told makes one more whole token.
    #[test]
    fn the_wait_after_a_request_that_passed_is_until_the_next_whole_token(
        limit in any_limit(), takes in 1..20_u32, pauses in prop::collection::vec(0..100_000_i64, 20),
    ) {
        let (mut bucket, mut now) = (Bucket::full(&limit, at(0)), 0);
        for take in 0..takes {
            now += pauses[take as usize];
            let Taken { allowed, remaining, wait } = bucket.take(&limit, at(now));
            let mut then = bucket;
            let after = then.take(&limit, later(at(now), wait));
            prop_assert!(after.allowed, "{allowed} {remaining}");
            prop_assert!(after.remaining >= remaining.min(limit.capacity - 1));
        }
    }

    #[test]
    fn a_bucket_is_full_when_it_says_and_not_before(limit in any_limit(), takes in 1..300_u32) {
        let mut bucket = Bucket::full(&limit, at(0));
        for _ in 0..takes {
            bucket.take(&limit, at(0));
        }
        let full_at = bucket.full_at(&limit);
        let (mut then, mut before) = (bucket, bucket);
        prop_assert_eq!(then.take(&limit, full_at).remaining, limit.capacity - 1);
        let early = before.take(&limit, at(full_at.as_millis() - 1));
        prop_assert!(!early.allowed || before.spent > then.spent);
    }

    /// Nobody gains tokens by a change of limits to and fro, and a larger one is there at once.
    #[test]
    fn what_is_spent_stays_spent_when_the_limit_changes(one in any_limit(), other in any_limit(), takes in 1..300_u32) {
        let mut bucket = Bucket::full(&one, at(0));
        let passed = (0..takes).filter(|_| bucket.take(&one, at(0)).allowed).count();
        let passed = u32::try_from(passed).unwrap();
        let mut count = 0;
        while bucket.take(&other, at(0)).allowed {
            count += 1;
        }
        prop_assert_eq!(count, other.capacity.saturating_sub(passed));
        prop_assert!(!bucket.take(&other, at(0)).allowed);
    }
}

#[test]
fn a_clock_that_goes_back_a_little_changes_nothing_and_one_set_back_locks_nobody_out() {
    let limit = limit(2, 1, 1);
    let mut bucket = Bucket::full(&limit, at(1_000_000));
    assert!(bucket.take(&limit, at(1_000_000)).allowed && bucket.take(&limit, at(999_500)).allowed);
    assert_eq!(bucket.at, at(1_000_000));
    assert!(!bucket.take(&limit, at(999_000)).allowed);
    assert!(!bucket.take(&limit, at(5_000)).allowed, "an hour set back gives nothing");
    assert!(bucket.take(&limit, at(6_000)).allowed, "and a second later there is one again");
}

#[test]
fn the_largest_limits_are_reckoned_without_overflow() {
    let largest = limit(TOKENS_MAX, TOKENS_MAX, WINDOW_SECONDS_MAX);
    let slowest = limit(TOKENS_MAX, 1, WINDOW_SECONDS_MAX);
    for limit in [largest, slowest, limit(1, TOKENS_MAX, 1)] {
        let mut bucket = Bucket::full(&limit, at(i64::MAX - 5));
        assert!(bucket.take(&limit, at(i64::MAX)).allowed);
        assert!(bucket.take(&limit, at(i64::MIN)).remaining <= limit.capacity);
        assert!(bucket.full_at(&limit) >= at(i64::MIN));
        assert!(limit.fill_seconds() >= 1);
    }
}

#[test]
fn what_does_not_fit_is_named_field_by_field() {
    for (fields, wrong) in [
        ((0, 1, 1), "bucketCapacity"),
        ((-1, 1, 1), "bucketCapacity"),
        ((1_000_001, 1, 1), "bucketCapacity"),
        ((1, 0, 1), "refillRate"),
        ((1, i64::MAX, 1), "refillRate"),
        ((1, 1, 0), "windowSeconds"),
        ((1, 1, 86_401), "windowSeconds"),
    ] {
        let (bucket_capacity, refill_rate, window_seconds) = fields;
        let mut misfits = FieldErrors::default();
        assert_eq!(LimitFields { bucket_capacity, refill_rate, window_seconds }.check(&mut misfits), None);
        let error = misfits.check().unwrap_err();
        assert_eq!(error.details()["errors"][0]["field"], wrong);
        assert_eq!(error.details()["errors"].as_array().unwrap().len(), 1);
    }
    let mut misfits = FieldErrors::default();
    LimitFields { bucket_capacity: 0, refill_rate: 0, window_seconds: 0 }.check(&mut misfits);
    misfits.collect("priority", check_priority(1001));
    misfits.collect("name", check_name("default"));
    assert_eq!(misfits.check().unwrap_err().details()["errors"].as_array().unwrap().len(), 5);
    for bad in ["", " x", "x ", "a\tb", "ü", "user", &"x".repeat(65)] {
        assert!(check_name(bad).is_err(), "{bad}");
    }
    assert!(check_name("Rolls, \"fast\" ones").is_ok() && check_priority(0).is_ok() && check_priority(-1).is_err());
}

#[test]
fn patterns_are_checked() {
    for good in ["/", "/**", "/*", "/api/v1/games/*/actions", "/a/**", "/a.b~c_d-e"] {
        assert_eq!(Pattern::parse(good).unwrap().as_str(), good);
    }
    let deep = "/a".repeat(17);
    for bad in
        ["", "a", "api/v1", "/a//b", "/a/", "//", "/**/a", "/a*", "/***", "/{id}", "/a?b", "/%61", "/ä", "/a b", &deep]
    {
        assert!(Pattern::parse(bad).is_err(), "{bad}");
    }
    assert!(Pattern::parse(&format!("/{}", "x".repeat(200))).is_err());
    assert!(Verb::parse("get").is_err() && Verb::parse("BREW").is_err() && Verb::parse("").is_err());
    assert_eq!((Verb::of_request("HEAD"), Verb::of_request("OPTIONS")), (Some(Verb::Get), None));
}

fn rule(number: i64, pattern: &str, method: Option<Verb>, priority: i32) -> Rule {
    Rule {
        id: number.to_string().into(),
        name: format!("r{number}").into(),
        pattern: Pattern::parse(pattern).unwrap(),
        method,
        priority,
        limit: limit(1, 1, 1),
        number,
        created_at: at(number),
        updated_at: at(number),
    }
}

/// The number of the rule that applies to a GET of `path`.
fn applies(rules: &[Rule], path: &str) -> Option<i64> {
    let book = RuleSet::new(rules.to_vec());
    book.find(Some(Verb::Get), path).map(|place| book.rules()[place].number)
}

#[test]
fn which_rule_applies() {
    let rules = [
        rule(1, "/**", None, 0),
        rule(2, "/api/*/games/**", None, 0),
        rule(3, "/api/v1/**", None, 0),
        rule(4, "/api/v1/games/*", None, 0),
        rule(5, "/api/v1/games/*", Some(Verb::Get), 0),
        rule(6, "/api/v1/games/g1", Some(Verb::Post), 0),
        rule(7, "/api/v1/games/*", Some(Verb::Get), 0),
        rule(8, "/api/v1/*/g9", None, 1),
        rule(9, "/api/v1/games", None, 0),
    ];
    for (path, number) in [
        ("/", 1),
        ("/x", 1),
        ("/api", 1),
        ("/api/v1", 3),
        ("/api/v2/games", 2),
        ("/api/v2/games/g1/events", 2),
        ("/api/v1/games/g1", 5),
        ("/api/v1/g%61mes/g1", 5),
        ("/api/v1/games/g1/events", 3),
        ("/api/v1/games/g9", 8),
        ("/api/v1/games", 9),
        ("/api/v1/games/", 3),
        ("/api/v1//g9", 3),
        ("/api/v1/a%2Fb/g9", 8),
        ("/api/v1/%zz/g9", 8),
    ] {
        assert_eq!(applies(&rules, path), Some(number), "{path}");
    }
    assert_eq!(applies(&rules[1..], "/x"), None);
    assert_eq!(applies(&[], "/x"), None);
    assert_eq!(applies(&rules, "*"), None, "what is no path matches nothing");
}

/// Whether a pattern matches a path, written anew from what it is said to mean.
fn matches(pattern: &str, path: &str) -> bool {
    let (pattern, path) = (segments(pattern), segments(path));
    match pattern.split_last() {
        Some((&"**", head)) => path.len() >= head.len() && alike(head, &path[..head.len()]),
        _ => path.len() == pattern.len() && alike(&pattern, &path),
    }
}

fn segments(text: &str) -> Vec<&str> {
    text.split('/').filter(|segment| !segment.is_empty()).collect()
}

fn alike(pattern: &[&str], path: &[&str]) -> bool {
    pattern.iter().zip(path).all(|(wanted, found)| *wanted == "*" || wanted == found)
}

/// Whether one pattern is more specific than another that matches the same path.
fn more_specific(one: &str, other: &str) -> bool {
    let weight = |segment: Option<&&str>| match segment {
        Some(&"**") => 0,
        Some(&"*") => 1,
        None => 1,
        Some(_) => 2,
    };
    let (one, other) = (segments(one), segments(other));
    let pairs = (0..=one.len().max(other.len())).map(|i| (weight(one.get(i)), weight(other.get(i))));
    pairs.into_iter().find(|(one, other)| one != other).is_some_and(|(one, other)| one > other)
}

fn any_pattern() -> impl Strategy<Value = String> {
    let segment = prop::sample::select(vec!["a", "b", "*"]);
    (prop::collection::vec(segment, 0..4), any::<bool>()).prop_map(|(mut segments, rest)| {
        if rest {
            segments.push("**");
        }
        format!("/{}", segments.join("/"))
    })
}

fn any_rule() -> impl Strategy<Value = (String, Option<Verb>, i32)> {
    let method = prop::sample::select(vec![None, Some(Verb::Get), Some(Verb::Post)]);
    (any_pattern(), method, 0..3_i32)
}

proptest! {
    #![proptest_config(cases(256))]

    #[test]
    fn of_matching_rules_the_most_specific_of_the_highest_priority_applies(
        rules in prop::collection::vec(any_rule(), 0..12),
        path in prop::collection::vec(prop::sample::select(vec!["a", "b", "c"]), 0..5),
    ) {
        let path = format!("/{}", path.join("/"));
        let rules: Vec<Rule> =
            (1..)
                .zip(&rules)
                .map(|(number, (pattern, method, priority))| rule(number, pattern, *method, *priority))
                .collect();
        let fits = |rule: &&Rule| {
            matches(rule.pattern.as_str(), &path) && rule.method.is_none_or(|method| method == Verb::Get)
        };
        let found = applies(&rules, &path);
        let Some(found) = found else {
            prop_assert!(!rules.iter().any(|rule| fits(&rule)));
            return Ok(());
        };
        let winner = rules.iter().find(|rule| rule.number == found).unwrap();
        prop_assert!(fits(&winner));
        for other in rules.iter().filter(fits).filter(|other| other.number != found) {
            let (one, two) = (winner.pattern.as_str(), other.pattern.as_str());
            prop_assert!(winner.priority >= other.priority);
            if winner.priority == other.priority {
                prop_assert!(!more_specific(two, one), "{two} is more specific than {one} for {path}");
                if !more_specific(one, two) {
                    prop_assert!(winner.method.is_some() || other.method.is_none());
                    if winner.method.is_some() == other.method.is_some() {
                        prop_assert!(winner.number < other.number);
                    }
                }
            }
        }
    }
}
