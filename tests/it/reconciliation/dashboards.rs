//! The stream: who comes back misses nothing or is told so, also after a kill.

use std::sync::Arc;

use serde_json::{Value, json};
use tokio::sync::Barrier;
use tokio::task::JoinSet;

use super::*;
use crate::support::Disk;

#[tokio::test]
async fn a_new_dashboard_gets_what_is_in_force_and_then_what_comes() {
    let server = start(&["--heartbeat-seconds", "1"]).await;
    register(&server, "mail", 3600).await;
    report(&server, "mail", &rows(1, 1)).await;
    report(&server, "billing", &rows(1, 2)).await;
    report(&server, "mail", &rows(2, 2)).await;
    // As a browser asks: no query, no header of ours.
    let response = server.request("GET", STREAM).send().await.unwrap();
    assert_eq!(
        (response.status().as_u16(), &response.headers()["content-type"]),
        (200, &"text/event-stream".parse().unwrap())
    );
    assert_eq!(response.headers()["cache-control"], "no-store, no-transform");
    drop(response);

    let mut dashboard = follow(&server, None).await;
    let (first, second) = (dashboard.next().await.unwrap(), dashboard.next().await.unwrap());
    assert_eq!((&first.data["service"], &second.data["service"]), (&json!("billing"), &json!("mail")));
    assert_eq!(second.data["counts"], json!({ "rows": 2 }));
    report(&server, "billing", &rows(2, 2)).await;
    assert_eq!(update_of(&mut dashboard, "billing").await["status"], "verified");

    let id = dashboard.last_event_id.clone();
    let heartbeat = loop {
        let told = dashboard.next_raw().await.unwrap();
        if told.event == "heartbeat" {
            break told;
        }
    };
    assert!(heartbeat.data["at"].as_str().is_some_and(|at| at.ends_with('Z')));
    assert_eq!(heartbeat.id, id, "a heartbeat has no id of its own");
}

#[tokio::test]
async fn whoever_comes_back_gets_what_was_missed_also_after_a_kill() {
    let mut server = start(&["--heartbeat-seconds", "1"]).await;
    register(&server, "mail", 3600).await;
    let mut seen = Vec::new();
    for actual in [1, 2, 1] {
        seen.push(report(&server, "billing", &rows(2, actual)).await["verdict"].clone());
    }
    for _ in 0..3 {
        seen.push(report(&server, "mail", &rows(7, 7)).await["verdict"].clone());
    }
    for killed in [false, true, true] {
        if killed {
            server.kill();
            server.start_again();
        }
        let mut back = JoinSet::new();
        for from in 0..seen.len() {
            // From memory each, from the audit the row that the last three share.
            let told = |at: usize| at > from && !(killed && matches!(at, 3 | 4));
            let missed: Vec<Value> = (0..seen.len()).filter(|at| told(*at)).map(|at| seen[at].clone()).collect();
            let mut follower = follow(&server, seen[from]["eventId"].as_str()).await;
            back.spawn(async move {
                for update in missed {
                    let told = follower.expect("reconciliation.update").await;
                    assert_eq!(told.data, update, "from {from}, killed {killed}");
                }
                assert_eq!(follower.next_raw().await.unwrap().event, "heartbeat", "and nothing else");
            });
        }
        while let Some(ended) = back.join_next().await {
            ended.unwrap();
        }
        assert_eq!(in_force(&server, "mail").await.as_ref(), seen.last());
        assert_eq!(in_force(&server, "billing").await.unwrap(), seen[2]);
    }
    // The server goes on in the same row.
    let next = report(&server, "mail", &rows(7, 7)).await["verdict"].clone();
    assert_eq!((&next["count"], &next["firstAt"]), (&json!(4), &seen[3]["firstAt"]));
    let mut follower = follow(&server, seen[5]["eventId"].as_str()).await;
    assert_eq!(follower.expect("reconciliation.update").await.data, next);
}

#[tokio::test]
async fn an_id_that_names_nothing_here_is_told_with_what_is_in_force() {
    let server = start(&[]).await;
    let known = report(&server, "billing", &rows(2, 1)).await["verdict"].clone();
    let id = known["eventId"].as_str().unwrap();
    let (seq, run) = id.split_once('-').unwrap();
    let ahead = format!("{}-{run}", seq.parse::<u64>().unwrap() + 1000);
    for unknown in ["0", "nonsense", "1-00000000", &ahead, "99999999999999999999-00000000", "7-0badf00d"] {
        let mut back = follow(&server, Some(unknown)).await;
        let told = back.expect("snapshot").await;
        assert_eq!(told.data, json!({ "reason": "diverged" }), "{unknown}");
        assert_eq!(back.expect("reconciliation.update").await.data, known);
        assert_eq!(back.last_event_id, id, "from here on it can be resumed");
    }
}

#[tokio::test]
async fn ids_of_a_future_that_a_restored_file_lost_are_told_as_such() {
    let mut server = start(&[]).await;
    report(&server, "billing", &rows(2, 1)).await;
    assert!(server.terminate().success());
    let (data, backup) = (server.data_dir().join("rejoin.db"), server.data_dir().join("backup"));
    std::fs::copy(&data, &backup).unwrap();
    server.start_again();
    let lost = report(&server, "billing", &rows(2, 2)).await["verdict"]["eventId"].as_str().unwrap().to_owned();
    server.kill();
    for file in ["rejoin.db-wal", "rejoin.db-shm"] {
        let _ = std::fs::remove_file(server.data_dir().join(file));
    }
    std::fs::copy(&backup, &data).unwrap();
    server.start_again();
    let other = report(&server, "billing", &rows(3, 1)).await["verdict"].clone();
    assert_eq!(lost.split_once('-').unwrap().0, other["eventId"].as_str().unwrap().split_once('-').unwrap().0);
    let mut back = follow(&server, Some(&lost)).await;
    assert_eq!(back.expect("snapshot").await.data["reason"], "diverged");
    assert_eq!(back.expect("reconciliation.update").await.data, other);
}

#[tokio::test]
async fn many_dashboards_get_each_update_and_a_goodbye() {
    let mut server = start(&[]).await;
    let mut dashboards = JoinSet::new();
    let all = Arc::new(Barrier::new(151));
    for _ in 0..150 {
        let mut dashboard = follow(&server, None).await;
        let all = Arc::clone(&all);
        dashboards.spawn(async move {
            for actual in 0..5 {
                assert_eq!(update_of(&mut dashboard, "billing").await["counts"]["rows"], actual);
            }
            all.wait().await;
            let bye = dashboard.expect("bye").await;
            assert_eq!(bye.data["reason"], "shutdown");
            assert!(dashboard.next().await.is_none());
        });
    }
    for actual in 0..5 {
        report(&server, "billing", &rows(0, actual)).await;
    }
    all.wait().await;
    assert!(server.terminate().success());
    while let Some(ended) = dashboards.join_next().await {
        ended.unwrap();
    }
}

#[tokio::test]
async fn while_storage_fails_dashboards_are_told_and_the_rows_follow() {
    let (disk, server) = Disk::with_server(&[]);
    register(&server, "billing", 1).await;
    assert_eq!(report(&server, "billing", &rows(1, 1)).await["verdict"]["status"], "verified");
    let mut dashboard = follow(&server, None).await;
    update_of(&mut dashboard, "billing").await;
    disk.set("enospc");
    let refused = send_report(&server, "billing", &[], &rows(1, 1)).await;
    assert!(matches!(refused.status, 503 | 507), "{refused:?}");
    let stale = update_of(&mut dashboard, "billing").await;
    assert_eq!(stale["status"], "stale");
    assert_eq!(in_force(&server, "billing").await, Some(stale.clone()));
    disk.set("off");
    let end = Instant::now() + Duration::from_secs(20);
    let recorded = loop {
        let rows = audit(&server, "service=billing&status=stale").await;
        if !rows.is_empty() {
            break rows;
        }
        assert!(Instant::now() < end, "the row follows");
        tokio::time::sleep(Duration::from_millis(50)).await;
    };
    assert_eq!(recorded, [stale]);
    assert_eq!(report(&server, "billing", &rows(1, 1)).await["verdict"]["status"], "verified");
    assert_eq!(update_of(&mut dashboard, "billing").await["status"], "verified");
}
