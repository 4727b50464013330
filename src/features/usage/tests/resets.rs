//! The job `usage-reset`, by a clock that is moved.

use std::time::Duration;

use super::super::reset::reset_job;
use super::super::rules::{Limits, Subscription, SubscriptionStatus};
use super::super::sql;
use super::counting::{create, start, subscription, user};
use super::periods::period;
use crate::document::visibility::Viewer;
use crate::jobs::RunRecord;
use crate::jobs::runner::RunnerMessage;
use crate::jobs::tests::running::{AtWork, DAY, RunningRunner, until};
use crate::store::{Connection, sql_error};

async fn stored(running: &RunningRunner, name: &'static str) -> Subscription {
    let found = running.reads.read(move |reader| reader.rows(|conn| sql::subscription(conn, name))).await.unwrap();
    found.unwrap()
}

fn count(record: &RunRecord, name: &str) -> u64 {
    record.summary.as_ref().unwrap().counts[name]
}

async fn party(running: &RunningRunner, who: &str, id: &str) {
    running.write_as(&Viewer::User(user(who)), vec![create("parties", id)], None).await.unwrap();
}

async fn parties(running: &RunningRunner, who: &str) -> u64 {
    running.counts(who).await.parties
}

/// Moves the clock to `to`, which is after what it shows.
fn wait_until(running: &RunningRunner, to: &str) {
    let ahead = super::periods::at(to).as_millis() - crate::base::clock::Clock::now(&*running.clock).as_millis();
    running.clock.advance(Duration::from_millis(u64::try_from(ahead).unwrap()));
}

/// Waits until the job has ended as often as this, by its schedule.
async fn due(at_work: &AtWork, runs: usize) {
    let begun = async || {
        at_work.handle.send(RunnerMessage::Due("usage-reset"));
        at_work.runs("usage-reset").await.len() >= runs
    };
    until("the job runs", begun).await;
    at_work.until_ended("usage-reset", runs).await;
}

#[tokio::test]
async fn over_month_ends_a_leap_day_and_missed_days_each_period_is_reset_once() {
    // The clock shows noon of 2026-03-01; the last day of January 2026 was 29 days ago.
    let running = start(Limits::default());
    running.put_subscription(subscription("alice", period("2026-02-28", "2026-03-31"), Limits::default())).await;
    let at_work = running.runner(vec![reset_job(true)]);
    at_work.run("usage-reset", true).await;
    party(&running, "alice", "a").await;
    let mut runs = 1;
    for (now, next, left) in [
        ("2026-03-30T00:05:00Z", period("2026-02-28", "2026-03-31"), 1),
        ("2026-03-31T00:05:00Z", period("2026-03-31", "2026-04-30"), 0),
        ("2026-04-29T00:05:00Z", period("2026-03-31", "2026-04-30"), 1),
        ("2026-04-30T00:05:00Z", period("2026-04-30", "2026-05-31"), 0),
        // Nobody there for half a year: once, up to the period that runs.
        ("2026-11-05T09:00:00Z", period("2026-10-31", "2026-11-30"), 0),
        ("2027-02-28T00:05:00Z", period("2027-02-28", "2027-03-31"), 0),
        ("2028-02-28T00:05:00Z", period("2028-01-31", "2028-02-29"), 0),
        ("2028-02-29T00:05:00Z", period("2028-02-29", "2028-03-31"), 0),
        ("2028-03-30T00:05:00Z", period("2028-02-29", "2028-03-31"), 1),
    ] {
        wait_until(&running, now);
        runs += 1;
        due(&at_work, runs).await;
        let record = at_work.handle.last_runs("usage-reset", 1).await.unwrap().remove(0);
        assert_eq!(count(&record, "reset"), 1 - left, "{now}: {record:?}");
        assert_eq!((stored(&running, "alice").await.period, parties(&running, "alice").await), (next, left), "{now}");
        if left == 0 {
            party(&running, "alice", &format!("a{runs}")).await;
        }
        // Once more the same day, on request: nothing is due.
        assert_eq!(count(&at_work.run("usage-reset", false).await, "due"), 0);
        runs += 1;
        assert_eq!(parties(&running, "alice").await, 1);
    }
}

#[tokio::test]
async fn only_active_subscriptions_are_reset_and_months_of_those_without_one() {
    let running = start(Limits::default());
    for (name, status) in [
        ("ann", SubscriptionStatus::Active),
        ("bob", SubscriptionStatus::Paused),
        ("cid", SubscriptionStatus::Cancelled),
    ] {
        let over = subscription(name, period("2026-01-15", "2026-02-15"), Limits::default());
        running.put_subscription(Subscription { status, ..over }).await;
    }
    running.put_subscription(subscription("dan", period("2026-03-01", "2027-03-01"), Limits::default())).await;
    for name in ["ann", "bob", "cid", "dan", "eve"] {
        party(&running, name, name).await;
    }
    let at_work = running.runner(vec![reset_job(true)]);
    let record = at_work.run("usage-reset", false).await;
    assert_eq!((count(&record, "reset"), count(&record, "months")), (1, 0), "their month still runs");
    assert_eq!(parties(&running, "ann").await, 0);
    running.clock.advance(31 * DAY);
    let dry = at_work.run("usage-reset", true).await;
    assert_eq!((count(&dry, "due"), count(&dry, "reset"), count(&dry, "months")), (1, 0, 2));
    assert_eq!(parties(&running, "eve").await, 1, "a dry run resets nothing");
    let record = at_work.run("usage-reset", false).await;
    assert_eq!((count(&record, "reset"), count(&record, "months")), (1, 2));
    for (name, left) in [("ann", 0), ("bob", 1), ("cid", 0), ("dan", 1), ("eve", 0)] {
        assert_eq!(parties(&running, name).await, left, "{name}");
    }
    assert_eq!(stored(&running, "bob").await.period, period("2026-01-15", "2026-02-15"), "it stands still");
    // Active again, it is due.
    let resumed = subscription("bob", period("2026-01-15", "2026-02-15"), Limits::default());
    running.put_subscription(resumed).await;
    assert_eq!(count(&at_work.run("usage-reset", false).await, "reset"), 1);
    assert_eq!(stored(&running, "bob").await.period, period("2026-03-15", "2026-04-15"));
    assert_eq!(parties(&running, "bob").await, 0);
}

#[tokio::test]
async fn outside_production_it_only_tells_what_it_would_do() {
    let running = start(Limits::default());
    running.put_subscription(subscription("ann", period("2026-01-15", "2026-02-15"), Limits::default())).await;
    party(&running, "ann", "a").await;
    let at_work = running.runner(vec![reset_job(false)]);
    let record = at_work.run("usage-reset", false).await;
    assert_eq!((count(&record, "due"), count(&record, "reset")), (1, 0));
    assert_eq!(parties(&running, "ann").await, 1);
    assert_eq!(stored(&running, "ann").await.period, period("2026-01-15", "2026-02-15"));
}

#[tokio::test]
async fn one_that_fails_does_not_keep_the_others_and_is_told_by_name() {
    let running = start(Limits::default());
    for name in ["ann", "bob", "cid"] {
        running.put_subscription(subscription(name, period("2026-01-15", "2026-02-15"), Limits::default())).await;
        party(&running, name, name).await;
    }
    running.put_subscription(subscription("dan", period("2026-01-15", "2026-02-15"), Limits::default())).await;
    let spoil = |conn: &Connection, _| {
        let sql = "CREATE TRIGGER spoilt BEFORE UPDATE ON usage_counters WHEN new.user_id = 'bob'
                   BEGIN SELECT RAISE(ABORT, 'not this one'); END;
                   UPDATE subscriptions SET period_end = '2026-02-XX' WHERE user_id = 'dan'";
        conn.execute_batch(sql).map_err(sql_error)
    };
    running.engine.rows(spoil).await.unwrap();
    let at_work = running.runner(vec![reset_job(true)]);
    let record = at_work.run("usage-reset", false).await;
    assert_eq!((count(&record, "due"), count(&record, "reset"), count(&record, "failed")), (4, 2, 2), "{record:?}");
    assert_eq!(record.summary.unwrap().names, ["bob (failed)", "dan (failed)"]);
    assert_eq!(stored(&running, "bob").await.period, period("2026-01-15", "2026-02-15"), "both or neither");
    assert_eq!((parties(&running, "ann").await, parties(&running, "bob").await), (0, 1));
    let heal = |conn: &Connection, _| conn.execute_batch("DROP TRIGGER spoilt").map_err(sql_error);
    running.engine.rows(heal).await.unwrap();
    party(&running, "ann", "ann2").await;
    let record = at_work.run("usage-reset", false).await;
    assert_eq!((count(&record, "reset"), count(&record, "failed")), (1, 1), "what failed is still due");
    assert_eq!((parties(&running, "ann").await, parties(&running, "bob").await), (1, 0), "and nothing else is");
}

#[tokio::test]
async fn a_run_that_is_broken_off_in_the_middle_resets_nobody_twice() {
    const USERS: u64 = 3_000;
    let running = start(Limits::default());
    let many = |conn: &Connection, _| {
        let sql = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 3000)
                   INSERT INTO subscriptions SELECT printf('u%04d', i), 'gold', 'active', '2026-01-31T00:00:00.000Z',
                     '2026-02-28T00:00:00.000Z', 1, 31, NULL, NULL, NULL, NULL FROM n;
                   INSERT INTO usage_counters SELECT user_id, 7, 7, 7, period_start, NULL FROM subscriptions";
        conn.execute_batch(sql).map_err(sql_error)
    };
    running.engine.rows(many).await.unwrap();
    let set_forward = async |parties: i64| {
        let sql = "SELECT count(*) FROM subscriptions s JOIN usage_counters c USING (user_id)
                   WHERE s.period_start = '2026-02-28T00:00:00.000Z' AND s.period_end = '2026-03-31T00:00:00.000Z'
                     AND c.parties = ?1 AND c.creatures = 0";
        let question = move |conn: &Connection| conn.query_row(sql, [parties], |row| row.get(0)).map_err(sql_error);
        let found: i64 = running.reads.read(move |reader| reader.rows(question)).await.unwrap();
        u64::try_from(found).unwrap()
    };
    let tasks = tokio::runtime::Handle::current().metrics();
    let before = tasks.num_alive_tasks();
    let at_work = running.runner(vec![reset_job(true)]);
    let started = at_work.handle.run_now("usage-reset", false).await.unwrap();
    until("some are reset", async || set_forward(0).await > 0).await;
    drop((at_work, started));
    // Each of its tasks ends the next: what they send until they have all ended is part of the run.
    until("the run is over", async || tasks.num_alive_tasks() == before).await;
    // Those whose new period has begun use it already.
    let used = running.engine.rows(|conn, _| {
        let sql = "UPDATE usage_counters SET parties = 3 WHERE parties = 0";
        conn.execute(sql, []).map_err(sql_error)
    });
    let used = u64::try_from(used.await.unwrap()).unwrap();
    assert!((1..USERS).contains(&used), "it was broken off in the middle: {used}");

    let at_work = running.runner(vec![reset_job(true)]);
    let runs = at_work.until_ended("usage-reset", 2).await;
    assert_eq!(runs[1], ("make-up".to_owned(), Some("succeeded".to_owned())), "{runs:?}");
    assert_eq!((set_forward(3).await, set_forward(0).await), (used, USERS - used));
    let resumed = at_work.handle.last_runs("usage-reset", 1).await.unwrap().remove(0);
    assert_eq!(count(&resumed, "reset"), USERS - used);
}
