//! `rejoin watch`: what it shows, and whatever happens to the connection.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};

use crate::program::{check_refusal, end_of};
use crate::support::Process;
use crate::support::process::run_to_end;

/// A `rejoin watch` that is running, and its lines.
struct Watch {
    child: Child,
    lines: std::sync::mpsc::Receiver<String>,
}

impl Watch {
    fn start(server: &Process, more: &[&str]) -> Self {
        Self::start_of("games/g1", server, more)
    }

    fn start_of(what: &str, server: &Process, more: &[&str]) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_rejoin"));
        command.args(["watch", what, "--server", &server.url]).args(more);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let (sender, lines) = std::sync::mpsc::sync_channel(1000);
        let out = BufReader::new(child.stdout.take().unwrap());
        std::thread::spawn(move || out.lines().map_while(Result::ok).try_for_each(|line| sender.send(line)));
        Self { child, lines }
    }

    /// The next line that holds `words`.
    fn until(&self, words: &str) -> String {
        let mut seen = Vec::new();
        loop {
            match self.lines.recv_timeout(Duration::from_secs(20)) {
                Ok(line) if line.contains(words) => return line,
                Ok(line) => seen.push(line),
                Err(_) => panic!("'{words}' did not come: {seen:?}"),
            }
        }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[tokio::test]
async fn watch_follows_a_game_to_the_server_that_it_moves_to_and_back() {
    let (here, there) = (Process::start(&[]), Process::start(&[]));
    here.put("/api/v1/games/g1", &json!({ "n": 0 })).await;
    let watch = Watch::start(&here, &[]);
    watch.until("snapshot (start) games/g1 v1");
    for (n, (from, to)) in (1..).zip([(&here, &there), (&there, &here), (&here, &there)]) {
        let moved = from.post("/api/v1/games/g1/migrate", &json!({ "to": to.url })).await;
        assert_eq!(moved.0, 200, "{}", moved.1);
        watch.until(&format!("it is at {} now", to.url));
        watch.until("resumed 0 changes");
        assert_eq!(to.merge("/api/v1/games/g1", &json!({ "n": n })).await.0, 200);
        assert!(watch.until("patch").contains(&format!("v{}", n + 1)));
    }
    // Whoever begins at a server that it left is led on at once.
    let late = Watch::start(&here, &["--json"]);
    assert!(late.until("\"reason\":\"start\"").contains("\"version\":4"));
}

#[tokio::test]
async fn watch_follows_a_document_and_comes_back_after_a_kill_without_a_gap() {
    let mut server = Process::start(&[]);
    server.put("/api/v1/games/g1", &json!({ "n": 0 })).await;
    let people = Watch::start(&server, &[]);
    let programs = Watch::start(&server, &["--json"]);
    people.until("snapshot (start) games/g1 v1");
    programs.until("\"reason\":\"start\"");
    let mut versions = Vec::new();
    for n in 1..=6 {
        assert_eq!(server.merge("/api/v1/games/g1", &json!({ "n": n })).await.0, 200);
        if n % 2 == 0 {
            server.kill();
            server.start_again();
        }
    }
    for n in 1..=6 {
        let line = people.until("patch");
        assert!(line.contains(&format!("v{}", n + 1)) && line.contains(&format!("/n {n}")), "{line}");
        let change: Value = serde_json::from_str(&programs.until("\"patch\"")).unwrap();
        versions.push(change["version"].as_u64().unwrap());
    }
    assert_eq!(versions, [2, 3, 4, 5, 6, 7]);
    for mut watch in [people, programs] {
        assert!(Command::new("kill").args(["-INT", &watch.child.id().to_string()]).status().unwrap().success());
        assert_eq!(end_of(&mut watch.child), Some(0));
    }
    let mut absent = Command::new(env!("CARGO_BIN_EXE_rejoin"));
    absent.args(["watch", "games/none", "--server", &server.url]);
    check_refusal(run_to_end(absent), 1, "404");
}

#[tokio::test]
async fn watch_shows_the_state_and_what_was_there_before_each_change() {
    let server = Process::start(&[]);
    // Of a state that is hardly larger than what changes the whole is told.
    let text = "x".repeat(500);
    server.put("/api/v1/games/g1", &json!({ "n": 0, "name": "dusk", "list": [1, 2], "text": text })).await;
    let watch = Watch::start(&server, &[]);
    let first = watch.until("snapshot (start) games/g1 v1");
    for part in [r#""n":0"#, r#""name":"dusk""#, r#""list":[1,2]"#] {
        assert!(first.contains(part), "{first}");
    }
    assert_eq!(server.merge("/api/v1/games/g1", &json!({ "n": 1, "name": null, "new": true })).await.0, 200);
    let change = watch.until("patch");
    for part in ["v2", "/n 1 (was 0)", r#"-/name (was "dusk")"#, "+/new true"] {
        assert!(change.contains(part), "{part}: {change}");
    }
    server.merge("/api/v1/games/g1", &json!({ "n": 5 })).await;
    assert!(watch.until("v3").contains("/n 5 (was 1)"));
    assert_eq!(server.ask("DELETE", "/api/v1/games/g1", &[]).await.status, 200);
    assert!(watch.until("v4").contains("delete"));
}

#[tokio::test]
async fn watch_says_that_a_document_is_gone() {
    let mut server = Process::start(&[]);
    server.put("/api/v1/games/g1", &json!({ "n": 0 })).await;
    let watch = Watch::start(&server, &[]);
    watch.until("snapshot (start) games/g1 v1");
    // The file is put back to what it was before: for whoever followed, the document is gone.
    server.kill();
    std::fs::remove_dir_all(server.data_dir()).unwrap();
    server.start_again();
    let line = watch.until("snapshot (diverged)");
    assert!(line.contains("games/g1 is gone"), "{line}");
}

#[tokio::test]
async fn watch_takes_a_collection_and_names_the_document_of_each_line() {
    let mut server = Process::start(&[]);
    server.put("/api/v1/games/g1", &json!({ "n": 0 })).await;
    server.put("/api/v1/maps/m", &json!({ "n": 0 })).await;
    let watch = Watch::start_of("games", &server, &[]);
    watch.until("snapshot (start) games/g1 v1");
    server.merge("/api/v1/maps/m", &json!({ "n": 1 })).await;
    server.put("/api/v1/games/g2", &json!({ "n": 7 })).await;
    let made = watch.until("games/g2 v1");
    assert!(made.contains("create") || made.contains("put"), "{made}");
    assert!(made.contains(r#"{"n":7}"#), "{made}");
    server.merge("/api/v1/games/g2", &json!({ "n": 8 })).await;
    assert!(watch.until("games/g2 v2").contains("/n 8 (was 7)"));
    server.kill();
    server.start_again();
    server.merge("/api/v1/games/g1", &json!({ "n": 1 })).await;
    assert!(watch.until("games/g1 v2").contains("/n 1 (was 0)"));
    let data = Watch::start_of("games", &server, &["--json"]);
    assert!(data.until("documents").contains(r#""id":"g2""#));
    let mut wrong = Command::new(env!("CARGO_BIN_EXE_rejoin"));
    wrong.args(["watch", "Games", "--server", &server.url]);
    check_refusal(run_to_end(wrong), 2, "collection");
}
