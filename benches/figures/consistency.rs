//! What it takes to check a project of 10,000 entities and 100,000 words: all of it, and after one edit.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use serde_json::{Value, json};
use tokio::time::sleep;

use crate::client::{Connection, get, with_json};
use crate::fixture;
use crate::process::Process;
use crate::stats::median;
use crate::table::{Bar, Row};

const CHARACTERS: usize = 7_000;
const WIKI_ENTRIES: usize = 2_600;
const PLOT_LOOPS: usize = 200;
const CHAPTERS: usize = 200;
const WORDS_PER_CHAPTER: usize = 500;
const OPERATIONS: usize = 50;
const RUNS: usize = 7;
const CHECK: &str = "/api/v1/projects/book/consistency/check";
/// The shortest time between two checks that can be configured.
const INTERVAL: Duration = Duration::from_millis(1_100);

pub async fn measure() -> Result<Vec<Row>> {
    let directory = fixture::on_disk()?;
    let server = Process::rejoin_with(&directory.path().join("data"), &["--projects-check-interval", "1"])?;
    let mut connection = Connection::open(server.address).await?;
    for operations in entities().chunks(OPERATIONS) {
        let body = json!({ "operations": operations }).to_string();
        connection.must(&with_json("POST", "/api/v1/batch", &body)).await?;
    }
    until_handled(&mut connection).await?;
    let (mut full, mut edited) = (Vec::new(), Vec::new());
    for run in 0..RUNS {
        full.push(check(&mut connection, "?full=true").await?);
        let state = json!({ "state": chapter(run, run + 1) }).to_string();
        connection.must(&with_json("PUT", &format!("/api/v1/chapters/c{run}"), &state)).await?;
        until_handled(&mut connection).await?;
        edited.push(check(&mut connection, "?full=false").await?);
    }
    let row = |figure, times: &[f64], most: f64| {
        let ratios: Vec<f64> = times.iter().map(|time| time / most).collect();
        let measured = format!("{:.1} ms", median(times));
        Row::ratio(figure, measured, format!("{most:.0} ms"), &ratios, Bar::AtMost(1.0))
    };
    Ok(vec![
        row("a full check of a project of 10,000 entities, over HTTP", &full, 1_000.0),
        row("… a check after one edit of a chapter", &edited, 50.0),
    ])
}

/// Milliseconds that a check takes, once it is possible again.
async fn check(connection: &mut Connection, query: &str) -> Result<f64> {
    for _ in 0..50 {
        sleep(INTERVAL).await;
        let began = Instant::now();
        let reply = connection.ask(&with_json("POST", &format!("{CHECK}{query}"), "")).await?;
        let took = began.elapsed().as_secs_f64() * 1_000.0;
        match reply.status {
            200 if serde_json::from_slice::<Value>(&reply.body)?.get("full") == Some(&json!(query == "?full=true")) => {
                return Ok(took);
            }
            // The server was first, or all of it was to be looked at anyhow.
            200 | 429 => {}
            status => bail!("{status}: {}", String::from_utf8_lossy(&reply.body)),
        }
    }
    bail!("the project was never checked")
}

/// Waits until the changes so far are noted.
async fn until_handled(connection: &mut Connection) -> Result<()> {
    loop {
        let reply = connection.must(&get("/api/v1/admin/consumers")).await?;
        let all: Value = serde_json::from_slice(&reply.body)?;
        if all.get("items").and_then(Value::as_array).is_some_and(|items| items.iter().all(has_no_lag)) {
            return Ok(());
        }
        sleep(Duration::from_millis(10)).await;
    }
}

fn entities() -> Vec<Value> {
    let mut all = vec![put("projects", "book".to_owned(), json!({ "name": "Book" }))];
    for number in 0..CHARACTERS {
        let state = json!({
            "projectId": "book", "name": name(number), "aliases": [format!("The {}", name(number))],
            "born": format!("{}", 1500 + number % 400), "died": format!("{}", 1560 + number % 400),
            "parents": [format!("h{}", number / 2)], "facts": { "eyes": "grey", "height": number },
        });
        all.push(put("characters", format!("h{number}"), state));
    }
    for number in 0..WIKI_ENTRIES {
        let state = json!({
            "projectId": "book", "title": format!("Life of {}", name(number)), "about": format!("characters/h{number}"),
            "facts": { "eyes": "grey", "height": number }, "text": format!("See [[{}]].", name(number + 1)),
        });
        all.push(put("wiki-entries", format!("w{number}"), state));
    }
    for number in 0..CHAPTERS {
        all.push(put("chapters", format!("c{number}"), chapter(number, 0)));
    }
    for number in 0..PLOT_LOOPS {
        let (opened, closed) = (number / 2, number / 2 + 1);
        let state = json!({
            "projectId": "book", "title": format!("Loop {number}"), "status": "closed",
            "openedIn": format!("c{opened}"), "closedIn": format!("c{closed}"), "characterIds": [format!("h{number}")],
        });
        all.push(put("plot-loops", format!("l{number}"), state));
    }
    all
}

fn put(collection: &str, id: String, state: Value) -> Value {
    json!({ "op": "put", "collection": collection, "id": id, "state": state })
}

fn name(number: usize) -> String {
    format!("Person{number} Family{}", number % 50)
}

fn chapter(number: usize, edit: usize) -> Value {
    let words = (0..WORDS_PER_CHAPTER).map(|word| match word % 10 {
        0 => name((number * 53 + word * 7 + edit) % CHARACTERS),
        other => format!("word{other}"),
    });
    json!({
        "projectId": "book", "number": number, "title": format!("Chapter {number}"), "date": "1700",
        "text": words.collect::<Vec<_>>().join(" "), "characterIds": [format!("h{number}")],
    })
}

fn has_no_lag(consumer: &Value) -> bool {
    consumer.pointer("/lag/changes") == Some(&json!(0))
}
