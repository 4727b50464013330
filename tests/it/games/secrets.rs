//! What must not get out: tokens, and other players' cards.

use std::path::Path;

use serde_json::{Value, json};

use super::{ask_token, body, join, keyed, next, start, token};
use crate::support::{AS, Reply};

/// The bytes of all files in the data directory.
fn dump(directory: &Path) -> Vec<u8> {
    let mut bytes = Vec::new();
    for entry in std::fs::read_dir(directory).unwrap() {
        bytes.extend(std::fs::read(entry.unwrap().path()).unwrap());
    }
    bytes
}

fn holds(bytes: &[u8], text: &str) -> bool {
    memchr::memmem::find(bytes, text.as_bytes()).is_some()
}

#[tokio::test]
async fn no_token_is_on_disk_or_in_the_log_in_clear() {
    let mut server = start(&["--log", "trace"]).await;
    let mut tokens = vec![token(&server, "alice").await];
    for round in 0..5 {
        let newest = tokens.last().unwrap().clone();
        let request = body("alice", &newest);
        tokens.push(next(&keyed(&server, "alice", &format!("k{round}"), &request).await.expect(200)));
        keyed(&server, "alice", &format!("k{round}"), &request).await.expect(200);
        keyed(&server, "bob", &format!("k{round}"), &request).await.problem(403, "reconnect-token-mismatch");
        super::reconnect(&server, "alice", "alice", &newest).await.problem(409, "reconnect-token-raced");
        super::reconnect(&server, "alice", "alice", &newest[..40]).await.problem(401, "reconnect-token-unknown");
    }
    let running = dump(&server.data_dir());
    assert!(holds(&running, "reconnect_tokens") && holds(&running, "CARDS-OF-ALICE"), "the dump is of the database");
    assert!(server.log().contains("/api/game/g1/reconnect"), "the log has the requests");
    server.kill();
    server.start_again();
    assert!(server.terminate().success());
    let stopped = dump(&server.data_dir());
    assert_eq!(tokens.len(), 6);
    for token in &tokens {
        // Neither whole nor the half of it, with or without the prefix.
        for part in [&token[4..], &token[4..26], &token[26..]] {
            assert!(!holds(&running, part) && !holds(&stopped, part), "{part} is on disk");
            assert!(!server.log().contains(part), "{part} is in the log");
        }
    }
}

fn check(reply: &Reply, of_whom: &str) {
    let shown = format!("{} {:?}", reply.text, reply.headers);
    for secret in ["DECK", "CARDS-OF-ALICE", "CARDS-OF-BOB"] {
        let own = secret == format!("CARDS-OF-{}", of_whom.to_uppercase());
        assert!(own || !shown.contains(secret), "{of_whom}: {shown}");
    }
    assert!(!shown.contains("salt"), "{shown}");
}

#[tokio::test]
async fn no_answer_holds_the_cards_of_another() {
    let server = start(&[]).await;
    let first = server.ask("GET", "/api/v1/games/g1", &[]).await.header("rejoin-position").to_owned();
    for hand in 2..6 {
        let patch = json!({
            "pot": hand,
            "hidden": { "deck": [format!("DECK{hand}")] },
            "private": {
                "alice": { "cards": [format!("CARDS-OF-ALICE-{hand}")] },
                "bob": { "cards": [format!("CARDS-OF-BOB-{hand}")] },
            },
        });
        let action = json!({ "type": "deal", "patch": patch, "payload": { "hidden": { "seed": "DECK" } } });
        assert_eq!(server.post("/api/v1/games/g1/actions", &action).await.0, 200);
    }
    for (player, caller) in [("alice", "alice"), ("bob", "bob"), ("alice", "")] {
        let mut newest = ask_token(&server, player, player).await.body["token"].as_str().unwrap().to_owned();
        for last in [json!(first), json!("0"), json!("nonsense"), Value::Null] {
            let mut request = body(player, &newest);
            request["lastEventId"] = last;
            let headers = super::as_viewer(caller);
            let reply = server.tell("POST", "/api/game/g1/reconnect", &headers, &request).await.expect(200);
            check(&reply, player);
            let own = format!("CARDS-OF-{}-5", player.to_uppercase());
            assert!(reply.body["gameState"].to_string().contains(&own), "their own they get: {}", reply.text);
            newest = next(&reply);
        }
    }
    // Whoever is no player sees no cards at all, and a player none of another's by asking as them.
    join(&server, "carol", "carol", None).await.expect(201);
    let of_carol = token(&server, "carol").await;
    let mut request = body("carol", &of_carol);
    request["lastEventId"] = "0".into();
    let reply = server.tell("POST", "/api/game/g1/reconnect", &[(AS, "carol")], &request).await.expect(200);
    assert_eq!(reply.body["missedEvents"].as_array().unwrap().len(), 5);
    check(&reply, "carol");
    for (method, path, sent) in [
        ("GET", "/api/v1/games/g1/seats", None),
        ("GET", "/api/game/g1/connection-token?playerId=alice", None),
        ("POST", "/api/v1/games/g1/seats", Some(json!({ "playerId": "alice" }))),
        ("POST", "/api/v1/games/g1/complete", Some(json!({}))),
        ("POST", "/api/game/g1/reconnect", Some(body("alice", &next(&reply)))),
        ("POST", "/api/game/g1/reconnect", Some(body("bob", &of_carol))),
        ("DELETE", "/api/v1/games/g1/seats/alice", None),
    ] {
        let headers = [(AS, "carol")];
        let reply = match sent {
            None => server.ask(method, path, &headers).await,
            Some(sent) => server.tell(method, path, &headers, sent).await,
        };
        check(&reply, "carol");
        assert!(reply.status >= 400 || method == "GET", "{method} {path}: {}", reply.text);
    }
}
