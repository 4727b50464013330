//! Pages of history and long polls.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::{count_on, counted, events_url};
use crate::support::{Follower, Process, position};

async fn page(server: &Process, query: &str) -> Value {
    let (status, page) = server.get(&format!("/api/v1/games/g1/events{query}")).await;
    assert_eq!(status, 200, "{query}: {page}");
    page
}

#[tokio::test]
async fn history_comes_in_pages_and_is_the_same_bytes_as_the_stream() {
    let server = Process::start(&[]);
    let events = counted(&server, 10).await;
    let mut follower = Follower::connect(&events_url(&server, "games/g1"), None, Some("0")).await.unwrap();
    follower.expect("resumed").await;
    let streamed: Vec<String> = follower.changes(10).await.into_iter().map(|told| told.text).collect();
    let text = server.request("GET", "/api/v1/games/g1/events").send().await.unwrap().text().await.unwrap();
    assert_eq!(text, format!("{{\"items\":[{}],\"firstVersion\":1}}\n", streamed.join(",")));

    for limit in [1, 3, 5, 9, 10, 11] {
        let (mut seen, mut query) = (Vec::new(), format!("?limit={limit}"));
        loop {
            let page = page(&server, &query).await;
            let items = page["items"].as_array().unwrap();
            assert!(items.len() <= limit && !items.is_empty());
            assert_eq!(page["firstVersion"], 1);
            seen.extend(items.iter().cloned());
            let Some(next) = page["nextCursor"].as_str() else { break };
            query = format!("?limit={limit}&cursor={next}");
        }
        assert_eq!(seen, events, "{limit}");
    }
    for (index, event) in events.iter().enumerate() {
        let rest = json!(events[index + 1..]);
        for after in [event["version"].to_string(), position(event)] {
            assert_eq!(page(&server, &format!("?after={after}")).await["items"], rest);
        }
    }
    assert_eq!(page(&server, "?after=0").await["items"], json!(events));
    assert_eq!(page(&server, "?after=10").await, json!({ "items": [], "firstVersion": 1 }));
}

#[tokio::test]
async fn a_page_that_cannot_be_given_is_refused_by_name() {
    let server = Process::start(&[]);
    counted(&server, 3).await;
    for (query, status, field) in [
        ("?limit=0", 400, "limit"),
        ("?limit=501", 400, "limit"),
        ("?limit=x", 400, "limit"),
        ("?after=x", 400, "after"),
        ("?after=-1", 400, "after"),
        ("?cursor=***", 400, "cursor"),
        ("?wait=61", 400, "wait"),
        ("?wait=61&after=3", 400, "wait"),
        ("?wait=-1", 400, "wait"),
        ("?unknown=1", 400, "unknown"),
    ] {
        let (found, problem) = server.get(&format!("/api/v1/games/g1/events{query}")).await;
        assert_eq!(found, status, "{query}: {problem}");
        assert_eq!(problem["errors"][0]["field"], field, "{query}: {problem}");
    }
    let (status, problem) = server.get("/api/v1/games/g1/events?after=2-aaaaaaaaaaaa").await;
    assert_eq!((status, &problem["type"]), (410, &json!("/problems/gone")));
    assert_eq!(server.get("/api/v1/games/none/events").await.0, 404);
    assert_eq!(server.request("HEAD", "/api/v1/games/none/events").send().await.unwrap().status(), 404);
}

#[tokio::test]
async fn a_position_before_what_is_kept_is_refused_and_not_skipped_over() {
    let mut server = Process::start(&["--history-events", "5"]);
    assert_eq!(server.put("/api/v1/games/other", &json!({ "n": 1 })).await.0, 201);
    let other = position(&super::all_events(&server, "games/other").await[0]);
    let filler = "x".repeat(3000);
    for n in 1..=20 {
        assert!(server.put("/api/v1/games/g1", &json!({ "n": n, "filler": format!("{n}{filler}") })).await.0 < 300);
    }
    for _ in 0..2 {
        let (status, problem) = server.get(&format!("/api/v1/games/g1/events?after={other}")).await;
        assert_eq!((status, &problem["type"]), (410, &json!("/problems/gone")), "{problem}");
        server.kill();
        server.start_again();
    }
}

#[tokio::test]
async fn a_long_poll_returns_as_soon_as_there_is_a_change() {
    let server = Process::start(&[]);
    let mut events = counted(&server, 2).await;
    // What is there already is not waited for.
    assert_eq!(page(&server, "?after=1&wait=20").await["items"], json!([events[1]]));
    for next in 3..8 {
        let after = position(events.last().unwrap());
        let poll =
            tokio::spawn(server.request("GET", &format!("/api/v1/games/g1/events?after={after}&wait=20")).send());
        // Whether the poll or the change comes first makes no difference to what it returns.
        let began = Instant::now();
        if next % 2 == 0 {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        count_on(&server, next, next).await;
        let answer = poll.await.unwrap().unwrap();
        assert!(began.elapsed() < Duration::from_secs(15));
        assert_eq!(answer.status(), 200);
        let told = answer.headers()["rejoin-position"].to_str().unwrap().to_owned();
        let page: Value = serde_json::from_str(&answer.text().await.unwrap()).unwrap();
        assert_eq!(page["items"].as_array().unwrap().len(), 1);
        assert_eq!((&page["items"][0]["version"], told), (&json!(next), position(&page["items"][0])));
        events.push(page["items"][0].clone());
    }
}

#[tokio::test]
async fn a_long_poll_from_a_version_to_come_waits_for_the_one_after_it() {
    let server = Process::start(&[]);
    counted(&server, 2).await;
    let mut watcher = Follower::connect(&events_url(&server, "games/g1"), None, None).await.unwrap();
    watcher.expect("snapshot").await;
    let poll = tokio::spawn(server.request("GET", "/api/v1/games/g1/events?after=5&wait=20").send());
    for next in 3..=6 {
        assert!(!poll.is_finished(), "before version {next}");
        // Time for the poll to begin, and for it to hear of each change.
        tokio::time::sleep(Duration::from_millis(100)).await;
        count_on(&server, next, next).await;
        watcher.expect("change").await;
    }
    let answer = poll.await.unwrap().unwrap();
    assert_eq!(answer.status(), 200);
    let page: Value = serde_json::from_str(&answer.text().await.unwrap()).unwrap();
    assert_eq!(page["items"][0]["version"], 6);
}

#[tokio::test]
async fn a_long_poll_waits_to_its_end_when_nothing_comes() {
    let server = Process::start(&[]);
    // Many at once, each straight after a change: the news of that change must not end the wait for the next.
    let poll = |id: usize| {
        let put = server.request("PUT", &format!("/api/v1/games/g{id}")).json(&json!({ "state": {} }));
        let poll = server.request("GET", &format!("/api/v1/games/g{id}/events?after=1&wait=1"));
        tokio::spawn(async move {
            assert_eq!(put.send().await.unwrap().status(), 201);
            let began = Instant::now();
            assert_eq!(poll.send().await.unwrap().status(), 204);
            assert!(began.elapsed() >= Duration::from_millis(990), "{:?}", began.elapsed());
        })
    };
    let polls: Vec<_> = (0..200).map(poll).collect();
    for poll in polls {
        poll.await.unwrap();
    }
}
