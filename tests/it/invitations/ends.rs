//! Invitations that are over, and what ends with them.

use std::time::Duration;

use serde_json::json;

use super::{
    EXCHANGE, Guest, INVITATIONS, Invitation, LOOK, ME, games, invite, invite_to_game, used, with_flags, with_games,
};
use crate::support::{AS, Clocked, Disk, Follower};

#[tokio::test]
async fn an_ended_invitation_lets_nobody_in_and_may_take_its_sessions_along() {
    let mut server = with_games().await;
    let (one, two) = (invite_to_game(&server, 5).await, invite_to_game(&server, 5).await);
    let (ann, bob) = (one.join(&server, "Ann").await, two.join(&server, "Bob").await);
    let url = format!("{}/api/v1/games/g1/events", server.url);
    let mut stream = Follower::with(&url, &bob.shown(), None).await;
    stream.expect("snapshot").await;
    server.ask("DELETE", &format!("{INVITATIONS}/{}", one.id), &[]).await.expect(204);
    server.ask("DELETE", &format!("{INVITATIONS}/{}?sessions=true", two.id), &[]).await.expect(204);
    for ended in [&one, &two] {
        ended.exchange(&server, "Cat").await.problem(410, "invitation-ended");
        ended.look(&server).await.problem(410, "invitation-ended");
    }
    bob.get(&server, ME).await.problem(401, "unauthenticated");
    while stream.next().await.is_some() {}
    server.kill();
    server.start_again();
    ann.get(&server, "/api/v1/games/g1").await.expect(200);
    bob.get(&server, ME).await.problem(401, "unauthenticated");
    one.exchange(&server, "Cat").await.problem(410, "invitation-ended");
    server.ask("DELETE", &format!("{INVITATIONS}/{}", one.id), &[]).await.expect(204);
    server.ask("DELETE", &format!("{INVITATIONS}/none"), &[]).await.problem(404, "not-found");
}

#[tokio::test]
async fn an_invitation_expires_and_is_forgotten() {
    let server = Clocked::start(|_| {}).await;
    server.put("/api/v1/games/g1", json!({})).await.expect(201);
    let body = json!({ "documents": ["games/g1"], "expiresInSeconds": 600, "uses": 9 });
    let invitation = Invitation::of(&server.post(INVITATIONS, body).await.expect(201));
    let exchange = |name: &str| server.post(EXCHANGE, json!({ "token": invitation.token, "name": name }));
    server.advance(Duration::from_millis(599_999));
    exchange("Ann").await.expect(201);
    server.advance(Duration::from_millis(1));
    exchange("Bob").await.problem(410, "invitation-expired");
    server.post(LOOK, json!({ "token": invitation.token })).await.problem(410, "invitation-expired");
    let listed = server.ask("GET", INVITATIONS, &[]).await.body["items"].clone();
    assert_eq!((listed[0]["state"].clone(), listed[0]["used"].clone()), (json!("expired"), json!(1)));
    let clean_up = || server.ask("POST", "/api/v1/admin/jobs/invitations-cleanup/run", &[]);
    let count = async || server.ask("GET", INVITATIONS, &[]).await.body["items"].as_array().unwrap().len();
    clean_up().await.expect(200);
    assert_eq!(count().await, 1);
    server.advance(Duration::from_secs(30 * 24 * 3600 + 1));
    clean_up().await.expect(200);
    assert_eq!(count().await, 0);
    exchange("Bob").await.problem(404, "invitation-unknown");
    server.stop().await;
}

#[tokio::test]
async fn an_invitation_is_for_that_document_and_none_that_is_created_anew() {
    let mut server = with_games().await;
    let both = invite(&server, json!({ "documents": ["games/g1", "games/g2"], "uses": 9 })).await;
    let one = invite_to_game(&server, 9).await;
    let ann = both.join(&server, "Ann").await;
    let url = format!("{}/api/v1/games/g1/events", server.url);
    let mut stream = Follower::with(&url, &ann.shown(), None).await;
    stream.expect("snapshot").await;
    server.ask("DELETE", "/api/v1/games/g1", &[]).await.expect(200);
    assert_eq!(stream.expect("change").await.data["type"], "delete");
    one.exchange(&server, "Bob").await.problem(410, "invitation-documents-gone");
    one.look(&server).await.problem(410, "invitation-documents-gone");
    ann.tell(&server, "PUT", "/api/v1/games/g1", json!({ "state": {} })).await.problem(410, "gone");
    let put = json!({ "operations": [{ "op": "put", "collection": "games", "id": "g1", "state": { "secret": 1 } }] });
    ann.tell(&server, "POST", "/api/v1/batch", put.clone()).await.problem(410, "gone");
    server.tell("POST", "/api/v1/batch", &[], put).await.expect(200);
    stream.expect("bye").await;
    one.exchange(&server, "Bob").await.problem(410, "invitation-documents-gone");
    let refused = async |server: &crate::support::Process| {
        ann.get(server, "/api/v1/games/g1").await.problem(404, "not-found");
        ann.get(server, "/api/v1/games/g1?version=1").await.problem(404, "not-found");
        ann.get(server, "/api/v1/games/g1/events").await.problem(404, "not-found");
        ann.tell(server, "PATCH", "/api/v1/games/g1", json!({ "a": 1 })).await;
        let put = json!({ "operations": [{ "op": "put", "collection": "games", "id": "g1", "state": {} }] });
        ann.tell(server, "POST", "/api/v1/batch", put).await.problem(404, "not-found");
        ann.get(server, "/api/v1/games/g2").await.expect(200);
        assert_eq!(ann.get(server, ME).await.body["session"]["documents"], json!(["games/g2"]));
    };
    refused(&server).await;
    assert_eq!(both.look(&server).await.expect(200).body["documents"].as_array().unwrap().len(), 1);
    server.kill();
    server.start_again();
    refused(&server).await;
    assert_eq!(server.get("/api/v1/games/g1").await.1["state"], json!({ "secret": 1 }));
}

#[tokio::test]
async fn a_document_that_is_replaced_in_one_batch_is_another() {
    let server = with_games().await;
    let ann = invite_to_game(&server, 1).await.join(&server, "Ann").await;
    let url = format!("{}/api/v1/games/g1/events", server.url);
    let mut stream = Follower::with(&url, &ann.shown(), None).await;
    stream.expect("snapshot").await;
    let batch = json!({ "operations": [
        { "op": "delete", "collection": "games", "id": "g1" },
        { "op": "create", "collection": "games", "id": "g1", "state": { "secret": 1 } },
    ] });
    server.tell("POST", "/api/v1/batch", &[], batch).await.expect(200);
    let told = stream.next().await.unwrap();
    assert_eq!(told.event, "bye", "{}", told.text);
    ann.get(&server, "/api/v1/games/g1").await.problem(404, "not-found");
}

#[tokio::test]
async fn games_in_memory_have_guests_too_as_long_as_they_are() {
    let mut server = with_flags(&["--flags.games-persistence", "false"]).await;
    let invitation = invite_to_game(&server, 3).await;
    let ann = invitation.join(&server, "Ann").await;
    assert_eq!(super::seated(&server).await, [ann.user.as_str()]);
    ann.get(&server, "/api/v1/games/g1").await.expect(200);
    server.ask("DELETE", "/api/v1/games/g1", &[]).await.expect(200);
    server.put("/api/v1/games/g1", &json!({})).await;
    ann.get(&server, "/api/v1/games/g1").await.problem(404, "not-found");
    invitation.exchange(&server, "Bob").await.problem(410, "invitation-documents-gone");
    let listed = server.get(INVITATIONS).await.1["items"][0].clone();
    assert_eq!((&listed["state"], &listed["used"]), (&json!("documents-gone"), &json!(1)));
    let again = invite_to_game(&server, 3).await;
    let bob = again.join(&server, "Bob").await;
    again.exchange(&server, "bob").await.problem(409, "name-taken");
    server.kill();
    server.start_again();
    games(&server).await;
    bob.get(&server, "/api/v1/games/g1").await.problem(404, "not-found");
    bob.get(&server, ME).await.expect(200);
    again.exchange(&server, "Cat").await.problem(410, "invitation-documents-gone");
}

#[tokio::test]
async fn a_full_disk_uses_nothing_up_and_what_ends_meanwhile_stays_ended() {
    let (disk, mut server) = Disk::with_server(&[]);
    games(&server).await;
    let (one, two) = (invite_to_game(&server, 1).await, invite_to_game(&server, 1).await);
    let ann = two.join(&server, "Ann").await;
    let kept = invite_to_game(&server, 1).await;
    disk.set("enospc");
    assert_eq!(server.put("/api/v1/notes/n1", &json!({})).await.0, 202, "storage fails");
    kept.look(&server).await.expect(200);
    kept.exchange(&server, "Bob").await.problem(503, "storage-unavailable");
    server.tell("POST", INVITATIONS, &[], json!({})).await.problem(503, "storage-unavailable");
    for (ended, query) in [(&one, ""), (&two, "?sessions=true")] {
        let reply = server.ask("DELETE", &format!("{INVITATIONS}/{}{query}", ended.id), &[]).await;
        assert_eq!((reply.status, &reply.body), (202, &json!({ "durable": false })), "{}", reply.text);
        ended.look(&server).await.problem(410, "invitation-ended");
    }
    ann.get(&server, ME).await.problem(401, "unauthenticated");
    server.kill();
    disk.set("off");
    server.start_again();
    one.exchange(&server, "Bob").await.problem(410, "invitation-ended");
    ann.get(&server, ME).await.problem(401, "unauthenticated");
    kept.join(&server, "Bob").await;
    assert_eq!(used(&server).await, 1);
}

#[tokio::test]
async fn a_seat_that_is_taken_uses_nothing_up() {
    let server = with_games().await;
    let seat = invite(&server, json!({ "documents": ["games/g1"], "seat": 1 })).await;
    server.tell("POST", super::SEATS, &[(AS, "dora")], json!({ "playerId": "dora", "seat": 1 })).await.expect(201);
    seat.exchange(&server, "Ann").await.problem(409, "seat-taken");
    server.ask("DELETE", &format!("{}/dora", super::SEATS), &[]).await.expect(204);
    let reply = seat.exchange(&server, "Ann").await.expect(201);
    assert_eq!(reply.body["seat"], 1);
    let ann = Guest::of(&reply);
    assert_eq!(super::seated(&server).await, [ann.user.as_str()]);
    server.ask("POST", "/api/v1/games/g2/complete", &[]).await.expect(200);
    let over = invite(&server, json!({ "documents": ["games/g2"], "seat": "any" })).await;
    let refused = over.exchange(&server, "Bob").await;
    assert!(refused.status == 409 || refused.status == 410, "{}", refused.text);
    assert_eq!(used(&server).await, 0);
}
