//! What the server does by itself, as its owner sees it.

use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::history::history_after;
use crate::support::{AS, Follower, Process};

const JOBS: &str = "/api/v1/admin/jobs";

async fn list(server: &Process) -> Vec<Value> {
    let (status, body) = server.get(JOBS).await;
    assert_eq!(status, 200, "{body}");
    body["items"].as_array().unwrap().clone()
}

async fn job(server: &Process, name: &str) -> Value {
    let jobs = list(server).await;
    jobs.into_iter().find(|job| job["name"] == name).unwrap_or_else(|| panic!("no job {name}"))
}

#[tokio::test]
async fn the_owner_sees_the_jobs_and_runs_one_dry_and_for_real() {
    let server = Process::start(&[]);
    assert_eq!(server.post("/api/v1/games", &json!({ "id": "g1", "state": {} })).await.0, 201);
    for name in ["job-log-trim", "games-cleanup"] {
        let job = job(&server, name).await;
        assert_eq!(
            (&job["schedule"], &job["canDryRun"], &job["runs"]),
            (&json!("every hour"), &json!(true), &json!([]))
        );
        let (now, next) = (server.ask("GET", "/healthz", &[]).await, job["nextRun"].as_str().unwrap().to_owned());
        assert!(next.ends_with(":00:00.000Z") && now.status == 200, "{next}");
    }

    let dry = server.ask("POST", &format!("{JOBS}/games-cleanup/run?dryRun=true"), &[]).await.expect(200).body;
    assert_eq!(
        (&dry["outcome"], &dry["dryRun"], &dry["trigger"]),
        (&json!("succeeded"), &json!(true), &json!("request"))
    );
    assert_eq!(dry["counts"], json!({ "abandoned": 0, "compacted": 0, "completed": 0, "failed": 0, "tokens": 0 }));
    let real = server.tell("POST", &format!("{JOBS}/games-cleanup/run"), &[], "{}").await.expect(200).body;
    assert_eq!((&real["outcome"], &real["dryRun"]), (&json!("succeeded"), &json!(false)));
    assert_eq!(server.get("/api/v1/games/g1").await.0, 200, "it is young");
    let runs = job(&server, "games-cleanup").await["runs"].clone();
    assert_eq!(runs, json!([real, dry]), "newest first");
    assert!(runs[0]["durationMs"].as_i64().is_some_and(|took| (0..10_000).contains(&took)), "{runs}");
}

#[tokio::test]
async fn nobody_else_sees_or_runs_them_and_nonsense_is_refused() {
    let server = Process::start(&[]);
    let run = format!("{JOBS}/job-log-trim/run");
    let alice = [(AS, "alice")];
    server.ask("GET", JOBS, &alice).await.problem(403, "forbidden");
    server.ask("POST", &run, &alice).await.problem(403, "forbidden");
    server.ask("POST", &format!("{JOBS}/no-such-job/run"), &alice).await.problem(403, "forbidden");

    server.ask("POST", &format!("{JOBS}/no-such-job/run"), &[]).await.problem(404, "not-found");
    server.ask("POST", &format!("{run}?dryRun=maybe"), &[]).await.problem(400, "invalid-request");
    server.ask("POST", &format!("{run}?dry=true"), &[]).await.problem(400, "invalid-request");
    server.tell("POST", &run, &[], json!({ "dryRun": true })).await.problem(400, "invalid-request");
    server.tell("POST", &run, &[("content-type", "text/plain")], "").await.problem(415, "unsupported-media-type");
    server.ask("GET", &run, &[]).await.problem(405, "method-not-allowed");
    assert_eq!(job(&server, "job-log-trim").await["runs"], json!([]), "nothing ran");
}

#[tokio::test]
async fn every_job_is_there_and_runs() {
    let mut server = Process::start(&[]);
    for (name, schedule, counts) in [
        ("job-log-trim", "every hour", &["runs"][..]),
        ("games-cleanup", "every hour", &["tokens"]),
        ("history-trim", "every hour", &["looked", "documents", "events", "failed"]),
        ("storage-optimize", "every hour", &["optimized", "walFrames", "walEmptied"]),
        ("sessions-cleanup", "every hour", &["expired"]),
        ("invitations-cleanup", "every hour", &["forgotten"]),
        ("collection-deletions", "every hour", &["deleted", "refused"]),
        ("reconciliation-audit-trim", "every hour", &[]),
        ("usage-reset", "every day at 00:05 UTC", &["due", "reset", "failed", "months"]),
        ("backup", "every day at 03:30 UTC", &["bytes", "removed"]),
    ] {
        assert_eq!(job(&server, name).await["schedule"], schedule, "{name}");
        let run = server.tell("POST", &format!("{JOBS}/{name}/run"), &[], "{}").await.expect(200).body;
        assert_eq!((&run["outcome"], &run["job"]), (&json!("succeeded"), &json!(name)), "{run}");
        assert!(counts.iter().all(|count| run["counts"][count].is_u64()), "{run}");
        assert_eq!(job(&server, name).await["runs"], json!([run]), "it is on record");
    }
    assert_eq!(list(&server).await.len(), 10, "one that is new is tried here too");
    server.kill();
    server.start_again();
    assert_eq!(
        job(&server, "storage-optimize").await["runs"].as_array().unwrap().len(),
        1,
        "the file is as good as before"
    );
}

#[tokio::test]
async fn a_lowered_bound_of_history_holds_for_documents_that_nobody_changes_too() {
    let mut server = Process::start(&[]);
    for round in 0..50 {
        server.put("/api/v1/maps/idle", &json!({ "round": round })).await;
    }
    let early = server.ask("GET", "/api/v1/maps/idle/events?limit=10", &[]).await.expect(200).body;
    let (seq, hash) = (early["items"][9]["seq"].clone(), early["items"][9]["hash"].as_str().unwrap().to_owned());
    let position = format!("{seq}-{}", &hash[..12]);
    let state = server.get("/api/v1/maps/idle").await;
    server.terminate();
    server.start_again_with(&["--history-events=8"]);
    assert_eq!(history_after(&server, "maps/idle", 0).await.len(), 50);
    let run = server.tell("POST", &format!("{JOBS}/history-trim/run"), &[], "{}").await.expect(200).body;
    assert_eq!((&run["counts"]["documents"], &run["counts"]["events"]), (&json!(1), &json!(42)), "{run}");
    assert_eq!(history_after(&server, "maps/idle", 42).await.len(), 8);
    assert_eq!(server.get("/api/v1/maps/idle").await, state);
    server.ask("GET", "/api/v1/maps/idle?version=41", &[]).await.problem(410, "gone");
    let url = format!("{}/api/v1/maps/idle/events", server.url);
    let mut back = Follower::connect(&url, None, Some(&position)).await.unwrap();
    assert_eq!(back.expect("snapshot").await.data["reason"], "trimmed");
}

/// A server with a slow job of its own.
fn chores() -> Process {
    let built = std::process::Command::new(env!("CARGO")).args(["build", "--locked", "--example", "chores"]).status();
    assert!(built.unwrap().success());
    let program = Path::new(env!("CARGO_BIN_EXE_rejoin")).with_file_name("examples").join("chores");
    Process::start_program(&program, &[], &[])
}

/// Waits until the runs of the slow job are as wanted, newest first: why each began and how it stands.
async fn until_runs(server: &Process, wanted: &[(&str, &str)]) -> Value {
    let end = Instant::now() + Duration::from_secs(20);
    loop {
        let runs = job(server, "stock-take").await["runs"].clone();
        let told = runs.as_array().unwrap().iter();
        let told: Vec<_> =
            told.map(|run| (run["trigger"].as_str().unwrap(), run["outcome"].as_str().unwrap())).collect();
        if told == wanted {
            return runs;
        }
        assert!(Instant::now() < end, "{runs}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn a_run_that_a_kill_broke_off_is_told_as_interrupted_and_made_up_for() {
    let mut server = chores();
    for index in 0..100 {
        let (status, _) = server.put(&format!("/api/v1/stock/thing{index}"), &json!({})).await;
        assert_eq!(status, 201);
    }
    let run = format!("{JOBS}/stock-take/run");
    server.ask("POST", &format!("{run}?dryRun=true"), &[]).await.problem(400, "invalid-request");
    // Its answer would come after seconds, and the kill comes first.
    let asked = tokio::spawn(server.request("POST", &run).send());
    until_runs(&server, &[("request", "running")]).await;
    server.ask("POST", &run, &[]).await.problem(409, "already-exists");
    server.kill();
    assert!(asked.await.unwrap().is_err(), "the server ended");

    server.start_again();
    let runs = until_runs(&server, &[("make-up", "running"), ("request", "interrupted")]).await;
    assert_eq!((&runs[1]["endedAt"], &runs[1]["durationMs"]), (&Value::Null, &Value::Null), "nobody knows");
    // A stop in good order breaks off too: it does not wait for what it can do again.
    assert_eq!(server.terminate().code(), Some(0));
    server.start_again();
    until_runs(&server, &[("make-up", "running"), ("make-up", "interrupted"), ("request", "interrupted")]).await;
}
