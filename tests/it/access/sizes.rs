//! How much of a game somebody may not see shows nowhere: two games that differ only in that give the same answers.

use serde_json::{Value, json};

use tokio::time::timeout;

use super::create;
use crate::support::call::with;
use crate::support::stream::PATIENCE;
use crate::support::{AS, Follower, Process, Reply};

/// What may differ: hashes, times, what follows from either, and how long things took.
fn masked(reply: &Reply) -> String {
    let mut out = String::new();
    let text = &reply.text;
    let mut digits = String::new();
    for letter in text.chars().chain(['\n']) {
        if letter.is_ascii_hexdigit() || matches!(letter, ':' | '-' | '.' | 'T' | 'Z') {
            digits.push(letter);
            continue;
        }
        let is_time = digits.len() == 24 && digits.ends_with('Z');
        out.push_str(if digits.len() == 64 || is_time { "#" } else { &digits });
        digits.clear();
        out.push(letter);
    }
    let server = out.find("\"server\":").unwrap_or(out.len());
    format!("{} {}", reply.status, &out[..server])
}

/// All that a player can ask of a game without changing it.
async fn answers(server: &Process) -> Vec<String> {
    let mut told = Vec::new();
    for path in [
        "/api/v1/games/g1",
        "/api/v1/games/g1?version=1",
        "/api/v1/games/g1/events?limit=500",
        "/api/v1/games?include=state",
        "/api/v1/games/g1/seats",
        "/api/v1/games/g1/access",
        "/api/v1/games/g1/persistence",
        "/api/game/g1/restore",
    ] {
        let reply = server.ask("GET", path, &[(AS, "bob")]).await;
        told.push(format!("{path}: {}", masked(&reply)));
    }
    told
}

/// The statuses of writes of which each says a little more, around the bound of a state.
async fn padded(server: &Process) -> Vec<u16> {
    let merge = [(AS, "bob"), ("content-type", "application/merge-patch+json")];
    let mut statuses = Vec::new();
    for step in 0..24 {
        let body = json!({ "pad": "x".repeat(60_000 + step * 128) });
        statuses.push(server.tell("PATCH", "/api/v1/games/g1", &merge, body).await.status);
    }
    let exact = json!({ "pad": "x".repeat(64_000) });
    let operation = json!({ "op": "patch", "collection": "games", "id": "g1", "patch": exact });
    let batch = json!({ "operations": [operation] });
    statuses.push(server.tell("POST", "/api/v1/batch", &[(AS, "bob")], batch).await.status);
    statuses
}

#[tokio::test]
async fn two_games_that_differ_in_what_is_hidden_give_a_player_the_same_answers() {
    let mut told = Vec::new();
    for (card, more) in [("KS", 1), ("10H", 700)] {
        let server = Process::start(&["--state-bytes-max", "65536"]);
        let hidden = json!({ "deck": [card], "note": "n".repeat(more) });
        let state = json!({ "n": 0, "hidden": hidden, "private": { "eve": { "cards": [card] } } });
        create(&server, Some("ann"), json!({ "id": "g1", "state": state })).await.expect(201);
        server.tell("POST", "/api/v1/games/g1/seats", &[(AS, "ann")], json!({ "playerId": "eve" })).await.expect(201);
        let merge = [(AS, "ann"), ("content-type", "application/merge-patch+json")];
        for n in 1..20 {
            // What it takes to say what changed, and how much else there is, differ as well.
            let dealt: Vec<Value> = (0..n).map(|_| json!(card)).collect();
            let body = json!({ "n": n, "hidden": { "deck": dealt }, "private": { "eve": { "cards": [card, n] } } });
            server.tell("PATCH", "/api/v1/games/g1", &merge, body).await.expect(200);
        }
        told.push((answers(&server).await, padded(&server).await, answers(&server).await));
    }
    assert!(told[0].1.contains(&200) && told[0].1.contains(&413), "the bound was met: {:?}", told[0].1);
    assert_eq!(told[0], told[1]);
    let host = Process::start(&[]);
    create(&host, Some("ann"), json!({ "id": "g1", "state": { "n": 0 } })).await.expect(201);
    let all = host.ask("GET", "/api/v1/games/g1/persistence", &[(AS, "ann")]).await.expect(200);
    assert!(all.body["bytes"].as_u64() > Some(0), "the host is told: {}", all.text);
    let less = host.ask("GET", "/api/v1/games/g1/persistence", &[(AS, "bob")]).await.expect(200);
    assert!(less.body.get("bytes").is_none() && less.body["events"] == 1, "{}", less.text);
}

/// How many changes are in each piece in which a stream's answer comes.
async fn pieces(server: &Process, path: &str, changes: usize) -> Vec<usize> {
    let request = server.request("GET", path).header("accept", "text/event-stream").header("last-event-id", "0");
    let mut response = with(request, &[(AS, "bob")]).await.send().await.unwrap();
    let (mut pieces, mut told) = (Vec::new(), 0);
    while told < changes {
        let piece = timeout(PATIENCE, response.chunk()).await.expect("the stream goes on").unwrap().unwrap();
        let count = String::from_utf8_lossy(&piece).matches("event: change").count();
        told += count;
        // How it begins may come by itself.
        pieces.extend((count > 0).then_some(count));
    }
    pieces
}

#[tokio::test]
async fn where_a_page_ends_does_not_tell_how_much_is_hidden() {
    const VERSIONS: usize = 12;
    let mut told = Vec::new();
    for hidden in [1, 750_000] {
        let mut server = Process::start(&["--history-events", "1000"]);
        let secret = |n: usize| json!({ "n": n, "hidden": { "deck": format!("{n:02}{}", "x".repeat(hidden)) } });
        for n in 1..=VERSIONS {
            server.tell("PUT", "/api/v1/games/g1", &[(AS, "ann")], json!({ "state": secret(n) })).await;
            let other = format!("/api/v1/scenes/s{n:02}");
            server.tell("PUT", &other, &[(AS, "ann")], json!({ "state": secret(n) })).await.expect(201);
        }
        for _ in 0..2 {
            let list = server.ask("GET", "/api/v1/scenes?include=state", &[(AS, "bob")]).await.expect(200).body;
            let history = server.ask("GET", "/api/v1/games/g1/events?limit=500", &[(AS, "bob")]).await.expect(200).body;
            let headers = [(AS, "bob"), ("accept", "application/json"), ("last-event-id", "0")];
            let paged = server.ask("GET", "/api/v1/stream?collection=scenes&doc=games/g1", &headers).await.expect(200);
            let url = format!("{}/api/v1/stream?collection=scenes&doc=games/g1", server.url);
            let mut follower = Follower::connect(&url, Some("bob"), None).await.unwrap();
            let snapshot = follower.expect("snapshot").await.data;
            let count = |of: &Value| of.as_array().unwrap().len();
            told.push((
                (count(&list["items"]), list.get("nextCursor").is_some()),
                (count(&history["items"]), history.get("nextCursor").is_some()),
                (count(&paged.body["events"]), paged.body["more"].clone()),
                count(&snapshot["documents"]),
                pieces(&server, "/api/v1/games/g1/events", VERSIONS).await,
                pieces(&server, "/api/v1/stream?collection=scenes", VERSIONS).await,
            ));
            // From the disk, too.
            server.kill();
            server.start_again();
        }
    }
    assert_eq!(told[0].0, (VERSIONS, false), "{told:?}");
    assert_eq!(told[0].1, (VERSIONS, false), "{told:?}");
    assert_eq!(told[0], told[2]);
    assert_eq!(told[1], told[3]);
}

#[tokio::test]
async fn pages_are_still_bounded_by_what_they_show() {
    let server = Process::start(&[]);
    let text = "x".repeat(900_000);
    for n in 0..11 {
        let state = json!({ "n": n, "text": format!("{n}{text}"), "private": { "eve": n } });
        let path = format!("/api/v1/scenes/s{n:02}");
        server.tell("PUT", &path, &[(AS, "ann")], json!({ "state": state })).await.expect(201);
        server.tell("PUT", "/api/v1/games/g1", &[(AS, "ann")], json!({ "state": state })).await;
    }
    for viewer in ["ann", "bob"] {
        for (path, members) in [("/api/v1/scenes?include=state", 11), ("/api/v1/games/g1/events?limit=500", 11)] {
            let (mut seen, mut pages, mut cursor) = (0, 0, String::new());
            loop {
                let separator = if path.contains('?') { '&' } else { '?' };
                let page = server.ask("GET", &format!("{path}{cursor}"), &[(AS, viewer)]).await.expect(200);
                assert!(page.text.len() < 10 << 20, "{}", page.text.len());
                seen += page.body["items"].as_array().unwrap().len();
                pages += 1;
                match page.body["nextCursor"].as_str() {
                    Some(next) => cursor = format!("{separator}cursor={next}"),
                    None => break,
                }
            }
            assert_eq!((seen, pages), (members, 2), "{viewer} {path}");
        }
    }
}
