//! Notifications: who is told what of a change, on which streams, and that nothing is lost or comes twice.

use serde_json::{Value, json};

use crate::support::{AS, Disk, Follower, Moment, Process, Told};

const LIST: &str = "/api/v1/notifications";

/// An encounter of Ana, Bo and an orc, in this order, that has not begun.
async fn plan(server: &Process, id: &str) {
    let combatant = |name: &str, initiative: u32, player: Option<&str>| {
        let side = if player.is_some() { "party" } else { "foe" };
        json!({ "name": name, "side": side, "initiative": initiative, "hitPoints": 20, "playerId": player })
    };
    let combatants = json!({ "ana": combatant("Ana", 17, Some("ana")), "bo": combatant("Bo", 12, Some("bo")),
                             "orc": combatant("Orc", 5, None) });
    let state = json!({ "name": format!("The {id}"), "combatants": combatants });
    server.tell("POST", "/api/v1/encounters", &[], json!({ "id": id, "state": state })).await.expect(201);
}

async fn act(server: &Process, id: &str, who: &[(&str, &str)], kind: &str) -> Value {
    let path = format!("/api/v1/encounters/{id}/actions");
    server.tell("POST", &path, who, json!({ "type": kind })).await.expect(200).body
}

async fn begin(server: &Process, id: &str) {
    plan(server, id).await;
    act(server, id, &[], "start").await;
}

/// `type: body` of what `who` has, and how much of it is unread.
async fn list(server: &Process, who: &[(&str, &str)]) -> (Vec<String>, u64) {
    let page = server.ask("GET", LIST, who).await.expect(200).body;
    let items = page["items"].as_array().unwrap();
    let told = items.iter().map(|item| format!("{}: {}", item["type"].as_str().unwrap(), text(item)));
    (told.collect(), page["unread"].as_u64().unwrap())
}

/// The body, or the title of one that has none.
fn text(item: &Value) -> &str {
    let [title, body] = ["title", "body"].map(|member| item[member].as_str().unwrap());
    if body.is_empty() { title } else { body }
}

async fn follow(server: &Process, who: &str, of: &str, resume: Option<&str>) -> Follower {
    let url = format!("{}/api/v1/{of}/events", server.url);
    Follower::connect(&url, Some(who), resume).await.unwrap()
}

/// The next event, which must be a notification: its text and id.
async fn notified(stream: &mut Follower) -> (String, String) {
    let before = stream.last_event_id.clone();
    let told = stream.expect("notification").await;
    assert_eq!(told.id, before, "it has no id of its own");
    (text(&told.data).to_owned(), told.data["id"].as_str().unwrap().to_owned())
}

#[tokio::test]
async fn each_whom_a_change_concerns_has_a_row_and_who_made_it_has_none() {
    let server = Process::start(&[]);
    begin(&server, "ambush").await;
    let turn = |name: &str, round: u32| format!("turn: {name} acts in round {round} of The ambush");
    let begun = "status: The ambush has begun".to_owned();
    assert_eq!(list(&server, &[(AS, "ana")]).await, (vec![turn("Ana", 1), begun.clone()], 2));
    assert_eq!(list(&server, &[(AS, "bo")]).await, (vec![begun], 1));
    assert_eq!(list(&server, &[]).await, (Vec::new(), 0));
    assert_eq!(list(&server, &[(AS, "cat")]).await, (Vec::new(), 0));
    act(&server, "ambush", &[(AS, "ana")], "endTurn").await;
    let ended = act(&server, "ambush", &[(AS, "bo")], "endTurn").await;
    assert_eq!(list(&server, &[]).await, (vec![turn("Orc", 1)], 1), "whom nobody plays is the host's");
    act(&server, "ambush", &[], "nextTurn").await;
    assert_eq!(list(&server, &[(AS, "ana")]).await.0[0], turn("Ana", 2));

    let row = server.ask("GET", LIST, &[(AS, "bo")]).await.body["items"][0].clone();
    let expected = json!({ "id": row["id"], "type": "turn", "title": "Your turn", "read": false, "version": 3,
                           "body": "Bo acts in round 1 of The ambush", "document": "encounters/ambush",
                           "at": row["at"] });
    assert_eq!(row, expected);
    assert_eq!((&ended["version"], row["at"].as_str().unwrap().len()), (&json!(4), 24));
}

#[tokio::test]
async fn what_an_interaction_tells_goes_to_the_dm_and_to_the_player() {
    let server = Process::start(&[]);
    let state = json!({ "campaignId": "c", "name": "The market" });
    server.tell("POST", "/api/v1/interactions", &[], json!({ "id": "i", "state": state })).await.expect(201);
    let act = async |who: Option<&str>, kind: &str, payload: Value| {
        let who: Vec<_> = who.map(|who| (AS, who)).into_iter().collect();
        let action = json!({ "type": kind, "payload": payload });
        server.tell("POST", "/api/v1/interactions/i/actions", &who, action).await.expect(200);
    };
    act(None, "open", json!({})).await;
    act(Some("ana"), "join", json!({ "name": "Ana" })).await;
    act(Some("bo"), "join", json!({})).await;
    act(None, "start", json!({})).await;
    act(Some("ana"), "submitAction", json!({ "action": "I steal the crown" })).await;
    act(None, "reviewAction", json!({ "decision": "reject", "reason": "too far" })).await;
    act(Some("ana"), "submitAction", json!({ "action": "I buy an apple" })).await;
    act(None, "reviewAction", json!({ "decision": "approve" })).await;
    act(None, "pause", json!({})).await;
    let waits = "action: Ana acts in The market".to_owned();
    assert_eq!(list(&server, &[]).await.0, [waits.clone(), waits]);
    let ana = [
        "status: The market is paused",
        "action: Your action in The market is approved",
        "action: too far",
        "turn: Round 1 of The market",
        "status: The market has begun",
    ];
    assert_eq!(list(&server, &[(AS, "ana")]).await.0, ana);
    let bo = ["status: The market is paused", "turn: Round 1 of The market", "status: The market has begun"];
    assert_eq!(list(&server, &[(AS, "bo")]).await.0, bo);
}

#[tokio::test]
async fn what_is_read_stays_read_and_comes_last_and_belongs_to_one_user() {
    let mut server = Process::start(&[]);
    begin(&server, "ambush").await;
    act(&server, "ambush", &[], "pause").await;
    act(&server, "ambush", &[], "resume").await;
    let as_ana = [(AS, "ana")];
    let page = server.ask("GET", &format!("{LIST}?limit=1"), &as_ana).await.expect(200).body;
    assert_eq!((text(&page["items"][0]), &page["unread"]), ("The ambush goes on", &json!(4)));
    let id = page["items"][0]["id"].as_str().unwrap().to_owned();
    let path = format!("{LIST}/{id}/read");
    server.ask("POST", &path, &[(AS, "bo")]).await.problem(404, "not-found");
    server.ask("POST", &format!("{LIST}/none/read"), &as_ana).await.problem(404, "not-found");
    server.tell("POST", &path, &as_ana, json!({ "odd": 1 })).await.problem(400, "invalid-request");
    for _ in 0..2 {
        let read = server.tell("POST", &path, &[(AS, "ana"), ("idempotency-key", "r1")], "{}").await.expect(200);
        assert_eq!((&read.body["id"], &read.body["read"]), (&json!(id), &json!(true)));
    }
    server.kill();
    server.start_again();
    let (told, unread) = list(&server, &as_ana).await;
    assert_eq!((told.len(), told.last().unwrap().as_str(), unread), (4, "status: The ambush goes on", 3));
    let (mut seen, mut path) = (Vec::new(), format!("{LIST}?limit=3"));
    loop {
        let page = server.ask("GET", &path, &as_ana).await.expect(200).body;
        seen.extend(page["items"].as_array().unwrap().iter().map(|item| item["id"].clone()));
        let Some(cursor) = page["nextCursor"].as_str() else { break };
        path = format!("{LIST}?limit=3&cursor={cursor}");
    }
    assert_eq!((seen.len(), seen.last().unwrap()), (4, &json!(id)));
    server.ask("GET", &format!("{LIST}?cursor=x"), &as_ana).await.problem(400, "invalid-request");
    let all = server.ask("POST", &format!("{LIST}/read-all"), &as_ana).await.expect(200);
    assert_eq!(all.body, json!({ "read": 3 }));
    assert_eq!((list(&server, &as_ana).await.1, list(&server, &[(AS, "bo")]).await.1), (0, 3));
}

#[tokio::test]
async fn a_type_that_is_not_enabled_makes_no_rows_and_preferences_are_checked() {
    let mut server = Process::start(&[]);
    let path = format!("{LIST}/preferences");
    let one = |enabled: bool, seconds: u32| json!({ "enabled": enabled, "sound": false, "closeAfterSeconds": seconds });
    let defaults = json!({ "turn": one(true, 15), "action": one(true, 10), "status": one(true, 5) });
    assert_eq!(server.ask("GET", &path, &[(AS, "ana")]).await.expect(200).body, defaults);
    let long = json!({ "turn": { "closeAfterSeconds": 4000 }, "status": { "closeAfterSeconds": 3601 } });
    let problem = server.tell("PUT", &path, &[(AS, "ana")], long).await.problem(400, "invalid-request");
    let fields: Vec<_> = problem["errors"].as_array().unwrap().iter().map(|error| error["field"].clone()).collect();
    assert_eq!(fields, ["turn.closeAfterSeconds", "status.closeAfterSeconds"]);
    for wrong in [json!({ "odd": {} }), json!({ "turn": { "enabled": 1 } }), json!({ "turn": { "odd": 1 } })] {
        server.tell("PUT", &path, &[(AS, "ana")], wrong).await.problem(400, "invalid-request");
    }
    let wanted = json!({ "turn": one(true, 2), "action": one(true, 10), "status": one(false, 5) });
    let sent = json!({ "turn": { "enabled": true, "sound": false, "closeAfterSeconds": 2.0 }, "action": one(true, 10),
                       "status": one(false, 5) });
    assert_eq!(server.tell("PUT", &path, &[(AS, "ana")], sent).await.expect(200).body, wanted);
    server.kill();
    server.start_again();
    assert_eq!(server.ask("GET", &path, &[(AS, "ana")]).await.body, wanted);
    assert_eq!(server.ask("GET", &path, &[(AS, "bo")]).await.body, defaults);
    let mut stream = follow(&server, "ana", "encounters/ambush", Some("0")).await;
    stream.expect("resumed").await;
    begin(&server, "ambush").await;
    stream.changes(2).await;
    assert_eq!(notified(&mut stream).await.0, "Ana acts in round 1 of The ambush");
    assert_eq!(list(&server, &[(AS, "ana")]).await.0, ["turn: Ana acts in round 1 of The ambush"]);
    assert_eq!(list(&server, &[(AS, "bo")]).await.0, ["status: The ambush has begun"]);
}

#[tokio::test]
async fn they_come_on_all_open_streams_of_their_user_and_on_nobody_elses() {
    let server = Process::start(&[]);
    plan(&server, "ambush").await;
    server.tell("POST", "/api/v1/notes", &[], json!({ "id": "n", "state": {} })).await.expect(201);
    let mut same = follow(&server, "ana", "encounters/ambush", None).await;
    let mut other = follow(&server, "ana", "notes/n", None).await;
    let mut bo = follow(&server, "bo", "notes/n", None).await;
    for stream in [&mut same, &mut other, &mut bo] {
        stream.expect("snapshot").await;
    }
    act(&server, "ambush", &[], "start").await;
    same.expect("change").await;
    let begun = "The ambush has begun".to_owned();
    let turn = "Ana acts in round 1 of The ambush".to_owned();
    let mut ids = Vec::new();
    for stream in [&mut same, &mut other] {
        let told = [notified(stream).await, notified(stream).await];
        assert_eq!(told.each_ref().map(|(text, _)| text), [&begun, &turn]);
        ids.push(told.map(|(_, id)| id));
    }
    assert_eq!(ids[0], ids[1]);
    assert_eq!(notified(&mut bo).await.0, begun);
    act(&server, "ambush", &[(AS, "ana")], "endTurn").await;
    assert_eq!(same.expect("change").await.data["type"], "endTurn", "who ended the turn is not told");
    assert_eq!(notified(&mut bo).await.0, "Bo acts in round 1 of The ambush");
    server.merge("/api/v1/notes/n", &json!({ "a": 1 })).await;
    other.expect("change").await;
    bo.expect("change").await;
}

#[tokio::test]
async fn what_was_missed_comes_after_the_replay_until_a_later_position_acknowledges_it() {
    let mut server = Process::start(&[]);
    plan(&server, "ambush").await;
    let mut stream = follow(&server, "ana", "encounters/ambush", None).await;
    let left = stream.expect("snapshot").await.id;
    drop(stream);
    act(&server, "ambush", &[], "start").await;
    act(&server, "ambush", &[], "nextTurn").await;
    act(&server, "ambush", &[], "previousTurn").await;
    let turn = "Ana acts in round 1 of The ambush";
    let missed = ["The ambush has begun", turn, turn];
    let mut ids: Option<Vec<String>> = None;
    let mut stream = follow(&server, "ana", "encounters/ambush", Some(&left)).await;
    for killed in [false, true, false] {
        stream.changes_after_resumed(3).await;
        let mut told = Vec::new();
        for expected in missed {
            let (text, id) = notified(&mut stream).await;
            assert_eq!(text, expected);
            told.push(id);
        }
        assert_eq!(*ids.get_or_insert_with(|| told.clone()), told, "the same come again");
        if killed {
            server.kill();
            server.start_again();
        }
        stream = follow(&server, "ana", "encounters/ambush", Some(&left)).await;
    }
    stream.changes_after_resumed(3).await;
    // Who comes back with the position of the last of them may not have it, and has the others.
    let last = stream.last_event_id.clone();
    stream = follow(&server, "ana", "encounters/ambush", Some(&last)).await;
    stream.changes_after_resumed(0).await;
    assert_eq!(notified(&mut stream).await.1, ids.as_ref().unwrap()[2]);
    act(&server, "ambush", &[], "pause").await;
    stream.expect("change").await;
    let (_, paused) = notified(&mut stream).await;
    let last = stream.last_event_id.clone();
    let mut stream = follow(&server, "ana", "encounters/ambush", Some(&last)).await;
    stream.changes_after_resumed(0).await;
    assert_eq!(notified(&mut stream).await.1, paused, "of the others a later position was shown");
    // What was read elsewhere is not missed.
    server.ask("POST", &format!("{LIST}/{paused}/read"), &[(AS, "ana")]).await.expect(200);
    let mut stream = follow(&server, "ana", "encounters/ambush", Some(&left)).await;
    stream.changes_after_resumed(4).await;
    for id in ids.unwrap() {
        assert_eq!(notified(&mut stream).await.1, id);
    }
    act(&server, "ambush", &[], "resume").await;
    assert_eq!(stream.expect("change").await.data["type"], "resume");
    assert_eq!(notified(&mut stream).await.0, "The ambush goes on");
}

/// The changes of a replay have passed what is told at its end: a connection that breaks in between loses nothing.
#[tokio::test]
async fn a_replay_that_breaks_off_is_told_to_the_end_by_the_next() {
    for killed in [false, true] {
        let mut server = Process::start(&[]);
        plan(&server, "ambush").await;
        let left = follow(&server, "ana", "encounters/ambush", None).await.expect("snapshot").await.id;
        act(&server, "ambush", &[], "start").await;
        for _ in 0..3 {
            let hurt = json!({ "type": "damage", "payload": { "combatantId": "orc", "amount": 1 } });
            server.tell("POST", "/api/v1/encounters/ambush/actions", &[], hurt).await.expect(200);
        }
        let mut broken = follow(&server, "ana", "encounters/ambush", Some(&left)).await;
        assert_eq!(broken.expect("resumed").await.data["count"], 4);
        broken.changes(3).await;
        let within = broken.last_event_id.clone();
        drop(broken);
        if killed {
            server.kill();
            server.start_again();
        }
        let mut stream = follow(&server, "ana", "encounters/ambush", Some(&within)).await;
        stream.changes_after_resumed(1).await;
        assert_eq!(notified(&mut stream).await.0, "The ambush has begun");
        assert_eq!(notified(&mut stream).await.0, "Ana acts in round 1 of The ambush");
        act(&server, "ambush", &[], "pause").await;
        stream.expect("change").await;
        assert_eq!(notified(&mut stream).await.0, "The ambush is paused");
        // And a later position ends it.
        let mut stream = follow(&server, "ana", "encounters/ambush", Some(&stream.last_event_id)).await;
        stream.changes_after_resumed(0).await;
        assert_eq!(notified(&mut stream).await.0, "The ambush is paused");
    }
}

/// A client without a position is told all that is unread; so is one whose position is of another log.
#[tokio::test]
async fn a_new_stream_tells_what_is_unread_after_its_snapshot() {
    let server = Process::start(&[]);
    begin(&server, "ambush").await;
    for resume in [None, Some("9-0123456789ab")] {
        let mut stream = follow(&server, "bo", "encounters/ambush", resume).await;
        stream.expect("snapshot").await;
        assert_eq!(notified(&mut stream).await.0, "The ambush has begun");
    }
    server.ask("POST", &format!("{LIST}/read-all"), &[(AS, "bo")]).await.expect(200);
    let mut stream = follow(&server, "bo", "encounters/ambush", None).await;
    stream.expect("snapshot").await;
    act(&server, "ambush", &[], "nextTurn").await;
    stream.expect("change").await;
    assert_eq!(notified(&mut stream).await.0, "Bo acts in round 1 of The ambush");
}

#[tokio::test]
async fn a_page_of_a_stream_has_them_once() {
    let server = Process::start(&[]);
    plan(&server, "ambush").await;
    server.tell("POST", "/api/v1/notes", &[], json!({ "id": "n", "state": {} })).await.expect(201);
    for doc in ["encounters/ambush", "notes/n"] {
        let poll = async |from: &str| {
            let path = format!("/api/v1/stream?doc={doc}&lastEventId={from}");
            server.ask("GET", &path, &[(AS, "ana"), ("accept", "application/json")]).await
        };
        let page = poll("").await.expect(200).body;
        let begin = page["position"].as_str().unwrap().to_owned();
        act(&server, "ambush", &[], if doc == "notes/n" { "resume" } else { "start" }).await;
        act(&server, "ambush", &[], "pause").await;
        let page = poll(&begin).await.expect(200).body;
        let events: Vec<_> = page["events"].as_array().unwrap().iter().map(|event| &event["event"]).collect();
        let told = events.iter().filter(|event| **event == "notification").count();
        assert_eq!((told, page["more"].clone()), (if doc == "notes/n" { 2 } else { 3 }, json!(false)), "{page}");
        assert!(events.iter().rev().take(told).all(|event| *event == "notification"), "{page}");
        // The last may have to come once more, and is no reason not to wait.
        let last = page["events"].as_array().unwrap().last().unwrap()["data"].clone();
        let again = poll(page["position"].as_str().unwrap()).await.expect(200).body;
        assert_eq!(again["events"], json!([{ "event": "notification", "data": last }]), "{doc}");
        server.merge("/api/v1/notes/n", &json!({ "a": doc })).await;
    }
}

#[tokio::test]
async fn whoever_may_not_read_a_document_is_told_nothing_of_it() {
    let server = Process::start(&[]);
    plan(&server, "ambush").await;

    let set = async |read: Value| {
        let path = "/api/v1/encounters/ambush/access";
        server.tell("PUT", path, &[], json!({ "read": read })).await.expect(200)
    };
    set(json!(["bo"])).await;
    act(&server, "ambush", &[], "start").await;
    assert_eq!(list(&server, &[(AS, "ana")]).await, (Vec::new(), 0));
    assert_eq!(list(&server, &[(AS, "bo")]).await.1, 1);
    let id = server.ask("GET", LIST, &[(AS, "bo")]).await.body["items"][0]["id"].as_str().unwrap().to_owned();
    set(json!("host")).await;
    assert_eq!(list(&server, &[(AS, "bo")]).await, (Vec::new(), 0), "nor of what it was");
    server.ask("POST", &format!("{LIST}/{id}/read"), &[(AS, "bo")]).await.problem(404, "not-found");
    let url = format!("{}/api/v1/stream?collection=notes", server.url);
    let mut stream = Follower::connect(&url, Some("bo"), None).await.unwrap();
    stream.expect("snapshot").await;
    server.tell("POST", "/api/v1/notes", &[], json!({ "id": "n", "state": {} })).await.expect(201);
    stream.expect("change").await;
    // What is deleted takes along what was told of it.
    server.ask("DELETE", "/api/v1/encounters/ambush", &[]).await.expect(200);
    plan(&server, "ambush").await;
    assert_eq!(list(&server, &[(AS, "bo")]).await, (Vec::new(), 0));
}

#[tokio::test]
async fn no_more_than_five_hundred_are_kept_and_the_oldest_read_ones_go_first() {
    let server = Process::start(&[]);
    begin(&server, "ambush").await;
    let ids = async || {
        let page = server.ask("GET", &format!("{LIST}?limit=500"), &[(AS, "bo")]).await.expect(200).body;
        let items = page["items"].as_array().unwrap().clone();
        assert!(page["nextCursor"].is_null());
        items.iter().map(|item| item["id"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    let pass = async |count: usize| {
        let one = |index: usize| {
            let kind = if index.is_multiple_of(2) { "pause" } else { "resume" };
            json!({ "op": "action", "collection": "encounters", "id": "ambush", "type": kind })
        };
        let operations: Vec<_> = (0..count).map(one).collect();
        for part in operations.chunks(100) {
            server.tell("POST", "/api/v1/batch", &[], json!({ "operations": part })).await.expect(200);
        }
    };
    pass(300).await;
    let first = ids().await;
    assert_eq!(first.len(), 301);
    let read = &first[100];
    server.ask("POST", &format!("{LIST}/{read}/read"), &[(AS, "bo")]).await.expect(200);
    pass(200).await;
    let then = ids().await;
    assert_eq!((then.len(), then.contains(read), then.contains(first.last().unwrap())), (500, false, true));
    pass(2).await;
    let then = ids().await;
    assert_eq!((then.len(), then.contains(first.last().unwrap())), (500, false), "then the oldest");
}

/// Killed at each moment of the commit: what is there then is told once, with the change, or neither is.
#[tokio::test]
async fn a_kill_between_change_and_delivery_neither_loses_nor_doubles_one() {
    let (disk, mut server) = Disk::with_server(&[]);
    for (round, moment) in Moment::ALL.into_iter().enumerate() {
        let id = format!("fight-{round}");
        plan(&server, &id).await;
        let mut stream = follow(&server, "ana", &format!("encounters/{id}"), None).await;
        while stream.expect_any(&["snapshot", "notification"]).await.event != "snapshot" {}
        server.ask("POST", &format!("{LIST}/read-all"), &[(AS, "ana")]).await.expect(200);
        let left = stream.last_event_id.clone();
        // In the row of the notification, which is in the same transaction as the change.
        disk.kill(moment, &format!("The {id} has begun"));
        let path = format!("/api/v1/encounters/{id}/actions");
        let sent = server.request("POST", &path).header("idempotency-key", &id).json(&json!({ "type": "start" }));
        let sent = tokio::spawn(sent.send());
        server.until_killed().await;
        let _ = sent.await.unwrap();
        disk.set("off");
        server.start_again();
        let kept = moment.keeps_the_change();
        let rows = list(&server, &[(AS, "ana")]).await.1;
        assert_eq!(rows, if kept { 2 } else { 0 }, "{moment:?}");
        let retried = server.request("POST", &path).header("idempotency-key", &id).json(&json!({ "type": "start" }));
        assert_eq!(retried.send().await.unwrap().status(), 200);
        assert_eq!(list(&server, &[(AS, "ana")]).await.1, 2, "{moment:?}");
        let mut stream = follow(&server, "ana", &format!("encounters/{id}"), Some(&left)).await;
        stream.changes_after_resumed(1).await;
        let mut told = vec![notified(&mut stream).await.0, notified(&mut stream).await.0];
        act(&server, &id, &[], "pause").await;
        stream.expect("change").await;
        told.push(notified(&mut stream).await.0);
        let expected =
            [format!("The {id} has begun"), format!("Ana acts in round 1 of The {id}"), format!("The {id} is paused")];
        assert_eq!(told, expected, "{moment:?}");
    }
}

/// A replay is told also where it cannot be noted.
#[tokio::test]
async fn what_was_missed_is_told_while_the_disk_fails() {
    let (disk, server) = Disk::with_server(&[]);
    plan(&server, "ambush").await;
    let left = follow(&server, "ana", "encounters/ambush", None).await.expect("snapshot").await.id;
    act(&server, "ambush", &[], "start").await;
    act(&server, "ambush", &[], "nextTurn").await;
    disk.set("enospc");
    let mut stream = follow(&server, "ana", "encounters/ambush", Some(&left)).await;
    stream.changes_after_resumed(2).await;
    assert_eq!(notified(&mut stream).await.0, "The ambush has begun");
    assert_eq!(notified(&mut stream).await.0, "Ana acts in round 1 of The ambush");
    let path = "/api/v1/encounters/ambush/actions";
    server.tell("POST", path, &[], json!({ "type": "previousTurn" })).await.expect(202);
    assert_eq!(stream.expect("change").await.data["type"], "previousTurn");
    disk.set("off");
}

/// While the disk fails the game goes on, and so does what is told of it; once it works the rows are there.
#[tokio::test]
async fn while_the_disk_fails_they_are_told_all_the_same_and_stored_later() {
    let (disk, server) = Disk::with_server(&[]);
    plan(&server, "ambush").await;
    let mut stream = follow(&server, "ana", "encounters/ambush", None).await;
    let left = stream.expect("snapshot").await.id;
    disk.set("enospc");
    let path = "/api/v1/encounters/ambush/actions";
    server.tell("POST", path, &[], json!({ "type": "start" })).await.expect(202);
    stream.expect("change").await;
    let told: [Told; 2] = [stream.expect("notification").await, stream.expect("notification").await];
    let ids = told.each_ref().map(|told| told.data["id"].as_str().unwrap().to_owned());
    let mut back = follow(&server, "ana", "encounters/ambush", Some(&left)).await;
    back.changes_after_resumed(1).await;
    for id in &ids {
        assert_eq!(&notified(&mut back).await.1, id);
    }
    disk.set("off");
    server.until_ready(|status, report| status == 200 && report["storage"]["state"] == "ok").await;
    let page = server.ask("GET", LIST, &[(AS, "ana")]).await.expect(200).body;
    let mut stored: Vec<_> = page["items"].as_array().unwrap().iter().map(|item| item["id"].clone()).collect();
    stored.reverse();
    assert_eq!(stored, ids);
}
