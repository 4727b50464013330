//! What the program says about itself and its options: when it starts, and when it does not.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::json;

use crate::support::Process;
use crate::support::process::{command, run_to_end};

fn flags(list: &[&str]) -> Vec<String> {
    list.iter().map(|flag| (*flag).to_owned()).collect()
}

/// What it says on stderr where it refuses to start with this environment and these flags.
#[track_caller]
fn refused(flags_given: &[&str], environment: &[(&str, &str)], file: Option<&str>, words: &[&str]) -> String {
    let directory = tempfile::tempdir().unwrap();
    if let Some(text) = file {
        std::fs::write(directory.path().join("rejoin.toml"), text).unwrap();
    }
    let mut program = command(&directory.path().join("data"), "127.0.0.1:0", &flags(flags_given));
    program.envs(environment.iter().copied());
    let (code, said) = run_to_end(program);
    assert_eq!((code, said.lines().count()), (2, 1), "{said}");
    for word in words {
        assert!(said.contains(word), "'{word}' in: {said}");
    }
    said
}

/// What `--check-config` prints, without the default place to listen that the tests set.
fn checked(flags_given: &[&str], environment: &[(&str, &str)]) -> (i32, String) {
    let directory = tempfile::tempdir().unwrap();
    let mut program = Command::new(env!("CARGO_BIN_EXE_rejoin"));
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("REJOIN_") || name == "RUST_LOG") {
        program.env_remove(name);
    }
    program.current_dir(directory.path()).arg("--check-config").args(flags_given);
    let output = program.envs(environment.iter().copied()).output().unwrap();
    (output.status.code().unwrap(), String::from_utf8([output.stdout, output.stderr].concat()).unwrap())
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
    let (sender, said) = std::sync::mpsc::sync_channel(1000);
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
    assert!(said.contains("--port") && said.contains("--listen") && said.contains("in use"), "{said}");
}

#[test]
fn a_level_that_is_none_mutes_nothing_and_is_refused() {
    for (flags_given, environment) in [
        (&["--log", "verbose"][..], &[][..]),
        (&["--log", "rejoin=verbose"], &[]),
        (&["--log", "info,loud"], &[]),
        (&["--log", ""], &[]),
        (&["--log", "warning"], &[]),
        (&[], &[("REJOIN_LOG", "verbose")]),
        (&[], &[("RUST_LOG", "verbose")]),
    ] {
        let said = refused(flags_given, environment, None, &["error, warn, info, debug"]);
        let place = environment.first().map_or("log", |(name, _)| name);
        assert!(said.contains(place), "{said}");
    }
    for good in [
        "off",
        "error",
        "warn",
        "INFO",
        "debug",
        "trace",
        "rejoin",
        "info,rejoin=trace",
        "rejoin::engine=debug",
        "hyper=warn",
    ] {
        let (code, said) = checked(&["--log", good], &[]);
        assert_eq!(code, 0, "{good}: {said}");
    }
}

#[test]
fn the_log_is_set_in_the_ways_that_people_know() {
    for (flags_given, environment, log, place) in [
        (&["-v"][..], &[][..], "debug", "-v"),
        (&["-vv"], &[], "trace", "-v"),
        (&["--verbose"], &[], "debug", "-v"),
        (&[], &[("RUST_LOG", "debug")], "debug", "RUST_LOG"),
        (&[], &[("RUST_LOG", "warn,rejoin=trace")], "warn,rejoin=trace", "RUST_LOG"),
        (&[], &[("RUST_LOG", "debug"), ("REJOIN_LOG", "warn")], "warn", "REJOIN_LOG"),
        (&["--log", "error"], &[("RUST_LOG", "debug")], "error", "--log"),
        (&["-v"], &[("RUST_LOG", "error"), ("REJOIN_LOG", "warn")], "debug", "-v"),
        (&[], &[("RUST_LOG", "")], "info", "default"),
        // A module that is named turns nothing else off, and other programs take it without a level.
        (&[], &[("RUST_LOG", "hyper")], "info,hyper=trace", "RUST_LOG"),
        (&[], &[("RUST_LOG", "hyper,h2::codec")], "info,hyper=trace,h2::codec=trace", "RUST_LOG"),
        (&[], &[("RUST_LOG", "hyper=debug")], "info,hyper=debug", "RUST_LOG"),
        (&[], &[("RUST_LOG", "off,hyper=debug")], "off,hyper=debug", "RUST_LOG"),
        (&["--log", "hyper=debug"], &[], "info,hyper=debug", "--log"),
        (&["--log", "rejoin"], &[], "info,rejoin", "--log"),
    ] {
        let (code, text) = checked(flags_given, environment);
        let line = text.lines().find(|line| line.starts_with("log = ")).unwrap_or_else(|| panic!("{text}"));
        assert_eq!(code, 0, "{text}");
        assert!(line.starts_with(&format!("log = \"{log}\"  # ")) && line.contains(place), "{line}");
    }
    assert_eq!(checked(&["-v", "--log", "info"], &[]).0, 2);
}

#[test]
fn variables_that_nobody_knows_are_refused_and_empty_ones_are_not_set() {
    refused(&[], &[("REJOIN_COLOUR", "red")], None, &["REJOIN_COLOUR"]);
    refused(&[], &[("REJOIN_DEPHT_MAX", "5")], None, &["REJOIN_DEPHT_MAX", "REJOIN_DEPTH_MAX"]);
    refused(&[], &[("REJOIN_HISTORY_EVENT", "5")], None, &["REJOIN_HISTORY_EVENT", "REJOIN_HISTORY_EVENTS"]);
    refused(&[], &[("REJOIN_depth_max", "5")], None, &["REJOIN_depth_max", "REJOIN_DEPTH_MAX"]);
    refused(&["--check-config"], &[("REJOIN_COLOUR", "red")], None, &["REJOIN_COLOUR"]);
    for (name, meant) in
        [("URL", "LISTEN"), ("HOST", "LISTEN"), ("DATABASE_URL", "DATA_DIR"), ("LOGLEVEL", "LOG"), ("CONFG", "CONFIG")]
    {
        refused(&[], &[(&format!("REJOIN_{name}"), "x")], None, &[&format!("did you mean 'REJOIN_{meant}'?")]);
    }
    let empty = [
        "DEPTH_MAX",
        "LISTEN",
        "ALLOWED_HOST",
        "LOG",
        "CONFIG",
        "DATA_DIR",
        "SESSION",
        "FF_GAMES_PERSISTENCE",
        "FF_SOUNDS",
    ]
    .map(|name| format!("REJOIN_{name}"));
    let environment: Vec<(&str, &str)> = empty.iter().map(|name| (name.as_str(), "")).collect();
    let (code, text) = checked(&[], &environment);
    assert_eq!(code, 0, "{text}");
    assert_eq!(text, checked(&[], &[]).1);
    let (code, text) = checked(&["--config", ""], &[]);
    assert_eq!((code, text), (0, checked(&[], &[]).1));
    // The variables that other commands take are known.
    assert_eq!(checked(&[], &[("REJOIN_SESSION", "secret")]).0, 0);
}

#[test]
fn a_number_out_of_range_is_refused_with_its_range() {
    for (given, range) in [
        (&["--depth-max", "0"][..], "1 to 100"),
        (&["--depth-max", "101"], "1 to 100"),
        (&["--depth-max", "-1"], "1 to 100"),
        (&["--depth-max", "99999999999999999999999"], "1 to 100"),
        (&["--depth-max", "many"], "1 to 100"),
        (&["--depth-max", "5.5"], "1 to 100"),
        (&["--heartbeat-seconds", "3600"], "1 to 60"),
        (&["--history-days", "0"], "1 to 36500"),
        (&["--history-days", "-1"], "'-1' is too small; it must be 1 to 36500"),
        (&["--history-days", "99999999999999999999"], "is too large; it must be 1 to 36500"),
        (&["--history-events", "99999999999999999999"], "is too large; it must be at least"),
        (&["--history-days", "-"], "'-' is not a whole number; it must be 1 to 36500"),
        (&["--snapshot-ratio", "0"], "0.01 to 100"),
        (&["--snapshot-ratio", "x"], "0.01 to 100"),
        (&["--port", "65536"], "0 to 65535"),
        (&["--port", "http"], "0 to 65535"),
    ] {
        let given: Vec<&str> = given.to_vec();
        let (code, said) = checked(&given, &[]);
        assert_eq!(code, 2, "{said}");
        assert!(said.contains(range) && said.contains(given[0].trim_start_matches('-')), "{range}: {said}");
        let variable = format!("REJOIN_{}", given[0].trim_start_matches('-').to_uppercase().replace('-', "_"));
        let (code, said) = checked(&[], &[(&variable, given[1])]);
        assert_eq!(code, 2, "{said}");
        assert!(said.contains(range) && said.contains(&variable), "{range}: {said}");
    }
    refused(&[], &[], Some("depth-max = 101"), &["rejoin.toml", "depth-max", "1 to 100"]);
    refused(&[], &[], Some("depth-max = -1"), &["rejoin.toml", "depth-max", "1 to 100"]);
    refused(&[], &[], Some("history-events = 0"), &["rejoin.toml", "history-events", "at least 1"]);
    refused(&[], &[], Some("history-days = -1"), &["rejoin.toml: history-days: '-1' is too small; it must be 1 to"]);
    let huge = refused(&[], &[], Some("\nhistory-days = 99999999999999999999"), &["line 2", "too large"]);
    assert!(!huge.contains("i128"), "{huge}");
    refused(&[], &[], Some("history-days = 2.5"), &["history-days: must be a whole number"]);
    refused(&[], &[], Some("history-days = 1e300"), &["history-days", "1 to 36500"]);
}

#[test]
fn names_that_are_nearly_right_get_the_right_one() {
    refused(&[], &[], Some("dept-max = 5"), &["dept-max", "'depth-max'"]);
    refused(&[], &[], Some("depth_max = 5"), &["depth_max", "'depth-max'"]);
    refused(&[], &[], Some("history-event = 5"), &["'history-events'"]);
    refused(&[], &[], Some("heartbeat = 5"), &["'heartbeat-seconds'"]);
    let far = refused(&[], &[], Some("colour = 5"), &["there is no option 'colour'"]);
    assert!(!far.contains("did you mean"), "{far}");
    refused(&["--dept-max", "5"], &[], None, &["--depth-max"]);
    refused(&[], &[], Some("port = 7"), &["there is no option 'port'; did you mean 'listen'?"]);
    refused(&[], &[], Some("[flagss]\ngames-persistence = true"), &["no section 'flagss'; did you mean 'flags'?"]);
    refused(&[], &[], Some("[Flags]\ngames-persistence = true"), &["no section 'Flags'; it is called 'flags'"]);
    refused(&[], &[], Some("[server]\nlisten = '127.0.0.1:1'"), &["no section 'server'; options stand at the top"]);
}

#[test]
fn a_port_is_given_by_its_number_alone() {
    let (code, text) = checked(&["--port", "8123"], &[]);
    assert_eq!(code, 0, "{text}");
    assert!(text.contains("listen = [\"127.0.0.1:8123\"]  # --port\n"), "{text}");
    let (_, text) = checked(&[], &[("REJOIN_PORT", "8124")]);
    assert!(text.contains("listen = [\"127.0.0.1:8124\"]  # REJOIN_PORT\n"), "{text}");
    // What is said nearer wins.
    let (_, text) = checked(&["--port", "8123"], &[("REJOIN_LISTEN", "127.0.0.1:1")]);
    assert!(text.contains("127.0.0.1:8123"), "{text}");
    let (_, text) = checked(&["--listen", "127.0.0.1:1"], &[("REJOIN_PORT", "8123")]);
    assert!(text.contains("127.0.0.1:1\""), "{text}");
    let (code, said) = checked(&["--port", "8123", "--listen", "127.0.0.1:1"], &[]);
    assert!(code == 2 && said.contains("--listen") && said.contains("--port"), "{said}");
    let (code, said) = checked(&[], &[("REJOIN_PORT", "8123"), ("REJOIN_LISTEN", "127.0.0.1:1")]);
    assert!(code == 2 && said.contains("REJOIN_LISTEN") && said.contains("REJOIN_PORT"), "{said}");
}

#[test]
fn an_embedding_program_says_its_own_name_and_version() {
    let program = Path::new(env!("CARGO_BIN_EXE_rejoin")).with_file_name("examples").join("poker");
    let output = Command::new(program).arg("--version").output().unwrap();
    let version = String::from_utf8(output.stdout).unwrap();
    assert!(version.starts_with("poker "), "{version}");
}
