//! Streams with `where`: documents come and go as they match, as the viewer sees them.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::support::replica::{apply, name};
use crate::support::{AS, Dice, Follower, Process, Told};

/// The address of a stream over `notes` with this `where`.
fn url(server: &Process, filter: &Value) -> String {
    let encoded: String = filter.to_string().bytes().map(|byte| format!("%{byte:02X}")).collect();
    format!("{}/api/v1/stream?collection=notes&where={encoded}", server.url)
}

async fn follow(server: &Process, filter: &Value) -> Follower {
    Follower::connect(&url(server, filter), None, None).await.unwrap()
}

async fn set(server: &Process, id: &str, state: Value) -> Value {
    let (status, document) = server.put(&format!("/api/v1/notes/{id}"), &state).await;
    assert!(status / 100 == 2, "{document}");
    document
}

fn ids(snapshot: &Told) -> Vec<&str> {
    snapshot.data["documents"].as_array().unwrap().iter().map(|document| document["id"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn documents_enter_change_and_leave_in_place_of_the_change_by_which_they_do() {
    let server = Process::start(&[]);
    set(&server, "a", json!({ "status": "active", "n": 1 })).await;
    set(&server, "b", json!({ "status": "idle" })).await;
    let active = json!({ "status": "active" });
    let mut stream = follow(&server, &active).await;
    let begin = stream.expect("snapshot").await;
    assert_eq!((ids(&begin), &begin.data["reason"]), (vec!["a"], &json!("start")));
    set(&server, "b", json!({ "status": "idle", "n": 2 })).await;
    set(&server, "a", json!({ "status": "active", "n": 2 })).await;
    let change = stream.expect("change").await.data;
    assert_eq!((&change["id"], &change["version"]), (&json!("a"), &json!(2)), "nothing of b");
    let b = set(&server, "b", json!({ "status": "active", "n": 3 })).await;
    let entered = stream.expect("snapshot").await;
    assert_eq!((ids(&entered), &entered.data["reason"]), (vec!["b"], &json!("entered")));
    assert_eq!(entered.data["documents"][0]["state"], b["state"]);
    assert!(entered.id.ends_with(&b["hash"].as_str().unwrap()[..12]), "{}", entered.id);
    let a = set(&server, "a", json!({ "status": "over", "n": 3 })).await;
    let left = stream.expect("left").await;
    assert_eq!(left.data, json!({ "collection": "notes", "id": "a", "version": 3 }));
    assert!(left.id.ends_with(&a["hash"].as_str().unwrap()[..12]), "{}", left.id);
    set(&server, "c", json!({ "status": "active" })).await;
    assert_eq!(ids(&stream.expect("snapshot").await), ["c"]);
    assert_eq!(server.ask("DELETE", "/api/v1/notes/c", &[]).await.status, 200);
    assert_eq!(stream.expect("change").await.data["type"], "delete");

    // Away: a comes, b goes, and c is not there any more.
    let position = stream.last_event_id.clone();
    drop(stream);
    set(&server, "a", json!({ "status": "active", "n": 4 })).await;
    set(&server, "b", json!({ "status": "active", "n": 4 })).await;
    set(&server, "b", json!({ "status": "over", "n": 5 })).await;
    set(&server, "d", json!({ "status": "idle" })).await;
    let mut stream = Follower::connect(&url(&server, &active), None, Some(&position)).await.unwrap();
    stream.expect("resumed").await;
    let entered = stream.expect("snapshot").await;
    assert_eq!((ids(&entered), &entered.data["reason"]), (vec!["a"], &json!("entered")));
    assert_eq!(stream.expect("change").await.data["version"], 4, "of b, until it leaves");
    assert_eq!(stream.expect("left").await.data["id"], "b");
    set(&server, "a", json!({ "status": "active", "n": 5 })).await;
    assert_eq!(stream.expect("change").await.data["version"], 5);
}

#[tokio::test]
async fn a_page_of_json_has_the_same_and_other_streams_take_no_where() {
    let server = Process::start(&[]);
    let a = set(&server, "a", json!({ "status": "active" })).await;
    let active = json!({ "status": "active" });
    let path = url(&server, &active).strip_prefix(&server.url).unwrap().to_owned();
    let page = server.ask("GET", &path, &[("accept", "application/json")]).await.expect(200).body;
    assert_eq!(page["events"][0]["data"]["documents"][0]["hash"], a["hash"]);
    let position = page["position"].as_str().unwrap().to_owned();
    set(&server, "a", json!({ "status": "over" })).await;
    set(&server, "b", json!({ "status": "active" })).await;
    set(&server, "x", json!({ "status": "over" })).await;
    let next = format!("{path}&lastEventId={position}");
    let page = server.ask("GET", &next, &[("accept", "application/json")]).await.expect(200).body;
    let told: Vec<(&Value, bool)> =
        page["events"].as_array().unwrap().iter().map(|event| (&event["event"], event["id"].is_string())).collect();
    assert_eq!(told, [(&json!("left"), true), (&json!("snapshot"), true)], "{page}");
    assert_eq!(page["events"][1]["data"]["reason"], "entered");
    assert_eq!(page["more"], false);
    let next = format!("{path}&lastEventId={}", page["position"].as_str().unwrap());
    let reply = server.ask("GET", &next, &[("accept", "application/json")]).await;
    assert_eq!(reply.status, 204, "{}", reply.text);
    server.ask("GET", "/api/v1/notes/a/events?where=%7B%7D", &[]).await.problem(400, "invalid-request");
    let bad = "/api/v1/stream?collection=notes&where=%7B%22n%22%3A%7B%22like%22%3A1%7D%7D";
    server.ask("GET", bad, &[]).await.problem(400, "invalid-request");
}

/// A question, and the same by hand, of the state that a viewer is shown.
struct Question {
    filter: Value,
    wants: fn(&Value) -> bool,
}

fn questions() -> Vec<Question> {
    let question = |filter: Value, wants| Question { filter, wants };
    vec![
        question(json!({ "status": "a" }), |state| state["status"] == "a"),
        question(json!({ "n": { "lt": 3 } }), |state| state["n"].as_i64().is_some_and(|n| n < 3)),
        question(json!({ "hidden.n": { "gte": 2 } }), |state| state["hidden"]["n"].as_i64().is_some_and(|n| n >= 2)),
        question(json!({ "private.bob.n": { "exists": true } }), |state| state["private"]["bob"].get("n").is_some()),
        question(json!({ "hidden": { "exists": false }, "n": { "ne": 1 } }), |state| {
            state.get("hidden").is_none() && state["n"] != 1
        }),
    ]
}

/// What a client with a question knows: the documents that it was told of and not told to let go of.
struct Client<'a> {
    viewer: Option<&'a str>,
    question: &'a Question,
    stream: Follower,
    known: BTreeMap<String, (u64, Value)>,
}

impl Client<'_> {
    /// Takes in what is told, up to this version of the last document.
    async fn until(&mut self, last: u64) {
        while self.known.get("notes/last").is_none_or(|(version, _)| *version < last) {
            let told = self.stream.next().await.expect("the stream goes on");
            match told.event.as_str() {
                "snapshot" => {
                    if told.data["reason"] != "entered" {
                        self.known.clear();
                    }
                    for document in told.data["documents"].as_array().unwrap() {
                        let version = document["version"].as_u64().unwrap();
                        self.known.insert(name(document), (version, document["state"].clone()));
                    }
                }
                "change" => {
                    let known = self.known.get_mut(&name(&told.data)).expect("a change of what was told");
                    assert_eq!(told.data["version"], known.0 + 1, "{}", told.text);
                    known.0 += 1;
                    apply(&mut known.1, &told.data["patch"]);
                    if told.data["type"] == "delete" {
                        self.known.remove(&name(&told.data));
                    }
                }
                "left" => {
                    let (version, _) = self.known.remove(&name(&told.data)).expect("only what was told leaves");
                    assert_eq!(told.data["version"], version + 1, "{}", told.text);
                }
                "resumed" => {}
                other => panic!("{other}: {}", told.text),
            }
        }
    }
}

#[tokio::test]
async fn whatever_happens_a_client_knows_what_a_naive_filter_finds() {
    let seed = std::time::UNIX_EPOCH.elapsed().unwrap().subsec_nanos().into();
    eprintln!("seed {seed}");
    let (mut dice, server) = (Dice::new(seed), Process::start(&[]));
    let questions = questions();
    // All but one that would be told of it: what is last is told to everyone.
    let filter = |question: &Question| json!({ "or": [question.filter, { "last": true }] });
    let viewers = [None, Some("bob"), Some("carol")];
    let mut clients = Vec::new();
    for question in &questions {
        for viewer in viewers {
            let stream = Follower::connect(&url(&server, &filter(question)), viewer, None).await.unwrap();
            clients.push(Client { viewer, question, stream, known: BTreeMap::new() });
        }
    }
    for round in 1..=12 {
        for _ in 0..dice.below(25) {
            let path = format!("/api/v1/notes/n{}", dice.below(6));
            if dice.below(8) == 0 {
                server.ask("DELETE", &path, &[]).await;
                continue;
            }
            let mut state = json!({ "status": dice.pick(&["a", "b"]), "n": dice.below(5) });
            if dice.below(2) == 0 {
                state["hidden"] = json!({ "n": dice.below(4) });
            }
            if dice.below(2) == 0 {
                state["private"] = json!({ dice.pick(&["bob", "carol"]): { "n": dice.below(4) } });
            }
            assert!(server.put(&path, &state).await.0 / 100 == 2);
        }
        set(&server, "last", json!({ "last": true, "round": round })).await;
        for client in &mut clients {
            // Some listen all the time, some come back now and then.
            if dice.below(3) == 0 && !client.stream.last_event_id.is_empty() {
                let (url, position) = (url(&server, &filter(client.question)), client.stream.last_event_id.clone());
                client.stream = Follower::connect(&url, client.viewer, Some(&position)).await.unwrap();
            }
            client.until(round).await;
            let headers: &[(&str, &str)] = &client.viewer.map(|viewer| (AS, viewer)).into_iter().collect::<Vec<_>>();
            let list = server.ask("GET", "/api/v1/notes?include=state", headers).await.expect(200).body;
            let documents = list["items"].as_array().unwrap().iter();
            let wanted =
                documents.filter(|document| document["id"] == "last" || (client.question.wants)(&document["state"]));
            let expect: BTreeMap<String, (u64, Value)> = wanted
                .map(|document| (name(document), (document["version"].as_u64().unwrap(), document["state"].clone())))
                .collect();
            assert_eq!(client.known, expect, "round {round} {:?} {}", client.viewer, client.question.filter);
        }
    }
}
