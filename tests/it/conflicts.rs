//! Edits that were made offline: merged, refused, left to a person, and what is told of it to whom.

use serde_json::{Value, json};

use crate::support::{AS, Follower, Process, Reply};

const NOTE: &str = "/api/v1/notes/plan";
const LATER: &str = "2030-01-01T00:00:00Z";

async fn sync(server: &Process, who: &[(&str, &str)], path: &str, body: Value) -> Reply {
    let mut body = body;
    body["deviceAt"] = LATER.into();
    server.tell("POST", &format!("{path}/sync"), who, body).await
}

/// A note that the server has changed since the device left with version 1.
async fn drifted(server: &Process) -> Value {
    let state = json!({ "title": "Plan", "gold": 10, "tags": ["a", "b"], "hidden": { "trap": 1 } });
    let made = server.tell("POST", "/api/v1/notes", &[], json!({ "id": "plan", "state": state })).await.expect(201);
    let change = json!({ "title": "The plan", "tags": ["a", "b", "c"], "hidden": { "trap": 2 } });
    server.merge(NOTE, &change).await;
    made.body
}

#[tokio::test]
async fn what_one_side_changed_is_that_sides_and_what_both_did_is_left_to_a_person() {
    let server = Process::start(&[]);
    let base = drifted(&server).await;
    let state = json!({ "title": "My plan", "gold": 12, "tags": ["b", "d"], "hidden": { "trap": 1 } });
    let body = json!({ "baseVersion": 1, "baseHash": base["hash"], "state": state });
    let merged = sync(&server, &[("idempotency-key", "s1")], NOTE, body.clone()).await.expect(200);
    let state = json!({ "title": "The plan", "gold": 12, "tags": ["b", "d", "c"], "hidden": { "trap": 2 } });
    assert_eq!((&merged.body["document"]["state"], &merged.body["document"]["version"]), (&state, &json!(3)));
    let conflict = &merged.body["conflicts"][0];
    assert_eq!(
        (&conflict["path"], &conflict["base"], &conflict["local"], &conflict["server"]),
        (&json!("/title"), &json!("Plan"), &json!("My plan"), &json!("The plan"))
    );
    assert_eq!(merged.body["resolved"][0]["rule"], "set");
    assert_eq!(merged.body["resolved"][0]["resolution"], "auto");

    let again = sync(&server, &[("idempotency-key", "s1")], NOTE, body.clone()).await.expect(200);
    assert_eq!((&again.body, again.header("idempotency-replayed")), (&merged.body, "true"));
    let unkeyed = sync(&server, &[], NOTE, body).await.expect(200);
    assert_eq!(unkeyed.body["document"]["version"], 3, "nothing to do: no new version");
    assert_eq!(unkeyed.body["conflicts"][0]["id"], conflict["id"], "and no second conflict");

    let listed = server.ask("GET", "/api/v1/conflicts?status=open&document=notes/plan", &[]).await.expect(200);
    assert_eq!(listed.body["items"].as_array().unwrap().len(), 1);
    let audit = server.ask("GET", "/api/v1/conflicts/audit", &[]).await.expect(200);
    let rules: Vec<&str> =
        audit.body["items"].as_array().unwrap().iter().map(|row| row["rule"].as_str().unwrap()).collect();
    assert_eq!(rules, ["manual", "set"]);
}

#[tokio::test]
async fn a_base_that_is_not_known_is_refused_with_the_present() {
    let server = Process::start(&[]);
    drifted(&server).await;
    let foreign = "0".repeat(64);
    for body in [
        json!({ "baseVersion": 9, "state": {} }),
        json!({ "baseVersion": 0, "state": {} }),
        json!({ "baseVersion": 1, "baseHash": foreign, "state": {} }),
    ] {
        let problem = sync(&server, &[], NOTE, body).await.problem(409, "unknown-base");
        assert_eq!((&problem["currentVersion"], &problem["current"]["title"]), (&json!(2), &json!("The plan")));
    }
    sync(&server, &[], NOTE, json!({ "baseVersion": 1 })).await.problem(400, "invalid-request");
    sync(&server, &[], NOTE, json!({ "baseVersion": 1, "state": {}, "patch": {} }))
        .await
        .problem(400, "invalid-request");
    sync(&server, &[], "/api/v1/notes/none", json!({ "baseVersion": 1, "state": {} })).await.problem(404, "not-found");
}

#[tokio::test]
async fn a_person_decides_once_and_what_has_moved_is_shown_first() {
    let mut server = Process::start(&[]);
    drifted(&server).await;
    let merged =
        sync(&server, &[], NOTE, json!({ "baseVersion": 1, "patch": { "title": "My plan" } })).await.expect(200);
    assert_eq!(merged.body["document"]["state"]["title"], "The plan");
    let id = merged.body["conflicts"][0]["id"].as_str().unwrap().to_owned();
    let resolve = format!("/api/v1/conflicts/{id}/resolve");
    server.tell("POST", &resolve, &[(AS, "cat")], json!({ "resolution": "local" })).await.problem(403, "forbidden");
    server.merge(NOTE, &json!({ "title": "A third" })).await;
    server.kill();
    server.start_again();
    let moved =
        server.tell("POST", &resolve, &[], json!({ "resolution": "local" })).await.problem(409, "conflict-moved");
    assert_eq!(moved["value"], "A third");
    let seen = json!({ "resolution": "local", "expectedVersion": moved["currentVersion"] });
    let key = [("idempotency-key", "r1")];
    let done = server.tell("POST", &resolve, &key, seen.clone()).await.expect(200);
    let again = server.tell("POST", &resolve, &key, seen).await.expect(200);
    assert_eq!((&again.body, again.header("idempotency-replayed")), (&done.body, "true"));
    assert_eq!(
        (&done.body["document"]["state"]["title"], &done.body["conflict"]["resolution"]),
        (&json!("My plan"), &json!("local"))
    );
    server.tell("POST", &resolve, &[], json!({ "resolution": "server" })).await.problem(409, "conflict-resolved");
    let read = server.ask("GET", &format!("/api/v1/conflicts/{id}"), &[]).await.expect(200);
    assert_eq!((&read.body["status"], &read.body["resolvedBy"]), (&json!("resolved"), &json!("@owner")));
    let last = server.ask("GET", &format!("{NOTE}/events"), &[("accept", "application/json")]).await.expect(200);
    assert_eq!(last.body["items"].as_array().unwrap().last().unwrap()["type"], "resolveConflict");
}

#[tokio::test]
async fn what_a_player_may_not_see_is_neither_merged_nor_told() {
    let server = Process::start(&[]);
    drifted(&server).await;
    let theirs = json!({ "title": "Plan", "gold": 10, "tags": ["a", "b"], "mine": true });
    let merged = sync(&server, &[(AS, "ana")], NOTE, json!({ "baseVersion": 1, "state": theirs })).await.expect(200);
    assert!(!merged.text.contains("trap"), "{}", merged.text);
    assert_eq!(server.get(NOTE).await.1["state"]["hidden"], json!({ "trap": 2 }));
    let reach = json!({ "baseVersion": 1, "patch": { "hidden": { "trap": 9 } } });
    sync(&server, &[(AS, "ana")], NOTE, reach).await.problem(403, "forbidden");
    let host = json!({ "baseVersion": 1, "patch": { "hidden": { "trap": 7 } } });
    let conflict = sync(&server, &[], NOTE, host).await.expect(200).body["conflicts"][0].clone();
    assert_eq!(conflict["path"], "/hidden/trap");
    let path = format!("/api/v1/conflicts/{}", conflict["id"].as_str().unwrap());
    server.ask("GET", &path, &[(AS, "ana")]).await.problem(404, "not-found");
    for path in ["/api/v1/conflicts", "/api/v1/conflicts/audit", &format!("{NOTE}/events")] {
        let reply = server.ask("GET", path, &[(AS, "ana"), ("accept", "application/json")]).await.expect(200);
        assert!(!reply.text.contains("trap"), "{path}: {}", reply.text);
    }
    assert_eq!(server.ask("GET", "/api/v1/conflicts", &[]).await.body["items"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn strategies_are_configured_and_rules_say_what_comes_of_a_merge() {
    let server = Process::start(&["--conflicts=notes:/gold=counter"]);
    drifted(&server).await;
    server.merge(NOTE, &json!({ "gold": 15 })).await;
    let summed = sync(&server, &[], NOTE, json!({ "baseVersion": 1, "patch": { "gold": 7 } })).await.expect(200);
    assert_eq!(summed.body["document"]["state"]["gold"], 12);

    let ana = json!({ "name": "Ana", "side": "party", "hitPoints": 22, "initiative": 1, "playerId": "ana" });
    let state = json!({ "combatants": { "ana": ana } });
    server.tell("POST", "/api/v1/encounters", &[], json!({ "id": "e", "state": state })).await.expect(201);
    let hurt = json!({ "type": "damage", "payload": { "combatantId": "ana", "amount": 15 } });
    server.tell("POST", "/api/v1/encounters/e/actions", &[], hurt).await.expect(200);
    let points = |points: u32| json!({ "combatants": { "ana": { "hitPoints": { "current": points } } } });
    let away = json!({ "baseVersion": 1, "patch": points(10) });
    let both = sync(&server, &[(AS, "ana")], "/api/v1/encounters/e", away).await.expect(200);
    let ana = &both.body["document"]["state"]["combatants"]["ana"];
    assert_eq!((&ana["hitPoints"]["current"], &ana["down"]), (&json!(0), &json!(true)), "summed, and never below 0");
    assert_eq!(both.body["resolved"][0]["rule"], "counter");
    let beyond = json!({ "baseVersion": 1, "patch": { "name": "Mine" } });
    let refused = sync(&server, &[(AS, "ana")], "/api/v1/encounters/e", beyond).await;
    refused.problem(422, "action-rejected");
    assert_eq!(server.get("/api/v1/encounters/e").await.1["version"], 3, "and changes nothing");
}

#[tokio::test]
async fn streams_of_the_document_tell_a_conflict_to_those_who_may_see_its_place() {
    let server = Process::start(&[]);
    drifted(&server).await;
    let url = |name: &str| format!("{}/api/v1/notes/{name}/events", server.url);
    server.tell("POST", "/api/v1/notes", &[], json!({ "id": "other", "state": {} })).await.expect(201);
    let mut host = Follower::connect(&url("plan"), None, None).await.unwrap();
    let mut ana = Follower::connect(&url("plan"), Some("ana"), None).await.unwrap();
    let mut elsewhere = Follower::connect(&url("other"), None, None).await.unwrap();
    for stream in [&mut host, &mut ana, &mut elsewhere] {
        stream.expect("snapshot").await;
    }
    let left = ana.last_event_id.clone();
    let edits = json!({ "baseVersion": 1, "patch": { "title": "My plan", "hidden": { "trap": 9 } } });
    let merged = sync(&server, &[], NOTE, edits).await.expect(200).body;
    let ids: Vec<_> = merged["conflicts"].as_array().unwrap().iter().map(|conflict| conflict["id"].clone()).collect();
    assert_eq!(ids.len(), 2);
    let change = host.expect("change").await;
    let told = [host.expect("conflict").await, host.expect("conflict").await];
    for conflict in &told {
        assert_eq!(conflict.id, change.id, "it has no id of its own");
        let path = format!("/api/v1/conflicts/{}", conflict.data["id"].as_str().unwrap());
        assert_eq!(server.ask("GET", &path, &[]).await.expect(200).body, conflict.data);
    }
    let mut paths = told.each_ref().map(|conflict| conflict.data["path"].clone());
    paths.sort_by_key(ToString::to_string);
    assert_eq!(paths, [json!("/hidden/trap"), json!("/title")]);

    ana.expect("change").await;
    let title = ana.expect("conflict").await;
    assert_eq!(title.data["path"], "/title");
    let mut back = Follower::connect(&url("plan"), Some("ana"), Some(&left)).await.unwrap();
    back.changes_after_resumed(1).await;
    assert_eq!(back.expect("conflict").await.data, title.data, "who was away is told after the replay");
    let resolve = format!("/api/v1/conflicts/{}/resolve", title.data["id"].as_str().unwrap());
    server.tell("POST", &resolve, &[], json!({ "resolution": "server" })).await.expect(200);
    for stream in [&mut ana, &mut back] {
        assert_eq!(stream.expect("change").await.data["type"], "resolveConflict", "the host's is not told");
    }
    let mut back = Follower::connect(&url("plan"), Some("ana"), Some(&left)).await.unwrap();
    back.changes_after_resumed(2).await;
    for name in ["other", "plan"] {
        server.merge(&format!("/api/v1/notes/{name}"), &json!({ "n": 1 })).await;
    }
    assert_eq!(elsewhere.expect("change").await.data["id"], "other", "a stream of something else is not told");
    back.expect("change").await;
}

#[tokio::test]
async fn a_player_ends_their_turn_and_writes_a_note_while_away() {
    let server = Process::start(&[]);
    let combatant = |initiative: u32, player: Option<&str>| {
        let (name, side) = ("Somebody", "party");
        json!({ "name": name, "side": side, "initiative": initiative, "hitPoints": 20, "playerId": player })
    };
    let combatants =
        json!({ "ana": combatant(9, Some("ana")), "orc": combatant(8, None), "bo": combatant(7, Some("bo")) });
    let state = json!({ "status": "active", "round": 1, "turn": "ana", "order": ["ana", "orc", "bo"],
                        "combatants": combatants });
    server.tell("POST", "/api/v1/encounters", &[], json!({ "id": "e", "state": state })).await.expect(201);
    let path = "/api/v1/encounters/e";
    let hurt = json!({ "type": "damage", "payload": { "combatantId": "orc", "amount": 1 } });
    server.tell("POST", &format!("{path}/actions"), &[], hurt).await.expect(200);
    let note = |by: &str| json!([{ "at": "2026-01-01T20:00:00.000Z", "by": by, "text": "I run" }]);
    for beyond in [json!({ "turn": "bo" }), json!({ "turn": "orc", "round": 2 }), json!({ "notes": note("bo") })] {
        let edits = json!({ "baseVersion": 1, "patch": beyond });
        sync(&server, &[(AS, "ana")], path, edits).await.problem(422, "action-rejected");
    }
    let not_theirs = json!({ "baseVersion": 1, "patch": { "turn": "orc" } });
    sync(&server, &[(AS, "bo")], path, not_theirs).await.problem(422, "action-rejected");
    let edits = json!({ "baseVersion": 1, "patch": { "turn": "orc", "notes": note("ana") } });
    let merged = sync(&server, &[(AS, "ana")], path, edits).await.expect(200).body;
    let state = &merged["document"]["state"];
    assert_eq!((&state["turn"], &state["notes"][0]["text"]), (&json!("orc"), &json!("I run")));
    assert_eq!(state["combatants"]["orc"]["hitPoints"]["current"], 19);
    assert_eq!(merged["conflicts"], json!([]));
}
