//! What the program says about itself and its options: when it starts, and when it does not.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use serde_json::json;

use crate::support::Process;
use crate::support::process::{command, run_to_end};

fn flags(list: &[&str]) -> Vec<String> {
    list.iter().map(|flag| (*flag).to_owned()).collect()
}

#[tokio::test]
async fn every_address_that_is_printed_answers() {
    let directory = tempfile::tempdir().unwrap();
    for listen in ["0.0.0.0:0", "[::]:0", "127.0.0.1:0"] {
        let data = directory.path().join(listen.replace([':', '[', ']'], "-"));
        let given = flags(&["--allow-listen-beyond-tailnet"]);
        let mut child = command(&data, listen, &given).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let mut lines = std::io::BufRead::lines(std::io::BufReader::new(child.stdout.take().unwrap()));
        let mut opened = None;
        let mut listening = None;
        for line in lines.by_ref().map_while(Result::ok) {
            if let Some(address) = line.strip_prefix("listening: ") {
                listening = Some(address.split(' ').next().unwrap().to_owned());
            }
            if let Some(address) = line.strip_prefix("open: ") {
                opened = Some(address.to_owned());
                break;
            }
        }
        for address in [opened.unwrap(), format!("http://{}/", listening.unwrap())] {
            let answer = reqwest::get(&address).await.unwrap();
            assert_eq!(answer.status(), 200, "{listen}: {address}");
        }
        child.kill().unwrap();
        child.wait().unwrap();
    }
}

#[tokio::test]
async fn a_name_that_is_not_ours_is_refused_with_the_option_that_makes_it_so() {
    let server = Process::start(&[]);
    let reply = server.ask("GET", "/healthz", &[("host", "rejoin.example:1")]).await;
    let problem = reply.problem(421, "misdirected-host");
    let detail = problem["detail"].as_str().unwrap();
    assert!(detail.contains("--allowed-host") && detail.contains("rejoin.example"), "{detail}");
}

/// What the program says of the database when it starts.
fn contents(data: &Path) -> String {
    let mut child = command(data, "127.0.0.1:0", &[]).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let (sender, said) = std::sync::mpsc::channel();
    let lines = std::io::BufRead::lines(std::io::BufReader::new(child.stdout.take().unwrap()));
    std::thread::spawn(move || lines.map_while(Result::ok).try_for_each(|line| sender.send(line)));
    let contents = loop {
        let line = said.recv_timeout(Duration::from_secs(30)).expect("the program says what it found");
        if let Some(contents) = line.strip_prefix("contents: ") {
            break contents.to_owned();
        }
    };
    child.kill().unwrap();
    child.wait().unwrap();
    contents
}

#[tokio::test]
async fn the_start_says_what_it_found() {
    let directory = tempfile::tempdir().unwrap();
    assert_eq!(contents(&directory.path().join("data")), "new database");
    let mut server = Process::start(&[]);
    for n in 0..3 {
        server.put(&format!("/api/v1/games/g{n}"), &json!({})).await;
    }
    server.put("/api/v1/maps/m", &json!({})).await;
    assert_eq!(server.ask("DELETE", "/api/v1/games/g0", &[]).await.status, 200);
    server.kill();
    assert_eq!(contents(&server.data_dir()), "3 documents");
    server.start_again();
    for path in ["/api/v1/games/g1", "/api/v1/games/g2"] {
        assert_eq!(server.ask("DELETE", path, &[]).await.status, 200);
    }
    assert!(server.terminate().success());
    assert_eq!(contents(&server.data_dir()), "1 document");
}

#[tokio::test]
async fn a_port_in_use_is_told_with_the_option_that_changes_it() {
    let server = Process::start(&[]);
    let directory = tempfile::tempdir().unwrap();
    let (code, said) = run_to_end(command(&directory.path().join("data"), server.address(), &[]));
    assert_eq!(code, 3, "{said}");
    assert!(said.contains("--listen") && said.contains("in use"), "{said}");
}
