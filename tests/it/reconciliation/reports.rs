//! What an outside service reports, and what the server makes of it.

use std::time::Instant;

use serde_json::{Value, json};

use super::*;

#[tokio::test]
async fn reports_are_compared_told_within_a_second_recorded_and_in_force() {
    let server = start(&[]).await;
    let mut dashboard = follow(&server, None).await;
    let table = [
        ("alike", rows(3, 3), "verified", Value::Null),
        (
            "one is missing",
            rows(3, 2),
            "discrepancy",
            json!({ "expected": { "rows": 3 }, "actual": { "rows": 2 }, "missingJobIds": [] }),
        ),
        (
            "a name on one side only",
            json!({ "expected": { "rows": 3 }, "actual": { "rows": 3, "more": 0 } }),
            "discrepancy",
            json!({ "expected": { "rows": 3 }, "actual": { "rows": 3, "more": 0 }, "missingJobIds": [] }),
        ),
        (
            "jobs are missing",
            json!({ "expected": {}, "actual": {}, "expectedJobIds": ["c", "a", "b", "a"], "actualJobIds": ["b", "z"] }),
            "discrepancy",
            json!({ "expected": {}, "actual": {}, "missingJobIds": ["a", "c"] }),
        ),
        (
            "in line again",
            json!({
                "expected": { "euros": 0.5 }, "actual": { "euros": 0.5 }, "expectedJobIds": ["a"],
                "actualJobIds": ["a", "b"]
            }),
            "verified",
            Value::Null,
        ),
    ];
    for (name, body, status, details) in table {
        let sent = Instant::now();
        let answer = report(&server, "billing", &body).await;
        let told = update_of(&mut dashboard, "billing").await;
        assert!(sent.elapsed().as_millis() < 1000, "{name}: {:?}", sent.elapsed());
        assert_eq!(answer, json!({ "applied": true, "verdict": told }), "{name}");
        assert_eq!((&told["status"], &told["discrepancyDetails"]), (&json!(status), &details), "{name}");
        assert_eq!((&told["counts"], &told["action"]), (&body["actual"], &json!("report")), "{name}");
        assert_eq!(told["checksum"].as_str().map(str::len), Some(64), "{name}");
        assert!(told["latencyMs"].as_f64().is_some_and(|took| (0.0..1000.0).contains(&took)), "{name}");
        assert_eq!(in_force(&server, "billing").await, Some(told.clone()), "{name}");
        assert_eq!(audit(&server, "limit=1").await, [told], "{name}");
    }
    let (_, service) = server.get(&format!("{SERVICES}/billing")).await;
    assert_eq!(service["verdict"], in_force(&server, "billing").await.unwrap());
    assert_eq!(audit(&server, "service=billing&status=discrepancy").await.len(), 3);
}

#[tokio::test]
async fn unchanged_verified_verdicts_are_one_row_and_each_is_told() {
    let server = start(&[]).await;
    let mut dashboard = follow(&server, None).await;
    let mut ids = Vec::new();
    for count in 1..=4 {
        report(&server, "billing", &rows(3, 3)).await;
        let told = update_of(&mut dashboard, "billing").await;
        assert_eq!(told["count"], count);
        ids.push(told["eventId"].clone());
    }
    let folded = audit(&server, "service=billing").await;
    assert_eq!((folded.len(), &folded[0]["count"], &folded[0]["eventId"]), (1, &json!(4), &ids[3]));
    assert!(folded[0]["firstAt"].as_str() <= folded[0]["at"].as_str());
    ids.dedup();
    assert_eq!(ids.len(), 4);

    // Other counts, a difference, and the same difference again: rows of their own.
    for (expected, actual) in [(4, 4), (4, 3), (4, 3), (3, 3)] {
        report(&server, "billing", &rows(expected, actual)).await;
    }
    let counts: Vec<_> = audit(&server, "service=billing").await.iter().map(|row| row["count"].clone()).collect();
    assert_eq!(counts, [1, 1, 1, 1, 4]);
}

#[tokio::test]
async fn an_older_report_changes_nothing_and_a_newer_one_counts_whenever_it_comes() {
    let server = start(&[]).await;
    let at = |time: &str, actual: i64| {
        let mut body = rows(3, actual);
        body["at"] = json!(time);
        body
    };
    let first = report(&server, "billing", &at("2026-01-01T10:00:00Z", 3)).await;
    let late = report(&server, "billing", &at("2026-01-01T09:59:59.999Z", 1)).await;
    assert_eq!(late, json!({ "applied": false, "verdict": first["verdict"] }));
    assert_eq!(audit(&server, "service=billing").await.len(), 1);
    let newer = report(&server, "billing", &at("2026-01-01T12:00:00.001+02:00", 2)).await;
    assert_eq!((&newer["applied"], &newer["verdict"]["status"]), (&json!(true), &json!("discrepancy")));
    // A replay of the first, without a key.
    assert_eq!(report(&server, "billing", &at("2026-01-01T10:00:00Z", 3)).await["applied"], false);
    assert_eq!(in_force(&server, "billing").await.unwrap()["status"], "discrepancy");
    // One without `at` is about now.
    assert_eq!(report(&server, "billing", &rows(3, 3)).await["verdict"]["status"], "verified");
    assert_eq!(report(&server, "billing", &at("2026-06-01T00:00:00Z", 1)).await["applied"], false);
    send_report(&server, "billing", &[], &at("2999-01-01T00:00:00Z", 3)).await.problem(400, "invalid-request");
}

#[tokio::test]
async fn a_repeated_key_gives_the_first_answer_also_after_a_kill() {
    let mut server = start(&[]).await;
    let key = [("idempotency-key", "k-1")];
    let first = send_report(&server, "billing", &key, &rows(3, 2)).await.expect(200);
    assert!(!first.headers.contains_key("idempotency-replayed"));
    report(&server, "billing", &rows(3, 3)).await;
    for killed in [false, true] {
        if killed {
            server.kill();
            server.start_again();
        }
        let again = send_report(&server, "billing", &key, &rows(3, 2)).await.expect(200);
        assert_eq!((&again.text, again.header("idempotency-replayed")), (&first.text, "true"));
        let other = send_report(&server, "billing", &key, &rows(3, 1)).await;
        other.problem(422, "idempotency-mismatch");
        assert_eq!(in_force(&server, "billing").await.unwrap()["status"], "verified", "a replay overwrites nothing");
    }
    assert_eq!(audit(&server, "service=billing").await.len(), 2);
    // Keys are each sender's own, and for all that they send.
    let alice = server.post_as("alice", &format!("{SERVICES}/billing/reports"), &rows(1, 1)).await;
    assert_eq!(alice.0, 200);
    let elsewhere = server.tell("POST", "/api/v1/games", &key, json!({ "id": "g1", "state": {} })).await;
    elsewhere.problem(422, "idempotency-mismatch");
}

#[tokio::test]
async fn a_service_that_is_forgotten_has_no_verdict_and_keeps_its_rows() {
    let mut server = start(&[]).await;
    report(&server, "billing", &rows(1, 2)).await;
    let mut dashboard = follow(&server, None).await;
    update_of(&mut dashboard, "billing").await;
    let path = format!("{SERVICES}/billing");
    assert_eq!(server.ask("DELETE", &path, &[]).await.status, 204);
    let told = dashboard.next().await.unwrap();
    assert_eq!((told.event.as_str(), &told.data), ("reconciliation.removed", &json!({ "service": "billing" })));
    server.ask("DELETE", &path, &[]).await.problem(404, "not-found");
    server.ask("GET", &path, &[]).await.problem(404, "not-found");
    send_report(&server, "billing", &[], &rows(1, 1)).await.problem(404, "not-found");
    for killed in [false, true] {
        if killed {
            server.kill();
            server.start_again();
        }
        assert_eq!(in_force(&server, "billing").await, None);
        assert_eq!(audit(&server, "service=billing").await.len(), 1);
    }
}

#[tokio::test]
async fn comparing_now_says_what_is_in_force_of_all_or_of_one() {
    let server = start(&[]).await;
    register(&server, "mail", 3600).await;
    report(&server, "billing", &rows(3, 2)).await;
    let (status, all) = server.post("/reconciliation/run", &json!({})).await;
    assert_eq!(status, 200, "{all}");
    let of = |answer: &Value, name: &str| {
        answer["items"].as_array().unwrap().iter().find(|item| item["service"] == name).cloned()
    };
    assert_eq!(of(&all, "billing").unwrap()["status"], "discrepancy");
    assert_eq!(of(&all, "billing").unwrap()["action"], "compare");
    assert_eq!(of(&all, "mail"), None, "it has not reported, and still may in time");
    let one = server.post("/reconciliation/run", &json!({ "service": "billing" })).await.1;
    assert_eq!(one["items"].as_array().map(Vec::len), Some(1));
    assert_eq!(audit(&server, "limit=1").await[0], one["items"][0]);
    assert_eq!(server.ask("POST", "/reconciliation/run", &[]).await.status, 200, "no body is all");
    for unknown in ["nobody", "documents/nothing-there"] {
        let reply = server.tell("POST", "/reconciliation/run", &[], json!({ "service": unknown })).await;
        reply.problem(404, "not-found");
    }
}
