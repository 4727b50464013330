//! Limits that the operating system sets for the server's process: open files, and the size of a file.

use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::time::Duration;

use serde_json::json;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::support::Process;

/// A program that sets limits with the shell's `ulimit` and becomes the server.
fn with_limits(directory: &TempDir, limits: &str) -> PathBuf {
    let program = directory.path().join("limited");
    let text = format!("#!/bin/sh\n{limits}\nexec '{}' \"$@\"\n", env!("CARGO_BIN_EXE_rejoin"));
    std::fs::write(&program, text).unwrap();
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o700)).unwrap();
    program
}

fn open_files(server: &Process) -> (String, String) {
    let limits = std::fs::read_to_string(format!("/proc/{}/limits", server.id())).unwrap();
    let line = limits.lines().find(|line| line.starts_with("Max open files")).unwrap();
    let mut numbers = line.split_whitespace().skip(3).map(str::to_owned);
    (numbers.next().unwrap(), numbers.next().unwrap())
}

#[tokio::test]
async fn the_soft_limit_of_open_files_is_raised_to_the_hard_one() {
    let directory = tempfile::tempdir().unwrap();
    let server = Process::start_program(&with_limits(&directory, "ulimit -Sn 100"), &[], &[]);
    let (soft, hard) = open_files(&server);
    assert_eq!(soft, hard);
    assert_ne!(soft, "100");
}

#[tokio::test]
async fn connections_past_the_limit_of_open_files_are_closed_at_once_and_the_others_are_served() {
    let directory = tempfile::tempdir().unwrap();
    let server = Process::start_program(&with_limits(&directory, "ulimit -n 128"), &[], &[]);
    let mut kept = Vec::new();
    let mut closed = 0;
    for _ in 0..200 {
        let mut connection = TcpStream::connect(server.address()).await.unwrap();
        let request = format!("GET /api/v1/stream?collection=games HTTP/1.1\r\nHost: {}\r\n\r\n", server.address());
        let sent = connection.write_all(request.as_bytes()).await;
        let mut answer = [0; 12];
        match (sent, connection.read_exact(&mut answer).await) {
            (Ok(()), Ok(_)) => kept.push((connection, answer)),
            // A reset or an end, and never a wait.
            _ => closed += 1,
        }
    }
    assert!(kept.iter().all(|(_, answer)| answer == b"HTTP/1.1 200"), "{kept:?}");
    assert!((16..128).contains(&kept.len()) && closed == 200 - kept.len(), "{} kept, {closed} closed", kept.len());
    drop(kept);
    // The database and the readers had descriptors all the time.
    let health = format!("{}/healthz", server.url);
    let answered = async { while server.client.get(&health).send().await.is_err() {} };
    tokio::time::timeout(Duration::from_secs(60), answered).await.expect("places of closed connections are free again");
    assert_eq!(server.put("/api/v1/games/g1", &json!({ "round": 1 })).await.0, 201);
    assert!(server.log().contains("the limit of open files is 128"), "{}", server.log());
}

#[tokio::test]
async fn a_file_at_its_largest_size_is_a_full_disk_and_not_the_end_of_the_process() {
    let directory = tempfile::tempdir().unwrap();
    // Blocks of 512 bytes.
    let mut server = Process::start_program(&with_limits(&directory, "ulimit -f 2000"), &[], &[]);
    assert_eq!(server.put("/api/v1/notes/n0", &json!({ "text": "" })).await.0, 201);
    let text = "x".repeat(20_000);
    let mut statuses = Vec::new();
    for number in 0..100 {
        let (status, _) = server.put(&format!("/api/v1/notes/n{number}"), &json!({ "text": text })).await;
        statuses.push(status);
        if status == 202 {
            break;
        }
    }
    assert_eq!(statuses.last(), Some(&202), "{statuses:?}");
    let report = server.until_ready(|_, report| report["storage"]["state"] == "degraded").await;
    assert_eq!(report["storage"]["full"], true, "{report}");
    assert!(report["storage"]["reason"].to_string().contains("(ulimit -f) is reached"), "{report}");
    assert_eq!(server.get("/api/v1/notes/n0").await.0, 200);
    server.kill();
}
