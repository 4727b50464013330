//! Answers that are given again to a retry.

use futures_util::future::join_all;
use serde_json::json;

use super::{body, keyed, next, open_game, reconnect, start, token};
use crate::support::{Disk, Moment};

#[tokio::test]
async fn a_retry_gets_the_first_answer_with_its_token_also_after_kill_9() {
    let mut server = start(&[]).await;
    let token = token(&server, "alice").await;
    let request = body("alice", &token);
    let first = keyed(&server, "alice", "k1", &request).await.expect(200);
    assert!(!first.headers.contains_key("idempotency-replayed"));
    for round in 0..2 {
        assert_eq!(server.merge("/api/v1/games/g1", &json!({ "pot": round + 5 })).await.0, 200);
        let again = keyed(&server, "alice", "k1", &request).await.expect(200);
        assert_eq!(again.header("idempotency-replayed"), "true");
        assert_eq!(again.header("cache-control"), "no-store");
        assert_eq!(again.text, first.text, "of then, not of now");
        server.kill();
        server.start_again();
    }
    let mut other = request.clone();
    other["lastEventId"] = "0".into();
    keyed(&server, "alice", "k1", &other).await.problem(422, "idempotency-mismatch");
    // Whoever has the key and not the token, or is another, gets nothing by it.
    let guess = body("alice", &format!("rjt_{}", "A".repeat(43)));
    keyed(&server, "alice", "k1", &guess).await.problem(422, "idempotency-mismatch");
    keyed(&server, "bob", "k1", &request).await.problem(403, "reconnect-token-mismatch");
    reconnect(&server, "alice", "alice", &next(&first)).await.expect(200);
}

#[tokio::test]
async fn the_same_request_many_times_at_once_is_done_once_and_answered_alike() {
    let server = start(&[]).await;
    let request = body("alice", &token(&server, "alice").await);
    let replies = join_all((0..30).map(|_| keyed(&server, "alice", "k1", &request))).await;
    let text = replies[0].text.clone();
    for reply in &replies {
        assert_eq!((reply.status, &reply.text), (200, &text));
    }
    assert_eq!(replies.iter().filter(|reply| !reply.headers.contains_key("idempotency-replayed")).count(), 1);
}

#[tokio::test]
async fn a_request_that_a_kill_cut_off_is_done_once_in_the_end() {
    let (disk, mut server) = Disk::with_server(&[]);
    open_game(&server).await;
    let mut newest = token(&server, "alice").await;
    for (round, moment) in Moment::ALL.into_iter().enumerate() {
        let (key, request) = (format!("key-of-round-{round}"), body("alice", &newest));
        let call = server.request_as("alice", "POST", "/api/game/g1/reconnect").await.json(&request);
        disk.kill(moment, &key);
        let sent = call.header("idempotency-key", &key).send().await;
        assert!(sent.is_err(), "{moment:?}: killed before it was answered");
        server.until_killed().await;
        disk.set("off");
        server.start_again();
        let reply = keyed(&server, "alice", &key, &request).await.expect(200);
        let replayed = reply.headers.contains_key("idempotency-replayed");
        assert_eq!(replayed, moment.keeps_the_change(), "{moment:?}");
        newest = next(&reply);
    }
    reconnect(&server, "alice", "alice", &newest).await.expect(200);
}
