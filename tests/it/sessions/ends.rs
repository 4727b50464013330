//! Ending sessions: at once, everywhere, and for good.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use serde_json::{Value, json};

use super::{ME, Opened, SESSIONS, ids, mine, open, open_for};
use crate::support::{Disk, Follower, Process};

/// How long an end may take to be felt.
const AT_ONCE: Duration = Duration::from_secs(1);

/// What is open under a session: streams and a long poll.
struct Held {
    streams: Vec<Follower>,
    poll: tokio::task::JoinHandle<reqwest::Result<reqwest::Response>>,
}

impl Held {
    async fn open(server: &Process, session: &Opened) -> Self {
        let url = |path: &str| format!("{}/api/v1/{path}", server.url);
        let mut streams = vec![
            Follower::with(&url("games/g1/events"), &session.bearer(), None).await,
            Follower::with(&url("games/g1/events"), &session.cookie(), None).await,
            Follower::with(&url("stream?doc=games/g1&collection=games"), &session.cookie(), None).await,
        ];
        for stream in &mut streams {
            stream.expect("snapshot").await;
        }
        let poll = server.request("GET", "/api/v1/games/g1/events?after=1000&wait=60");
        Self { streams, poll: tokio::spawn(poll.header("authorization", &session.bearer).send()) }
    }

    async fn ends_within(self, limit: Duration) {
        let since = Instant::now();
        for mut stream in self.streams {
            assert_eq!(stream.expect("bye").await.data["reason"], "access-ended");
            assert!(stream.next().await.is_none());
        }
        // It may not even have begun when the session ended.
        let status = self.poll.await.unwrap().unwrap().status().as_u16();
        assert!(matches!(status, 204 | 401), "{status}");
        assert!(since.elapsed() < limit, "{:?}", since.elapsed());
    }

    async fn goes_on(&mut self) {
        for stream in &mut self.streams {
            stream.expect("change").await;
        }
        assert!(!self.poll.is_finished());
    }
}

async fn start() -> Process {
    let server = Process::start(&[]);
    assert_eq!(server.put("/api/v1/games/g1", &json!({})).await.0, 201);
    server
}

#[tokio::test]
async fn ending_a_session_closes_what_is_open_and_voids_its_token_at_once_and_for_good() {
    let mut server = start().await;
    for way in ["its own", "another of hers", "an administrator's", "logging out", "all others"] {
        let (session, other) = (open_for(&server, "ann").await, open_for(&server, "ann").await);
        let bystander = open_for(&server, "bob").await;
        let (held, mut untouched) = (Held::open(&server, &session).await, Held::open(&server, &bystander).await);
        let path = format!("{SESSIONS}/{}", session.id);
        let since = Instant::now();
        let reply = match way {
            "its own" => server.ask("DELETE", &path, &session.cookie()).await,
            "another of hers" => server.ask("DELETE", &path, &other.bearer()).await,
            "an administrator's" => server.ask("DELETE", &format!("/api/v1/admin/sessions/{}", session.id), &[]).await,
            "logging out" => server.ask("DELETE", &format!("{SESSIONS}/current"), &session.cookie()).await,
            _ => server.ask("DELETE", SESSIONS, &other.bearer()).await,
        };
        assert!(reply.status == if way == "all others" { 200 } else { 204 }, "{way}: {reply:?}");
        let forgets = matches!(way, "its own" | "logging out");
        assert_eq!(reply.headers.contains_key("set-cookie"), forgets, "{way}");
        held.ends_within(AT_ONCE.saturating_sub(since.elapsed())).await;
        server.ask("GET", ME, &session.bearer()).await.problem(401, "unauthenticated");
        server.ask("GET", ME, &session.cookie()).await.problem(401, "unauthenticated");
        server.ask("GET", ME, &other.bearer()).await.expect(200);
        assert_eq!(server.put("/api/v1/games/g1", &json!({ "way": way })).await.0, 200);
        untouched.goes_on().await;
        // Nobody comes back with it, after a restart neither.
        server.kill();
        server.start_again();
        server.ask("GET", ME, &session.bearer()).await.problem(401, "unauthenticated");
        server.ask("GET", ME, &other.bearer()).await.expect(200);
        server.ask("GET", ME, &bystander.bearer()).await.expect(200);
    }
}

#[tokio::test]
async fn ending_a_session_closes_the_stream_of_reconciliation_and_nobody_elses() {
    let server = start().await;
    let (session, other) = (open_for(&server, "ann").await, open_for(&server, "ann").await);
    let url = format!("{}/reconciliation/stream", server.url);
    let (by_header, by_cookie) = (session.bearer(), session.cookie());
    let mut streams = vec![Follower::with(&url, &by_header, None).await, Follower::with(&url, &by_cookie, None).await];
    let mut untouched = Follower::with(&url, &other.bearer(), None).await;
    server.ask("POST", "/reconciliation/run", &[]).await.expect(200);
    for stream in streams.iter_mut().chain([&mut untouched]) {
        stream.expect("reconciliation.update").await;
    }
    let since = Instant::now();
    server.ask("DELETE", &format!("{SESSIONS}/{}", session.id), &other.bearer()).await.expect(204);
    for mut stream in streams {
        let mut told = stream.next().await.unwrap();
        while told.event == "reconciliation.update" {
            told = stream.next().await.unwrap();
        }
        assert_eq!((told.event.as_str(), &told.data["reason"]), ("bye", &json!("access-ended")));
        assert!(stream.next().await.is_none());
    }
    assert!(since.elapsed() < AT_ONCE, "{:?}", since.elapsed());
    server.ask("GET", "/reconciliation/stream", &session.bearer()).await.problem(401, "unauthenticated");
    server.ask("POST", "/reconciliation/run", &[]).await.expect(200);
    untouched.expect("reconciliation.update").await;
}

#[tokio::test]
async fn ending_all_others_leaves_the_current_one_and_those_of_others() {
    let server = start().await;
    let mut of_ann = Vec::new();
    for _ in 0..5 {
        of_ann.push(open_for(&server, "ann").await);
    }
    let (bob, own) = (open_for(&server, "bob").await, open(&server, &[], json!({})).await);
    let ended = server.ask("DELETE", SESSIONS, &of_ann[2].bearer()).await.expect(200).body;
    assert_eq!(ended, json!({ "ended": 4 }));
    assert_eq!(ids(&mine(&server, &of_ann[2]).await), [of_ann[2].id.as_str()]);
    for index in [0, 1, 3, 4] {
        server.ask("GET", ME, &of_ann[index].bearer()).await.problem(401, "unauthenticated");
    }
    server.ask("GET", ME, &bob.bearer()).await.expect(200);
    // Who shows none has none that is current.
    let ended = server.ask("DELETE", SESSIONS, &[]).await.expect(200).body;
    assert_eq!(ended, json!({ "ended": 1 }));
    server.ask("GET", ME, &own.bearer()).await.problem(401, "unauthenticated");
    assert_eq!(server.ask("DELETE", SESSIONS, &[]).await.expect(200).body, json!({ "ended": 0 }));
    server.ask("DELETE", &format!("{SESSIONS}/current"), &[]).await.problem(404, "not-found");
}

#[tokio::test]
async fn a_hundred_ends_at_once_of_the_same_session_and_of_different_ones() {
    let mut server = start().await;
    let (shared, observer) = (open_for(&server, "ann").await, open_for(&server, "ann").await);
    let path = format!("{SESSIONS}/{}", shared.id);
    let ends =
        join_all((0..100).map(|_| server.request("DELETE", &path).header("authorization", &observer.bearer).send()));
    let held = Held::open(&server, &shared).await;
    let statuses: Vec<u16> = ends.await.into_iter().map(|reply| reply.unwrap().status().as_u16()).collect();
    assert!(statuses.contains(&204) && statuses.iter().all(|status| matches!(status, 204 | 404)), "{statuses:?}");
    held.ends_within(AT_ONCE).await;

    let mut sessions = Vec::new();
    for number in 0..100 {
        sessions.push(open_for(&server, &format!("user{number}")).await);
    }
    let held = Held::open(&server, &sessions[99]).await;
    let since = Instant::now();
    let ends = sessions.iter().map(|session| {
        let path = format!("{SESSIONS}/{}", session.id);
        server.request("DELETE", &path).header("authorization", &session.bearer).send()
    });
    for reply in join_all(ends).await {
        assert_eq!(reply.unwrap().status(), 204);
    }
    held.ends_within(AT_ONCE).await;
    assert!(since.elapsed() < Duration::from_secs(5), "{:?}", since.elapsed());
    let refused = async |server: &Process| {
        let asks =
            sessions.iter().map(|session| server.request("GET", ME).header("authorization", &session.bearer).send());
        join_all(asks).await.into_iter().all(|reply| reply.unwrap().status() == 401)
    };
    assert!(refused(&server).await);
    assert_eq!(ids(&server.get("/api/v1/admin/sessions").await.1), [observer.id.as_str()]);
    server.kill();
    server.start_again();
    assert!(refused(&server).await);
    assert_eq!(ids(&server.get("/api/v1/admin/sessions").await.1), [observer.id.as_str()]);
}

#[tokio::test]
async fn while_storage_fails_none_is_opened_and_one_that_is_ended_stays_ended() {
    let (disk, mut server) = Disk::with_server(&[]);
    assert_eq!(server.put("/api/v1/games/g1", &json!({})).await.0, 201);
    let (ann, bob) = (open_for(&server, "ann").await, open_for(&server, "bob").await);
    let held = Held::open(&server, &ann).await;
    disk.set("enospc");
    assert_eq!(server.put("/api/v1/games/g1", &json!({ "n": 1 })).await.0, 202, "storage fails");
    server.tell("POST", SESSIONS, &[], json!({ "user": "eve" })).await.problem(503, "storage-unavailable");
    server.ask("GET", ME, &bob.bearer()).await.expect(200);
    let path = format!("/api/v1/admin/sessions/{}", ann.id);
    assert_eq!(server.ask("DELETE", &path, &[]).await.expect(202).body, json!({ "durable": false }));
    server.ask("GET", ME, &ann.bearer()).await.problem(401, "unauthenticated");
    for mut stream in held.streams {
        while stream.expect_any(&["change", "bye"]).await.event != "bye" {}
    }
    assert_eq!(ids(&server.get("/api/v1/admin/sessions").await.1), [bob.id.as_str()]);
    disk.set("off");
    server.until_ready(|status, report| status == 200 && report["storage"]["state"] == "ok").await;
    server.kill();
    server.start_again();
    server.ask("GET", ME, &ann.bearer()).await.problem(401, "unauthenticated");
    let listed: Value = server.get("/api/v1/admin/sessions").await.1;
    assert_eq!(ids(&listed), [bob.id.as_str()], "eve's was never opened");
}
