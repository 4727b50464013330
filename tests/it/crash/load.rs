//! What runs against the server while it is killed or its disk fails, and what must be true of it in the end.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng, RngExt, SeedableRng};
use reqwest::{Client, Response};
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::support::history::{history_after, verified_history, verify_from};
use crate::support::{Follower, GENESIS, Process, Told};

pub const DOCUMENTS: [&str; 4] = ["games/a", "games/b", "games/c", "boards/d"];
pub const WRITERS: usize = 6;

/// What a writer was told about one change.
pub struct Acknowledged {
    name: String,
    seq: u64,
    version: u64,
    hash: String,
    /// The event's bytes, where the answer has them.
    bytes: Option<String>,
}

/// What all tasks share.
pub struct World {
    pub url: String,
    pub over: AtomicBool,
    /// Whether changes may be answered as not yet durable, or be refused for a while.
    pub may_fail: bool,
    pub acknowledged: Mutex<Vec<Acknowledged>>,
    /// Answers that were given again.
    pub replays: AtomicUsize,
    pub reconnects: AtomicUsize,
    /// Answers that were not durable yet.
    pub pending: AtomicUsize,
}

impl World {
    pub fn new(server: &Process, may_fail: bool) -> Arc<Self> {
        Arc::new(Self {
            url: server.url.clone(),
            over: AtomicBool::new(false),
            may_fail,
            acknowledged: Mutex::default(),
            replays: AtomicUsize::new(0),
            reconnects: AtomicUsize::new(0),
            pending: AtomicUsize::new(0),
        })
    }

    fn is_over(&self) -> bool {
        self.over.load(Ordering::Relaxed)
    }
}

/// Sends a write until it is answered; the server may be killed meanwhile.
async fn insist(world: &World, client: &Client, path: &str, key: &str, body: &Value) -> (bool, Value, String) {
    let mut attempts = 0;
    loop {
        let request = client.post(format!("{}{path}", world.url)).header("idempotency-key", key).json(body);
        if let Ok(response) = request.send().await
            && let Some(answer) = read_answer(world, response).await
        {
            return answer;
        }
        attempts += 1;
        assert!(attempts < 5000, "{key} is never answered");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Whether it was given before, as JSON and as text; `None` when it is to be asked for again.
async fn read_answer(world: &World, response: Response) -> Option<(bool, Value, String)> {
    let status = response.status();
    let replayed = response.headers().contains_key("idempotency-replayed");
    let text = response.text().await.ok()?.trim_end().to_owned();
    match status.as_u16() {
        200 => {}
        202 if world.may_fail => drop(world.pending.fetch_add(1, Ordering::Relaxed)),
        503 | 507 if world.may_fail => return None,
        status => panic!("{status} {text}"),
    }
    Some((replayed, serde_json::from_str(&text).unwrap(), text))
}

async fn write(world: Arc<World>, writer: usize, mut random: StdRng) -> usize {
    let client = Client::builder().timeout(Duration::from_secs(20)).build().unwrap();
    let mut count = 0;
    while !world.is_over() {
        let key = format!("w{writer}-{count}");
        if random.random_range(0..10) == 0 {
            write_batch(&world, &client, &key, writer, count).await;
        } else {
            write_one(&world, &client, &key, (writer, count), &mut random).await;
        }
        count += 1;
    }
    count
}

fn step(writer: usize, count: usize) -> Value {
    json!({ "writer": writer, "count": count })
}

async fn write_one(world: &World, client: &Client, key: &str, (writer, count): (usize, usize), random: &mut StdRng) {
    let name = DOCUMENTS[random.random_range(0..DOCUMENTS.len())];
    let text = "x".repeat(random.random_range(0..600));
    let patch = json!({ format!("w{writer}"): { "count": count, "text": text } });
    let body = json!({ "type": "step", "payload": step(writer, count), "patch": patch });
    let path = format!("/api/v1/{name}/actions");
    let (replayed, event, text) = insist(world, client, &path, key, &body).await;
    world.replays.fetch_add(usize::from(replayed), Ordering::Relaxed);
    let members = match text.strip_suffix(",\"durable\":false}") {
        Some(members) if world.may_fail => members,
        _ => text.strip_suffix(",\"durable\":true}").expect("acknowledged means on disk"),
    };
    let bytes = Some(format!("{members}}}"));
    world.acknowledged.lock().unwrap().push(Acknowledged {
        name: name.to_owned(),
        seq: event["seq"].as_u64().unwrap(),
        version: event["version"].as_u64().unwrap(),
        hash: event["hash"].as_str().unwrap().to_owned(),
        bytes,
    });
    if random.random_range(0..20) == 0 {
        let (again, _, repeated) = insist(world, client, &path, key, &body).await;
        assert!(again, "{key} was answered before");
        // It may have become durable meanwhile.
        let durable = |text: &str| text.replace("\"durable\":false}", "\"durable\":true}");
        assert_eq!(durable(&repeated), durable(&text), "the same answer");
    }
}

/// Two documents in one write.
async fn write_batch(world: &World, client: &Client, key: &str, writer: usize, count: usize) {
    let operation = |(index, name): (usize, &str)| {
        let (collection, id) = name.split_once('/').unwrap();
        let payload = json!({ "writer": writer, "count": count, "part": index });
        json!({ "op": "action", "collection": collection, "id": id, "type": "step", "payload": payload })
    };
    let operations: Vec<Value> = ["games/c", "boards/d"].into_iter().enumerate().map(operation).collect();
    let body = json!({ "operations": operations });
    let (replayed, answer, text) = insist(world, client, "/api/v1/batch", key, &body).await;
    world.replays.fetch_add(usize::from(replayed), Ordering::Relaxed);
    assert!(world.may_fail || answer["durable"] == true, "{text}");
    let results = answer["results"].as_array().unwrap();
    assert_eq!(results[0]["seq"].as_u64().unwrap() + 1, results[1]["seq"].as_u64().unwrap(), "one write: {text}");
    world.acknowledged.lock().unwrap().extend(results.iter().map(|result| Acknowledged {
        name: format!("{}/{}", result["collection"].as_str().unwrap(), result["id"].as_str().unwrap()),
        seq: result["seq"].as_u64().unwrap(),
        version: result["version"].as_u64().unwrap(),
        hash: result["hash"].as_str().unwrap().to_owned(),
        bytes: None,
    }));
}

/// What a subscriber got: the documents' versions that it began with, and every change after.
pub struct Received {
    documents: Vec<&'static str>,
    began: HashMap<String, u64>,
    changes: Vec<Told>,
}

/// Follows as a browser's `EventSource` does, until it has seen the last change of each of its documents.
async fn follow(world: Arc<World>, query: String, documents: Vec<&'static str>, from_start: bool) -> Received {
    let url = format!("{}/api/v1/stream?{query}", world.url);
    let mut last_event_id = from_start.then(|| "0".to_owned());
    let mut received = Received { documents, began: HashMap::new(), changes: Vec::new() };
    let mut left = received.documents.len();
    for attempt in 0..5000 {
        let Ok(mut stream) = Follower::connect(&url, None, last_event_id.as_deref()).await else {
            tokio::time::sleep(Duration::from_millis(20)).await;
            continue;
        };
        if attempt > 0 {
            world.reconnects.fetch_add(1, Ordering::Relaxed);
        }
        // The place up to which changes were announced, until it is reached.
        let mut announced: Option<(u64, String)> = None;
        let mut first = true;
        let enough = received.changes.len() + 100;
        while let Some(told) = stream.next().await {
            match (told.event.as_str(), std::mem::take(&mut first)) {
                ("snapshot", true) => {
                    assert!(last_event_id.is_none(), "nothing is lost, so nobody begins anew: {}", told.text);
                    for document in told.data["documents"].as_array().unwrap() {
                        let name = format!(
                            "{}/{}",
                            document["collection"].as_str().unwrap(),
                            document["id"].as_str().unwrap()
                        );
                        received.began.insert(name, document["version"].as_u64().unwrap());
                    }
                }
                ("resumed", true) => {
                    assert_eq!(told.data["from"].as_str(), last_event_id.as_deref());
                    let count = told.data["count"].as_u64().unwrap();
                    announced = (count > 0).then(|| (count, told.data["to"].as_str().unwrap().to_owned()));
                }
                ("change", false) => {
                    announced = match announced.take() {
                        Some((1, to)) => {
                            assert_eq!(told.id, to, "as many changes as were announced");
                            None
                        }
                        other => other.map(|(count, to)| (count - 1, to)),
                    };
                    left -= usize::from(told.data["type"] == "last");
                    received.changes.push(told.clone());
                }
                ("durable", false) if world.may_fail => {
                    assert!(announced.is_none(), "nothing comes between the announced changes: {}", told.text);
                    continue;
                }
                (event, first) => panic!("{event} (first: {first}): {}", told.text),
            }
            last_event_id = Some(told.id);
            if left == 0 {
                return received;
            }
            // Where no kill does it, connections break off by themselves.
            if world.may_fail && received.changes.len() >= enough {
                break;
            }
        }
    }
    panic!("a subscriber never got to the end");
}

pub fn subscribe(world: &Arc<World>, tasks: &mut JoinSet<Received>, kind: usize) {
    let (query, documents, from_start) = match kind % 5 {
        0 => ("doc=games/a", vec!["games/a"], false),
        1 => ("doc=games/b&doc=boards/d", vec!["games/b", "boards/d"], false),
        2 => ("collection=games", vec!["games/a", "games/b", "games/c"], false),
        3 => ("collection=games&collection=boards", DOCUMENTS.to_vec(), true),
        _ => ("doc=games/c&collection=boards", vec!["games/c", "boards/d"], false),
    };
    tasks.spawn(follow(Arc::clone(world), query.to_owned(), documents, from_start));
}

/// The histories as far as they have been verified.
#[derive(Default)]
pub struct Log(HashMap<&'static str, (Vec<String>, String)>);

impl Log {
    /// Reads on where the last look ended, and checks that all that was acknowledged before is there.
    pub async fn check(&mut self, server: &Process, world: &World) {
        let acknowledged = std::mem::take(&mut *world.acknowledged.lock().unwrap());
        for name in DOCUMENTS {
            let (events, hash) = self.0.entry(name).or_insert_with(|| (Vec::new(), GENESIS.to_owned()));
            let newer = history_after(server, name, events.len()).await;
            *hash = verify_from(hash, events.len(), &newer);
            events.extend(newer);
        }
        for told in acknowledged {
            let (events, _) = &self.0[told.name.as_str()];
            let event = events.get(usize::try_from(told.version).unwrap() - 1);
            let event = event.unwrap_or_else(|| panic!("{} lost its version {}", told.name, told.version));
            let value: Value = serde_json::from_str(event).unwrap();
            assert_eq!((&value["seq"], &value["hash"]), (&json!(told.seq), &json!(told.hash)), "{event}");
            assert!(told.bytes.is_none_or(|bytes| bytes == *event), "the same bytes: {event}");
        }
    }
}

/// The whole log by seq: the document and the bytes of each event.
async fn whole_log(server: &Process) -> BTreeMap<u64, (&'static str, String)> {
    let mut log = BTreeMap::new();
    for name in DOCUMENTS {
        for event in verified_history(server, name).await {
            let value: Value = serde_json::from_str(&event).unwrap();
            assert!(log.insert(value["seq"].as_u64().unwrap(), (name, event)).is_none(), "each seq once");
        }
    }
    assert!(log.keys().copied().eq(1..=log.len() as u64), "the log is dense");
    log
}

fn check_received(received: &Received, log: &BTreeMap<u64, (&'static str, String)>) {
    let expected: Vec<&String> = log
        .values()
        .filter(|(name, _)| received.documents.contains(name))
        .filter(|(name, event)| {
            let value: Value = serde_json::from_str(event).unwrap();
            value["version"].as_u64().unwrap() > received.began.get(*name).copied().unwrap_or(0)
        })
        .map(|(_, event)| event)
        .collect();
    let got: Vec<&String> = received.changes.iter().map(|told| &told.text).collect();
    if let Some(index) = (0..got.len().max(expected.len())).find(|index| got.get(*index) != expected.get(*index)) {
        panic!(
            "{:?}: change {index} of {} was to be {:?} and is {:?}",
            received.documents,
            expected.len(),
            expected.get(index),
            got.get(index)
        );
    }
}

/// For whoever reads why it failed.
#[expect(clippy::print_stderr, reason = "shown with a failed test")]
fn note(what: std::fmt::Arguments<'_>) {
    eprintln!("{what}");
}

/// Every key made its change once, in each document that it was about.
fn check_once(log: &BTreeMap<u64, (&'static str, String)>, counts: &[usize]) {
    let mut made: HashMap<String, usize> = HashMap::new();
    for (_, event) in log.values() {
        let value: Value = serde_json::from_str(event).unwrap();
        if value["type"] == "step" {
            *made.entry(value["payload"].to_string()).or_default() += 1;
        }
    }
    for (writer, count) in counts.iter().enumerate() {
        for count in 0..*count {
            let mut parts = step(writer, count);
            let whole = made.get(&parts.to_string()).copied().unwrap_or(0);
            let part = |part: usize| {
                parts["part"] = json!(part);
                made.get(&parts.to_string()).copied().unwrap_or(0)
            };
            let parts: Vec<usize> = (0..2).map(part).collect();
            assert!(
                (whole == 1 && parts == [0, 0]) || (whole == 0 && parts == [1, 1]),
                "w{writer}-{count} made {whole} changes alone and {parts:?} in a batch"
            );
        }
    }
}

/// Lets the writers finish and the subscribers see the last changes, then kills the server, and checks that the log it
/// starts again with is what everybody was told. Returns how many events there are.
pub async fn finish(
    server: &mut Process,
    world: &World,
    writers: Vec<tokio::task::JoinHandle<usize>>,
    subscribers: JoinSet<Received>,
    mut log: Log,
) -> usize {
    world.over.store(true, Ordering::Relaxed);
    let mut counts = Vec::new();
    for writer in writers {
        counts.push(writer.await.unwrap());
    }
    for name in DOCUMENTS {
        let last = json!({ "type": "last" });
        assert_eq!(server.post(&format!("/api/v1/{name}/actions"), &last).await.0, 200);
    }
    let received = subscribers.join_all().await;
    server.kill();
    server.start_again();
    log.check(server, world).await;
    let log = whole_log(server).await;
    received.iter().for_each(|received| check_received(received, &log));
    check_once(&log, &counts);
    server.kill();
    let database = rusqlite::Connection::open(server.data_dir().join("rejoin.db")).unwrap();
    let verdict: String = database.query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap();
    assert_eq!(verdict, "ok");
    let (replays, reconnects) = (world.replays.load(Ordering::Relaxed), world.reconnects.load(Ordering::Relaxed));
    let pending = world.pending.load(Ordering::Relaxed);
    note(format_args!("{} events, {replays} replays, {reconnects} reconnects, {pending} not durable", log.len()));
    log.len()
}

/// The seed of this run: the one asked for, or a new one. Shown with a failed test.
pub fn seed() -> StdRng {
    let asked = std::env::var("CRASH_SEED").ok().and_then(|seed| seed.parse().ok());
    let seed = asked.unwrap_or_else(|| rand::rng().next_u64());
    note(format_args!("CRASH_SEED={seed} repeats the delays and the writers' choices"));
    StdRng::seed_from_u64(seed)
}

/// Makes the documents and starts the writers and the first subscribers.
pub async fn begin(
    server: &Process,
    world: &Arc<World>,
    random: &mut StdRng,
) -> (Vec<tokio::task::JoinHandle<usize>>, JoinSet<Received>) {
    for name in DOCUMENTS {
        assert_eq!(server.put(&format!("/api/v1/{name}"), &json!({})).await.0, 201);
    }
    let mut subscribers = JoinSet::new();
    (0..5).for_each(|kind| subscribe(world, &mut subscribers, kind));
    let mut start = |writer| {
        let own = StdRng::seed_from_u64(random.next_u64());
        tokio::spawn(write(Arc::clone(world), writer, own))
    };
    ((0..WRITERS).map(&mut start).collect(), subscribers)
}
