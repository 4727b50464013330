//! The program: its configuration, its start and refusals to start, its files, and its end.

use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::json;

use crate::support::process::{command, run_to_end};
use crate::support::{Follower, Process};

/// How the program ends when it is started with this data directory and these flags.
fn refusal(data: &Path, listen: &str, flags: &[&str]) -> (i32, String) {
    let flags: Vec<String> = flags.iter().map(|flag| (*flag).to_owned()).collect();
    run_to_end(command(data, listen, &flags))
}

/// Requires this exit code and one line that begins with the program's name and holds `words`.
#[track_caller]
pub(crate) fn check_refusal((code, said): (i32, String), expected: i32, words: &str) {
    assert_eq!(code, expected, "{said}");
    assert_eq!(said.lines().count(), 1, "{said}");
    assert!(said.starts_with("rejoin: ") && said.contains(words), "{words}: {said}");
}

fn output(mut command: Command) -> (i32, String) {
    let output = command.output().unwrap();
    (output.status.code().unwrap(), String::from_utf8(output.stdout).unwrap())
}

#[test]
fn the_effective_configuration_is_printed_and_can_be_fed_back() {
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().join("data");
    std::fs::write(directory.path().join("rejoin.toml"), "history-days = 7\nhistory-events = 70\n").unwrap();
    let flags = ["--check-config", "--heartbeat-seconds", "5"].map(str::to_owned);
    let mut first = command(&data, "127.0.0.1:0", &flags);
    first.env("REJOIN_HISTORY_EVENTS", "500");
    let (code, text) = output(first);
    assert_eq!(code, 0);
    for line in ["heartbeat-seconds = 5  # --", "history-events = 500  # REJOIN_", "history-days = 7  # rejoin.toml"] {
        assert!(text.contains(line), "{line}: {text}");
    }
    assert!(text.contains("depth-max = 64  # default"), "{text}");
    assert!(!data.exists(), "checking touches nothing");
    let file = directory.path().join("other.toml");
    std::fs::write(&file, &text).unwrap();
    let mut second = Command::new(env!("CARGO_BIN_EXE_rejoin"));
    second.args(["--check-config", "--config"]).arg(&file).current_dir(directory.path());
    let (code, again) = output(second);
    let values = |text: &str| -> Vec<String> {
        text.lines().map(|line| line.split("  # ").next().unwrap().to_owned()).collect()
    };
    assert_eq!((code, values(&again)), (0, values(&text)));
}

#[test]
fn a_configuration_that_is_not_accepted_is_told_in_one_line() {
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().join("data");
    for (flags, words) in [
        (&["--no-such-flag"][..], "--no-such-flag"),
        (&["surprise"], "surprise"),
        (&["--depth-max", "0"], "depth-max"),
        (&["--depth-max", "many"], "depth-max"),
        (&["--depth-max", "-1"], "depth-max"),
        (&["--history-events", "99999999999999999999999"], "history-events"),
        (&["--state-bytes-max", "2000000"], "body-bytes-max"),
        (&["--log-format", "loud"], "log-format"),
        (&["--log", "rejoin=loud=x"], "log"),
        (&["--allowed-host", "*"], "allowed-host"),
        (&["--config", "/none/rejoin.toml"], "/none/rejoin.toml"),
        (&["--depth-max", "5", "--depth-max", "6"], "depth-max"),
    ] {
        check_refusal(refusal(&data, "127.0.0.1:0", flags), 2, words);
        let checked = [flags, &["--check-config"]].concat();
        check_refusal(refusal(&data, "127.0.0.1:0", &checked), 2, words);
    }
    for listen in ["0.0.0.0:0", "[::]:0", "192.168.1.1:80", "example.com:80", "127.0.0.1", "127.0.0.1:99999", ""] {
        check_refusal(refusal(&data, listen, &[]), 2, "listen");
    }
    let mut variable = command(&data, "127.0.0.1:0", &[]);
    variable.env("REJOIN_DEPTH_MAX", "x");
    check_refusal(run_to_end(variable), 2, "REJOIN_DEPTH_MAX");
    for text in ["depth-max = ", "depth_max = 5", "depth-max = \"5\"", "surprise = 1", "\u{0}"] {
        std::fs::write(directory.path().join("rejoin.toml"), text).unwrap();
        check_refusal(refusal(&data, "127.0.0.1:0", &[]), 2, "rejoin.toml");
    }
    assert!(!data.exists(), "nothing was begun");
}

#[tokio::test]
async fn a_second_server_on_the_same_data_or_address_is_refused_and_the_first_goes_on() {
    let server = Process::start(&[]);
    server.put("/api/v1/games/g1", &json!({ "n": 1 })).await;
    check_refusal(refusal(&server.data_dir(), "127.0.0.1:0", &[]), 11, "in use by another process");
    let other = tempfile::tempdir().unwrap();
    let data = other.path().join("data");
    check_refusal(refusal(&data, server.address(), &[]), 3, server.address());
    assert!(!data.exists(), "the address comes first");
    assert_eq!(server.merge("/api/v1/games/g1", &json!({ "n": 2 })).await.0, 200);
}

#[test]
fn places_and_files_that_are_none_of_ours_are_refused_and_left_as_they_were() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("file");
    std::fs::write(&file, "text").unwrap();
    check_refusal(refusal(&file, "127.0.0.1:0", &[]), 10, "file");
    let mut below = command(&file.join("below"), "127.0.0.1:0", &[]);
    below.current_dir(directory.path());
    check_refusal(run_to_end(below), 10, "below");
    // No file system takes a folder there, whoever asks.
    let mut nowhere = command(Path::new("/proc/rejoin"), "127.0.0.1:0", &[]);
    nowhere.current_dir(directory.path());
    check_refusal(run_to_end(nowhere), 10, "/proc/rejoin");
    for (name, bytes) in
        [("text", b"this is no database, only a text of some length\n".repeat(100)), ("zeros", vec![0; 8192])]
    {
        let data = directory.path().join(name);
        std::fs::create_dir(&data).unwrap();
        std::fs::write(data.join("rejoin.db"), &bytes).unwrap();
        check_refusal(refusal(&data, "127.0.0.1:0", &[]), 12, "is not a Rejoin database");
        assert_eq!(std::fs::read(data.join("rejoin.db")).unwrap(), bytes);
    }
    let data = directory.path().join("foreign");
    std::fs::create_dir(&data).unwrap();
    let foreign = rusqlite::Connection::open(data.join("rejoin.db")).unwrap();
    foreign.execute_batch("CREATE TABLE mine (x); INSERT INTO mine VALUES (1);").unwrap();
    drop(foreign);
    let before = std::fs::read(data.join("rejoin.db")).unwrap();
    check_refusal(refusal(&data, "127.0.0.1:0", &[]), 12, "is not a Rejoin database");
    assert_eq!(std::fs::read(data.join("rejoin.db")).unwrap(), before);
}

#[tokio::test]
async fn a_file_of_a_newer_release_or_without_its_end_is_refused() {
    let mut server = Process::start(&[]);
    for n in 0..50 {
        server.put(&format!("/api/v1/games/g{n}"), &json!({ "text": "x".repeat(2000) })).await;
    }
    assert!(server.terminate().success());
    let file = server.data_dir().join("rejoin.db");
    let good = std::fs::read(&file).unwrap();
    let database = || rusqlite::Connection::open(&file).unwrap();
    let format = |number: i64| database().pragma_update(None, "user_version", number).unwrap();
    let written: i64 = database().pragma_query_value(None, "user_version", |row| row.get(0)).unwrap();
    format(written + 1);
    check_refusal(refusal(&server.data_dir(), "127.0.0.1:0", &[]), 13, "use a newer release");
    format(-1);
    check_refusal(refusal(&server.data_dir(), "127.0.0.1:0", &[]), 14, "damaged");
    std::fs::write(&file, &good[..good.len() - 3 * 4096]).unwrap();
    check_refusal(refusal(&server.data_dir(), "127.0.0.1:0", &[]), 14, "damaged");
    std::fs::write(&file, &good).unwrap();
    server.start_again();
    assert_eq!(server.get("/api/v1/games/g49").await.0, 200);
}

/// The names and modes in a directory.
fn modes(directory: &Path) -> Vec<(String, u32)> {
    let mut found: Vec<(String, u32)> = std::fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap())
        .map(|entry| (entry.file_name().into_string().unwrap(), entry.metadata().unwrap().permissions().mode() & 0o777))
        .collect();
    found.sort();
    found
}

#[tokio::test]
async fn a_stop_ends_streams_with_bye_finishes_requests_and_leaves_complete_private_files() {
    let mut server = Process::start(&[]);
    server.put("/api/v1/games/g1", &json!({ "n": 1 })).await;
    let request = server.request("GET", "/api/v1/games/g1/events").header("accept", "text/event-stream");
    let stream = request.send().await.unwrap();
    let mut follower =
        Follower::connect(&format!("{}/api/v1/stream?collection=games", server.url), None, None).await.unwrap();
    follower.expect("snapshot").await;
    let poll = tokio::spawn(server.request("GET", "/api/v1/games/g1/events?after=1&wait=50").send());
    server.merge("/api/v1/games/g1", &json!({ "n": 2 })).await;
    let data = server.data_dir();
    assert_eq!(std::fs::metadata(&data).unwrap().permissions().mode() & 0o777, 0o700);
    let running = modes(&data);
    assert!(running.len() >= 3 && running.iter().all(|(_, mode)| *mode == 0o600), "{running:?}");

    let began = Instant::now();
    let status = tokio::task::spawn_blocking(move || {
        let status = server.terminate();
        (status, server)
    });
    let text = stream.text().await.expect("the stream ends as HTTP wants it");
    let (status, mut server) = status.await.unwrap();
    assert!(status.success() && status.code() == Some(0), "{status:?} {}", server.log());
    assert!(began.elapsed() < Duration::from_secs(8), "{:?}", began.elapsed());
    let last: Vec<&str> = text.trim_end().rsplit("\n\n").next().unwrap().lines().collect();
    assert!(last.contains(&"event: bye") || last.contains(&"event:bye"), "{text}");
    assert!(last.iter().any(|line| line.starts_with("retry:")), "{text}");
    follower.expect("change").await;
    assert_eq!(follower.expect("bye").await.data["reason"], "shutdown");
    assert_eq!(follower.next().await, None);
    assert!(matches!(poll.await.unwrap().unwrap().status().as_u16(), 200 | 204));

    let stopped = modes(&data);
    assert!(stopped.iter().all(|(_, mode)| *mode == 0o600), "{stopped:?}");
    let wal = std::fs::metadata(data.join("rejoin.db-wal")).map_or(0, |metadata| metadata.len());
    assert_eq!(wal, 0, "nothing is left in the WAL");
    // The file alone is everything.
    let elsewhere = tempfile::tempdir().unwrap();
    std::fs::copy(data.join("rejoin.db"), elsewhere.path().join("copy.db")).unwrap();
    let copy = rusqlite::Connection::open(elsewhere.path().join("copy.db")).unwrap();
    let events: i64 = copy.query_row("SELECT count(*) FROM events", [], |row| row.get(0)).unwrap();
    assert_eq!(events, 2);
    server.start_again();
    assert_eq!(server.get("/api/v1/games/g1").await.1["state"], json!({ "n": 2 }));
}

#[tokio::test]
async fn files_are_private_whatever_the_umask_and_ctrl_c_is_a_clean_stop() {
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().join("data");
    let binary = env!("CARGO_BIN_EXE_rejoin");
    for umask in ["022", "000", "077"] {
        let script = format!("umask {umask} && exec \"$0\" --listen 127.0.0.1:0 --data-dir \"$1\"");
        let mut shell = Command::new("sh");
        shell.args(["-c", &script, binary]).arg(&data).current_dir(directory.path());
        let mut child = shell.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
        let greeting: Vec<String> = lines.by_ref().take(4).collect();
        assert!(greeting[1].starts_with("listening: 127.0.0.1:"), "{greeting:?}");
        assert_eq!(greeting[2], format!("data: {}", data.display()));
        assert!(greeting[3].starts_with("open: http://127.0.0.1:"), "{greeting:?}");
        assert_eq!(std::fs::metadata(&data).unwrap().permissions().mode() & 0o777, 0o700, "umask {umask}");
        assert!(modes(&data).iter().all(|(_, mode)| *mode == 0o600), "umask {umask}: {:?}", modes(&data));
        assert!(Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap().success());
        assert_eq!(end_of(&mut child), Some(0));
        std::fs::remove_dir_all(&data).unwrap();
    }
}

/// Waits for a process's end.
pub(crate) fn end_of(child: &mut Child) -> Option<i32> {
    let end = Instant::now() + Duration::from_secs(20);
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            return status.code();
        }
        if Instant::now() > end {
            let _ = child.kill();
            panic!("the program did not end");
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[tokio::test]
async fn operators_and_people_with_a_browser_are_told_how_it_is_and_what_errors_mean() {
    let server = Process::start(&[]);
    let alive = server.ask("GET", "/healthz", &[]).await.expect(200);
    assert_eq!(alive.header("content-type"), "application/json");
    let fresh = server.ask("GET", "/readyz", &[]).await.expect(200);
    assert_eq!((&fresh.body["status"], &fresh.body["storage"]["state"]), (&json!("ready"), &json!("ok")));
    server.put("/api/v1/games/g1", &json!({})).await;
    let ready = server.ask("GET", "/readyz", &[]).await.expect(200).body;
    assert_eq!((&ready["seq"], &ready["durableSeq"]), (&json!(1), &json!(1)));
    assert_eq!(ready["backlog"], json!({ "events": 0, "bytes": 0 }));
    assert!(ready["lastCommit"].is_string(), "{ready}");

    let front = server.ask("GET", "/", &[]).await.expect(200);
    assert!(front.header("content-type").starts_with("text/html") && front.text.contains("Rejoin"));
    assert!(front.header("content-security-policy").contains("default-src 'none'"));
    assert_eq!(front.header("x-content-type-options"), "nosniff");
    for slug in [
        "invalid-request",
        "unauthenticated",
        "forbidden",
        "not-found",
        "method-not-allowed",
        "already-exists",
        "version-conflict",
        "gone",
        "too-large",
        "unsupported-media-type",
        "misdirected-host",
        "action-rejected",
        "patch-failed",
        "idempotency-mismatch",
        "internal",
        "storage-unavailable",
        "storage-full",
        "request-timeout",
    ] {
        let path = format!("/problems/{slug}");
        let page = server.ask("GET", &path, &[("accept", "text/html")]).await.expect(200);
        assert!(page.header("content-type").starts_with("text/html") && page.text.contains(slug), "{slug}");
        let data = server.ask("GET", &path, &[("accept", "application/json")]).await.expect(200);
        assert!(data.text.contains(slug), "{slug}");
    }
    server.ask("GET", "/problems", &[]).await.expect(200);
}
