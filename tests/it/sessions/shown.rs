//! What a request shows: good sessions, and everything else, which is never taken for nothing.

use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::{ME, SESSIONS, ids, mine, open, open_for};
use crate::support::session;
use crate::support::stream::PATIENCE;
use crate::support::{Clocked, Follower, Process, send};

/// What makes a browser forget the cookie of this name.
fn forget(name: &str) -> String {
    format!("{name}=; HttpOnly; SameSite=Strict; Path=/; Max-Age=0")
}

#[tokio::test]
async fn what_is_no_good_session_is_refused_and_never_the_owner() {
    let server = Process::start(&[]);
    let (good, ended) = (open(&server, &[], json!({})).await, open(&server, &[], json!({})).await);
    server.ask("DELETE", &format!("{SESSIONS}/{}", ended.id), &[]).await;
    let name = server.cookie_name().await;
    let mut nearly = good.token.clone();
    let last = if nearly.pop() == Some('A') { 'E' } else { 'A' };
    nearly.push(last);
    let (unknown, reconnect) = (format!("rejoin_session_{}", "A".repeat(43)), format!("rjt_{}", "A".repeat(43)));
    for token in
        [ended.token.as_str(), &nearly, &unknown, &reconnect, "x", "owner", "rejoin_session_", &good.token[15..]]
    {
        for path in [ME, SESSIONS, "/api/v1/games", "/api/v1/games/none", "/api/v1/admin/jobs"] {
            let bearer = format!("Bearer {token}");
            let reply = server.ask("GET", path, &[("authorization", &bearer)]).await;
            assert!(!reply.headers.contains_key("set-cookie"), "{reply:?}");
            assert_eq!(reply.header("www-authenticate"), "Bearer realm=\"rejoin\"");
            let problem = reply.problem(401, "unauthenticated");
            assert!(
                !problem.to_string().contains(token) || token.len() < 8,
                "what was sent is not repeated: {problem}"
            );
            let reply = server.ask("GET", path, &[("cookie", &format!("{name}={token}"))]).await;
            assert_eq!(reply.header("set-cookie"), forget(&name), "the browser forgets it");
            reply.problem(401, "unauthenticated");
            // One without the server's own mark may be another's: it is refused, and left alone.
            let reply = server.ask("GET", path, &[("cookie", &format!("rejoin_session={token}"))]).await;
            assert!(!reply.headers.contains_key("set-cookie"), "{reply:?}");
            reply.problem(401, "unauthenticated");
        }
        // Nothing is created, followed or ended with it either.
        let bearer = [("authorization", format!("Bearer {token}"))];
        let bearer = [(bearer[0].0, bearer[0].1.as_str())];
        server.tell("POST", "/api/v1/games", &bearer, json!({ "state": {} })).await.problem(401, "unauthenticated");
        server.tell("POST", SESSIONS, &bearer, json!({ "user": "ann" })).await.problem(401, "unauthenticated");
        server.ask("DELETE", SESSIONS, &bearer).await.problem(401, "unauthenticated");
        let stream = [bearer[0], ("accept", "text/event-stream")];
        server.ask("GET", "/api/v1/stream?collection=games", &stream).await.problem(401, "unauthenticated");
        // Where it does not matter who asks, it does not.
        for path in ["/", "/healthz", "/readyz", "/problems", "/problems/gone", "/openapi.json"] {
            assert_eq!(server.ask("GET", path, &bearer).await.status, 200, "{path}");
        }
    }
    server.ask("GET", ME, &good.bearer()).await.expect(200);
    assert_eq!(ids(&server.get("/api/v1/admin/sessions").await.1), [good.id.as_str()]);
}

#[tokio::test]
async fn two_sessions_in_one_request_are_refused() {
    let server = Process::start(&[]);
    let (ann, bob) = (open_for(&server, "ann").await, open_for(&server, "bob").await);
    let (both, empty) = (format!("{}; {}", ann.cookie, bob.cookie), format!("{}=", server.cookie_name().await));
    for headers in [
        vec![ann.bearer()[0], bob.bearer()[0]],
        vec![ann.bearer()[0], ann.bearer()[0]],
        vec![ann.bearer()[0], bob.cookie()[0]],
        vec![("cookie", both.as_str())],
        vec![ann.cookie()[0], bob.cookie()[0]],
        vec![ann.bearer()[0], ("cookie", empty.as_str())],
        vec![("authorization", "Basic YTpi")],
        vec![("authorization", "")],
        vec![("authorization", &ann.token)],
    ] {
        let headers: Vec<_> = headers;
        let request =
            headers.iter().fold(server.request("GET", ME), |request, (name, value)| request.header(*name, *value));
        let problem = send(request).await.problem(400, "invalid-request");
        assert!(!problem.to_string().contains(&ann.token), "{problem}");
    }
    // The same one twice, once in each way, is one.
    let me = server.ask("GET", ME, &[ann.bearer()[0], ann.cookie()[0]]).await.expect(200).body;
    assert_eq!(me["user"], "ann");
}

#[tokio::test]
async fn a_page_of_another_origin_cannot_use_a_browsers_session() {
    let server = Process::start(&[]);
    let own = open(&server, &[], json!({})).await;
    for foreign in [("origin", "http://evil.example"), ("origin", "null"), ("sec-fetch-site", "cross-site")] {
        let headers = [own.cookie()[0], foreign];
        server.tell("POST", "/api/v1/games", &headers, json!({ "state": {} })).await.problem(403, "forbidden");
        server.tell("POST", SESSIONS, &headers, json!({ "user": "eve" })).await.problem(403, "forbidden");
        server.ask("DELETE", SESSIONS, &headers).await.problem(403, "forbidden");
        let stream = [own.cookie()[0], foreign, ("accept", "text/event-stream")];
        server.ask("GET", "/api/v1/stream?collection=games", &stream).await.problem(403, "forbidden");
    }
    let origin = server.url.clone();
    let headers = [own.cookie()[0], ("origin", origin.as_str()), ("sec-fetch-site", "same-origin")];
    server.tell("POST", "/api/v1/games", &headers, json!({ "state": {} })).await.expect(201);
}

/// The bytes of all files in the data directory.
fn dump(directory: &Path) -> Vec<u8> {
    std::fs::read_dir(directory).unwrap().flat_map(|entry| std::fs::read(entry.unwrap().path()).unwrap()).collect()
}

#[tokio::test]
async fn no_token_of_a_session_is_on_disk_or_in_the_log_in_clear() {
    let mut server = Process::start(&["--log", "trace"]);
    let mut sessions = Vec::new();
    for user in ["ann", "bob"] {
        let session = open(&server, &[], json!({ "user": user, "device": { "name": "THE-DEVICE" } })).await;
        server.ask("GET", ME, &session.bearer()).await.expect(200);
        server.tell("POST", "/api/v1/games", &session.cookie(), json!({ "state": {} })).await.expect(201);
        let path = format!("{SESSIONS}/current");
        server.tell("PATCH", &path, &session.cookie(), json!({ "currentPhase": "combat" })).await.expect(200);
        let damaged = format!("{}x", session.bearer);
        server.ask("GET", ME, &[("authorization", &damaged)]).await.problem(401, "unauthenticated");
        sessions.push(session);
    }
    server.ask("DELETE", &format!("{SESSIONS}/current"), &sessions[0].cookie()).await;
    server.ask("GET", ME, &sessions[0].cookie()).await.problem(401, "unauthenticated");
    let running = dump(&server.data_dir());
    let holds = |bytes: &[u8], text: &str| memchr::memmem::find(bytes, text.as_bytes()).is_some();
    assert!(holds(&running, "THE-DEVICE"), "the dump is of the database");
    assert!(server.log().contains(SESSIONS) && server.log().contains(&sessions[0].id), "the log has the requests");
    server.kill();
    server.start_again();
    server.ask("GET", ME, &sessions[1].cookie()).await.expect(200);
    assert!(server.terminate().success());
    let stopped = dump(&server.data_dir());
    for session in &sessions {
        let secret = &session.token[15..];
        for part in [secret, &secret[..21], &secret[21..]] {
            assert!(!holds(&running, part) && !holds(&stopped, part), "{part} is on disk");
            assert!(!server.log().contains(part), "{part} is in the log");
        }
    }
}

#[tokio::test]
async fn sessions_outlive_the_server_however_it_ends() {
    let mut server = Process::start(&[]);
    let ann = open_for(&server, "ann").await;
    let before = mine(&server, &ann).await;
    server.kill();
    server.start_again();
    let after = mine(&server, &ann).await;
    assert_eq!(after["items"][0]["createdAt"], before["items"][0]["createdAt"]);
    let seen = after["items"][0]["lastSeenAt"].clone();
    // A stop in good order keeps when it was last used, too.
    assert!(server.terminate().success());
    server.start_again();
    let listed = server.get("/api/v1/admin/sessions").await.1;
    assert_eq!((ids(&listed), &listed["items"][0]["lastSeenAt"]), (vec![ann.id.as_str()], &seen));
    server.ask("GET", ME, &ann.cookie()).await.expect(200);
}

#[tokio::test]
async fn a_session_expires_unless_it_is_used_and_the_browser_keeps_up() {
    let server = Clocked::start(|_| ()).await;
    let name = session::cookie_name(&server.url).await;
    let ask = async |token: &str| {
        let cookie = format!("{name}={token}");
        server.ask("GET", ME, &[("cookie", &cookie)]).await
    };
    let opened = async |user: &str| session::open(&server.url, user).await["token"].as_str().unwrap().to_owned();
    let day = Duration::from_secs(24 * 3600);
    let (used, idle) = (opened("ann").await, opened("bob").await);
    for week in 1..=8 {
        server.advance(day * 6);
        let reply = ask(&used).await.expect(200);
        // After 18 and 36 days the time has begun anew.
        let renewed = reply.headers.get("set-cookie").map(|value| value.to_str().unwrap().to_owned());
        let expect = format!("{name}={used}; HttpOnly; SameSite=Strict; Path=/; Max-Age=2592000");
        assert_eq!(renewed, (week % 3 == 0).then_some(expect), "{week}");
    }
    ask(&idle).await.problem(401, "unauthenticated");
    server.advance(day * 7);
    let reply = ask(&used).await;
    assert_eq!(reply.header("set-cookie"), forget(&name));
    reply.problem(401, "unauthenticated");
    server.stop().await;
}

/// Asks for all sessions until they are as `wanted`. What is open keeps its session by the machine's time.
async fn until_listed(server: &Clocked, wanted: impl Fn(&Value) -> bool) {
    let end = Instant::now() + PATIENCE;
    loop {
        let listed = server.ask("GET", "/api/v1/admin/sessions", &[]).await.expect(200).body;
        if wanted(&listed) {
            return;
        }
        assert!(Instant::now() < end, "{listed}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn a_stream_keeps_its_session_and_ends_with_it() {
    let idle = Duration::from_secs(2);
    let server = Clocked::start(|config| {
        config.set("session-idle-seconds", &idle.as_secs().to_string()).unwrap();
        config.set("session-ttl-seconds", "60").unwrap();
    })
    .await;
    server.put("/api/v1/games/g1", json!({})).await.expect(201);
    let [followed, _] = [session::open(&server.url, "ann").await, session::open(&server.url, "bob").await];
    let bearer = format!("Bearer {}", followed["token"].as_str().unwrap());
    let shown = [("authorization", bearer.as_str())];
    let mut stream = Follower::with(&format!("{}/api/v1/games/g1/events", server.url), &shown, None).await;
    stream.expect("snapshot").await;
    for _ in 0..4 {
        let before = server.ask("GET", "/api/v1/admin/sessions?user=ann", &[]).await.body["items"][0].clone();
        server.advance(idle * 3 / 4);
        until_listed(&server, |listed| {
            let mut items = listed["items"].as_array().unwrap().iter();
            items.any(|item| item["id"] == followed["id"] && item["lastSeenAt"] != before["lastSeenAt"])
        })
        .await;
    }
    // By then bob's session, with nothing open, has ended.
    until_listed(&server, |listed| ids(listed) == [followed["id"].as_str().unwrap()]).await;
    server.put("/api/v1/games/g1", json!({ "n": 1 })).await.expect(200);
    stream.expect("change").await;
    drop(stream);
    until_listed(&server, |listed| {
        server.advance(idle * 2);
        ids(listed).is_empty()
    })
    .await;
    server.ask("GET", ME, &shown).await.problem(401, "unauthenticated");
    let run = server.ask("POST", "/api/v1/admin/jobs/sessions-cleanup/run", &[]).await.expect(200).body;
    assert_eq!((&run["outcome"], &run["counts"]["expired"]), (&json!("succeeded"), &json!(2)), "{run}");
    let rows: u32 = server.database().query_row("SELECT count(*) FROM sessions", [], |row| row.get(0)).unwrap();
    assert_eq!(rows, 0);
    server.stop().await;
}

#[tokio::test]
async fn the_description_says_how_a_session_is_shown() {
    let server = Process::start(&[]);
    let description = server.get("/openapi.json").await.1;
    let schemes = &description["components"]["securitySchemes"];
    assert_eq!((&schemes["bearer"]["type"], &schemes["bearer"]["scheme"]), (&json!("http"), &json!("bearer")));
    let name = schemes["cookie"]["name"].as_str().unwrap();
    assert_eq!((&schemes["cookie"]["in"], name.starts_with("rejoin_session_")), (&json!("cookie"), true), "{name}");
    assert_eq!(description["security"], json!([{}, { "bearer": [] }, { "cookie": [] }]));
    let names: Vec<&Value> = description["paths"][ME]["get"]["parameters"].as_array().into_iter().flatten().collect();
    assert!(names.is_empty(), "{names:?}");
}
