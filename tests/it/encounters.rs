//! Encounters over HTTP: what the host does, what a player gets to see of it, and what a player may do.

use serde_json::{Value, json};

use crate::support::{AS, Process, Reply};

const ENCOUNTER: &str = "/api/v1/encounters/ambush";
/// What stands in a concealed combatant and nowhere else.
const SECRETS: [&str; 5] = ["Mirabel", "8641", "7531", "wyvern", "ambusher"];

async fn act(server: &Process, who: &[(&str, &str)], kind: &str, payload: Value) -> Reply {
    server.tell("POST", &format!("{ENCOUNTER}/actions"), who, json!({ "type": kind, "payload": payload })).await
}

/// Ana and a concealed wyvern.
async fn begin(server: &Process) {
    let wyvern = json!({ "id": "wyvern", "state": { "name": "Mirabel", "hitPoints": 8_641, "dexterity": 14 } });
    server.tell("POST", "/api/v1/creatures", &[], wyvern).await.expect(201);
    let members = json!([{ "name": "Ana", "playerId": "ana", "hitPoints": 22 }]);
    let party = json!({ "id": "heroes", "state": { "members": members } });
    server.tell("POST", "/api/v1/parties", &[], party).await.expect(201);
    server.tell("POST", "/api/v1/encounters", &[], json!({ "id": "ambush", "state": {} })).await.expect(201);
    act(server, &[], "addParty", json!({ "partyId": "heroes" })).await.expect(200);
    let foe = json!({ "creatureId": "wyvern", "alias": "Shape", "concealed": true, "playerId": "ambusher" });
    act(server, &[], "addCombatant", foe).await.expect(200);
}

#[tokio::test]
async fn no_byte_that_a_player_gets_tells_what_is_concealed_until_it_is_revealed() {
    let mut server = Process::start(&[]);
    begin(&server).await;
    act(&server, &[], "damage", json!({ "combatantIds": ["ana", "shape"], "amount": 1_110 })).await.expect(200);
    act(&server, &[], "rollInitiative", json!({})).await.expect(200);
    act(&server, &[], "start", json!({})).await.expect(200);
    act(&server, &[], "nextTurn", json!({})).await.expect(200);
    let as_ana = [(AS, "ana"), ("accept", "application/json")];
    for killed in [false, true] {
        if killed {
            server.kill();
            server.start_again();
        }
        for path in [ENCOUNTER, &format!("{ENCOUNTER}/events"), "/api/v1/encounters", &format!("{ENCOUNTER}?version=4")]
        {
            let reply = server.ask("GET", path, &as_ana).await.expect(200);
            for secret in SECRETS {
                assert!(!reply.text.contains(secret), "{path} shows {secret}: {}", reply.text);
            }
        }
    }
    let seen = server.ask("GET", ENCOUNTER, &as_ana).await.body;
    let shape = json!({ "name": "Shape", "side": "foe", "concealed": true, "down": false, "conditions": [] });
    assert_eq!(seen["state"]["combatants"]["shape"], shape);
    let refused = act(&server, &[(AS, "ana")], "heal", json!({ "combatantId": "shape", "amount": 1 })).await;
    let problem = refused.problem(422, "action-rejected");
    assert_eq!(
        (&problem["detail"], &problem["currentVersion"]),
        (&json!("shape is not your combatant"), &seen["version"])
    );

    act(&server, &[], "reveal", json!({ "combatantId": "shape" })).await.expect(200);
    let seen = server.ask("GET", ENCOUNTER, &as_ana).await.body;
    assert_eq!(seen["state"]["combatants"]["shape"]["name"], "Mirabel");
    assert_eq!(seen["state"]["combatants"]["shape"]["hitPoints"]["current"], 7_531);
}

#[tokio::test]
async fn a_player_acts_for_their_own_and_a_creature_that_is_not_there_is_named() {
    let server = Process::start(&[]);
    begin(&server).await;
    let hurt = act(&server, &[(AS, "ana")], "damage", json!({ "combatantId": "ana", "amount": 2 })).await.expect(200);
    assert_eq!((&hurt.body["version"], &hurt.body["actor"]), (&json!(4), &json!("ana")));
    act(&server, &[(AS, "bob")], "damage", json!({ "combatantId": "ana", "amount": 2 }))
        .await
        .problem(422, "action-rejected");
    act(&server, &[(AS, "ana")], "start", json!({})).await.problem(422, "action-rejected");
    let unknown = act(&server, &[], "addCombatant", json!({ "creatureId": "troll" })).await;
    let problem = unknown.problem(422, "action-rejected");
    assert!(problem["detail"].as_str().unwrap().contains("creatures/troll"), "{problem}");
    let patch = json!({ "type": "damage", "patch": { "round": 9 } });
    server.tell("POST", &format!("{ENCOUNTER}/actions"), &[], patch).await.problem(400, "invalid-request");
    let edit = [(AS, "ana"), ("content-type", "application/merge-patch+json")];
    server.tell("PATCH", ENCOUNTER, &edit, json!({ "round": 9 })).await.problem(422, "action-rejected");
}

/// `examples/encounter` against the program: all monsters and conditions of the System Reference Document, and a fight
/// with some of them.
#[tokio::test]
async fn the_example_loads_the_monsters_and_begins_an_encounter() {
    let server = Process::start(&[]);
    let program = std::path::Path::new(env!("CARGO_BIN_EXE_rejoin")).with_file_name("examples").join("encounter");
    let srd = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/srd");
    for creature in ["goblin", "adult-red-dragon"] {
        let arguments = ["--server", &server.url, "--creature", creature, srd];
        let output = tokio::process::Command::new(&program).args(arguments).output().await.unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let (told, complaint) = (text(&output.stdout), text(&output.stderr));
        assert!(output.status.success(), "{complaint}");
        assert!(told.starts_with("334 creatures and 15 conditions are loaded; encounters/"), "{told}");
        assert_eq!((told.lines().count(), told.matches("> ").count()), (6, 1), "{told}");
        let id = told.split("encounters/").nth(1).and_then(|rest| rest.split(' ').next()).unwrap();
        let encounter = server.ask("GET", &format!("/api/v1/encounters/{id}"), &[]).await.expect(200).body;
        assert_eq!(encounter["state"]["status"], "active");
        let monster = &encounter["state"]["combatants"]["monster"];
        let creature = server.ask("GET", &format!("/api/v1/creatures/{creature}"), &[]).await.expect(200).body;
        assert_eq!(monster["name"], creature["state"]["name"]);
        assert!(monster["hitPoints"]["maximum"].as_u64().unwrap() > 6 && monster["armorClass"].as_u64().unwrap() > 10);
        assert!(monster["dexterity"].is_u64(), "{monster}");
    }
    let conditions = server.ask("GET", "/api/v1/conditions?limit=500", &[]).await.expect(200).body;
    assert_eq!(conditions["items"].as_array().unwrap().len(), 15);
}
