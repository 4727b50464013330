#![expect(clippy::unwrap_used, reason = "a failed unwrap fails the test")]

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use super::*;
use crate::base::entropy::SeededEntropy;
use crate::base::ids::DocumentName;
use crate::net::http_client::ServerUrl;

#[test]
fn what_documents_hold_cannot_steer_the_terminal() {
    assert_eq!(escape_control_characters("a\u{1b}[2J\u{9b}b\nc"), "a\u{fffd}[2J\u{fffd}b\u{fffd}c");
}

#[test]
fn a_problem_is_told_by_its_title_and_detail() {
    assert_eq!(refusal(404, r#"{"title":"Not found","detail":"no games/g1"}"#), "Not found: no games/g1 (404)");
    assert_eq!(refusal(404, "<html>"), "the server answered 404, which is not a stream of a document");
}

fn watch_of(target: &str, json: bool) -> Watch<Vec<u8>, Vec<u8>> {
    let options = WatchOptions {
        server: ServerUrl::parse(target).unwrap(),
        watched: Watched::Document(DocumentName::parse("games/g1").unwrap()),
        session: Some("rejoin_session_test".parse().unwrap()),
        json,
    };
    Watch::new(options, Vec::new(), Vec::new(), Duration::from_millis(1))
}

#[test]
fn waits_double_up_to_a_bound_with_half_by_chance() {
    let mut watch = watch_of("http://127.0.0.1:1", false);
    watch.wait_first = Duration::from_millis(200);
    let entropy = SeededEntropy::new(1);
    for (failures, full) in [(0, 200), (1, 400), (3, 1600), (6, 10_000), (4_000_000_000, 10_000)] {
        watch.failures = failures;
        let wait = watch.wait(&Interruption::Ended, &entropy).as_millis();
        assert!((full / 2..=full).contains(&wait), "{failures}: {wait}");
    }
    watch.failures = 0;
    watch.retry = Some(Duration::ZERO);
    assert!(watch.wait(&Interruption::Ended, &entropy) >= RETRY_MIN / 2);
    let busy = Interruption::Busy { status: 503, wait: Some(Duration::from_secs(7)) };
    assert_eq!(watch.wait(&busy, &entropy), Duration::from_secs(7));
}

/// A peer that answers one connection after the other with `answers` and returns the heads of the requests.
async fn peer(answers: &'static [&'static str]) -> (String, tokio::task::JoinHandle<Vec<String>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let target = format!("http://{}", listener.local_addr().unwrap());
    let task = tokio::spawn(async move {
        let mut heads = Vec::new();
        for answer in answers {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                head.push(stream.read_u8().await.unwrap());
            }
            stream.write_all(answer.as_bytes()).await.unwrap();
            heads.push(String::from_utf8(head).unwrap().to_ascii_lowercase());
        }
        heads
    });
    (target, task)
}

const FIRST: &str = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n\
    retry: 50\n\nevent: snapshot\nid: 4-abc\ndata: {\"reason\":\"start\",\"documents\":[]}\n\n\
    event: heartbeat\ndata: {}\n\nid: 5-def\nevent: change\ndata: {\"half\":";
const BUSY: &str = "HTTP/1.1 503 Service Unavailable\r\nRetry-After: 0\r\nContent-Length: 0\r\n\r\n";
const SECOND: &str = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n\
    event: resumed\ndata: {\"from\":\"4-abc\",\"to\":\"5-def\",\"count\":1}\n\n\
    event: bye\ndata: {\"reason\":\"shutdown\"}\n\n";
const GONE: &str = "HTTP/1.1 410 Gone\r\nContent-Length: 16\r\n\r\n{\"title\":\"Gone\"}";

#[tokio::test]
async fn a_lost_connection_is_taken_up_where_it_broke() {
    let (target, task) = peer(&[FIRST, BUSY, SECOND, GONE]).await;
    let mut watch = watch_of(&target, true);
    assert_eq!(watch.follow(&SeededEntropy::new(1)).await, WatchEnd::Refused("Gone (410)".to_owned()));
    let heads = task.await.unwrap();
    assert!(heads.iter().all(|head| head.starts_with("get /api/v1/games/g1/events http/1.1\r\n")), "{heads:?}");
    assert!(heads.iter().all(|head| head.contains("authorization: bearer rejoin_session_test\r\n")), "{heads:?}");
    let resumed: Vec<bool> = heads.iter().map(|head| head.contains("last-event-id:")).collect();
    assert_eq!(resumed, [false, true, true, true]);
    let out = String::from_utf8(watch.out).unwrap();
    assert_eq!(out.lines().count(), 3, "snapshot, resumed, bye; no heartbeat, nothing unfinished: {out}");
    let notes = String::from_utf8(watch.notes).unwrap();
    assert!(notes.contains("the server answered 503"), "{notes}");
}

#[tokio::test]
async fn the_id_of_an_unfinished_event_is_not_resumed_from() {
    let (target, task) = peer(&[FIRST, GONE]).await;
    let _ = watch_of(&target, false).follow(&SeededEntropy::new(1)).await;
    let heads = task.await.unwrap();
    let second = heads.last().unwrap();
    assert!(second.contains("last-event-id: 4-abc\r\n"), "{second}");
}

/// One that says that the game has moved, in its stream or at once; to itself when nobody says where to.
async fn sends_on(to: Option<&str>, at_once: bool) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let target = format!("http://{}", listener.local_addr().unwrap());
    let to = to.unwrap_or(&target);
    let data = format!(r#"{{"collection":"games","id":"g1","to":"{to}","position":"5-def"}}"#);
    let answer = if at_once {
        format!("HTTP/1.1 308 Permanent Redirect\r\nContent-Length: {}\r\n\r\n{data}", data.len())
    } else {
        format!("{STREAM}event: moved\ndata: {data}\n\n")
    };
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                head.push(stream.read_u8().await.unwrap());
            }
            stream.write_all(answer.as_bytes()).await.unwrap();
        }
    });
    target
}

const STREAM: &str = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n";

fn without_session(target: &str) -> Watch<Vec<u8>, Vec<u8>> {
    let mut watch = watch_of(target, true);
    watch.options.session = None;
    watch
}

#[tokio::test]
async fn a_game_that_moved_is_followed_to_where_it_is() {
    for at_once in [false, true] {
        let (there, task) = peer(&[SECOND, GONE]).await;
        let between = sends_on(Some(&there), true).await;
        let here = sends_on(Some(&between), at_once).await;
        let mut watch = watch_of(&here, false);
        // A session is of one server, and is shown to no other.
        let end = watch.follow(&SeededEntropy::new(1)).await;
        assert!(matches!(&end, WatchEnd::Refused(why) if why.contains("a session is of one server")), "{end:?}");
        watch.options.session = None;
        assert_eq!(watch.follow(&SeededEntropy::new(1)).await, WatchEnd::Refused("Gone (410)".to_owned()));
        let heads = task.await.unwrap();
        assert!(heads.iter().all(|head| !head.contains("authorization:")), "{heads:?}");
        assert!(heads.iter().all(|head| head.contains("last-event-id: 5-def\r\n")), "{heads:?}");
        let out = String::from_utf8(watch.out).unwrap();
        assert!(out.contains(&format!("it is at {there} now")) && out.contains("resumed 1 change"), "{out}");
    }
}

#[tokio::test]
async fn a_game_that_nobody_has_or_that_is_where_none_may_be_is_not_followed() {
    let elsewhere = sends_on(Some("http://192.0.2.1:80"), false).await;
    let end = without_session(&elsewhere).follow(&SeededEntropy::new(1)).await;
    assert!(matches!(&end, WatchEnd::Refused(why) if why.contains("neither on this machine")), "{end:?}");
    let circle = sends_on(None, false).await;
    let end = without_session(&circle).follow(&SeededEntropy::new(1)).await;
    assert!(matches!(&end, WatchEnd::Refused(why) if why.contains("nobody has it")), "{end:?}");
}
