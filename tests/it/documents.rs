//! Documents from creation to deletion and back: what each call answers, and what stands there afterwards.

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::{AS, Clocked, GENESIS, Process, verify_chain};

/// `"<version>-<12 hex digits>"` of a document as it was answered.
fn tag(document: &Value) -> String {
    format!("\"{}-{}\"", document["version"], &document["hash"].as_str().unwrap()[..12])
}

#[tokio::test]
async fn a_creation_tells_where_the_document_is_and_what_it_is() {
    let server = Process::start(&[]);
    let state = json!({ "pot": 0, "players": ["ann", "bob"] });
    let made = server.tell("POST", "/api/v1/games", &[], json!({ "id": "g-1", "state": state })).await.expect(201);
    assert_eq!(made.header("location"), "/api/v1/games/g-1");
    assert_eq!(made.header("etag"), tag(&made.body));
    assert_eq!(made.header("content-type"), "application/json");
    let hash = made.body["hash"].as_str().unwrap();
    assert_eq!(hash.len(), 64);
    assert_eq!(made.header("rejoin-position"), format!("1-{}", &hash[..12]));
    let timing = made.header("server-timing");
    assert!(["queue;dur=", "apply;dur=", "commit;dur="].iter().all(|part| timing.contains(part)), "{timing}");
    let members: Vec<&String> = made.body.as_object().unwrap().keys().collect();
    let mut expected =
        ["collection", "id", "version", "hash", "state", "host", "access", "createdAt", "updatedAt", "durable"];
    expected.sort_unstable();
    assert_eq!(members, expected);
    let access = json!({ "read": "all", "write": "all", "delete": "host" });
    assert_eq!((&made.body["host"], &made.body["access"]), (&json!("owner"), &access));
    assert_eq!((&made.body["collection"], &made.body["id"]), (&json!("games"), &json!("g-1")));
    assert_eq!((&made.body["version"], &made.body["state"]), (&json!(1), &state));
    assert_eq!(made.body["createdAt"], made.body["updatedAt"]);

    let again = server.tell("POST", "/api/v1/games", &[], json!({ "id": "g-1", "state": {} })).await;
    let problem = again.problem(409, "already-exists");
    assert_eq!((&problem["currentVersion"], &problem["currentHash"]), (&json!(1), &json!(hash)));
    assert_eq!(server.get("/api/v1/games/g-1").await.1, made.body);
}

#[tokio::test]
async fn a_document_without_an_id_gets_one_and_such_ids_are_in_order_of_time() {
    let server = Clocked::start(|_| ()).await;
    let mut ids = Vec::new();
    for n in 0..5 {
        let made = server.post("/api/v1/notes", json!({ "state": { "n": n } })).await.expect(201);
        let id = made.body["id"].as_str().unwrap().to_owned();
        assert_eq!(made.header("location"), format!("/api/v1/notes/{id}"));
        assert_eq!(server.ask("GET", made.header("location"), &[]).await.body["state"]["n"], n);
        ids.push(id);
        // Ids are in order of milliseconds.
        server.advance(Duration::from_millis(1));
    }
    assert!(ids.is_sorted(), "{ids:?}");
    server.stop().await;
}

#[tokio::test]
async fn a_read_shows_the_document_and_head_its_headers() {
    let server = Process::start(&[]);
    let made = server.tell("PUT", "/api/v1/games/g1", &[], json!({ "state": { "n": 1 } })).await.expect(201);
    assert_eq!(made.header("location"), "/api/v1/games/g1");
    let read = server.ask("GET", "/api/v1/games/g1", &[]).await.expect(200);
    assert_eq!(read.text, made.text);
    for name in ["etag", "rejoin-position", "content-type"] {
        assert_eq!(read.header(name), made.header(name));
    }
    let head = server.ask("HEAD", "/api/v1/games/g1", &[]).await.expect(200);
    assert_eq!(head.text, "");
    for name in ["etag", "rejoin-position", "content-type", "content-length"] {
        assert_eq!(head.header(name), read.header(name));
    }
    assert_eq!(server.ask("HEAD", "/api/v1/games/none", &[]).await.expect(404).text, "");
    server.ask("GET", "/api/v1/games/none", &[]).await.problem(404, "not-found");
    server.ask("GET", "/api/v1/nothing/none", &[]).await.problem(404, "not-found");
}

#[tokio::test]
async fn a_reader_who_has_it_already_gets_304() {
    let server = Process::start(&[]);
    let made = server.tell("PUT", "/api/v1/games/g1", &[], json!({ "state": { "n": 1 } })).await.expect(201);
    let tag = made.header("etag").to_owned();
    for matching in [tag.clone(), format!("W/{tag}"), format!("\"x\", {tag}"), "*".to_owned()] {
        for method in ["GET", "HEAD"] {
            let same = server.ask(method, "/api/v1/games/g1", &[("if-none-match", &matching)]).await.expect(304);
            assert_eq!((same.text.as_str(), same.header("etag")), ("", tag.as_str()), "{matching}");
            assert_eq!(same.header("rejoin-position"), made.header("rejoin-position"));
        }
    }
    for other in ["\"2-abcdefabcdef\"", "\"x\"", "\"\""] {
        server.ask("GET", "/api/v1/games/g1", &[("if-none-match", other)]).await.expect(200);
    }
    server.merge("/api/v1/games/g1", &json!({ "n": 2 })).await;
    let newer = server.ask("GET", "/api/v1/games/g1", &[("if-none-match", &tag)]).await.expect(200);
    assert_eq!(newer.body["state"]["n"], 2);
    let old = server.ask("GET", "/api/v1/games/g1?version=1", &[("if-none-match", &tag)]).await.expect(304);
    assert_eq!(old.header("etag"), tag);
}

#[tokio::test]
async fn a_collection_is_listed_in_pages_that_hold_everything_once() {
    let server = Process::start(&[]);
    assert_eq!(server.get("/api/v1/games").await, (200, json!({ "items": [] })));
    for n in 0..7 {
        server.put(&format!("/api/v1/games/g{n}"), &json!({ "n": n })).await;
    }
    server.put("/api/v1/others/g0", &json!({})).await;
    server.ask("DELETE", "/api/v1/games/g3", &[]).await.expect(200);
    server.merge("/api/v1/games/g5", &json!({ "n": 55 })).await;

    let (mut path, mut seen) = ("/api/v1/games?limit=2".to_owned(), Vec::new());
    for _ in 0..4 {
        let (status, page) = server.get(&path).await;
        assert_eq!(status, 200, "{page}");
        let items = page["items"].as_array().unwrap();
        assert!(items.len() <= 2, "{page}");
        seen.extend(items.iter().cloned());
        match page.get("nextCursor") {
            Some(cursor) => path = format!("/api/v1/games?limit=2&cursor={}", cursor.as_str().unwrap()),
            None => break,
        }
    }
    let ids: Vec<&str> = seen.iter().map(|item| item["id"].as_str().unwrap()).collect();
    assert_eq!(ids, ["g0", "g1", "g2", "g4", "g5", "g6"]);
    for item in &seen {
        let (_, document) = server.get(&format!("/api/v1/games/{}", item["id"].as_str().unwrap())).await;
        let mut expected = json!({});
        for member in ["collection", "id", "version", "hash", "createdAt", "updatedAt"] {
            expected[member] = document[member].clone();
        }
        assert_eq!(item, &expected);
    }
    let (_, full) = server.get("/api/v1/games?include=state&limit=500").await;
    assert_eq!(full["items"][4]["state"], json!({ "n": 55 }));
    assert_eq!(full.get("nextCursor"), None);
    let (_, exact) = server.get("/api/v1/games?limit=6").await;
    assert_eq!(exact.get("nextCursor"), None, "a page that holds the rest says so");
}

#[tokio::test]
async fn put_replaces_and_both_kinds_of_patch_change_the_state() {
    let server = Process::start(&[]);
    let path = "/api/v1/games/g1";
    server.put(path, &json!({ "gone": 1, "a": { "b": 1, "c": [1, 2, 3] } })).await;
    let put = server.tell("PUT", path, &[], json!({ "state": { "a": { "b": 1, "c": [1, 2, 3] } } })).await.expect(200);
    assert_eq!((&put.body["version"], put.body["state"].get("gone")), (&json!(2), None));
    assert!(!put.headers.contains_key("location"));
    assert_eq!(put.header("etag"), tag(&put.body));
    let (_, merged) = server.merge(path, &json!({ "a": { "b": null, "d": { "e": null, "f": 1 } }, "n": 5 })).await;
    assert_eq!(merged["state"], json!({ "a": { "c": [1, 2, 3], "d": { "f": 1 } }, "n": 5 }));
    let operations = json!([
        { "op": "test", "path": "/a/c/1", "value": 2 },
        { "op": "add", "path": "/a/c/-", "value": 4 },
        { "op": "add", "path": "/a/c/0", "value": 0 },
        { "op": "remove", "path": "/a/c/1" },
        { "op": "replace", "path": "/n", "value": null },
        { "op": "copy", "from": "/a/d", "path": "/copied" },
        { "op": "move", "from": "/a/d/f", "path": "/moved" },
    ]);
    let patched = server.json_patch(path, &operations).await.expect(200);
    let expected = json!({ "a": { "c": [0, 2, 3, 4], "d": {} }, "n": null, "copied": { "f": 1 }, "moved": 1 });
    assert_eq!((&patched.body["version"], &patched.body["state"]), (&json!(4), &expected));
    assert!(patched.header("server-timing").contains("commit"));
    let whole = server.json_patch(path, &json!([{ "op": "replace", "path": "", "value": { "new": 1 } }])).await;
    assert_eq!(whole.expect(200).body["state"], json!({ "new": 1 }));
    // A change that changes nothing is a change: whoever sent it finds it in the history.
    assert_eq!(server.json_patch(path, &json!([])).await.expect(200).body["version"], 6);
}

#[tokio::test]
async fn every_version_can_be_read_as_it_was() {
    let mut server = Process::start(&[]);
    let path = "/api/v1/games/g1";
    let mut answers = vec![server.put(path, &json!({ "n": 1, "list": [1] })).await.1];
    for n in 2..=6 {
        answers.push(server.merge(path, &json!({ "n": n, "list": [n, n] })).await.1);
    }
    server.kill();
    server.start_again();
    for answer in &answers {
        let old = server.ask("GET", &format!("{path}?version={}", answer["version"]), &[]).await.expect(200);
        assert_eq!(old.body, *answer);
        assert_eq!(old.header("etag"), tag(answer));
    }
    for never in [0, 7, 1_000_000] {
        let reply = server.ask("GET", &format!("{path}?version={never}"), &[]).await;
        reply.problem(404, "not-found");
    }
    server.ask("GET", "/api/v1/games/none?version=1", &[]).await.problem(404, "not-found");
}

#[tokio::test]
async fn a_deletion_is_a_version_and_the_chain_goes_on_after_it() {
    let mut server = Process::start(&[]);
    let path = "/api/v1/games/g1";
    let made = server.put(path, &json!({ "n": 1 })).await.1;
    let gone = server.ask("DELETE", path, &[]).await.expect(200);
    assert_eq!((&gone.body["version"], &gone.body["state"]), (&json!(2), &Value::Null));
    assert_eq!(gone.header("etag"), tag(&gone.body));
    for _ in 0..2 {
        for (method, target) in
            [("GET", path.to_owned()), ("GET", format!("{path}?version=2")), ("DELETE", path.into())]
        {
            let problem = server.ask(method, &target, &[]).await.problem(410, "gone");
            assert_eq!(problem["lastVersion"], 2, "{method} {target}");
        }
        server.kill();
        server.start_again();
    }
    let merge = [("content-type", "application/merge-patch+json")];
    server.tell("PATCH", path, &merge, json!({ "n": 2 })).await.problem(410, "gone");
    let action = json!({ "type": "x", "patch": {} });
    server.tell("POST", &format!("{path}/actions"), &[], &action).await.problem(410, "gone");
    assert_eq!(server.ask("GET", &format!("{path}?version=1"), &[]).await.expect(200).body, made);

    let back = server.tell("POST", "/api/v1/games", &[], json!({ "id": "g1", "state": { "n": 3 } })).await.expect(201);
    assert_eq!(back.body["version"], 3);
    assert_eq!(back.body["createdAt"], made["createdAt"], "the first creation is when the document began");
    server.ask("DELETE", path, &[]).await.expect(200);
    let put = server.tell("PUT", path, &[], json!({ "state": { "n": 5 } })).await.expect(201);
    assert_eq!(put.body["version"], 5);
    let history = server.ask("GET", &format!("{path}/events"), &[]).await.expect(200);
    let kinds: Vec<&str> =
        history.body["items"].as_array().unwrap().iter().map(|event| event["type"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["create", "delete", "create", "delete", "create"]);
}

#[tokio::test]
async fn an_action_answers_with_its_event_which_is_the_one_in_the_history() {
    let server = Process::start(&[]);
    let path = "/api/v1/games/g1";
    server.put(path, &json!({ "pot": 10 })).await;
    let body = json!({ "type": "raise", "payload": { "to": 20 }, "patch": { "pot": 30 }, "expectedVersion": 1 });
    let raised = server.tell("POST", &format!("{path}/actions"), &[(AS, "ann")], &body).await.expect(200);
    let mut event = raised.body.clone();
    assert_eq!(event.as_object_mut().unwrap().remove("durable"), Some(json!(true)));
    assert_eq!((&event["seq"], &event["version"], &event["type"]), (&json!(2), &json!(2), &json!("raise")));
    assert_eq!((&event["actor"], &event["payload"]), (&json!("ann"), &json!({ "to": 20 })));
    assert_eq!(event["patch"], json!([{ "op": "replace", "path": "/pot", "value": 30 }]));
    assert_eq!(raised.header("etag"), tag(&event));
    assert!(raised.header("server-timing").contains("commit"));
    let plain = server.tell("POST", &format!("{path}/actions"), &[], json!({ "type": "note" })).await.expect(200);
    assert_eq!((&plain.body["patch"], &plain.body["payload"]), (&json!([]), &json!({})));

    let page = server.ask("GET", &format!("{path}/events"), &[]).await.expect(200);
    assert_eq!(page.body["items"][1], event);
    assert_eq!(page.body["firstVersion"], 1);
    let items: Vec<Box<serde_json::value::RawValue>> = {
        let raw = page.text.strip_prefix("{\"items\":").unwrap();
        serde_json::Deserializer::from_str(raw).into_iter().next().unwrap().unwrap()
    };
    let last = items.iter().fold(GENESIS.to_owned(), |hash, item| verify_chain(&hash, item.get()));
    assert_eq!(plain.body["hash"], json!(last));
    let absent = server.tell("POST", "/api/v1/games/none/actions", &[], json!({ "type": "x" })).await;
    absent.problem(404, "not-found");
}

#[tokio::test]
async fn a_rollback_is_a_new_change_whose_state_is_the_old_one() {
    let server = Process::start(&[]);
    let path = "/api/v1/games/g1";
    server.put(path, &json!({ "n": 1, "a": [1, { "b": 2 }] })).await;
    server.put(path, &json!({ "m": 2 })).await;
    let rollback = format!("{path}/rollback");
    let back = server.tell("POST", &rollback, &[], json!({ "toVersion": 1 })).await.expect(200);
    assert_eq!((&back.body["version"], &back.body["state"]), (&json!(3), &json!({ "n": 1, "a": [1, { "b": 2 }] })));
    let (_, history) = server.get(&format!("{path}/events?after=2")).await;
    let event = &history["items"][0];
    assert_eq!((&event["type"], &event["payload"]), (&json!("rollback"), &json!({ "toVersion": 1 })));
    for (version, status, slug) in [(0, 404, "not-found"), (99, 404, "not-found")] {
        let standing = server.standing(path).await;
        server.tell("POST", &rollback, &[], json!({ "toVersion": version })).await.problem(status, slug);
        assert_eq!(server.standing(path).await, standing);
    }
    server.ask("DELETE", path, &[]).await.expect(200);
    server.tell("POST", &rollback, &[], json!({ "toVersion": 4 })).await.problem(400, "invalid-request");
    server.put(path, &json!({ "again": true })).await;
    server.tell("POST", &rollback, &[], json!({ "toVersion": 4 })).await.problem(400, "invalid-request");
    let far = server.tell("POST", &rollback, &[], json!({ "toVersion": 2, "expectedVersion": 5 })).await.expect(200);
    assert_eq!((&far.body["version"], &far.body["state"]), (&json!(6), &json!({ "m": 2 })));
}

#[tokio::test]
async fn who_wants_little_gets_the_headers_alone() {
    let server = Process::start(&[]);
    let merge = "application/merge-patch+json";
    let calls = [
        ("POST", "/api/v1/games", json!({ "id": "g1", "state": {} }), "application/json"),
        ("PUT", "/api/v1/games/g1", json!({ "state": { "n": 1 } }), "application/json"),
        ("PATCH", "/api/v1/games/g1", json!({ "n": 2 }), merge),
        ("POST", "/api/v1/games/g1/actions", json!({ "type": "x", "patch": { "n": 3 } }), "application/json"),
        ("POST", "/api/v1/games/g1/rollback", json!({ "toVersion": 2 }), "application/json"),
        ("DELETE", "/api/v1/games/g1", json!({}), "application/json"),
    ];
    for (index, (method, path, body, media_type)) in calls.into_iter().enumerate() {
        let headers = [("prefer", "return=minimal"), ("content-type", media_type)];
        let reply = server.tell(method, path, &headers, body).await.expect(204);
        assert_eq!(reply.text, "", "{method} {path}");
        assert_eq!(reply.header("preference-applied"), "return=minimal");
        assert!(reply.header("etag").starts_with(&format!("\"{}-", index + 1)), "{method} {path}");
        assert!(reply.header("rejoin-position").starts_with(&format!("{}-", index + 1)));
        assert!(reply.header("server-timing").contains("commit"));
    }
    let created = server.tell("PUT", "/api/v1/games/g2", &[("prefer", "return=minimal")], json!({ "state": {} })).await;
    assert_eq!(created.expect(204).header("location"), "/api/v1/games/g2");
}
