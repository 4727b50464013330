//! Who the server's owner is: a process of its own machine, and nobody that it merely passes on.

mod administrator_link;
mod reverse_proxy;

use serde_json::json;

use crate::support::{Process, Reply};

const ME: &str = "/api/v1/me";
const GAME: &str = "/api/v1/games/g1";

/// A server with a game that has a secret.
async fn start(flags: &[&str]) -> Process {
    let server = Process::start(flags);
    let state = json!({ "n": 1, "hidden": { "deck": "SECRET" } });
    let made = server.post("/api/v1/games", &json!({ "id": "g1", "state": state })).await;
    assert_eq!(made.0, 201, "{}", made.1);
    server
}

/// What a proxy says of a request that it passes on.
const FORWARDED: &[(&str, &str)] = &[
    ("forwarded", "for=192.0.2.60;proto=http"),
    ("forwarded", ""),
    ("x-forwarded-for", "192.0.2.60"),
    ("x-forwarded-for", "127.0.0.1"),
    ("x-forwarded-host", "play.example"),
    ("x-forwarded-proto", "https"),
    ("x-forwarded-server", "proxy"),
    ("x-forwarded-port", "443"),
    ("x-forwarded-anything", "x"),
    ("x-real-ip", "192.0.2.60"),
    ("via", "1.1 proxy"),
    ("via", "1.1 Caddy"),
];

#[tokio::test]
async fn a_request_that_was_passed_on_is_not_the_owners() {
    let server = start(&["--allowed-host", "play.example"]).await;
    assert_eq!(server.ask("GET", ME, &[]).await.expect(200).body["viewer"], "owner");
    for header in FORWARDED {
        for path in [ME, GAME, "/api/v1/games?include=state", "/api/v1/admin/jobs", "/api/v1/games/g1/events"] {
            let reply = server.ask("GET", path, &[*header]).await;
            assert!(!reply.text.contains("SECRET"), "{header:?}: {reply:?}");
            let problem = reply.problem(401, "unauthenticated");
            assert!(problem["detail"].as_str().unwrap().to_lowercase().contains(header.0), "it says why: {problem}");
        }
        let stream = [*header, ("accept", "text/event-stream")];
        server.ask("GET", "/api/v1/stream?collection=games", &stream).await.problem(401, "unauthenticated");
        let opened = server.tell("POST", "/api/v1/sessions", &[*header], json!({ "user": "bob" })).await;
        opened.problem(401, "unauthenticated");
        assert_eq!(server.ask("GET", "/readyz", &[*header]).await.status, 200, "what is for everybody stays so");
    }
}

#[tokio::test]
async fn a_session_is_shown_through_a_proxy_and_the_owners_own_is_not() {
    let server = start(&[]).await;
    let open = async |body| server.tell("POST", "/api/v1/sessions", &[], body).await.expect(201).body["token"].clone();
    let (bob, owner) = (open(json!({ "user": "bob" })).await, open(json!({})).await);
    for header in FORWARDED {
        let bearer = format!("Bearer {}", bob.as_str().unwrap());
        let me = server.ask("GET", ME, &[*header, ("authorization", &bearer)]).await.expect(200).body;
        assert_eq!((&me["user"], &me["administrator"]), (&json!("bob"), &json!(false)));
        let bearer = format!("Bearer {}", owner.as_str().unwrap());
        let reply = server.ask("GET", ME, &[*header, ("authorization", &bearer)]).await;
        reply.problem(401, "unauthenticated");
        server.ask("GET", ME, &[("authorization", &bearer)]).await.expect(200);
    }
}

#[tokio::test]
async fn a_name_that_is_not_loopbacks_is_not_the_owners() {
    let server = start(&["--allowed-host", "play.example", "--allowed-host", "rejoin.lan"]).await;
    let port = server.address().rsplit(':').next().unwrap().to_owned();
    let with_port = format!("play.example:{port}");
    for host in ["play.example", with_port.as_str(), "rejoin.lan"] {
        let request = server.request("GET", ME).header("host", host);
        crate::support::send(request).await.problem(401, "unauthenticated");
        let origin = format!("https://{host}");
        let reply = server.ask("GET", GAME, &[("origin", &origin)]).await;
        reply.problem(401, "unauthenticated");
    }
    for host in ["127.0.0.1", "localhost", "LOCALHOST", "localhost.", "[::1]"] {
        let host = format!("{host}:{port}");
        let reply: Reply = crate::support::send(server.request("GET", ME).header("host", &host)).await.expect(200);
        assert_eq!(reply.body["viewer"], "owner", "{host}");
        let origin = format!("http://{host}");
        assert_eq!(server.ask("GET", ME, &[("origin", &origin)]).await.expect(200).body["viewer"], "owner");
    }
}

#[tokio::test]
async fn the_owner_of_loopback_can_be_turned_off_altogether() {
    let server = Process::start(&["--loopback-owner", "false"]);
    for path in [ME, "/api/v1/games", "/api/v1/admin/jobs", "/api/v1/admin/sessions"] {
        let problem = server.ask("GET", path, &[]).await.problem(401, "unauthenticated");
        assert!(problem["detail"].as_str().unwrap().contains("loopback-owner"), "{problem}");
    }
    server.tell("POST", "/api/v1/sessions", &[], json!({ "user": "bob" })).await.problem(401, "unauthenticated");
    server.tell("POST", "/api/v1/sessions", &[], json!({})).await.problem(401, "unauthenticated");
    assert_eq!(server.ask("GET", "/healthz", &[]).await.status, 200);
}

#[tokio::test]
async fn the_owners_own_session_ends_with_the_trust_in_loopback() {
    let mut server = start(&[]).await;
    let own = server.tell("POST", "/api/v1/sessions", &[], json!({})).await.expect(201).body;
    let bearer = format!("Bearer {}", own["token"].as_str().unwrap());
    server.ask("GET", ME, &[("authorization", &bearer)]).await.expect(200);
    server.kill();
    server.start_again_with(&["--loopback-owner", "false"]);
    server.ask("GET", ME, &[("authorization", &bearer)]).await.problem(401, "unauthenticated");
}
