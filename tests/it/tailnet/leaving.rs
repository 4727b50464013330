//! Who may no longer be here is shown out: streams end with a word, and connections end.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use serde_json::json;

use super::entering::{PATH, start};
use crate::support::localapi::{Answer, EXPIRED, GRANTED, OWNER, PERSON, SHARED_IN, TAGGED, Tailscaled};
use crate::support::{Follower, Process};

const FLAGS: &[&str] = &[
    "--tailnet-recheck-seconds",
    "1",
    "--administrator-capability",
    "example.org/cap/rejoin",
    "--heartbeat-seconds",
    "1",
];
const PATIENCE: Duration = Duration::from_secs(20);

/// A server whose caller is Bob, and a stream of his.
async fn bob() -> (Tailscaled, Process, Follower) {
    let tailscaled = Tailscaled::userspace(Answer::ok(PERSON));
    let server = start(&tailscaled, FLAGS);
    assert_eq!(server.put(PATH, &json!({ "n": 0 })).await.0, 201);
    let stream = follow(&server).await;
    (tailscaled, server, stream)
}

async fn follow(server: &Process) -> Follower {
    let mut stream = Follower::connect(&format!("{}{PATH}/events", server.url), None, None).await.unwrap();
    stream.expect("snapshot").await;
    stream
}

/// Waits until tailscaled was asked `count` times more who somebody is.
async fn asked_again(tailscaled: &Tailscaled, count: usize) {
    let whois = || tailscaled.asked().iter().filter(|target| target.contains("whois")).count();
    let (before, end) = (whois(), Instant::now() + PATIENCE);
    while whois() < before + count {
        assert!(Instant::now() < end, "nobody asks again");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn streams_end_when_access_does() {
    let (tailscaled, server, first) = bob().await;
    let mut stream = first;
    for (what, now) in [
        ("unknown", Answer::nobody()),
        ("somebody else", Answer::ok(OWNER)),
        ("other rights", Answer::ok(GRANTED)),
        ("tagged", Answer::ok(TAGGED)),
        ("expired", Answer::ok(EXPIRED)),
        ("of another tailnet", Answer::ok(SHARED_IN)),
    ] {
        let flipped = Instant::now();
        tailscaled.set_whois(now);
        assert_eq!(stream.expect("bye").await.data, json!({ "reason": "access-ended" }), "{what}");
        assert_eq!(stream.next_raw().await.map(|told| told.text), None, "{what}: the connection ends");
        assert!(flipped.elapsed() < Duration::from_secs(5), "{what}: {:?}", flipped.elapsed());
        tailscaled.set_whois(Answer::ok(PERSON));
        stream = follow(&server).await;
    }
    assert_eq!(server.log().matches("access was revoked").count(), 6);
}

#[tokio::test]
async fn streams_go_on_for_who_is_still_the_same_and_while_tailscaled_stumbles() {
    let (tailscaled, server, mut stream) = bob().await;
    tailscaled.set_whois(Answer::ok(PERSON.replace("bob@example.org", "robert@example.org")));
    asked_again(&tailscaled, 3).await;
    tailscaled.set_whois(Answer::Says(500, "no backend\n".to_owned()));
    asked_again(&tailscaled, 3).await;
    tailscaled.set_whois(Answer::ok(PERSON));
    asked_again(&tailscaled, 2).await;
    server.merge(PATH, &json!({ "n": 1 })).await;
    stream.expect("change").await;

    tailscaled.set_whois(Answer::Says(500, "no backend\n".to_owned()));
    let begun = Instant::now();
    assert_eq!(stream.expect("bye").await.data["reason"], "access-ended", "it has stumbled for too long");
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
}

#[tokio::test]
async fn a_session_keeps_nobody_in_whose_access_has_ended() {
    let (tailscaled, server, _stream) = bob().await;
    let session = server.tell("POST", "/api/v1/sessions", &[], json!({})).await.expect(201);
    let bearer = format!("Bearer {}", session.body["token"].as_str().unwrap());
    let shown = [("authorization", bearer.as_str())];
    let mut stream = Follower::with(&format!("{}{PATH}/events", server.url), &shown, None).await;
    stream.expect("snapshot").await;
    tailscaled.set_whois(Answer::ok(OWNER));
    assert_eq!(stream.expect("bye").await.data, json!({ "reason": "access-ended" }));
    server.ask("GET", PATH, &shown).await.problem(401, "unauthenticated");
    tailscaled.set_whois(Answer::ok(EXPIRED));
    server.ask("GET", PATH, &shown).await.problem(403, "forbidden");
    tailscaled.set_whois(Answer::Hangs);
    server.ask("GET", PATH, &shown).await.problem(503, "identity-unavailable");
    tailscaled.set_whois(Answer::ok(PERSON));
    server.ask("GET", PATH, &shown).await.expect(200);
}

#[tokio::test]
async fn connections_that_are_kept_end_too() {
    let (tailscaled, server, _stream) = bob().await;
    let mut kept = TcpStream::connect(server.address()).unwrap();
    kept.set_read_timeout(Some(PATIENCE)).unwrap();
    let ask = format!("GET {PATH} HTTP/1.1\r\nHost: {}\r\n\r\n", server.address());
    kept.write_all(ask.as_bytes()).unwrap();
    let mut answer = [0; 4096];
    let read = kept.read(&mut answer).unwrap();
    assert!(answer[..read].starts_with(b"HTTP/1.1 200"));
    let flipped = Instant::now();
    tailscaled.set_whois(Answer::ok(OWNER));
    assert!(matches!(kept.read(&mut answer), Ok(0) | Err(_)), "nothing is left to say");
    // It would have been closed for its silence, too, but later.
    assert!(flipped.elapsed() < Duration::from_secs(5), "{:?}", flipped.elapsed());
}

#[tokio::test]
async fn a_process_of_this_machine_is_asked_about_once() {
    let tailscaled = Tailscaled::userspace(Answer::nobody());
    let server = start(&tailscaled, FLAGS);
    assert_eq!(server.put(PATH, &json!({ "n": 0 })).await.0, 201);
    let mut stream = follow(&server).await;
    let asked = tailscaled.asked().len();
    for _ in 0..3 {
        while stream.next_raw().await.unwrap().event != "heartbeat" {}
    }
    assert_eq!(tailscaled.asked().len(), asked);
}
