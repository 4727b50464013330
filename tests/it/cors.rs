//! Pages of other origins: whom `allowed-origin` lets in, and what they are told.

use serde_json::json;

use crate::support::process::{command, run_to_end};
use crate::support::{Process, Reply};

const PAGE: &str = "http://localhost:5173";
const EXPOSED: &str =
    "ETag, Rejoin-Position, RateLimit, RateLimit-Policy, Retry-After, Location, Idempotency-Replayed, Server-Timing";

fn start() -> Process {
    Process::start(&["--allowed-origin", PAGE, "--allowed-origin", "HTTPS://Play.Example:443"])
}

/// Requires that a page of `origin` may read the answer, with credentials.
#[track_caller]
fn readable(reply: Reply, origin: &str) -> Reply {
    assert_eq!(reply.header("access-control-allow-origin"), origin, "{reply:?}");
    assert_eq!(reply.header("access-control-allow-credentials"), "true");
    assert_eq!(reply.header("access-control-expose-headers"), EXPOSED);
    varies(reply)
}

/// Requires that caches know that another origin gets another answer.
#[track_caller]
fn varies(reply: Reply) -> Reply {
    let mut vary = reply.headers.get_all("vary").iter().flat_map(|value| value.to_str().unwrap().split(','));
    assert!(vary.any(|name| name.trim() == "Origin"), "{reply:?}");
    reply
}

/// Requires that nobody but our own pages may read the answer.
#[track_caller]
fn unreadable(reply: Reply) -> Reply {
    let said = reply.headers.keys().filter(|name| name.as_str().starts_with("access-control-"));
    assert_eq!(said.count(), 0, "{reply:?}");
    reply
}

#[tokio::test]
async fn exactly_the_pages_of_allowed_origins_are_let_in() {
    let server = start();
    server.put("/api/v1/games/g1", &json!({ "n": 1 })).await;
    for origin in [PAGE, "https://play.example"] {
        let answer = server.ask("GET", "/healthz", &[("origin", origin), ("sec-fetch-site", "cross-site")]).await;
        readable(answer.expect(200), origin);
    }
    for origin in
        ["http://localhost", "http://localhost:5174", "https://localhost:5173", "http://play.example", "null", "*"]
    {
        let refused = server.ask("GET", "/api/v1/games/g1", &[("origin", origin)]).await;
        varies(unreadable(refused)).problem(403, "forbidden");
    }
    let both = server.ask("GET", "/healthz", &[("origin", PAGE), ("origin", "http://evil.example")]).await;
    unreadable(both).problem(403, "forbidden");
    // Our own pages and programs are told nothing about it, and that others are.
    let own = server.url.clone();
    for headers in [&[][..], &[("origin", own.as_str())]] {
        varies(unreadable(server.ask("GET", "/api/v1/games/g1", headers).await.expect(200)));
    }
}

#[tokio::test]
async fn without_the_option_all_is_refused_and_the_refusal_names_it() {
    let server = Process::start(&[]);
    for method in ["GET", "OPTIONS"] {
        let asked = [("origin", PAGE), ("access-control-request-method", "PUT")];
        let refused = unreadable(server.ask(method, "/api/v1/games/g1", &asked).await);
        assert_eq!(refused.headers.get("vary"), None);
        let problem = refused.problem(403, "forbidden");
        let detail = problem["detail"].as_str().unwrap();
        assert!(detail.contains("--allowed-origin http://localhost:5173"), "{detail}");
    }
    let page = server.ask("GET", "/problems/forbidden", &[]).await.expect(200).text;
    assert!(page.contains("--allowed-origin") && page.contains("--public"), "{page}");
    assert_eq!(server.ask("GET", "/healthz", &[]).await.headers.get("vary"), None);
}

#[tokio::test]
async fn a_preflight_is_answered_whatever_the_request_will_be() {
    let server = start();
    for path in ["/api/v1/games/g1", "/api/v1/games", "/nowhere", "/api/v1/stream"] {
        for method in ["PUT", "PATCH", "DELETE", "POST"] {
            let asked = [
                ("origin", PAGE),
                ("access-control-request-method", method),
                ("access-control-request-headers", "content-type,idempotency-key,x-own"),
            ];
            let answer = readable(server.ask("OPTIONS", path, &asked).await.expect(204), PAGE);
            let methods = answer.header("access-control-allow-methods");
            assert!(methods.split(", ").any(|allowed| allowed == method), "{methods}");
            assert_eq!(answer.header("access-control-allow-headers"), "content-type,idempotency-key,x-own");
            assert_eq!(answer.header("access-control-max-age"), "7200");
            assert_eq!(answer.text, "");
        }
    }
    // It is a browser's question only when it says which method it is about.
    let plain = server.ask("OPTIONS", "/api/v1/games/g1", &[("origin", PAGE)]).await;
    readable(plain, PAGE).problem(405, "method-not-allowed");
    let foreign = [("origin", "http://evil.example"), ("access-control-request-method", "PUT")];
    unreadable(server.ask("OPTIONS", "/api/v1/games/g1", &foreign).await).problem(403, "forbidden");
}

#[tokio::test]
async fn every_answer_can_be_read_writes_problems_and_refusals_too() {
    let flags = ["--allowed-origin", PAGE, "--rate-limit-capacity", "12", "--rate-limit-refill", "1"];
    let server = Process::start(&[&flags[..], &["--body-bytes-max", "2048", "--state-bytes-max", "1024"]].concat());
    let page = [("origin", PAGE), ("sec-fetch-site", "same-site"), ("sec-fetch-mode", "cors")];
    let body = json!({ "id": "g1", "state": { "n": 1 } });
    let created = readable(server.tell("POST", "/api/v1/games", &page, &body).await.expect(201), PAGE);
    assert!(created.headers.contains_key("etag") && created.headers.contains_key("location"));
    let key = [&page[..], &[("idempotency-key", "k1"), ("content-type", "application/merge-patch+json")]].concat();
    for _ in 0..2 {
        readable(server.tell("PATCH", "/api/v1/games/g1", &key, json!({ "n": 2 })).await.expect(200), PAGE);
    }
    readable(server.tell("POST", "/api/v1/games", &page, &body).await, PAGE).problem(409, "already-exists");
    readable(server.tell("POST", "/api/v1/games", &page, "{").await, PAGE).problem(400, "invalid-request");
    readable(server.ask("GET", "/api/v1/games/none", &page).await, PAGE).problem(404, "not-found");
    readable(server.ask("GET", "/nowhere", &page).await, PAGE).problem(404, "not-found");
    let misdirected =
        format!("GET /healthz HTTP/1.1\r\nHost: evil.example\r\nOrigin: {PAGE}\r\nConnection: close\r\n\r\n");
    readable(server.raw(misdirected.as_bytes()), PAGE).problem(421, "misdirected-host");
    // Refused before the body has come.
    let address = server.address();
    let large = format!(
        "PUT /api/v1/games/g1 HTTP/1.1\r\nHost: {address}\r\nOrigin: {PAGE}\r\nContent-Type: application/json\r\n\
         Content-Length: 100000\r\nConnection: close\r\n\r\n"
    );
    readable(server.raw(large.as_bytes()), PAGE).problem(413, "too-large");
    let unknown = [&page[..], &[("authorization", "Bearer rejoin_session_x")]].concat();
    readable(server.ask("GET", "/api/v1/me", &unknown).await, PAGE).problem(401, "unauthenticated");
    // As somebody who has a limit.
    let session = server.post("/api/v1/sessions", &json!({ "user": "bob", "device": { "name": "page" } })).await.1;
    let bearer = format!("Bearer {}", session["token"].as_str().unwrap());
    let shown = [&page[..], &[("authorization", bearer.as_str())]].concat();
    let limited = loop {
        let reply = readable(server.ask("GET", "/api/v1/me", &shown).await, PAGE);
        if reply.status != 200 {
            break reply;
        }
        assert!(reply.headers.contains_key("ratelimit") && reply.headers.contains_key("ratelimit-policy"));
    };
    assert!(limited.headers.contains_key("retry-after"));
    limited.problem(429, "rate-limited");
}

#[tokio::test]
async fn streams_can_be_read_and_those_of_other_pages_do_not_begin() {
    let server = start();
    server.put("/api/v1/games/g1", &json!({ "n": 1 })).await;
    let open = |origin: &str| {
        let stream = server.request("GET", "/api/v1/games/g1/events").header("accept", "text/event-stream");
        stream.header("origin", origin).send()
    };
    let mut stream = open(PAGE).await.unwrap();
    assert_eq!(stream.status(), 200);
    assert_eq!(stream.headers()["access-control-allow-origin"], PAGE);
    assert_eq!(stream.headers()["access-control-allow-credentials"], "true");
    let first = stream.chunk().await.unwrap().unwrap();
    assert!(String::from_utf8_lossy(&first).contains("event: snapshot"));
    let refused = open("http://evil.example").await.unwrap();
    assert_eq!((refused.status().as_u16(), refused.headers().get("access-control-allow-origin")), (403, None));
}

#[tokio::test]
async fn files_can_be_read_too() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("data.json"), "{}").unwrap();
    let server = Process::start(&["--public", folder.path().to_str().unwrap(), "--allowed-origin", PAGE]);
    for _ in 0..2 {
        readable(server.ask("GET", "/data.json", &[("origin", PAGE)]).await.expect(200), PAGE);
        unreadable(server.ask("GET", "/data.json", &[]).await.expect(200));
    }
}

#[tokio::test]
async fn a_development_server_may_pass_requests_on_and_keep_their_host() {
    let server = start();
    for headers in [&[("host", "localhost:5173"), ("origin", PAGE)][..], &[("host", "localhost:5173")]] {
        server.ask("GET", "/api/v1/me", headers).await.expect(200);
    }
    server.ask("GET", "/api/v1/me", &[("host", "localhost:5174")]).await.problem(421, "misdirected-host");
    server.ask("GET", "/api/v1/me", &[("host", "play.example")]).await.problem(421, "misdirected-host");
}

#[tokio::test]
async fn a_page_from_elsewhere_is_never_the_owner_by_its_connection() {
    let server = start();
    let page = [("origin", "https://play.example")];
    readable(server.ask("GET", "/api/v1/me", &page).await, "https://play.example").problem(401, "unauthenticated");
    let local = server.ask("GET", "/api/v1/me", &[("origin", PAGE)]).await.expect(200);
    assert_eq!(local.body["viewer"], "owner");
}

#[tokio::test]
async fn calls_that_write_by_get_take_allowed_pages_and_no_others() {
    let server = start();
    server.put("/api/v1/games/g1", &json!({ "n": 1 })).await;
    let path = "/api/game/g1/connection-token?playerId=bob";
    let known = server.ask("GET", path, &[]).await.status;
    let page = [("sec-fetch-site", "same-site"), ("sec-fetch-mode", "cors"), ("sec-fetch-dest", "empty")];
    let allowed = server.ask("GET", path, &[&page[..], &[("origin", PAGE)]].concat()).await;
    assert_eq!(readable(allowed, PAGE).status, known);
    for foreign in [&[("origin", "http://evil.example")][..], &[("origin", "null")], &[]] {
        server.ask("GET", path, &[&page[..], foreign].concat()).await.problem(403, "forbidden");
    }
    let navigation = [("sec-fetch-site", "same-site"), ("sec-fetch-mode", "navigate"), ("sec-fetch-dest", "document")];
    server.ask("GET", path, &navigation).await.problem(403, "forbidden");
}

#[test]
fn what_is_no_origin_is_told_at_the_start() {
    let data = tempfile::tempdir().unwrap();
    for origin in ["*", "null", "localhost:5173", "http://localhost:5173/", "http://*.example", "ftp://host"] {
        let flags = ["--allowed-origin".to_owned(), origin.to_owned()];
        let (code, said) = run_to_end(command(&data.path().join("data"), "127.0.0.1:0", &flags));
        assert_eq!(code, 2, "{said}");
        assert!(said.contains("allowed-origin") && said.contains(origin), "{said}");
    }
}
