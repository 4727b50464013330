//! The commands that ask a running server, and those about the program itself: their output and exit codes.

use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::process::operate;
use crate::support::{Process, session};

async fn served() -> Process {
    let server = Process::start(&[]);
    for n in 0..3 {
        server.put(&format!("/api/v1/games/g{n}"), &json!({ "n": n })).await;
    }
    session::open(&server.url, "ann").await;
    server
}

/// The same output as JSON.
fn as_json(command: &str, arguments: &[&str], server: &Process) -> Value {
    let (code, said) = operate(command, &[arguments, &["--json"]].concat(), &server.data_dir());
    assert_eq!(code, 0, "{said}");
    serde_json::from_str(&said).unwrap_or_else(|error| panic!("{error}: {said}"))
}

#[tokio::test]
async fn lists_are_tables_for_people_and_one_json_value_for_scripts() {
    let server = served().await;
    for (command, arguments, head, row) in [
        ("games", &[][..], "DOCUMENT", "games/g1"),
        ("documents", &["games"], "DOCUMENT", "games/g2"),
        ("sessions", &[], "SESSION", "ann"),
        ("jobs", &[], "JOB", "backup"),
    ] {
        let (code, said) = operate(command, arguments, &server.data_dir());
        assert_eq!(code, 0, "{command}: {said}");
        assert!(said.starts_with(head) && said.contains(row), "{command}: {said}");
        let listed = as_json(command, arguments, &server);
        let items = listed["items"].as_array().unwrap();
        assert_eq!(items.len() + 1, said.lines().count(), "{command}: {said}");
    }
    assert_eq!(as_json("games", &[], &server)["items"][0]["version"], 1);
    let (code, said) = operate("documents", &["Bad Name"], &server.data_dir());
    assert_eq!((code, said.lines().count()), (2, 1), "{said}");
}

#[tokio::test]
async fn lists_go_over_all_pages() {
    let server = Process::start(&[]);
    let create = |n: usize| json!({ "op": "create", "collection": "notes", "id": format!("n{n:04}"), "state": {} });
    for from in (0..1100).step_by(100) {
        let operations: Vec<Value> = (from..from + 100).map(create).collect();
        let (status, answer) = server.post("/api/v1/batch", &json!({ "operations": operations })).await;
        assert_eq!(status, 200, "{answer}");
    }
    assert_eq!(as_json("documents", &["notes"], &server)["items"].as_array().unwrap().len(), 1100);
}

#[tokio::test]
async fn status_says_what_readyz_says_and_without_a_server_that_there_is_none() {
    let mut server = served().await;
    let (code, said) = operate("status", &[], &server.data_dir());
    assert_eq!(code, 0, "{said}");
    for words in [server.address(), "ready", "storage", "newest event", "none yet; rejoin backup makes one"] {
        assert!(said.contains(words), "{words}: {said}");
    }
    assert_eq!(as_json("status", &[], &server)["status"], "ready");
    let url = server.url.clone();
    let nowhere = tempfile::tempdir().unwrap();
    let (code, said) = operate("status", &["--server", &url], &nowhere.path().join("data"));
    assert_eq!(code, 0, "by its address alone: {said}");
    assert!(server.terminate().success());
    for command in ["status", "games", "sessions", "jobs"] {
        let (code, said) = operate(command, &[], &server.data_dir());
        assert_eq!((code, said.lines().count()), (1, 1), "{command}: {said}");
        assert!(said.contains("no server has"), "{command}: {said}");
    }
}

#[tokio::test]
async fn invite_shows_a_link_that_lets_somebody_in_and_its_code() {
    let server = served().await;
    let (code, said) = operate("invite", &["games/g1", "--uses", "2", "--to", "/table.html"], &server.data_dir());
    assert_eq!(code, 0, "{said}");
    let link = said.lines().find_map(|line| line.strip_prefix("link: ")).unwrap();
    assert!(link.starts_with(&server.url) && link.contains("?to=/table.html#"), "{link}");
    let blocks = |line: &&str| line.chars().count() > 20 && line.chars().all(|c| " ▀▄█".contains(c));
    assert!(said.lines().filter(blocks).count() > 10, "{said}");
    assert!(said.contains("uses: 2") && said.contains("good until: "), "{said}");
    let token = link.split_once('#').unwrap().1;
    let reply = server
        .tell("POST", "/api/v1/invitations/exchange", &[], json!({ "token": token, "name": "Ann" }))
        .await
        .expect(201);
    assert!(reply.headers.contains_key("set-cookie"), "{}", reply.text);

    let made = as_json("invite", &["games/g1", "games/g2", "--expires-in-seconds", "60"], &server);
    assert_eq!((&made["documents"], &made["uses"]), (&json!(["games/g1", "games/g2"]), &json!(1)));
    assert!(made["url"].is_string() && made["qr"].as_str().unwrap().contains("<svg"), "{made}");
    let for_ann = as_json("invite", &["--user", "ann"], &server);
    assert_eq!((&for_ann["user"], &for_ann["documents"]), (&json!("ann"), &Value::Null));
    for (arguments, words) in [(&["games/none"][..], "games/none"), (&["games/g1", "--seat", "best"], "seat")] {
        let (code, said) = operate("invite", arguments, &server.data_dir());
        assert_eq!((code, said.lines().count(), said.contains(words)), (1, 1, true), "{said}");
    }
    assert_eq!(operate("invite", &["--uses", "many"], &server.data_dir()).0, 2);
}

#[tokio::test]
async fn tokens_are_made_listed_and_ended() {
    let mut server = served().await;
    let data = server.data_dir();
    let (code, said) = operate("token", &["create", "score board", "--collection", "games"], &data);
    assert_eq!((code, said.lines().count()), (0, 1), "nothing but the token: {said}");
    let bearer = format!("Bearer {}", said.trim());
    let shown = [("authorization", bearer.as_str())];
    server.ask("GET", "/api/v1/games/g1", &shown).await.expect(200);
    server.ask("GET", "/api/v1/other/o1", &shown).await.problem(404, "not-found");
    let (code, said) = operate("token", &["list"], &data);
    assert_eq!((code, said.starts_with("TOKEN")), (0, true), "{said}");
    assert!(said.contains("score board") && said.contains("read") && said.contains("games"), "{said}");
    let writes = ["create", "bot", "--access", "write", "--document", "games/g1", "--document", "games/g2"];
    let made = as_json("token", &writes, &server);
    assert_eq!((&made["access"], &made["documents"]), (&json!("write"), &json!(["games/g1", "games/g2"])));
    let listed = as_json("token", &["list"], &server);
    let id = listed["items"][0]["id"].as_str().unwrap().to_owned();
    assert_eq!(
        (listed["items"][0]["name"].as_str(), listed["items"].as_array().unwrap().len()),
        (Some("score board"), 2)
    );
    assert_eq!(operate("token", &["end", &id], &data), (0, String::new()));
    server.ask("GET", "/api/v1/games/g1", &shown).await.problem(401, "unauthenticated");
    let (code, said) = operate("token", &["end", &id], &data);
    assert_eq!((code, said.lines().count()), (1, 1), "{said}");
    for arguments in [&[][..], &["create"], &["create", "x", "--access", "all"], &["end", "no id"], &["mend"]] {
        assert_eq!(operate("token", arguments, &data).0, 2, "{arguments:?}");
    }
    server.terminate();
    let (code, said) = operate("token", &["list"], &data);
    assert_eq!((code, said.contains("no server has")), (1, true), "{said}");
}

#[tokio::test]
async fn who_is_no_administrator_is_told_how_to_become_one() {
    let server = Process::start(&["--loopback-owner", "false"]);
    let (code, said) = operate("sessions", &[], &server.data_dir());
    assert_eq!(code, 1, "{said}");
    assert!(said.contains("REJOIN_SESSION"), "{said}");
}

#[tokio::test]
async fn doctor_is_content_with_a_server_that_is_well_and_says_how_to_mend_the_rest() {
    let mut server = served().await;
    let (code, said) = operate("doctor", &[], &server.data_dir());
    assert_eq!(code, 1, "{said}");
    assert!(said.contains("mend  last backup: there is none"), "{said}");
    assert_eq!(operate("backup", &[], &server.data_dir()).0, 0);
    let (code, said) = operate("doctor", &[], &server.data_dir());
    assert_eq!(code, 0, "{said}");
    assert!(said.lines().all(|line| line.starts_with("ok")) && said.contains(server.address()), "{said}");
    assert!(server.terminate().success());
    assert_eq!(operate("doctor", &["--server", "http://127.0.0.1:9"], &server.data_dir()).0, 0, "none has to run");

    let data = server.data_dir();
    std::fs::set_permissions(&data, std::fs::Permissions::from_mode(0o755)).unwrap();
    let (code, said) = operate("doctor", &[], &data);
    assert_eq!((code, said.contains("chmod 700")), (1, true), "{said}");
    std::fs::set_permissions(&data, std::fs::Permissions::from_mode(0o700)).unwrap();
    std::fs::write(data.join("rejoin.db"), "garbage".repeat(1000)).unwrap();
    let (code, said) = operate("doctor", &[], &data);
    assert_eq!((code, said.contains("mend  database: ")), (1, true), "{said}");
}

#[tokio::test]
async fn doctor_ends_in_time_when_the_server_does_not_answer() {
    let server = served().await;
    assert_eq!(operate("backup", &[], &server.data_dir()).0, 0);
    let signal = |name: &str| {
        let id = server.id().to_string();
        assert!(Command::new("kill").args([name, &id]).status().unwrap().success());
    };
    signal("-STOP");
    let since = Instant::now();
    let (code, said) = operate("doctor", &[], &server.data_dir());
    let took = since.elapsed();
    signal("-CONT");
    assert_eq!((code, said.contains("mend  port: does not answer")), (1, true), "{said}");
    assert!(took < Duration::from_secs(10), "{took:?}");
}

#[test]
fn completions_and_the_version_are_printed() {
    let run = |arguments: &[&str]| {
        let output = Command::new(env!("CARGO_BIN_EXE_rejoin")).args(arguments).output().unwrap();
        (output.status.code().unwrap(), String::from_utf8([output.stdout, output.stderr].concat()).unwrap())
    };
    for (shell, words) in [("bash", "complete -F"), ("zsh", "#compdef rejoin"), ("fish", "complete -c rejoin")] {
        let (code, said) = run(&["completions", shell]);
        assert_eq!(code, 0, "{said}");
        assert!(said.contains(words) && said.contains("backup") && said.contains("data-dir"), "{shell}");
    }
    let (code, said) = run(&["completions", "tcsh"]);
    assert_eq!((code, said.lines().count()), (2, 1), "{said}");
    let (code, said) = run(&["--version"]);
    assert_eq!(code, 0);
    let parts = format!("rejoin {} (SQLite 3.", env!("CARGO_PKG_VERSION"));
    assert!(said.starts_with(&parts) && said.contains(std::env::consts::ARCH), "{said}");
}
