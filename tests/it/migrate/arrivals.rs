//! What comes from another server is checked as if a stranger had typed it, and takes a bounded time.

use std::time::{Duration, Instant};

use serde_json::json;

use super::cancelling::dripping;
use super::{GAME, hosting, migrate, target, write};
use crate::support::clocked::Clocked;
use crate::support::process::Process;

const HOUR: Duration = Duration::from_secs(3600);

/// Orders the move of a game. Gives the status and what the refusal says.
async fn moves(from: &Clocked, game: &str, to: &str) -> (u16, String) {
    let reply = from.post(&format!("/api/v1/games/{game}/migrate"), json!({ "to": to })).await;
    (reply.status, reply.body["detail"].as_str().unwrap_or_default().to_owned())
}

#[tokio::test]
async fn a_game_from_the_future_is_not_taken() {
    let (from, to) = (Clocked::start(|_| ()).await, target().await);
    let create = |game: &'static str| {
        let from = &from;
        async move { from.post("/api/v1/games", json!({ "id": game, "state": { "n": 1 } })).await.expect(201) }
    };
    let seat = |game: &'static str| {
        let from = &from;
        async move { from.post(&format!("/api/v1/games/{game}/seats"), json!({ "playerId": "bob" })).await.expect(201) }
    };
    for game in ["near", "seated", "ended", "changed"] {
        create(game).await;
    }
    // Two clocks may differ by some hours.
    from.advance(23 * HOUR);
    seat("near").await;
    from.put("/api/v1/games/near", json!({ "n": 2 })).await.expect(200);
    assert_eq!(moves(&from, "near", &to.url).await.0, 200);
    from.advance(2 * HOUR);
    seat("seated").await;
    from.post("/api/v1/games/ended/complete", json!({})).await.expect(200);
    from.put("/api/v1/games/changed", json!({ "n": 2 })).await.expect(200);
    create("created").await;
    for game in ["seated", "ended", "changed", "created"] {
        let (status, detail) = moves(&from, game, &to.url).await;
        assert_eq!(status, 422, "{game}: {detail}");
        assert!(detail.contains("ahead of this server's clock"), "{game}: {detail}");
        assert_eq!(to.get(&format!("/api/v1/games/{game}")).await.0, 404);
        from.put(&format!("/api/v1/games/{game}"), json!({ "n": 3 })).await.expect(200);
    }
}

#[tokio::test]
async fn a_seat_that_the_game_never_had_is_not_taken() {
    let (mut from, to) = (Process::start(&[]), target().await);
    for game in ["g1", "g2"] {
        let created = from.post("/api/v1/games", &json!({ "id": game, "state": { "maxSeats": 4 } })).await;
        assert_eq!(created.0, 201, "{}", created.1);
        let body = json!({ "playerId": "bob", "seat": 3 });
        assert_eq!(from.post(&format!("/api/v1/games/{game}/seats"), &body).await.0, 201);
    }
    // Who sat down while there were more seats still sits there.
    assert_eq!(from.merge("/api/v1/games/g1", &json!({ "maxSeats": 2 })).await.0, 200);
    let order = json!({ "to": to.url });
    let (status, answer) = from.post("/api/v1/games/g1/migrate", &order).await;
    assert_eq!(status, 200, "{answer}");
    assert!(from.terminate().success());
    let database = rusqlite::Connection::open(from.data_dir().join("rejoin.db")).unwrap();
    database.execute("UPDATE seats SET seat = 4", []).unwrap();
    drop(database);
    // A server that lies has its own key; without one, this takes the file as it is.
    std::fs::remove_file(from.data_dir().join("rejoin.integrity-key")).unwrap();
    from.start_again();
    let (status, answer) = from.post("/api/v1/games/g2/migrate", &order).await;
    assert_eq!(status, 422, "{answer}");
    assert!(answer["detail"].as_str().unwrap().contains("a seat beyond the last"), "{answer}");
}

#[tokio::test]
async fn whoever_moves_a_game_waits_for_one_step_of_a_server_that_does_not_answer() {
    let (from, url) = (hosting(&[], 3).await, dripping().await);
    let since = Instant::now();
    let (status, answer) = migrate(&from, &url).await;
    assert_eq!((status, &answer["type"]), (503, &json!("/problems/other-server-unavailable")), "{answer}");
    // Ten seconds, and not as long again for telling it to forget the game.
    assert!(since.elapsed() < Duration::from_secs(18), "{:?}", since.elapsed());
    assert_eq!(write(&from, 4).await, 200, "{GAME} goes on");
}
