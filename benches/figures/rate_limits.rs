//! What it costs to decide whether a request is within its limit.

use std::hint::black_box;
use std::sync::Barrier;
use std::time::Instant;

use anyhow::{Context, Result};
use rejoin::Timestamp;
use rejoin::UserId;
use rejoin::internals::rate_limits::BucketOwner;
use rejoin::internals::rate_limits::LedgerBounds;
use rejoin::internals::rate_limits::Limit;
use rejoin::internals::rate_limits::{Limiter, UserLimit};
use rejoin::internals::rate_limits::{Pattern, Rule, Verb};

use crate::stats::{median, micros, quantile};
use crate::table::{Bar, Row};

/// Users of whom each has a bucket.
const USERS: u32 = 10_000;
/// Of these, every tenth has a limit of their own.
const OWN: usize = 10;
/// Rules, of which one applies.
const RULES: i64 = 50;
/// Decisions per run and thread.
const DECISIONS: u32 = 200_000;
/// Runs.
const RUNS: usize = 7;
/// Leads from one user to another far away, so that no memory is warm by chance.
const STRIDE: u32 = 7919;
const PATH: &str = "/api/v1/games/g1/actions";
const LIMIT: Limit = Limit { capacity: 2000, refill: 2000, window_seconds: 10 };

pub async fn measure() -> Result<Vec<Row>> {
    let (limiter, users) = prepare()?;
    let mut rows = Vec::new();
    for (threads, p50_name, p99_name) in [
        (1, "rate-limit decision, 10,000 users: p50", "… p99"),
        (2, "… two threads at once: p50", "… two threads at once: p99"),
    ] {
        let (mut p50s, mut p99s, mut told) = (Vec::new(), Vec::new(), Vec::new());
        for run in 0..RUNS {
            let times = decide_all(&limiter, &users, threads, i64::try_from(run)?)?;
            let (decided, headers): (Vec<f64>, Vec<f64>) = times.into_iter().unzip();
            p50s.push(quantile(&decided, 0.5));
            p99s.push(quantile(&decided, 0.99));
            told.push(median(&headers));
        }
        let clock = format!("{:.2} µs (reading the clock)", timer());
        let told = format!("its headers {:.2} µs more", median(&told));
        rows.push(Row::values(p50_name, told, clock.clone(), &p50s, " µs", Bar::None));
        rows.push(Row::values(p99_name, String::new(), clock, &p99s, " µs", Bar::AtMost(1.0)));
    }
    Ok(rows)
}

fn prepare() -> Result<(Limiter, Vec<BucketOwner>)> {
    let limiter = Limiter::new(LIMIT, LedgerBounds::default());
    let ids: Vec<UserId> = (0..USERS).map(|number| UserId::new(&format!("user-{number}"))).collect::<Result<_, _>>()?;
    let now = Timestamp::from_millis(0);
    let own = UserLimit { limit: LIMIT, created_at: now, updated_at: now };
    let own = ids.iter().step_by(OWN).map(|id| (id.clone(), own)).collect();
    let rules = (1..=RULES).map(|number| {
        let pattern =
            if number == RULES { "/api/v1/games/*/actions".into() } else { format!("/api/v1/*/*/call-{number}") };
        Ok(Rule {
            id: number.to_string().into(),
            name: format!("rule {number}").into(),
            pattern: Pattern::parse(&pattern).map_err(anyhow::Error::msg)?,
            method: Some(Verb::Post),
            priority: 0,
            limit: LIMIT,
            number,
            created_at: now,
            updated_at: now,
        })
    });
    limiter.set_all(own, rules.collect::<Result<_>>()?);
    let users: Vec<BucketOwner> = ids.into_iter().map(BucketOwner::User).collect();
    for user in &users {
        limiter.decide(user, Some(Verb::Post), PATH, now);
    }
    Ok((limiter, users))
}

/// The time of each decision and of making the headers that tell it, µs.
fn decide_all(limiter: &Limiter, users: &[BucketOwner], threads: u32, run: i64) -> Result<Vec<(f64, f64)>> {
    let barrier = Barrier::new(usize::try_from(threads)?);
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads)
            .map(|thread| {
                let barrier = &barrier;
                scope.spawn(move || {
                    barrier.wait();
                    decide_some(limiter, users, thread, run)
                })
            })
            .collect();
        let mut all = Vec::new();
        for worker in workers {
            all.extend(worker.join().ok().context("a thread ended early")??);
        }
        Ok(all)
    })
}

fn decide_some(limiter: &Limiter, users: &[BucketOwner], thread: u32, run: i64) -> Result<Vec<(f64, f64)>> {
    let mut times = Vec::with_capacity(usize::try_from(DECISIONS)?);
    for turn in 0..DECISIONS {
        let place = (turn + thread * USERS / 2).wrapping_mul(STRIDE) % USERS;
        let user = users.get(usize::try_from(place)?).context("no such user")?;
        // Some hundred requests a second of each user.
        let now = Timestamp::from_millis(1 + run * 1000 + i64::from(turn / 200));
        let started = Instant::now();
        let decision = limiter.decide(user, Some(Verb::Post), PATH, now);
        let decided = Instant::now();
        black_box((decision.header(), decision.policy.header.clone()));
        times.push((micros(decided - started), micros(decided.elapsed())));
    }
    Ok(times)
}

/// What two looks at the clock take, µs: part of each time above.
fn timer() -> f64 {
    let times: Vec<f64> = (0..10_000).map(|_| micros(black_box(Instant::now()).elapsed())).collect();
    median(&times)
}
