//! A move is cancelled: the game stays, unless the other server has it already.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::deaths::Held;
use super::{GAME, Hand, ask, expect_live_only, hosting, migrate, target, until_moved, write};
use crate::support::relay::Does;
use crate::support::{AS, Process};

async fn cancel(server: &Process, query: &str) -> (u16, Value) {
    let (status, _, body) = ask(server, "DELETE", &format!("{GAME}/migrate{query}"), &json!(null)).await;
    (status, body["type"].clone())
}

#[tokio::test]
async fn until_it_is_recorded_a_move_is_cancelled_whatever_the_other_server_does() {
    for step in ["begin", "events", "rows", "prepare"] {
        for does in [Does::HoldsRequest, Does::HoldsAnswer] {
            let (from, to) = (hosting(&[], 5).await, target().await);
            // Something that goes with the game.
            let _bob = Hand::dealt(&from, "bob", 3).await;
            let held = Held::at(step, does, &from, &to).await;
            assert_eq!(write(&from, 6).await, 503, "{step} {does:?}: it is frozen");
            assert_eq!(cancel(&from, "").await.0, 204, "{step} {does:?}");
            expect_live_only(&from, &to).await;
            assert_eq!(held.told().await.0, Some(409), "{step} {does:?}");
            assert_eq!(cancel(&from, "").await, (409, json!("/problems/no-move")), "{step} {does:?}");
            assert_eq!(migrate(&from, &to.url).await.0, 200, "{step} {does:?}");
            expect_live_only(&to, &from).await;
        }
    }
}

#[tokio::test]
async fn a_recorded_move_is_cancelled_unless_the_other_server_has_the_game() {
    let (from, to) = (hosting(&[], 5).await, target().await);
    let held = Held::at("confirm", Does::HoldsRequest, &from, &to).await;
    assert_eq!(cancel(&from, "").await.0, 204);
    expect_live_only(&from, &to).await;
    assert_eq!(held.told().await.0, Some(409));

    let (mut from, to) = (hosting(&[], 5).await, target().await);
    let held = Held::at("confirm", Does::HoldsAnswer, &from, &to).await;
    held.relay.when("confirm", Does::Forwards);
    assert_eq!(cancel(&from, "").await, (409, json!("/problems/move-confirmed")));
    until_moved(&to, &from).await;
    expect_live_only(&to, &from).await;
    assert_eq!(cancel(&from, "").await, (409, json!("/problems/move-confirmed")));
    from.kill();
    from.start_again();
    assert_eq!(cancel(&from, "").await, (409, json!("/problems/move-confirmed")));
}

#[tokio::test]
async fn what_the_other_server_has_is_not_guessed_and_an_administrator_may_take_the_game_back_all_the_same() {
    let (mut from, mut to) = (hosting(&[], 5).await, target().await);
    let held = Held::at("confirm", Does::HoldsRequest, &from, &to).await;
    to.kill();
    held.relay.when("cancel", Does::HoldsRequest);
    held.relay.release();
    assert_eq!(cancel(&from, "").await, (503, json!("/problems/other-server-unavailable")));
    assert_eq!(write(&from, 6).await, 503, "it may be live there");
    from.kill();
    from.start_again();
    let query = format!("{GAME}/migrate?force=true");
    from.ask("DELETE", &query, &[(AS, "alice")]).await.problem(403, "forbidden");
    assert_eq!(cancel(&from, "?force=true").await.0, 204);
    assert_eq!(write(&from, 6).await, 200);
    from.kill();
    from.start_again();
    assert_eq!(write(&from, 7).await, 200, "also after a restart");
}

/// A server that takes everything and answers a byte now and then.
pub(super) async fn dripping() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut taken = [0; 4096];
                let _ = stream.read(&mut taken).await;
                let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n").await;
                while stream.write_all(b" ").await.is_ok() {
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            });
        }
    });
    url
}

#[tokio::test]
async fn a_server_that_drips_its_answer_keeps_no_game() {
    let (from, url) = (hosting(&[], 3).await, dripping().await);
    let moving = tokio::spawn(from.request("POST", &format!("{GAME}/migrate")).json(&json!({ "to": url })).send());
    for who in ["bob", "eve"] {
        from.ask("DELETE", &format!("{GAME}/migrate"), &[(AS, who)]).await.problem(403, "forbidden");
    }
    loop {
        match from.ask("DELETE", &format!("{GAME}/migrate"), &[(AS, "alice")]).await.status {
            204 => break,
            409 => tokio::task::yield_now().await,
            other => panic!("{other}"),
        }
    }
    assert_eq!(write(&from, 4).await, 200);
    assert_eq!(moving.await.unwrap().unwrap().status().as_u16(), 409);
}
