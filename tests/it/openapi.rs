//! What the server says of itself at `/openapi.json`, compared with what it does.

mod answers;

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::support::Process;
use crate::support::process;

const LIMITS: &str = "/api/v1/admin/rate-limits";
const METHODS: [&str; 5] = ["get", "put", "post", "patch", "delete"];

/// The id of something that has none that is known beforehand.
const UNKNOWN: &str = "none";

/// A described operation.
struct Operation<'a> {
    path: &'a str,
    method: &'a str,
    says: &'a Value,
}

async fn description(server: &Process) -> Value {
    let (status, description) = server.get("/openapi.json").await;
    assert_eq!(status, 200);
    description
}

fn operations(description: &Value) -> Vec<Operation<'_>> {
    let paths = description["paths"].as_object().unwrap();
    let methods =
        paths.iter().flat_map(|(path, item)| item.as_object().unwrap().iter().map(move |found| (path, found)));
    methods.map(|(path, (method, says))| Operation { path, method, says }).collect()
}

impl Operation<'_> {
    fn name(&self) -> String {
        format!("{} {}", self.method, self.path)
    }

    /// A path that it answers, about a document that is there.
    fn example(&self) -> String {
        self.path
            .replace("{collection}", "games")
            .replace("{id}", "g1")
            .replace("{gameId}", "g1")
            .replace("{playerId}", "alice")
            .replace("{ruleId}", "calm")
            .replace("{slug}", "gone")
            .replace("{chapter}", "games")
            .replace("{asset}", "app.js")
            .replace("{file}", "rejoin.js")
            .replace("{name}", "job-log-trim")
            .replace("{userId}", "alice")
            .replace("{service}", "billing")
            .replace("{conflictId}", UNKNOWN)
            .replace("{warningId}", UNKNOWN)
            .replace("{deletionId}", UNKNOWN)
    }

    /// The problem types that it lists.
    fn problems(&self) -> BTreeSet<String> {
        let mut found = BTreeSet::new();
        for (status, answer) in self.says["responses"].as_object().unwrap() {
            let parts = &answer["content"]["application/problem+json"]["schema"]["allOf"];
            for kind in parts[1]["properties"]["type"]["enum"].as_array().into_iter().flatten() {
                assert!(status.starts_with(['4', '5']), "{}: {status}", self.name());
                found.insert(kind.as_str().unwrap().to_owned());
            }
        }
        found
    }
}

async fn start() -> (Process, Value) {
    let server = Process::start(&[]);
    let (status, _) = server.post("/api/v1/games", &json!({ "id": "g1", "state": { "round": 1 } })).await;
    assert_eq!(status, 201);
    let (status, _) = server.post("/api/v1/projects", &json!({ "id": "g1", "state": { "name": "The Tale" } })).await;
    assert_eq!(status, 201);
    let limit = json!({ "bucketCapacity": 9, "refillRate": 9, "windowSeconds": 9 });
    let (status, answer) =
        process::json(server.request("PUT", &format!("{LIMITS}/configs/alice")).json(&limit).send().await.unwrap())
            .await;
    assert_eq!(status, 201, "{answer}");
    let mut rule = limit;
    (rule["id"], rule["name"], rule["endpointPattern"]) = ("calm".into(), "Calm".into(), "/nothing/**".into());
    let (status, answer) = server.post(&format!("{LIMITS}/rules"), &rule).await;
    assert_eq!(status, 201, "{answer}");
    let subscription = json!({
        "plan": "gold", "status": "active",
        "currentPeriodStart": "2026-01-01T00:00:00Z", "currentPeriodEnd": "2026-02-01T00:00:00Z",
    });
    let set = server.tell("PUT", "/api/v1/admin/subscriptions/alice", &[], subscription).await;
    assert_eq!(set.status, 201);
    let service = server.request("PUT", "/reconciliation/services/billing").json(&json!({ "reportEverySeconds": 60 }));
    assert_eq!(service.send().await.unwrap().status(), 201);
    let description = description(&server).await;
    (server, description)
}

/// That no route is without a description, the fences see to: only `routes!` makes routes.
#[tokio::test]
async fn each_path_takes_the_described_methods_and_no_other() {
    let (server, description) = start().await;
    let operations = operations(&description);
    assert!(operations.len() >= 16, "{}", operations.len());
    for operation in &operations {
        let described = |method: &str| operations.iter().any(|o| o.path == operation.path && o.method == method);
        let path = operation.example();
        for method in METHODS {
            // A media type that nobody takes: what is described is refused before it changes anything.
            let request = server.request(&method.to_uppercase(), &path).header("content-type", "text/x-none");
            if method == "delete" && described(method) {
                continue;
            }
            let response = request.send().await.unwrap();
            if response.headers().get("content-type").is_some_and(|kind| kind == "text/event-stream") {
                assert!(described(method), "{method} {path} is a stream");
                continue;
            }
            let (status, answer) = process::json(response).await;
            assert_eq!(status != 405, described(method), "{method} {path}: {status} {answer}");
            assert!(status != 404 || path.contains(UNKNOWN), "{method} {path}: {answer}");
        }
    }
    let (status, _) = process::json(server.request("DELETE", "/api/v1/games/g1").send().await.unwrap()).await;
    assert_eq!(status, 200, "the one method that the loop leaves out");
}

#[tokio::test]
async fn each_problem_that_is_listed_has_a_page_and_each_page_is_reachable() {
    let (server, description) = start().await;
    let listed: BTreeSet<String> = operations(&description).iter().flat_map(Operation::problems).collect();
    for kind in &listed {
        assert_eq!(server.get(kind).await.0, 200, "{kind}");
    }
    let (_, index) = json_of(&server, "/problems").await;
    let pages =
        index["items"].as_array().unwrap().iter().map(|page| format!("/problems/{}", page["slug"].as_str().unwrap()));
    let unlisted: Vec<String> = pages.filter(|page| !listed.contains(page)).collect();
    let before = ["/problems/method-not-allowed", "/problems/game-moved"];
    // What games have types of their own for.
    let general = ["/problems/moved", "/problems/frozen"];
    // A form of `damaged-document` that any read of a feature's rows may end with.
    let any = ["/problems/changed-row"];
    let of_none: BTreeSet<&str> = before.into_iter().chain(general).chain(any).collect();
    let unlisted: BTreeSet<&str> = unlisted.iter().map(String::as_str).collect();
    assert_eq!(unlisted, of_none, "those are of no operation: they are said before one is reached, or by any");
}

async fn json_of(server: &Process, path: &str) -> (u16, Value) {
    process::json(server.request("GET", path).header("accept", "application/json").send().await.unwrap()).await
}

/// What OpenAPI 3.1 demands, as far as a description like this one can go wrong.
#[tokio::test]
async fn the_description_is_of_one_piece() {
    let (_server, description) = start().await;
    assert_eq!(description["openapi"], "3.1.0");
    assert_eq!(description["info"]["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(description["info"]["license"]["name"], "MIT");
    let mut ids = BTreeSet::new();
    let tags: BTreeSet<&str> =
        description["tags"].as_array().unwrap().iter().map(|tag| tag["name"].as_str().unwrap()).collect();
    for operation in operations(&description) {
        let (name, says) = (operation.name(), operation.says);
        assert!(ids.insert(says["operationId"].as_str().unwrap().to_owned()), "{name}: its operationId is taken");
        assert!(says["summary"].is_string() && tags.contains(says["tags"][0].as_str().unwrap()), "{name}");
        let empty = Vec::new();
        let parameters = says["parameters"].as_array().unwrap_or(&empty);
        let mut seen = BTreeSet::new();
        for parameter in parameters {
            let place = (parameter["in"].as_str().unwrap(), parameter["name"].as_str().unwrap());
            assert!(seen.insert(place), "{name}: {place:?} twice");
            assert!(parameter["description"].is_string() && parameter["schema"].is_object(), "{name}: {place:?}");
            assert!(place.0 != "path" || parameter["required"] == true, "{name}: {place:?}");
        }
        let declared: BTreeSet<&str> =
            seen.iter().filter(|(place, _)| *place == "path").map(|(_, name)| *name).collect();
        let named: BTreeSet<&str> =
            operation.path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}')).collect();
        assert_eq!(declared, named, "{name}");
        for (status, answer) in says["responses"].as_object().unwrap() {
            assert!(answer["description"].as_str().is_some_and(|text| !text.is_empty()), "{name}: {status}");
            assert!(status.parse::<u16>().is_ok_and(|status| (200..600).contains(&status)), "{name}: {status}");
        }
    }
    check_references(&description, &description);
}

fn check_references(description: &Value, value: &Value) {
    match value {
        Value::Object(members) => {
            if let Some(reference) = members.get("$ref").and_then(Value::as_str) {
                assert!(description.pointer(reference.trim_start_matches('#')).is_some(), "{reference}");
            }
            members.values().for_each(|member| check_references(description, member));
        }
        Value::Array(items) => items.iter().for_each(|item| check_references(description, item)),
        _ => {}
    }
}

/// A call under a name that is no collection's must not hide documents of one, nor a collection be made that calls
/// hide.
#[tokio::test]
async fn no_collection_is_called_as_the_servers_own_calls_are() {
    /// Collections with calls of their own beside those of every document.
    const COLLECTIONS: [&str; 2] = ["games", "projects"];
    const RESERVED: [&str; 12] = [
        "admin",
        "batch",
        "collections",
        "conflicts",
        "flags",
        "invitations",
        "me",
        "notifications",
        "service-tokens",
        "sessions",
        "stream",
        "usage",
    ];
    let (server, description) = start().await;
    let first = |operation: &Operation<'_>| {
        let name = operation.path.strip_prefix("/api/v1/")?.split('/').next()?.to_owned();
        Some(name).filter(|name| !name.starts_with('{'))
    };
    let names: BTreeSet<String> = operations(&description).iter().filter_map(first).collect();
    assert!(names.contains("admin") && names.contains("games"), "{names:?}");
    for name in &names {
        let kept = RESERVED.contains(&name.as_str());
        assert!(kept || COLLECTIONS.contains(&name.as_str()), "{name} is to be reserved");
    }
    for name in RESERVED {
        let refused = server.tell("PUT", &format!("/api/v1/{name}/d1"), &[], json!({ "state": {} })).await;
        if refused.status != 405 {
            let problem = refused.problem(400, "invalid-request");
            assert_eq!(problem["errors"][0]["field"], "collection", "{problem}");
        }
        let operation = json!({ "op": "create", "collection": name, "id": "jobs", "state": {} });
        let batch = json!({ "operations": [operation] });
        let problem = server.tell("POST", "/api/v1/batch", &[], batch).await.problem(400, "invalid-request");
        assert_eq!(problem["errors"][0]["field"], "collection", "{problem}");
    }
}

#[tokio::test]
async fn whoever_has_the_description_is_not_sent_it_again() {
    let (server, _) = start().await;
    let first = server.request("GET", "/openapi.json").send().await.unwrap();
    let tag = first.headers()["etag"].to_str().unwrap().to_owned();
    for (given, expect) in
        [(tag.clone(), 304), (format!("\"1\", W/{tag}"), 304), ("*".into(), 304), ("\"1\"".into(), 200)]
    {
        let response = server.request("GET", "/openapi.json").header("if-none-match", given).send().await.unwrap();
        assert_eq!((response.status().as_u16(), response.headers()["etag"].to_str().unwrap()), (expect, tag.as_str()));
    }
}
