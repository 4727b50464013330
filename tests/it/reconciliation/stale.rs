//! Services that fall silent. That the deadline is what it is to the millisecond, the unit tests see to.

use std::time::{Duration, Instant};

use super::*;

#[tokio::test]
async fn without_a_report_in_time_a_service_is_stale_until_the_next() {
    let server = start(&[]).await;
    let mut dashboard = follow(&server, None).await;
    register(&server, "silent", 1).await;
    let since = Instant::now();
    assert_eq!(in_force(&server, "silent").await, None);
    let stale = update_of(&mut dashboard, "silent").await;
    let took = since.elapsed();
    assert!((Duration::from_millis(900)..Duration::from_millis(2900)).contains(&took), "{took:?}");
    assert_eq!((&stale["status"], &stale["action"]), (&json!("stale"), &json!("compare")));
    assert_eq!(audit(&server, "service=silent").await, [stale]);

    for _ in 0..2 {
        report(&server, "silent", &rows(3, 2)).await;
        assert_eq!(update_of(&mut dashboard, "silent").await["status"], "discrepancy");
        let stale = update_of(&mut dashboard, "silent").await;
        assert_eq!((&stale["status"], &stale["counts"]), (&json!("stale"), &json!({ "rows": 2 })));
    }
    // With more time, what it last said counts again.
    register(&server, "silent", 3600).await;
    assert_eq!(update_of(&mut dashboard, "silent").await["status"], "discrepancy");
    register(&server, "silent", 1).await;
    assert_eq!(update_of(&mut dashboard, "silent").await["status"], "stale");
}

#[tokio::test]
async fn a_service_that_fell_silent_over_a_restart_is_found_stale() {
    let mut server = start(&[]).await;
    register(&server, "short", 1).await;
    report(&server, "short", &rows(1, 1)).await;
    report(&server, "billing", &rows(1, 1)).await;
    server.kill();
    server.start_again();
    until(&server, "short", |found| found["status"] == "stale").await;
    assert_eq!(in_force(&server, "billing").await.unwrap()["status"], "verified");
}
