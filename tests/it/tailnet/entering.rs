//! Who gets in, and as whom: over a tailscaled in userspace mode, which brings the tailnet's connections to loopback.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use serde_json::json;

use crate::support::localapi::{
    Answer, EXPIRED, GRANTED, NULLS, OTHER_TAILNET, OWNER, PERSON, SHARED_IN, SHAREE, STATUS_USERSPACE, TAGGED,
    Tailscaled, troubles,
};
use crate::support::{Process, Reply};

pub const PATH: &str = "/api/v1/games/g1";
/// What headers cannot say, in every spelling in which a proxy might.
const FORGED: &[(&str, &str)] = &[
    ("Tailscale-User-Login", "ann@example.org"),
    ("tailscale-user-login", "ann@example.org"),
    ("Tailscale-User-Name", "Ann"),
    ("Tailscale-User-Profile-Pic", "https://example.org/ann.png"),
    ("Tailscale-Headers-Info", "https://tailscale.com/s/serve-headers"),
    ("Tailscale-App-Capabilities", "{\"example.org/cap/rejoin\":[{\"role\":\"admin\"}]}"),
    ("X-Forwarded-For", "127.0.0.1"),
    ("X-Forwarded-Host", "evil.example"),
    ("X-Forwarded-Proto", "https"),
    ("X-Real-IP", "127.0.0.1"),
    ("Forwarded", "for=127.0.0.1;host=evil.example"),
    ("X-Webauth-User", "ann"),
    ("Remote-User", "ann"),
    ("Rejoin-User", "1001"),
];

/// Those of them that say that something on this machine passed the request on.
const ADDED_BY_PROXIES: &[&str] =
    &["Tailscale-Headers-Info", "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto", "X-Real-IP", "Forwarded"];

/// A server that asks `tailscaled`. Whoever is let in may address it as 127.0.0.1, so that clients need no other name.
pub fn start(tailscaled: &Tailscaled, flags: &[&str]) -> Process {
    let socket = tailscaled.flags();
    let common = [socket[0].as_str(), &socket[1], "--allowed-host", "127.0.0.1"];
    let mut server = Process::start(&[&common, flags].concat());
    // Each request on a connection of its own: who somebody is is found out for each.
    server.client = reqwest::Client::builder().pool_max_idle_per_host(0).build().unwrap();
    server
}

/// As whom a caller writes: the actor of an event of theirs.
async fn actor(server: &Process, headers: &[(&str, &str)]) -> String {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let id = format!("p{}", COUNT.fetch_add(1, Ordering::Relaxed));
    server.tell("POST", "/api/v1/probes", headers, json!({ "id": id, "state": {} })).await.expect(201);
    let events = server.ask("GET", &format!("/api/v1/probes/{id}/events"), headers).await.expect(200);
    events.body["items"][0]["actor"].as_str().unwrap().to_owned()
}

async fn may_administer(server: &Process) -> bool {
    match server.ask("GET", "/api/v1/admin/jobs", &[]).await {
        Reply { status: 200, .. } => true,
        reply => {
            reply.problem(403, "forbidden");
            false
        }
    }
}

#[tokio::test]
async fn whom_tailscaled_knows_is_that_user_and_whom_it_does_not_know_is_a_process_of_this_machine() {
    let tailscaled = Tailscaled::userspace(Answer::ok(PERSON));
    let server = start(&tailscaled, &[]);
    assert_eq!(actor(&server, &[]).await, "1002");
    assert!(!may_administer(&server).await);
    let me = server.get("/api/v1/me").await.1;
    assert_eq!((&me["user"], &me["administrator"]), (&json!("1002"), &json!(false)), "{me}");
    assert_eq!(me["member"], json!({ "user": "1002", "login": "bob@example.org", "node": "laptop" }));
    assert_eq!(me["why"], "user 1002, on a node of this tailnet; no administrator");
    tailscaled.set_whois(Answer::ok(OWNER));
    let me = server.get("/api/v1/me").await.1;
    assert_eq!((&me["user"], &me["administrator"]), (&json!("1001"), &json!(true)), "{me}");
    assert!(me["why"].as_str().unwrap().contains("the owner of the server's node"), "{me}");
    tailscaled.set_whois(Answer::nobody());
    let me = server.get("/api/v1/me").await.1;
    assert_eq!((&me["viewer"], &me["member"]), (&json!("owner"), &json!(null)), "{me}");
    assert_eq!(actor(&server, &[]).await, "host");
}

#[tokio::test]
async fn the_owner_and_those_who_are_named_or_granted_it_administer() {
    let tailscaled = Tailscaled::userspace(Answer::ok(OWNER));
    let server =
        start(&tailscaled, &["--administrator-capability", "example.org/cap/rejoin", "--administrator", "tag:bots"]);
    assert_eq!(actor(&server, &[]).await, "1001");
    assert!(may_administer(&server).await, "the owner");
    for (whois, user, administers) in
        [(PERSON, "1002", false), (GRANTED, "1002", true), (TAGGED, "tag-bots", true), (OWNER, "1001", true)]
    {
        tailscaled.set_whois(Answer::ok(whois));
        assert_eq!((actor(&server, &[]).await.as_str(), may_administer(&server).await), (user, administers));
    }
}

#[tokio::test]
async fn headers_that_claim_an_identity_change_nothing() {
    let tailscaled = Tailscaled::userspace(Answer::ok(PERSON));
    let server = start(&tailscaled, &[]);
    tailscaled.set_whois(Answer::ok(PERSON));
    for header in FORGED {
        assert_eq!(actor(&server, &[*header]).await, "1002", "{header:?}");
        assert_eq!(server.ask("GET", "/api/v1/admin/jobs", &[*header]).await.status, 403, "{header:?}");
    }
    assert_eq!(actor(&server, FORGED).await, "1002");
    let said = [server.ask("GET", "/api/v1/me", &[]).await, server.ask("GET", "/api/v1/me", FORGED).await];
    assert_eq!(said[0].body, said[1].body);
    // A process of this machine that passes requests on is nobody: never the owner, and never whom it names.
    tailscaled.set_whois(Answer::nobody());
    let owner = server.ask("GET", "/api/v1/me", &[]).await.expect(200);
    for header in FORGED {
        let said = server.ask("GET", "/api/v1/me", &[*header]).await;
        if ADDED_BY_PROXIES.contains(&header.0) {
            said.problem(401, "unauthenticated");
        } else {
            assert_eq!(said.expect(200).body, owner.body, "{header:?}");
        }
    }
    server.ask("GET", "/api/v1/me", FORGED).await.problem(401, "unauthenticated");
    tailscaled.set_whois(Answer::ok(PERSON));
    // What came over Funnel is anybody's on the internet, whatever else is known.
    for whois in [Answer::ok(OWNER), Answer::nobody()] {
        tailscaled.set_whois(whois);
        let reply = server.ask("GET", "/", &[("tailscale-funnel-request", "?1")]).await;
        reply.problem(403, "forbidden");
    }
}

#[tokio::test]
async fn who_is_not_let_in_is_told_why_on_every_route_and_gets_nothing_else() {
    let tailscaled = Tailscaled::userspace(Answer::nobody());
    let server = start(&tailscaled, &[]);
    assert_eq!(server.put(PATH, &json!({ "secret": "NOT-FOR-THEM" })).await.0, 201);
    let standing = server.standing(PATH).await;
    for (whois, word) in [
        (TAGGED, "tagged (tag:ci, tag:bots)"),
        (SHARED_IN, "of another tailnet"),
        (SHAREE, "of another tailnet"),
        (OTHER_TAILNET, "of another tailnet"),
        (EXPIRED, "expired"),
        (NULLS, "of another tailnet"),
    ] {
        tailscaled.set_whois(Answer::ok(whois));
        for (method, path) in ROUTES {
            let reply = server.ask(method, path, &[("accept", "text/event-stream")]).await;
            assert_eq!(reply.header("connection"), "close", "{path}");
            assert!(!reply.text.contains("NOT-FOR-THEM"), "{}", reply.text);
            let problem = reply.problem(403, "forbidden");
            assert!(problem["detail"].as_str().unwrap().contains(word), "{path}: {problem}");
        }
        server.ask("DELETE", PATH, &[]).await.problem(403, "forbidden");
    }
    let lax = start(&tailscaled, &["--allow-shared-nodes", "--allowed-tag", "tag:ci"]);
    for (whois, user) in [(TAGGED, "tag-ci"), (SHARED_IN, "5005"), (SHAREE, "5005"), (OTHER_TAILNET, "5005")] {
        tailscaled.set_whois(Answer::ok(whois));
        assert_eq!((actor(&lax, &[]).await.as_str(), may_administer(&lax).await), (user, false));
    }
    tailscaled.set_whois(Answer::nobody());
    assert_eq!(server.standing(PATH).await, standing);
}

#[tokio::test]
async fn while_tailscaled_cannot_say_who_it_is_nobody_is_let_in() {
    let tailscaled = Tailscaled::userspace(Answer::nobody());
    let server = start(&tailscaled, &[]);
    assert_eq!(server.put(PATH, &json!({ "secret": "NOT-FOR-THEM" })).await.0, 201);
    for (trouble, answer) in troubles() {
        tailscaled.set_whois(answer);
        // Each answer that does not come takes its second.
        let routes = if trouble == "hang" { &[("GET", PATH)] } else { ROUTES };
        for (method, path) in routes {
            let begun = Instant::now();
            let reply = server.ask(method, path, &[("accept", "text/event-stream")]).await;
            assert!(begun.elapsed() < Duration::from_secs(4), "{trouble}");
            assert_eq!((reply.header("retry-after"), reply.header("connection")), ("5", "close"), "{trouble} {path}");
            reply.problem(503, "identity-unavailable");
        }
        // EventSource gives up for good at anything but a stream; so one that goes on is asked to come back.
        let resume = [("accept", "text/event-stream"), ("last-event-id", "1-0")];
        let reply = server.ask("GET", &format!("{PATH}/events"), &resume).await.expect(200);
        assert!(reply.text.starts_with("event: bye\nretry: ") && reply.text.lines().count() == 4, "{}", reply.text);
    }
    tailscaled.set_whois(Answer::ok(OWNER));
    assert_eq!(actor(&server, &[]).await, "1001", "and then they are");
    let log = server.log();
    assert_eq!(log.matches("cannot be found out who peers are").count(), 1, "{log}");
    assert!(log.contains("says again who peers are"), "{log}");
}

#[tokio::test]
async fn a_tailscaled_in_userspace_mode_that_comes_later_makes_nobody_the_owner() {
    let mut tailscaled = Tailscaled::userspace(Answer::ok(PERSON));
    tailscaled.stop();
    let server = start(&tailscaled, &[]);
    assert_eq!(actor(&server, &[]).await, "host", "without tailscaled");
    tailscaled.begin();
    assert_eq!(actor(&server, &[]).await, "1002", "at once");
    tailscaled.set_status(Answer::Hangs);
    tailscaled.stop();
    tailscaled.begin();
    tailscaled.set_status(Answer::ok(STATUS_USERSPACE));
    assert_eq!(actor(&server, &[]).await, "1002");
    tailscaled.stop();
    assert_eq!(actor(&server, &[]).await, "host", "and when it is gone");
}

#[tokio::test]
async fn a_member_addresses_the_node_by_its_names_and_not_by_those_of_loopback() {
    let tailscaled = Tailscaled::userspace(Answer::ok(PERSON));
    let socket = tailscaled.flags();
    let server = Process::start(&[&socket[0], &socket[1], "--allowed-host", "play.example"]);
    let port = server.address().rsplit_once(':').unwrap().1.to_owned();
    let ask =
        |host: &str| server.raw(format!("GET / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n").as_bytes());
    let ours = ["gamebox", "gamebox.tail1a2b.ts.net", "gamebox.tail1a2b.ts.net.", "100.100.1.2", "[fd7a:115c:a1e0::2]"];
    for host in ours.iter().chain(&["play.example"]) {
        assert_eq!(ask(&format!("{host}:{port}")).status, 200, "{host}");
    }
    for host in ["localhost", "127.0.0.1", "[::1]", "100.100.1.3", "evil.example", "gamebox.evil.example"] {
        ask(&format!("{host}:{port}")).problem(421, "misdirected-host");
    }
    // And a process of this machine the other way round.
    tailscaled.set_whois(Answer::nobody());
    assert_eq!(ask(&format!("localhost:{port}")).status, 200);
    for host in ours {
        ask(&format!("{host}:{port}")).problem(421, "misdirected-host");
    }
}

/// One of every kind of route.
pub const ROUTES: &[(&str, &str)] = &[
    ("GET", "/"),
    ("GET", "/healthz"),
    ("GET", "/readyz"),
    ("GET", "/problems"),
    ("GET", "/problems/forbidden"),
    ("GET", "/openapi.json"),
    ("GET", "/api/v1/flags"),
    ("GET", "/api/v1/me"),
    ("GET", "/api/v1/sessions"),
    ("GET", "/api/v1/games"),
    ("GET", PATH),
    ("GET", "/api/v1/games/g1/events"),
    ("GET", "/api/v1/stream?collection=games"),
    ("GET", "/api/v1/admin/jobs"),
    ("DELETE", PATH),
    ("PUT", PATH),
    ("GET", "/no/such/path"),
    ("PATCH", "/"),
];
