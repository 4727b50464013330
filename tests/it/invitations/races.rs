//! Many at once, and the end of the server in between.

use std::collections::BTreeSet;

use futures_util::future::join_all;
use serde_json::json;

use super::{EXCHANGE, Guest, games, invite_to_game, seated, used, with_flags, with_games};
use crate::support::{Disk, Moment, Process};

#[tokio::test]
async fn of_fifty_who_come_at_once_as_many_come_in_as_it_says() {
    let server = with_games().await;
    let invitation = invite_to_game(&server, 5).await;
    let names: Vec<String> = (0..50).map(|number| format!("Guest {number}")).collect();
    let replies = join_all(names.iter().map(|name| invitation.exchange(&server, name))).await;
    let (came, refused): (Vec<_>, Vec<_>) = replies.into_iter().partition(|reply| reply.status == 201);
    assert_eq!((came.len(), used(&server).await), (5, 5));
    refused.into_iter().for_each(|reply| drop(reply.problem(410, "invitation-used")));
    let seats: BTreeSet<u64> = came.iter().map(|reply| reply.body["seat"].as_u64().unwrap()).collect();
    assert_eq!(seats, (0..5).collect());
    for reply in &came {
        Guest::of(reply).get(&server, "/api/v1/games/g1").await.expect(200);
    }
    assert_eq!(seated(&server).await.len(), 5);
    let sessions = server.get("/api/v1/admin/sessions?limit=500").await.1;
    assert_eq!(sessions["items"].as_array().unwrap().len(), 5, "who was refused has none");
}

#[tokio::test]
async fn of_fifty_with_one_name_one_has_it() {
    one_of_fifty_has_the_name(&with_games().await).await;
    one_of_fifty_has_the_name(&with_flags(&["--flags.games-persistence", "false"]).await).await;
}

async fn one_of_fifty_has_the_name(server: &Process) {
    let invitation = invite_to_game(server, 50).await;
    let replies = join_all((0..50).map(|_| invitation.exchange(server, "Ann"))).await;
    let (came, refused): (Vec<_>, Vec<_>) = replies.into_iter().partition(|reply| reply.status == 201);
    assert_eq!((came.len(), used(server).await, seated(server).await.len()), (1, 1, 1));
    refused.into_iter().for_each(|reply| drop(reply.problem(409, "name-taken")));
}

#[tokio::test]
async fn one_attempt_that_is_sent_fifty_times_comes_in_once() {
    let server = with_games().await;
    let invitation = invite_to_game(&server, 50).await;
    let body = json!({ "token": invitation.token, "name": "Ann" });
    let key = [("idempotency-key", "a-key-that-nobody-will-guess")];
    let replies = join_all((0..50).map(|_| server.tell("POST", EXCHANGE, &key, body.clone()))).await;
    let cookies: BTreeSet<String> =
        replies.into_iter().map(|reply| reply.expect(201).header("set-cookie").to_owned()).collect();
    assert_eq!((cookies.len(), used(&server).await, seated(&server).await.len()), (1, 1, 1));
}

#[tokio::test]
async fn a_kill_in_between_lets_in_whole_or_not_at_all_and_the_attempt_can_be_repeated() {
    for moment in Moment::ALL {
        let (disk, mut server) = Disk::with_server(&[]);
        games(&server).await;
        let invitation = invite_to_game(&server, 1).await;
        let body = json!({ "token": invitation.token, "name": "Zwetschge" });
        let key = ("idempotency-key", "a-key-that-nobody-will-guess");
        disk.kill(moment, "Zwetschge");
        let request = server.request("POST", EXCHANGE).header(key.0, key.1).json(&body);
        assert!(request.send().await.is_err(), "{moment:?}: nobody is answered");
        server.until_killed().await;
        disk.set("off");
        server.start_again();
        let before = (used(&server).await, seated(&server).await.len());
        let kept = u64::from(moment.keeps_the_change());
        assert_eq!(before, (kept, moment.keeps_the_change().into()), "{moment:?}: whole or not at all");
        let ann = Guest::of(&server.tell("POST", EXCHANGE, &[key], body).await.expect(201));
        assert_eq!((used(&server).await, seated(&server).await), (1, vec![ann.user.clone()]), "{moment:?}");
        ann.get(&server, "/api/v1/games/g1").await.expect(200);
    }
}
