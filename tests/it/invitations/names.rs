//! What those are called who come in.

use serde_json::json;

use super::{EXCHANGE, Guest, ME, SEATS, invite, invite_to_game, seated, with_games};
use crate::support::{AS, Follower};

#[tokio::test]
async fn a_name_is_one_to_forty_characters_of_any_letters() {
    let server = with_games().await;
    let invitation = invite_to_game(&server, 9).await;
    let long = "ж".repeat(40);
    for (sent, kept) in [("  Ann B. ", "Ann B."), ("明日香", "明日香"), (&long, &long), ("O'Neill 👩‍🚀", "O'Neill 👩‍🚀")]
    {
        let guest = invitation.join(&server, sent).await;
        assert_eq!(guest.get(&server, ME).await.body["name"], kept);
    }
    for bad in ["", "  ", "a\nb", "\u{202e}nna", "\u{200b}", &format!("{long}x")] {
        let problem = invitation.exchange(&server, bad).await.problem(400, "invalid-request");
        assert_eq!(problem["errors"][0]["field"], "name", "{bad:?}");
    }
    let problem = server.tell("POST", EXCHANGE, &[], json!({ "token": invitation.token })).await;
    assert_eq!(problem.problem(400, "invalid-request")["errors"][0]["field"], "name");
    assert_eq!((super::used(&server).await, seated(&server).await.len()), (4, 4), "what is refused uses nothing up");
}

#[tokio::test]
async fn the_name_of_who_sits_follows_or_was_invited_there_is_taken() {
    let server = with_games().await;
    let invitation = invite_to_game(&server, 9).await;
    server.tell("POST", SEATS, &[(AS, "dora")], json!({ "playerId": "dora" })).await.expect(201);
    let url = format!("{}/api/v1/games/g1/events", server.url);
    let mut eve = Follower::connect(&url, Some("eve"), None).await.unwrap();
    eve.expect("snapshot").await;
    let ann = invitation.join(&server, "Ann").await;
    for taken in ["ann", "ANN ", "Dora", "EVE"] {
        invitation.exchange(&server, taken).await.problem(409, "name-taken");
    }
    // Also when who had it is gone: they were invited.
    ann.tell(&server, "DELETE", "/api/v1/sessions/current", json!({})).await.expect(204);
    invitation.exchange(&server, "ann").await.problem(409, "name-taken");
    // Elsewhere it is free, also for another.
    let elsewhere = invite(&server, json!({ "documents": ["games/g2"], "uses": 2 })).await;
    let other = elsewhere.join(&server, "ann").await;
    assert_ne!(other.user, ann.user);
    // Who comes with a name that is taken there is told so, and may take another.
    let body = json!({ "token": invitation.token });
    other.tell(&server, "POST", EXCHANGE, body).await.problem(409, "name-taken");
    let body = json!({ "token": invitation.token, "name": "Anna" });
    let anna = Guest::of(&server.tell("POST", EXCHANGE, &other.shown(), body).await.expect(201));
    assert_eq!(anna.get(&server, ME).await.body["name"], "Anna");
}
