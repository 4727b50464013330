//! Who sits where, and for how long.

use futures_util::future::join_all;
use serde_json::json;

use super::{ask_token, join, reconnect, start, token};
use crate::support::{AS, Process};

#[tokio::test]
async fn players_get_the_seat_they_want_or_the_lowest_free_one_until_the_table_is_full() {
    let server = start(&[]).await;
    let seated = join(&server, "carol", "carol", Some(3)).await.expect(201).body;
    assert_eq!((&seated["playerId"], &seated["seat"]), (&json!("carol"), &json!(3)));
    assert_eq!((&seated["since"], &seated["connected"]), (&seated["joinedAt"], &json!(false)));
    let again = join(&server, "carol", "carol", Some(2)).await.expect(200).body;
    assert_eq!(again["seat"], 3, "who has a seat keeps it");
    assert_eq!(again["joinedAt"], seated["joinedAt"]);
    let taken = join(&server, "dave", "dave", Some(3)).await.problem(409, "seat-taken");
    assert!(taken["detail"].as_str().unwrap().contains("another"), "{taken}");
    join(&server, "dave", "dave", Some(4)).await.problem(400, "invalid-request");
    assert_eq!(join(&server, "dave", "dave", None).await.expect(201).body["seat"], 2);
    join(&server, "erin", "erin", None).await.problem(409, "table-full");
    join(&server, "erin", "erin", Some(0)).await.problem(409, "seat-taken");

    let seats = server.ask("GET", "/api/v1/games/g1/seats", &[(AS, "erin")]).await.expect(200).body;
    let listed: Vec<_> =
        seats["items"].as_array().unwrap().iter().map(|seat| (&seat["playerId"], &seat["seat"])).collect();
    let expect =
        [("alice", 0), ("bob", 1), ("dave", 2), ("carol", 3)].map(|(player, seat)| (json!(player), json!(seat)));
    assert_eq!(listed, expect.iter().map(|(player, seat)| (player, seat)).collect::<Vec<_>>());
    for member in ["joinedAt", "connected", "lastSeen", "since"] {
        assert!(seats["items"][0].get(member).is_some(), "{member}: {seats}");
    }
}

#[tokio::test]
async fn of_many_who_want_one_seat_one_gets_it_and_all_seats_of_a_rush_are_given_once() {
    let server = Process::start(&[]);
    assert_eq!(server.post("/api/v1/games", &json!({ "id": "g1", "state": {} })).await.0, 201);
    let players: Vec<String> = (0..20).map(|number| format!("p{number}")).collect();
    let one: Vec<u16> = join_all(players.iter().map(|player| join(&server, player, player, Some(7))))
        .await
        .iter()
        .map(|reply| reply.status)
        .collect();
    assert_eq!(
        (one.iter().filter(|status| **status == 201).count(), one.iter().filter(|status| **status == 409).count()),
        (1, 19)
    );
    let rush = join_all(players.iter().map(|player| join(&server, player, player, None))).await;
    assert_eq!(rush.iter().filter(|reply| reply.status == 201).count(), 9, "ten seats when nothing is said");
    assert_eq!(rush.iter().filter(|reply| reply.status == 200).count(), 1, "who had one");
    let (_, seats) = server.get("/api/v1/games/g1/seats").await;
    let numbers: Vec<_> =
        seats["items"].as_array().unwrap().iter().map(|seat| seat["seat"].as_u64().unwrap()).collect();
    assert_eq!(numbers, (0..10).collect::<Vec<_>>());
}

#[tokio::test]
async fn players_act_for_themselves_and_the_host_for_all() {
    let server = start(&[]).await;
    join(&server, "alice", "carol", None).await.problem(403, "forbidden");
    join(&server, "", "carol", None).await.expect(201);
    ask_token(&server, "bob", "alice").await.problem(403, "forbidden");
    ask_token(&server, "", "alice").await.expect(200);
    ask_token(&server, "carol", "carol").await.expect(200);
    ask_token(&server, "dave", "dave").await.problem(403, "not-a-participant");
    let leave = |viewer: &'static str, player: &'static str| {
        let server = &server;
        async move {
            let headers = super::as_viewer(viewer);
            server.ask("DELETE", &format!("/api/v1/games/g1/seats/{player}"), &headers).await
        }
    };
    leave("bob", "alice").await.problem(403, "forbidden");
    leave("alice", "alice").await.expect(204);
    leave("alice", "alice").await.problem(404, "not-found");
    leave("", "carol").await.expect(204);
    assert_eq!(join(&server, "dave", "dave", None).await.expect(201).body["seat"], 0, "the seat is free");
    server.ask("POST", "/api/v1/games/g1/complete", &[(AS, "bob")]).await.problem(403, "forbidden");
}

#[tokio::test]
async fn who_may_not_write_to_a_game_looks_on_and_is_seated_by_its_host() {
    let server = start(&[]).await;
    let access = |write: serde_json::Value| {
        let server = &server;
        async move { server.tell("PUT", "/api/v1/games/g1/access", &[], json!({ "write": write })).await.expect(200) }
    };
    access(json!("host")).await;
    let problem = join(&server, "carol", "carol", None).await.problem(403, "forbidden");
    assert!(problem["detail"].as_str().unwrap().contains("access.write"), "{problem}");
    join(&server, "alice", "alice", None).await.expect(200);
    ask_token(&server, "alice", "alice").await.expect(200);
    join(&server, "", "carol", None).await.expect(201);
    access(json!(["dave"])).await;
    join(&server, "erin", "erin", None).await.problem(403, "forbidden");
    join(&server, "dave", "dave", None).await.expect(201);
    let left = server.ask("DELETE", "/api/v1/games/g1/seats/carol", &[(AS, "carol")]).await;
    left.expect(204);
    join(&server, "carol", "carol", None).await.problem(403, "forbidden");
}

#[tokio::test]
async fn nobody_sits_under_a_name_of_the_owner() {
    let server = Process::start(&[]);
    assert_eq!(server.post("/api/v1/games", &json!({ "id": "g1", "state": {} })).await.0, 201);
    for name in ["Owner", "OWNER", "host", "HOST"] {
        let problem = join(&server, "", name, None).await.problem(400, "invalid-request");
        assert_eq!(problem["errors"][0]["field"], "playerId", "{problem}");
    }
    join(&server, "", "owner", None).await.expect(201);
}

#[tokio::test]
async fn a_completed_game_takes_nobody_in_and_nobody_back_also_after_a_restart() {
    let mut server = start(&[]).await;
    let token = token(&server, "alice").await;
    let path = "/api/v1/games/g1/complete";
    server.tell("POST", path, &[], json!({ "why": "late" })).await.problem(400, "invalid-request");
    server.tell("POST", path, &[("content-type", "text/plain")], "{}").await.problem(415, "unsupported-media-type");
    let done = server.ask("POST", path, &[]).await.expect(200).body;
    assert_eq!((&done["gameId"], &done["status"]), (&json!("g1"), &json!("completed")));
    server.kill();
    server.start_again();
    assert_eq!(server.tell("POST", path, &[], "{}").await.expect(200).body, done, "once is enough");
    join(&server, "carol", "carol", None).await.problem(410, "game-completed");
    ask_token(&server, "alice", "alice").await.problem(410, "game-completed");
    let refused = reconnect(&server, "alice", "alice", &token).await.problem(410, "game-completed");
    assert!(refused["detail"].as_str().unwrap().contains("open a new game"), "{refused}");
    assert_eq!(server.get("/api/v1/games/g1/seats").await.0, 200, "who sat there can still be seen");
    assert_eq!(server.get("/api/v1/games/g1").await.0, 200);
}

#[tokio::test]
async fn games_that_are_not_there_and_names_that_are_none_are_told_as_such() {
    let server = start(&[]).await;
    let seat = json!({ "playerId": "alice" });
    server.tell("POST", "/api/v1/games/none/seats", &[], &seat).await.problem(404, "not-found");
    server.tell("POST", "/api/v1/games/a%20b/seats", &[], &seat).await.problem(400, "invalid-request");
    server
        .tell("POST", "/api/v1/games/g1/seats", &[], json!({ "playerId": "a b" }))
        .await
        .problem(400, "invalid-request");
    for bad in [json!(-1), json!(1.5), json!("1"), json!(4_294_967_296_u64)] {
        let body = json!({ "playerId": "carol", "seat": bad });
        server.tell("POST", "/api/v1/games/g1/seats", &[], body).await.problem(400, "invalid-request");
    }
    server
        .tell("POST", "/api/v1/games/g1/seats", &[], json!({ "playerId": "carol", "sit": 1 }))
        .await
        .problem(400, "invalid-request");
    server.ask("GET", "/api/game/g1/connection-token", &[]).await.problem(400, "invalid-request");
    server.ask("GET", "/api/game/none/connection-token?playerId=alice", &[]).await.problem(404, "not-found");
    server.ask("DELETE", "/api/v1/games/g1", &[]).await.expect(200);
    server.tell("POST", "/api/v1/games/g1/seats", &[], &seat).await.problem(410, "gone");
    server.ask("GET", "/api/v1/games/g1/seats", &[]).await.problem(410, "gone");
}
