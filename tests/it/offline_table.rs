//! An evening at a table whose network and server fail: two players and the DM play an encounter over real HTTP, are
//! cut off, go on by themselves, and bring what they did. In the end all have the same, and the audit has everything.

use std::collections::BTreeMap;

use reqwest::Client;
use serde_json::{Value, json};

use crate::support::session::{shown, token};
use crate::support::{Dice, Follower, Network, Process, Replica, Told};

const NAME: &str = "encounters/ambush";
const PATH: &str = "/api/v1/encounters/ambush";
const LATER: &str = "2030-01-01T00:00:00Z";

/// Somebody's device: what it knows comes from its stream alone.
struct Device {
    user: &'static str,
    network: Network,
    stream: Option<Follower>,
    replica: Replica,
    last_event_id: String,
    /// How often each notification and conflict came.
    told: BTreeMap<String, usize>,
    /// What it was told in the answers to its syncs: path and rule.
    merged: Vec<(String, String)>,
    syncs: u64,
}

impl Device {
    async fn open(server: &Process, user: &'static str) -> Self {
        let network = Network::to(server).await;
        server.meet(user).await;
        let (replica, told, merged) = (Replica::default(), BTreeMap::new(), Vec::new());
        let (stream, last_event_id, syncs) = (None, String::new(), 0);
        let mut device = Self { user, network, stream, replica, last_event_id, told, merged, syncs };
        device.connect().await;
        device
    }

    /// Comes back with nothing but the last id.
    async fn connect(&mut self) {
        let url = format!("{}{PATH}/events", self.network.url);
        let resume = Some(self.last_event_id.as_str()).filter(|id| !id.is_empty());
        let bearer = format!("Bearer {}", token(&url, self.user).await);
        let headers = [("host", self.network.host.as_str()), ("authorization", bearer.as_str())];
        self.stream = Some(Follower::with(&url, &headers, resume).await);
    }

    fn take(&mut self, told: &Told) {
        match told.event.as_str() {
            "notification" | "conflict" => {
                let id = told.data["id"].as_str().unwrap().to_owned();
                *self.told.entry(id).or_default() += 1;
            }
            _ => self.replica.take(told),
        }
        self.last_event_id.clone_from(&told.id);
    }

    /// Hears everything up to a version.
    async fn hear(&mut self, version: u64) {
        while self.replica.documents.get(NAME).is_none_or(|known| known.version < version) {
            let told = self.stream.as_mut().unwrap().next().await.expect("the stream goes on");
            self.take(&told);
        }
    }

    async fn cut(&mut self) {
        self.network.cut();
        while let Some(told) = self.stream.as_mut().unwrap().next().await {
            self.take(&told);
        }
        self.stream = None;
    }

    async fn post(&self, path: &str, key: &str, body: &Value) -> reqwest::Result<(u16, Value)> {
        let request = Client::new().post(format!("{}{path}", self.network.url)).header("idempotency-key", key);
        let request = request.header("host", &self.network.host).json(body);
        let response = shown(request, self.user).await.send().await?;
        let status = response.status().as_u16();
        Ok((status, response.json().await?))
    }

    /// Sends what became of the state since the version that it knows.
    async fn bring(&mut self, state: &Value) -> Value {
        let known = &self.replica.documents[NAME];
        let body = json!({ "baseVersion": known.version, "baseHash": known.hash, "state": state, "deviceAt": LATER });
        self.syncs += 1;
        let key = format!("{}-{}", self.user, self.syncs);
        let (path, mut answers) = (format!("{PATH}/sync"), Vec::new());
        // Who has no answer sends it again.
        for _ in 0..2 {
            let (status, answer) = self.post(&path, &key, &body).await.unwrap();
            assert_eq!(status, 200, "{}: {answer}", self.user);
            answers.push(answer);
        }
        assert_eq!(answers[0], answers[1], "the same key merges once");
        let answer = answers.remove(0);
        for list in ["resolved", "conflicts"] {
            for place in answer[list].as_array().unwrap() {
                let text = |member: &str| place[member].as_str().unwrap().to_owned();
                self.merged.push((text("path"), text("rule")));
            }
        }
        answer
    }
}

/// The state that a device has while it is away.
fn state(device: &Device) -> Value {
    device.replica.documents[NAME].state.clone()
}

/// What a player does by themselves: they are hurt, write it down, and end their turn if it is theirs.
fn play_alone(state: &mut Value, who: &str, dice: &mut Dice, round: u64) {
    let own = &mut state["combatants"][who];
    let current = own["hitPoints"]["current"].as_u64().unwrap();
    let hurt = current.min(1 + dice.below(3));
    own["hitPoints"]["current"] = json!(current - hurt);
    own["down"] = json!(current == hurt);
    own["conditions"].as_array_mut().unwrap().push(json!({ "name": format!("bruise-{round}") }));
    let at = format!("2026-01-01T20:00:0{round}.000Z");
    let note = json!({ "at": at, "by": who, "text": format!("{who} lost {hurt}") });
    match state["notes"].as_array_mut() {
        Some(notes) => notes.push(note),
        None => state["notes"] = json!([note]),
    }
    let order: Vec<&str> = state["order"].as_array().unwrap().iter().map(|id| id.as_str().unwrap()).collect();
    let at = order.iter().position(|id| state["turn"] == *id).unwrap();
    if order[at] == who && at + 1 < order.len() {
        state["turn"] = json!(order[at + 1]);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_players_and_the_dm_end_with_equal_states_whatever_fails_meanwhile() {
    for seed in 1..=2 {
        eprintln!("seed {seed}");
        play(seed).await;
    }
}

async fn play(seed: u64) {
    let mut dice = Dice::new(seed);
    let mut server = Process::start(&[]);
    let combatant = |initiative: u64, player: Option<&str>| {
        json!({ "name": format!("Number {initiative}"), "side": "party", "initiative": initiative, "hitPoints": 60,
                "playerId": player })
    };
    let spy = json!({ "name": "Mirabel", "alias": "Shape", "side": "foe", "initiative": 7, "hitPoints": 31,
                      "concealed": true });
    let combatants = json!({ "ana": combatant(9, Some("ana")), "bo": combatant(8, Some("bo")), "spy": spy });
    let body = json!({ "id": "ambush", "state": { "name": "Ambush", "combatants": combatants } });
    assert_eq!(server.post_as("dm", "/api/v1/encounters", &body).await.0, 201);
    let mut devices = Vec::new();
    for user in ["dm", "ana", "bo", "dm"] {
        devices.push(Device::open(&server, user).await);
    }
    let act = async |server: &Process, user: &str, kind: &str, payload: Value| {
        let action = json!({ "type": kind, "payload": payload });
        let (status, event) = server.post_as(user, &format!("{PATH}/actions"), &action).await;
        assert_eq!(status, 200, "{event}");
        event["version"].as_u64().unwrap()
    };
    let mut version = act(&server, "dm", "start", json!({})).await;
    for round in 1..=3 {
        for device in &mut devices {
            device.hear(version).await;
        }
        // The players and the DM's second device are cut off; the DM goes on, and the server dies meanwhile.
        for device in &mut devices[1..] {
            device.cut().await;
        }
        let mut alone: Vec<Value> = devices.iter().map(state).collect();
        play_alone(&mut alone[1], "ana", &mut dice, round);
        play_alone(&mut alone[2], "bo", &mut dice, round);
        alone[3]["name"] = json!(format!("The ambush {round}"));
        alone[3]["hidden"]["combatants"]["spy"]["armorClass"] = json!(10 + round);
        alone[3]["combatants"]["bo"]["armorClass"] = json!(15 + round);
        let hurt = json!({ "combatantIds": ["ana", "spy"], "amount": 1 + dice.below(4) });
        act(&server, "dm", "damage", hurt).await;
        let killed = json!({ "name": format!("Ambush at night {round}"),
                             "hidden": { "combatants": { "spy": { "armorClass": 20 + round } } } });
        let edit = server.request_as("dm", "PATCH", PATH).await;
        let edit = edit.header("content-type", "application/merge-patch+json").body(killed.to_string());
        assert_eq!(edit.send().await.unwrap().status(), 200);
        server.kill();
        server.start_again();
        while let Some(told) = devices[0].stream.as_mut().unwrap().next().await {
            devices[0].take(&told);
        }
        devices[0].connect().await;
        act(&server, "dm", "addCondition", json!({ "combatantId": "bo", "name": "wet", "rounds": 3 })).await;
        let note = json!({ "text": format!("The DM went on {round}") });
        act(&server, "dm", "note", note).await;
        // In any order they are back.
        let mut back = vec![1, 2, 3];
        while !back.is_empty() {
            let at = back.swap_remove(usize::try_from(dice.below(back.len() as u64)).unwrap());
            devices[at].network.restore();
            let answer = devices[at].bring(&alone[at]).await;
            assert_eq!(answer["conflicts"].as_array().unwrap().len(), if at == 3 { 2 } else { 0 }, "{answer}");
            devices[at].connect().await;
        }
        // A person decides what is left: the DM takes one side of each.
        let open = server.get_as("dm", "/api/v1/conflicts?status=open").await.1;
        for conflict in open["items"].as_array().unwrap() {
            let resolution = if conflict["path"] == "/name" { "local" } else { "server" };
            let path = format!("/api/v1/conflicts/{}/resolve", conflict["id"].as_str().unwrap());
            let (status, done) = server.post_as("dm", &path, &json!({ "resolution": resolution })).await;
            assert_eq!(status, 200, "{done}");
        }
        version = server.get_as("dm", PATH).await.1["version"].as_u64().unwrap();
    }
    check_end(&server, &mut devices, version).await;
}

async fn check_end(server: &Process, devices: &mut [Device], version: u64) {
    let last = server.get_as("dm", PATH).await.1;
    for device in &mut *devices {
        device.hear(version).await;
        let (status, seen) = server.get_as(device.user, PATH).await;
        assert_eq!((status, &seen["state"]), (200, &state(device)), "{}", device.user);
        assert_eq!(device.replica.documents[NAME].hash, last["hash"].as_str().unwrap());
        let hidden = !device.user.starts_with("dm");
        assert_eq!(seen["state"]["hidden"].is_null(), hidden);
    }
    let whole = &last["state"];
    assert_eq!((&whole["name"], whole["notes"].as_array().unwrap().len()), (&json!("The ambush 3"), 9));
    assert_eq!(whole["hidden"]["combatants"]["spy"]["armorClass"], 23);
    assert_eq!(whole["combatants"]["bo"]["armorClass"], 18);
    let conditions = |who: &str| whole["combatants"][who]["conditions"].as_array().unwrap().len();
    assert_eq!((conditions("ana"), conditions("bo")), (3, 4));
    // What was lost on both sides adds up: the notes say how much, and so does the history.
    let lost = |who: &str| -> u64 {
        let notes = whole["notes"].as_array().unwrap().iter().filter_map(|note| note["text"].as_str());
        notes.filter_map(|text| text.strip_prefix(&format!("{who} lost "))?.parse::<u64>().ok()).sum()
    };
    let history = server.get_as("dm", &format!("{PATH}/events?limit=500")).await.1;
    let events = history["items"].as_array().unwrap();
    let hurt: u64 =
        events.iter().filter(|event| event["type"] == "damage").map(|event| damage(&event["payload"])).sum();
    for (who, by_dm) in [("ana", hurt), ("bo", 0)] {
        let current = whole["combatants"][who]["hitPoints"]["current"].as_u64().unwrap();
        assert_eq!(current, 60 - lost(who) - by_dm, "{who}");
    }

    // Whatever both sides changed is in the audit once, with who and when; each conflict with what became of it.
    let audit = server.get_as("dm", "/api/v1/conflicts/audit?limit=500").await.1;
    let rows = audit["items"].as_array().unwrap();
    let row = |row: &Value| (row["path"].as_str().unwrap().to_owned(), row["rule"].as_str().unwrap().to_owned());
    for user in ["dm", "ana", "bo"] {
        let mut of_user: Vec<_> = rows.iter().filter(|row| row["madeBy"] == user).map(row).collect();
        let mut told: Vec<_> =
            devices.iter().filter(|device| device.user == user).flat_map(|device| device.merged.clone()).collect();
        of_user.sort();
        told.sort();
        assert_eq!(of_user, told, "{user}");
    }
    for row in rows {
        assert!(row["at"].is_string() && row["version"].as_u64().unwrap() <= version, "{row}");
        let resolved = row["rule"] != "manual" || row["resolvedBy"] == "dm";
        assert!(row["status"] == "resolved" && resolved, "{row}");
    }
    let syncs = events.iter().filter(|event| event["type"] == "sync").count();
    let resolutions = events.iter().filter(|event| event["type"] == "resolveConflict").count();
    assert_eq!((syncs, resolutions), (9, 6));

    // Each was told what is in their list, and nothing of it was lost.
    for device in devices {
        let page = server.get_as(device.user, "/api/v1/notifications?limit=500").await.1;
        let ids = page["items"].as_array().unwrap().iter().map(|item| item["id"].as_str().unwrap().to_owned());
        let unknown: Vec<_> = ids.filter(|id| !device.told.contains_key(id)).collect();
        if !unknown.is_empty() {
            // The last may still be on their way.
            while let Some(id) = unknown.iter().find(|id| !device.told.contains_key(*id)) {
                let told = device.stream.as_mut().unwrap().next().await;
                device.take(&told.unwrap_or_else(|| panic!("{}: {id} never came", device.user)));
            }
        }
    }
}

/// What a damage action took from each whom it was about.
fn damage(payload: &Value) -> u64 {
    payload["amount"].as_u64().or(payload["hidden"]["amount"].as_u64()).unwrap()
}
