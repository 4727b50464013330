//! What the rules of encounters cost an action, against a freeform patch of the same size, and what a merge costs.

use std::hint::black_box;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rejoin::MergeRules;
use rejoin::internals::document::merged_state;
use serde_json::{Value, json};
use tokio::task::{JoinSet, LocalSet};

use crate::client::{Connection, get, with_json};
use crate::fixture;
use crate::process::Process;
use crate::stats::{median, micros};
use crate::table::{Bar, Row};

const COMBATANTS: usize = 12;
const CONNECTIONS: usize = 32;
const SPAN: Duration = Duration::from_millis(1500);
const RUNS: usize = 7;
/// Bytes of each state that is merged.
const MERGED_BYTES: usize = 50_000;
const MERGES: usize = 50;

pub async fn measure() -> Result<Vec<Row>> {
    Ok(vec![action().await?, merge()?])
}

/// In memory, so that the disk's own time does not hide the difference.
async fn action() -> Result<Row> {
    let directory = fixture::in_memory()?;
    let server = Process::rejoin(&directory.path().join("data"))?;
    let mut connection = Connection::open(server.address).await?;
    for number in 0..CONNECTIONS {
        let id = format!("e{number}");
        let body = json!({ "id": id, "state": { "name": "Ambush", "combatants": combatants() } });
        connection.must(&with_json("POST", "/api/v1/encounters", &body.to_string())).await?;
        let start = json!({ "type": "start" }).to_string();
        connection.must(&with_json("POST", &format!("/api/v1/encounters/{id}/actions"), &start)).await?;
        let made = connection.must(&get(&format!("/api/v1/encounters/{id}"))).await?;
        let made: Value = serde_json::from_slice(&made.body)?;
        let state = made.get("state").context("an encounter has a state")?;
        let body = json!({ "id": id, "state": state }).to_string();
        connection.must(&with_json("POST", "/api/v1/plain", &body)).await?;
    }
    let (mut ours, mut freeform, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..RUNS {
        ours.push(per_action(&server, "encounters").await?);
        freeform.push(per_action(&server, "plain").await?);
        ratios.extend(ours.last().zip(freeform.last()).map(|(ours, freeform)| ours / freeform));
    }
    let measured = format!("{:.1} µs", median(&ours));
    let limit = format!("{:.1} µs (freeform patch)", median(&freeform));
    Ok(Row::ratio("encounter action, 12 combatants, server CPU", measured, limit, &ratios, Bar::AtMost(1.3)))
}

fn combatants() -> Value {
    let one = |number: usize| {
        let conditions = json!([{ "name": "prone", "rounds": 2 }, { "name": "poisoned" }]);
        let combatant = json!({
            "name": format!("Combatant {number}"), "side": "foe", "initiative": number, "dexterity": 12,
            "armorClass": 15, "hitPoints": { "current": 20, "maximum": 27, "temporary": 0 },
            "conditions": conditions, "counters": { "slots": { "value": 2, "maximum": 4 } },
        });
        (format!("c{number}"), combatant)
    };
    Value::Object((0..COMBATANTS).map(one).collect())
}

/// Server CPU per action, microseconds: of the same change to as many documents of a collection as connections.
async fn per_action(server: &Process, collection: &str) -> Result<f64> {
    let before = server.cpu()?;
    let end = Instant::now() + SPAN;
    let work = async {
        let mut acting = JoinSet::new();
        for number in 0..CONNECTIONS {
            let mut connection = Connection::open(server.address).await?;
            let path = format!("/api/v1/{collection}/e{number}/actions");
            let turns = [("damage", 19), ("heal", 20)].map(|(kind, current)| {
                let payload = json!({ "combatantId": "c3", "amount": 1 });
                let patch = json!({ "combatants": { "c3": { "hitPoints": { "current": current } } } });
                let action = match collection {
                    "encounters" => json!({ "type": kind, "payload": payload }),
                    _ => json!({ "type": kind, "payload": payload, "patch": patch }),
                };
                with_json("POST", &path, &action.to_string())
            });
            acting.spawn_local(async move {
                let mut count = 0_u32;
                while Instant::now() < end {
                    for request in &turns {
                        if connection.send(request).await? != 200 {
                            bail!("an action was refused");
                        }
                        count += 1;
                    }
                }
                Ok(count)
            });
        }
        let mut actions = 0.0;
        while let Some(count) = acting.join_next().await {
            actions += f64::from(count??);
        }
        Ok(actions)
    };
    let actions: Result<f64> = LocalSet::new().run_until(work).await;
    Ok(micros(server.cpu()?.saturating_sub(before)) / actions?)
}

/// Of two states that both sides changed in a tenth of their places; beside it what reading the three of them takes.
fn merge() -> Result<Row> {
    let base = items(|_| 0);
    let [local, server] = [3, 7].map(|side| items(|number| if number % 10 == side { side } else { 0 }));
    let texts = [&base, &local, &server].map(ToString::to_string);
    if texts.iter().any(|text| text.len() < MERGED_BYTES) {
        bail!("the states are smaller than is said");
    }
    let (mut merged, mut parsed) = (Vec::new(), Vec::new());
    for _ in 0..MERGES {
        let started = Instant::now();
        black_box(merged_state([&base, &local, &server], &MergeRules::default()));
        merged.push(micros(started.elapsed()) / 1000.0);
        let started = Instant::now();
        for text in &texts {
            black_box(serde_json::from_str::<Value>(text)?);
        }
        parsed.push(micros(started.elapsed()) / 1000.0);
    }
    let limit = format!("{:.2} ms (reading base and both as JSON)", median(&parsed));
    let ratio = format!("{:.1} × of that", median(&merged) / median(&parsed));
    Ok(Row::values("merge of two states of 50 KB", ratio, limit, &merged, " ms", Bar::AtMost(5.0)))
}

/// A state with as many elements as make up its bytes, of which each has a text and what `changed` gives.
fn items(changed: impl Fn(usize) -> usize) -> Value {
    let one = |number: usize| {
        json!({ "id": format!("item-{number}"), "text": "what stands in it is of no matter here",
                "count": changed(number), "tags": ["a", "b"], "at": { "x": number, "y": 0 } })
    };
    json!({ "items": (0..520).map(one).collect::<Vec<_>>() })
}
