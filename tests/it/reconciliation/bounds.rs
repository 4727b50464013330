//! Who may, and what is too much.

use serde_json::{Value, json};

use super::*;
use crate::support::AS;

#[tokio::test]
async fn whoever_gets_in_reads_and_reports_and_administrators_do_the_rest() {
    let server = start(&[]).await;
    let path = format!("{SERVICES}/billing");
    assert_eq!(server.post_as("alice", &format!("{path}/reports"), &rows(1, 1)).await.0, 200);
    for readable in ["/reconciliation/status", "/reconciliation/audit", SERVICES, &path] {
        assert_eq!(server.get_as("alice", readable).await.0, 200, "{readable}");
    }
    let mut dashboard = Follower::connect(&format!("{}{STREAM}", server.url), Some("alice"), None).await.unwrap();
    assert_eq!(update_of(&mut dashboard, "billing").await["status"], "verified");
    let (status, problem) = server.post_as("alice", "/reconciliation/run", &json!({})).await;
    assert_eq!((status, &problem["type"]), (403, &json!("/problems/forbidden")));
    let alice = [(AS, "alice")];
    server.tell("PUT", &path, &alice, json!({ "reportEverySeconds": 5 })).await.problem(403, "forbidden");
    server.ask("DELETE", &path, &alice).await.problem(403, "forbidden");
    assert_eq!(server.get(&path).await.1["reportEverySeconds"], 3600);
}

#[tokio::test]
async fn what_does_not_fit_is_refused_by_name_and_changes_nothing() {
    let server = start(&[]).await;
    let many = |count: usize| (0..count).map(|n| format!("j{n}")).collect::<Vec<_>>();
    let counts = |count: usize| many(count).into_iter().map(|name| (name, json!(1))).collect::<serde_json::Map<_, _>>();
    let field = |problem: &Value| problem["errors"][0]["field"].as_str().unwrap_or_default().to_owned();
    for (body, wrong) in [
        (json!({}), "expected"),
        (json!({ "expected": {} }), "actual"),
        (json!({ "expected": { "a": "1" }, "actual": {} }), "expected.a"),
        (json!({ "expected": {}, "actual": { "a": null } }), "actual.a"),
        (json!({ "expected": {}, "actual": { "a": 9_007_199_254_740_992_u64 } }), "actual.a"),
        (json!({ "expected": counts(101), "actual": {} }), "expected"),
        (json!({ "expected": {}, "actual": { "": 1 } }), "actual"),
        (json!({ "expected": {}, "actual": { "x".repeat(65): 1 } }), "actual"),
        (json!({ "expected": {}, "actual": {}, "expectedJobIds": many(1001) }), "expectedJobIds"),
        (json!({ "expected": {}, "actual": {}, "actualJobIds": ["x".repeat(129)] }), "actualJobIds"),
        (json!({ "expected": {}, "actual": {}, "expectedJobIds": [1] }), "expectedJobIds[0]"),
        (json!({ "expected": {}, "actual": {}, "latencyMs": -1 }), "latencyMs"),
        (json!({ "expected": {}, "actual": {}, "at": "yesterday" }), "at"),
        (json!({ "expected": {}, "actual": {}, "missing": [] }), "missing"),
    ] {
        let problem = send_report(&server, "billing", &[], &body).await.problem(400, "invalid-request");
        assert_eq!(field(&problem), wrong, "{problem}");
    }
    for (name, body, wrong) in [
        ("log", json!({ "reportEverySeconds": 5 }), "service"),
        ("documents%2Fgames", json!({ "reportEverySeconds": 5 }), "service"),
        ("a%20b", json!({ "reportEverySeconds": 5 }), "service"),
        ("mail", json!({ "reportEverySeconds": 0 }), "reportEverySeconds"),
        ("mail", json!({ "reportEverySeconds": 86_401 }), "reportEverySeconds"),
        ("mail", json!({}), "reportEverySeconds"),
        ("mail", json!({ "reportEverySeconds": 5, "description": "x".repeat(1001) }), "description"),
        ("mail", json!({ "reportEverySeconds": 5, "owner": "me" }), "owner"),
    ] {
        let problem =
            server.tell("PUT", &format!("{SERVICES}/{name}"), &[], &body).await.problem(400, "invalid-request");
        assert_eq!(field(&problem), wrong, "{problem}");
    }
    for (query, wrong) in [
        ("status=fine", "status"),
        ("since=now", "since"),
        ("until=1", "until"),
        ("limit=0", "limit"),
        ("limit=501", "limit"),
        ("cursor=!", "cursor"),
        ("cursor=eA", "cursor"),
        ("service=a&service=b", "service"),
        ("sort=at", "sort"),
    ] {
        let problem = server.ask("GET", &format!("/reconciliation/audit?{query}"), &[]).await;
        assert_eq!(field(&problem.problem(400, "invalid-request")), wrong, "{query}");
    }
    assert_eq!(audit(&server, "").await, Vec::<Value>::new());
    assert_eq!(server.get(SERVICES).await.1["items"].as_array().map(Vec::len), Some(1));
    // The most that fits.
    let most = json!({
        "expected": counts(100), "actual": counts(100), "expectedJobIds": many(1000), "actualJobIds": many(1000)
    });
    assert_eq!(report(&server, "billing", &most).await["verdict"]["status"], "verified");
}

#[tokio::test]
async fn the_audit_is_read_in_pages_and_by_what_is_asked_for() {
    let server = start(&[]).await;
    register(&server, "mail", 3600).await;
    for actual in 0..7 {
        report(&server, if actual % 2 == 0 { "billing" } else { "mail" }, &rows(3, actual)).await;
    }
    let all = audit(&server, "limit=500").await;
    assert_eq!(all.len(), 7);
    assert!(all.is_sorted_by_key(|row| std::cmp::Reverse(row["at"].as_str().map(str::to_owned))));
    let (mut paged, mut cursor) = (Vec::new(), String::new());
    loop {
        let (status, page) = server.get(&format!("/reconciliation/audit?limit=3{cursor}")).await;
        assert_eq!(status, 200);
        paged.extend(page["items"].as_array().unwrap().clone());
        match page["nextCursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
    }
    assert_eq!(paged, all);
    let of = |name: &str| all.iter().filter(|row| row["service"] == name).cloned().collect::<Vec<_>>();
    assert_eq!(audit(&server, "service=mail").await, of("mail"));
    assert_eq!(audit(&server, "status=verified").await.len(), 1);
    assert_eq!(audit(&server, "status=verified&service=billing").await.len(), 0);
    let middle = all[3]["at"].as_str().unwrap();
    let since = audit(&server, &format!("since={middle}")).await;
    assert!(since.len() >= 4 && since.iter().all(|row| row["at"].as_str() >= Some(middle)), "{since:?}");
    let until = audit(&server, &format!("until={middle}")).await;
    assert!(until.len() >= 4 && until.iter().all(|row| row["at"].as_str() <= Some(middle)), "{until:?}");
    let list = server.get(&format!("{SERVICES}?limit=1")).await.1;
    assert_eq!(list["items"][0]["service"], "billing");
    let next = format!("{SERVICES}?limit=1&cursor={}", list["nextCursor"].as_str().unwrap());
    let last = server.get(&next).await.1;
    assert_eq!((&last["items"][0]["service"], &last["nextCursor"]), (&json!("mail"), &Value::Null));
}

#[tokio::test]
async fn the_audit_has_a_bound_and_what_is_in_force_survives_it() {
    let mut server = start(&["--reconciliation-rows", "5"]).await;
    register(&server, "mail", 3600).await;
    let mail = report(&server, "mail", &rows(1, 1)).await["verdict"].clone();
    let mut first = Value::Null;
    for actual in 0..20 {
        let told = report(&server, "billing", &rows(50, actual)).await["verdict"].clone();
        if actual == 1 {
            first = told;
        }
        assert!(audit(&server, "").await.len() <= 6);
    }
    let kept = audit(&server, "").await;
    assert!(kept.len() >= 4 && kept.contains(&mail), "the verdict in force of mail is the oldest row");
    server.kill();
    server.start_again();
    assert_eq!(in_force(&server, "mail").await, Some(mail));
    // Whoever was away for longer than rows are kept is told so.
    let mut back = follow(&server, Some(first["eventId"].as_str().unwrap())).await;
    assert_eq!(back.expect("snapshot").await.data["reason"], "trimmed");
    let job = "/api/v1/admin/jobs/reconciliation-audit-trim/run";
    let dry = server.tell("POST", &format!("{job}?dryRun=true"), &[], "{}").await.expect(200).body;
    assert_eq!(dry["counts"]["old"], 0);
    server.start_again_with_rows(2).await;
    let real = server.tell("POST", job, &[], "{}").await.expect(200).body;
    assert!(real["counts"]["tooMany"].as_u64() >= Some(2), "{real}");
    assert_eq!(audit(&server, "").await.len(), 2);
}

impl Process {
    async fn start_again_with_rows(&mut self, rows: u32) {
        self.kill();
        let rows = rows.to_string();
        self.start_again_with(&["--reconciliation-seconds", "0", "--reconciliation-rows", &rows]);
    }
}

#[tokio::test]
async fn dashboards_count_among_the_streams_of_their_user() {
    let server = start(&["--streams-per-user-max", "2"]).await;
    let (_first, second) = (follow(&server, None).await, follow(&server, None).await);
    assert_eq!(server.ask("GET", STREAM, &[]).await.problem(429, "too-many-streams")["limit"], 2);
    let mut back = follow(&server, Some("1-00000000")).await;
    assert_eq!(back.expect("bye").await.data["reason"], "too-many-streams", "whoever resumes is asked to come back");
    assert!(Follower::connect(&format!("{}{STREAM}", server.url), Some("alice"), None).await.is_ok());
    drop(second);
    let end = Instant::now() + Duration::from_secs(20);
    while Follower::connect(&format!("{}{STREAM}", server.url), None, None).await.is_err() {
        assert!(Instant::now() < end, "the place is free again");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
