//! The two-minute tour: create, follow, change, kill, come back.

use serde_json::json;

use crate::support::{Follower, GENESIS, Process, verify_chain};

#[tokio::test]
async fn a_document_survives_kill_9_and_its_follower_comes_back_to_exactly_where_it_was() {
    let mut server = Process::start(&[]);
    let (status, document) = server.post("/api/v1/games", &json!({ "id": "g1", "state": { "round": 1 } })).await;
    assert_eq!(status, 201, "{document}");
    assert_eq!(document["version"], 1);
    assert_eq!(document["durable"], true);

    let events = format!("{}/api/v1/games/g1/events", server.url);
    let mut follower = Follower::connect(&events, None, None).await.unwrap();
    let snapshot = follower.expect("snapshot").await;
    assert_eq!(snapshot.data["reason"], "start");
    assert_eq!(snapshot.data["documents"], json!([document]));

    assert_eq!(server.merge("/api/v1/games/g1", &json!({ "round": 2 })).await.0, 200);
    let change = follower.expect("change").await;
    assert_eq!(change.data["patch"], json!([{ "op": "replace", "path": "/round", "value": 2 }]));
    assert_eq!(server.merge("/api/v1/games/g1", &json!({ "round": 3 })).await.0, 200);
    server.kill();
    server.start_again();
    assert_eq!(server.merge("/api/v1/games/g1", &json!({ "round": 4 })).await.0, 200);

    let mut back = Follower::connect(&events, None, Some(&change.id)).await.unwrap();
    let resumed = back.expect("resumed").await;
    assert_eq!((&resumed.data["from"], &resumed.data["count"]), (&json!(change.id), &json!(2)));
    let missed = back.changes(2).await;
    assert_eq!(missed.last().map(|told| &told.id), resumed.data["to"].as_str().map(str::to_owned).as_ref());

    let (_, history) = server.get("/api/v1/games/g1/events").await;
    let mut hash = GENESIS.to_owned();
    for event in history["items"].as_array().unwrap() {
        assert_eq!(event["version"], event["seq"], "one document: versions and the log go together");
        hash = event["hash"].as_str().unwrap().to_owned();
    }
    let previous = verify_chain(change.data["hash"].as_str().unwrap(), &missed[0].text);
    assert_eq!(verify_chain(&previous, &missed[1].text), hash);
}
