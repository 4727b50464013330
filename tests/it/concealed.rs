//! Concealed combatants: whatever the host does with one, and whatever is merged, no byte that a player gets tells it.

use serde_json::{Value, json};

use crate::support::{AS, Follower, Process, Reply};

const PATH: &str = "/api/v1/encounters/ambush";
const LATER: &str = "2030-01-01T00:00:00Z";
/// What stands in the concealed combatant and nowhere else.
const SECRETS: [&str; 10] =
    ["Mirabel", "8641", "8640", "7531", "wyvern", "ambusher", "4711", "4712", "eyrie", "spellslots"];

/// The names of what a player is told of the concealed combatant.
const SHOWN: [&str; 5] = ["name", "side", "concealed", "down", "conditions"];

/// The text without hashes, positions and ids: any number can be in their digits.
fn without_hashes(text: &str) -> String {
    let is_digit = |c: char| matches!(c, '0'..='9' | 'a'..='f' | '-');
    let mut shown = String::with_capacity(text.len());
    for part in text.split_inclusive(|c| !is_digit(c)) {
        let digits = part.len() - part.trim_start_matches(is_digit).len();
        shown.push_str(if digits < 12 { part } else { &part[digits..] });
    }
    shown
}

fn assert_silent(what: &str, text: &str) {
    let shown = without_hashes(text);
    for secret in SECRETS {
        assert!(!shown.contains(secret), "{what} shows {secret}: {text}");
    }
}

async fn act(server: &Process, kind: &str, payload: Value) -> Reply {
    let action = json!({ "type": kind, "payload": payload });
    server.tell("POST", &format!("{PATH}/actions"), &[], action).await.expect(200)
}

/// Ana, Bo and a concealed wyvern that is somebody's.
async fn begin(server: &Process) {
    let wyvern = json!({ "id": "wyvern", "state": { "name": "Mirabel", "hitPoints": 8_641, "dexterity": 14 } });
    server.tell("POST", "/api/v1/creatures", &[], wyvern).await.expect(201);
    server.tell("PUT", "/api/v1/creatures/wyvern/access", &[], json!({ "read": "host" })).await.expect(200);
    let hero = |name: &str, initiative: u64| {
        json!({ "name": name, "side": "party", "hitPoints": 20, "initiative": initiative,
                "playerId": name.to_lowercase() })
    };
    let state = json!({ "name": "Ambush", "combatants": { "ana": hero("Ana", 12), "bo": hero("Bo", 8) },
                        "hidden": { "plan": "eyrie" } });
    server.tell("POST", "/api/v1/encounters", &[], json!({ "id": "ambush", "state": state })).await.expect(201);
    let foe = json!({ "creatureId": "wyvern", "combatantId": "shape", "alias": "Shape", "concealed": true,
                      "playerId": "ambusher", "initiative": 9, "armorClass": 4_711, "group": "eyrie" });
    act(server, "addCombatant", foe).await;
}

/// Every action that is about the concealed one, or passes it.
async fn play(server: &Process) {
    let shape = json!({ "combatantId": "shape" });
    let with = |more: Value| {
        let mut payload = shape.clone();
        payload.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        payload
    };
    for (kind, payload) in [
        ("duplicate", with(json!({ "count": 2 }))),
        ("setInitiative", with(json!({ "initiative": 9 }))),
        ("start", json!({})),
        ("damage", json!({ "combatantIds": ["ana", "shape"], "amount": 1, "half": ["ana"], "type": "eyrie" })),
        ("addCondition", with(json!({ "name": "concentrating" }))),
        ("damage", with(json!({ "amount": 1_109 }))),
        ("heal", with(json!({ "amount": 1_109 }))),
        ("setTemporaryHitPoints", with(json!({ "amount": 4_712 }))),
        ("addCondition", with(json!({ "name": "prone", "rounds": 2 }))),
        ("removeCondition", with(json!({ "name": "prone" }))),
        ("setCounter", with(json!({ "name": "spellslots", "value": 4_711, "maximum": 4_712 }))),
        ("nextTurn", json!({})),
        ("delayTurn", json!({ "after": "bo" })),
        ("previousTurn", json!({})),
        ("nextTurn", json!({ "skipDown": true })),
        ("note", json!({ "text": "Something is there" })),
        ("pause", json!({})),
        ("resume", json!({})),
        ("rollInitiative", json!({ "combatantIds": ["shape"] })),
        ("removeCombatant", json!({ "combatantId": "shape-2" })),
    ] {
        act(server, kind, payload).await;
    }
}

/// Two devices of the host and one of a player that drifted apart, so that conflicts stand where players may not look.
async fn drift(server: &Process) {
    let seen = server.ask("GET", PATH, &[]).await.expect(200).body;
    let base = json!({ "baseVersion": seen["version"], "deviceAt": LATER });
    let sync = async |who: &[(&str, &str)], patch: Value| {
        let mut body = base.clone();
        body["patch"] = patch;
        server.tell("POST", &format!("{PATH}/sync"), who, body).await.expect(200)
    };
    let of_shape = |of: Value| json!({ "hidden": { "plan": of["plan"], "combatants": { "shape": of } } });
    sync(&[], of_shape(json!({ "armorClass": 4_711, "plan": "eyrie 1", "extra": "eyrie" }))).await;
    let merged = sync(&[], of_shape(json!({ "armorClass": 4_712, "plan": "eyrie 2", "extra": "eyrie!" }))).await;
    assert!(!merged.body["conflicts"].as_array().unwrap().is_empty(), "{}", merged.text);
    let of_ana = sync(&[(AS, "ana")], json!({ "combatants": { "ana": { "hitPoints": { "current": 12 } } } })).await;
    assert_silent("a sync", &of_ana.text);
    let beyond = json!({ "baseVersion": seen["version"], "deviceAt": LATER,
                         "patch": { "combatants": { "shape": { "hitPoints": { "current": 1 } } } } });
    let refused = server.tell("POST", &format!("{PATH}/sync"), &[(AS, "ana")], beyond).await;
    assert_silent("a refusal", &refused.text);
    refused.problem(422, "action-rejected");
}

#[tokio::test]
async fn no_byte_that_a_player_gets_tells_what_is_concealed_whatever_is_done_and_merged() {
    let mut server = Process::start(&[]);
    begin(&server).await;
    let url = format!("{}{PATH}/events", server.url);
    let mut stream = Follower::connect(&url, Some("ana"), None).await.unwrap();
    let begun = stream.expect("snapshot").await;
    assert_silent("the snapshot", &begun.text);
    play(&server).await;
    drift(&server).await;
    let last = server.ask("GET", PATH, &[]).await.expect(200).body;
    let mut notifications = 0;
    loop {
        let told = stream.next().await.unwrap();
        assert_silent(&told.event, &told.text);
        notifications += usize::from(told.event == "notification");
        assert_ne!(told.event, "conflict", "{}", told.text);
        if told.event == "change" && told.data["version"] == last["version"] {
            break;
        }
    }
    assert!(notifications > 3, "{notifications}");
    for killed in [false, true] {
        if killed {
            server.kill();
            server.start_again();
        }
        let mut stream = Follower::connect(&url, Some("ana"), Some(&begun.id)).await.unwrap();
        let mut count = stream.expect("resumed").await.data["count"].as_u64().unwrap() + 1;
        while count > 0 {
            let told = stream.next().await.unwrap();
            assert_silent(&told.event, &told.text);
            count -= u64::from(told.event == "change" || told.event == "notification" && count == 1);
        }
        for path in [
            PATH.to_owned(),
            format!("{PATH}?version=3"),
            format!("{PATH}/events?limit=500"),
            "/api/v1/encounters?include=state".to_owned(),
            format!("/api/v1/stream?doc=encounters/ambush&lastEventId={}", begun.id),
            "/api/v1/stream?collection=encounters".to_owned(),
            "/api/v1/notifications".to_owned(),
            "/api/v1/conflicts".to_owned(),
            "/api/v1/conflicts/audit".to_owned(),
        ] {
            let reply = server.ask("GET", &path, &[(AS, "ana"), ("accept", "application/json")]).await.expect(200);
            assert_silent(&path, &reply.text);
            assert_silent(&path, &format!("{:?}", reply.headers));
        }
        let open = server.ask("GET", "/api/v1/conflicts", &[]).await.expect(200).body;
        for conflict in open["items"].as_array().unwrap() {
            let path = format!("/api/v1/conflicts/{}", conflict["id"].as_str().unwrap());
            server.ask("GET", &path, &[(AS, "ana")]).await.problem(404, "not-found");
            let decided = json!({ "resolution": "server" });
            let resolved = server.tell("POST", &format!("{path}/resolve"), &[(AS, "ana")], decided).await;
            resolved.problem(404, "not-found");
        }
    }
    let seen = server.ask("GET", PATH, &[(AS, "ana")]).await.body;
    let shape = seen["state"]["combatants"]["shape"].as_object().unwrap();
    assert!(shape.keys().all(|name| SHOWN.contains(&name.as_str())), "{shape:?}");
    // Of an action on it a player sees the type and whom it is about.
    let history = server.ask("GET", &format!("{PATH}/events?limit=500"), &[(AS, "ana")]).await.body;
    for event in history["items"].as_array().unwrap() {
        if event["payload"]["combatantId"] == "shape" {
            assert_eq!(event["payload"], json!({ "combatantId": "shape" }), "{event}");
        }
    }
    act(&server, "reveal", json!({ "combatantId": "shape" })).await;
    let seen = server.ask("GET", PATH, &[(AS, "ana")]).await.body;
    assert_eq!(seen["state"]["combatants"]["shape"]["name"], "Mirabel");
}
