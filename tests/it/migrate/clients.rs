//! What clients see of a game that moves: lists, streams, batches, retries of the move itself.

use serde_json::{Value, json};

use super::{GAME, Hand, RECONNECT, ask, hosting, migrate, target, until_moved, without_redirects, write};
use crate::support::relay::{Does, Relay};
use crate::support::session::shown;
use crate::support::{Follower, Process};

async fn listed(server: &Process, query: &str) -> Value {
    let list = server.get(&format!("/api/v1/games{query}")).await.1;
    list["items"].as_array().unwrap().iter().find(|item| item["id"] == "g1").cloned().unwrap_or_default()
}

#[tokio::test]
async fn lists_say_where_a_game_is_and_not_what_it_was() {
    let (mut from, to) = (hosting(&[], 5).await, target().await);
    assert_eq!(from.put("/api/v1/games/g2", &json!({ "stays": true })).await.0, 201);
    let before = listed(&from, "?include=state").await;
    assert!(before["state"].is_object() && before.get("movedTo").is_none(), "{before}");
    assert_eq!(migrate(&from, &to.url).await.0, 200);
    assert_eq!(write(&to, 6).await, 200);
    for _ in 0..2 {
        for query in ["", "?include=state"] {
            let item = listed(&from, query).await;
            assert_eq!((&item["movedTo"], &item["version"]), (&json!(to.url), &json!(5)), "{item}");
            assert!(item.get("state").is_none(), "{item}");
        }
        from.kill();
        from.start_again();
    }
    let there = listed(&to, "?include=state").await;
    assert_eq!((&there["version"], &there["state"]["n"]), (&json!(6), &json!(6)));
    assert_eq!(migrate(&to, &from.url).await.0, 200);
    let back = listed(&from, "?include=state").await;
    assert!(back.get("movedTo").is_none() && back["state"]["n"] == 6, "{back}");
    assert_eq!(listed(&to, "").await["movedTo"], from.url);
}

#[tokio::test]
async fn where_a_game_is_is_not_told_to_whoever_may_not_read_it() {
    let (mut from, to) = (hosting(&[], 3).await, target().await);
    from.tell("PUT", &format!("{GAME}/access"), &[], json!({ "read": ["alice"] })).await.expect(200);
    assert_eq!(migrate(&from, &to.url).await.0, 200);
    for _ in 0..2 {
        for (method, path) in [
            ("GET", ""),
            ("HEAD", ""),
            ("PUT", ""),
            ("PATCH", ""),
            ("DELETE", ""),
            ("GET", "/events"),
            ("GET", "/access"),
            ("GET", "/seats"),
            ("POST", "/seats"),
            ("GET", "/persistence"),
            ("POST", "/actions"),
        ] {
            let path = format!("{GAME}{path}");
            let request = |viewer| {
                let (from, path) = (&from, path.clone());
                async move {
                    let request = shown(from.request(method, &path), viewer).await;
                    without_redirects(request.json(&json!({}))).await
                }
            };
            let (status, headers, body) = request("bob").await;
            assert_eq!((status, headers.get("location")), (404, None), "{method} {path}: {body}");
            assert!(!body.to_string().contains(&to.url), "{method} {path}: {body}");
            let (status, headers, _) = request("alice").await;
            let there = format!("{}{path}", to.url);
            assert_eq!((status, headers["location"].to_str().unwrap()), (308, &*there), "{method}");
        }
        let token = json!({ "gameId": "g1", "playerId": "bob", "reconnectToken": format!("rjt_{}", "A".repeat(43)) });
        let request = shown(from.request("POST", RECONNECT), "bob").await.json(&token);
        let (status, _, body) = without_redirects(request).await;
        assert_eq!(status, 404, "{body}");
        // Nobody is told where it is before they say who they are.
        let nobody = from.request("GET", GAME).header("x-forwarded-for", "192.0.2.1");
        assert_eq!(without_redirects(nobody).await.0, 401);
        // Also when it is not in memory.
        from.kill();
        from.start_again();
    }
}

#[tokio::test]
async fn streams_tell_where_a_game_is_whenever_they_begin() {
    let (mut from, to) = (hosting(&[], 5).await, target().await);
    assert_eq!(from.put("/api/v1/games/g2", &json!({ "stays": true })).await.0, 201);
    let all = format!("{}/api/v1/stream?collection=games", from.url);
    let mut early = Follower::connect(&all, None, None).await.unwrap();
    assert_eq!(early.expect("snapshot").await.data["documents"].as_array().unwrap().len(), 2);
    assert_eq!(migrate(&from, &to.url).await.0, 200);
    let moved = early.expect("moved").await;
    let seen = early.last_event_id.clone();
    for _ in 0..2 {
        // Whoever begins gets what is here, and is told where the rest is; so is whoever missed that.
        let both = format!("{}/api/v1/stream?doc=games/g1&doc=games/g2", from.url);
        for url in [&all, &both] {
            let mut late = Follower::connect(url, None, None).await.unwrap();
            let documents = late.expect("snapshot").await.data["documents"].clone();
            assert_eq!((documents.as_array().unwrap().len(), &documents[0]["id"]), (1, &json!("g2")), "{documents}");
            assert_eq!(late.expect("moved").await.data, moved.data);
            assert_eq!(from.merge("/api/v1/games/g2", &json!({ "more": url.len() })).await.0, 200);
            assert_eq!(late.expect("change").await.data["id"], "g2");
        }
        let mut back = Follower::connect(&all, None, Some(&seen)).await.unwrap();
        let missed = back.expect("resumed").await.data["count"].as_u64().unwrap();
        back.changes(usize::try_from(missed).unwrap()).await;
        assert_eq!(back.expect("moved").await.data, moved.data);
        from.kill();
        from.start_again();
    }
    // Of itself alone there is nothing more to be told here.
    let (status, headers, _) = ask(&from, "GET", &format!("{GAME}/events"), &Value::Null).await;
    assert_eq!((status, headers["location"].to_str().unwrap()), (308, &*format!("{}{GAME}/events", to.url)));
    let alone = format!("{}/api/v1/stream?doc=games/g1", from.url);
    let mut alone = Follower::connect(&alone, None, None).await.unwrap();
    assert_eq!(alone.expect("snapshot").await.data["documents"], json!([]));
    assert_eq!(alone.expect("moved").await.data, moved.data);
    assert!(alone.next().await.is_none());
}

#[tokio::test]
async fn a_batch_goes_where_all_of_it_is_or_is_told_what_is_elsewhere() {
    let (from, to) = (hosting(&[], 5).await, target().await);
    let put = |id: &str| json!({ "op": "put", "collection": "games", "id": id, "state": { "by": "batch" } });
    let mixed = json!({ "operations": [put("g2"), put("g1"), put("g1")] });
    let key = [("idempotency-key", "batch-1")];
    let first = from.tell("POST", "/api/v1/batch", &key, &mixed).await.expect(200);
    assert_eq!(migrate(&from, &to.url).await.0, 200);
    // A repetition is answered as it was.
    let again = from.tell("POST", "/api/v1/batch", &key, &mixed).await.expect(200);
    assert_eq!((again.header("idempotency-replayed"), &again.text), ("true", &first.text));
    let before = from.get("/api/v1/games/g2").await.1;
    let refusal = from.tell("POST", "/api/v1/batch", &[], &mixed).await.problem(409, "game-elsewhere");
    assert_eq!(
        (&refusal["index"], &refusal["document"], &refusal["to"]),
        (&json!(1), &json!("games/g1"), &json!(to.url))
    );
    assert_eq!(from.get("/api/v1/games/g2").await.1, before, "nothing of it happened");
    for operations in [json!([put("g1")]), json!([put("g1"), put("g1")])] {
        let batch = json!({ "operations": operations });
        let (status, headers, _) = ask(&from, "POST", "/api/v1/batch", &batch).await;
        assert_eq!((status, headers["location"].to_str().unwrap()), (308, &*format!("{}/api/v1/batch", to.url)));
        // Whoever follows that has it done there.
        let (status, done) = from.post("/api/v1/batch", &batch).await;
        assert_eq!(status, 200, "{done}");
        let last = done["results"].as_array().unwrap().last().unwrap();
        assert_eq!(last["version"], to.get(GAME).await.1["version"]);
    }
}

#[tokio::test]
async fn whoever_repeats_the_order_to_move_gets_the_first_answer() {
    let (mut from, to) = (hosting(&[], 5).await, target().await);
    let path = format!("{GAME}/migrate");
    let order = json!({ "to": to.url });
    let key = [("idempotency-key", "move-1")];
    // What fails is not kept.
    let nobody = json!({ "to": "http://127.0.0.1:9" });
    from.tell("POST", &path, &key, &nobody).await.problem(503, "other-server-unavailable");
    let first = from.tell("POST", &path, &key, &order).await.expect(200);
    assert!(first.headers.get("idempotency-replayed").is_none());
    for _ in 0..2 {
        let again = from.tell("POST", &path, &key, &order).await.expect(200);
        assert_eq!((again.header("idempotency-replayed"), &again.text), ("true", &first.text));
        from.tell("POST", &path, &key, &nobody).await.problem(422, "idempotency-mismatch");
        from.kill();
        from.start_again();
    }
    // Without that key it is a request about a game that is elsewhere.
    let request = from.request("POST", &path).header("idempotency-key", "move-2").json(&order);
    assert_eq!(without_redirects(request).await.0, 308);
    assert_eq!(ask(&from, "POST", &path, &order).await.0, 308);
    // Back, and the answer of then stays what it was.
    assert_eq!(migrate(&to, &from.url).await.0, 200);
    assert_eq!(from.tell("POST", &path, &key, &order).await.expect(200).text, first.text);
    assert_eq!(write(&from, 9).await, 200, "it moves once for each key");
}

#[tokio::test]
async fn an_order_to_move_that_was_answered_before_the_end_keeps_that_answer() {
    let (from, mut to) = (hosting(&[], 5).await, target().await);
    let mut relay = Relay::before(&to).await;
    relay.when("confirm", Does::HoldsRequest);
    let (path, order) = (format!("{GAME}/migrate"), json!({ "to": relay.url }));
    let request = from.request("POST", &path).header("idempotency-key", "move-1").json(&order);
    let moving = tokio::spawn(request.send());
    relay.until("confirm").await;
    to.kill();
    relay.when("confirm", Does::Forwards);
    relay.release();
    let first = moving.await.unwrap().unwrap();
    assert_eq!(first.status().as_u16(), 202);
    let first = first.text().await.unwrap();
    to.start_again();
    until_moved(&to, &from).await;
    let again = from.tell("POST", &path, &[("idempotency-key", "move-1")], &order).await.expect(202);
    assert_eq!((again.header("idempotency-replayed"), &again.text), ("true", &first));
}

#[tokio::test]
async fn a_request_that_a_move_overtook_is_shown_the_way() {
    let (from, to) = (hosting(&[], 5).await, target().await);
    let hand = Hand::dealt(&from, "bob", 3).await;
    let mut relay = Relay::before(&to).await;
    relay.when("confirm", Does::HoldsAnswer);
    let moving =
        tokio::spawn(from.request("POST", &format!("{GAME}/migrate")).json(&json!({ "to": relay.url })).send());
    relay.until("confirm").await;
    relay.when("confirm", Does::Forwards);
    // Many at once, so that some are on their way when the game is shown to be elsewhere.
    let (body, mut asking) = (hand.body(), Vec::new());
    let client = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).build().unwrap();
    for n in 0..40 {
        let change = json!({ "type": "act", "patch": { "n": n } });
        let (path, body) = if n % 2 == 0 { (RECONNECT, &body) } else { ("/api/v1/games/g1/actions", &change) };
        let request = client.post(format!("{}{path}", from.url)).json(body);
        asking.push((
            path,
            tokio::spawn(async move {
                loop {
                    let answer = request.try_clone().unwrap().send().await.unwrap();
                    if answer.status().as_u16() != 503 {
                        return answer;
                    }
                }
            }),
        ));
    }
    relay.release();
    for (path, answer) in asking {
        let answer = answer.await.unwrap();
        assert_eq!(
            (answer.status().as_u16(), answer.headers()["location"].to_str().unwrap()),
            (308, &*format!("{}{path}", relay.url))
        );
    }
    assert_eq!(moving.await.unwrap().unwrap().status().as_u16(), 202);
}
