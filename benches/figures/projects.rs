//! Projects: what an edit of a large one costs until its progress tells it.

use std::fmt::Write as _;
use std::time::Instant;

use anyhow::{Result, ensure};
use serde_json::{Value, json};

use crate::client::{Connection, get, with_json};
use crate::process::Process;
use crate::stats::median;
use crate::table::{Bar, Row};
use crate::{fixture, probe};

const CHAPTERS: usize = 50;
const WORDS: usize = 2_000;
const RUNS: usize = 5;
/// Edits within a run.
const EDITS: usize = 20;

pub async fn measure() -> Result<Vec<Row>> {
    let (mut chapters, mut whole, mut syncs) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..RUNS {
        let directory = fixture::on_disk()?;
        syncs.push(probe::sync_p50(directory.path())? / 1000.0);
        let server = Process::rejoin(&directory.path().join("data"))?;
        let mut connection = Connection::open(server.address).await?;
        chapters.push(edits(&mut connection, "parts", CHAPTERS, WORDS).await?);
        whole.push(edits(&mut connection, "whole", 1, CHAPTERS * WORDS).await?);
    }
    let sync = format!("{:.2} ms (fdatasync of 4 KiB)", median(&syncs));
    let in_one = format!("all in one chapter: {:.1} ms", median(&whole));
    let figure = "progress after an edit of a 100,000-word project, 50 chapters";
    Ok(vec![Row::values(figure, in_one, sync, &chapters, " ms", Bar::AtMost(20.0))])
}

/// The median time from sending an edited chapter to the answer with the progress that has it, milliseconds.
async fn edits(connection: &mut Connection, project: &str, chapters: usize, words: usize) -> Result<f64> {
    let path = format!("/api/v1/projects/{project}");
    connection.must(&with_json("PUT", &path, r#"{"state":{"name":"A large one"}}"#)).await?;
    for chapter in 0..chapters {
        put_chapter(connection, project, chapter, words).await?;
    }
    let mut times = Vec::new();
    for edit in 1..=EDITS {
        let started = Instant::now();
        put_chapter(connection, project, 0, words + edit).await?;
        let reply = connection.must(&get(&format!("{path}/progress"))).await?;
        times.push(started.elapsed().as_secs_f64() * 1000.0);
        let progress: Value = serde_json::from_slice(&reply.body)?;
        ensure!(progress.get("wordCount") == Some(&json!(chapters * words + edit)), "not all is counted: {progress}");
    }
    Ok(median(&times))
}

async fn put_chapter(connection: &mut Connection, project: &str, number: usize, words: usize) -> Result<()> {
    let mut text = String::new();
    for word in 0..words {
        let end = if word % 12 == 11 { ". " } else { " " };
        write!(text, "{}{end}", ["night", "of", "lantern", "café", "a", "wandering"].get(word % 6).unwrap_or(&"and"))?;
    }
    let body = json!({ "state": { "projectId": project, "number": number, "text": text } }).to_string();
    connection.must(&with_json("PUT", &format!("/api/v1/chapters/{project}-{number}"), &body)).await?;
    Ok(())
}
