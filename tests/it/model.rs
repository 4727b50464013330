//! Random actions against a model so naive that it can be seen to be right: states by version, in memory.

use std::collections::BTreeMap;

use reqwest::RequestBuilder;
use serde_json::{Map, Value, json};

use crate::support::{Dice, Follower, Process, Replica, process};

const NAMES: [(&str, &str); 5] = [("games", "a"), ("games", "b"), ("games", "c"), ("notes", "a"), ("notes", "d")];
const KEYS: [&str; 6] = ["a", "b", "list", "ü/~1", "", "0"];

/// The states of a document by version, from 1; `None`: deleted.
type Life = Vec<Option<Value>>;

/// Everything that ever was.
#[derive(Clone, Default)]
struct Model(BTreeMap<&'static str, Life>);

/// A change of one document.
#[derive(Clone, Debug)]
enum Change {
    Create(Value),
    Put(Value),
    Merge(Value),
    Patch(Vec<Step>),
    Delete,
    Act(Option<Value>),
    Rollback(u64),
}

/// One operation of a JSON Patch on a top-level member.
#[derive(Clone, Debug)]
enum Step {
    Add(&'static str, Value),
    Replace(&'static str, Value),
    Remove(&'static str),
    Copy(&'static str, &'static str),
    Test(&'static str, Value),
    Append(&'static str, Value),
}

impl Step {
    fn json(&self) -> Value {
        let path = |key: &str| format!("/{}", key.replace('~', "~0").replace('/', "~1"));
        match self {
            Self::Add(key, value) => json!({ "op": "add", "path": path(key), "value": value }),
            Self::Replace(key, value) => json!({ "op": "replace", "path": path(key), "value": value }),
            Self::Remove(key) => json!({ "op": "remove", "path": path(key) }),
            Self::Copy(from, to) => json!({ "op": "copy", "from": path(from), "path": path(to) }),
            Self::Test(key, value) => json!({ "op": "test", "path": path(key), "value": value }),
            Self::Append(key, value) => json!({ "op": "add", "path": format!("{}/-", path(key)), "value": value }),
        }
    }

    fn apply(&self, state: &mut Map<String, Value>) -> Option<()> {
        match self {
            Self::Add(key, value) => drop(state.insert((*key).to_owned(), value.clone())),
            Self::Replace(key, value) => *state.get_mut(*key)? = value.clone(),
            Self::Remove(key) => drop(state.remove(*key)?),
            Self::Copy(from, to) => drop(state.insert((*to).to_owned(), state.get(*from)?.clone())),
            Self::Test(key, value) => return is_same(state.get(*key)?, value).then_some(()),
            Self::Append(key, value) => match state.get_mut(*key)? {
                Value::Array(items) => items.push(value.clone()),
                // In an object, the same text is a key like any other.
                Value::Object(members) => drop(members.insert("-".to_owned(), value.clone())),
                _ => return None,
            },
        }
        Some(())
    }
}

/// As RFC 6902 §4.6 has it: numbers are the same when they are worth the same, however they are spelt.
fn is_same(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Number(a), Value::Number(b)) if a.is_f64() || b.is_f64() => a.as_f64() == b.as_f64(),
        _ => a == b,
    }
}

/// What must hold for a change to be made.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Condition {
    None,
    /// `expectedVersion`.
    Version(u64),
    /// `If-Match` with the tag of this version.
    Match(u64),
    /// `If-Match: *`.
    MatchAny,
    /// `If-None-Match: *`.
    MatchNone,
}

fn merged(state: &Value, patch: &Value) -> Value {
    let Value::Object(patch) = patch else { return patch.clone() };
    let mut after = state.as_object().cloned().unwrap_or_default();
    for (key, value) in patch {
        match value {
            Value::Null => drop(after.remove(key)),
            value => drop(after.insert(key.clone(), merged(after.get(key).unwrap_or(&Value::Null), value))),
        }
    }
    Value::Object(after)
}

impl Model {
    fn life(&mut self, name: &'static str) -> &mut Life {
        self.0.entry(name).or_default()
    }

    fn version(&self, name: &str) -> u64 {
        self.0.get(name).map_or(0, |life| life.len() as u64)
    }

    fn live(&self, name: &str) -> Option<&Value> {
        self.0.get(name)?.last()?.as_ref()
    }

    /// Makes the change, or says the status with which it is refused.
    fn make(&mut self, name: &'static str, change: &Change, condition: Condition) -> Result<(), u16> {
        // What is no state is refused before anything is looked up.
        if matches!(change, Change::Put(state) if !state.is_object()) {
            return Err(400);
        }
        let (version, live) = (self.version(name), self.live(name).cloned());
        match condition {
            Condition::Version(v) if v != version && (live.is_some() || v != 0) => return Err(409),
            Condition::Match(v) if v != version || live.is_none() => return Err(412),
            Condition::MatchAny if live.is_none() => return Err(412),
            Condition::MatchNone if live.is_some() => return Err(412),
            _ => {}
        }
        let absent = if version == 0 { 404 } else { 410 };
        let past = |to: u64| -> Result<Value, u16> {
            let index = usize::try_from(to).unwrap().checked_sub(1).ok_or(404_u16)?;
            self.0[name].get(index).ok_or(404_u16)?.clone().ok_or(400)
        };
        let after = match (change, live) {
            (Change::Create(_), Some(_)) => return Err(409),
            (Change::Create(state) | Change::Put(state), _) => Some(state.clone()),
            (Change::Rollback(to), _) if version > 0 => Some(past(*to)?),
            (_, None) => return Err(absent),
            (Change::Merge(patch) | Change::Act(Some(patch)), Some(state)) => Some(merged(&state, patch)),
            (Change::Act(None), Some(state)) => Some(state),
            (Change::Patch(steps), Some(mut state)) => {
                let members = state.as_object_mut().unwrap();
                steps.iter().try_for_each(|step| step.apply(members)).ok_or(422_u16)?;
                Some(state)
            }
            (Change::Delete, Some(_)) => None,
            (Change::Rollback(_), Some(_)) => unreachable!("what is there has a version"),
        };
        if after.as_ref().is_some_and(|state| !state.is_object()) {
            return Err(400);
        }
        self.life(name).push(after);
        Ok(())
    }
}

fn value(dice: &mut Dice, depth: u64) -> Value {
    match dice.below(if depth == 0 { 8 } else { 11 }) {
        0 => Value::Null,
        1 => json!(dice.below(2) == 0),
        2 => json!(dice.below(5)),
        3 => json!(-0.0),
        4 => json!([0.1, -1e300, 1.0, 1e-7][usize::try_from(dice.below(4)).unwrap()]),
        5 => json!(u64::MAX - dice.below(3)),
        6 => json!("x".repeat(usize::try_from(dice.below(900)).unwrap())),
        7 => json!(["", "\u{0}\"\\/", "häß\u{1f3b2}"][usize::try_from(dice.below(3)).unwrap()]),
        8 => (0..dice.below(4)).map(|_| value(dice, depth - 1)).collect(),
        _ => object(dice, depth - 1),
    }
}

fn key(dice: &mut Dice) -> &'static str {
    KEYS[usize::try_from(dice.below(6)).unwrap()]
}

fn object(dice: &mut Dice, depth: u64) -> Value {
    Value::Object((0..dice.below(5)).map(|_| (key(dice).to_owned(), value(dice, depth))).collect())
}

fn step(dice: &mut Dice) -> Step {
    match dice.below(8) {
        0 | 1 => Step::Add(key(dice), value(dice, 2)),
        2 => Step::Replace(key(dice), value(dice, 2)),
        3 => Step::Remove(key(dice)),
        4 => Step::Copy(key(dice), key(dice)),
        5 => Step::Test(key(dice), value(dice, 0)),
        6 => Step::Add("list", json!([dice.below(9)])),
        _ => Step::Append("list", value(dice, 1)),
    }
}

fn change(dice: &mut Dice, version: u64) -> Change {
    match dice.below(20) {
        0..3 => Change::Create(object(dice, 3)),
        3..6 => Change::Put(object(dice, 3)),
        6 => Change::Put(value(dice, 1)),
        7..11 => Change::Merge(object(dice, 3)),
        11..15 => Change::Patch((0..=dice.below(3)).map(|_| step(dice)).collect()),
        15 => Change::Delete,
        16 => Change::Rollback(dice.below(version + 3)),
        17 => Change::Act(None),
        _ => Change::Act(Some(object(dice, 2))),
    }
}

fn condition(dice: &mut Dice, version: u64) -> Condition {
    match dice.below(12) {
        0 | 1 => Condition::Version(version),
        2 => Condition::Version(dice.below(version + 2)),
        3 => Condition::Match(version),
        4 => Condition::Match(dice.below(version + 2)),
        5 => Condition::MatchAny,
        6 if dice.below(3) == 0 => Condition::MatchNone,
        _ => Condition::None,
    }
}

/// Which conditions a change can be sent with; a batch takes only `expectedVersion`.
fn fits(change: &Change, condition: Condition) -> bool {
    let by_body = matches!(change, Change::Put(_) | Change::Act(_) | Change::Rollback(_));
    by_body || !matches!(condition, Condition::Version(_))
}

/// A server, the model of what is in it, and the short hashes that make its tags.
struct Play {
    seed: u64,
    dice: Dice,
    server: Process,
    model: Model,
    hashes: BTreeMap<(&'static str, u64), String>,
}

fn short(name: (&'static str, &'static str)) -> &'static str {
    match name {
        ("games", "a") => "games/a",
        ("games", "b") => "games/b",
        ("games", "c") => "games/c",
        ("notes", "a") => "notes/a",
        _ => "notes/d",
    }
}

impl Play {
    fn request(&self, name: (&str, &str), change: &Change, condition: Condition) -> RequestBuilder {
        let (collection, path) = (format!("/api/v1/{}", name.0), format!("/api/v1/{}/{}", name.0, name.1));
        let expected = |mut body: Value| {
            if let Condition::Version(version) = condition {
                body["expectedVersion"] = json!(version);
            }
            body
        };
        let patch = |kind: &str, body: Value| {
            self.server.request("PATCH", &path).header("content-type", kind).body(body.to_string())
        };
        let post = |to: &str, body: Value| self.server.request("POST", &format!("{path}/{to}")).json(&expected(body));
        match change {
            Change::Create(state) => {
                self.server.request("POST", &collection).json(&json!({ "id": name.1, "state": state }))
            }
            Change::Put(state) => self.server.request("PUT", &path).json(&expected(json!({ "state": state }))),
            Change::Merge(sent) => patch("application/merge-patch+json", sent.clone()),
            Change::Patch(steps) => patch("application/json-patch+json", steps.iter().map(Step::json).collect()),
            Change::Delete => self.server.request("DELETE", &path),
            Change::Act(None) => post("actions", json!({ "type": "look", "payload": { "at": [1, 2] } })),
            Change::Act(Some(patch)) => post("actions", json!({ "type": "move", "patch": patch })),
            Change::Rollback(to) => post("rollback", json!({ "toVersion": to })),
        }
    }

    async fn single(&mut self) {
        let name = NAMES[usize::try_from(self.dice.below(5)).unwrap()];
        let version = self.model.version(short(name));
        let change = change(&mut self.dice, version);
        let condition =
            Some(condition(&mut self.dice, version)).filter(|c| fits(&change, *c)).unwrap_or(Condition::None);
        let mut request = self.request(name, &change, condition);
        request = match condition {
            Condition::Match(v) => {
                let hash = self.hashes.get(&(short(name), v)).map_or("aaaaaaaaaaaa", |hash| &hash[..12]);
                request.header("if-match", format!("\"{}-{hash}\"", v.max(1)))
            }
            Condition::MatchAny => request.header("if-match", "*"),
            Condition::MatchNone => request.header("if-none-match", "*"),
            _ => request,
        };
        let (status, answer) = process::json(request.send().await.unwrap()).await;
        let what = format!("seed {}: {name:?} {change:?} {condition:?}: {answer}", self.seed);
        match self.model.make(short(name), &change, condition) {
            Err(expected) => assert_eq!(status, expected, "{what}"),
            Ok(()) => {
                let (now, life) = (version + 1, &self.model.0[short(name)]);
                assert!([200, 201].contains(&status), "{status} {what}");
                assert_eq!(answer["version"], now, "{what}");
                if !matches!(change, Change::Act(_)) {
                    assert_eq!(answer["state"], life.last().unwrap().clone().unwrap_or_default(), "{what}");
                }
            }
        }
        self.check(name).await;
    }

    async fn batch(&mut self) {
        let mut after = self.model.clone();
        let (mut operations, mut names, mut outcome) = (Vec::new(), Vec::new(), Ok(()));
        // What is no operation is refused before any is tried.
        let mut malformed = None;
        for _ in 0..=self.dice.below(4) {
            let name = NAMES[usize::try_from(self.dice.below(5)).unwrap()];
            let version = after.version(short(name));
            let change = change(&mut self.dice, version);
            let condition = match condition(&mut self.dice, version) {
                condition @ Condition::Version(_) => condition,
                _ => Condition::None,
            };
            let mut operation = json!({ "collection": name.0, "id": name.1 });
            let (op, member, sent) = match &change {
                Change::Create(state) => ("create", "state", state.clone()),
                Change::Put(state) => ("put", "state", state.clone()),
                Change::Merge(patch) => ("patch", "patch", patch.clone()),
                Change::Patch(steps) => ("patch", "patch", steps.iter().map(Step::json).collect()),
                Change::Delete => ("delete", "", Value::Null),
                Change::Act(patch) => ("action", "patch", patch.clone().unwrap_or_default()),
                Change::Rollback(_) => continue,
            };
            operation["op"] = json!(op);
            if op == "action" {
                operation["type"] = json!("move");
            }
            if !sent.is_null() {
                operation[member] = sent;
            } else if op == "put" {
                // No state at all is another mistake than a state that is none.
                continue;
            }
            if let Condition::Version(version) = condition {
                operation["expectedVersion"] = json!(version);
            }
            operations.push(operation);
            names.push(name);
            let position = operations.len() - 1;
            if matches!(&change, Change::Put(state) if !state.is_object()) {
                malformed.get_or_insert((400, position));
            }
            outcome = outcome.and_then(|()| after.make(short(name), &change, condition).map_err(|s| (s, position)));
        }
        if operations.is_empty() {
            return;
        }
        let body = json!({ "operations": operations });
        let (status, answer) = self.server.post("/api/v1/batch", &body).await;
        let what = format!("seed {}: {body}: {answer}", self.seed);
        match malformed.map_or(outcome, Err) {
            Ok(()) => {
                assert_eq!(status, 200, "{what}");
                assert_eq!(answer["results"].as_array().unwrap().len(), names.len(), "{what}");
                for result in answer["results"].as_array().unwrap() {
                    let name = NAMES.iter().find(|name| result["collection"] == name.0 && result["id"] == name.1);
                    let hash = result["hash"].as_str().unwrap().to_owned();
                    self.hashes.insert((short(*name.unwrap()), result["version"].as_u64().unwrap()), hash);
                }
                self.model = after;
            }
            Err((expected, index)) => {
                assert_eq!((status, &answer["index"]), (expected, &json!(index)), "{what}");
                // Whatever it tells of the document is of one that is there, not of what the batch would have made.
                for member in ["currentVersion", "lastVersion"] {
                    let version = self.model.version(short(names[index]));
                    assert!(answer.get(member).is_none_or(|told| *told == version), "{version} {what}");
                }
            }
        }
        for name in names {
            self.check(name).await;
        }
    }

    /// What is read now is what the model has.
    async fn check(&mut self, name: (&'static str, &'static str)) {
        let (status, document) = self.server.get(&format!("/api/v1/{}/{}", name.0, name.1)).await;
        let version = self.model.version(short(name));
        let what = format!("seed {}: {name:?}: {document}", self.seed);
        match self.model.live(short(name)) {
            Some(state) => {
                assert_eq!((status, document["version"].as_u64()), (200, Some(version)), "{what}");
                assert_eq!(&document["state"], state, "{what}");
                self.hashes.insert((short(name), version), document["hash"].as_str().unwrap().to_owned());
            }
            None if version == 0 => assert_eq!(status, 404, "{what}"),
            None => assert_eq!((status, document["lastVersion"].as_u64()), (410, Some(version)), "{what}"),
        }
    }

    async fn check_all(&mut self) {
        for name in NAMES {
            self.check(name).await;
        }
        let listed = self.server.get("/api/v1/games?include=state").await.1;
        let listed: Vec<_> = listed["items"].as_array().unwrap().iter().map(|item| item["state"].clone()).collect();
        let live: Vec<_> = ["games/a", "games/b", "games/c"].iter().filter_map(|name| self.model.live(name)).collect();
        assert_eq!(listed.iter().collect::<Vec<_>>(), live, "seed {}", self.seed);
    }

    /// Every version that ever was, by time travel and rebuilt from events, by pages and by stream.
    async fn check_past(&self) {
        for name in NAMES.iter().filter(|name| self.model.version(short(**name)) > 0) {
            let (path, life) = (format!("/api/v1/{}/{}", name.0, name.1), &self.model.0[short(*name)]);
            for (version, state) in (1..).zip(life) {
                let (status, document) = self.server.get(&format!("{path}?version={version}")).await;
                let what = format!("seed {}: {path} {version}: {document}", self.seed);
                match state {
                    Some(state) => assert_eq!((status, &document["state"]), (200, state), "{what}"),
                    None => assert_eq!((status, document["lastVersion"].as_u64()), (410, Some(version)), "{what}"),
                }
            }
            let (_, page) = self.server.get(&format!("{path}/events?limit=500")).await;
            let mut replica = Replica::default();
            for (event, state) in page["items"].as_array().unwrap().iter().zip(life) {
                replica.change(&event.to_string());
                assert_eq!(replica.documents[short(*name)].state, state.clone().unwrap_or_default());
            }
            assert_eq!(replica.documents[short(*name)].version, life.len() as u64);
        }
    }

    /// A follower's documents are the model's.
    fn check_replica(&self, replica: &Replica) {
        for (name, life) in self.model.0.iter().filter(|(_, life)| !life.is_empty()) {
            let known = &replica.documents[*name];
            assert_eq!(known.version, life.len() as u64, "seed {}: {name}", self.seed);
            assert_eq!(known.state, life.last().unwrap().clone().unwrap_or_default(), "seed {}: {name}", self.seed);
        }
    }

    fn events(&self) -> usize {
        self.model.0.values().map(Vec::len).sum()
    }
}

async fn follow(server: &Process, from: &str) -> Follower {
    let url = format!("{}/api/v1/stream?collection=games&collection=notes", server.url);
    Follower::connect(&url, None, Some(from)).await.unwrap()
}

async fn play(seed: u64) {
    // Some of the games with almost nothing in memory.
    let flags: &[&str] = if seed.is_multiple_of(2) { &["--hot-documents-max", "2"] } else { &[] };
    let server = Process::start(flags);
    let mut play = Play { seed, dice: Dice::new(seed), server, model: Model::default(), hashes: BTreeMap::new() };
    let (mut follower, mut replica) = (follow(&play.server, "0").await, Replica::of_host());
    for round in 1..=3 {
        for _ in 0..70 {
            match play.dice.below(5) {
                0 => play.batch().await,
                _ => play.single().await,
            }
        }
        play.check_all().await;
        follower.expect("resumed").await;
        while replica.seq < play.events() as u64 {
            replica.take(&follower.expect("change").await);
        }
        play.check_replica(&replica);
        if round == 3 {
            play.check_past().await;
        }
        play.server.kill();
        play.server.start_again();
        play.check_all().await;
        follower = follow(&play.server, &follower.last_event_id).await;
    }
    play.check_past().await;
    // All of it once more, from the first event on, each verified against the one before.
    let mut whole = follow(&play.server, "0").await;
    assert_eq!(whole.expect("resumed").await.data["count"], play.events());
    let mut rebuilt = Replica::of_host();
    for told in whole.changes(play.events()).await {
        rebuilt.take(&told);
    }
    play.check_replica(&rebuilt);
    assert_eq!(rebuilt.documents, replica.documents);
}

#[tokio::test]
async fn random_actions_leave_what_a_naive_model_says_also_after_kills() {
    let fresh = std::time::UNIX_EPOCH.elapsed().unwrap().as_nanos() as u64 % 1_000_000;
    // The two large ones test a zero against one that is spelt otherwise.
    for seed in [1, 2, 3, 100_033, 200_024, fresh] {
        // Shown when the test fails: the seed that is to be kept then.
        eprintln!("seed {seed}");
        play(seed).await;
    }
}

#[tokio::test]
async fn a_refused_batch_tells_nothing_of_what_it_would_have_made() {
    let server = Process::start(&[]);
    assert_eq!(server.put("/api/v1/games/a", &json!({ "n": 1 })).await.0, 201);
    let patch =
        |n: u64| json!({ "op": "patch", "collection": "games", "id": "a", "patch": { "n": n }, "expectedVersion": 1 });
    let delete = json!({ "op": "delete", "collection": "games", "id": "a" });
    let create = json!({ "op": "create", "collection": "games", "id": "a", "state": {} });
    for (operations, status) in
        [(json!([patch(2), patch(3)]), 409), (json!([patch(2), create]), 409), (json!([delete, delete]), 410)]
    {
        let (found, problem) = server.post("/api/v1/batch", &json!({ "operations": operations })).await;
        assert_eq!((found, &problem["index"]), (status, &json!(1)), "{problem}");
        for member in ["currentVersion", "currentHash", "current", "lastVersion", "lastHash"] {
            assert_eq!(problem.get(member), None, "{problem}");
        }
    }
    // What an operation finds that the batch has not touched is told.
    let other = json!({ "op": "create", "collection": "games", "id": "b", "state": {} });
    let stale = json!({ "op": "patch", "collection": "games", "id": "a", "patch": {}, "expectedVersion": 7 });
    let (status, problem) = server.post("/api/v1/batch", &json!({ "operations": [other, stale] })).await;
    assert_eq!((status, &problem["currentVersion"], &problem["current"]), (409, &json!(1), &json!({ "n": 1 })));
}
