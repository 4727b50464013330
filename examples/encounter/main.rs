//! Loads the monsters and conditions of the System Reference Document into a running server, the monsters as
//! `creatures`, and lets a party meet some of them.
//!
//!     cargo run --release
//!     cargo run --example encounter

#![expect(clippy::indexing_slicing, reason = "a member that a JSON value does not have is null")]

use std::io::Write as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, ensure};
use clap::Parser;
use serde_json::{Value, json};

/// Documents of one request.
const BATCH: usize = 100;

/// Loads monsters and conditions into a running server, and begins an encounter with three monsters.
#[derive(Parser)]
struct Arguments {
    /// The server's address.
    #[arg(long, default_value = "http://127.0.0.1:7766")]
    server: String,
    /// The folder with `monsters.json` and `conditions.json`.
    #[arg(default_value = "tests/fixtures/srd")]
    directory: PathBuf,
    /// The creature that the party meets.
    #[arg(long, default_value = "goblin")]
    creature: String,
}

/// The calls of the server at an address.
struct Client {
    http: reqwest::Client,
    server: String,
}

impl Client {
    async fn post(&self, path: &str, body: &Value) -> anyhow::Result<Value> {
        let request = self.http.post(format!("{}/api/v1/{path}", self.server)).json(body);
        let response = request.send().await?;
        let (status, text) = (response.status(), response.text().await?);
        ensure!(status.is_success(), "{path}: {text}");
        Ok(serde_json::from_str(&text)?)
    }

    /// Puts each thing of a file into `collection`, under its `index`. Returns how many there are.
    async fn load(&self, file: &Path, collection: &str) -> anyhow::Result<usize> {
        let text = std::fs::read_to_string(file).with_context(|| file.display().to_string())?;
        let things: Vec<Value> = serde_json::from_str(&text)?;
        for part in things.chunks(BATCH) {
            let put =
                |thing: &Value| json!({ "op": "put", "collection": collection, "id": thing["index"], "state": thing });
            let operations: Vec<Value> = part.iter().map(put).collect();
            self.post("batch", &json!({ "operations": operations })).await?;
        }
        Ok(things.len())
    }
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let Arguments { server, directory, creature } = Arguments::parse();
    let client = Client { http: reqwest::Client::new(), server: server.trim_end_matches('/').to_owned() };
    let monsters = client.load(&directory.join("monsters.json"), "creatures").await?;
    let conditions = client.load(&directory.join("conditions.json"), "conditions").await?;
    let members = json!([{ "name": "Ana", "playerId": "ana", "dexterity": 14, "armorClass": 15, "hitPoints": 22 },
                         { "name": "Bo", "playerId": "bo", "dexterity": 10, "armorClass": 18, "hitPoints": 28 }]);
    let party = client.post("parties", &json!({ "state": { "members": members } })).await?;
    let encounter = client.post("encounters", &json!({ "state": { "name": format!("Meeting a {creature}") } })).await?;
    let id = encounter["id"].as_str().context("a document has an id")?;
    for (kind, payload) in [
        ("addParty", json!({ "partyId": party["id"] })),
        ("addCombatant", json!({ "creatureId": creature, "combatantId": "monster" })),
        ("duplicate", json!({ "combatantId": "monster", "count": 2 })),
        ("rollInitiative", json!({})),
        ("start", json!({})),
    ] {
        client.post(&format!("encounters/{id}/actions"), &json!({ "type": kind, "payload": payload })).await?;
    }
    let state = client.http.get(format!("{}/api/v1/encounters/{id}", client.server)).send().await?.text().await?;
    let state = serde_json::from_str::<Value>(&state)?["state"].take();
    let mut out = std::io::stdout();
    writeln!(out, "{monsters} creatures and {conditions} conditions are loaded; encounters/{id} has begun:")?;
    for id in state["order"].as_array().into_iter().flatten().filter_map(Value::as_str) {
        let combatant = state["combatants"].get(id).context("the order names combatants")?;
        let mark = if state["turn"] == id { '>' } else { ' ' };
        let (name, points) = (combatant["name"].as_str().unwrap_or_default(), &combatant["hitPoints"]["current"]);
        writeln!(out, "{mark} {:>3}  {name}, {points} hit points", combatant["initiative"])?;
    }
    Ok(())
}
