//! A feature from outside the crate: `examples/highscores`, built from the public interface alone.

use std::path::Path;

use rejoin::utoipa_axum::routes;
use rejoin::{Config, Consumer, Feature, Kind, ProblemType, Routes, Server, StartError, utoipa};
use serde_json::{Value, json};

use crate::support::{Follower, Process};

/// The program of an example, built.
fn example(name: &str) -> std::path::PathBuf {
    let built = std::process::Command::new(env!("CARGO")).args(["build", "--locked", "--example", name]).status();
    assert!(built.unwrap().success());
    Path::new(env!("CARGO_BIN_EXE_rejoin")).with_file_name("examples").join(name)
}

async fn list(server: &Process) -> Value {
    server.ask("GET", "/api/v1/highscores", &[]).await.expect(200).body
}

async fn score(server: &Process, id: &str, player: &str, score: i64) -> u16 {
    server.put(&format!("/api/v1/scores/{id}"), &json!({ "player": player, "score": score })).await.0
}

#[tokio::test]
async fn rows_of_a_feature_are_stored_with_the_change_that_made_them_also_through_kill_9() {
    let mut server = Process::start_program(&example("highscores"), &[], &[]);
    assert_eq!(list(&server).await, json!([]));
    assert_eq!(score(&server, "s1", "ann", 12).await, 201);
    assert_eq!(score(&server, "s2", "bob", 30).await, 201);
    assert_eq!(score(&server, "s1", "ann", 7).await, 200);
    let best = json!([{ "player": "bob", "score": 30 }, { "player": "ann", "score": 12 }]);
    assert_eq!(list(&server).await, best);
    server.kill();
    server.start_again();
    assert_eq!(list(&server).await, best, "what was acknowledged is there, in both");
    assert_eq!(server.get("/api/v1/scores/s1").await.1["state"], json!({ "player": "ann", "score": 7 }));
    assert_eq!(score(&server, "s3", "ann", 99).await, 201);
    assert_eq!(list(&server).await[0], json!({ "player": "ann", "score": 99 }));
    assert_eq!(server.terminate().code(), Some(0));
}

#[tokio::test]
async fn a_hook_refuses_a_change_with_a_problem_that_has_a_page() {
    let server = Process::start_program(&example("highscores"), &[], &[]);
    let body = json!({ "state": { "player": "eve", "score": 2_000_000 } }).to_string();
    let problem = server.tell("PUT", "/api/v1/scores/s1", &[], &body).await.problem(422, "score-impossible");
    assert_eq!(problem["scoreMax"], 1_000_000, "{problem}");
    let operation = |id: &str, score: i64| {
        let state = json!({ "player": "eve", "score": score });
        json!({ "op": "put", "collection": "scores", "id": id, "state": state })
    };
    let batch = json!({ "operations": [operation("s1", 5), operation("s2", -5)] }).to_string();
    let problem = server.tell("POST", "/api/v1/batch", &[], &batch).await.problem(422, "score-impossible");
    assert_eq!(problem["index"], 1, "{problem}");
    server.tell("PUT", "/api/v1/scores/s1", &[], r#"{"state":{"score":1}}"#).await.problem(400, "invalid-request");
    assert_eq!(server.get("/api/v1/scores/s1").await.0, 404, "nothing of what was refused is stored");
    assert_eq!(list(&server).await, json!([]));
    assert_eq!(
        server.put("/api/v1/notes/n1", &json!({ "score": "none" })).await.0,
        201,
        "of other collections anything"
    );
    let page =
        server.ask("GET", "/problems/score-impossible", &[("accept", "application/json")]).await.expect(200).body;
    assert_eq!((&page["status"], &page["slug"]), (&json!([422]), &json!("score-impossible")));
    let index = server.ask("GET", "/problems", &[("accept", "application/json")]).await.expect(200).body;
    assert!(index["items"].as_array().unwrap().contains(&page), "{index}");
}

#[tokio::test]
async fn its_call_is_described_its_job_runs_and_its_table_is_read_with_sqlite3() {
    let mut server = Process::start_program(&example("highscores"), &[], &[]);
    let description = server.ask("GET", "/openapi.json", &[]).await.expect(200).body;
    let call = &description["paths"]["/api/v1/highscores"]["get"];
    assert_eq!(call["operationId"], "listHighscores", "{call}");
    assert_eq!(description["components"]["schemas"]["Score"]["properties"]["score"]["type"], "integer");
    server.ask("POST", "/api/v1/highscores", &[]).await.problem(405, "method-not-allowed");
    let tag = json!({ "name": "highscores", "description": "The best score of each player." });
    assert!(description["tags"].as_array().unwrap().contains(&tag), "{}", description["tags"]);
    assert_eq!(description["components"]["schemas"]["Problem"]["properties"]["scoreMax"]["type"], "integer");
    for (path, method) in [
        ("/api/v1/{collection}", "post"),
        ("/api/v1/{collection}/{id}", "put"),
        ("/api/v1/{collection}/{id}", "delete"),
        ("/api/v1/{collection}/{id}/sync", "post"),
        ("/api/v1/batch", "post"),
    ] {
        let refused = &description["paths"][path][method]["responses"]["422"];
        let schema = &refused["content"]["application/problem+json"]["schema"]["allOf"];
        let types = schema[1]["properties"]["type"]["enum"].as_array().unwrap();
        assert!(types.contains(&json!("/problems/score-impossible")), "{method} {path}: {refused}");
    }

    let operations = |from: usize| {
        let puts = (from..from + 60).map(|number| {
            let state = json!({ "player": format!("p{number}"), "score": number });
            json!({ "op": "put", "collection": "scores", "id": format!("s{number}"), "state": state })
        });
        json!({ "operations": puts.collect::<Vec<_>>() }).to_string()
    };
    for from in [0, 60] {
        server.tell("POST", "/api/v1/batch", &[], &operations(from)).await.expect(200);
    }
    let run = server.tell("POST", "/api/v1/admin/jobs/highscores-trim/run", &[], "{}").await.expect(200).body;
    assert_eq!((&run["outcome"], &run["counts"]), (&json!("succeeded"), &json!({ "forgotten": 20 })));
    assert_eq!(list(&server).await.as_array().unwrap().len(), 100);
    let database = server.data_dir().join("rejoin.db");
    assert_eq!(server.terminate().code(), Some(0));
    let conn = rusqlite::Connection::open(database).unwrap();
    let least: i64 = conn.query_row("SELECT min(score) FROM highscores_best", (), |row| row.get(0)).unwrap();
    assert_eq!(least, 20);
}

/// Who changed how many scores, once the consumer has caught up.
async fn writers(server: &Process) -> Value {
    for _ in 0..600 {
        let consumers = server.ask("GET", "/api/v1/admin/consumers", &[]).await.expect(200).body;
        let items = consumers["items"].as_array().unwrap();
        let consumer = items.iter().find(|item| item["name"] == "highscores-writers").unwrap();
        assert_eq!((&consumer["collections"], &consumer["error"]), (&json!(["scores"]), &Value::Null));
        if consumer["lag"] == json!({ "changes": 0, "more": false, "milliseconds": 0 }) {
            return server.ask("GET", "/api/v1/highscores/writers", &[]).await.expect(200).body;
        }
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    panic!("the consumer did not catch up within a minute");
}

#[tokio::test]
async fn a_consumer_counts_each_change_once_however_often_the_server_is_killed() {
    let mut server = Process::start_program(&example("highscores"), &[], &[]);
    assert_eq!(writers(&server).await, json!([]));
    let mut changes = 0;
    for round in 0..8 {
        for number in 0..40 {
            let status = score(&server, &format!("s{}", number % 7), "ann", round * 100 + number).await;
            assert!(matches!(status, 200 | 201), "{status}");
            assert_eq!(server.put("/api/v1/notes/n1", &json!({ "number": number })).await.0 / 100, 2);
            changes += 1;
            // Sometimes at once after a change, sometimes in the middle of what is made of it.
            if number == 20 + round {
                tokio::time::sleep(std::time::Duration::from_millis(u64::try_from(round).unwrap() * 10)).await;
                server.kill();
                server.start_again();
            }
        }
        if round % 3 == 0 {
            assert_eq!(writers(&server).await[0]["changes"], changes, "round {round}");
        }
    }
    let all = writers(&server).await;
    assert_eq!((all.as_array().unwrap().len(), &all[0]["changes"]), (1, &json!(changes)), "{all}");
    assert_eq!(server.terminate().code(), Some(0));
    server.start_again();
    assert_eq!(writers(&server).await, all, "nothing is handled again after a stop");
}

/// A feature may come to a database that has documents under the word of its calls.
#[tokio::test]
async fn in_a_collection_that_a_feature_reserves_nothing_is_created_and_what_is_there_stays() {
    let mut server = Process::start(&[]);
    let (document, stream) = ("/api/v1/highscores/h1", "/api/v1/stream?doc=highscores/h1");
    assert_eq!(server.put(document, &json!({ "of": "before" })).await.0, 201);
    assert_eq!(server.terminate().code(), Some(0));
    server.start_again_as(&example("highscores"));

    assert_eq!(server.get(document).await.1["state"], json!({ "of": "before" }));
    assert_eq!(list(&server).await, json!([]), "the feature's own call is where the collection's was");
    let batch = |operation: Value| json!({ "operations": [operation] }).to_string();
    let change = json!({ "op": "patch", "collection": "highscores", "id": "h1", "patch": { "of": "now" } });
    server.tell("POST", "/api/v1/batch", &[], &batch(change)).await.expect(200);
    let mut follower = Follower::connect(&format!("{}{stream}", server.url), None, None).await.unwrap();
    assert_eq!(follower.expect("snapshot").await.data["documents"][0]["state"], json!({ "of": "now" }));

    for id in ["h2", "h1"] {
        let create = json!({ "op": "create", "collection": "highscores", "id": id, "state": {} });
        let problem = server.tell("POST", "/api/v1/batch", &[], &batch(create)).await;
        let (status, slug) = if id == "h1" { (409, "already-exists") } else { (400, "invalid-request") };
        problem.problem(status, slug);
    }
    let problem = server.tell("PUT", "/api/v1/highscores/h2", &[], r#"{"state":{}}"#).await;
    assert_eq!(problem.problem(400, "invalid-request")["errors"][0]["field"], "collection");
    server.tell("DELETE", document, &[], "").await.expect(200);
    server.tell("PUT", document, &[], r#"{"state":{}}"#).await.problem(400, "invalid-request");
    assert_eq!(server.terminate().code(), Some(0));
}

static NOT_FOUND: ProblemType =
    ProblemType { slug: "not-found", kind: Kind::NotFound, title: "a", meaning: "b", remedy: "c" };

/// A call that the server has already.
#[utoipa::path(get, path = "/healthz", responses((status = 200, description = "Well.")))]
async fn health() {}

/// A path that the server has already, its parameters under other names.
#[utoipa::path(get, path = "/api/v1/{kind}/{name}", responses((status = 200, description = "It.")))]
async fn thing() {}

/// What the server calls a schema of its own, and describes in another way.
#[derive(serde::Serialize, utoipa::ToSchema)]
#[schema(as = Document)]
struct Applause {
    loud: bool,
}

#[utoipa::path(get, path = "/api/v1/claps-of", responses((status = 200, description = "It.", body = Applause)))]
async fn applause() {}

#[tokio::test]
async fn a_feature_that_does_not_go_together_with_the_others_is_refused_at_the_start() {
    let told = async |feature: Feature| {
        let directory = tempfile::tempdir().unwrap();
        let listen = "127.0.0.1:0".parse().unwrap();
        let config = Config { listen, data_dir: directory.path().join("data"), ..Config::default() };
        match Server::builder().config(config).feature(feature).start().await {
            Err(error @ (StartError::Feature(..) | StartError::Problem(..))) => error.to_string(),
            Err(error) => panic!("{error}"),
            Ok(_) => "started".to_owned(),
        }
    };
    for (feature, expected) in [
        (Feature::new("games"), "the feature 'games': there is a feature of this name already"),
        (Feature::new("Claps"), "the feature 'Claps': a feature is called by words"),
        (Feature::new("claps").tables("CREATE TABLE claps_each (a"), "the feature 'claps': its tables: "),
        (Feature::new("claps").tables("CREATE TABLE each (a)"), "the feature 'claps': its tables: "),
        (Feature::new("claps").tables("DROP TABLE games"), "the feature 'claps': its tables: it makes or changes"),
        (Feature::new("claps").problem(&NOT_FOUND), "the problem type 'not-found': another problem type has this slug"),
        (
            Feature::new("claps").reserves(&["Claps!"]),
            "the feature 'claps': it reserves 'Claps!': a collection is 1 to 63",
        ),
        (
            Feature::new("claps").routes(Routes::new().routes(routes!(health))),
            "the feature 'claps': its routes: another has GET /healthz",
        ),
        (
            Feature::new("claps").routes(Routes::new().routes(routes!(thing))),
            "the feature 'claps': its routes: /api/v1/{kind}/{name} is called /api/v1/{collection}/{id} by another",
        ),
        (
            Feature::new("claps").routes(Routes::new().routes(routes!(applause))),
            "the feature 'claps': its routes: another has a schema Document too",
        ),
        (
            Feature::new("claps").consumer(Consumer::new("claps", &[], |_, _| Ok(()))),
            "the feature 'claps': its consumer 'claps' reads no collection",
        ),
        (
            Feature::new("claps").consumer(Consumer::new("claps", &["notes"], |_, _| Ok(()))).consumer(Consumer::new(
                "claps",
                &["lists"],
                |_, _| Ok(()),
            )),
            "the feature 'claps': its consumer 'claps' is there already",
        ),
        (Feature::new("claps"), "started"),
    ] {
        let told = told(feature).await;
        assert!(told.starts_with(expected), "{told}");
    }
}
