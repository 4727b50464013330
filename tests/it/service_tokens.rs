//! Service tokens: what scripts and bots show instead of a person's session.

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::{AS, Clocked, Disk, Follower, Process, Reply};

const TOKENS: &str = "/api/v1/service-tokens";
const ME: &str = "/api/v1/me";

/// A service token: its id, and the header that shows it.
struct Made {
    id: String,
    token: String,
    bearer: String,
}

impl Made {
    fn of(reply: &Reply) -> Self {
        let text = |name: &str| reply.body[name].as_str().unwrap().to_owned();
        Self { id: text("id"), bearer: format!("Bearer {}", text("token")), token: text("token") }
    }

    fn shown(&self) -> [(&str, &str); 1] {
        [("authorization", &self.bearer)]
    }

    async fn get(&self, server: &Process, path: &str) -> Reply {
        server.ask("GET", path, &self.shown()).await
    }

    async fn tell(&self, server: &Process, method: &str, path: &str, body: Value) -> Reply {
        server.tell(method, path, &self.shown(), body).await
    }
}

async fn make(server: &Process, body: Value) -> Made {
    Made::of(&server.tell("POST", TOKENS, &[], body).await.expect(201))
}

async fn with_games() -> Process {
    let server = Process::start(&[]);
    for id in ["g1", "g2"] {
        let state = json!({ "round": 1, "hidden": { "deck": [id] } });
        assert_eq!(server.post("/api/v1/games", &json!({ "id": id, "state": state })).await.0, 201);
    }
    server
}

#[tokio::test]
async fn a_token_is_shown_once_and_only_its_hash_is_kept() {
    let mut server = with_games().await;
    let reply = server.tell("POST", TOKENS, &[], json!({ "name": " scores ", "access": "read" })).await.expect(201);
    let made = Made::of(&reply);
    assert!(made.token.starts_with("rejoin_service_") && made.token.len() == 58, "{}", made.token);
    assert_eq!(reply.header("cache-control"), "no-store");
    assert!(!reply.headers.contains_key("set-cookie"));
    let mut listed = reply.body.clone();
    listed.as_object_mut().unwrap().remove("token");
    assert_eq!((&listed["name"], &listed["createdBy"]), (&json!("scores"), &json!("@owner")));
    assert_eq!((&listed["documents"], &listed["lastUsedAt"]), (&Value::Null, &Value::Null));
    assert_eq!(server.get(TOKENS).await.1["items"], json!([listed]));
    made.get(&server, "/api/v1/games/g1").await.expect(200);
    server.kill();
    for file in std::fs::read_dir(server.data_dir()).unwrap() {
        let bytes = std::fs::read(file.unwrap().path()).unwrap();
        let secret = &made.token.as_bytes()[15..];
        assert!(!bytes.windows(secret.len()).any(|part| part == secret), "no secret is on disk");
    }
    assert!(!server.log().contains(&made.token[15..]), "nor in the log");
    server.start_again();
    made.get(&server, "/api/v1/games/g1").await.expect(200);
    let me = made.get(&server, ME).await.expect(200).body;
    assert_eq!((&me["user"], &me["administrator"], &me["session"]), (&json!("owner"), &json!(false), &Value::Null));
    assert!(me["why"].as_str().unwrap().contains(&format!("service token {}", made.id)), "{me}");
}

#[tokio::test]
async fn a_token_reads_what_the_owner_reads_within_its_scope() {
    let server = with_games().await;
    let one = make(&server, json!({ "name": "one", "access": "read", "documents": ["games/g1"] })).await;
    let all = make(&server, json!({ "name": "all", "access": "read" })).await;
    let whole = make(&server, json!({ "name": "whole", "access": "write", "collections": ["games"] })).await;
    for (token, path, status) in [
        (&one, "/api/v1/games/g1", 200),
        (&one, "/api/v1/games/g2", 404),
        (&one, "/api/v1/games/none", 404),
        (&one, "/api/v1/games", 403),
        (&one, "/api/v1/games/g2/events", 404),
        (&all, "/api/v1/games/g2", 200),
        (&all, "/api/v1/games", 200),
        (&all, "/api/v1/sessions", 200),
        (&all, "/api/v1/admin/jobs", 403),
        (&whole, "/api/v1/games", 200),
        (&whole, "/api/v1/games/g2", 200),
        (&whole, "/api/v1/notes", 403),
        (&whole, "/api/v1/notes/n1", 404),
        (&whole, "/api/v1/admin/jobs", 403),
    ] {
        let reply = token.get(&server, path).await;
        assert_eq!(reply.status, status, "{path} {}", reply.text);
    }
    let document = one.get(&server, "/api/v1/games/g1").await.body;
    assert_eq!(document["state"]["hidden"]["deck"], json!(["g1"]), "with the owner's eyes");
    // A stream of the collection tells of what is reached of it.
    let url = format!("{}/api/v1/stream?collection=games", server.url);
    let mut stream = Follower::with(&url, &one.shown(), None).await;
    let snapshot = stream.expect("snapshot").await;
    let documents = snapshot.data["documents"].as_array().unwrap().clone();
    assert_eq!(documents.iter().map(|document| document["id"].clone()).collect::<Vec<_>>(), [json!("g1")]);
    server.put("/api/v1/games/g2", &json!({ "round": 2 })).await;
    server.put("/api/v1/games/g1", &json!({ "round": 3 })).await;
    assert_eq!(stream.expect("change").await.data["id"], "g1");
}

#[tokio::test]
async fn a_token_changes_what_its_access_says() {
    let server = with_games().await;
    let reads = make(&server, json!({ "name": "reads", "access": "read", "collections": ["games"] })).await;
    let writes = make(&server, json!({ "name": "writes", "access": "write", "collections": ["games"] })).await;
    let named =
        make(&server, json!({ "name": "named", "access": "write", "documents": ["games/g1", "games/new"] })).await;
    let state = || json!({ "state": { "round": 7 } });
    let put = |id: &&str| json!({ "op": "put", "collection": "games", "id": id, "state": { "round": 9 } });
    let batch = |ids: &[&str]| json!({ "operations": ids.iter().map(put).collect::<Vec<_>>() });
    for (token, method, path, body, status) in [
        (&reads, "PUT", "/api/v1/games/g1", state(), 403),
        (&reads, "POST", "/api/v1/games", state(), 403),
        (&reads, "POST", "/api/v1/batch", batch(&["g1"]), 403),
        (&reads, "DELETE", "/api/v1/games/g1", json!({}), 403),
        (&writes, "PUT", "/api/v1/games/g1", state(), 200),
        (&writes, "POST", "/api/v1/games", state(), 201),
        (&writes, "PUT", "/api/v1/notes/n1", state(), 404),
        (&named, "PUT", "/api/v1/games/g1", state(), 200),
        (&named, "PUT", "/api/v1/games/new", state(), 201),
        (&named, "PUT", "/api/v1/games/g2", state(), 404),
        (&named, "POST", "/api/v1/games", state(), 403),
    ] {
        let reply = token.tell(&server, method, path, body).await;
        assert_eq!(reply.status, status, "{method} {path} {}", reply.text);
    }
    let events = server.get("/api/v1/games/new/events").await.1;
    assert_eq!(events["items"][0]["actor"], "host", "what it creates is the owner's: {events}");
    assert_eq!(server.get("/api/v1/games/new").await.1["host"], "owner");
    named.tell(&server, "POST", "/api/v1/batch", batch(&["g1", "new"])).await.expect(200);
    // The whole batch is refused, and alike whether there is such a document or not.
    for id in ["g2", "none"] {
        let problem = named.tell(&server, "POST", "/api/v1/batch", batch(&["g1", id])).await.problem(404, "not-found");
        assert_eq!(problem["index"], 1, "{problem}");
    }
}

#[tokio::test]
async fn an_administrators_token_does_what_administrators_do_but_makes_no_other() {
    let server = with_games().await;
    let made = make(&server, json!({ "name": "bot", "access": "administrator" })).await;
    made.get(&server, "/api/v1/admin/jobs").await.expect(200);
    made.get(&server, "/api/v1/games/g1").await.expect(200);
    made.get(&server, TOKENS).await.expect(200);
    let body = json!({ "name": "another", "access": "read" });
    made.tell(&server, "POST", TOKENS, body.clone()).await.problem(403, "forbidden");
    made.tell(&server, "DELETE", &format!("{TOKENS}/{}", made.id), json!({})).await.problem(403, "forbidden");
    made.tell(&server, "POST", "/api/v1/sessions", json!({})).await.problem(403, "forbidden");
    made.tell(&server, "POST", "/api/v1/sessions", json!({ "user": "ann" })).await.expect(201);
    server.tell("POST", TOKENS, &[(AS, "ann")], body).await.problem(403, "forbidden");
    server.ask("GET", TOKENS, &[(AS, "ann")]).await.problem(403, "forbidden");
    server.ask("DELETE", &format!("{TOKENS}/{}", made.id), &[(AS, "ann")]).await.problem(403, "forbidden");
    made.get(&server, ME).await.expect(200);
}

#[tokio::test]
async fn nobody_is_told_that_a_script_is_connected() {
    let server = with_games().await;
    let made = make(&server, json!({ "name": "bot", "access": "administrator" })).await;
    let url = format!("{}/api/v1/games/g1/events", server.url);
    let mut bot = Follower::with(&url, &made.shown(), None).await;
    bot.expect("snapshot").await;
    let mut ann = Follower::connect(&url, Some("ann"), None).await.unwrap();
    ann.expect("snapshot").await;
    let players = ann.presence().await.data["players"].clone();
    let ids: Vec<&str> = players.as_array().unwrap().iter().map(|one| one["playerId"].as_str().unwrap()).collect();
    assert_eq!(ids, ["ann"], "{players}");
}

#[tokio::test]
async fn an_ended_token_is_void_at_once_with_its_streams_and_for_good() {
    let mut server = with_games().await;
    let (ended, other) = (
        make(&server, json!({ "name": "ended", "access": "read" })).await,
        make(&server, json!({ "name": "other", "access": "read" })).await,
    );
    let url = format!("{}/api/v1/games/g1/events", server.url);
    let mut stream = Follower::with(&url, &ended.shown(), None).await;
    stream.expect("snapshot").await;
    server.ask("DELETE", &format!("{TOKENS}/{}", ended.id), &[]).await.expect(204);
    ended.get(&server, ME).await.problem(401, "unauthenticated");
    while stream.next().await.is_some() {}
    server.ask("DELETE", &format!("{TOKENS}/{}", ended.id), &[]).await.problem(404, "not-found");
    server.kill();
    server.start_again();
    ended.get(&server, ME).await.problem(401, "unauthenticated");
    other.get(&server, ME).await.expect(200);
    let last = if other.token.ends_with('A') { 'E' } else { 'A' };
    let nearly = format!("Bearer {}{last}", &other.token[..57]);
    let problem = server.ask("GET", ME, &[("authorization", &nearly)]).await.problem(401, "unauthenticated");
    assert!(problem["detail"].as_str().unwrap().contains("service token"), "{problem}");
    // By cookie it is nothing: a browser is no script.
    let cookie = format!("{}={}", server.cookie_name().await, other.token);
    server.ask("GET", ME, &[("cookie", &cookie)]).await.problem(401, "unauthenticated");
}

#[tokio::test]
async fn a_token_that_ends_while_the_disk_is_full_stays_ended() {
    let (disk, mut server) = Disk::with_server(&[]);
    let made = make(&server, json!({ "name": "bot", "access": "write" })).await;
    disk.set("enospc");
    assert_eq!(server.put("/api/v1/notes/n1", &json!({})).await.0, 202, "storage fails");
    let body = json!({ "name": "late", "access": "read" });
    server.tell("POST", TOKENS, &[], body).await.problem(503, "storage-unavailable");
    let reply = server.ask("DELETE", &format!("{TOKENS}/{}", made.id), &[]).await;
    assert_eq!((reply.status, &reply.body), (202, &json!({ "durable": false })), "{}", reply.text);
    made.get(&server, ME).await.problem(401, "unauthenticated");
    assert_eq!(server.get(TOKENS).await.1["items"], json!([]));
    server.kill();
    disk.set("off");
    server.start_again();
    made.get(&server, ME).await.problem(401, "unauthenticated");
    assert_eq!(server.get(TOKENS).await.1["items"], json!([]));
}

#[tokio::test]
async fn a_token_does_not_expire_and_its_last_use_is_told() {
    let server = Clocked::start(|_| {}).await;
    let reply = server.post(TOKENS, json!({ "name": "cron", "access": "read" })).await.expect(201);
    let made = Made::of(&reply);
    let last_used = async || server.ask("GET", TOKENS, &[]).await.body["items"][0]["lastUsedAt"].clone();
    assert_eq!(last_used().await, Value::Null);
    server.advance(Duration::from_secs(900 * 24 * 3600));
    server.ask("GET", ME, &made.shown()).await.expect(200);
    let used = last_used().await;
    assert!(used.as_str().is_some_and(|used| used > reply.body["createdAt"].as_str().unwrap()), "{used}");
    server.stop().await;
}

#[tokio::test]
async fn the_last_use_survives_a_stop() {
    let mut server = Process::start(&[]);
    let made = make(&server, json!({ "name": "cron", "access": "read" })).await;
    made.get(&server, ME).await.expect(200);
    let used = server.get(TOKENS).await.1["items"][0]["lastUsedAt"].clone();
    assert!(used.is_string());
    assert!(server.terminate().success());
    server.start_again();
    assert_eq!(server.get(TOKENS).await.1["items"][0]["lastUsedAt"], used);
}

#[tokio::test]
async fn what_is_no_token_is_refused_with_all_that_is_wrong() {
    let server = Process::start(&[]);
    let names = |body: Value| async {
        let problem = server.tell("POST", TOKENS, &[], body).await.problem(400, "invalid-request");
        let errors = problem["errors"].as_array().cloned().unwrap_or_default();
        errors.iter().map(|error| error["field"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(names(json!({ "name": " ", "access": "root" })).await, ["name", "access"]);
    assert_eq!(names(json!({ "name": "a", "access": "administrator", "documents": [] })).await, ["documents"]);
    assert_eq!(
        names(json!({ "name": "a", "access": "read", "documents": ["x"], "collections": ["Y"] })).await,
        ["documents", "collections"]
    );
    for body in [json!({}), json!({ "name": "a", "access": "read", "expiresInSeconds": 9 }), json!([])] {
        server.tell("POST", TOKENS, &[], body).await.problem(400, "invalid-request");
    }
    assert_eq!(server.get(TOKENS).await.1["items"], json!([]));
}
