//! Taking a seat, ending a game and storing it are done once for one `Idempotency-Key`.

use futures_util::future::join_all;
use serde_json::{Value, json};

use super::start;
use crate::support::{Disk, Moment, Process, Reply};

const SEATS: &str = "/api/v1/games/g1/seats";
const COMPLETE: &str = "/api/v1/games/g1/complete";
const PERSIST: &str = "/api/game/g1/persist";

async fn keyed(server: &Process, viewer: &str, key: &str, path: &str, body: &Value) -> Reply {
    let mut headers = super::as_viewer(viewer);
    headers.push(("idempotency-key", key));
    server.tell("POST", path, &headers, body).await
}

fn again(first: &Reply, reply: &Reply) {
    assert_eq!((reply.status, &reply.text), (first.status, &first.text));
    assert_eq!(reply.header("idempotency-replayed"), "true");
    assert_eq!(reply.header("content-type"), first.header("content-type"));
    assert!(!first.headers.contains_key("idempotency-replayed"));
}

fn replayed(reply: &Reply) -> bool {
    reply.headers.contains_key("idempotency-replayed")
}

#[tokio::test]
async fn a_repeated_key_gets_the_first_answer_also_after_kill_9_and_does_nothing() {
    let mut server = start(&[]).await;
    let (join, persist) = (json!({ "playerId": "carol" }), json!({ "gameId": "g1" }));
    let seated = keyed(&server, "carol", "k1", SEATS, &join).await.expect(201);
    let stored = keyed(&server, "", "k2", PERSIST, &persist).await.expect(200);
    // What was done since does not show in them.
    server.ask("DELETE", &format!("{SEATS}/carol"), &[]).await.expect(204);
    assert_eq!(server.merge("/api/v1/games/g1", &json!({ "pot": 1 })).await.0, 200);
    let over = keyed(&server, "", "k3", COMPLETE, &json!({})).await.expect(200);
    for removed in [false, true] {
        for _ in 0..2 {
            again(&seated, &keyed(&server, "carol", "k1", SEATS, &join).await);
            again(&stored, &keyed(&server, "", "k2", PERSIST, &persist).await);
            again(&over, &keyed(&server, "", "k3", COMPLETE, &json!({})).await);
            server.kill();
            server.start_again();
        }
        if !removed {
            let seats = server.get(SEATS).await.1;
            assert_eq!(seats["items"].as_array().unwrap().len(), 2, "nobody sat down again: {seats}");
            server.ask("DELETE", PERSIST, &[]).await.expect(204);
        }
    }
    // Of another, it is another's.
    keyed(&server, "dave", "k1", SEATS, &json!({ "playerId": "dave" })).await.problem(410, "gone");
}

#[tokio::test]
async fn the_same_key_for_another_request_is_refused() {
    let server = start(&[]).await;
    keyed(&server, "carol", "k", SEATS, &json!({ "playerId": "carol" })).await.expect(201);
    for (path, body) in [
        (SEATS, json!({ "playerId": "carol", "seat": 3 })),
        ("/api/v1/games/g2/seats", json!({ "playerId": "carol" })),
        (PERSIST, json!({ "gameId": "g1" })),
        (COMPLETE, json!({})),
        ("/api/v1/games/g1/actions", json!({ "type": "x", "patch": { "pot": 1 } })),
    ] {
        keyed(&server, "carol", "k", path, &body).await.problem(422, "idempotency-mismatch");
    }
    keyed(&server, "carol", "a", "/api/v1/games/g1/actions", &json!({ "type": "x", "patch": {} })).await.expect(200);
    keyed(&server, "carol", "a", SEATS, &json!({ "playerId": "carol" })).await.problem(422, "idempotency-mismatch");
    for bad in ["", " ", "\u{e4}", &"x".repeat(256)] {
        keyed(&server, "carol", bad, SEATS, &json!({ "playerId": "carol" })).await.problem(400, "invalid-request");
    }
    // What was refused is not kept: it may come true later.
    keyed(&server, "dave", "d", SEATS, &json!({ "playerId": "dave", "seat": 0 })).await.problem(409, "seat-taken");
    server.ask("DELETE", &format!("{SEATS}/alice"), &[]).await.expect(204);
    keyed(&server, "dave", "d", SEATS, &json!({ "playerId": "dave", "seat": 0 })).await.expect(201);
}

#[tokio::test]
async fn the_same_call_many_times_at_once_is_done_once() {
    let server = start(&[]).await;
    for (viewer, path, body) in [
        ("carol", SEATS, json!({ "playerId": "carol" })),
        ("", PERSIST, json!({ "gameId": "g1" })),
        ("", COMPLETE, json!({})),
    ] {
        let replies = join_all((0..20).map(|_| keyed(&server, viewer, path, path, &body))).await;
        let first = replies.iter().find(|reply| !replayed(reply)).unwrap();
        assert_eq!(replies.iter().filter(|reply| !replayed(reply)).count(), 1, "{path}");
        assert!(replies.iter().all(|reply| (reply.status, &reply.text) == (first.status, &first.text)), "{path}");
    }
}

#[tokio::test]
async fn a_call_that_a_kill_cut_off_is_done_once_in_the_end() {
    let (disk, mut server) = Disk::with_server(&[]);
    super::open_game(&server).await;
    for (round, moment) in Moment::ALL.into_iter().enumerate() {
        let (player, key) = (format!("p{round}"), format!("key-of-round-{round}"));
        let body = json!({ "playerId": player });
        disk.kill(moment, &key);
        let call = server.request("POST", SEATS).header("idempotency-key", &key).json(&body);
        assert!(call.send().await.is_err(), "{moment:?}: killed before it was answered");
        server.until_killed().await;
        disk.set("off");
        server.start_again();
        let reply = keyed(&server, "", &key, SEATS, &body).await.expect(201);
        assert_eq!(replayed(&reply), moment.keeps_the_change(), "{moment:?}");
        let seats = server.get(SEATS).await.1;
        let taken = seats["items"].as_array().unwrap().iter().filter(|seat| seat["playerId"] == *player).count();
        assert_eq!(taken, 1, "{moment:?}: {seats}");
        server.ask("DELETE", &format!("{SEATS}/{player}"), &[]).await.expect(204);
    }
}

#[tokio::test]
async fn what_storage_refused_is_done_when_it_is_repeated() {
    let (disk, server) = Disk::with_server(&[]);
    super::open_game(&server).await;
    disk.set("enospc");
    assert_eq!(server.merge("/api/v1/games/g1", &json!({ "pot": 1 })).await.0, 202);
    for (path, body) in [(SEATS, json!({ "playerId": "carol" })), (PERSIST, json!({ "gameId": "g1" }))] {
        let reply = keyed(&server, "", path, path, &body).await;
        assert!(reply.problem(503, "storage-unavailable")["detail"].is_string());
    }
    disk.set("off");
    server.until_ready(|status, report| status == 200 && report["storage"]["state"] == "ok").await;
    for (path, body, status) in [
        (SEATS, json!({ "playerId": "carol" }), 201),
        (PERSIST, json!({ "gameId": "g1" }), 200),
        (COMPLETE, json!({}), 200),
    ] {
        assert!(!replayed(&keyed(&server, "", path, path, &body).await.expect(status)));
        assert!(replayed(&keyed(&server, "", path, path, &body).await.expect(status)));
    }
}
